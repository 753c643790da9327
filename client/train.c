#include "client/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/alloc.h"
#include "base/clock.h"
#include "base/replace.h"
#include "binarize/compatible.h"
#include "binarize/estimator.h"
#include "client/options.h"
#include "client/stop.h"
#include "client/train_job.h"

/* Rows to see what a model is worth: as many documents as a tenth of the sample, up to
 * these numbers. */
#define DOCUMENTS_MAX 10000
#define QUERIES_MAX 500
#define ROWS_MIN 1000

/* Defaults.  On 248,465 vectors a map learned from 200,000 finds what one learned from
 * all does (docs/binarizer.md). */
static const struct train_options defaults = {.shape = {.bits = 2},
    .seed = 1,
    .rows = 200000,
    .kind = TRAIN_REFINED,
    .checkpoint = 30,
    .centres = TRAIN_CENTRES_AUTO,
    .estimator = ESTIMATOR_RESTE,
    .steps = 3000,
    .population = 1,
    .rate = 3e-3f,
    .temperature = 0.05f,
    .reconstruction = 1.0f,
    .ranking = 0.3f,
    .codes = 0.0f,
    .floats = -1.0f}; /* not named */

static int
threads(void)
{
#ifdef _OPENMP
	return omp_get_max_threads();
#else
	return 1;
#endif
}

static int
find_mean(struct training *t, struct error *err)
{
	size_t d = t->sample.dims;
	double *sum = array_new(d, sizeof *sum);
	t->mean = array_new(d, sizeof *t->mean);
	if (!sum || !t->mean) {
		free(sum);
		return error_set(err, ERR_MEMORY, "out of memory for a mean");
	}
	for (size_t i = 0; i < t->n; i++)
		for (size_t j = 0; j < d; j++)
			sum[j] += (double)t->sample.rows[i * d + j];
	for (size_t j = 0; j < d; j++)
		t->mean[j] = (float)(sum[j] / (double)t->n);
	free(sum);
	return 0;
}

static void
find_shape(struct training *t)
{
	size_t d = t->sample.dims;
	t->shape = t->options->shape;
	if (t->shape.dims == 0)
		t->shape.dims = (uint32_t)((d + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP *
					   CODE_DIMS_STEP);
	if (t->options->kind == TRAIN_HASH) {
		t->shape.dims *= t->shape.bits;
		t->shape.bits = 1;
	}
}

/* Hold rows out, leave as many as were asked for to learn from, and find what floats
 * find among those held out. */
static int
hold_out(struct training *t, struct error *err)
{
	size_t n = t->sample.n, d = t->sample.dims;
	size_t documents = n / 10 < DOCUMENTS_MAX ? n / 10 : DOCUMENTS_MAX;
	size_t queries = documents / 4 < QUERIES_MAX ? documents / 4 : QUERIES_MAX;

	if (n < ROWS_MIN)
		return error_set(err, ERR_FORMAT,
		    "expected at least %d vectors to learn from, not %zu", ROWS_MIN, n);
	t->n = n - documents - queries;
	if (t->n > t->options->rows)
		t->n = t->options->rows;
	t->sample.n = t->n + documents + queries;
	const struct train_check_rows rows = {.documents = t->sample.rows + t->n * d,
	    .queries = t->sample.rows + (t->n + documents) * d,
	    .n_documents = documents,
	    .n_queries = queries,
	    .dims = d};
	return train_check_init(&t->check, &rows, err);
}

static int
find_older(struct training *t, struct error *err)
{
	const struct train_options *o = t->options;
	const struct train_compatible_parts parts = {.n = t->n,
	    .n_documents = t->check.rows.corpus.n,
	    .blas = t->blas,
	    .seed = o->seed};
	if (!o->old.model)
		return 0;
	t->older = train_compatible_find(&o->old, &t->sample, &parts, err);
	return t->older ? 0 : -1;
}

static int
load_pairs(struct training *t, struct error *err)
{
	const struct train_options *o = t->options;
	const struct train_pairs_files files = {.pairs = o->pairs,
	    .vectors = o->vectors,
	    .queries = o->queries,
	    .seed = o->seed,
	    .held = t->sample.places + t->n,
	    .n_held = t->sample.n - t->n,
	    .dims = t->sample.dims};
	if (!o->pairs)
		return 0;
	if (train_pairs_load(&t->pairs, &files, err) != 0)
		return -1;
	fprintf(stderr, "%zu pairs", t->pairs.n);
	if (t->pairs.held_out > 0)
		fprintf(stderr, "; %zu left out, as one of their rows is held out",
		    t->pairs.held_out);
	fputc('\n', stderr);
	return 0;
}

/* What a checkpoint must be of. */
static void
describe(struct training *t)
{
	size_t d = t->sample.dims;
	uint64_t hash = train_sample_hash(t->sample.rows, t->sample.n * d);
	hash ^= train_sample_hash(t->pairs.rows, 2 * t->pairs.n * d);
	snprintf(t->vectors, sizeof t->vectors, "%zu x %zu, %016" PRIx64, t->sample.n,
	    d, hash);
	train_options_settings(t->options, t->settings, sizeof t->settings);
}

static int
prepare(struct training *t, struct error *err)
{
	const struct train_options *o = t->options;
	/* Better now than after the training: can the result go where it is to go? */
	if (replace_check(o->output, err) != 0)
		return -1;
	if (train_sample_load(&t->sample, o->vectors,
		o->rows + DOCUMENTS_MAX + QUERIES_MAX, o->seed, err) != 0)
		return -1;
	find_shape(t);
	if (code_shape_check(t->shape, err) != 0 ||
	    !(t->blas = blas_open(threads(), err)) || hold_out(t, err) != 0 ||
	    train_centre_number(t, err) != 0 || find_mean(t, err) != 0 ||
	    load_pairs(t, err) != 0)
		return -1;
	describe(t);
	if (train_loop_check(t, err) != 0 || find_older(t, err) != 0)
		return -1;
	fprintf(stderr,
	    "%zu of %" PRIu64 " vectors of %zu dimensions to %u x %u bits; held out "
	    "%zu and %zu queries\n",
	    t->n, t->sample.count, t->sample.dims, t->shape.dims, t->shape.bits,
	    t->check.rows.corpus.n, t->check.rows.queries.n);
	return train_advise(t, err) != 0 ? -1 : train_centre(t, err);
}

/* The control: a rotation of as many bits, with the same mean. */
static int
check_untrained(struct training *t, double *overlap, struct error *err)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = (uint32_t)t->sample.dims,
	    .shape = t->shape,
	    .seed = RECURRENT_UNTRAINED_SEED,
	    .mean = t->mean};
	struct recurrent *model = recurrent_new(&config, err);
	int rc = model ? train_check_run(overlap, &t->check, model, err) : -1;
	recurrent_free(model);
	return rc;
}

