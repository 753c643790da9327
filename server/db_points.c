#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "server/db_internal.h"

/*
 * ids:    collection, id's key      -> the slots of its rows (4 bytes each)
 * meta:   "extra_rows", collection, of later versions of codes than the first also the
 *         version -> rows beyond the first of each point (8 bytes)
 * points: collection, slot          -> a record:
 *
 *       0  checksum of what follows
 *       4  length of the id's key (2 bytes), flags (2 bytes: 1 = passage)
 *       8  operation
 *      16  id's key
 *          passage: slot of the first row, number, start, end (4 bytes each)
 *          payload
 */
#define RECORD_HEADER_BYTES 16
#define PASSAGE_BYTES 16
#define FLAG_PASSAGE 1u

static size_t
id_key(
    uint8_t key[4 + POINT_ID_KEY_MAX], uint32_t collection, const struct point_id *id)
{
	assert(id->len > 0 && id->len <= POINT_ID_KEY_MAX);
	bytes_put32be(key, collection);
	memcpy(key + 4, id->key, id->len);
	return 4 + (size_t)id->len;
}

size_t
db_extra_key(uint8_t key[DB_EXTRA_KEY_MAX], uint32_t collection, uint32_t version)
{
	static const char name[DB_EXTRA_KEY_MAX - 8] = "extra_rows";

	memcpy(key, name, sizeof name);
	bytes_put32be(key + sizeof name, collection);
	bytes_put32be(key + sizeof name + 4, version);
	return version == 1 ? DB_EXTRA_KEY_MAX - 4 : DB_EXTRA_KEY_MAX;
}

static void
slot_key(uint8_t key[8], uint32_t collection, uint32_t slot)
{
	bytes_put32be(key, collection);
	bytes_put32be(key + 4, slot);
}

static int
check_slots(struct db *db, const MDB_val *value, struct error *err)
{
	if (value->mv_size == 0 || value->mv_size % 4 != 0 ||
	    value->mv_size > 4 * DB_PASSAGES_MAX)
		return db_damaged(db, "the slots of a point have another size", err);
	return 0;
}

/* *value := the slots of an id, a whole number of them. */
static int
find_slots(struct db_txn *txn, uint32_t collection, const struct point_id *id,
    bool *found, MDB_val *value, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	size_t n = id_key(key, collection, id);

	if (db_get(txn, DB_IDS, key, n, found, value, err) != 0)
		return -1;
	return *found ? check_slots(txn->db, value, err) : 0;
}

int
db_slot(struct db_txn *txn, uint32_t collection, const struct point_id *id, bool *found,
    uint32_t *slot, struct error *err)
{
	MDB_val value;

	if (find_slots(txn, collection, id, found, &value, err) != 0)
		return -1;
	if (*found)
		*slot = bytes_get32le(value.mv_data);
	return 0;
}

int
db_id_next(struct db_txn *txn, uint32_t collection, enum db_id_from from, bool *found,
    struct point_id *id, uint32_t *slot, struct error *err)
{
	uint8_t wanted[4 + POINT_ID_KEY_MAX];
	size_t n = 4;
	int rc = 0;

	if (id->len > 0)
		n = id_key(wanted, collection, id);
	else
		bytes_put32be(wanted, collection);
	MDB_val key = {n, wanted}, value;
	if (!txn->ids)
		rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_IDS], &txn->ids);
	if (rc == 0)
		rc = mdb_cursor_get(txn->ids, &key, &value, MDB_SET_RANGE);
	if (rc == 0 && from == DB_ID_BEHIND && key.mv_size == n &&
	    memcmp(key.mv_data, wanted, n) == 0)
		rc = mdb_cursor_get(txn->ids, &key, &value, MDB_NEXT);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading ids", err);
	*found = rc == 0 && key.mv_size > 4 && memcmp(key.mv_data, wanted, 4) == 0;
	if (!*found)
		return 0;
	if (check_slots(txn->db, &value, err) != 0)
		return -1;
	*slot = bytes_get32le(value.mv_data);
	return point_id_from_key(
	    id, (const uint8_t *)key.mv_data + 4, key.mv_size - 4, err);
}

