#ifndef SERVER_DB_H
#define SERVER_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "server/point_id.h"

/*
 * The data directory: one LMDB environment with everything a collection is made of
 * (docs/formats.md has every byte).
 *
 *     meta         format version, next collection id, last operation
 *     collections  name -> settings (JSON)
 *     binarizers   collection, code version -> what decodes its codes
 *     ids          collection, id -> slots
 *     points       collection, slot -> id, payload, operation, passage
 *     codes        collection, code version, vector name, block -> rows of codes
 *     numbers      collection, field -> values of payloads, in order, with their rows
 *     terms        collection, field, value -> rows (server/db_fields.h has both)
 *     dropped      collections and fields whose rows are still to be deleted
 *
 * Durability: LMDB's default, nothing else can be asked for.  When db_commit has
 * returned 0 the transaction is on the disk (two flushes) and survives kill -9 and
 * power cuts; when it failed nothing of it is there.
 *
 * A commit that finds no room answers ERR_FULL, and later ones work when there is
 * room.  When the system refuses a write or a flush for another reason the file can
 * no longer be trusted by this process: every later db_begin_write answers
 * ERR_UNAVAILABLE until the server is restarted; reading goes on.
 *
 * Threads: one writing transaction at a time, begun and ended by one thread; reading
 * transactions from any thread, each used by one thread at a time.  A reading
 * transaction is begun and aborted for each use (it takes a microsecond; MDB_NOTLS,
 * at most DB_READERS_MAX at once).  Keep it short: while it lives, no page that was
 * freed since can be reused, and the file grows.
 */
#define DB_FORMAT_VERSION 4  /* the newest that is read */
#define DB_FORMAT_PLAIN 1    /* of a directory without what the others have */
#define DB_FORMAT_PASSAGES 2 /* a point has passages */
#define DB_FORMAT_VERSIONS 3 /* a collection has had codes of a second version */
#define DB_FORMAT_FIELDS 4   /* payloads have been indexed */
#define DB_PASSAGES_MAX 4096 /* of a point */
#define DB_MAP_BYTES_DEFAULT ((size_t)256 << 30)
#define DB_MAP_BYTES_MIN ((size_t)1 << 20)
#define DB_READERS_MAX 512

struct db;
struct db_txn;

/* Open DIR (made if it is not there) and hold it: a second process is refused with
 * ERR_BUSY until db_close or the end of this process.  map_bytes (0 = default) bounds
 * the size of the file; it is address space, not memory or disk.  A file that is
 * truncated, damaged, or of a newer format is refused with ERR_FORMAT.  Other errors:
 * ERR_IO, ERR_FULL, ERR_MEMORY (no address space for the map). */
struct db *db_open(const char *dir, size_t map_bytes, struct error *err);

/* Every transaction has ended. */
void db_close(struct db *db);

/* Whether writing has been given up until a restart. */
bool db_broken(const struct db *db);

/* From here on db_codes_each ends at its next block with ERR_UNAVAILABLE: who reads
 * collections into memory shall give it up.  Any thread. */
void db_stop_loading(struct db *db);

/* Free the places of readers that died (the writer calls it every few seconds).
 * Returns how many. */
int db_check_readers(struct db *db);

/* Bytes per part, for collection info and /metrics.  All collections together. */
struct db_sizes {
	uint64_t file_bytes; /* data.mdb on the disk (blocks in use) */
	uint64_t ids_bytes;  /* pages of `ids`, and so on */
	uint64_t points_bytes;
	uint64_t codes_bytes;
	uint64_t other_bytes;
	uint64_t free_bytes; /* pages that the next writes reuse */
	uint64_t n_rows;     /* also of dropped collections that are not purged yet */
};
int db_sizes(struct db *db, struct db_sizes *sizes, struct error *err);

/* *bytes := those of data.mdb that are in memory (the system's page cache, from which
 * it takes them back when memory is short).  Of a larger file than DB_RESIDENT_LOOK so
 * much is looked at, evenly spread, and the rest taken to be as much: to look at a page
 * takes .1 to .4 us. */
#define DB_RESIDENT_LOOK ((uint64_t)64 << 20)
int db_resident(struct db *db, uint64_t *bytes, struct error *err);

/* ---- transactions ---- */

