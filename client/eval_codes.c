#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/alloc.h"
#include "base/clock.h"
#include "client/eval.h"
#include "client/stop.h"
#include "index/flat.h"
#include "index/store.h"

#define SEARCH_BATCH 256 /* queries that share a pass over the codes */
#define ENCODE_BATCH 96  /* vectors that a thread encodes at a time */

/* Codes of a corpus on their way into a store. */
struct coded {
	uint8_t *wire;                     /* (n, code_bytes) */
	struct recurrent_numbers *numbers; /* (n) */
	bool *valid;                       /* (n) */
	size_t n;
};

static void
coded_free(struct coded *c)
{
	free(c->wire);
	free(c->numbers);
	free(c->valid);
}

static int
coded_new(struct coded *c, size_t n, size_t bytes, struct error *err)
{
	c->n = n;
	c->wire = array_new(n, bytes);
	c->numbers = array_new(n, sizeof *c->numbers);
	c->valid = array_new(n, sizeof *c->valid);
	if (c->wire == NULL || c->numbers == NULL || c->valid == NULL)
		return error_set(err, ERR_MEMORY, "no memory for %zu codes", n);
	return 0;
}

/* The model in `path`, or the untrained one, for vectors of `dims`. */
static struct recurrent *
open_model(const char *path, struct code_shape shape, size_t dims, struct error *err)
{
	struct recurrent *model;
	if (path != NULL) {
		model = recurrent_open(path, shape, err);
	} else {
		struct recurrent_rotation_config config = {
		    .input_dims = (uint32_t)dims,
		    .shape = shape,
		    .seed = RECURRENT_UNTRAINED_SEED,
		};
		model = recurrent_new(&config, err);
	}
	if (model != NULL && recurrent_info(model).input_dims != dims) {
		error_set(err, ERR_FORMAT,
		    "%s: expected a binarizer of vectors of %zu dimensions, not %u",
		    path == NULL ? "untrained" : path, dims,
		    recurrent_info(model).input_dims);
		recurrent_free(model);
		model = NULL;
	}
	return model;
}

/* Rows first .. end - 1; those without a direction are not valid. */
static void
encode_rows(struct coded *coded, const struct recurrent *model,
    struct recurrent_scratch *scratch, const struct eval_vectors *vectors, size_t first,
    size_t end)
{
	size_t bytes = code_bytes(recurrent_info(model).shape);
	struct error err;

	for (size_t i = first; i < end; i++) {
		const struct recurrent_codes codes = {
		    coded->wire + i * bytes, coded->numbers + i};
		size_t n = recurrent_encode_many(model, scratch, &codes,
		    vectors->values + i * vectors->dims, end - i, &err);
		memset(coded->valid + i, true, n * sizeof *coded->valid);
		i += n;
	}
}

/* Encode all embeddings, on all processors. */
static int
encode_all(struct coded *coded, const struct recurrent *model,
    const struct eval_vectors *vectors, struct error *err)
{
	bool failed = false;
#pragma omp parallel
	{
		struct error mine;
		struct recurrent_scratch *scratch = recurrent_scratch_new(model, &mine);
		if (scratch == NULL) {
#pragma omp atomic write
			failed = true;
		}
#pragma omp for schedule(dynamic)
		for (size_t i = 0; i < vectors->n; i += ENCODE_BATCH) {
			size_t end = i + ENCODE_BATCH;
			if (scratch != NULL)
				encode_rows(coded, model, scratch, vectors, i,
				    end < vectors->n ? end : vectors->n);
		}
		recurrent_scratch_free(scratch);
	}
	return failed ? error_set(err, ERR_MEMORY, "no memory to encode") : 0;
}

/* Row i of the corpus goes to slot i. */
static int
fill_store(
    struct store *store, const struct coded *coded, size_t bytes, struct error *err)
{
	for (size_t i = 0; i < coded->n; i++) {
		struct store_row row = {
		    .wire = coded->wire + i * bytes,
		    .factor = coded->numbers[i].factor,
		};
		if (coded->valid[i] && store_put(store, (uint32_t)i, &row, err) == -1)
			return -1;
	}
	store_publish(store);
	return 0;
}

