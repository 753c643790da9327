/*
 * Claims: a row set does what sets do, against an array of booleans, at sizes around
 * words and chunks; slots behind its end are ignored; the live rows of a snapshot are
 * those that store_part finds, of all its parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/row_set.h"
#include "tests/support/guard.h"

static void
check(const struct row_set *set, const bool *twin)
{
	uint32_t slot = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < set->n_slots; i++) {
		assert_int_equal(row_set_has(set, i), twin[i]);
		if (!twin[i])
			continue;
		assert_true(row_set_next(set, &slot));
		assert_int_equal(slot++, i);
		n++;
	}
	assert_false(row_set_next(set, &slot));
	assert_int_equal(row_set_count(set), n);
	assert_int_equal(row_set_count_to(set, n + 1), n);
	assert_int_equal(row_set_count_to(set, n), n);
	assert_int_equal(row_set_count_to(set, n / 2), n / 2);
	assert_false(row_set_has(set, set->n_slots));
}

static void
sets_are_sets(void **state)
{
	static const uint32_t sizes[] = {0, 1, 15, 16, 17, 1023, 1024, 1025, 5000};
	struct rng rng;
	struct error err;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		uint32_t n = sizes[s];
		struct row_set *a = row_set_new(n, &err), *b = row_set_new(n, &err);
		bool *x = calloc(n + 1, 1), *y = calloc(n + 1, 1);
		assert_true(a && b && x && y);
		assert_int_equal(a->n_words % STORE_CHUNK_BLOCKS, 0);
		check(a, x);
		for (int round = 0; round < 40; round++) {
			for (uint32_t i = 0; i < n / 2; i++) {
				uint32_t slot = (uint32_t)rng_below(&rng, n);
				row_set_add(b, slot);
				y[slot] = true;
				slot = (uint32_t)rng_below(&rng, n);
				row_set_remove(b, slot);
				y[slot] = false;
			}
			row_set_add(b, n);
			row_set_add(b, UINT32_MAX);
			row_set_remove(b, n);
			unsigned what = (unsigned)rng_below(&rng, 5);
			(what == 0      ? row_set_and
			    : what == 1 ? row_set_or
			    : what == 2 ? row_set_and_not
					: row_set_copy)(a, b);
			for (uint32_t i = 0; i < n; i++)
				x[i] = what == 0   ? x[i] && y[i]
				       : what == 1 ? x[i] || y[i]
				       : what == 2 ? x[i] && !y[i]
						   : y[i];
			check(a, x);
			check(b, y);
		}
		row_set_clear(b);
		assert_int_equal(row_set_count(b), 0);
		row_set_free(a);
		row_set_free(b);
		free(x);
		free(y);
	}
	row_set_free(NULL);
}

static void
live_rows_are_those_of_the_snapshot(void **state)
{
	const struct code_shape shape = {64, 1, 0};
	const uint8_t wire[8] = {0};
	struct rng rng;
	struct error err;
	struct store *store = store_new(1, shape, false, &err);
	(void)state;

	rng_init(&rng, test_seed(), 2);
	assert_non_null(store);
	assert_int_equal(store_add_part(store, 2, shape, &err), 0);
	for (int i = 0; i < 2000; i++) {
		struct store_row row = {.wire = wire, .part = rng_below(&rng, 2)};
		uint32_t slot = (uint32_t)rng_below(&rng, 9000);
		assert_int_equal(store_put(store, slot, &row, &err), 0);
	}
	store_publish(store);
	struct store_snapshot *snapshot = store_acquire(store);
	struct row_set *live = row_set_live(snapshot, &err);
	assert_non_null(live);
	assert_int_equal(live->n_slots, snapshot->n_slots);
	for (uint32_t slot = 0; slot < snapshot->n_slots; slot++)
		assert_int_equal(
		    row_set_has(live, slot), store_part(snapshot, slot) >= 0);
	assert_int_equal(row_set_count(live), snapshot->n_live);
	row_set_free(live);
	for (long k = 1; k <= 2; k++) {
		array_fail_at(k);
		assert_null(row_set_live(snapshot, &err));
		array_fail_at(0);
		assert_int_equal(err.code, ERR_MEMORY);
	}
	store_release(snapshot);
	store_free(store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sets_are_sets),
	    cmocka_unit_test(live_rows_are_those_of_the_snapshot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
