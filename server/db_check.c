#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/db_internal.h"

/*
 * LMDB trusts its file: a page behind the end of a truncated file kills the process
 * (SIGBUS), a scrambled one may fail an assertion.  So a child looks first, at what
 * every start reads: the meta pages, the keys of all databases but ids and points
 * (their size is not bounded), and, where the file is shorter than its meta page says,
 * whether every missing page is a free one (LMDB does not write pages that it freed in
 * the same transaction, so this is no damage).  What kills the child is damage.
 */

static int
walk_keys(MDB_txn *txn, MDB_dbi dbi)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_stat stat;
	size_t n = 0;

	int rc = mdb_stat(txn, dbi, &stat);
	if (rc == 0)
		rc = mdb_cursor_open(txn, dbi, &cursor);
	while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		n++;
	if (rc != MDB_NOTFOUND)
		return rc;
	return n == stat.ms_entries ? 0 : MDB_CORRUPTED;
}

static int
walk_names(MDB_txn *txn)
{
	static const enum db_name walked[] = {
	    DB_META, DB_COLLECTIONS, DB_BINARIZERS, DB_CODES, DB_DROPPED};

	for (size_t i = 0; i < sizeof walked / sizeof walked[0]; i++) {
		MDB_dbi dbi;
		int rc = mdb_dbi_open(txn, db_names[walked[i]], 0, &dbi);
		if (rc == 0)
			rc = walk_keys(txn, dbi);
		if (rc != 0 && rc != MDB_NOTFOUND)
			return rc;
	}
	return 0;
}

/* Free pages of the file at or behind `first`. */
static int
count_free(MDB_txn *txn, size_t first, size_t *n)
{
	const MDB_dbi free_dbi = 0;
	MDB_cursor *cursor;
	MDB_val key, value;

	*n = 0;
	int rc = mdb_cursor_open(txn, free_dbi, &cursor);
	while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		const size_t *list = value.mv_data; /* length, then page numbers */
		size_t length = value.mv_size / sizeof *list;
		for (size_t i = 1; i < length && i <= list[0]; i++)
			if (list[i] >= first)
				++*n;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
check_length(MDB_env *env, MDB_txn *txn, struct error *err)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	size_t n_free;
	int fd;

	int rc = mdb_env_info(env, &info);
	if (rc == 0)
		rc = mdb_env_stat(env, &stat);
	if (rc == 0)
		rc = mdb_env_get_fd(env, &fd);
	if (rc != 0 || fstat(fd, &st) != 0)
		return error_set(
		    err, ERR_IO, "data.mdb: %s", strerror(rc ? rc : errno));
	size_t there = (size_t)st.st_size / stat.ms_psize;
	size_t want = info.me_last_pgno + 1;
	if (there >= want)
		return 0;
	if (count_free(txn, there, &n_free) != 0 || n_free != want - there)
		return error_set(err, ERR_FORMAT,
		    "data.mdb is truncated: expected %zu pages of %u bytes, not %zu; "
		    "restore it from a copy",
		    want, stat.ms_psize, there);
	return 0;
}

static void
on_assert(MDB_env *env, const char *text)
{
	(void)env, (void)text;
	_exit(1);
}

static int
open_and_walk(const char *dir, struct error *err)
{
	MDB_env *env;
	MDB_txn *txn = NULL;

	int rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, DB_NAMES);
	if (rc == 0)
		rc = mdb_env_set_assert(env, on_assert);
	if (rc == 0)
		rc = mdb_env_open(env, dir, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0644);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc == 0) {
		if (check_length(env, txn, err) != 0)
			return -1;
		rc = walk_names(txn);
	}
	if (rc == ENOMEM)
		return error_set(err, ERR_MEMORY,
		    "no address space to map data.mdb: raise the limit (ulimit -v)");
	if (rc > 0) /* the system's */
		return error_set(err, ERR_IO, "data.mdb: %s", strerror(rc));
	if (rc != 0)
		return error_set(err, ERR_FORMAT,
		    "data.mdb is damaged (%s): restore it from a copy",
		    mdb_strerror(rc));
	return 0;
}

/* What the child is: it ends here, with what it found in the pipe. */
static _Noreturn void
child(const char *dir, int pipe_fd)
{
	static const int signals[] = {SIGBUS, SIGSEGV, SIGABRT, SIGFPE, SIGILL};
	const struct rlimit no_core = {0, 0};
	struct error err = {.code = ERR_NONE};

	setrlimit(RLIMIT_CORE, &no_core);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		signal(signals[i], SIG_DFL);
	open_and_walk(dir, &err);
	_exit(write(pipe_fd, &err, sizeof err) == (ssize_t)sizeof err ? 0 : 1);
}

static bool
read_all(int fd, void *bytes, size_t n)
{
	char *p = bytes;

	while (n > 0) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

int
db_check_file(const char *dir, struct error *err)
{
	struct error found;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return error_set(err, ERR_IO, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return error_set(err, ERR_IO, "fork: %s", strerror(errno));
	}
	if (pid == 0)
		child(dir, fds[1]);
	close(fds[1]);
	bool answered = read_all(fds[0], &found, sizeof found);
	close(fds[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	if (!answered)
		return error_set(err, ERR_FORMAT,
		    "data.mdb is truncated or damaged (reading it ended the process "
		    "that tried): restore it from a copy");
	if (found.code == ERR_NONE)
		return 0;
	*err = found;
	return -1;
}
