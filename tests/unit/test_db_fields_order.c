/*
 * Claims: numbers of an index come in their order, whether a key has one value or many
 * pages of them: as the rows of a range, and one by one from any entry on, up and down;
 * places of doubles rise with them and lead back to them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/db_fields.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define MAP ((size_t)64 << 20)

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static void
add(struct db_txn *txn, const struct db_field *f, uint32_t slot, const char *payload)
{
	const struct db_fields_rows rows = {1, &slot, 1, payload, strlen(payload)};
	struct error err;

	check(db_fields_add(txn, f, 1, &rows, &err), &err);
}

static int
compare_places(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The rows whose number is low .. high, against a list. */
static void
check_range(
    struct db_txn *txn, const uint64_t *places, uint32_t n, uint64_t low, uint64_t high)
{
	struct db_fields_at at = {txn, 1, 0};
	struct error err;
	struct row_set *rows = row_set_new(n, &err);

	check(db_fields_numbers(rows, &at, DB_FIELDS_INTEGER, low, high, &err), &err);
	for (uint32_t i = 0; i < n; i++)
		if (row_set_has(rows, i) != (places[i] >= low && places[i] <= high))
			fail_msg("row %u of %u, %llx in %llx .. %llx", i, n,
			    (unsigned long long)places[i], (unsigned long long)low,
			    (unsigned long long)high);
	row_set_free(rows);
}

/* Whether a comes before b, or is it. */
static bool
in_order(struct db_fields_number a, struct db_fields_number b)
{
	return a.place != b.place ? a.place < b.place : a.slot <= b.slot;
}

/* So many entries from one on, up or down: none is left out. */
static void
check_walk(struct db_txn *txn, const uint64_t *places, uint32_t n,
    struct db_fields_number from, size_t max, bool up)
{
	struct db_fields_at at = {txn, 1, 0};
	struct db_fields_number got[100], last = from;
	size_t n_got = max, n_want = 0, n_within = 0;
	struct error err;

	check(db_fields_numbers_from(got, &n_got, &at, DB_FIELDS_INTEGER, &from,
		  up ? DB_FIELDS_UP : DB_FIELDS_DOWN, &err),
	    &err);
	for (size_t i = 0; i < n_got; last = got[i++])
		assert_true(places[got[i].slot] == got[i].place &&
			    in_order(up ? last : got[i], up ? got[i] : last) &&
			    (i == 0 || got[i].slot != last.slot));
	for (uint32_t i = 0; i < n; i++) {
		struct db_fields_number e = {places[i], i};
		bool behind = up ? in_order(from, e) : in_order(e, from);
		n_want += behind;
		n_within += behind && (up ? in_order(e, last) : in_order(last, e));
	}
	assert_int_equal(n_got, n_want < max ? n_want : max);
	assert_true(n_got == 0 || n_within == n_got);
}

static void
numbers_come_in_order(void **state)
{
	static const uint32_t sizes[] = {1, 2, 5, 100, 339, 340, 341, 5000};
	struct db_field f = {.type = DB_FIELD_INTEGER};
	struct db_sizes bytes;
	struct rng rng;
	struct error err;
	char payload[64];
	(void)state;

	rng_init(&rng, test_seed(), 1);
	f.path = path_new("n", 1, &err);
	assert_non_null(f.path);
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		struct db *db = db_open(rig_new_dir(), MAP, &err);
		assert_non_null(db);
		struct db_txn *txn = db_begin_write(db, &err);
		uint32_t n = sizes[s];
		uint64_t *places = calloc(n, sizeof *places);
		for (uint32_t i = 0; i < n; i++) {
			int64_t number = rng_below(&rng, 2) == 0
					     ? (int64_t)rng_below(&rng, 20) - 10
					     : (int64_t)rng_u64(&rng);
			places[i] = db_fields_integer(number);
			assert_true(db_fields_integer_at(places[i]) == number);
			snprintf(payload, sizeof payload, "{\"n\": %lld}",
			    (long long)number);
			add(txn, &f, i, payload);
		}
		check(db_commit(txn, &err), &err);
		uint64_t *sorted = calloc(n, sizeof *sorted);
		memcpy(sorted, places, n * sizeof *sorted);
		qsort(sorted, n, sizeof *sorted, compare_places);
		txn = db_begin_read(db, &err);
		check(db_sizes(db, &bytes, &err), &err);
		assert_true(bytes.other_bytes >= (uint64_t)12 * n);
		check_range(txn, places, n, 0, UINT64_MAX);
		check_range(txn, places, n, 0, 0);
		check_range(txn, places, n, 1, 0);
		for (int i = 0; i < 300; i++) {
			uint64_t a = sorted[rng_below(&rng, n)],
				 b = sorted[rng_below(&rng, n)];
			check_range(txn, places, n, a, b);
			check_range(txn, places, n, a + 1, b - 1);
			check_range(txn, places, n, a, a);
			struct db_fields_number from = {
			    a + rng_below(&rng, 3) - 1, (uint32_t)rng_below(&rng, n)};
			check_walk(
			    txn, places, n, from, 1 + rng_below(&rng, 100), i % 2);
		}
		db_end(txn);
		free(places);
		free(sorted);
		db_close(db);
	}
	path_free((struct path *)(uintptr_t)f.path);
}

static void
doubles_are_in_order(void **state)
{
	static const double numbers[] = {-1.7976931348623157e308, -2, -1.5, -1, -1e-300,
	    -5e-324, 0, 5e-324, 1e-300, 1, 1.5, 2, 1.7976931348623157e308};
	(void)state;

	for (size_t i = 1; i < sizeof numbers / sizeof *numbers; i++)
		assert_true(
		    db_fields_double(numbers[i - 1]) < db_fields_double(numbers[i]));
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		assert_true(
		    db_fields_double_at(db_fields_double(numbers[i])) == numbers[i]);
	assert_true(db_fields_double(-0.0) == db_fields_double(0.0));
	assert_true(db_fields_double(5e-324) == db_fields_double(0.0) + 1);
	/* -0.0 would stand between. */
	assert_true(db_fields_double(-5e-324) == db_fields_double(0.0) - 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_come_in_order),
	    cmocka_unit_test(doubles_are_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
