/*
 * Claims: what a payload has is entered under exactly the kinds that server/db_fields.h
 * tells, for every type of field; what is said last in a transaction counts, and the
 * transaction itself sees it; the format rises with the first field and not before;
 * dropped fields and collections are purged slice by slice and nothing else is; a
 * damaged bitmap is refused; changes beyond what is gathered at once are written;
 * allocations may fail.
 */
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "server/db_fields.h"
#include "server/db_internal.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define MAP ((size_t)256 << 20)
#define N_TYPES ((uint16_t)5)

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static struct db *
open_db(const char *dir)
{
	struct error err;
	struct db *db = db_open(dir, MAP, &err);

	if (!db)
		fail_msg("%s", err.text);
	return db;
}

static struct db_txn *
begin(struct db *db)
{
	struct error err;
	struct db_txn *txn = db_begin_write(db, &err);

	assert_non_null(txn);
	return txn;
}

static struct db_field
field(uint16_t number, enum db_field_type type, const char *key)
{
	struct error err;
	struct db_field f = {number, type, path_new(key, strlen(key), &err)};

	assert_non_null(f.path);
	return f;
}

static void
field_free(struct db_field f)
{
	path_free((struct path *)(uintptr_t)f.path);
}

static int
change(struct db_txn *txn, const struct db_field *f, uint32_t slot, const char *payload,
    bool is_new, struct error *err)
{
	struct db_fields_rows rows = {1, &slot, 1, payload, strlen(payload)};

	return (is_new ? db_fields_add : db_fields_remove)(txn, f, 1, &rows, err);
}

static void
add(struct db_txn *txn, const struct db_field *f, uint32_t slot, const char *payload)
{
	struct error err;

	check(change(txn, f, slot, payload, true, &err), &err);
}

static void
take(struct db_txn *txn, const struct db_field *f, uint32_t slot, const char *payload)
{
	struct error err;

	check(change(txn, f, slot, payload, false, &err), &err);
}

/* The rows of one kind, and of a term unless it is NULL, as "1 5 6". */
static const char *
rows_with(struct db_txn *txn, uint16_t number, char kind, const char *term)
{
	static char text[1000];
	struct db_fields_at at = {txn, 1, number};
	struct error err;
	struct row_set *rows = row_set_new(70000, &err);
	struct term t;
	size_t n = 0;

	if (term)
		term_of_bytes(&t, term, strlen(term));
	if (kind == DB_FIELDS_INTEGER || kind == DB_FIELDS_DOUBLE)
		check(db_fields_numbers(
			  rows, &at, (enum db_fields_kind)kind, 0, UINT64_MAX, &err),
		    &err);
	else
		check(db_fields_term(
			  rows, &at, (enum db_fields_kind)kind, term ? &t : NULL, &err),
		    &err);
	text[0] = '\0';
	for (uint32_t slot = 0; row_set_next(rows, &slot); slot++)
		n += (size_t)snprintf(
		    text + n, sizeof text - n, "%s%u", n > 0 ? " " : "", slot);
	row_set_free(rows);
	return text;
}

/* Rows 1, 2, .. of the golden directory and of the first test. */
static const char *const payloads[] = {
    "{}",
    "{\"k\": null}",
    "{\"k\": []}",
    "{\"k\": [null]}",
    "{\"k\": \"red\"}",
    "{\"k\": [\"red\", \"Blue Bird\", 7]}",
    "{\"k\": 7}",
    "{\"k\": [7.0, -1.5, 9223372036854775808]}",
    "{\"k\": [true, \"blue\"]}",
    "{\"k\": false}",
    "{\"k\": {\"k\": 7}}",
    "{\"k\": [[7, \"red\"], \"red\"]}",
    "",
};
#define PAYLOADS (sizeof payloads / sizeof *payloads)

