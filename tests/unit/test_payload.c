/*
 * Claims of server/payload.h and how they are checked: each change on payloads written
 * out by hand; what is done twice is as if done once; payloads over the limit or nested
 * too deep are refused; bad keys name their place; memory that fails leaves nothing
 * behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "server/payload.h"

#define MAX ((size_t)1 << 20)

static struct json
json_of(const char *text)
{
	struct json json;
	struct error err;

	if (json_check(&json, text, strlen(text), &err) != 0)
		fail_msg("%s", err.text);
	return json;
}

/* key: NULL = none. */
static struct payload_change *
set_of(const char *members, const char *key, struct error *err)
{
	struct json json = json_of(members);
	struct path *path = key ? path_new(key, strlen(key), err) : NULL;

	if (key && !path)
		return NULL;
	struct payload_change *change = payload_set(&json, path, err);
	path_free(path);
	return change;
}

static void
check_change(
    const struct payload_change *change, const char *before, const char *expected)
{
	struct text once = {0}, twice = {0};
	struct error err;

	assert_non_null(change);
	assert_int_equal(
	    payload_apply(&once, change, before, strlen(before), MAX, &err), 0);
	assert_string_equal(once.n ? once.bytes : "", expected);
	assert_int_equal(
	    payload_apply(&twice, change, once.n ? once.bytes : "", once.n, MAX, &err),
	    0);
	assert_string_equal(twice.n ? twice.bytes : "", expected);
	text_free(&once);
	text_free(&twice);
}

static void
test_set(void **state)
{
	(void)state;
	static const char *const cases[][4] = {
	    /* members, key, before, after */
	    {"{\"a\":1}", NULL, "", "{\"a\":1}"},
	    {"{}", NULL, "", "{}"},
	    {"{\"b\":2,\"a\":1.0}", NULL, "{\"c\":[ 3 ],\"a\":{\"x\":1}}",
		"{\"c\":[ 3 ],\"a\":1.0,\"b\":2}"},
	    {"{\"a\":null,\"b\":null}", NULL, "{\"a\":1,\"c\":null}", "{\"c\":null}"},
	    /* One key in two spellings; of two members of one name the last counts. */
	    {"{\"\\u0061\":2}", NULL, "{\"a\":1}", "{\"\\u0061\":2}"},
	    {"{\"a\":2}", NULL, "{\"\\u0061\":1,\"a\":3}", "{\"a\":2}"},
	    {"{\"a\":1,\"\\u0061\":2}", NULL, "{}", "{\"\\u0061\":2}"},
	    {"{\"a\":1,\"a\":null}", NULL, "{\"a\":0}", "{}"},
	    {"{\"big\":18446744073709551615}", NULL, "{\"n\":9007199254740993}",
		"{\"n\":9007199254740993,\"big\":18446744073709551615}"},
	    /* Below a key. */
	    {"{\"b\":1}", "a", "{\"a\":{\"c\":2}}", "{\"a\":{\"c\":2,\"b\":1}}"},
	    {"{\"b\":1}", "a", "{\"a\":7,\"z\":0}", "{\"z\":0,\"a\":{\"b\":1}}"},
	    {"{\"b\":1}", "a.\"x.y\"", "", "{\"a\":{\"x.y\":{\"b\":1}}}"},
	    {"{\"b\":1}", "a[]", "{\"a\":[{},{\"b\":2,\"c\":3},4]}",
		"{\"a\":[{\"b\":1},{\"c\":3,\"b\":1},{\"b\":1}]}"},
	    {"{\"b\":1}", "a[1]", "{\"a\":[{},{}]}", "{\"a\":[{},{\"b\":1}]}"},
	    {"{\"b\":1}", "a[2]", "{\"a\":[{},{}]}", "{\"a\":[{},{}]}"},
	    {"{\"b\":1}", "a[].c", "{\"a\":1}", "{\"a\":[]}"},
	    {"{\"b\":null}", "a", "{\"a\":{\"b\":1}}", "{\"a\":{}}"},
	    {"{}", "a.b", "{}", "{\"a\":{\"b\":{}}}"},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct payload_change *change = set_of(cases[i][0], cases[i][1], &err);
		check_change(change, cases[i][2], cases[i][3]);
		payload_change_free(change);
	}
}

