/*
 * Claims of binarize/choice.h: codes of B bits are made by the binarizer learned for B
 * bits where its dims and centres are allowed, else by the one of any shape, else by
 * none; a broken file, a rotation in a learned one's place, and codes of other bits
 * than the name says are refused by the file's name; memory that fails leaves nothing
 * behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "binarize/choice.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

static char dir[300], both[400], learned[400], none[400];

static int
setup(void **state)
{
	static int n;
	(void)state;

	snprintf(dir, sizeof dir, "%s/choice-%d", test_folder(), n++);
	models_write_binarizer(dir, "both", 10, 0.25f);
	models_write_learned(dir, "both", 10, (struct code_shape){128, 1, 3});
	models_write_learned(dir, "both", 10, (struct code_shape){64, 4, 0});
	models_write_learned(dir, "learned", 10, (struct code_shape){64, 2, 1});
	models_write_file(dir, "none", "binarizer.5.safetensors", "no number of bits");
	snprintf(both, sizeof both, "%s/both", dir);
	snprintf(learned, sizeof learned, "%s/learned", dir);
	snprintf(none, sizeof none, "%s/none", dir);
	return 0;
}

static void
test_chosen(void **state)
{
	(void)state;
	const struct {
		const char *folder;
		struct code_shape wish;
		const char *expected; /* the file's name; NULL: none */
	} cases[] = {
	    {both, {0, 1, CODE_CENTRES_MAX}, "binarizer.1.safetensors"},
	    {both, {128, 1, CODE_CENTRES_MAX}, "binarizer.1.safetensors"},
	    {both, {128, 1, 3}, "binarizer.1.safetensors"},
	    {both, {128, 1, 2}, "binarizer.safetensors"},
	    {both, {0, 1, 0}, "binarizer.safetensors"},
	    {both, {64, 1, CODE_CENTRES_MAX}, "binarizer.safetensors"},
	    {both, {0, 2, CODE_CENTRES_MAX}, "binarizer.safetensors"},
	    {both, {128, 3, CODE_CENTRES_MAX}, "binarizer.safetensors"},
	    {both, {0, 4, 0}, "binarizer.4.safetensors"},
	    {both, {64, 4, CODE_CENTRES_MAX}, "binarizer.4.safetensors"},
	    {both, {128, 4, CODE_CENTRES_MAX}, "binarizer.safetensors"},
	    {learned, {0, 2, CODE_CENTRES_MAX}, "binarizer.2.safetensors"},
	    {learned, {0, 2, 0}, NULL},
	    {learned, {128, 2, CODE_CENTRES_MAX}, NULL},
	    {learned, {0, 1, CODE_CENTRES_MAX}, NULL},
	    {none, {0, 1, CODE_CENTRES_MAX}, NULL},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct choice choice;
		char expected[500] = "none";
		assert_int_equal(choice_read(&choice, cases[i].folder, &err), 0);
		assert_int_equal(choice_empty(&choice), cases[i].folder == none);
		const char *path = choice_path(&choice, cases[i].wish);
		if (cases[i].expected)
			snprintf(expected, sizeof expected, "%s/%s", cases[i].folder,
			    cases[i].expected);
		if (strcmp(path ? path : "none", expected) != 0)
			fail_msg("case %zu: expected %s, not %s", i, expected, path);
		choice_free(&choice);
	}
}

static void
test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *expected;
	} cases[] = {
	    {"binarizer.safetensors", "binarizer.2.safetensors", "not a rotation"},
	    {"binarizer.1.safetensors", "binarizer.3.safetensors",
		"expected codes of 3 bits, as its name says, not of 1"},
	};
	struct choice choice = {.any.path = NULL};
	struct error err;
	char from[500], to[500], large[5000];

	for (size_t i = 0; i < 2; i++) {
		setup(NULL);
		snprintf(from, sizeof from, "%s/%s", both, cases[i].from);
		snprintf(to, sizeof to, "%s/%s", both, cases[i].to);
		assert_int_equal(rename(from, to), 0);
		assert_int_equal(choice_read(&choice, both, &err), -1);
		assert_int_equal(err.code, ERR_FORMAT);
		assert_non_null(strstr(err.text, cases[i].expected));
		assert_non_null(strstr(err.text, cases[i].to));
		assert_true(choice_empty(&choice)); /* as before */
	}
	setup(NULL);
	models_write_file(dir, "both", "binarizer.4.safetensors", "{broken");
	assert_int_equal(choice_read(&choice, both, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, "binarizer.4.safetensors"));
	assert_true(choice_empty(&choice));

	memset(large, 'x', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	assert_int_equal(choice_read(&choice, large, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

static void
test_allocations(void **state)
{
	(void)state;
	struct choice choice = {.any.path = NULL};
	struct error err;
	long k = 0;
	int rc = -1;

	while (rc != 0) {
		array_fail_at(++k);
		rc = choice_read(&choice, both, &err);
		array_fail_at(0);
		if (rc != 0)
			assert_int_equal(err.code, ERR_MEMORY);
		assert_int_equal(choice_empty(&choice), rc != 0);
	}
	assert_true(k > 3);
	choice_free(&choice);
	assert_true(choice_empty(&choice));
	choice_free(&choice);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_chosen, setup),
	    cmocka_unit_test_setup(test_refused, setup),
	    cmocka_unit_test_setup(test_allocations, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
