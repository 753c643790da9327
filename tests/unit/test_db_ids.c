/*
 * Claim of server/db.h: db_id_next walks the ids of one collection in the order of
 * their keys, from anywhere, and knows where they end.  Numbers, UUIDs and strings,
 * some of which begin others, stand between those of two neighbours and are compared
 * with what qsort makes of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/db.h"
#include "tests/support/guard.h"
#include "tests/support/rows.h"

#define N_IDS 300

static int
by_key(const void *a, const void *b)
{
	const struct point_id *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int order = memcmp(x->key, y->key, n);
	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Id number i: a number, a UUID or a string, some of which begin others. */
static struct point_id
mixed_id(struct rng *rng, uint32_t i)
{
	struct point_id id;
	struct error err;
	char text[POINT_ID_STRING_MAX + 1];

	if (i % 3 == 0) {
		point_id_from_number(&id, rng_u64(rng) >> rng_below(rng, 64));
		return id;
	}
	int n = i % 3 == 1 ? snprintf(text, sizeof text, "%032x", i)
			   : snprintf(text, sizeof text, "%0*d",
				 1 + (int)rng_below(rng, POINT_ID_STRING_MAX), 7);
	rows_check(point_id_from_string(&id, text, (size_t)n, &err), &err);
	return id;
}

/* Ids of one collection in the order of their keys, from anywhere. */
static void
test_ids(void **state)
{
	(void)state;
	struct rng rng;
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	struct point_id *ids = calloc(N_IDS, sizeof *ids);
	struct point_id id = {.len = 0};
	struct error err;
	uint32_t slot;
	bool found;

	rng_init(&rng, test_seed(), 0);
	struct db_txn *txn = db_begin_write(db, &err);
	assert_non_null(txn);
	for (uint32_t i = 0; i < N_IDS; i++) {
		struct db_record record = {.id = mixed_id(&rng, i), .payload = ""};
		struct db_rows rows = {.slots = {i}, .n = 1};
		ids[i] = record.id;
		for (uint32_t c = 4; c < 7; c++)
			rows_check(
			    db_point_put(txn, c, &rows, NULL, &record, &err), &err);
	}
	qsort(ids, N_IDS, sizeof *ids, by_key);
	for (uint32_t i = 0, k = 0; i < N_IDS; i = k) {
		while (k < N_IDS && point_id_equal(&ids[k], &ids[i]))
			k++;
		rows_check(
		    db_id_next(txn, 5, DB_ID_BEHIND, &found, &id, &slot, &err), &err);
		assert_true(found && point_id_equal(&id, &ids[i]));
		uint32_t want;
		rows_check(db_slot(txn, 5, &id, &found, &want, &err), &err);
		assert_int_equal(slot, want);
		rows_check(
		    db_id_next(txn, 5, DB_ID_AT, &found, &id, &slot, &err), &err);
		assert_true(found && point_id_equal(&id, &ids[i]));
	}
	rows_check(db_id_next(txn, 5, DB_ID_BEHIND, &found, &id, &slot, &err), &err);
	assert_false(found);
	id.len = 0;
	rows_check(db_id_next(txn, 7, DB_ID_AT, &found, &id, &slot, &err), &err);
	assert_false(found);
	db_end(txn);
	db_close(db);
	free(ids);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_ids)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