static const struct {
	enum db_field_type type;
	char kind;
	const char *term;
	const char *rows;
} entries[] = {
    {DB_FIELD_KEYWORD, DB_FIELDS_STRING, "red", "5 6 12"},
    {DB_FIELD_KEYWORD, DB_FIELDS_STRING, "Blue Bird", "6"},
    {DB_FIELD_KEYWORD, DB_FIELDS_STRING, "blue", "9"},
    {DB_FIELD_KEYWORD, DB_FIELDS_STRING, "re", ""},
    {DB_FIELD_KEYWORD, DB_FIELDS_OTHER, NULL, "6 7 8 9 10 11 12"},
    {DB_FIELD_KEYWORD, DB_FIELDS_VALUE, NULL, "4 5 6 7 8 9 10 11 12"},
    {DB_FIELD_KEYWORD, DB_FIELDS_NULL, NULL, "2"},
    {DB_FIELD_KEYWORD, DB_FIELDS_INTEGER, NULL, ""},
    {DB_FIELD_INTEGER, DB_FIELDS_INTEGER, NULL, "6 7"},
    {DB_FIELD_INTEGER, DB_FIELDS_DOUBLE, NULL, "8"},
    {DB_FIELD_INTEGER, DB_FIELDS_OTHER, NULL, "5 6 9 10 11 12"},
    {DB_FIELD_INTEGER, DB_FIELDS_VALUE, NULL, "4 5 6 7 8 9 10 11 12"},
    {DB_FIELD_INTEGER, DB_FIELDS_STRING, "red", ""},
    {DB_FIELD_FLOAT, DB_FIELDS_INTEGER, NULL, "6 7"},
    {DB_FIELD_FLOAT, DB_FIELDS_DOUBLE, NULL, "8"},
    {DB_FIELD_BOOL, DB_FIELDS_TRUE, NULL, "9"},
    {DB_FIELD_BOOL, DB_FIELDS_FALSE, NULL, "10"},
    {DB_FIELD_BOOL, DB_FIELDS_OTHER, NULL, "5 6 7 8 9 11 12"},
    {DB_FIELD_TEXT, DB_FIELDS_WORD, "red", "5 6 12"},
    {DB_FIELD_TEXT, DB_FIELDS_WORD, "blue", "6 9"},
    {DB_FIELD_TEXT, DB_FIELDS_WORD, "bird", "6"},
    {DB_FIELD_TEXT, DB_FIELDS_WORD, "Blue", ""},
    {DB_FIELD_TEXT, DB_FIELDS_STRING, "red", ""},
    {DB_FIELD_TEXT, DB_FIELDS_NULL, NULL, "2"},
};

static void
check_entries(struct db_txn *txn)
{
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		const char *rows = rows_with(
		    txn, (uint16_t)entries[i].type, entries[i].kind, entries[i].term);
		if (strcmp(rows, entries[i].rows) != 0)
			fail_msg("type %d, kind %c, %s: expected rows %s, not %s",
			    entries[i].type, entries[i].kind,
			    entries[i].term ? entries[i].term : "-", entries[i].rows,
			    rows);
	}
}

/* Fields 0 .. 4 of each type over "k"; all but the last are complete. */
static void
make_entries(struct db *db)
{
	struct db_txn *txn = begin(db);
	struct error err;

	for (uint16_t type = 0; type < N_TYPES; type++) {
		struct db_field f = field(type, (enum db_field_type)type, "k");
		check(db_fields_new(txn, 1, type, &err), &err);
		for (uint32_t i = 0; i < PAYLOADS; i++)
			add(txn, &f, i + 1, payloads[i]);
		if (type < DB_FIELD_TEXT)
			check(db_fields_set_complete(txn, 1, type, &err), &err);
		field_free(f);
	}
	check_entries(txn);
	check(db_commit(txn, &err), &err);
}

static void
check_complete(struct db_txn *txn)
{
	for (uint16_t number = 0; number < N_TYPES + (uint16_t)1; number++) {
		struct db_fields_at at = {txn, 1, number};
		struct error err;
		bool complete;
		check(db_fields_complete(&at, &complete, &err), &err);
		assert_int_equal(complete, number < DB_FIELD_TEXT);
	}
}

static void
values_are_entered_by_their_kinds(void **state)
{
	struct db *db = open_db(rig_new_dir());
	struct error err;
	uint32_t version;
	(void)state;

	struct db_txn *txn = db_begin_read(db, &err);
	check(db_format(txn, &version, &err), &err);
	assert_int_equal(version, DB_FORMAT_PLAIN);
	db_end(txn);
	make_entries(db);
	txn = db_begin_read(db, &err);
	check(db_format(txn, &version, &err), &err);
	assert_int_equal(version, DB_FORMAT_FIELDS);
	check_entries(txn);
	check_complete(txn);
	db_end(txn);
	db_close(db);
}

/* tests/golden/data-v4 is what make_entries wrote when the format came:
 * MAKE_GOLDEN=tests/golden/data-v4 test_db_fields writes it anew. */