static int
prepare_query(struct distance_query *query, const struct recurrent *model,
    struct recurrent_scratch *scratch, const float *vector, struct error *err)
{
	int8_t k[CODE_DIMS_MAX];
	float bases[CODE_CENTRES_MAX];
	struct code_shape shape = recurrent_info(model).shape;
	struct recurrent_query q = {.k = k, .bases = bases};
	if (recurrent_query_int8(model, scratch, &q, vector, err) == -1)
		return -1;
	distance_query_int8(query, k, q.scale, shape,
	    (struct distance_terms){
		.metric = DISTANCE_DOT, .base = q.base, .bases = bases});
	return 0;
}

/* What a batch of queries needs. */
struct searching {
	const struct recurrent *model;
	struct recurrent_scratch *scratch;
	const struct store_snapshot *snapshot;
	struct flat_scratch *flat;
	struct distance_query *queries; /* (SEARCH_BATCH) */
	struct flat_search *searches;   /* (SEARCH_BATCH) */
	struct hit *hits;               /* (SEARCH_BATCH, EVAL_DEPTH) */
};

/* Queries first .. first + n - 1. */
static int
search_batch(struct eval_ranks *ranks, struct searching *s,
    const struct eval_vectors *vectors, size_t first, struct error *err)
{
	size_t index[SEARCH_BATCH], n = 0;
	for (size_t i = first; i < vectors->n && i < first + SEARCH_BATCH; i++) {
		if (!vectors->valid[i])
			continue; /* it finds nothing */
		if (prepare_query(&s->queries[n], s->model, s->scratch,
			vectors->values + i * vectors->dims, err) == -1)
			return -1;
		s->searches[n] = (struct flat_search){
		    .query = &s->queries[n],
		    .k = EVAL_DEPTH,
		    .hits = s->hits + n * EVAL_DEPTH,
		};
		index[n++] = i;
	}
	if (n > 0 && flat_run(s->searches, n, s->snapshot, s->flat, err) == -1)
		return -1;
	for (size_t j = 0; j < n; j++) {
		for (size_t i = 0; i < s->searches[j].n; i++)
			ranks->docs[index[j] * EVAL_DEPTH + i] =
			    s->searches[j].hits[i].slot;
		ranks->counts[index[j]] = (uint32_t)s->searches[j].n;
	}
	return 0;
}

static size_t
n_threads(void)
{
#ifdef _OPENMP
	return (size_t)omp_get_max_threads();
#else
	return 1;
#endif
}

static int
search_all(struct eval_ranks *ranks, const struct recurrent *model,
    const struct store_snapshot *snapshot, const struct eval_vectors *queries,
    struct error *err)
{
	struct searching s = {
	    .model = model,
	    .scratch = recurrent_scratch_new(model, err),
	    .snapshot = snapshot,
	    .queries = array_new_aligned(SEARCH_BATCH, sizeof *s.queries),
	    .searches = array_new(SEARCH_BATCH, sizeof *s.searches),
	    .hits = array_new(SEARCH_BATCH * EVAL_DEPTH, sizeof *s.hits),
	};
	int rc = s.scratch == NULL ? -1 : 0;
	if (rc == 0 && (s.queries == NULL || s.searches == NULL || s.hits == NULL))
		rc = error_set(err, ERR_MEMORY, "no memory for queries");
	if (rc == 0) {
		s.flat = flat_scratch_new(distance_best(), n_threads(), err);
		rc = s.flat == NULL ? -1 : 0;
	}
	for (size_t i = 0; rc == 0 && i < queries->n; i += SEARCH_BATCH) {
		if (stop_requested())
			rc = error_set(err, ERR_NONE, "stopped");
		else
			rc = search_batch(ranks, &s, queries, i, err);
	}
	flat_scratch_free(s.flat);
	recurrent_scratch_free(s.scratch);
	free(s.queries);
	free(s.searches);
	free(s.hits);
	return rc;
}