static int
learn(struct training *t, struct error *err)
{
	const struct train_method *method =
	    t->options->kind == TRAIN_REFINED ? &train_refined : &train_gradients;
	struct recurrent *model = NULL;
	int rc = method->open(t, err);
	if (rc == 0)
		rc = train_loop(t, method, err);
	if (rc == 0 && !(model = method->model(t, err)))
		rc = -1;
	if (rc == 0 && t->older)
		rc = compatible_hand_on(model, t->older, err);
	if (rc == 0)
		rc = recurrent_save(model, t->options->output, err);
	if (rc == 0)
		train_loop_forget(t);
	recurrent_free(model);
	method->close(t);
	return rc;
}

static int
run(struct training *t, struct error *err)
{
	double untrained;
	if (prepare(t, err) != 0 || check_untrained(t, &untrained, err) != 0 ||
	    learn(t, err) != 0)
		return -1;
	printf("overlap@10 %.4f, untrained %.4f\n", t->best_overlap, untrained);
	if (t->best_overlap < untrained)
		fprintf(stderr,
		    "warning: these codes find fewer of the nearest than untrained "
		    "ones "
		    "do; better use those, or train %s\n",
		    t->options->kind == TRAIN_REFINED
			? "with more vectors"
			: "--method refined, with more --steps or a lower --rate");
	return 0;
}

static void
training_free(struct training *t)
{
	recurrent_free(t->older);
	train_check_free(&t->check);
	train_pairs_free(&t->pairs);
	train_sample_free(&t->sample);
	blas_close(t->blas);
	free(t->mean);
	free(t->centres);
	free(t->best);
}

int
train_main(int argc, char **argv)
{
	struct train_options options = defaults;
	struct training t = {.options = &options};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns();
	bool done;

	options_begin("train", argv);
	int code = train_options_parse(&options, argc, argv, &done);
	if (done)
		return code;
	stop_watch();
	if (run(&t, &err) != 0)
		code = err.code == ERR_NONE ? OPTIONS_FAILED : options_failed(&err);
	fprintf(stderr, "%s in %.3f s\n",
	    code == OPTIONS_OK     ? "trained"
	    : err.code == ERR_NONE ? "stopped, nothing written,"
				   : "failed",
	    clock_since(start_ns));
	training_free(&t);
	return code;
}
