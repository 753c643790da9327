#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "server/db_internal.h"

/*
 * collections: name -> collection (4 bytes, little-endian), settings (JSON)
 * binarizers:  collection, of later versions of codes than the first also the version
 *              -> bytes
 * dropped:     collection, of a field alone also its number -> nothing
 * meta:        "next_collection" -> 4 bytes, little-endian
 */
static const char next_key[] = "next_collection";

int
db_collection_new_id(struct db_txn *txn, uint32_t *id, struct error *err)
{
	uint8_t bytes[4];
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_META, next_key, strlen(next_key), &found, &value, err) != 0)
		return -1;
	if (found && value.mv_size != 4)
		return db_damaged(
		    txn->db, "the collection counter has another size", err);
	uint32_t next = found ? bytes_get32le(value.mv_data) : 1;
	if (next == UINT32_MAX)
		return error_set(
		    err, ERR_FULL, "every collection number has been used");
	bytes_put32le(bytes, next + 1);
	if (db_put(txn, DB_META, next_key, strlen(next_key), bytes, sizeof bytes,
		err) != 0)
		return -1;
	*id = next;
	return 0;
}

#define BINARIZER_KEY_MAX 8

static size_t
binarizer_key(uint8_t key[BINARIZER_KEY_MAX], uint32_t collection, uint32_t version)
{
	bytes_put32be(key, collection);
	bytes_put32be(key + 4, version);
	return version == 1 ? 4 : 8;
}

int
db_collection_put(
    struct db_txn *txn, const struct db_collection *collection, struct error *err)
{
	uint8_t key[BINARIZER_KEY_MAX];
	size_t key_len = binarizer_key(key, collection->id, collection->version);

	if (collection->version > 1 &&
	    db_need_format(txn, DB_FORMAT_VERSIONS, err) != 0)
		return -1;
	if (collection->binarizer_len > 0 &&
	    db_put(txn, DB_BINARIZERS, key, key_len, collection->binarizer,
		collection->binarizer_len, err) != 0)
		return -1;
	size_t n = 4 + collection->settings_len;
	uint8_t *value = array_new(n, 1);
	if (!value)
		return error_set(err, ERR_MEMORY, "out of memory for settings");
	bytes_put32le(value, collection->id);
	memcpy(value + 4, collection->settings, collection->settings_len);
	int result = db_put(txn, DB_COLLECTIONS, collection->name,
	    strlen(collection->name), value, n, err);
	free(value);
	return result;
}

int
db_collection_find(
    struct db_txn *txn, const char *name, bool *found, uint32_t *id, struct error *err)
{
	MDB_val value;

	if (db_get(txn, DB_COLLECTIONS, name, strlen(name), found, &value, err) != 0)
		return -1;
	if (*found && value.mv_size < 4)
		return db_damaged(txn->db, "a collection has no number", err);
	if (*found)
		*id = bytes_get32le(value.mv_data);
	return 0;
}

static int
read_collection(struct db *db, struct db_collection *collection,
    char name[DB_NAME_BYTES], const MDB_val *key, const MDB_val *value,
    struct error *err)
{
	if (key->mv_size >= DB_NAME_BYTES)
		return db_damaged(db, "a collection's name is too long", err);
	if (value->mv_size < 4)
		return db_damaged(db, "a collection has no number", err);
	memcpy(name, key->mv_data, key->mv_size);
	name[key->mv_size] = '\0';
	*collection = (struct db_collection){
	    .name = name,
	    .id = bytes_get32le(value->mv_data),
	    .settings = (const char *)value->mv_data + 4,
	    .settings_len = value->mv_size - 4,
	};
	return 0;
}

int
db_collections(
    struct db_txn *txn, db_on_collection *on_collection, void *arg, struct error *err)
{
	char name[DB_NAME_BYTES];
	struct db_collection collection;
	MDB_val key, value;
	MDB_cursor *cursor;

	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_COLLECTIONS], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading collections", err);
	int result = 0;
	while (
	    result == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		result = read_collection(txn->db, &collection, name, &key, &value, err);
		if (result == 0)
			result = on_collection(arg, &collection, err);
	}
	mdb_cursor_close(cursor);
	if (result == 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading collections", err);
	return result;
}