int
db_rows(struct db_txn *txn, uint32_t collection, const struct point_id *id,
    struct db_rows *rows, struct error *err)
{
	MDB_val value;
	bool found = false;

	if (find_slots(txn, collection, id, &found, &value, err) != 0)
		return -1;
	rows->n = found ? value.mv_size / 4 : 0;
	for (size_t i = 0; i < rows->n; i++)
		rows->slots[i] = bytes_get32le((const uint8_t *)value.mv_data + 4 * i);
	return 0;
}

static int
read_record(
    struct db *db, struct db_record *record, const MDB_val *value, struct error *err)
{
	const uint8_t *bytes = value->mv_data;
	size_t n = value->mv_size;

	if (n < RECORD_HEADER_BYTES ||
	    bytes_get32le(bytes) != db_checksum(bytes + 4, n - 4))
		return db_damaged(db, "a point fails its checksum", err);
	uint32_t word = bytes_get32le(bytes + 4);
	size_t id_len = word & 0xFFFF, at = RECORD_HEADER_BYTES + id_len;
	bool is_passage = (word >> 16) == FLAG_PASSAGE;
	if (word >> 16 > FLAG_PASSAGE)
		return db_damaged(db, "a point has unknown flags", err);
	if (at + (is_passage ? PASSAGE_BYTES : 0) > n)
		return db_damaged(db, "a point is shorter than its id", err);
	if (point_id_from_key(&record->id, bytes + RECORD_HEADER_BYTES, id_len, err) !=
	    0)
		return -1;
	record->operation = bytes_get64le(bytes + 8);
	record->is_passage = is_passage;
	if (is_passage) {
		record->first = bytes_get32le(bytes + at);
		record->number = bytes_get32le(bytes + at + 4);
		record->passage.start = bytes_get32le(bytes + at + 8);
		record->passage.end = bytes_get32le(bytes + at + 12);
		at += PASSAGE_BYTES;
	}
	record->payload = (const char *)bytes + at;
	record->payload_len = n - at;
	return 0;
}

int
db_record(struct db_txn *txn, uint32_t collection, uint32_t slot, bool *found,
    struct db_record *record, struct error *err)
{
	uint8_t key[8];
	MDB_val value;

	slot_key(key, collection, slot);
	if (db_get(txn, DB_POINTS, key, sizeof key, found, &value, err) != 0)
		return -1;
	return *found ? read_record(txn->db, record, &value, err) : 0;
}

int
db_record_first(struct db_txn *txn, uint32_t collection, bool *found,
    struct db_record *record, struct error *err)
{
	*found = true;
	return record->is_passage && record->number > 0
		   ? db_record(txn, collection, record->first, found, record, err)
		   : 0;
}

int
db_record_next(struct db_txn *txn, uint32_t collection, bool *found, uint32_t *slot,
    struct db_record *record, struct error *err)
{
	uint8_t wanted[8];
	MDB_val key = {sizeof wanted, wanted}, value;
	int rc = 0;

	slot_key(wanted, collection, *slot);
	if (!txn->points)
		rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_POINTS], &txn->points);
	if (rc == 0)
		rc = mdb_cursor_get(txn->points, &key, &value, MDB_SET_RANGE);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading points", err);
	*found = rc == 0 && key.mv_size == 8 && memcmp(key.mv_data, wanted, 4) == 0;
	if (!*found)
		return 0;
	*slot = bytes_get32be((const uint8_t *)key.mv_data + 4);
	return read_record(txn->db, record, &value, err);
}

