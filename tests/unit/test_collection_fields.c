/*
 * Claims of server/collection.h about payload indexes and how they are checked: a
 * collection with one more or one less is another, over the same store, and the one
 * before stays as it is; numbers rise and are never used again, also after a start; a
 * key is known however it is written; there are at most COLLECTION_FIELDS_MAX; stored
 * settings that were altered are refused; memory that fails leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};

static struct path *
path_of(const char *key)
{
	struct error err;
	struct path *path = path_new(key, strlen(key), &err);

	assert_non_null(path);
	return path;
}

/* *c := the same with an index more (type), or without one (-1). */
static int
change(struct collection **c, const char *key, int type, struct error *err)
{
	struct path *path = path_of(key);
	struct collection *next =
	    type < 0 ? collection_unindexed(*c, path, err)
		     : collection_indexed(*c, path, (enum db_field_type)type, err);

	path_free(path);
	if (!next)
		return -1;
	assert_ptr_equal(collection_store(next), collection_store(*c));
	collection_release(*c);
	*c = next;
	return 0;
}

/* "NUMBER KEY TYPE, " of each. */
static void
check_fields(const struct collection *c, const char *expected)
{
	char text[4000] = "";
	size_t n, at = 0;
	const struct db_field *fields = collection_fields(c, &n);

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%u %s %s, ",
		    fields[i].number, path_key(fields[i].path),
		    collection_field_type_name(fields[i].type));
	assert_string_equal(text, expected);
}

static struct collection *
make(void)
{
	struct error err;
	struct collection *c = collection_new(&settings, NULL, &err);

	assert_non_null(c);
	return c;
}

/* What a start reads of settings that were stored; NULL: *err. */
static struct collection *
load(const char *text, struct error *err)
{
	struct db *db = db_open(rig_new_dir(), (size_t)16 << 20, err);
	struct db_txn *txn = db ? db_begin_write(db, err) : NULL;
	struct db_collection row = {
	    .name = "c", .id = 1, .settings = text, .settings_len = strlen(text)};
	row.version = 1;

	assert_non_null(txn);
	assert_int_equal(db_collection_put(txn, &row, err), 0);
	assert_int_equal(db_commit(txn, err), 0);
	struct registry *registry = registry_open(db, err);
	struct collection *c = registry ? registry_find(registry, "c", err) : NULL;
	registry_close(registry);
	db_close(db);
	return c;
}

/* The settings as they are stored; valid while the collection lives. */
static char *
stored(struct collection *c)
{
	struct db_collection row;
	struct error err;

	assert_int_equal(collection_row(&row, c, 1, &err), 0);
	return (char *)(uintptr_t)row.settings;
}

static void
test_changes(void **state)
{
	(void)state;
	struct error err;
	struct collection *c = make(), *before = collection_retain(c);
	char old[2000];

	check_fields(c, "");
	assert_null(strstr(stored(c), "field"));
	snprintf(old, sizeof old, "%s", stored(c));
	assert_int_equal(change(&c, "a", DB_FIELD_KEYWORD, &err), 0);
	assert_int_equal(change(&c, "b.c[]", DB_FIELD_FLOAT, &err), 0);
	assert_int_equal(change(&c, "t\n\xE2\x82\xAC\\", DB_FIELD_TEXT, &err), 0);
	check_fields(c, "1 a keyword, 2 b.c[] float, 3 t\n\xE2\x82\xAC\\ text, ");
	check_fields(before, "");
	/* Another type takes its place under a new number; to drop what is not there is
	 * fine. */
	assert_int_equal(change(&c, "\"a\"", DB_FIELD_INTEGER, &err), 0);
	assert_int_equal(change(&c, "x", -1, &err), 0);
	check_fields(c, "2 b.c[] float, 3 t\n\xE2\x82\xAC\\ text, 4 \"a\" integer, ");
	struct path *a = path_of("a");
	assert_int_equal(collection_field(c, a)->number, 4);
	path_free(a);
	assert_int_equal(change(&c, "a", -1, &err), 0);

	struct collection *again = load(stored(c), &err);
	assert_non_null(again);
	check_fields(again, "2 b.c[] float, 3 t\n\xE2\x82\xAC\\ text, ");
	assert_int_equal(change(&again, "b.\"c\"[]", -1, &err), 0);
	assert_int_equal(change(&again, "d", DB_FIELD_BOOL, &err), 0);
	check_fields(again, "3 t\n\xE2\x82\xAC\\ text, 5 d bool, ");
	/* Those of an older directory, which says nothing of them. */
	struct collection *plain = load(old, &err);
	assert_non_null(plain);
	check_fields(plain, "");
	collection_release(plain);
	collection_release(again);
	collection_release(before);
	collection_release(c);
}

