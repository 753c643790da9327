/*
 * Claims of server/path_change.h: what is changed is where the path leads, and what is
 * not keeps its spelling, whatever the spelling of keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/path_change.h"

static struct json
parse(const char *text)
{
	struct json root;
	struct error err;

	assert_int_equal(json_check(&root, text, strlen(text), &err), 0);
	return root;
}

static struct path *
path(const char *key)
{
	struct error err;
	struct path *p = path_new(key, strlen(key), &err);

	assert_non_null(p);
	return p;
}

static void
same(struct text *out, const char *want)
{
	struct json root;
	struct error err;

	assert_false(out->failed);
	assert_int_equal(out->n, strlen(want));
	assert_memory_equal(out->bytes, want, out->n);
	assert_int_equal(json_check(&root, out->bytes, out->n, &err), 0);
	text_free(out);
}

static void
test_merge(void **state)
{
	static const char *const cases[][3] = {
	    {"{}", "{}", "{}"},
	    {"{}", "{\"a\":1}", "{\"a\":1}"},
	    {"{ \"a\" : 1.50 , \"b\" : [1, 2] }", "{\"a\":null}",
		"{\"b\":[1, 2],\"a\":null}"},
	    {"{\"\\u0061\":1,\"ab\":2}", "{\"a\":3}", "{\"ab\":2,\"a\":3}"},
	    {"{\"a\":1,\"a\":2}", "{\"\\u0061\":3}", "{\"\\u0061\":3}"},
	    {"{\"n\":12345678901234567890123}", "{\"m\":-0.0}",
		"{\"n\":12345678901234567890123,\"m\":-0.0}"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json object = parse(cases[i][0]), values = parse(cases[i][1]);
		struct text out = {0};
		path_merge(&out, &object, &values);
		same(&out, cases[i][2]);
	}
}

static void
test_merge_at(void **state)
{
	static const char *const cases[][4] = {
	    {"{}", "a", "{\"x\":1}", "{\"a\":{\"x\":1}}"},
	    {"{}", "a.b.c", "{\"x\":1}", "{\"a\":{\"b\":{\"c\":{\"x\":1}}}}"},
	    {"{\"a\":5,\"z\":0}", "a.b", "{\"x\":1}",
		"{\"z\":0,\"a\":{\"b\":{\"x\":1}}}"},
	    {"{\"a\":{\"y\":2,\"x\":9}}", "a", "{\"x\":1}",
		"{\"a\":{\"y\":2,\"x\":1}}"},
	    {"{\"a\":[{\"y\":2},3]}", "a[]", "{\"x\":1}",
		"{\"a\":[{\"y\":2,\"x\":1},{\"x\":1}]}"},
	    {"{\"a\":[{\"y\":2},3]}", "a[1].b", "{\"x\":1}",
		"{\"a\":[{\"y\":2},{\"b\":{\"x\":1}}]}"},
	    {"{\"b\":1}", "a[].b", "{\"x\":1}", "{\"b\":1}"},
	    {"{\"a\":7}", "a[]", "{\"x\":1}", "{\"a\":7}"},
	    {"{}", "\"a.b\"", "{\"x\":1}", "{\"a.b\":{\"x\":1}}"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json object = parse(cases[i][0]), values = parse(cases[i][2]);
		struct path *p = path(cases[i][1]);
		struct text out = {0};
		path_merge_at(&out, &object, p, &values);
		same(&out, cases[i][3]);
		path_free(p);
	}
}

static void
test_remove(void **state)
{
	static const char *const cases[][3] = {
	    {"{}", "a", "{}"},
	    {"{\"a\":1}", "a", "{}"},
	    {"{\"a\":1,\"b\":2,\"a\":3}", "a", "{\"b\":2}"},
	    {"{\"a\":{\"b\":1,\"c\":2.0}}", "a.b", "{\"a\":{\"c\":2.0}}"},
	    {"{\"a\":[{\"b\":1,\"c\":2},{\"b\":3},4]}", "a[].b",
		"{\"a\":[{\"c\":2},{},4]}"},
	    {"{\"a\":[1,2,3]}", "a[1]", "{\"a\":[1,3]}"},
	    {"{\"a\":[1,2,3]}", "a[]", "{\"a\":[]}"},
	    {"{\"a\":[1]}", "a[3]", "{\"a\":[1]}"},
	    {"{\"a\":1}", "a.b", "{\"a\":1}"},
	    {"{\"\\u0061\":1,\"b\":\"\\u0062\"}", "a", "{\"b\":\"\\u0062\"}"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json object = parse(cases[i][0]);
		struct path *p = path(cases[i][1]);
		struct text out = {0};
		path_remove(&out, &object, p);
		same(&out, cases[i][2]);
		path_free(p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_merge),
	    cmocka_unit_test(test_merge_at),
	    cmocka_unit_test(test_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