static void
test_delete(void **state)
{
	(void)state;
	static const char *const cases[][3] = {
	    /* keys, before, after */
	    {"[\"a\"]", "{\"a\":1,\"b\":2}", "{\"b\":2}"},
	    {"[\"a\",\"b\",\"a\"]", "{\"a\":1,\"b\":2}", "{}"},
	    {"[]", "{\"a\":1}", "{\"a\":1}"},
	    {"[\"a\"]", "", ""},
	    {"[\"x\",\"a.x\",\"a[]\"]", "{\"a\":1}", "{\"a\":1}"},
	    {"[\"a.b\"]", "{\"a\":{\"b\":1,\"c\":2},\"d\":3}",
		"{\"d\":3,\"a\":{\"c\":2}}"},
	    {"[\"a.b\"]", "{\"a\":[{\"b\":1}]}", "{\"a\":[{\"b\":1}]}"},
	    {"[\"a[].b\"]", "{\"a\":[{\"b\":1},2,{\"c\":3}]}",
		"{\"a\":[{},2,{\"c\":3}]}"},
	    {"[\"a[0].b\"]", "{\"a\":[{\"b\":1},{\"b\":1}]}", "{\"a\":[{},{\"b\":1}]}"},
	    {"[\"a[]\"]", "{\"a\":[1,2]}", "{\"a\":[]}"},
	    {"[\"a[0]\"]", "{\"a\":[1,2]}", "{\"a\":[1,2]}"},
	    {"[\"a\"]", "{\"\\u0061\":1,\"a\":2}", "{}"},
	    {"[\"\\\"a.b\\\"\"]", "{\"a.b\":1,\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}"},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json keys = json_of(cases[i][0]);
		struct payload_change *change = payload_delete(&keys, &err);
		check_change(change, cases[i][1], cases[i][2]);
		payload_change_free(change);
	}
}

static void
test_whole(void **state)
{
	(void)state;
	struct error err;
	struct json json = json_of("{\"b\": null}");
	struct payload_change *change = payload_overwrite(&json, &err);

	check_change(change, "{\"a\":1}", "{\"b\": null}");
	check_change(change, "", "{\"b\": null}");
	payload_change_free(change);
	change = payload_clear(&err);
	check_change(change, "{\"a\":1}", "");
	check_change(change, "", "");
	payload_change_free(change);
	payload_change_free(NULL);
}

static void
test_limits(void **state)
{
	(void)state;
	static const char before[] = "{\"a\":1}", after[] = "{\"a\":1,\"b\":2}";
	struct error err;
	struct text text = {0};
	struct payload_change *change = set_of("{\"b\":2}", NULL, &err);

	assert_int_equal(payload_apply(&text, change, before, sizeof before - 1,
			     sizeof after - 1, &err),
	    0);
	assert_string_equal(text.bytes, after);
	assert_int_equal(payload_apply(&text, change, before, sizeof before - 1,
			     sizeof after - 2, &err),
	    -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, "max_payload_bytes"));
	payload_change_free(change);

	/* The key makes it one deeper: 32 are fine, 33 are not. */
	for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
		char members[200] = "";
		for (int i = 0; i < depth; i++)
			strcat(members, i + 1 < depth ? "{\"a\":" : "{");
		for (int i = 0; i < depth; i++)
			strcat(members, "}");
		change = set_of(members, "k", &err);
		assert_non_null(change);
		int rc = payload_apply(&text, change, "", 0, MAX, &err);
		assert_int_equal(rc, depth < JSON_DEPTH_MAX ? 0 : -1);
		assert_true(rc == 0 || err.code == ERR_INPUT);
		payload_change_free(change);
	}
	text_free(&text);
}

static void
test_bad_keys(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "[\"a\",\"\"]", "[\"a\",1]", "[\"a\",\"b.\"]", "[\"a\",null]"};
	struct error err;
	char many[1000] = "[\"a\"";

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct json keys = json_of(bad[i]);
		assert_null(payload_delete(&keys, &err));
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "keys[1]"));
	}
	for (int i = 1; i < PAYLOAD_KEYS_MAX; i++)
		strcat(many, ",\"a\"");
	strcat(many, "]");
	struct json keys = json_of(many);
	struct payload_change *change = payload_delete(&keys, &err);
	assert_non_null(change);
	payload_change_free(change);
	many[strlen(many) - 1] = '\0';
	strcat(many, ",\"a\"]");
	keys = json_of(many);
	assert_null(payload_delete(&keys, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
}

/* Memory fails at every place, one after the other. */
static void
test_memory(void **state)
{
	(void)state;
	static const char before[] = "{\"a\":{\"b\":1},\"c\":2}";
	struct json keys = json_of("[\"a.b\",\"c\"]"), json = json_of("{\"x\":1}");
	struct error err;
	int n_failed = 0;

	for (int kind = 0; kind < 3; kind++) {
		int rc = -1;
		for (int k = 1; rc != 0; k++) {
			struct text text = {0};
			struct path *key = kind == 0 ? path_new("a", 1, &err) : NULL;
			array_fail_at(k);
			struct payload_change *change =
			    kind == 2 ? payload_delete(&keys, &err)
				      : payload_set(&json, key, &err);
			rc = change ? payload_apply(&text, change, before,
					  sizeof before - 1, MAX, &err)
				    : -1;
			array_fail_at(0);
			assert_true(rc == 0 || err.code == ERR_MEMORY);
			n_failed += rc != 0;
			payload_change_free(change);
			path_free(key);
			text_free(&text);
		}
	}
	assert_true(n_failed > 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_set),
	    cmocka_unit_test(test_delete),
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_bad_keys),
	    cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
