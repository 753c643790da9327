/*
 * Claims of server/point_id.h and how they are checked: numbers are exact up to 2^64 -
 * 1 and everything else that looks like one is refused with a reason; every spelling of
 * a UUID is one point; any other string is kept byte for byte and printed so that it
 * parses to itself (random strings); keys order numbers as numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/point_id.h"
#include "tests/support/guard.h"

static int
parse(struct point_id *id, const char *text, struct error *err)
{
	struct json value;

	assert_int_equal(json_check(&value, text, strlen(text), err), 0);
	return point_id_parse(id, &value, err);
}

static void
test_accepted(void **state)
{
	(void)state;
	static const struct {
		const char *json, *printed;
	} cases[] = {
	    {"0", "0"},
	    {"42", "42"},
	    {"9007199254740993", "9007199254740993"},
	    {"18446744073709551615", "18446744073709551615"},
	    {"\"42\"", "\"42\""},
	    {"\"a\\\"b\\\\c\\u0001\"", "\"a\\\"b\\\\c\\u0001\""},
	    {"\"\\u00e9\\ud83d\\ude00\"", "\"\xC3\xA9\xF0\x9F\x98\x80\""},
	    {"\"936DA01F9ABD4D9D80C702AF85C822A8\"",
		"\"936da01f-9abd-4d9d-80c7-02af85c822a8\""},
	    {"\"936da01f-9abd-4d9d-80c7-02af85c822a8\"",
		"\"936da01f-9abd-4d9d-80c7-02af85c822a8\""},
	    {"\"urn:uuid:936da01f-9abd-4d9d-80C7-02af85c822a8\"",
		"\"936da01f-9abd-4d9d-80c7-02af85c822a8\""},
	    /* Near misses stay strings. */
	    {"\"936da01f-9abd4-d9d-80c7-02af85c822a8\"",
		"\"936da01f-9abd4-d9d-80c7-02af85c822a8\""},
	    {"\"936DA01F9ABD4D9D80C702AF85C822AG\"",
		"\"936DA01F9ABD4D9D80C702AF85C822AG\""},
	    {"\"urn:uuid:936DA01F9ABD4D9D80C702AF85C822A8\"",
		"\"urn:uuid:936DA01F9ABD4D9D80C702AF85C822A8\""},
	};
	char text[POINT_ID_PRINT_MAX];
	struct error err;
	struct point_id id, again;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(parse(&id, cases[i].json, &err), 0);
		size_t n = point_id_print(text, &id);
		assert_int_equal(n, strlen(text));
		assert_string_equal(text, cases[i].printed);
		assert_int_equal(point_id_from_key(&again, id.key, id.len, &err), 0);
		assert_true(point_id_equal(&id, &again));
	}
}

static void
test_refused(void **state)
{
	(void)state;
	static const char *const cases[] = {"-1", "1.0", "1e3", "18446744073709551616",
	    "null", "true", "[1]", "{}", "\"\""};
	struct error err;
	struct point_id id = {.len = 7};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(parse(&id, cases[i], &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "expected a point id"));
		assert_int_equal(id.len, 7);
	}
}

static void
test_length(void **state)
{
	(void)state;
	char text[2000];
	struct error err;
	struct point_id id;

	for (size_t n = 1; n <= 1990; n++) {
		memset(text, 'x', n);
		text[n] = '\0';
		int want = n <= POINT_ID_STRING_MAX ? 0 : -1;
		assert_int_equal(point_id_from_string(&id, text, n, &err), want);
		memset(text + 1, 'x', n);
		text[0] = text[n + 1] = '"';
		text[n + 2] = '\0';
		assert_int_equal(parse(&id, text, &err), want);
		if (want == 0)
			assert_int_equal(id.len, n + 1);
	}
}

/* 256 bytes that each take 6 bytes of JSON are a legal id. */
static void
test_longest(void **state)
{
	(void)state;
	char text[POINT_ID_PRINT_MAX], printed[POINT_ID_PRINT_MAX];
	struct error err;
	struct point_id id;
	char *p = text;

	*p++ = '"';
	for (int i = 0; i < POINT_ID_STRING_MAX; i++)
		p += sprintf(p, "\\u%04x", 1 + i % 31);
	*p++ = '"';
	*p = '\0';
	assert_int_equal(parse(&id, text, &err), 0);
	assert_int_equal(id.len, POINT_ID_KEY_MAX);
	assert_int_equal(point_id_print(printed, &id), POINT_ID_PRINT_MAX - 1);
	assert_string_equal(printed, text);
}

static void
test_random_strings(void **state)
{
	(void)state;
	struct rng rng;
	struct error err;
	struct point_id id, again;
	char text[POINT_ID_STRING_MAX], printed[POINT_ID_PRINT_MAX];

	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 20000; round++) {
		size_t n = 1 + rng_below(&rng, POINT_ID_STRING_MAX);
		for (size_t i = 0; i < n; i++)
			text[i] = (char)(1 + rng_below(&rng, 127));
		assert_int_equal(point_id_from_string(&id, text, n, &err), 0);
		point_id_print(printed, &id);
		assert_int_equal(parse(&again, printed, &err), 0);
		assert_true(point_id_equal(&id, &again));
	}
}

static void
test_order(void **state)
{
	(void)state;
	struct rng rng;
	struct point_id a, b;

	rng_init(&rng, test_seed(), 2);
	for (int i = 0; i < 10000; i++) {
		uint64_t x = rng_u64(&rng) >> rng_below(&rng, 64);
		uint64_t y = rng_u64(&rng) >> rng_below(&rng, 64);
		point_id_from_number(&a, x);
		point_id_from_number(&b, y);
		int order = memcmp(a.key, b.key, a.len);
		assert_int_equal((order > 0) - (order < 0), (x > y) - (x < y));
	}
}

static void
test_bad_keys(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {{"", 0}, {"\1", 1}, {"\1abc", 4}, {"\2abcdefghijklmno", 16},
	    {"\3", 1}, {"\4abcdefgh", 9}, {"\0abcdefgh", 9}};
	struct error err;
	struct point_id id;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(
		    point_id_from_key(&id, cases[i].bytes, cases[i].n, &err), -1);
		assert_int_equal(err.code, ERR_FORMAT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepted),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_length),
	    cmocka_unit_test(test_longest),
	    cmocka_unit_test(test_random_strings),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_bad_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
