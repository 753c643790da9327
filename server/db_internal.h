#ifndef SERVER_DB_INTERNAL_H
#define SERVER_DB_INTERNAL_H

#include <lmdb.h>
#include <stdatomic.h>

#include "server/db.h"

/* What the files of server/db share; nobody else includes this (or lmdb.h). */

enum db_name {
	DB_META,
	DB_COLLECTIONS,
	DB_BINARIZERS,
	DB_IDS,
	DB_POINTS,
	DB_CODES,
	DB_DROPPED,
	DB_NUMBERS, /* the one with several values to a key */
	DB_TERMS,
	DB_NAMES,
};
extern const char *const db_names[DB_NAMES];

#define DB_FORMAT_KEY "format_version"
#define DB_EXTRA_KEY_MAX                                                          \
	(11 + 8)              /* of meta: "extra_rows", '\0', collection, version \
			       */
#define DB_NAME_BYTES 256     /* a collection's name with its '\0' */
#define DB_KEY_MAX (13 + 255) /* of codes: collection, version, name, block */
#define DB_BLOCK_BYTES_MAX (4 * 4096 - 16) /* four pages less LMDB's page header */

struct db {
	MDB_env *env;
	MDB_dbi dbi[DB_NAMES];
	int lock_fd;
	int data_fd; /* LMDB's own, for looking at its size */
	size_t map_bytes;
	atomic_bool broken;
	atomic_bool stop_loading;
	char *dir;
};

struct db_fields_log;

struct db_txn {
	struct db *db;
	MDB_txn *txn;
	MDB_cursor *points, *ids;     /* opened at first use; closed before the end */
	uint8_t *block;               /* DB_BLOCK_BYTES_MAX, of a writing transaction */
	struct db_fields_log *fields; /* changes of indexes that wait; NULL: none */
};

/* Fill *err with what LMDB's or the system's rc means for this database; marks it
 * broken where that is so.  Returns -1. */
int db_fail(struct db *db, int rc, const char *what, struct error *err);

/* ERR_FORMAT: something in the file is not what it should be.  Returns -1. */
int db_damaged(const struct db *db, const char *what, struct error *err);

/* value := what is under key; *found says whether.  key is n bytes. */
int db_get(struct db_txn *txn, enum db_name name, const void *key, size_t n,
    bool *found, MDB_val *value, struct error *err);
int db_put(struct db_txn *txn, enum db_name name, const void *key, size_t n,
    const void *value, size_t value_len, struct error *err);

/* Deleting what is not there is fine. */
int db_delete(struct db_txn *txn, enum db_name name, const void *key, size_t n,
    struct error *err);

/* Write the changes of indexes that wait, or forget them. */
int db_fields_flush(struct db_txn *txn, struct error *err);
void db_fields_forget(struct db_txn *txn);

/* What is about to be written needs this format version: older programs shall refuse
 * the file. */
int db_need_format(struct db_txn *txn, uint32_t version, struct error *err);

/* The key in meta of the count of extra rows of a version of codes; those of all
 * versions begin like that of the first.  Returns its length. */
size_t db_extra_key(
    uint8_t key[DB_EXTRA_KEY_MAX], uint32_t collection, uint32_t version);

/* 32 bits that change when one of the n bytes does: a check against a damaged disk,
 * not against malice.  Part of the format. */
uint32_t db_checksum(const void *bytes, size_t n);

/* Look at a data.mdb before this process trusts it, in a process of its own: LMDB ends
 * a process that meets a truncated or scrambled file.  ERR_FORMAT, ERR_IO. */
int db_check_file(const char *dir, struct error *err);

#endif /* SERVER_DB_INTERNAL_H */
