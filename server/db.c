#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "server/db_internal.h"

const char *const db_names[DB_NAMES] = {
    [DB_META] = "meta",
    [DB_COLLECTIONS] = "collections",
    [DB_BINARIZERS] = "binarizers",
    [DB_IDS] = "ids",
    [DB_POINTS] = "points",
    [DB_CODES] = "codes",
    [DB_DROPPED] = "dropped",
    [DB_NUMBERS] = "numbers",
    [DB_TERMS] = "terms",
};

static int
make_dir(const char *dir, struct error *err)
{
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return 0;
	return error_set(err, errno == ENOSPC ? ERR_FULL : ERR_IO,
	    "cannot make the data directory %s: %s", dir, strerror(errno));
}

/* The lock is on a file of its own: it goes with the process, however that ends. */
static int
lock_dir(struct db *db, struct error *err)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof path, "%s/halftone.lock", db->dir) >=
	    sizeof path)
		return error_set(
		    err, ERR_INPUT, "the data directory's path is too long");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set(err, errno == ENOSPC ? ERR_FULL : ERR_IO, "%s: %s",
		    path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int e = errno;
		close(fd);
		if (e != EWOULDBLOCK)
			return error_set(err, ERR_IO, "%s: %s", path, strerror(e));
		return error_set(err, ERR_BUSY,
		    "the data directory %s is in use by another server: stop it, or "
		    "choose another directory",
		    db->dir);
	}
	db->lock_fd = fd;
	return 0;
}

static void
warn_about_filesystem(const char *dir)
{
	struct statfs fs;

	if (statfs(dir, &fs) != 0)
		return;
	if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
		log_event(LOG_WARN, "data_on_overlay",
		    "dir=%s advice=\"mount a volume: data in a container's layer go "
		    "with it\"",
		    dir);
	if (fs.f_type == NFS_SUPER_MAGIC)
		log_event(LOG_WARN, "data_on_nfs",
		    "dir=%s advice=\"use a local disk: LMDB cannot lock over NFS\"",
		    dir);
}

/* The lock file says whether this directory has held data, so that a data.mdb that was
 * lost is not mistaken for one that was never made. */
static const char marker[] = "halftone data\n";

static int
check_before(const struct db *db, bool *is_new, struct error *err)
{
	char path[4096];
	struct stat st, lock;

	if (fstat(db->lock_fd, &lock) != 0)
		return error_set(err, ERR_IO, "%s: %s", db->dir, strerror(errno));
	snprintf(path, sizeof path, "%s/data.mdb", db->dir);
	*is_new = stat(path, &st) != 0 || st.st_size == 0;
	if (*is_new && lock.st_size > 0)
		return error_set(err, ERR_FORMAT,
		    "%s held data, and its data.mdb is empty or missing: restore it "
		    "from a copy, or choose an empty directory",
		    db->dir);
	if (*is_new)
		return 0;
	return db_check_file(db->dir, err) == 0 ? 0 : error_prefix(err, "%s", db->dir);
}

static void
on_assert(MDB_env *env, const char *text)
{
	(void)env;
	log_event(LOG_ERROR, "db_damaged",
	    "assertion=\"%s\" advice=\"restore the data from a copy\"", text);
}

static int
open_env(struct db *db, struct error *err)
{
	int rc = mdb_env_create(&db->env);

	if (rc != 0)
		return db_fail(db, rc, "opening", err);
	mdb_env_set_assert(db->env, on_assert);
	if (rc == 0)
		rc = mdb_env_set_mapsize(db->env, db->map_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(db->env, DB_READERS_MAX);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(db->env, DB_NAMES);
	if (rc == 0)
		rc = mdb_env_open(db->env, db->dir, MDB_NOTLS, 0644);
	if (rc == ENOMEM)
		return error_set(err, ERR_MEMORY,
		    "no address space for a map of %zu MiB: choose a smaller map size "
		    "or raise the limit (ulimit -v)",
		    db->map_bytes >> 20);
	if (rc == 0)
		rc = mdb_env_get_fd(db->env, &db->data_fd);
	return rc == 0 ? 0 : db_fail(db, rc, "opening", err);
}

/* Make the databases in a new file, or check that it is ours and of our version. */
static int
check_format(struct db_txn *txn, struct error *err)
{
	uint8_t version[4];
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_META, DB_FORMAT_KEY, strlen(DB_FORMAT_KEY), &found, &value,
		err) != 0)
		return -1;
	if (!found) {
		bytes_put32le(version, DB_FORMAT_PLAIN);
		return db_put(txn, DB_META, DB_FORMAT_KEY, strlen(DB_FORMAT_KEY),
		    version, sizeof version, err);
	}
	uint32_t n;
	if (db_format(txn, &n, err) != 0)
		return -1;
	if (n > DB_FORMAT_VERSION)
		return error_set(err, ERR_FORMAT,
		    "%s was written by a newer release (format %u; this one reads %d): "
		    "use that release",
		    txn->db->dir, n, DB_FORMAT_VERSION);
	if (n < DB_FORMAT_PLAIN)
		return error_set(err, ERR_FORMAT,
		    "%s has format %u, which no release wrote: expected %d to %d",
		    txn->db->dir, n, DB_FORMAT_PLAIN, DB_FORMAT_VERSION);
	return 0;
}

