/*
 * Claims: changes of indexes beyond what a transaction gathers at once (16 MB) are all
 * written: many points with long terms, and one point of many rows and words whose
 * payload is read from the store while writing goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "server/db_fields.h"
#include "tests/support/rig.h"

#define MAP ((size_t)512 << 20)

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

struct place {
	struct db *db;
	struct db_txn *txn;
	struct db_field field;
};

static struct place
begin(enum db_field_type type)
{
	struct place place = {.field.type = type};
	struct error err;

	place.db = db_open(rig_new_dir(), MAP, &err);
	place.txn = place.db ? db_begin_write(place.db, &err) : NULL;
	place.field.path = path_new("k", 1, &err);
	assert_true(place.txn && place.field.path);
	return place;
}

/* Commit and begin to read. */
static void
turn(struct place *place)
{
	struct error err;

	check(db_commit(place->txn, &err), &err);
	place->txn = db_begin_read(place->db, &err);
	assert_non_null(place->txn);
}

static void
end(struct place *place)
{
	db_end(place->txn);
	db_close(place->db);
	path_free((struct path *)(uintptr_t)place->field.path);
}

/* Whether rows first .. first + n - 1 of 0 .. n_slots - 1, and no others, have the
 * term. */
static void
check_rows(struct place *place, enum db_fields_kind kind, const char *term,
    uint32_t first, uint32_t n, uint32_t n_slots)
{
	struct db_fields_at at = {place->txn, 1, 0};
	struct error err;
	struct row_set *rows = row_set_new(n_slots, &err);
	struct term t;

	assert_non_null(rows);
	term_of_bytes(&t, term, strlen(term));
	check(db_fields_term(rows, &at, kind, &t, &err), &err);
	assert_int_equal(row_set_count(rows), n);
	for (uint32_t i = first; i < first + n; i++)
		assert_true(row_set_has(rows, i));
	row_set_free(rows);
}

static void
many_points_are_written(void **state)
{
	struct place place = begin(DB_FIELD_KEYWORD);
	struct error err;
	char payload[500];
	(void)state;

	for (uint32_t i = 0; i < 50000; i++) {
		int n = snprintf(payload, sizeof payload, "{\"k\": \"%0390u\"}", i / 2);
		struct db_fields_rows rows = {1, &i, 1, payload, (size_t)n};
		check(db_fields_add(place.txn, &place.field, 1, &rows, &err), &err);
	}
	turn(&place);
	for (uint32_t i = 0; i < 50000; i += 2222) {
		snprintf(payload, sizeof payload, "%0390u", i / 2);
		check_rows(&place, DB_FIELDS_STRING, payload, i, 2, 50000);
	}
	end(&place);
}

#define WORDS 20000
#define ROWS 50

static void
one_large_point_is_written(void **state)
{
	struct place place = begin(DB_FIELD_TEXT);
	struct db_passage passages[ROWS] = {{0, 1}};
	struct db_rows rows;
	struct db_record record;
	struct text payload = {0};
	struct error err;
	char word[20];
	bool found;
	(void)state;

	text_string(&payload, "{\"k\": \"");
	for (int i = 0; i < WORDS; i++)
		text_printf(&payload, "word%d ", i);
	text_string(&payload, "\"}");
	assert_false(payload.failed);
	for (rows.n = 0; rows.n < ROWS; rows.n++)
		rows.slots[rows.n] = (uint32_t)rows.n + 7;
	record = (struct db_record){.payload = payload.bytes, .payload_len = payload.n};
	point_id_from_number(&record.id, 1);
	check(db_point_put(place.txn, 1, &rows, passages, &record, &err), &err);
	text_free(&payload);
	/* Its pages are dirty: the store may write them out and free them. */
	check(db_record(place.txn, 1, 7, &found, &record, &err), &err);
	assert_true(found);
	struct db_fields_rows entered = {
	    1, rows.slots, rows.n, record.payload, record.payload_len};
	check(db_fields_add(place.txn, &place.field, 1, &entered, &err), &err);
	turn(&place);
	for (int i = 0; i < WORDS; i += 1111) {
		snprintf(word, sizeof word, "word%d", i);
		check_rows(&place, DB_FIELDS_WORD, word, 7, ROWS, 100);
	}
	end(&place);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(many_points_are_written),
	    cmocka_unit_test(one_large_point_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
