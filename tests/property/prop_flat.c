/*
 * flat_run, and passes that have turns, give, bit for bit, what sorting the score of
 * every live row gives: for any shape, kind, metric, kernel, number of threads, k (0,
 * 1, n, beyond n) and split into batches, with few different codes so that ties are
 * everywhere, with removed rows, with rows in up to three parts of different shapes,
 * some of which have centres, for queries that read the first planes alone, and for
 * those among the rows of a set.  The twin computes each score from levels by the
 * formulas of index/distance.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/flat.h"
#include "tests/support/guard.h"

#define ROUNDS 60
#define BATCH 9
#define PARTS 3

struct world {
	struct rng rng;
	size_t n_parts;
	struct code_shape shapes[PARTS];
	uint32_t planes[PARTS]; /* that are read */
	enum distance_kind kind;
	struct distance_terms terms;
	uint32_t n_slots;
	uint8_t *levels; /* (n_slots, CODE_DIMS_MAX), and each slot's part */
	uint8_t *part;
	float *factor, *norm2;
	struct code_place *place; /* of slots in parts with centres */
	struct store *store;
	struct store_snapshot *snapshot;
	/* queries, with their integer form */
	struct distance_query *queries; /* (BATCH, n_parts) */
	int values[BATCH][PARTS][CODE_DIMS_MAX];
	float bases[BATCH][PARTS][CODE_CENTRES_MAX];
};

static struct code_place
random_place(struct world *w, struct code_shape shape)
{
	struct code_place place = {0, 0};

	if (shape.centres > 0) {
		place.centre = (uint16_t)rng_below(&w->rng, shape.centres);
		place.share = code_share(4 * rng_uniform(&w->rng));
	}
	return place;
}