static void
an_older_directory_is_read(void **state)
{
	char path[500];
	const char *dir = rig_new_dir();
	struct error err;
	(void)state;

	mkdir(dir, 0755);
	snprintf(path, sizeof path, "cp tests/golden/data-v4/data.mdb %s", dir);
	assert_int_equal(system(path), 0);
	struct db *db = open_db(dir);
	struct db_txn *txn = db_begin_read(db, &err);
	check_entries(txn);
	check_complete(txn);
	db_end(txn);
	/* It can be written further. */
	struct db_field f = field(DB_FIELD_KEYWORD, DB_FIELD_KEYWORD, "k");
	txn = begin(db);
	add(txn, &f, 1, "{\"k\": \"red\"}");
	take(txn, &f, 5, payloads[4]);
	check(db_commit(txn, &err), &err);
	txn = db_begin_read(db, &err);
	assert_string_equal(
	    rows_with(txn, DB_FIELD_KEYWORD, DB_FIELDS_STRING, "red"), "1 6 12");
	db_end(txn);
	field_free(f);
	db_close(db);
}

static void
the_last_change_counts(void **state)
{
	struct db *db = open_db(rig_new_dir());
	struct db_field f = field(3, DB_FIELD_INTEGER, "n");
	struct db_field s = field(4, DB_FIELD_KEYWORD, "n");
	struct error err;
	(void)state;

	struct db_txn *txn = begin(db);
	add(txn, &f, 1, "{\"n\": 5}");
	take(txn, &f, 1, "{\"n\": 5}");
	assert_string_equal(rows_with(txn, 3, DB_FIELDS_INTEGER, NULL), "");
	take(txn, &f, 1, "{\"n\": 5}");
	add(txn, &f, 1, "{\"n\": 5}");
	assert_string_equal(rows_with(txn, 3, DB_FIELDS_INTEGER, NULL), "1");
	add(txn, &s, 69999, "{\"n\": \"x\"}");
	add(txn, &s, 65536, "{\"n\": [\"x\", \"x\"]}");
	add(txn, &s, 65535, "{\"n\": \"x\"}");
	check(db_commit(txn, &err), &err);
	txn = begin(db);
	assert_string_equal(
	    rows_with(txn, 4, DB_FIELDS_STRING, "x"), "65535 65536 69999");
	take(txn, &s, 65536, "{\"n\": \"x\"}");
	take(txn, &f, 1, "{\"n\": 5}");
	take(txn, &f, 9, "{\"n\": 5}"); /* is not there */
	assert_string_equal(rows_with(txn, 4, DB_FIELDS_STRING, "x"), "65535 69999");
	db_end(txn);
	txn = db_begin_read(db, &err);
	assert_string_equal(
	    rows_with(txn, 4, DB_FIELDS_STRING, "x"), "65535 65536 69999");
	assert_string_equal(rows_with(txn, 3, DB_FIELDS_INTEGER, NULL), "1");
	db_end(txn);
	field_free(f);
	field_free(s);
	db_close(db);
}

static size_t
count(struct db_txn *txn, enum db_name name)
{
	MDB_stat stat;

	assert_int_equal(mdb_stat(txn->txn, txn->db->dbi[name], &stat), 0);
	return stat.ms_entries;
}

/* Purge in slices; every slice takes no more than it may. */
static void
purge(struct db *db, size_t slice)
{
	struct error err;
	bool more = true;

	while (more) {
		struct db_txn *txn = begin(db);
		size_t before = count(txn, DB_NUMBERS) + count(txn, DB_TERMS);
		check(db_purge(txn, slice, &more, &err), &err);
		size_t after = count(txn, DB_NUMBERS) + count(txn, DB_TERMS);
		assert_true(after + slice >= before);
		assert_true(!more || after < before || slice == 0);
		check(db_commit(txn, &err), &err);
	}
}

