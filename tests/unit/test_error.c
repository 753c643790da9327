/* Claims: error_set and error_prefix fill the code and the text, return -1, and cut a
 * text that is too long at a whole UTF-8 character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/error.h"

static void
test_set(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(error_set(&err, ERR_FULL, "expected %d, not %s", 7, "x"), -1);
	assert_int_equal(err.code, ERR_FULL);
	assert_string_equal(err.text, "expected 7, not x");
	assert_int_equal(error_prefix(&err, "%s:%d", "file", 3), -1);
	assert_int_equal(err.code, ERR_FULL);
	assert_string_equal(err.text, "file:3: expected 7, not x");
}

/* Texts of `sequence` repeated, after 0 .. 3 plain bytes: whatever the cut hits, what
 * is left ends with a whole sequence and misses less than one. */
static void
check_cut(const char *sequence)
{
	size_t n = strlen(sequence);
	for (size_t shift = 0; shift < n; shift++) {
		struct error err;
		char text[600] = "";
		memset(text, 'a', shift);
		for (size_t at = shift; at + n < sizeof text; at += n)
			memcpy(text + at, sequence, n);
		error_set(&err, ERR_INPUT, "%s", text);
		size_t kept = strlen(err.text), room = sizeof err.text - 1;
		assert_true(kept <= room && kept + n > room);
		assert_int_equal((kept - shift) % n, 0);
		assert_memory_equal(err.text, text, kept);
	}
}

static void
test_cut(void **state)
{
	(void)state;
	check_cut("a");
	check_cut("\xC3\xA9");
	check_cut("\xE2\x82\xAC");
	check_cut("\xF0\x9F\x98\x80");
}

static void
test_long_prefix(void **state)
{
	(void)state;
	struct error err;
	char name[1000];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	error_set(&err, ERR_IO, "what happened");
	error_prefix(&err, "%s", name);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_set),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_long_prefix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
