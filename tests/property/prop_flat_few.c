/*
 * Searches of few rows among many find, bit for bit, what a search of all rows has of
 * them: rows that lie alone, or in heaps, over a hundred chunks, in one part or two
 * that lack each other's chunks, with removed rows, in sets that end before the
 * snapshot; each alone or beside searches of many rows, by one thread and by three.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/flat.h"
#include "tests/support/guard.h"

#define ROUNDS 4
#define DIMS 64
#define CHUNKS 100
#define SLOTS (CHUNKS * STORE_CHUNK_ROWS)
#define BATCH 6
#define TRIES 25

struct world {
	struct rng rng;
	struct code_shape shapes[2];
	size_t n_parts;
	struct store *store;
	struct store_snapshot *snapshot;
	struct distance_query *queries; /* (BATCH, n_parts) */
	struct hit *all[BATCH];         /* of each query every live row, in order */
};

static void
fill_store(struct world *w, bool euclid)
{
	struct error err;
	uint8_t wire[DIMS / 8 * CODE_BITS_MAX];
	size_t part = 0;

	w->store = store_new(1, w->shapes[0], euclid, &err);
	assert_non_null(w->store);
	if (w->n_parts == 2)
		assert_int_equal(store_add_part(w->store, 2, w->shapes[1], &err), 0);
	for (uint32_t slot = 0; slot < SLOTS - 7; slot++) {
		if (slot % STORE_CHUNK_ROWS == 0 || rng_below(&w->rng, 2000) == 0)
			part = rng_below(&w->rng, w->n_parts);
		for (size_t i = 0; i < sizeof wire; i++)
			wire[i] = (uint8_t)rng_u64(&w->rng);
		/* Few factors and norms: many rows have the same score. */
		struct store_row row = {wire, (float)(1 + rng_below(&w->rng, 2)),
		    (float)rng_below(&w->rng, 2), part};
		assert_int_equal(store_put(w->store, slot, &row, &err), 0);
	}
	store_publish(w->store);
	for (uint32_t slot = 0; slot < SLOTS - 7; slot++)
		if (rng_below(&w->rng, 5) == 0)
			assert_int_equal(store_remove(w->store, slot, &err), 0);
	store_publish(w->store);
	w->snapshot = store_acquire(w->store);
}

static void
fill_queries(struct world *w, bool euclid)
{
	const struct distance_terms terms = {
	    .metric = euclid ? DISTANCE_EUCLID : DISTANCE_DOT};
	int8_t values[DIMS];

	for (size_t b = 0; b < BATCH; b++) {
		for (size_t i = 0; i < DIMS; i++)
			values[i] = (int8_t)((int)rng_below(&w->rng, 9) - 4);
		for (size_t p = 0; p < w->n_parts; p++)
			distance_query_int8(&w->queries[b * w->n_parts + p], values,
			    0.05f, w->shapes[p], terms);
	}
}

/* Heaps of 1 to `length` slots, of which one in `rare` is in the set. */
static struct row_set *
few_rows(struct world *w, uint64_t rare, uint64_t length)
{
	struct error err;
	uint32_t n_slots =
	    rng_below(&w->rng, 2) ? SLOTS - 7 : (uint32_t)rng_below(&w->rng, SLOTS - 7);
	struct row_set *set = row_set_new(n_slots, &err);

	assert_non_null(set);
	for (uint32_t slot = 0; slot < n_slots;) {
		bool in = rng_below(&w->rng, rare) == 0;
		for (uint64_t n = 1 + rng_below(&w->rng, length); n > 0; n--, slot++)
			if (in)
				row_set_add(set, slot);
	}
	return set;
}

static struct row_set *
random_set(struct world *w)
{
	static const struct {
		uint64_t rare, length;
	} kinds[] = {{20000, 1}, {1000, 1}, {100, 1}, {70, 1}, {20, 4}, {8, 40},
	    {9, 3000}, {2, 1}};
	size_t kind = rng_below(&w->rng, sizeof kinds / sizeof *kinds + 1);

	return kind == sizeof kinds / sizeof *kinds
		   ? NULL
		   : few_rows(w, kinds[kind].rare, kinds[kind].length);
}

static void
check(const struct flat_search *search, const struct hit *all, size_t n_live)
{
	size_t n = 0;

	for (size_t i = 0; i < n_live && n < search->k; i++) {
		if (search->rows && !row_set_has(search->rows, all[i].slot))
			continue;
		assert_true(n < search->n);
		assert_memory_equal(&search->hits[n], &all[i], sizeof *all);
		n++;
	}
	assert_int_equal(search->n, n);
}

/* A batch of searches with sets of any kind. */
static void
play(struct world *w, struct flat_scratch *scratch)
{
	static const size_t ks[] = {1, 10, 300};
	struct flat_search searches[BATCH];
	struct row_set *sets[BATCH];
	struct error err;
	size_t n = 1 + rng_below(&w->rng, BATCH);

	for (size_t i = 0; i < n; i++) {
		size_t k = ks[rng_below(&w->rng, 3)];
		sets[i] = random_set(w);
		searches[i] = (struct flat_search){.query = &w->queries[i * w->n_parts],
		    .k = k,
		    .hits = guard_new(k * sizeof(struct hit)),
		    .rows = sets[i]};
	}
	assert_int_equal(flat_run(searches, n, w->snapshot, scratch, &err), 0);
	for (size_t i = 0; i < n; i++) {
		check(&searches[i], w->all[i], w->snapshot->n_live);
		guard_free(searches[i].hits, searches[i].k * sizeof(struct hit));
		row_set_free(sets[i]);
	}
}

static void
test_few_rows(void **state)
{
	struct world w = {.n_parts = 0};
	struct error err;
	struct flat_scratch *one = flat_scratch_new(distance_best(), 1, &err);
	struct flat_scratch *team = flat_scratch_new(distance_best(), 3, &err);
	(void)state;

	assert_true(one && team);
	rng_init(&w.rng, test_seed(), 0);
	w.queries = aligned_alloc(64, BATCH * 2 * sizeof *w.queries);
	for (int round = 0; round < ROUNDS; round++) {
		w.n_parts = 1 + (size_t)round % 2;
		for (size_t p = 0; p < 2; p++)
			w.shapes[p] = (struct code_shape){
			    DIMS, 1 + (uint32_t)rng_below(&w.rng, CODE_BITS_MAX), 0};
		fill_store(&w, round >= 2);
		fill_queries(&w, round >= 2);
		const size_t n_live = w.snapshot->n_live;
		for (size_t b = 0; b < BATCH; b++) {
			w.all[b] = malloc(n_live * sizeof(struct hit));
			struct flat_search search = {.query = &w.queries[b * w.n_parts],
			    .k = n_live,
			    .hits = w.all[b]};
			assert_int_equal(
			    flat_run(&search, 1, w.snapshot, one, &err), 0);
			assert_int_equal(search.n, n_live);
		}
		for (int i = 0; i < TRIES; i++)
			play(&w, i % 2 ? one : team);
		for (size_t b = 0; b < BATCH; b++)
			free(w.all[b]);
		store_release(w.snapshot);
		store_free(w.store);
	}
	free(w.queries);
	flat_scratch_free(one);
	flat_scratch_free(team);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_rows)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