static void
test_limit(void **state)
{
	(void)state;
	struct error err;
	struct collection *c = make();
	char key[PATH_BYTES_MAX + 1] = "";

	for (int i = 0; i < COLLECTION_FIELDS_MAX; i++) {
		/* The longest keys, each byte written as six. */
		memset(key, 1, PATH_BYTES_MAX);
		key[i] = 2;
		assert_int_equal(change(&c, key, DB_FIELD_KEYWORD, &err), 0);
	}
	assert_int_equal(change(&c, "one more", DB_FIELD_KEYWORD, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "64"));
	assert_int_equal(change(&c, key, DB_FIELD_BOOL, &err), 0);
	struct collection *again = load(stored(c), &err);
	size_t n;
	assert_non_null(again);
	assert_string_equal(path_key(collection_fields(again, &n)[63].path), key);
	assert_int_equal(n, COLLECTION_FIELDS_MAX);
	collection_release(again);
	collection_release(c);
}

/* Every number was used. */
static void
test_numbers(void **state)
{
	(void)state;
	struct error err;
	struct collection *c = make();
	char text[2000];

	assert_int_equal(change(&c, "a", DB_FIELD_KEYWORD, &err), 0);
	snprintf(text, sizeof text, "%s", stored(c));
	char *next = strstr(text, "\"next_field\":2");
	assert_non_null(next);
	strcpy(next, "\"next_field\":65535}");
	struct collection *last = load(text, &err);
	assert_non_null(last);
	assert_int_equal(change(&last, "b", DB_FIELD_KEYWORD, &err), 0);
	check_fields(last, "1 a keyword, 65535 b keyword, ");
	struct collection *again = load(stored(last), &err);
	assert_non_null(again);
	assert_int_equal(change(&again, "d", DB_FIELD_KEYWORD, &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	collection_release(again);
	collection_release(last);
	collection_release(c);
}

static void
test_altered(void **state)
{
	(void)state;
	static const char *const wrong[][2] = {
	    {"\"number\":1", "\"number\":0"},
	    {"\"number\":1", "\"number\":2"},
	    {"\"number\":2", "\"number\":3"},
	    {"\"number\":1", "\"mumber\":1"},
	    {"\"key\":\"a\"", "\"key\":\"b\""},
	    {"\"key\":\"a\"", "\"key\":\".\""},
	    {"\"key\":\"a\"", "\"key\":1.0"},
	    {"\"keyword\"", "\"keywork\""},
	    {"\"next_field\":3", "\"next_field\":2"},
	    {"\"next_field\"", "\"text_field\""},
	    {"\"fields\":[{", "\"fields\":0,\"f\":[{"},
	};
	struct error err;
	struct collection *c = make(), *bad;

	assert_int_equal(change(&c, "a", DB_FIELD_KEYWORD, &err), 0);
	assert_int_equal(change(&c, "b", DB_FIELD_FLOAT, &err), 0);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		char text[2000];
		const char *from = stored(c), *at = strstr(from, wrong[i][0]);
		assert_non_null(at);
		snprintf(text, sizeof text, "%.*s%s%s", (int)(at - from), from,
		    wrong[i][1], at + strlen(wrong[i][0]));
		bad = load(text, &err);
		if (bad)
			fail_msg("%s was taken", wrong[i][1]);
		assert_int_equal(err.code, ERR_FORMAT);
		assert_non_null(strstr(err.text, "fields"));
	}
	collection_release(c);
}

static void
test_memory(void **state)
{
	(void)state;
	struct error err;
	struct collection *c = make(), *next = NULL;
	struct path *path = path_of("a.b");
	int k = 0;

	while (!next) {
		array_fail_at(++k);
		next = collection_indexed(c, path, DB_FIELD_TEXT, &err);
		array_fail_at(0);
		if (!next)
			assert_int_equal(err.code, ERR_MEMORY);
		check_fields(c, "");
	}
	assert_true(k > 3);
	check_fields(next, "1 a.b text, ");
	path_free(path);
	collection_release(next);
	collection_release(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_changes),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_altered),
	    cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
