/* Claims: RFC 4648's vectors; every length comes back equal and no byte is written
 * beyond it; whatever is not base64 of the wanted size is refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/base64.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static void
test_vectors(void **state)
{
	(void)state;
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
	    {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
	    {"foobar", "Zm9vYmFy"}, {"\xFB\xFF\xBF", "+/+/"}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = strlen(rows[i][0]), len = strlen(rows[i][1]);
		char text[16] = "";
		uint8_t back[16];
		struct error err;
		assert_int_equal(base64_length(n), len);
		base64_encode(text, (const uint8_t *)rows[i][0], n);
		assert_string_equal(text, rows[i][1]);
		assert_int_equal(base64_bytes(rows[i][1], len), n);
		assert_int_equal(base64_decode(back, n, rows[i][1], len, &err), 0);
		assert_memory_equal(back, rows[i][0], n);
	}
}

static void
test_round_trip(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (size_t n = 0; n < 200; n++) {
		size_t len = base64_length(n);
		uint8_t *bytes = guard_new(n), *back = guard_new(n);
		char *text = guard_new(len);
		struct error err;
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)rng_u64(&rng);
		base64_encode(text, bytes, n);
		assert_int_equal(base64_bytes(text, len), n);
		assert_int_equal(base64_decode(back, n, text, len, &err), 0);
		assert_memory_equal(back, bytes, n);
		assert_int_equal(base64_decode(back, n + 1, text, len, &err), -1);
		guard_free(bytes, n);
		guard_free(back, n);
		guard_free(text, len);
	}
}

static void
test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t want;
		const char *reason;
	} rows[] = {
	    {"Zg=", 1, "a multiple of 4 characters), not 3"},
	    {"Zg", 1, "not 2 characters"},
	    {"Zm9v", 2, "of 2 bytes (4 characters), not of 3 bytes"},
	    {"Zm8=", 3, "not of 2 bytes"},
	    {"", 3, "not of 0 bytes"},
	    {"!!!!", 16, "at character 0"},
	    {"Zm9v!", 3, "at character 4"},
	    {"Zm9-", 3, "at character 3"},
	    {"_m9v", 3, "at character 0"},
	    {"Zm9 ", 3, "at character 3"},
	    {"Z=9v", 3, "at character 1"},
	    {"=g==", 1, "at character 0"},
	    {"====", 1, "at character 0"},
	    {"Zg==Zg==", 4, "at character 2"},
	    {"Zm9\xC3", 3, "at character 3"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct error err = {0};
		uint8_t *back = guard_new(rows[i].want);
		size_t n = strlen(rows[i].text);
		char *text = guard_copy(rows[i].text, n);
		int rc = base64_decode(back, rows[i].want, text, n, &err);
		if (rc == 0 || !strstr(err.text, rows[i].reason))
			fail_msg("%s: '%s'", rows[i].text, err.text);
		assert_int_equal(err.code, ERR_INPUT);
		guard_free(back, rows[i].want);
		guard_free(text, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
