/*
 * Claims: a text keeps quiet about memory until it is asked; a JSON string is JSON
 * whatever bytes went in, and reads back as them where they are UTF-8; a float reads
 * back as itself.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"
#include "tests/support/guard.h"

static void
test_memory(void **state)
{
	struct text out = {0};
	(void)state;

	for (long k = 1; k < 4; k++) {
		array_fail_at(k);
		for (int i = 0; i < 100; i++)
			text_printf(&out, "%d bytes and more", i);
		array_fail_at(0);
		assert_true(out.failed);
		text_string(&out, "x");
		text_free(&out);
	}
}

static void
test_float(void **state)
{
	struct text out = {0};
	float values[] = {
	    0.1f, 1e-40f, 3.4028235e38f, -0.0f, 16777216.0f, 0.333333343f};
	(void)state;

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		text_float(&out, values[i]);
		assert_true(strtof(out.bytes, NULL) == values[i]);
		text_free(&out);
	}
}

static void
test_double(void **state)
{
	struct text out = {0};
	double values[] = {0.1, 5e-324, 1.7976931348623157e308, -0.0,
	    9007199254740993.0, 1.0 / 3, 0.1 + 0.2};
	(void)state;

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		text_double(&out, values[i]);
		assert_true(strtod(out.bytes, NULL) == values[i]);
		text_free(&out);
	}
	text_double(&out, 0.1);
	text_double(&out, HUGE_VAL);
	assert_string_equal(out.bytes, "0.1null");
	text_free(&out);
}

#define BAD "\xEF\xBF\xBD"

static void
test_json(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"", "\"\""},
	    {"a\"\\\n\t\x01\x7f\xc3\xa9", "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa9\""},
	    {"\xe2\x82\xac\xf0\x9f\x98\x80.", "\"\xe2\x82\xac\xf0\x9f\x98\x80.\""},
	    {"\xff", "\"" BAD "\""}, {"a\x80z", "\"a" BAD "z\""},
	    {"\xc3", "\"" BAD "\""}, {"\xc3\"", "\"" BAD "\\\"\""},
	    {"\xe2\x82", "\"" BAD BAD "\""},
	    {"\xf0\x9f\x98\xc3\xa9", "\"" BAD BAD BAD "\xc3\xa9\""},
	    {"\xc0\xaf", "\"" BAD BAD "\""},                 /* overlong */
	    {"\xed\xa0\x80", "\"" BAD BAD BAD "\""},         /* a surrogate */
	    {"\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""}, /* over U+10FFFF */
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct text out = {0};
		size_t n = strlen(cases[i].in);
		char *in = guard_copy(cases[i].in, n);
		text_json(&out, in, n);
		guard_free(in, n);
		assert_string_equal(out.bytes, cases[i].out);
		text_free(&out);
	}
}

/* Bytes that are often near UTF-8: always JSON, and unchanged if they were valid. */
static void
test_json_noise(void **state)
{
	static const unsigned char likely[] = {'a', '"', '\\', 0x1f, 0x80, 0xbf, 0xc2,
	    0xe0, 0xed, 0xa0, 0x9f, 0xf0, 0xf4, 0x90, 0x8f, 0xff};
	struct rng rng;
	size_t kept = 0;
	(void)state;

	rng_init(&rng, test_seed(), 0);
	for (int round = 0; round < 20000; round++) {
		char in[8], plain[10], back[64];
		size_t n = rng_below(&rng, sizeof in + 1);
		for (size_t i = 0; i < n; i++)
			in[i] = (char)likely[rng_below(&rng, sizeof likely)];
		struct text out = {0};
		struct json root;
		struct error err;
		text_json(&out, in, n);
		assert_int_equal(json_check(&root, out.bytes, out.n, &err), 0);
		/* The strict reader says whether it was UTF-8, escapes aside. */
		plain[0] = '"';
		for (size_t i = 0; i < n; i++)
			plain[1 + i] = in[i] == '"' || in[i] == '\\' || in[i] == 0x1f
					   ? 'x'
					   : in[i];
		plain[1 + n] = '"';
		struct json checked;
		bool valid = json_check(&checked, plain, n + 2, &err) == 0;
		size_t length = json_string(back, sizeof back, &root);
		assert_int_equal(length == n && memcmp(back, in, n) == 0, valid);
		kept += valid && n > 0;
		text_free(&out);
	}
	assert_true(kept > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_float),
	    cmocka_unit_test(test_double),
	    cmocka_unit_test(test_json),
	    cmocka_unit_test(test_json_noise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