static void
fill_store(struct world *w)
{
	struct error err;
	uint8_t wire[CODE_BYTES_MAX];
	uint32_t variety = 1 + (uint32_t)rng_below(&w->rng, 40);

	for (uint32_t slot = 0; slot < w->n_slots; slot++) {
		uint8_t *c = w->levels + (size_t)slot * CODE_DIMS_MAX;
		uint32_t same = (uint32_t)rng_below(&w->rng, variety);
		if (slot < variety) {
			size_t p = rng_below(&w->rng, w->n_parts);
			w->part[slot] = (uint8_t)p;
			for (size_t i = 0; i < w->shapes[p].dims; i++)
				c[i] = (uint8_t)rng_below(
				    &w->rng, 1u << w->shapes[p].bits);
			w->factor[slot] = rng_uniform(&w->rng);
			w->norm2[slot] = rng_uniform(&w->rng);
			w->place[slot] = random_place(w, w->shapes[p]);
		} else {
			memcpy(
			    c, w->levels + (size_t)same * CODE_DIMS_MAX, CODE_DIMS_MAX);
			w->part[slot] = w->part[same];
			w->factor[slot] = w->factor[same];
			w->norm2[slot] = w->norm2[same];
			w->place[slot] = w->place[same];
		}
		struct code_shape shape = w->shapes[w->part[slot]];
		code_from_levels(wire, c, shape);
		if (shape.centres > 0)
			code_place_put(wire, w->place[slot], shape);
		struct store_row row = {
		    wire, w->factor[slot], w->norm2[slot], w->part[slot]};
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

/* *q := a random query for a part, its integers and its products with centres. */
static void
fill_query(
    struct world *w, struct distance_query *q, int *integers, float *bases, size_t part)
{
	struct code_shape shape = w->shapes[part];
	struct distance_terms terms = w->terms;
	int top = (1 << shape.bits) - 1;
	uint8_t levels[CODE_DIMS_MAX];
	int8_t values[CODE_DIMS_MAX];

	for (size_t i = 0; i < shape.dims; i++) {
		levels[i] = (uint8_t)rng_below(&w->rng, (uint64_t)top + 1);
		values[i] = (int8_t)(rng_below(&w->rng, 256) - 128);
		integers[i] = w->kind == DISTANCE_HAMMING ? levels[i]
			      : w->kind == DISTANCE_SDC   ? 2 * levels[i] - top
							  : values[i];
	}
	for (size_t i = 0; i < shape.centres; i++)
		bases[i] = rng_uniform(&w->rng) - 0.5f;
	terms.bases = bases;
	if (w->kind == DISTANCE_HAMMING)
		distance_query_hamming(q, levels, shape);
	else if (w->kind == DISTANCE_SDC)
		distance_query_sdc(q, levels, 0.6f, shape, terms);
	else
		distance_query_int8(q, values, 0.02f, shape, terms);
	if (w->planes[part] < shape.bits)
		distance_query_planes(q, w->planes[part]);
}

static void
fill_queries(struct world *w)
{
	for (size_t b = 0; b < BATCH; b++)
		for (size_t p = 0; p < w->n_parts; p++)
			fill_query(w, &w->queries[b * w->n_parts + p], w->values[b][p],
			    w->bases[b][p], p);
}

static float
plain_score(const struct world *w, size_t b, uint32_t slot)
{
	const uint8_t *c = w->levels + (size_t)slot * CODE_DIMS_MAX;
	size_t p = w->part[slot];
	struct code_shape shape = w->shapes[p];
	const struct distance_query *q = &w->queries[b * w->n_parts + p];
	int plane0 = 1 << (shape.bits - 1), rest = (int)(shape.bits - w->planes[p]);
	int top = (1 << w->planes[p]) - 1;
	int32_t dot = 0;

	for (size_t i = 0; i < shape.dims; i++) {
		int k = w->values[b][p][i];
		dot += w->kind != DISTANCE_HAMMING
			   ? k * (2 * (c[i] >> rest) - top) * (1 << rest)
		       : (c[i] & plane0) == (k & plane0) ? 1
							 : -1;
	}
	if (w->kind == DISTANCE_HAMMING)
		return (float)dot / (float)shape.dims;
	float score = q->scale * (float)dot;
	if (shape.centres > 0)
		score += code_share_value(w->place[slot].share) *
			 w->bases[b][p][w->place[slot].centre];
	score = w->terms.base + w->factor[slot] * score;
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

/* A set of some slots, by runs of slots so that blocks are empty, of no more slots than
 * there are; or NULL. */
static struct row_set *
random_set(struct world *w)
{
	static const uint64_t lengths[] = {1, 40, 3000};
	uint64_t length = lengths[rng_below(&w->rng, 3)];
	struct error err;

	if (rng_below(&w->rng, 2))
		return NULL;
	struct row_set *set =
	    row_set_new((uint32_t)rng_below(&w->rng, w->n_slots + 1), &err);
	assert_non_null(set);
	for (uint32_t slot = 0; slot < set->n_slots;) {
		bool in = rng_below(&w->rng, 3) == 0;
		for (uint64_t n = 1 + rng_below(&w->rng, length); n > 0; n--, slot++)
			if (in)
				row_set_add(set, slot);
	}
	return set;
}

/* The hits of all rows, and of a set, are those of `want` that are in it. */
static void
check_search(
    const struct world *w, const struct flat_search *search, const struct hit *want)
{
	size_t n = 0;

	for (size_t i = 0; i < w->snapshot->n_live && n < search->k; i++) {
		if (search->rows && !row_set_has(search->rows, want[i].slot))
			continue;
		assert_true(n < search->n);
		assert_memory_equal(&search->hits[n], &want[i], sizeof *want);
		n++;
	}
	assert_int_equal(search->n, n);
}

static bool
counts_down(void *left)
{
	return atomic_fetch_sub((atomic_int *)left, 1) <= 0;
}

/* At once; or as two passes that have turns, of a random length, by fewer threads. */
static void
run(struct world *w, struct flat_search *searches, size_t n,
    struct flat_scratch *scratch)
{
	struct error err;

	if (rng_below(&w->rng, 2)) {
		assert_int_equal(flat_run(searches, n, w->snapshot, scratch, &err), 0);
		return;
	}
	struct flat_scratch *passes[] = {scratch, flat_scratch_beside(scratch, &err)};
	bool more[] = {true, true};
	size_t part = rng_below(&w->rng, n + 1);
	assert_non_null(passes[1]);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(
		    flat_begin(passes[i], searches + i * part, i ? n - part : part,
			w->snapshot, 1 + rng_below(&w->rng, 3), &err),
		    0);
	while (more[0] || more[1]) {
		size_t i = rng_below(&w->rng, 2);
		atomic_int left = (int)rng_below(&w->rng, 4);
		more[i] = flat_step(passes[i], counts_down, &left);
	}
	for (size_t i = 0; i < 2; i++)
		flat_end(passes[i]);
	flat_scratch_free(passes[1]);
}

static void
check(struct world *w, const struct distance_kernel *kernel, size_t threads,
    struct hit *const want[BATCH])
{
	const size_t n_live = w->snapshot->n_live;
	const size_t ks[] = {0, 1, 2, 10, n_live, n_live + 7};
	struct flat_search searches[BATCH];
	struct row_set *sets[BATCH];
	struct error err;
	struct flat_scratch *scratch = flat_scratch_new(kernel, threads, &err);

	assert_non_null(scratch);
	for (size_t done = 0; done < BATCH;) {
		size_t n = 1 + rng_below(&w->rng, BATCH - done);
		for (size_t i = 0; i < n; i++) {
			size_t k = ks[rng_below(&w->rng, sizeof ks / sizeof *ks)];
			sets[i] = random_set(w);
			searches[i] = (struct flat_search){
			    .query = &w->queries[(done + i) * w->n_parts],
			    .k = k,
			    .hits = guard_new(k * sizeof(struct hit)),
			    .n = 99,
			    .rows = sets[i]};
		}
		run(w, searches, n, scratch);
		for (size_t i = 0; i < n; i++) {
			check_search(w, &searches[i], want[done + i]);
			guard_free(
			    searches[i].hits, searches[i].k * sizeof(struct hit));
			row_set_free(sets[i]);
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
	w->queries = aligned_alloc(64, BATCH * PARTS * sizeof *w->queries);
	for (int round = 0; round < ROUNDS; round++) {
		/* Up to six chunks of short codes, or a few rows of long ones. */
		uint32_t most = round % 3 == 0 ? 64 : 5;
		w->n_parts = 1 + rng_below(&w->rng, PARTS);
		for (size_t p = 0; p < w->n_parts; p++) {
			uint32_t bits = 1 + (uint32_t)rng_below(&w->rng, 4);
			uint32_t centres =
			    rng_below(&w->rng, 2)
				? 1 + (uint32_t)rng_below(&w->rng, CODE_CENTRES_MAX)
				: 0;
			w->shapes[p] = (struct code_shape){
			    64 * (1 + (uint32_t)rng_below(&w->rng, most)), bits,
			    centres};
			w->planes[p] = 1 + (uint32_t)rng_below(&w->rng, bits);
		}
		w->kind = (enum distance_kind)rng_below(&w->rng, 3);
		w->terms = (struct distance_terms){
		    rng_below(&w->rng, 2) ? DISTANCE_EUCLID : DISTANCE_DOT,
		    rng_uniform(&w->rng), 0, NULL};
		w->n_slots = (uint32_t)rng_below(&w->rng, round % 3 ? 6000 : 200);
		w->levels = calloc(w->n_slots + 1, CODE_DIMS_MAX);
		w->part = calloc(w->n_slots + 1, 1);
		w->factor = calloc(w->n_slots + 1, sizeof(float));
		w->norm2 = calloc(w->n_slots + 1, sizeof(float));
		w->place = calloc(w->n_slots + 1, sizeof *w->place);
		w->store = store_new(
		    1, w->shapes[0], w->terms.metric == DISTANCE_EUCLID, &err);
		assert_non_null(w->store);
		for (size_t p = 1; p < w->n_parts; p++)
			assert_int_equal(store_add_part(w->store, (uint32_t)p + 1,
					     w->shapes[p], &err),
			    0);
		play(w);
		store_release(w->snapshot);
		store_free(w->store);
		free(w->levels);
		free(w->part);
		free(w->factor);
		free(w->norm2);
		free(w->place);
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