/* NULL: ERR_BUSY (DB_READERS_MAX are open), ERR_MEMORY, ERR_IO. */
struct db_txn *db_begin_read(struct db *db, struct error *err);

/* NULL: ERR_UNAVAILABLE (see above), ERR_MEMORY, ERR_IO. */
struct db_txn *db_begin_write(struct db *db, struct error *err);

/* End a writing transaction; it is gone whatever comes back.  Errors: ERR_FULL,
 * ERR_UNAVAILABLE. */
int db_commit(struct db_txn *txn, struct error *err);

/* End a reading transaction, or a writing one without effect.  NULL is legal. */
void db_end(struct db_txn *txn);

/* A failed write leaves the transaction fit for db_end alone.  In what follows every
 * -1 is one of ERR_FULL, ERR_MEMORY, ERR_FORMAT (the file is damaged), ERR_IO. */

/* The format version of the file: DB_FORMAT_PLAIN .. DB_FORMAT_VERSION. */
int db_format(struct db_txn *txn, uint32_t *version, struct error *err);

/* The number of the last operation committed (0 = none). */
int db_operation(struct db_txn *txn, uint64_t *operation, struct error *err);
int db_set_operation(struct db_txn *txn, uint64_t operation, struct error *err);

/* ---- collections ---- */

/* *id := a collection id that was never used before. */
int db_collection_new_id(struct db_txn *txn, uint32_t *id, struct error *err);

/* Keep settings (JSON) and, where binarizer_len > 0, the bytes of the binarizer of a
 * version of its codes; a name that is there gets the new settings. */
struct db_collection {
	const char *name;
	uint32_t id;
	const char *settings;
	size_t settings_len;
	uint32_t version; /* of the codes that the binarizer makes */
	const void *binarizer;
	size_t binarizer_len;
};
int db_collection_put(
    struct db_txn *txn, const struct db_collection *collection, struct error *err);

/* Call on_collection for each, in the order of names; its pointers are valid until it
 * returns; the binarizer is not filled in (db_binarizer has it).  It returns 0, or -1
 * with *err to stop. */
typedef int db_on_collection(
    void *arg, const struct db_collection *collection, struct error *err);
int db_collections(
    struct db_txn *txn, db_on_collection *on_collection, void *arg, struct error *err);

/* *found and *id := the collection called `name`. */
int db_collection_find(
    struct db_txn *txn, const char *name, bool *found, uint32_t *id, struct error *err);

/* *bytes := the binarizer kept for a version of a collection's codes, valid until the
 * transaction ends; *n = 0 if there is none. */
int db_binarizer(struct db_txn *txn, uint32_t collection, uint32_t version,
    const void **bytes, size_t *n, struct error *err);

/* Deleting what is not there is fine. */
int db_binarizer_delete(
    struct db_txn *txn, uint32_t collection, uint32_t version, struct error *err);

/* The name is gone at once; the rows are left for db_purge. */
int db_collection_drop(
    struct db_txn *txn, const char *name, uint32_t id, struct error *err);

/* Delete at most n rows of dropped collections and fields; *more := whether any are
 * left. */
int db_purge(struct db_txn *txn, size_t n, bool *more, struct error *err);

/* ---- points ---- */

/*
 * A point has one row, in one slot; or, where its text was cut into passages, one for
 * each of them.  Every row has a record, the payload is with the first.
 */

/* *found and *slot := where this id is: its first row. */
int db_slot(struct db_txn *txn, uint32_t collection, const struct point_id *id,
    bool *found, uint32_t *slot, struct error *err);

/* The next id, in the order of their keys (point_id.h): the first at or behind *id, or
 * the first behind it; of an id with len 0 the first of all.  *found; if so *id is that
 * one and *slot its first row. */
enum db_id_from { DB_ID_AT, DB_ID_BEHIND };
int db_id_next(struct db_txn *txn, uint32_t collection, enum db_id_from from,
    bool *found, struct point_id *id, uint32_t *slot, struct error *err);

/* The slots of a point's rows, in their order. */
struct db_rows {
	uint32_t slots[DB_PASSAGES_MAX];
	size_t n;
};

/* *rows := where this id is; n = 0 if it is not there. */
int db_rows(struct db_txn *txn, uint32_t collection, const struct point_id *id,
    struct db_rows *rows, struct error *err);

