#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "server/db_internal.h"

#define PROBE_BYTES (64 * 1024)

/* LMDB reports a write that the system cut short as EIO; mostly the disk is full or
 * the file at its limit then.  Ask the system for a little room to tell which. */
static bool
out_of_room(const struct db *db)
{
	struct stat st;

	if (db->data_fd < 0 || fstat(db->data_fd, &st) != 0)
		return false;
	if (fallocate(db->data_fd, 0, st.st_size, PROBE_BYTES) != 0)
		return errno == ENOSPC || errno == EFBIG || errno == EDQUOT;
	if (ftruncate(db->data_fd, st.st_size) != 0)
		log_event(LOG_WARN, "db_probe", "error=\"%s\"", strerror(errno));
	return false;
}

static int
fail_full(const struct db *db, struct error *err)
{
	return error_set(err, ERR_FULL,
	    "no space left to store it: nothing was changed; make room on the disk of "
	    "%s and try again",
	    db->dir);
}

static int
fail_broken(struct db *db, const char *what, int rc, struct error *err)
{
	if (!atomic_exchange(&db->broken, true))
		log_event(LOG_ERROR, "db_broken", "during=\"%s\" error=\"%s\"", what,
		    mdb_strerror(rc));
	return error_set(err, ERR_UNAVAILABLE,
	    "the disk failed (%s: %s): nothing is written any more; check the disk of "
	    "%s and restart the server",
	    what, mdb_strerror(rc), db->dir);
}

int
db_damaged(const struct db *db, const char *what, struct error *err)
{
	return error_set(err, ERR_FORMAT,
	    "the data in %s are damaged (%s): restore them from a copy", db->dir, what);
}

int
db_fail(struct db *db, int rc, const char *what, struct error *err)
{
	switch (rc) {
	case MDB_MAP_FULL:
		return error_set(err, ERR_FULL,
		    "the data file has reached its limit of %zu MiB: nothing was "
		    "changed; restart the server with a larger map size",
		    db->map_bytes >> 20);
	case ENOSPC:
	case EFBIG:
	case EDQUOT:
		return fail_full(db, err);
	case EIO:
		return out_of_room(db) ? fail_full(db, err)
				       : fail_broken(db, what, rc, err);
	case MDB_PANIC:
		return fail_broken(db, what, rc, err);
	case MDB_TXN_FULL:
		return error_set(err, ERR_TOO_LARGE,
		    "too much for one transaction: send smaller batches");
	case MDB_READERS_FULL:
		return error_set(err, ERR_BUSY,
		    "more than %d readers of the data at once: try again",
		    DB_READERS_MAX);
	case ENOMEM:
		return error_set(err, ERR_MEMORY, "out of memory (%s)", what);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return db_damaged(db, mdb_strerror(rc), err);
	default:
		return error_set(
		    err, ERR_IO, "%s: %s: %s", db->dir, what, mdb_strerror(rc));
	}
}

static struct db_txn *
begin(struct db *db, unsigned flags, struct error *err)
{
	struct db_txn *txn = array_new(1, sizeof *txn);

	if (!txn ||
	    (flags != MDB_RDONLY && !(txn->block = array_new(DB_BLOCK_BYTES_MAX, 1)))) {
		free(txn);
		error_set(err, ERR_MEMORY, "out of memory for a transaction");
		return NULL;
	}
	int rc = mdb_txn_begin(db->env, NULL, flags, &txn->txn);
	if (rc != 0) {
		db_fail(db, rc, "beginning a transaction", err);
		free(txn->block);
		free(txn);
		return NULL;
	}
	txn->db = db;
	return txn;
}

struct db_txn *
db_begin_read(struct db *db, struct error *err)
{
	return begin(db, MDB_RDONLY, err);
}

struct db_txn *
db_begin_write(struct db *db, struct error *err)
{
	if (db_broken(db)) {
		error_set(err, ERR_UNAVAILABLE,
		    "the disk failed earlier: nothing is written any more; check the "
		    "disk of %s and restart the server",
		    db->dir);
		return NULL;
	}
	return begin(db, 0, err);
}

