/*
 * flat_run gives, bit for bit, what sorting the score of every live row gives: for any
 * shape, kind, metric, kernel, number of threads, k (0, 1, n, beyond n) and split into
 * batches, with few different codes so that ties are everywhere, and with removed rows.
 * The twin computes each score from levels by the formulas of index/distance.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/flat.h"
#include "tests/support/guard.h"

#define ROUNDS 60
#define BATCH 5

struct world {
	struct rng rng;
	struct code_shape shape;
	enum distance_kind kind;
	struct distance_terms terms;
	uint32_t n_slots;
	uint8_t *levels; /* (n_slots, dims) */
	float *factor, *norm2;
	struct store *store;
	struct store_snapshot *snapshot;
	/* queries, with their integer form */
	struct distance_query *queries;
	int values[BATCH][CODE_DIMS_MAX];
};

static void
fill_store(struct world *w)
{
	struct error err;
	uint8_t wire[CODE_BYTES_MAX];
	uint32_t variety = 1 + (uint32_t)rng_below(&w->rng, 40);

	for (uint32_t slot = 0; slot < w->n_slots; slot++) {
		uint8_t *c = w->levels + (size_t)slot * w->shape.dims;
		if (slot < variety) {
			for (size_t i = 0; i < w->shape.dims; i++)
				c[i] = (uint8_t)rng_below(&w->rng, 1u << w->shape.bits);
			w->factor[slot] = rng_uniform(&w->rng);
			w->norm2[slot] = rng_uniform(&w->rng);
		} else {
			uint32_t same = (uint32_t)rng_below(&w->rng, variety);
			memcpy(
			    c, w->levels + (size_t)same * w->shape.dims, w->shape.dims);
			w->factor[slot] = w->factor[same];
			w->norm2[slot] = w->norm2[same];
		}
		code_from_levels(wire, c, w->shape);
		struct store_row row = {wire, w->factor[slot], w->norm2[slot]};
		assert_int_equal(store_put(w->store, slot, &row, &err), 0);
	}
	store_publish(w->store);
	uint64_t gone = rng_below(&w->rng, 4); /* of 3 */
	for (uint32_t slot = 0; slot < w->n_slots; slot++)
		if (rng_below(&w->rng, 3) < gone)
			assert_int_equal(store_remove(w->store, slot, &err), 0);
	store_publish(w->store);
	w->snapshot = store_acquire(w->store);
}

static void
fill_queries(struct world *w)
{
	int top = (1 << w->shape.bits) - 1;

	for (size_t b = 0; b < BATCH; b++) {
		uint8_t levels[CODE_DIMS_MAX];
		int8_t values[CODE_DIMS_MAX];
		for (size_t i = 0; i < w->shape.dims; i++) {
			levels[i] = (uint8_t)rng_below(&w->rng, (uint64_t)top + 1);
			values[i] = (int8_t)(rng_below(&w->rng, 256) - 128);
			w->values[b][i] =
			    w->kind == DISTANCE_SDC ? 2 * levels[i] - top : values[i];
			if (w->kind == DISTANCE_HAMMING)
				w->values[b][i] = levels[i];
		}
		if (w->kind == DISTANCE_HAMMING)
			distance_query_hamming(&w->queries[b], levels, w->shape);
		else if (w->kind == DISTANCE_SDC)
			distance_query_sdc(
			    &w->queries[b], levels, 0.6f, w->shape, w->terms);
		else
			distance_query_int8(
			    &w->queries[b], values, 0.02f, w->shape, w->terms);
	}
}

static float
plain_score(const struct world *w, size_t b, uint32_t slot)
{
	const uint8_t *c = w->levels + (size_t)slot * w->shape.dims;
	int top = (1 << w->shape.bits) - 1, plane0 = (top + 1) / 2;
	int32_t dot = 0;

	for (size_t i = 0; i < w->shape.dims; i++)
		dot += w->kind != DISTANCE_HAMMING ? w->values[b][i] * (2 * c[i] - top)
		       : (c[i] & plane0) == (w->values[b][i] & plane0) ? 1
								       : -1;
	if (w->kind == DISTANCE_HAMMING)
		return (float)dot / (float)w->shape.dims;
	float part = w->factor[slot] * (w->queries[b].scale * (float)dot);
	float score = w->terms.base + part;
	return w->terms.metric == DISTANCE_EUCLID ? 2 * score - w->norm2[slot] : score;
}

