#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "server/db_internal.h"

/*
 * A value of `codes`: rows 0 .. n - 1 of block b are slots b n .. b n + n - 1.
 *
 *       0  magic "HTB1"
 *       4  checksum of what follows
 *       8  n, then 4 bytes of zeros
 *      16  present: bit i % 8 of byte i / 8 is row i; whole 8 bytes
 *          factors (n floats), norm2 (n floats, euclid alone), wire codes (n)
 *
 * Rows that are not present are zeros.
 */
#define MAGIC UINT32_C(0x31425448)
#define HEADER_BYTES 16
#define PAGE_BYTES 4096
#define LMDB_HEADER_BYTES 16
#define PAGES_MAX 4

struct layout {
	uint32_t rows;
	size_t factors, norms, wires; /* where they start; norms 0 = none */
	size_t wire_bytes;
	size_t size;
};

static size_t
present_bytes(size_t rows)
{
	return (rows + 63) / 64 * 8;
}

static size_t
row_bytes(const struct db_codes *codes)
{
	return code_bytes(codes->shape) + (codes->has_norm2 ? 8 : 4);
}

static uint32_t
rows_in(size_t pages, const struct db_codes *codes)
{
	size_t room = pages * PAGE_BYTES - LMDB_HEADER_BYTES - HEADER_BYTES;
	size_t rows = room / row_bytes(codes);

	while (rows > 0 && present_bytes(rows) + rows * row_bytes(codes) > room)
		rows--;
	return (uint32_t)rows;
}

/* Small values are rewritten faster and leave no gaps in the file, so: the fewest pages
 * that are nine tenths full, else the fullest. */
uint32_t
db_codes_rows(const struct db_codes *codes)
{
	size_t best = 1;

	for (size_t pages = 1; pages <= PAGES_MAX; pages++) {
		size_t used = rows_in(pages, codes) * row_bytes(codes);
		if (used * 10 >= pages * PAGE_BYTES * 9)
			return rows_in(pages, codes);
		if (used * best > rows_in(best, codes) * row_bytes(codes) * pages)
			best = pages;
	}
	return rows_in(best, codes);
}

static struct layout
layout_of(const struct db_codes *codes)
{
	struct layout l = {.rows = db_codes_rows(codes)};

	l.wire_bytes = code_bytes(codes->shape);
	l.factors = HEADER_BYTES + present_bytes(l.rows);
	l.wires = l.factors + 4 * (size_t)l.rows;
	if (codes->has_norm2) {
		l.norms = l.wires;
		l.wires += 4 * (size_t)l.rows;
	}
	l.size = l.wires + l.rows * l.wire_bytes;
	assert(l.rows > 0 && l.size <= DB_BLOCK_BYTES_MAX);
	return l;
}

