/*
 * Claims: a file is there as it was or whole and new, whatever ends its writer; what a
 * killed process has left is replaced, what a living one or this one is writing is
 * refused; of many that write one path at once each either writes it whole or is
 * refused, and nothing else stays; a link, a folder and a device are refused; a full
 * disk is said to be full; a failing allocation is an error and no leak.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/replace.h"
#include "tests/support/guard.h"

static char path[4096], temporary[4200];

static void
set_path(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", test_folder(), name);
	snprintf(temporary, sizeof temporary, "%s.halftone.tmp", path);
}

static bool
is_there(const char *name)
{
	struct stat st;
	return lstat(name, &st) == 0;
}

static void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void
expect_text(const char *want)
{
	char got[64] = "";
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(got, 1, sizeof got - 1, file) < sizeof got - 1);
	fclose(file);
	assert_string_equal(got, want);
	assert_false(is_there(temporary));
}

static int
replace_by(const char *text, struct error *err)
{
	struct replace r;
	if (replace_open(&r, path, err) != 0)
		return -1;
	fputs(text, r.file);
	return replace_close(&r, err);
}

static void
test_whole_or_not(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct replace r;
	set_path("whole");
	assert_int_equal(replace_by("old", &err), 0);
	expect_text("old");
	assert_int_equal(replace_open(&r, path, &err), 0);
	fputs("new, longer than a", r.file);
	fflush(r.file);
	assert_true(is_there(temporary));
	replace_abandon(&r);
	expect_text("old");
	replace_abandon(&r); /* ended already */
	assert_int_equal(replace_by("new", &err), 0);
	expect_text("new");

	/* The folder to sync of a name without one is the current one. */
	char old[512];
	assert_non_null(getcwd(old, sizeof old));
	assert_int_equal(chdir(test_folder()), 0);
	snprintf(path, sizeof path, "here");
	int rc = replace_by("here", &err);
	assert_int_equal(chdir(old), 0);
	assert_int_equal(rc, 0);
}

/* A child that has begun to write, and waits for `fd` to be closed or to be killed. */
static pid_t
writer(int *fd)
{
	int begun[2], end[2];
	char byte;
	assert_int_equal(pipe(begun), 0);
	assert_int_equal(pipe(end), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct error err;
		struct replace r;
		close(end[1]);
		if (replace_open(&r, path, &err) != 0)
			_exit(1);
		fputs("half of what a killed process wanted to write", r.file);
		fflush(r.file);
		if (write(begun[1], "x", 1) != 1 || read(end[0], &byte, 1) != 0)
			_exit(1);
		_exit(replace_close(&r, &err) != 0);
	}
	close(begun[1]);
	close(end[0]);
	assert_int_equal(read(begun[0], &byte, 1), 1);
	close(begun[0]);
	*fd = end[1];
	return pid;
}

static void
test_of_others(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct replace r, second;
	int fd, status;
	set_path("others");
	assert_int_equal(replace_by("old", &err), 0);

	/* Alive: refused, and left alone. */
	pid_t pid = writer(&fd);
	assert_int_equal(replace_open(&r, path, &err), -1);
	assert_int_equal(err.code, ERR_BUSY);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(replace_check(path, &err), -1);
	assert_true(is_there(temporary));
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect_text("half of what a killed process wanted to write");

	/* Killed: replaced by one that writes less, or cleared by one that only asks.
	 */
	for (int i = 0; i < 2; i++) {
		pid = writer(&fd);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		close(fd);
		assert_true(is_there(temporary));
		if (i == 0)
			assert_int_equal(replace_by("new", &err), 0);
		else
			assert_int_equal(replace_check(path, &err), 0);
		expect_text("new");
	}

	/* This one is alive too. */
	assert_int_equal(replace_open(&r, path, &err), 0);
	assert_int_equal(replace_open(&second, path, &err), -1);
	assert_int_equal(err.code, ERR_BUSY);
	fputs("mine", r.file);
	assert_int_equal(replace_close(&r, &err), 0);
	expect_text("mine");
}

#define WRITERS 4
#define ROUNDS 60
#define LETTERS 6000 /* more than one write */

/* Write the path again and again, each time one letter all over; exit code. */
static int
write_rounds(int letter)
{
	for (int i = 0; i < ROUNDS;) {
		struct error err;
		struct replace r;
		if (replace_open(&r, path, &err) != 0) {
			if (err.code != ERR_BUSY)
				return 1;
			continue;
		}
		for (int k = 0; k < LETTERS; k++)
			putc(letter, r.file);
		if (replace_close(&r, &err) != 0)
			return 2;
		i++;
	}
	return 0;
}

/* Is the file whole, and of one writer? */
static bool
is_whole(void)
{
	static char got[LETTERS + 1];
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t n = fread(got, 1, sizeof got, file);
	fclose(file);
	for (size_t i = 1; i < n; i++)
		if (got[i] != got[0])
			return false;
	return n == LETTERS;
}

static void
test_many_at_once(void **state)
{
	(void)state;
	pid_t pids[WRITERS];
	int status;
	set_path("many");
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(write_rounds('a' + i));
	}
	while (!is_there(path))
		usleep(1000);
	for (int i = 0; i < WRITERS; i++) {
		while (waitpid(pids[i], &status, WNOHANG) == 0)
			assert_true(is_whole());
		assert_int_equal(status, 0);
	}
	assert_true(is_whole());
	assert_false(is_there(temporary));
}

static void
test_refused(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct replace r;
	assert_int_equal(replace_open(&r, "/nowhere/at/all", &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_non_null(strstr(err.text, "/nowhere/at/all"));
	assert_int_equal(replace_open(&r, "", &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(replace_open(&r, "/dev/null", &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(replace_check(test_folder(), &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, test_folder()));

	/* A link under the temporary name is not followed. */
	char victim[4200];
	set_path("linked");
	snprintf(victim, sizeof victim, "%s-victim", path);
	write_text(victim, "precious");
	assert_int_equal(symlink(victim, temporary), 0);
	assert_int_equal(replace_open(&r, path, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(unlink(temporary), 0);
	snprintf(path, sizeof path, "%.4000s", victim);
	expect_text("precious");

	/* A name that has become a folder's. */
	set_path("folder");
	assert_int_equal(replace_open(&r, path, &err), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	errno = ENOSPC;
	assert_int_equal(replace_close(&r, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_non_null(strstr(err.text, strerror(EISDIR)));
	assert_false(is_there(temporary));
}

static void
test_full(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct replace r;
	set_path("full");
	assert_int_equal(replace_by("old", &err), 0);
	assert_int_equal(replace_open(&r, path, &err), 0);
	int full = open("/dev/full", O_WRONLY);
	assert_true(full >= 0);
	assert_true(dup2(full, fileno(r.file)) >= 0);
	close(full);
	fputs("new", r.file);
	assert_int_equal(replace_close(&r, &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	assert_non_null(strstr(err.text, path));
	expect_text("old");
}

static void
test_memory(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct replace r;
	long k;
	set_path("memory");
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = replace_open(&r, path, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
		assert_false(is_there(temporary));
	}
	assert_true(k > 2);
	array_fail_at(1);
	assert_int_equal(replace_close(&r, &err), -1);
	array_fail_at(0);
	assert_int_equal(err.code, ERR_MEMORY);
	expect_text("");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole_or_not),
	    cmocka_unit_test(test_of_others),
	    cmocka_unit_test(test_many_at_once),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
