/*
 * Claims: two ways to write a key are one path, and other keys are others; the limits
 * of bytes and parts hold; values come in the order of the text and stop when they
 * should; a failed allocation loses nothing.  What each form of a key finds:
 * test_filter.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "server/path.h"

static struct path *
path(const char *key)
{
	struct error err;
	struct path *path = path_new(key, strlen(key), &err);

	if (!path)
		fail_msg("%s", err.text);
	assert_string_equal(path_key(path), key);
	return path;
}

static void
equal_paths_are_equal(void **state)
{
	static const char *const keys[] = {"a", "a.b", "a[]", "a[0]", "a[1]", "a[].b",
	    "\"a.b\"", "b", "a.b.c", "\"\"", "a[][]"};
	static const char *const twins[] = {"\"a\"", "a.\"b\"", "\"a\"[]", "\"a\"[00]",
	    "a[01]", "\"a\"[].\"b\"", "\"a.b\"", "\"b\"", "\"a\".b.c", "\"\"", "a[][]"};
	const size_t n = sizeof keys / sizeof *keys;
	(void)state;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			struct path *a = path(keys[i]), *b = path(twins[k]);
			assert_int_equal(path_equal(a, b), i == k);
			assert_int_equal(path_equal(b, a), i == k);
			path_free(a);
			path_free(b);
		}
	}
	path_free(NULL);
}

static void
limits_hold(void **state)
{
	char key[PATH_BYTES_MAX + 10];
	struct error err;
	(void)state;

	memset(key, 'a', sizeof key);
	path_free(path_new(key, PATH_BYTES_MAX, &err));
	assert_null(path_new(key, PATH_BYTES_MAX + 1, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_null(path_new(key, 0, &err));
	assert_null(path_new("a\0b", 3, &err));
	for (size_t i = 0; i < PATH_PARTS_MAX; i++)
		memcpy(key + 2 * i, ".b", 2);
	struct path *longest = path_new(key + 1, 2 * PATH_PARTS_MAX - 1, &err);
	assert_non_null(longest);
	path_free(longest);
	memcpy(key + 2 * PATH_PARTS_MAX, "[]", 2);
	assert_null(path_new(key + 1, 2 * PATH_PARTS_MAX + 1, &err));
	struct path *each = path_new_each(key + 1, 2 * PATH_PARTS_MAX - 1, &err);
	assert_non_null(each);
	path_free(each);
}

struct seen {
	char text[100];
	size_t stop_at; /* a length of text */
};

static bool
on_value(void *arg, const struct json *value)
{
	struct seen *seen = arg;

	strncat(seen->text, value->text, value->len);
	strcat(seen->text, ";");
	return strlen(seen->text) == seen->stop_at;
}

static void
values_come_in_order(void **state)
{
	static const char text[] = "{\"a\": [[1, {\"b\": 2}], [3], 4, []]}";
	struct json root;
	struct error err;
	(void)state;

	assert_int_equal(json_check(&root, text, sizeof text - 1, &err), 0);
	struct path *each = path_new_each("a[]", 3, &err), *deep = path("a[][]");
	struct seen seen = {.text = ""};
	assert_false(path_any(each, &root, on_value, &seen));
	assert_string_equal(seen.text, "[1, {\"b\": 2}];[3];4;[];");
	seen = (struct seen){.text = ""};
	assert_false(path_any(deep, &root, on_value, &seen));
	assert_string_equal(seen.text, "1;{\"b\": 2};3;");
	seen = (struct seen){.text = "", .stop_at = 2};
	assert_true(path_any(deep, &root, on_value, &seen));
	assert_string_equal(seen.text, "1;");
	path_free(each);
	path_free(deep);
	for (long k = 1; k <= 3; k++) {
		array_fail_at(k);
		assert_null(path_new("a.b", 3, &err));
		array_fail_at(0);
		assert_int_equal(err.code, ERR_MEMORY);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_paths_are_equal),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(values_come_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