size_t
db_codes_block_bytes(const struct db_codes *codes)
{
	size_t size = layout_of(codes).size + LMDB_HEADER_BYTES;

	return (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static size_t
key_of(uint8_t key[DB_KEY_MAX], const struct db_codes *codes, uint32_t block)
{
	size_t n = strlen(codes->vector);

	bytes_put32be(key, codes->collection);
	bytes_put32be(key + 4, codes->version);
	key[8] = (uint8_t)n;
	memcpy(key + 9, codes->vector, n);
	bytes_put32be(key + 9 + n, block);
	return 13 + n;
}

static bool
is_present(const uint8_t *block, uint32_t row)
{
	return block[HEADER_BYTES + row / 8] >> row % 8 & 1;
}

static int
check_block(
    struct db *db, const MDB_val *value, const struct layout *l, struct error *err)
{
	const uint8_t *block = value->mv_data;

	if (value->mv_size != l->size || bytes_get32le(block) != MAGIC ||
	    bytes_get32le(block + 8) != l->rows)
		return db_damaged(db, "a block of codes has another shape", err);
	if (bytes_get32le(block + 4) != db_checksum(block + 8, l->size - 8))
		return db_damaged(db, "a block of codes fails its checksum", err);
	return 0;
}

static struct db_code
row_of(const uint8_t *block, const struct layout *l, uint32_t row)
{
	return (struct db_code){
	    .wire = block + l->wires + row * l->wire_bytes,
	    .factor = bytes_getfle(block + l->factors + 4 * (size_t)row),
	    .norm2 = l->norms ? bytes_getfle(block + l->norms + 4 * (size_t)row) : 0,
	};
}

/* txn->block := the block under key, or an empty one. */
static int
load_block(struct db_txn *txn, const uint8_t *key, size_t key_len,
    const struct layout *l, struct error *err)
{
	MDB_val value;
	bool found;

	if (db_get(txn, DB_CODES, key, key_len, &found, &value, err) != 0)
		return -1;
	if (found) {
		if (check_block(txn->db, &value, l, err) != 0)
			return -1;
		memcpy(txn->block, value.mv_data, l->size);
		return 0;
	}
	memset(txn->block, 0, l->size);
	bytes_put32le(txn->block, MAGIC);
	bytes_put32le(txn->block + 8, l->rows);
	return 0;
}

static void
set_row(
    uint8_t *block, const struct layout *l, uint32_t row, const struct db_code *code)
{
	block[HEADER_BYTES + row / 8] |= (uint8_t)(1u << row % 8);
	bytes_putfle(block + l->factors + 4 * (size_t)row, code->factor);
	if (l->norms)
		bytes_putfle(block + l->norms + 4 * (size_t)row, code->norm2);
	memcpy(block + l->wires + row * l->wire_bytes, code->wire, l->wire_bytes);
}

static void
clear_row(uint8_t *block, const struct layout *l, uint32_t row)
{
	block[HEADER_BYTES + row / 8] &= (uint8_t) ~(1u << row % 8);
	memset(block + l->factors + 4 * (size_t)row, 0, 4);
	if (l->norms)
		memset(block + l->norms + 4 * (size_t)row, 0, 4);
	memset(block + l->wires + row * l->wire_bytes, 0, l->wire_bytes);
}

static bool
is_empty(const uint8_t *block, const struct layout *l)
{
	for (size_t i = HEADER_BYTES; i < l->factors; i++)
		if (block[i] != 0)
			return false;
	return true;
}

/* Rewrite one row of one block; code NULL = remove it. */
static int
change_row(struct db_txn *txn, const struct db_codes *codes, uint32_t slot,
    const struct db_code *code, struct error *err)
{
	struct layout l = layout_of(codes);
	uint8_t key[DB_KEY_MAX];
	size_t key_len = key_of(key, codes, slot / l.rows);

	if (load_block(txn, key, key_len, &l, err) != 0)
		return -1;
	if (code)
		set_row(txn->block, &l, slot % l.rows, code);
	else
		clear_row(txn->block, &l, slot % l.rows);
	if (is_empty(txn->block, &l))
		return db_delete(txn, DB_CODES, key, key_len, err);
	bytes_put32le(txn->block + 4, db_checksum(txn->block + 8, l.size - 8));
	return db_put(txn, DB_CODES, key, key_len, txn->block, l.size, err);
}

int
db_code_put(struct db_txn *txn, const struct db_codes *codes, uint32_t slot,
    const struct db_code *code, struct error *err)
{
	return change_row(txn, codes, slot, code, err);
}

int
db_code_delete(
    struct db_txn *txn, const struct db_codes *codes, uint32_t slot, struct error *err)
{
	return change_row(txn, codes, slot, NULL, err);
}

int
db_code(struct db_txn *txn, const struct db_codes *codes, uint32_t slot, bool *found,
    struct db_code *code, struct error *err)
{
	struct layout l = layout_of(codes);
	uint8_t key[DB_KEY_MAX];
	size_t key_len = key_of(key, codes, slot / l.rows);
	MDB_val value;

	if (db_get(txn, DB_CODES, key, key_len, found, &value, err) != 0)
		return -1;
	if (!*found)
		return 0;
	if (check_block(txn->db, &value, &l, err) != 0)
		return -1;
	*found = is_present(value.mv_data, slot % l.rows);
	if (*found)
		*code = row_of(value.mv_data, &l, slot % l.rows);
	return 0;
}

/* A block without rows is deleted: the first one found has some. */
int
db_codes_any(
    struct db_txn *txn, const struct db_codes *codes, bool *any, struct error *err)
{
	uint8_t first[DB_KEY_MAX];
	size_t key_len = key_of(first, codes, 0);
	MDB_val key = {key_len, first}, value;
	MDB_cursor *cursor;

	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_CODES], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading codes", err);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	*any = rc == 0 && key.mv_size == key_len &&
	       memcmp(key.mv_data, first, key_len - 4) == 0;
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND
		   ? 0
		   : db_fail(txn->db, rc, "reading codes", err);
}

static int
each_row(const MDB_val *value, const struct layout *l, uint32_t block,
    db_on_code *on_code, void *arg, struct error *err)
{
	for (uint32_t row = 0; row < l->rows; row++) {
		if (!is_present(value->mv_data, row))
			continue;
		struct db_code code = row_of(value->mv_data, l, row);
		if (on_code(arg, block * l->rows + row, &code, err) != 0)
			return -1;
	}
	return 0;
}

int
db_codes_each(struct db_txn *txn, const struct db_codes *codes, db_on_code *on_code,
    void *arg, struct error *err)
{
	struct layout l = layout_of(codes);
	uint8_t first[DB_KEY_MAX];
	size_t key_len = key_of(first, codes, 0);
	MDB_val key = {key_len, first}, value;
	MDB_cursor *cursor;

	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_CODES], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading codes", err);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	int result = 0;
	for (; rc == 0 && result == 0;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		if (key.mv_size != key_len ||
		    memcmp(key.mv_data, first, key_len - 4) != 0)
			break;
		uint32_t block = bytes_get32be((uint8_t *)key.mv_data + key_len - 4);
		if (block > UINT32_MAX / l.rows)
			result =
			    db_damaged(txn->db, "a block number is too large", err);
		else if (atomic_load(&txn->db->stop_loading))
			result = error_set(err, ERR_UNAVAILABLE,
			    "the server is stopping: reading was given up");
		else if (check_block(txn->db, &value, &l, err) != 0)
			result = -1;
		else
			result = each_row(&value, &l, block, on_code, arg, err);
	}
	mdb_cursor_close(cursor);
	if (result == 0 && rc != 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading codes", err);
	return result;
}