int
db_binarizer(struct db_txn *txn, uint32_t collection, uint32_t version,
    const void **bytes, size_t *n, struct error *err)
{
	uint8_t key[BINARIZER_KEY_MAX];
	size_t key_len = binarizer_key(key, collection, version);
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_BINARIZERS, key, key_len, &found, &value, err) != 0)
		return -1;
	*bytes = found ? value.mv_data : NULL;
	*n = found ? value.mv_size : 0;
	return 0;
}

int
db_binarizer_delete(
    struct db_txn *txn, uint32_t collection, uint32_t version, struct error *err)
{
	uint8_t key[BINARIZER_KEY_MAX];
	size_t key_len = binarizer_key(key, collection, version);

	return db_delete(txn, DB_BINARIZERS, key, key_len, err);
}

int
db_collection_drop(struct db_txn *txn, const char *name, uint32_t id, struct error *err)
{
	uint8_t key[4];

	bytes_put32be(key, id);
	if (db_put(txn, DB_DROPPED, key, sizeof key, "", 0, err) != 0)
		return -1;
	return db_delete(txn, DB_COLLECTIONS, name, strlen(name), err);
}

/* Delete rows of one database whose keys begin so, *left at most. */
static int
purge_rows(struct db_txn *txn, enum db_name name, const MDB_val *begin, size_t *left,
    struct error *err)
{
	MDB_val key, value;
	MDB_cursor *cursor;

	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[name], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "deleting", err);
	for (; *left > 0; --*left) {
		key = *begin;
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		if (rc != 0 || key.mv_size < begin->mv_size ||
		    memcmp(key.mv_data, begin->mv_data, begin->mv_size) != 0)
			break;
		if ((rc = mdb_cursor_del(cursor, 0)) != 0)
			break;
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND ? 0
					     : db_fail(txn->db, rc, "deleting", err);
}

/* A key of `dropped`: what the keys of the rows begin with. */
#define DROPPED_KEY_MAX 6

/* *found and *begin (in bytes) := the first that is dropped but not purged. */
static int
first_dropped(struct db_txn *txn, uint8_t bytes[DROPPED_KEY_MAX], MDB_val *begin,
    bool *found, struct error *err)
{
	MDB_val key, value;
	MDB_cursor *cursor;

	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_DROPPED], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "deleting", err);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	*found = rc == 0;
	bool bad = rc == 0 && key.mv_size != 4 && key.mv_size != DROPPED_KEY_MAX;
	if (rc == 0 && !bad)
		*begin =
		    (MDB_val){key.mv_size, memcpy(bytes, key.mv_data, key.mv_size)};
	mdb_cursor_close(cursor);
	if (bad)
		return db_damaged(txn->db, "a dropped collection has no number", err);
	return rc == 0 || rc == MDB_NOTFOUND ? 0
					     : db_fail(txn->db, rc, "deleting", err);
}

/* The last of a dropped collection or field. */
static int
forget(struct db_txn *txn, const MDB_val *begin, struct error *err)
{
	uint8_t key[DB_EXTRA_KEY_MAX];
	uint32_t collection = bytes_get32be(begin->mv_data);
	MDB_val extra = {db_extra_key(key, collection, 1), key};
	size_t all = SIZE_MAX;

	if (begin->mv_size == 4 && purge_rows(txn, DB_META, &extra, &all, err) != 0)
		return -1;
	return db_delete(txn, DB_DROPPED, begin->mv_data, begin->mv_size, err);
}

int
db_purge(struct db_txn *txn, size_t n, bool *more, struct error *err)
{
	static const enum db_name parts[] = {
	    DB_NUMBERS, DB_TERMS, DB_CODES, DB_IDS, DB_POINTS, DB_BINARIZERS};
	uint8_t bytes[DROPPED_KEY_MAX];
	MDB_val begin = {0, bytes};
	size_t left = n;

	if (db_fields_flush(txn, err) != 0)
		return -1;
	for (;;) {
		if (first_dropped(txn, bytes, &begin, more, err) != 0)
			return -1;
		if (!*more || left == 0)
			return 0;
		/* Of a field there are numbers and terms alone: other keys that begin
		 * so are other things. */
		size_t n_parts = begin.mv_size == 4 ? sizeof parts / sizeof *parts : 2;
		for (size_t i = 0; i < n_parts; i++)
			if (purge_rows(txn, parts[i], &begin, &left, err) != 0)
				return -1;
		/* Rows may be left exactly when the slice was used up. */
		if (left > 0 && forget(txn, &begin, err) != 0)
			return -1;
	}
}
