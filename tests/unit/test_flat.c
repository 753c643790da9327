/*
 * Claims of index/flat.h that need no random input (tests/property/prop_flat.c has the
 * rest): an empty collection, failing memory at every allocation, nothing allocated
 * once the scratch has grown, and a search that goes on over its snapshot while the
 * writer changes the collection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "index/flat.h"

#define ROWS 5000 /* five chunks */
#define SEARCHES 3
#define K 20

static const struct code_shape shape = {64, 1, 0};

/* Row i has the low bits of i as its first bits, so many rows are alike. */
static void
put(struct store *store, uint32_t slot, uint32_t value)
{
	uint8_t wire[8] = {(uint8_t)value, (uint8_t)(value >> 8)};
	struct error err;

	assert_int_equal(
	    store_put(store, slot, &(struct store_row){wire, 1, 0, 0}, &err), 0);
}

static struct store *
filled_store(uint32_t n)
{
	struct error err;
	struct store *store = store_new(1, shape, false, &err);

	assert_non_null(store);
	for (uint32_t i = 0; i < n; i++)
		put(store, i, i % 256);
	store_publish(store);
	return store;
}

struct batch {
	struct distance_query *query; /* all zeros */
	struct hit hits[SEARCHES][K];
	struct flat_search searches[SEARCHES];
};

static void
batch_init(struct batch *b)
{
	uint8_t levels[64] = {0};

	b->query = aligned_alloc(64, sizeof *b->query);
	distance_query_hamming(b->query, levels, shape);
	memset(b->hits, 0, sizeof b->hits);
	for (size_t i = 0; i < SEARCHES; i++)
		b->searches[i] = (struct flat_search){
		    .query = b->query, .k = K, .hits = b->hits[i], .n = 77};
}

/* Value 0 is at every 256th row. */
static void
check_hits(const struct batch *b)
{
	for (size_t i = 0; i < SEARCHES; i++) {
		assert_int_equal(b->searches[i].n, K);
		for (size_t j = 0; j < K; j++) {
			assert_int_equal(b->hits[i][j].slot, 256 * j);
			assert_true(b->hits[i][j].score == 1.0f);
		}
	}
}

static void
test_empty(void **state)
{
	struct error err;
	struct store *store = filled_store(0);
	struct store_snapshot *snapshot = store_acquire(store);
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 2, &err);
	struct batch b;

	(void)state;
	batch_init(&b);
	assert_int_equal(flat_run(b.searches, SEARCHES, snapshot, scratch, &err), 0);
	for (size_t i = 0; i < SEARCHES; i++)
		assert_int_equal(b.searches[i].n, 0);
	assert_int_equal(flat_run(NULL, 0, snapshot, scratch, &err), 0);
	free(b.query);
	flat_scratch_free(scratch);
	flat_scratch_free(NULL);
	store_release(snapshot);
	store_free(store);
}

static void
test_failing_memory(void **state)
{
	struct error err;
	struct store *store = filled_store(ROWS);
	struct store_snapshot *snapshot = store_acquire(store);
	struct flat_scratch *scratch = NULL;
	struct batch b;
	long k;

	(void)state;
	batch_init(&b);
	for (k = 1; !scratch; k++) {
		array_fail_at(k);
		scratch = flat_scratch_new(distance_best(), 2, &err);
		array_fail_at(0);
		assert_true(scratch || (err.code == ERR_MEMORY && k < 20));
	}
	assert_true(k > 2);
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = flat_run(b.searches, SEARCHES, snapshot, scratch, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_true(err.code == ERR_MEMORY && k < 20);
		for (size_t i = 0; i < SEARCHES; i++)
			assert_int_equal(b.searches[i].n, 77);
	}
	assert_true(k > 1);
	check_hits(&b);

	array_fail_at(1); /* grown: no allocation any more */
	assert_int_equal(flat_run(b.searches, SEARCHES, snapshot, scratch, &err), 0);
	array_fail_at(0);
	check_hits(&b);
	free(b.query);
	flat_scratch_free(scratch);
	store_release(snapshot);
	store_free(store);
}

static void
test_old_snapshot(void **state)
{
	struct error err;
	struct store *store = filled_store(ROWS);
	struct store_snapshot *before = store_acquire(store), *after;
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 2, &err);
	struct batch b;

	(void)state;
	batch_init(&b);
	for (uint32_t slot = 0; slot < ROWS; slot += 256)
		assert_int_equal(store_remove(store, slot, &err), 0);
	put(store, 4999, 0);
	store_publish(store);
	after = store_acquire(store);

	assert_int_equal(flat_run(b.searches, SEARCHES, before, scratch, &err), 0);
	check_hits(&b);
	assert_int_equal(flat_run(b.searches, SEARCHES, after, scratch, &err), 0);
	assert_int_equal(b.hits[0][0].slot, 4999);
	assert_true(b.hits[0][0].score == 1.0f);
	assert_true(b.hits[0][1].score < 1.0f);
	free(b.query);
	flat_scratch_free(scratch);
	store_release(before);
	store_release(after);
	store_free(store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_failing_memory),
	    cmocka_unit_test(test_old_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
