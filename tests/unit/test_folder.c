/*
 * Claims: the folder of a path is synced, with or without a slash in it; one that is
 * not there is an error that names it; a failing allocation is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/folder.h"
#include "tests/support/guard.h"

static void
test_sync(void **state)
{
	(void)state;
	char path[4096];
	struct error err = {ERR_NONE, ""};
	snprintf(path, sizeof path, "%s/file", test_folder());
	assert_int_equal(folder_sync(path, &err), 0);
	assert_int_equal(folder_sync("file", &err), 0);
	assert_int_equal(folder_sync("/file", &err), 0);
	assert_int_equal(folder_sync("/nowhere/at/all", &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_non_null(strstr(err.text, "/nowhere/at/"));
	array_fail_at(1);
	assert_int_equal(folder_sync(path, &err), -1);
	array_fail_at(0);
	assert_int_equal(err.code, ERR_MEMORY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sync),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