static int
open_names(struct db_txn *txn, struct error *err)
{
	struct db *db = txn->db;
	MDB_dbi main_dbi;
	MDB_stat stat;

	int rc = mdb_dbi_open(txn->txn, NULL, 0, &main_dbi);
	if (rc == 0)
		rc = mdb_stat(txn->txn, main_dbi, &stat);
	if (rc != 0)
		return db_fail(db, rc, "opening", err);
	if (stat.ms_entries > 0) {
		rc = mdb_dbi_open(txn->txn, db_names[DB_META], 0, &db->dbi[DB_META]);
		if (rc == MDB_NOTFOUND)
			return error_set(err, ERR_FORMAT,
			    "%s holds an LMDB file of another program: choose another "
			    "directory",
			    db->dir);
		if (rc != 0)
			return db_fail(db, rc, "opening", err);
		/* A newer format is refused before anything is made in it. */
		if (check_format(txn, err) != 0)
			return -1;
	}
	for (int i = 0; i < DB_NAMES; i++) {
		unsigned several = i == DB_NUMBERS ? MDB_DUPSORT | MDB_DUPFIXED : 0;
		rc = mdb_dbi_open(
		    txn->txn, db_names[i], MDB_CREATE | several, &db->dbi[i]);
		if (rc != 0)
			return db_fail(db, rc, "opening", err);
	}
	return check_format(txn, err);
}

static int
open_databases(struct db *db, struct error *err)
{
	struct db_txn *txn = db_begin_write(db, err);

	if (!txn)
		return -1;
	if (open_names(txn, err) != 0) {
		db_end(txn);
		return -1;
	}
	return db_commit(txn, err);
}

/* A file that is new must also be in its directory after a power cut. */
static void
sync_dir(const char *dir)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/..", dir);
	for (int i = 0; i < 2; i++) {
		int fd = open(i == 0 ? dir : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (fsync(fd) != 0)
			log_event(LOG_WARN, "sync_dir", "dir=%s error=\"%s\"", dir,
			    strerror(errno));
		close(fd);
	}
}

struct db *
db_open(const char *dir, size_t map_bytes, struct error *err)
{
	struct db *db = array_new(1, sizeof *db);
	bool is_new = false;

	if (!db || !(db->dir = array_copy(dir, strlen(dir)))) {
		free(db);
		error_set(err, ERR_MEMORY, "out of memory opening %s", dir);
		return NULL;
	}
	db->lock_fd = -1;
	db->data_fd = -1;
	db->map_bytes = map_bytes ? map_bytes : DB_MAP_BYTES_DEFAULT;
	if (db->map_bytes < DB_MAP_BYTES_MIN) {
		error_set(err, ERR_INPUT,
		    "expected a map size of at least %zu bytes, not %zu",
		    DB_MAP_BYTES_MIN, map_bytes);
		goto fail;
	}
	if (make_dir(dir, err) != 0 || lock_dir(db, err) != 0 ||
	    check_before(db, &is_new, err) != 0)
		goto fail;
	warn_about_filesystem(dir);
	if (open_env(db, err) != 0 || open_databases(db, err) != 0)
		goto fail;
	if (is_new)
		sync_dir(dir);
	if (pwrite(db->lock_fd, marker, strlen(marker), 0) != (ssize_t)strlen(marker))
		log_event(LOG_WARN, "lock_marker", "dir=%s error=\"%s\"", dir,
		    strerror(errno));
	db_check_readers(db);
	return db;
fail:
	db_close(db);
	return NULL;
}