/* Encode the corpus and keep the codes as a server would. */
static int
make_store(struct store **store, const struct recurrent *model,
    const struct eval_vectors *corpus, struct error *err)
{
	struct code_shape shape = recurrent_info(model).shape;
	struct coded coded = {NULL, NULL, NULL, 0};
	int rc = coded_new(&coded, corpus->n, code_bytes(shape), err);
	*store = NULL;
	if (rc == 0)
		rc = encode_all(&coded, model, corpus, err);
	if (rc == 0) {
		*store = store_new(1, shape, false, err);
		rc = *store == NULL ? -1 : 0;
	}
	if (rc == 0)
		rc = fill_store(*store, &coded, code_bytes(shape), err);
	coded_free(&coded);
	return rc;
}

int
eval_search(struct eval_ranks *ranks, struct eval_seconds *seconds,
    const struct eval_models *models, const struct eval_embedded *embedded,
    struct error *err)
{
	struct store *store = NULL;
	uint64_t start = clock_ns();
	int rc = make_store(&store, models->corpus, &embedded->corpus, err);
	seconds->encode = clock_since(start);
	start = clock_ns();
	if (rc == 0) {
		struct store_snapshot *snapshot = store_acquire(store);
		rc = search_all(
		    ranks, models->queries, snapshot, &embedded->queries, err);
		store_release(snapshot);
	}
	seconds->search = clock_since(start);
	store_free(store);
	return rc;
}

/* The file's model; *searching is what searches the codes of `older`. */
static struct recurrent *
open_searching(const struct recurrent **searching, const char *path,
    const struct recurrent *older, size_t dims, struct error *err)
{
	struct recurrent_info info;
	if (recurrent_peek(&info, path, err) != 0)
		return NULL;
	if (info.kind == RECURRENT_ROTATION) /* the file takes any shape */
		info.shape = recurrent_info(older).shape;
	struct recurrent *model = open_model(path, info.shape, dims, err);
	if (model == NULL)
		return NULL;
	*searching = recurrent_searching(model, recurrent_id(older));
	if (*searching != NULL && code_shape_equal(recurrent_info(*searching).shape,
				      recurrent_info(older).shape))
		return model;
	error_set(err, ERR_FORMAT,
	    "%s: expected a binarizer that knows the codes of %s: train it with "
	    "--compatible-with",
	    path, recurrent_id(older));
	recurrent_free(model);
	return NULL;
}

int
eval_codes(struct eval_ranks *ranks, struct eval_seconds *seconds,
    struct code_shape *shape, const struct eval_embedded *embedded,
    const struct eval_binarizers *binarizers, struct error *err)
{
	size_t dims = embedded->corpus.dims;
	struct code_shape wish = *shape;
	struct recurrent_info info = {.shape.dims = 0};
	if (binarizers->corpus != NULL &&
	    recurrent_peek(&info, binarizers->corpus, err) == -1)
		return -1;
	if (wish.dims == 0)
		wish.dims = info.shape.dims;
	if (wish.dims == 0)
		wish.dims = (uint32_t)((dims + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP *
				       CODE_DIMS_STEP);
	if (code_shape_check(wish, err) == -1)
		return -1;
	struct recurrent *model = open_model(binarizers->corpus, wish, dims, err);
	if (model == NULL)
		return -1;
	struct eval_models models = {model, model};
	struct recurrent *newer = NULL;
	int rc = 0;
	if (binarizers->queries != NULL) {
		newer = open_searching(&models.queries, binarizers->queries, model,
		    embedded->queries.dims, err);
		rc = newer == NULL ? -1 : 0;
	}
	if (rc == 0)
		rc = eval_search(ranks, seconds, &models, embedded, err);
	recurrent_free(newer);
	if (rc == 0)
		*shape = recurrent_info(model).shape;
	recurrent_free(model);
	return rc;
}
