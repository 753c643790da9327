#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "server/db_internal.h"

/*
 * ids:    collection, id's key      -> slot (4 bytes, little-endian)
 * points: collection, slot          -> a record:
 *
 *       0  checksum of what follows
 *       4  length of the id's key (2 bytes), 2 bytes of zeros
 *       8  operation
 *      16  id's key, payload
 */
#define RECORD_HEADER_BYTES 16

static size_t
id_key(
    uint8_t key[4 + POINT_ID_KEY_MAX], uint32_t collection, const struct point_id *id)
{
	assert(id->len > 0 && id->len <= POINT_ID_KEY_MAX);
	bytes_put32be(key, collection);
	memcpy(key + 4, id->key, id->len);
	return 4 + (size_t)id->len;
}

static void
slot_key(uint8_t key[8], uint32_t collection, uint32_t slot)
{
	bytes_put32be(key, collection);
	bytes_put32be(key + 4, slot);
}

int
db_slot(struct db_txn *txn, uint32_t collection, const struct point_id *id, bool *found,
    uint32_t *slot, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	size_t n = id_key(key, collection, id);
	MDB_val value;

	if (db_get(txn, DB_IDS, key, n, found, &value, err) != 0)
		return -1;
	if (!*found)
		return 0;
	if (value.mv_size != 4)
		return db_damaged(txn->db, "the slot of a point has another size", err);
	*slot = bytes_get32le(value.mv_data);
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
	size_t id_len = bytes_get32le(bytes + 4);
	if (id_len > n - RECORD_HEADER_BYTES)
		return db_damaged(db, "a point is shorter than its id", err);
	if (point_id_from_key(&record->id, bytes + RECORD_HEADER_BYTES, id_len, err) !=
	    0)
		return -1;
	record->operation = bytes_get64le(bytes + 8);
	record->payload = (const char *)bytes + RECORD_HEADER_BYTES + id_len;
	record->payload_len = n - RECORD_HEADER_BYTES - id_len;
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

static int
put_record(struct db_txn *txn, const uint8_t key[8], const struct db_record *record,
    struct error *err)
{
	size_t n = RECORD_HEADER_BYTES + record->id.len + record->payload_len;
	uint8_t *value = array_new(n, 1);

	if (!value)
		return error_set(err, ERR_MEMORY, "out of memory for a point");
	bytes_put32le(value + 4, record->id.len);
	bytes_put64le(value + 8, record->operation);
	memcpy(value + RECORD_HEADER_BYTES, record->id.key, record->id.len);
	if (record->payload_len > 0)
		memcpy(value + RECORD_HEADER_BYTES + record->id.len, record->payload,
		    record->payload_len);
	bytes_put32le(value, db_checksum(value + 4, n - 4));
	int result = db_put(txn, DB_POINTS, key, 8, value, n, err);
	free(value);
	return result;
}

int
db_point_put(struct db_txn *txn, uint32_t collection, uint32_t slot,
    const struct db_record *record, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	uint8_t value[4];
	size_t n = id_key(key, collection, &record->id);

	bytes_put32le(value, slot);
	if (db_put(txn, DB_IDS, key, n, value, sizeof value, err) != 0)
		return -1;
	slot_key(key, collection, slot);
	return put_record(txn, key, record, err);
}

int
db_point_delete(struct db_txn *txn, uint32_t collection, uint32_t slot,
    const struct point_id *id, struct error *err)
{
	uint8_t key[4 + POINT_ID_KEY_MAX];
	size_t n = id_key(key, collection, id);

	if (db_delete(txn, DB_IDS, key, n, err) != 0)
		return -1;
	slot_key(key, collection, slot);
	return db_delete(txn, DB_POINTS, key, 8, err);
}