static int
compare(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void
check(struct world *w, const struct distance_kernel *kernel, size_t threads,
    struct hit *const want[BATCH])
{
	const size_t n_live = w->snapshot->n_live;
	const size_t ks[] = {0, 1, 2, 10, n_live, n_live + 7};
	struct flat_search searches[BATCH];
	struct error err;
	struct flat_scratch *scratch = flat_scratch_new(kernel, threads, &err);

	assert_non_null(scratch);
	for (size_t done = 0; done < BATCH;) {
		size_t n = 1 + rng_below(&w->rng, BATCH - done);
		for (size_t i = 0; i < n; i++) {
			size_t k = ks[rng_below(&w->rng, sizeof ks / sizeof *ks)];
			searches[i] = (struct flat_search){&w->queries[done + i], k,
			    guard_new(k * sizeof(struct hit)), 99};
		}
		assert_int_equal(flat_run(searches, n, w->snapshot, scratch, &err), 0);
		for (size_t i = 0; i < n; i++) {
			size_t k = searches[i].k;
			assert_int_equal(searches[i].n, k < n_live ? k : n_live);
			assert_memory_equal(searches[i].hits, want[done + i],
			    searches[i].n * sizeof(struct hit));
			guard_free(searches[i].hits, k * sizeof(struct hit));
		}
		done += n;
	}
	flat_scratch_free(scratch);
}

static void
play(struct world *w)
{
	static const enum cpu_level all[] = {
	    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512};
	static const size_t threads[] = {1, 2, 5};
	struct hit *want[BATCH];

	fill_store(w);
	fill_queries(w);
	for (size_t b = 0; b < BATCH; b++) {
		size_t n = 0;
		want[b] = malloc((w->n_slots + 1) * sizeof(struct hit));
		for (uint32_t slot = 0; slot < w->n_slots; slot++)
			if (store_get(NULL, NULL, NULL, w->snapshot, slot))
				want[b][n++] =
				    (struct hit){plain_score(w, b, slot), slot};
		assert_int_equal(n, w->snapshot->n_live);
		qsort(want[b], n, sizeof(struct hit), compare);
	}
	for (size_t l = 0; l < sizeof all / sizeof *all; l++)
		for (size_t t = 0; t < 3; t++)
			if (distance_find(all[l]))
				check(w, distance_find(all[l]), threads[t], want);
	for (size_t b = 0; b < BATCH; b++)
		free(want[b]);
}

static void
test_equals_sorting(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct error err;

	(void)state;
	rng_init(&w->rng, test_seed(), 0);
	w->queries = aligned_alloc(64, BATCH * sizeof *w->queries);
	for (int round = 0; round < ROUNDS; round++) {
		/* Up to six chunks of short codes, or a few rows of long ones. */
		uint32_t most = round % 3 == 0 ? 64 : 5;
		w->shape.dims = 64 * (1 + (uint32_t)rng_below(&w->rng, most));
		w->shape.bits = 1 + (uint32_t)rng_below(&w->rng, 4);
		w->kind = (enum distance_kind)rng_below(&w->rng, 3);
		w->terms = (struct distance_terms){
		    rng_below(&w->rng, 2) ? DISTANCE_EUCLID : DISTANCE_DOT,
		    rng_uniform(&w->rng), 0};
		w->n_slots = (uint32_t)rng_below(&w->rng, round % 3 ? 6000 : 200);
		w->levels = calloc(w->n_slots + 1, w->shape.dims);
		w->factor = calloc(w->n_slots + 1, sizeof(float));
		w->norm2 = calloc(w->n_slots + 1, sizeof(float));
		w->store =
		    store_new(w->shape, w->terms.metric == DISTANCE_EUCLID, &err);
		assert_non_null(w->store);
		play(w);
		store_release(w->snapshot);
		store_free(w->store);
		free(w->levels);
		free(w->factor);
		free(w->norm2);
	}
	free(w->queries);
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_equals_sorting)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
