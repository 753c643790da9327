/*
 * Progressive search beside exact search over the same codes: 4 bits of 512 dimensions
 * by the untrained rotation, of vectors in clusters with few directions, more of them
 * than any cache holds.  Both are measured in turns, one query alone and in batches;
 * the share of the exact hits that the progressive search finds is beside.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "binarize/recurrent.h"
#include "index/flat.h"
#include "index/progressive.h"

#define NAME "bench_progressive"
#define ROWS 1000000
#define DIMS 512
#define CLUSTERS 500
#define DIRECTIONS 24
#define K_MAX 100
#define QUERIES 64
#define ROUNDS 7

static void
need(bool good, const struct error *err)
{
	if (!good)
		harness_fail(NAME, err->text);
}

struct world {
	struct rng rng;
	float centres[CLUSTERS][DIMS], directions[DIRECTIONS][DIMS];
	struct recurrent *model;
	struct recurrent_scratch *scratch;
	struct store *store;
	struct store_snapshot *snapshot;
	struct distance_query query[QUERIES];
	struct hit exact[QUERIES][K_MAX], found[QUERIES][K_MAX];
};

static float
centred(struct rng *rng)
{
	return rng_uniform(rng) - 0.5f;
}

/* x := a vector in a cluster: its centre, something of each direction, less of the
 * later ones, and a little of anything. */
static void
draw(struct world *w, float x[DIMS])
{
	const float *centre = w->centres[rng_below(&w->rng, CLUSTERS)];

	for (size_t i = 0; i < DIMS; i++)
		x[i] = 0.5f * centre[i] + 0.7f * centred(&w->rng);
	for (size_t d = 0; d < DIRECTIONS; d++) {
		const float much = 2 * centred(&w->rng) / sqrtf((float)(d + 1));
		for (size_t i = 0; i < DIMS; i++)
			x[i] += much * w->directions[d][i];
	}
}

static void
fill(struct world *w)
{
	const struct code_shape shape = {DIMS, 4, 0};
	const struct recurrent_rotation_config config = {
	    .input_dims = DIMS, .shape = shape, .seed = RECURRENT_UNTRAINED_SEED};
	uint8_t wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers;
	struct error err;
	float x[DIMS];

	rng_init(&w->rng, 1, 0);
	for (size_t i = 0; i < CLUSTERS * DIMS; i++)
		w->centres[i / DIMS][i % DIMS] = centred(&w->rng);
	for (size_t i = 0; i < DIRECTIONS * DIMS; i++)
		w->directions[i / DIMS][i % DIMS] = centred(&w->rng);
	need((w->model = recurrent_new(&config, &err)) != NULL, &err);
	w->scratch = recurrent_scratch_new(w->model, &err);
	need(w->scratch != NULL, &err);
	need((w->store = store_new(1, shape, false, &err)) != NULL, &err);
	need(store_want_plane0(w->store, true, &err) == 0, &err);
	for (uint32_t slot = 0; slot < ROWS; slot++) {
		draw(w, x);
		need(recurrent_encode(w->model, w->scratch, wire, &numbers, x, &err) ==
			 0,
		    &err);
		struct store_row row = {wire, numbers.factor, 0, 0};
		need(store_put(w->store, slot, &row, &err) == 0, &err);
	}
	store_publish(w->store);
	w->snapshot = store_acquire(w->store);
}

static void
draw_queries(struct world *w)
{
	const struct distance_terms terms = {DISTANCE_DOT, 0, 0, NULL};
	struct error err;
	float x[DIMS];
	int8_t k[DIMS];

	for (size_t q = 0; q < QUERIES; q++) {
		struct recurrent_query query = {.k = k};
		draw(w, x);
		need(recurrent_query_int8(w->model, w->scratch, &query, x, &err) == 0,
		    &err);
		distance_query_int8(&w->query[q], k, query.scale,
		    recurrent_info(w->model).shape, terms);
	}
}

static struct harness_time
time_batch(struct world *w, struct flat_scratch *scratch, struct progressive *p,
    struct hit hits[QUERIES][K_MAX], size_t k, size_t first, size_t batch)
{
	struct flat_search searches[QUERIES];
	struct error err;

	for (size_t i = 0; i < batch; i++)
		searches[i] = (struct flat_search){.query = &w->query[first + i],
		    .k = k,
		    .hits = hits[first + i],
		    .progressive = p};
	struct harness_watch watch = harness_start();
	need(flat_run(searches, batch, w->snapshot, scratch, &err) == 0, &err);
	return harness_stop(watch);
}

static size_t
count_found(const struct world *w, size_t q, size_t k)
{
	size_t n = 0;

	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < k; j++)
			n += w->exact[q][i].slot == w->found[q][j].slot;
	return n;
}

static void
measure(struct world *w, struct flat_scratch *scratch, struct progressive *p, size_t k,
    size_t batch)
{
	struct harness_time exact[ROUNDS], found[ROUNDS];
	size_t n = 0;

	for (size_t r = 0; r < ROUNDS; r++) {
		const size_t first = r * batch % QUERIES;
		exact[r] = time_batch(w, scratch, NULL, w->exact, k, first, batch);
		found[r] = time_batch(w, scratch, p, w->found, k, first, batch);
		for (size_t q = first; q < first + batch; q++)
			n += count_found(w, q, k);
	}
	double e = harness_median(exact, ROUNDS).cpu / (double)batch;
	double f = harness_median(found, ROUNDS).cpu / (double)batch;
	printf("| %3zu | %5zu | %8.3f | %14.3f | %4.2f x | %.4f |\n", k, batch, 1e3 * e,
	    1e3 * f, e / f, (double)n / (double)(ROUNDS * batch * k));
	fflush(stdout);
}

int
main(void)
{
	static const size_t batches[] = {1, 8, 32};
	struct world *w = array_new_aligned(1, sizeof *w);
	struct error err = {.text = "no memory"};

	harness_check_simd(NAME);
	need(w != NULL, &err);
	fill(w);
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);
	struct progressive *p = progressive_new(&err);
	need(scratch && p, &err);
	for (size_t i = 0; i < PROGRESSIVE_SAMPLES; i += PROGRESSIVE_HITS * QUERIES) {
		draw_queries(w);
		time_batch(w, scratch, p, w->found, PROGRESSIVE_HITS, 0, QUERIES);
	}
	draw_queries(w);
	printf("progressive search: %d codes of %d x 4 bits, one thread, %s; CPU ms a "
	       "query, in turns\n"
	       "|   k | batch | exact ms | progressive ms | ratio  | recall |\n",
	    ROWS, DIMS, distance_best()->name);
	for (size_t k = 10; k <= K_MAX; k *= 10)
		for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
			measure(w, scratch, p, k, batches[b]);
	progressive_free(p);
	flat_scratch_free(scratch);
	store_release(w->snapshot);
	store_free(w->store);
	recurrent_scratch_free(w->scratch);
	recurrent_free(w->model);
	free(w);
	return 0;
}