/* Bytes start .. end - 1 of the text that a point was made from. */
struct db_passage {
	uint32_t start, end;
};

struct db_record {
	struct point_id id;
	uint64_t operation;  /* the operation that wrote it */
	const char *payload; /* JSON object as it came; "" if none, and in all rows but
				a point's first; no '\0' behind it; valid until the
				transaction ends or writes */
	size_t payload_len;

	bool is_passage; /* the rest is of those alone */
	uint32_t first;  /* slot of the point's first row: one for each point */
	uint32_t number; /* of the passage, from 0 */
	struct db_passage passage;
};

/* *found and *record := the row in this slot. */
int db_record(struct db_txn *txn, uint32_t collection, uint32_t slot, bool *found,
    struct db_record *record, struct error *err);

/* *record, one of a point's rows, := that of its first one, which has the payload;
 * *found: it is there. */
int db_record_first(struct db_txn *txn, uint32_t collection, bool *found,
    struct db_record *record, struct error *err);

/* The first row at or behind *slot: *found, *slot and *record.  To walk a
 * collection: slot = 0, then while found: slot + 1. */
int db_record_next(struct db_txn *txn, uint32_t collection, bool *found, uint32_t *slot,
    struct db_record *record, struct error *err);

/* Write the record of a row that is there: for who changes the payload alone. */
int db_record_put(struct db_txn *txn, uint32_t collection, uint32_t slot,
    const struct db_record *record, struct error *err);

/* Write a point (id -> slots and slot -> record).  passages: (rows->n), those of a text
 * that was cut, or NULL for one row that is none.  Of *record its id, operation and
 * payload are read.  Rows that the point had before and no longer has are the caller's
 * to delete. */
int db_point_put(struct db_txn *txn, uint32_t collection, const struct db_rows *rows,
    const struct db_passage *passages, const struct db_record *record,
    struct error *err);
int db_record_delete(
    struct db_txn *txn, uint32_t collection, uint32_t slot, struct error *err);

/* Remove a point, whose rows these are. */
int db_point_delete(struct db_txn *txn, uint32_t collection, const struct db_rows *rows,
    const struct point_id *id, struct error *err);

/* ---- codes ---- */

/* Codes of a collection by one binarizer: their key and the shape of their rows. */
struct db_codes {
	uint32_t collection;
	uint32_t version; /* 1, and rising for the binarizers that followed the first */
	char vector[256]; /* the vector's name; "" is the default one */
	struct code_shape shape;
	bool has_norm2;
};

/* How many rows of these codes there are beyond the first of each point: kept by the
 * caller, so that points can be counted without reading them. */
int db_extra_rows(
    struct db_txn *txn, const struct db_codes *codes, uint64_t *n, struct error *err);
int db_set_extra_rows(
    struct db_txn *txn, const struct db_codes *codes, uint64_t n, struct error *err);

struct db_code {
	const uint8_t
	    *wire; /* code_bytes; valid until the transaction ends or writes */
	float factor;
	float norm2; /* 0 where the codes have none */
};

/* Rows that one value of `codes` holds: as many as fill 1 to 4 pages best. */
uint32_t db_codes_rows(const struct db_codes *codes);

/* Bytes of the file that such a value takes: whole pages. */
size_t db_codes_block_bytes(const struct db_codes *codes);

int db_code_put(struct db_txn *txn, const struct db_codes *codes, uint32_t slot,
    const struct db_code *code, struct error *err);
int db_code_delete(
    struct db_txn *txn, const struct db_codes *codes, uint32_t slot, struct error *err);

/* *found and *code := the code in this slot. */
int db_code(struct db_txn *txn, const struct db_codes *codes, uint32_t slot,
    bool *found, struct db_code *code, struct error *err);

/* *any := whether there is a code at all. */
int db_codes_any(
    struct db_txn *txn, const struct db_codes *codes, bool *any, struct error *err);

/* Call on_code for every code in the order of slots; it returns 0, or -1 with *err to
 * stop.  One sequential pass over the blocks.  ERR_UNAVAILABLE: db_stop_loading. */
typedef int db_on_code(
    void *arg, uint32_t slot, const struct db_code *code, struct error *err);
int db_codes_each(struct db_txn *txn, const struct db_codes *codes, db_on_code *on_code,
    void *arg, struct error *err);

#endif /* SERVER_DB_H */