int
db_record_put(struct db_txn *txn, uint32_t collection, uint32_t slot,
    const struct db_record *record, struct error *err)
{
	size_t at = RECORD_HEADER_BYTES + record->id.len;
	size_t n = at + (record->is_passage ? PASSAGE_BYTES : 0) + record->payload_len;
	uint8_t *value = array_new(n, 1);
	uint8_t key[8];

	if (!value)
		return error_set(err, ERR_MEMORY, "out of memory for a point");
	bytes_put32le(
	    value + 4, record->id.len | (record->is_passage ? FLAG_PASSAGE << 16 : 0));
	bytes_put64le(value + 8, record->operation);
	memcpy(value + RECORD_HEADER_BYTES, record->id.key, record->id.len);
	if (record->is_passage) {
		bytes_put32le(value + at, record->first);
		bytes_put32le(value + at + 4, record->number);
		bytes_put32le(value + at + 8, record->passage.start);
		bytes_put32le(value + at + 12, record->passage.end);
		at += PASSAGE_BYTES;
	}
	if (record->payload_len > 0)
		memcpy(value + at, record->payload, record->payload_len);
	bytes_put32le(value, db_checksum(value + 4, n - 4));
	slot_key(key, collection, slot);
	int result = db_put(txn, DB_POINTS, key, sizeof key, value, n, err);
	free(value);
	return result;
}

static int
put_slots(struct db_txn *txn, uint32_t collection, const struct point_id *id,
    const struct db_rows *rows, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	uint8_t value[4 * DB_PASSAGES_MAX];
	size_t n = id_key(key, collection, id);

	assert(rows->n > 0 && rows->n <= DB_PASSAGES_MAX);
	for (size_t i = 0; i < rows->n; i++)
		bytes_put32le(value + 4 * i, rows->slots[i]);
	return db_put(txn, DB_IDS, key, n, value, 4 * rows->n, err);
}

int
db_point_put(struct db_txn *txn, uint32_t collection, const struct db_rows *rows,
    const struct db_passage *passages, const struct db_record *record,
    struct error *err)
{
	struct db_record row = *record;

	assert(passages || rows->n == 1);
	if (passages && db_need_format(txn, DB_FORMAT_PASSAGES, err) != 0)
		return -1;
	if (put_slots(txn, collection, &record->id, rows, err) != 0)
		return -1;
	row.is_passage = passages != NULL;
	row.first = rows->slots[0];
	for (size_t i = 0; i < rows->n; i++) {
		row.number = (uint32_t)i;
		if (passages)
			row.passage = passages[i];
		if (db_record_put(txn, collection, rows->slots[i], &row, err) != 0)
			return -1;
		row.payload_len = 0;
	}
	return 0;
}

int
db_record_delete(
    struct db_txn *txn, uint32_t collection, uint32_t slot, struct error *err)
{
	uint8_t key[8];

	slot_key(key, collection, slot);
	return db_delete(txn, DB_POINTS, key, sizeof key, err);
}

int
db_point_delete(struct db_txn *txn, uint32_t collection, const struct db_rows *rows,
    const struct point_id *id, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	size_t n = id_key(key, collection, id);

	for (size_t i = 0; i < rows->n; i++)
		if (db_record_delete(txn, collection, rows->slots[i], err) != 0)
			return -1;
	return db_delete(txn, DB_IDS, key, n, err);
}

int
db_extra_rows(
    struct db_txn *txn, const struct db_codes *codes, uint64_t *n, struct error *err)
{
	uint8_t key[DB_EXTRA_KEY_MAX];
	size_t key_len = db_extra_key(key, codes->collection, codes->version);
	MDB_val value;
	bool found = false;

	if (db_get(txn, DB_META, key, key_len, &found, &value, err) != 0)
		return -1;
	if (found && value.mv_size != 8)
		return db_damaged(txn->db, "the count of rows has another size", err);
	*n = found ? bytes_get64le(value.mv_data) : 0;
	return 0;
}

int
db_set_extra_rows(
    struct db_txn *txn, const struct db_codes *codes, uint64_t n, struct error *err)
{
	uint8_t key[DB_EXTRA_KEY_MAX], value[8];
	size_t key_len = db_extra_key(key, codes->collection, codes->version);

	if (n == 0)
		return db_delete(txn, DB_META, key, key_len, err);
	bytes_put64le(value, n);
	return db_put(txn, DB_META, key, key_len, value, sizeof value, err);
}
