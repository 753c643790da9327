/*
 * Claim: a line becomes the point that import_job.h says or is refused with the reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/import_job.h"
#include "tests/support/guard.h"

/* The point of a line, from memory that ends at a guard page. */
static int
make_point(char *out, size_t cap, const char *text, struct import_line *line,
    struct error *err)
{
	struct text point = {NULL, 0, 0, false};
	size_t n = strlen(text);
	char *copy = guard_copy(text, n);
	line->text = copy;
	line->len = n;
	int rc = import_point(&point, line, err);
	if (rc == 0)
		snprintf(out, cap, "%s", point.bytes);
	text_free(&point);
	guard_free(copy, n);
	return rc;
}

static void
test_points(void **state)
{
	(void)state;
	static const struct {
		const char *line, *point;
		enum import_kind kind;
	} good[] = {
	    {"{\"id\":18446744073709551615,\"text\":\"a \\u00e9\"}",
		"{\"id\":18446744073709551615,\"vector\":{\"text\":\"a \\u00e9\"},"
		"\"payload\":{}}",
		IMPORT_TEXT},
	    {" {\"text\":\"t\",\"a\":[1, {\"b\":null}],\"id\":\"x\\\"y\",\"c\":1.50}",
		"{\"id\":\"x\\\"y\",\"vector\":{\"text\":\"t\"},\"payload\":{\"a\":[1, "
		"{\"b\":null}],\"c\":1.50}}",
		IMPORT_TEXT},
	    {"{\"vector\":[1,-2.5],\"k\":true}",
		"{\"id\":42,\"vector\":{\"object\":{\"b64\":\"AACAPwAAIMA=\"},"
		"\"model\":"
		"\"float32\"},\"payload\":{\"k\":true}}",
		IMPORT_VECTOR},
	    {"{\"code\":\"AAECAwQFBgc=\",\"id\":7}",
		"{\"id\":7,\"vector\":{\"object\":{\"b64\":\"AAECAwQFBgc=\"},\"model\":"
		"\"codes\"},\"payload\":{}}",
		IMPORT_CODE},
	    {"{\"norm\":2.50,\"code\":\"AAECAwQFBgc=\",\"id\":7,\"a\":1}",
		"{\"id\":7,\"vector\":{\"object\":{\"b64\":\"AAECAwQFBgc=\",\"norm\":2."
		"50}"
		",\"model\":\"codes\"},\"payload\":{\"a\":1}}",
		IMPORT_CODE},
	    {"{\"binarizer_id\":\"0a\",\"code\":\"AAE=\",\"id\":7}",
		"{\"id\":7,\"vector\":{\"object\":{\"b64\":\"AAE=\",\"binarizer_id\":"
		"\"0a\"},\"model\":\"codes\"},\"payload\":{}}",
		IMPORT_CODE},
	    {"{\"norm\":2.50,\"text\":\"t\",\"id\":7}",
		"{\"id\":7,\"vector\":{\"text\":\"t\"},\"payload\":{\"norm\":2.50}}",
		IMPORT_TEXT},
	};
	char point[1000];
	struct error err;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct import_line line = {.number = 42};
		if (make_point(point, sizeof point, good[i].line, &line, &err) != 0)
			fail_msg("%s: %s", good[i].line, err.text);
		assert_string_equal(point, good[i].point);
		assert_int_equal(line.kind, good[i].kind);
	}
	struct import_line kept = {.number = 1, .keep_text = true};
	assert_int_equal(
	    make_point(point, sizeof point, "{\"text\":\"t\",\"a\":1}", &kept, &err),
	    0);
	assert_string_equal(point, "{\"id\":1,\"vector\":{\"text\":\"t\"},\"payload\":{"
				   "\"a\":1,\"text\":\"t\"}}");
	struct import_line chunked = {.number = 1, .chunk = true};
	assert_int_equal(
	    make_point(point, sizeof point, "{\"text\":\"t\"}", &chunked, &err), 0);
	assert_string_equal(point,
	    "{\"id\":1,\"vector\":{\"text\":\"t\",\"chunk\":true},\"payload\":{}}");
	static const char *const others[] = {"{\"vector\":[1]}", "{\"code\":\"AA==\"}"};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(
		    make_point(point, sizeof point, others[i], &chunked, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "--chunk"));
	}
}

static void
test_bad_points(void **state)
{
	(void)state;
	static const struct {
		const char *line, *part;
	} bad[] = {
	    {"", ""},
	    {"{\"text\":\"t\"", ""},
	    {"[1]", "an object"},
	    {"{}", "none"},
	    {"{\"text\":\"t\",\"code\":\"AA==\"}", "several"},
	    {"{\"text\":\"\"}", "empty"},
	    {"{\"text\":null}", "\"text\" to be a string"},
	    {"{\"text\":\"t\",\"id\":-1}", "-1"},
	    {"{\"text\":\"t\",\"id\":1.0}", "1.0"},
	    {"{\"text\":\"t\",\"id\":18446744073709551616}", "18446744073709551616"},
	    {"{\"text\":\"t\",\"id\":\"\"}", "empty"},
	    {"{\"text\":\"t\",\"id\":null}", "a number or a string"},
	    {"{\"text\":\"t\",\"id\":[1]}", "a number or a string"},
	    {"{\"vector\":[]}", "numbers"},
	    {"{\"vector\":[1,\"2\"]}", "vector"},
	    {"{\"vector\":[1,1e39]}", "vector"},
	    {"{\"vector\":[1,2,3]}", "2 dimensions"},
	    {"{\"vector\":\"1\"}", "an array"},
	    {"{\"code\":\"AA==\",\"norm\":0}", "\"norm\""},
	    {"{\"code\":\"AA==\",\"binarizer_id\":7}", "\"binarizer_id\""},
	    {"{\"code\":\"AA==\",\"norm\":1e18}", "\"norm\""},
	    {"{\"code\":\"AA==\",\"norm\":\"1\"}", "\"norm\""},
	    {"{\"text\":\"\xff\"}", ""},
	};
	char point[1000];
	struct error err;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct import_line line = {.number = 42, .dims = 2};
		err.code = ERR_NONE;
		if (make_point(point, sizeof point, bad[i].line, &line, &err) == 0)
			fail_msg("accepted: %s", bad[i].line);
		assert_int_equal(err.code, ERR_INPUT);
		if (strstr(err.text, bad[i].part) == NULL)
			fail_msg("expected \"%s\" in: %s", bad[i].part, err.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_points),
	    cmocka_unit_test(test_bad_points),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