static void
close_cursors(struct db_txn *txn)
{
	if (txn->points)
		mdb_cursor_close(txn->points);
	if (txn->ids)
		mdb_cursor_close(txn->ids);
}

int
db_commit(struct db_txn *txn, struct error *err)
{
	struct db *db = txn->db;

	if (db_fields_flush(txn, err) != 0) {
		db_end(txn);
		return -1;
	}
	db_fields_forget(txn);
	close_cursors(txn);
	int rc = mdb_txn_commit(txn->txn);
	free(txn->block);
	free(txn);
	return rc == 0 ? 0 : db_fail(db, rc, "committing", err);
}

void
db_end(struct db_txn *txn)
{
	if (!txn)
		return;
	close_cursors(txn);
	mdb_txn_abort(txn->txn);
	db_fields_forget(txn);
	free(txn->block);
	free(txn);
}

int
db_get(struct db_txn *txn, enum db_name name, const void *key, size_t n, bool *found,
    MDB_val *value, struct error *err)
{
	MDB_val k = {n, (void *)(uintptr_t)key};

	int rc = mdb_get(txn->txn, txn->db->dbi[name], &k, value);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading", err);
	*found = rc == 0;
	return 0;
}

int
db_put(struct db_txn *txn, enum db_name name, const void *key, size_t n,
    const void *value, size_t value_len, struct error *err)
{
	MDB_val k = {n, (void *)(uintptr_t)key};
	MDB_val v = {value_len, (void *)(uintptr_t)value};

	int rc = mdb_put(txn->txn, txn->db->dbi[name], &k, &v, 0);
	return rc == 0 ? 0 : db_fail(txn->db, rc, "writing", err);
}

int
db_delete(
    struct db_txn *txn, enum db_name name, const void *key, size_t n, struct error *err)
{
	MDB_val k = {n, (void *)(uintptr_t)key};

	int rc = mdb_del(txn->txn, txn->db->dbi[name], &k, NULL);
	return rc == 0 || rc == MDB_NOTFOUND ? 0
					     : db_fail(txn->db, rc, "deleting", err);
}

int
db_format(struct db_txn *txn, uint32_t *version, struct error *err)
{
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_META, DB_FORMAT_KEY, strlen(DB_FORMAT_KEY), &found, &value,
		err) != 0)
		return -1;
	if (!found || value.mv_size != 4)
		return db_damaged(txn->db, "the format version has another size", err);
	*version = bytes_get32le(value.mv_data);
	return 0;
}

int
db_need_format(struct db_txn *txn, uint32_t version, struct error *err)
{
	uint8_t value[4];
	uint32_t now;

	if (db_format(txn, &now, err) != 0)
		return -1;
	if (now >= version)
		return 0;
	bytes_put32le(value, version);
	return db_put(txn, DB_META, DB_FORMAT_KEY, strlen(DB_FORMAT_KEY), value,
	    sizeof value, err);
}

static const char operation_key[] = "operation";

int
db_operation(struct db_txn *txn, uint64_t *operation, struct error *err)
{
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_META, operation_key, strlen(operation_key), &found, &value,
		err) != 0)
		return -1;
	if (found && value.mv_size != 8)
		return db_damaged(
		    txn->db, "the operation number has another size", err);
	*operation = found ? bytes_get64le(value.mv_data) : 0;
	return 0;
}

int
db_set_operation(struct db_txn *txn, uint64_t operation, struct error *err)
{
	uint8_t value[8];

	bytes_put64le(value, operation);
	return db_put(txn, DB_META, operation_key, strlen(operation_key), value,
	    sizeof value, err);
}

uint32_t
db_checksum(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15);

	for (; n >= 8; n -= 8, p += 8) {
		h = (h ^ bytes_get64le(p)) * UINT64_C(0x9FB21C651E98DF25);
		h ^= h >> 29;
	}
	for (; n > 0; n--, p++)
		h = (h ^ *p) * UINT64_C(0x100000001B3);
	h ^= h >> 32;
	return (uint32_t)(h * UINT64_C(0xD6E8FEB86659FD93) >> 32);
}