void
db_close(struct db *db)
{
	if (!db)
		return;
	if (db->env)
		mdb_env_close(db->env);
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	free(db->dir);
	free(db);
}

bool
db_broken(const struct db *db)
{
	return atomic_load(&db->broken);
}

void
db_stop_loading(struct db *db)
{
	atomic_store(&db->stop_loading, true);
}

int
db_check_readers(struct db *db)
{
	int dead = 0;

	mdb_reader_check(db->env, &dead);
	return dead;
}

static uint64_t
pages_of(const MDB_stat *stat)
{
	return stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages;
}

/* *n := pages in the lists of free ones; each begins with its length. */
static int
count_free(struct db_txn *txn, uint64_t *n)
{
	const MDB_dbi free_dbi = 0;
	MDB_cursor *cursor;
	MDB_val key, value;

	*n = 0;
	int rc = mdb_cursor_open(txn->txn, free_dbi, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		*n += *(const size_t *)value.mv_data;
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
count_sizes(struct db_txn *txn, struct db_sizes *sizes, struct error *err)
{
	struct db *db = txn->db;
	uint64_t pages[DB_NAMES], n_free = 0, n_rows = 0;
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;

	int rc = mdb_env_info(db->env, &info);
	for (int i = 0; rc == 0 && i < DB_NAMES; i++) {
		rc = mdb_stat(txn->txn, db->dbi[i], &stat);
		pages[i] = rc == 0 ? pages_of(&stat) : 0;
		if (i == DB_POINTS && rc == 0)
			n_rows = stat.ms_entries;
	}
	if (rc == 0)
		rc = count_free(txn, &n_free);
	if (rc != 0)
		return db_fail(db, rc, "counting pages", err);
	if (fstat(db->data_fd, &st) != 0)
		return error_set(err, ERR_IO, "%s: %s", db->dir, strerror(errno));
	uint64_t all = info.me_last_pgno + 1, size = stat.ms_psize;
	*sizes = (struct db_sizes){
	    .file_bytes = (uint64_t)st.st_blocks * 512,
	    .ids_bytes = pages[DB_IDS] * size,
	    .points_bytes = pages[DB_POINTS] * size,
	    .codes_bytes = pages[DB_CODES] * size,
	    .n_rows = n_rows,
	    .free_bytes = n_free * size,
	};
	/* What is left: LMDB does not tell the pages of several values to a key. */
	sizes->other_bytes = (all - n_free) * size - sizes->ids_bytes -
			     sizes->points_bytes - sizes->codes_bytes;
	return 0;
}

int
db_sizes(struct db *db, struct db_sizes *sizes, struct error *err)
{
	struct db_txn *txn = db_begin_read(db, err);

	if (!txn)
		return -1;
	int result = count_sizes(txn, sizes, err);
	db_end(txn);
	return result;
}

/* Look at windows of the map, evenly spread; returns how many of its bytes are in
 * memory, or UINT64_MAX where the system does not tell. */
static uint64_t
count_resident(uint8_t *map, uint64_t size)
{
	enum { WINDOW = 1 << 16, PAGE_LEAST = 4096 };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t step = WINDOW * (1 + (size - 1) / DB_RESIDENT_LOOK);
	uint64_t looked = 0, found = 0;
	unsigned char pages[WINDOW / PAGE_LEAST];

	for (uint64_t at = 0; at < size; at += step) {
		size_t n = size - at < WINDOW ? (size_t)(size - at) : WINDOW;
		size_t n_pages = (n + page - 1) / page;
		if (mincore(map + at, n, pages) != 0)
			return UINT64_MAX;
		looked += n_pages;
		for (size_t i = 0; i < n_pages; i++)
			found += pages[i] & 1;
	}
	return (uint64_t)((double)size * (double)found / (double)looked);
}

int
db_resident(struct db *db, uint64_t *bytes, struct error *err)
{
	struct stat st;
	uint64_t n = UINT64_MAX;

	if (fstat(db->data_fd, &st) != 0)
		return error_set(err, ERR_IO, "%s: %s", db->dir, strerror(errno));
	size_t size = (size_t)st.st_size;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, db->data_fd, 0);
	if (map != MAP_FAILED) {
		n = count_resident(map, size);
		munmap(map, size);
	}
	if (n == UINT64_MAX)
		return error_set(
		    err, ERR_IO, "%s: what is in memory: %s", db->dir, strerror(errno));
	*bytes = n;
	return 0;
}
