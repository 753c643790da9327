#include "client/train_compatible.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vectors.h"
#include "binarize/compatible.h"
#include "client/eval.h"
#include "client/options.h"

#define UNTRAINED "untrained"
#define PAIRS_MAX 40000 /* items that are learned from */
#define DEPTH 10
#define HARDLY 0.1 /* an overlap that says of pairs that they are none */

/* An older model beside what is trained on. */
struct older {
	struct recurrent *model;
	const struct train_sample *now;
	struct train_sample sample;    /* by another encoder; else no rows */
	const struct train_sample *of; /* the old vectors: &sample or now */
	const struct train_compatible_parts *parts;
};

int
train_compatible_check(const struct train_compatible_options *options)
{
	enum vectors_format format;
	struct error err;

	if (options->model == NULL &&
	    (options->vectors != NULL || options->shape.dims > 0 ||
		options->shape.bits > 0))
		return options_usage("expected --compatible-with OLD with "
				     "--old-vectors, --old-dims and --old-bits");
	if (options->shape.dims % CODE_DIMS_STEP != 0)
		return options_usage(
		    "expected --old-dims to be a multiple of %d, not %u",
		    CODE_DIMS_STEP, options->shape.dims);
	if (options->vectors != NULL &&
	    vectors_format_of(&format, options->vectors, &err) == -1)
		return options_refused(&err);
	return OPTIONS_OK;
}