static void
what_is_dropped_is_purged(void **state)
{
	struct db *db = open_db(rig_new_dir());
	struct error err;
	struct db_txn *txn;
	bool complete;
	(void)state;

	make_entries(db);
	for (uint16_t type = 0; type < N_TYPES - (uint16_t)1; type++) {
		txn = begin(db);
		struct db_fields_at at = {txn, 1, type};
		check(db_fields_drop(txn, 1, type, &err), &err);
		check(db_fields_complete(&at, &complete, &err), &err);
		assert_false(complete);
		check(db_commit(txn, &err), &err);
		purge(db, 3);
		txn = db_begin_read(db, &err);
		assert_string_equal(rows_with(txn, type, DB_FIELDS_VALUE, NULL), "");
		assert_string_equal(rows_with(txn, type, DB_FIELDS_INTEGER, NULL), "");
		assert_string_equal(
		    rows_with(txn, DB_FIELD_TEXT, DB_FIELDS_WORD, "red"), "5 6 12");
		assert_int_equal(count(txn, DB_DROPPED), 0);
		db_end(txn);
	}
	/* The collection with what is left; a field whose key begins its number too. */
	txn = begin(db);
	struct db_collection row = {
	    .name = "c", .id = 1, .settings = "{}", .settings_len = 2, .version = 1};
	check(db_collection_put(txn, &row, &err), &err);
	struct db_field f = field(DB_FIELD_FLOAT, DB_FIELD_FLOAT, "n");
	add(txn, &f, 1, "{\"n\": 1.5}");
	check(db_collection_drop(txn, "c", 1, &err), &err);
	check(db_fields_drop(txn, 1, DB_FIELD_FLOAT, &err), &err);
	check(db_commit(txn, &err), &err);
	purge(db, 2);
	txn = db_begin_read(db, &err);
	assert_int_equal(count(txn, DB_NUMBERS) + count(txn, DB_TERMS), 0);
	assert_int_equal(count(txn, DB_DROPPED), 0);
	db_end(txn);
	field_free(f);
	db_close(db);
}

static void
a_damaged_bitmap_is_refused(void **state)
{
	struct db *db = open_db(rig_new_dir());
	struct db_fields_at at = {.collection = 1, .number = DB_FIELD_KEYWORD};
	static const char key_bytes[] = "\0\0\0\1\0\0sred\0\0";
	MDB_val key = {sizeof key_bytes, (void *)(uintptr_t)key_bytes}, value;
	struct row_set *rows;
	struct error err;
	struct term term;
	uint8_t copy[100];
	(void)state;

	make_entries(db);
	rows = row_set_new(100, &err);
	term_of_bytes(&term, "red", 3);
	at.txn = begin(db);
	assert_int_equal(mdb_get(at.txn->txn, db->dbi[DB_TERMS], &key, &value), 0);
	size_t n = value.mv_size;
	assert_true(n > 8 && n < sizeof copy);
	memcpy(copy, value.mv_data, n);
	for (size_t i = 0; i < 9 * n; i++) {
		/* A bit of each byte, then each length. */
		copy[i % n] ^= (uint8_t)(i < 8 * n ? 1u << i / n : 0);
		value = (MDB_val){i < 8 * n ? n : i % n, copy};
		assert_int_equal(
		    mdb_put(at.txn->txn, db->dbi[DB_TERMS], &key, &value, 0), 0);
		assert_int_equal(
		    db_fields_term(rows, &at, DB_FIELDS_STRING, &term, &err), -1);
		assert_int_equal(err.code, ERR_FORMAT);
		copy[i % n] ^= (uint8_t)(i < 8 * n ? 1u << i / n : 0);
	}
	db_end(at.txn);
	row_set_free(rows);
	db_close(db);
}

static void
allocations_may_fail(void **state)
{
	struct db *db = open_db(rig_new_dir());
	struct db_field f = field(0, DB_FIELD_KEYWORD, "k");
	struct error err;
	bool done = false;
	long k = 0;
	(void)state;

	while (!done) {
		struct db_txn *txn = begin(db);
		array_fail_at(++k);
		done = change(txn, &f, 5, "{\"k\": [\"a\", \"b\"]}", true, &err) == 0;
		array_fail_at(0);
		assert_true(done || err.code == ERR_MEMORY);
		if (!done)
			db_end(txn);
		else
			check(db_commit(txn, &err), &err);
	}
	assert_true(k > 3);
	struct db_txn *txn = db_begin_read(db, &err);
	assert_string_equal(rows_with(txn, 0, DB_FIELDS_STRING, "b"), "5");
	db_end(txn);
	field_free(f);
	db_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_are_entered_by_their_kinds),
	    cmocka_unit_test(an_older_directory_is_read),
	    cmocka_unit_test(the_last_change_counts),
	    cmocka_unit_test(what_is_dropped_is_purged),
	    cmocka_unit_test(a_damaged_bitmap_is_refused),
	    cmocka_unit_test(allocations_may_fail),
	};
	const char *golden = getenv("MAKE_GOLDEN");
	if (golden) {
		struct db *db = open_db(golden);
		make_entries(db);
		db_close(db);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
