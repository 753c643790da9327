/*
 * Claims of server/db.h about disks, and how they are checked: no space (a full map, a
 * file size limit, a full tmpfs) is ERR_FULL, nothing has changed, and writing goes on
 * when there is room; a failing disk is ERR_UNAVAILABLE until the directory is opened
 * again, and reading goes on.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/db.h"
#include "tests/support/rows.h"

/* Fill until it is full; what was committed before must be there and nothing else. */
static uint32_t
fill(struct db *db)
{
	struct error err;
	uint32_t n = 0;

	while (rows_put(db, 1, n, 100, 1000, &err) == 0)
		n += 100;
	assert_int_equal(err.code, ERR_FULL);
	assert_false(db_broken(db));
	assert_int_equal(rows_count(db, 1), n);
	/* Again: still full, still as before. */
	assert_int_equal(rows_put(db, 1, n, 100, 1000, &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	assert_int_equal(rows_count(db, 1), n);
	return n;
}

static void
test_map_full(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;
	struct db *db = rows_open(dir, (size_t)2 << 20);

	uint32_t n = fill(db);
	assert_true(n >= 500);
	db_close(db);
	db = rows_open(dir, (size_t)8 << 20);
	assert_int_equal(rows_count(db, 1), n);
	rows_check(rows_put(db, 1, n, 100, 1000, &err), &err);
	assert_int_equal(rows_count(db, 1), n + 100);
	db_close(db);
}

static void
set_file_limit(rlim_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void
test_file_limit(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;
	struct db *db = rows_open(dir, ROWS_MAP);

	signal(SIGXFSZ, SIG_IGN);
	/* Not a multiple of a page: the last write is cut short. */
	for (rlim_t limit = 1000000; limit < 3000000; limit += 777777) {
		set_file_limit(limit);
		uint32_t n = fill(db);
		set_file_limit(RLIM_INFINITY);
		rows_check(rows_put(db, 1, n, 100, 1000, &err), &err);
		assert_int_equal(rows_count(db, 1), n + 100);
		struct db_txn *txn = db_begin_write(db, &err);
		rows_check(db_collection_drop(txn, "none", 1, &err), &err);
		bool more;
		rows_check(db_purge(txn, SIZE_MAX, &more, &err), &err);
		rows_check(db_commit(txn, &err), &err);
		assert_int_equal(rows_count(db, 1), 0);
	}
	db_close(db);
}

/* A tmpfs of 2 MiB, in a mount namespace of a child's own. */
static int
fill_tmpfs(const char *dir)
{
	struct error err;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0)
		return 77;
	struct db *db = rows_open(dir, ROWS_MAP);
	uint32_t n = fill(db);
	if (n < 500 || mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=4m") != 0)
		return 1;
	rows_check(rows_put(db, 1, n, 100, 1000, &err), &err);
	bool good = rows_count(db, 1) == n + 100;
	db_close(db);
	return good ? 0 : 1;
}

static void
test_full_disk(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	int status;

	mkdir(dir, 0755);
	pid_t pid = fork();
	if (pid == 0)
		_exit(fill_tmpfs(dir));
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* not root */
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Put `path` in the place of every descriptor of data.mdb. */
static int
replace_fds(const char *path)
{
	DIR *fds = opendir("/proc/self/fd");
	int n = 0;

	for (struct dirent *entry; (entry = readdir(fds));) {
		char link[300], target[4096];
		snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
		ssize_t len = readlink(link, target, sizeof target - 1);
		if (len < 9)
			continue;
		target[len] = '\0';
		if (strcmp(target + len - 9, "/data.mdb") != 0)
			continue;
		int fd = open(path, O_RDWR);
		assert_true(fd >= 0);
		dup2(fd, atoi(entry->d_name));
		close(fd);
		n++;
	}
	closedir(fds);
	return n;
}

static void
test_broken_disk(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;
	struct db *db = rows_open(dir, ROWS_MAP);

	rows_check(rows_put(db, 1, 0, 50, 100, &err), &err);
	/* Writing to unmapped memory of this process is EIO. */
	assert_true(replace_fds("/proc/self/mem") >= 1);
	assert_int_equal(rows_put(db, 1, 50, 10, 100, &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "restart the server"));
	assert_true(db_broken(db));
	assert_int_equal(rows_put(db, 1, 50, 10, 100, &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_int_equal(rows_count(db, 1), 50);
	db_close(db);
	db = rows_open(dir, ROWS_MAP);
	assert_false(db_broken(db));
	assert_int_equal(rows_count(db, 1), 50);
	rows_check(rows_put(db, 1, 50, 10, 100, &err), &err);
	db_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_map_full),
	    cmocka_unit_test(test_file_limit),
	    cmocka_unit_test(test_full_disk),
	    cmocka_unit_test(test_broken_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