/* The shape of its codes: as named, and where it makes one only, that. */
static int
find_shape(struct code_shape *shape, const struct train_compatible_options *options,
    size_t dims, struct error *err)
{
	struct recurrent_info info = {.kind = RECURRENT_ROTATION};

	if (strcmp(options->model, UNTRAINED) != 0 &&
	    recurrent_peek(&info, options->model, err) != 0)
		return -1;
	*shape = options->shape;
	if (info.kind != RECURRENT_ROTATION) {
		shape->dims = shape->dims ? shape->dims : info.shape.dims;
		shape->bits = shape->bits ? shape->bits : info.shape.bits;
		return 0;
	}
	if (shape->bits == 0)
		return error_set(err, ERR_INPUT,
		    "%s: expected --old-bits, for it makes codes of any",
		    options->model);
	if (shape->dims == 0)
		shape->dims = (uint32_t)((dims + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP *
					 CODE_DIMS_STEP);
	return code_shape_check(*shape, err);
}

static struct recurrent *
open_model(
    const struct train_compatible_options *options, size_t dims, struct error *err)
{
	struct code_shape shape;

	if (find_shape(&shape, options, dims, err) != 0)
		return NULL;
	if (strcmp(options->model, UNTRAINED) == 0) {
		const struct recurrent_rotation_config config = {
		    .input_dims = (uint32_t)dims,
		    .shape = shape,
		    .seed = RECURRENT_UNTRAINED_SEED};
		return recurrent_new(&config, err);
	}
	struct recurrent *model = recurrent_open(options->model, shape, err);
	if (model == NULL || recurrent_info(model).input_dims == dims)
		return model;
	error_set(err, ERR_FORMAT,
	    "%s: expected vectors of %u dimensions, which it codes, not of %zu; name "
	    "those of its encoder by --old-vectors",
	    options->model, recurrent_info(model).input_dims, dims);
	recurrent_free(model);
	return NULL;
}

static int
load(struct older *old, const struct train_compatible_options *options,
    struct error *err)
{
	if (options->vectors != NULL) {
		/* The seed takes the same rows of a file of as many. */
		if (train_sample_load(&old->sample, options->vectors, old->now->n,
			old->parts->seed, err) != 0)
			return -1;
		old->of = &old->sample;
		if (old->sample.count != old->now->count)
			return error_set(err, ERR_FORMAT,
			    "%s: expected %" PRIu64
			    " vectors, as many as --vectors has, not %" PRIu64,
			    options->vectors, old->now->count, old->sample.count);
	}
	old->model = open_model(options, old->of->dims, err);
	return old->model ? 0 : -1;
}

/* Of the rows behind those that were learned from, documents by one encoder, queries by
 * the same or another; borrowed but for what is valid, which is all. */
static struct eval_embedded
held_out(const struct train_sample *documents, const struct train_sample *queries,
    const struct train_compatible_parts *parts, uint8_t *valid)
{
	size_t first = parts->n + parts->n_documents;

	return (struct eval_embedded){
	    .corpus = {.values = documents->rows + parts->n * documents->dims,
		.valid = valid,
		.n = parts->n_documents,
		.dims = documents->dims},
	    .queries = {.values = queries->rows + first * queries->dims,
		.valid = valid,
		.n = queries->n - first,
		.dims = queries->dims}};
}

static double
overlap(const struct eval_ranks *found, const struct eval_ranks *exact)
{
	double sum = 0;

	for (size_t i = 0; i < exact->n_queries; i++)
		sum += trec_overlap(
		    eval_ranks_of(found, i), eval_ranks_of(exact, i), DEPTH);
	return sum / (double)exact->n_queries;
}

/* *now and *before := the share of what the new floats find that is found in the old
 * codes, by new queries and by old ones. */
static int
measure(double *now, double *before, const struct recurrent *model,
    const struct older *old, struct error *err)
{
	const struct train_compatible_parts *parts = old->parts;
	struct eval_ranks exact = {NULL, NULL, 0}, found = {NULL, NULL, 0};
	struct eval_seconds seconds;
	size_t n = old->now->n - parts->n;
	uint8_t *valid = array_new(n, 1);
	const struct eval_models new_models = {
	    old->model, recurrent_searching(model, recurrent_id(old->model))};
	const struct eval_models old_models = {old->model, old->model};
	int rc = valid ? 0 : error_set(err, ERR_MEMORY, "out of memory for a check");

	if (rc == 0) {
		memset(valid, 1, n);
		rc = eval_ranks_new(&exact, n - parts->n_documents, err);
	}
	if (rc == 0)
		rc = eval_ranks_new(&found, n - parts->n_documents, err);
	struct eval_embedded rows = held_out(old->now, old->now, parts, valid);
	if (rc == 0)
		rc = eval_exact(&exact, &rows, err);
	rows = held_out(old->of, old->now, parts, valid);
	if (rc == 0)
		rc = eval_search(&found, &seconds, &new_models, &rows, err);
	*now = rc == 0 ? overlap(&found, &exact) : 0;
	rows = held_out(old->of, old->of, parts, valid);
	if (rc == 0)
		rc = eval_search(&found, &seconds, &old_models, &rows, err);
	*before = rc == 0 ? overlap(&found, &exact) : 0;
	eval_ranks_free(&exact);
	eval_ranks_free(&found);
	free(valid);
	return rc;
}

/* Say how well the queries of `model` search the older one's codes. */
static int
tell(const struct recurrent *model, const struct older *old, const char *name,
    struct error *err)
{
	double now, before;

	if (measure(&now, &before, model, old, err) != 0)
		return -1;
	printf("codes of %s (%s): overlap@10 %.4f, asked by the old vectors %.4f\n",
	    name, recurrent_id(old->model), now, before);
	if (now < fmax(HARDLY, 2.0 * DEPTH / (double)old->parts->n_documents))
		fprintf(stderr,
		    "warning: new vectors find hardly anything in these codes: are "
		    "rows of --vectors and --old-vectors the same items?\n");
	return 0;
}

struct recurrent *
train_compatible_find(const struct train_compatible_options *options,
    const struct train_sample *sample, const struct train_compatible_parts *parts,
    struct error *err)
{
	struct older old = {.now = sample, .of = sample, .parts = parts};
	struct recurrent *model = NULL;
	int rc = load(&old, options, err);

	if (rc == 0) {
		const struct compatible_pairs pairs = {.old = old.of->rows,
		    .now = sample->rows,
		    .n = parts->n < PAIRS_MAX ? parts->n : PAIRS_MAX,
		    .old_dims = old.of->dims,
		    .dims = sample->dims};
		model = compatible_new(old.model, options->vectors ? &pairs : NULL,
		    parts->blas, parts->seed, err);
		rc = model ? tell(model, &old, options->model, err) : -1;
	}
	recurrent_free(old.model);
	train_sample_free(&old.sample);
	if (rc == 0)
		return model;
	recurrent_free(model);
	return NULL;
}
