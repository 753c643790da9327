/*
 * Claims: a string is read piece by piece as json_string reads it whole, and compared
 * in the order of memcmp with each of its beginnings and with others; json_i64 takes
 * the integers of 64 bits with their sign and nothing else.  Texts end at an unreadable
 * page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "tests/support/guard.h"

static void
strings_are_read_in_pieces(void **state)
{
	static const char text[] = "\"a\\u00e9\xC3\xA9\\n\\ud83d\\ude00z\"";
	static const char bytes[] = "a\xC3\xA9\xC3\xA9\n\xF0\x9F\x98\x80z";
	const size_t n = sizeof text - 1, n_bytes = sizeof bytes - 1;
	char *copy = guard_copy(text, n), piece[4], out[32];
	struct json string;
	struct error err;
	size_t k, used = 0, n_pieces = 0;
	(void)state;

	assert_int_equal(json_check(&string, copy, n, &err), 0);
	struct json_pieces pieces = json_pieces(&string);
	while ((k = json_piece(&pieces, piece)) > 0) {
		memcpy(out + used, piece, k);
		used += k;
		n_pieces++;
	}
	assert_int_equal(used, n_bytes);
	assert_memory_equal(out, bytes, n_bytes);
	assert_int_equal(n_pieces, 7); /* a, an escape, two bytes, two escapes, z */
	/* The order of each beginning, and of one whose last byte is another. */
	for (size_t i = 0; i <= n_bytes; i++) {
		assert_int_equal(json_compare(&string, bytes, i) == 0, i == n_bytes);
		assert_true(i == n_bytes || json_compare(&string, bytes, i) > 0);
		memcpy(out, bytes, n_bytes);
		out[i == n_bytes ? 0 : i]++;
		assert_true(json_compare(&string, out, n_bytes) < 0);
		out[i == n_bytes ? 0 : i] = 1;
		assert_true(json_compare(&string, out, n_bytes) > 0);
	}
	memcpy(out, bytes, n_bytes);
	out[n_bytes] = 1;
	assert_true(json_compare(&string, out, n_bytes + 1) < 0);
	guard_free(copy, n);
}

static void
signed_integers_are_exact(void **state)
{
	static const struct {
		const char *text;
		bool good;
		int64_t value;
	} numbers[] = {
	    {"0", true, 0},
	    {"-0", true, 0},
	    {"-1", true, -1},
	    {"9007199254740993", true, INT64_C(9007199254740993)},
	    {"9223372036854775807", true, INT64_MAX},
	    {"-9223372036854775808", true, INT64_MIN},
	    {"9223372036854775808", false, 0},
	    {"-9223372036854775809", false, 0},
	    {"99999999999999999999", false, 0},
	    {"1.0", false, 0},
	    {"1e2", false, 0},
	    {"\"1\"", false, 0},
	    {"true", false, 0},
	};
	(void)state;

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		size_t n = strlen(numbers[i].text);
		char *copy = guard_copy(numbers[i].text, n);
		struct json number;
		struct error err;
		int64_t value = 0;
		assert_int_equal(json_check(&number, copy, n, &err), 0);
		assert_int_equal(json_i64(&value, &number), numbers[i].good);
		assert_true(value == numbers[i].value);
		guard_free(copy, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_are_read_in_pieces),
	    cmocka_unit_test(signed_integers_are_exact),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
