#include <string.h>

#include "server/db_fields_internal.h"

/* Which rows have what: entries to sets of rows. */

uint64_t
db_fields_integer(int64_t number)
{
	return (uint64_t)number ^ UINT64_C(1) << 63;
}

int64_t
db_fields_integer_at(uint64_t place)
{
	return (int64_t)(place ^ UINT64_C(1) << 63);
}

uint64_t
db_fields_double(double number)
{
	double positive_zero = number + 0.0;
	uint64_t bits;

	memcpy(&bits, &positive_zero, sizeof bits);
	return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

double
db_fields_double_at(uint64_t place)
{
	uint64_t bits = place >> 63 ? place ^ UINT64_C(1) << 63 : ~place;
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

int
db_fields_complete(const struct db_fields_at *at, bool *complete, struct error *err)
{
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n =
	    db_fields_prefix(key, at->collection, at->number, DB_FIELDS_STATE, NULL);
	MDB_val value;
	bool found = false;

	if (db_get(at->txn, DB_TERMS, key, n, &found, &value, err) != 0)
		return -1;
	if (found && value.mv_size != 1)
		return db_damaged(
		    at->txn->db, "the state of a field has another size", err);
	*complete = found && *(const uint8_t *)value.mv_data == 1;
	return 0;
}

roaring_bitmap_t *
db_fields_bitmap(struct db_txn *txn, const MDB_val *value, struct error *err)
{
	const char *bytes = value->mv_data;
	size_t n = value->mv_size;
	roaring_bitmap_t *bitmap = NULL;

	if (n > 4 && bytes_get32le(bytes) == db_checksum(bytes + 4, n - 4))
		bitmap = roaring_bitmap_portable_deserialize_safe(bytes + 4, n - 4);
	if (!bitmap)
		db_damaged(txn->db, "a bitmap of an index fails its checksum", err);
	return bitmap;
}

/* The rows of one entry, whose key is n bytes. */
static int
add_bitmap(struct row_set *rows, struct db_txn *txn, const uint8_t *key, size_t n,
    const MDB_val *value, struct error *err)
{
	uint32_t upper = (uint32_t)key[n - 2] << 24 | (uint32_t)key[n - 1] << 16;
	uint32_t slots[1024], n_slots;
	roaring_uint32_iterator_t next;
	roaring_bitmap_t *bitmap = db_fields_bitmap(txn, value, err);

	if (!bitmap)
		return -1;
	roaring_init_iterator(bitmap, &next);
	while ((n_slots = roaring_read_uint32_iterator(&next, slots, 1024)) > 0)
		for (uint32_t i = 0; i < n_slots; i++)
			row_set_add(rows, upper | slots[i]);
	roaring_bitmap_free(bitmap);
	return 0;
}

/* Call `use` for each entry of `terms` whose key begins so; it returns 0 or -1 with
 * *err. */
typedef int use_entry(
    void *arg, const MDB_val *key, const MDB_val *value, struct error *err);

static int
each_entry(struct db_txn *txn, const uint8_t *begin, size_t n, use_entry *use,
    void *arg, struct error *err)
{
	MDB_val key = {n, (void *)(uintptr_t)begin}, value;
	MDB_cursor *cursor;
	int result = 0;

	if (db_fields_flush(txn, err) != 0)
		return -1;
	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_TERMS], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading an index", err);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (rc == 0 && result == 0 && key.mv_size >= n &&
	       memcmp(key.mv_data, begin, n) == 0) {
		result = key.mv_size >= n + 2
			     ? use(arg, &key, &value, err)
			     : db_damaged(txn->db, "a key of an index is short", err);
		if (result == 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return db_fail(txn->db, rc, "reading an index", err);
	return result;
}

struct asking {
	struct row_set *rows;
	const struct db_fields_at *at;
	db_fields_skip *skip;
	void *arg;
	struct term term; /* the last that skip was asked for */
	bool skipped;
};

static int
on_bitmap(void *arg, const MDB_val *key, const MDB_val *value, struct error *err)
{
	const struct asking *asking = arg;

	return add_bitmap(
	    asking->rows, asking->at->txn, key->mv_data, key->mv_size, value, err);
}

int
db_fields_term(struct row_set *rows, const struct db_fields_at *at,
    enum db_fields_kind kind, const struct term *term, struct error *err)
{
	struct asking asking = {.rows = rows, .at = at};
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n = db_fields_prefix(key, at->collection, at->number, kind, term);

	key[n++] = '\0';
	return each_entry(at->txn, key, n, on_bitmap, &asking, err);
}

static int
on_string(void *arg, const MDB_val *key, const MDB_val *value, struct error *err)
{
	struct asking *asking = arg;
	const char *term = (const char *)key->mv_data + DB_FIELDS_PREFIX_BYTES;
	size_t n = key->mv_size - DB_FIELDS_PREFIX_BYTES - 2;

	if (n < 1 || n - 1 > TERM_BYTES_MAX)
		return db_damaged(asking->at->txn->db, "a term has another size", err);
	n--; /* the '\0' */
	if (asking->term.n != n || memcmp(asking->term.bytes, term, n) != 0) {
		asking->term.n = n;
		memcpy(asking->term.bytes, term, n);
		asking->skipped = asking->skip(asking->arg, &asking->term);
	}
	return asking->skipped ? 0 : on_bitmap(asking, key, value, err);
}

int
db_fields_strings(struct row_set *rows, const struct db_fields_at *at,
    db_fields_skip *skip, void *arg, struct error *err)
{
	struct asking asking = {rows, at, skip, arg, {.n = SIZE_MAX}, false};
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n =
	    db_fields_prefix(key, at->collection, at->number, DB_FIELDS_STRING, NULL);

	return each_entry(at->txn, key, n, on_string, &asking, err);
}

/* The rows of numbers low .. high among those in order at `values`; whether some may
 * follow. */
static bool
add_numbers(struct row_set *rows, const MDB_val *values, uint64_t low, uint64_t high)
{
	const uint8_t *p = values->mv_data, *end = p + values->mv_size;
	const size_t step = DB_FIELDS_NUMBER_BYTES;

	bool more = bytes_get64be(end - step) <= high;
	while (p < end && bytes_get64be(p) < low)
		p += step;
	while (!more && end > p && bytes_get64be(end - step) > high)
		end -= step;
	for (; p < end; p += step)
		row_set_add(rows, bytes_get32be(p + 8));
	return more;
}

int
db_fields_numbers(struct row_set *rows, const struct db_fields_at *at,
    enum db_fields_kind kind, uint64_t low, uint64_t high, struct error *err)
{
	uint8_t prefix[DB_FIELDS_ENTRY_MAX], from[DB_FIELDS_NUMBER_BYTES] = {0};
	size_t n = db_fields_prefix(prefix, at->collection, at->number, kind, NULL);
	MDB_val key = {n, prefix}, values = {sizeof from, from};
	struct db_txn *txn = at->txn;
	MDB_cursor *cursor;

	if (db_fields_flush(txn, err) != 0)
		return -1;
	bytes_put64be(from, low);
	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_NUMBERS], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading an index", err);
	rc = mdb_cursor_get(cursor, &key, &values, MDB_GET_BOTH_RANGE);
	/* The whole page that it is on, and the next ones; a lone value stays as it is.
	 */
	if (rc == 0)
		rc = mdb_cursor_get(cursor, &key, &values, MDB_GET_MULTIPLE);
	while (rc == 0) {
		if (values.mv_size == 0 ||
		    values.mv_size % DB_FIELDS_NUMBER_BYTES != 0) {
			mdb_cursor_close(cursor);
			return db_damaged(txn->db, "numbers have another size", err);
		}
		if (!add_numbers(rows, &values, low, high))
			break;
		rc = mdb_cursor_get(cursor, &key, &values, MDB_NEXT_MULTIPLE);
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND
		   ? 0
		   : db_fail(txn->db, rc, "reading an index", err);
}

/* The entry at the cursor := the first that is not before `from`, or downwards not
 * behind it. */
static int
seek(MDB_cursor *cursor, MDB_val *key, MDB_val *value, enum db_fields_order order)
{
	uint8_t from[DB_FIELDS_NUMBER_BYTES];

	memcpy(from, value->mv_data, sizeof from);
	int rc = mdb_cursor_get(cursor, key, value, MDB_GET_BOTH_RANGE);
	if (order == DB_FIELDS_UP)
		return rc;
	if (rc == 0 && memcmp(value->mv_data, from, sizeof from) == 0)
		return 0;
	if (rc == 0)
		return mdb_cursor_get(cursor, key, value, MDB_PREV_DUP);
	if (rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(cursor, key, value, MDB_SET_KEY);
	return rc == 0 ? mdb_cursor_get(cursor, key, value, MDB_LAST_DUP) : rc;
}

int
db_fields_numbers_from(struct db_fields_number *numbers, size_t *n,
    const struct db_fields_at *at, enum db_fields_kind kind,
    const struct db_fields_number *from, enum db_fields_order order, struct error *err)
{
	uint8_t prefix[DB_FIELDS_ENTRY_MAX], first[DB_FIELDS_NUMBER_BYTES];
	MDB_val key = {
	    db_fields_prefix(prefix, at->collection, at->number, kind, NULL), prefix};
	MDB_val value = {sizeof first, first};
	struct db_txn *txn = at->txn;
	const size_t max = *n;
	MDB_cursor *cursor;

	*n = 0;
	if (db_fields_flush(txn, err) != 0)
		return -1;
	bytes_put64be(first, from->place);
	bytes_put32be(first + 8, from->slot);
	int rc = mdb_cursor_open(txn->txn, txn->db->dbi[DB_NUMBERS], &cursor);
	if (rc != 0)
		return db_fail(txn->db, rc, "reading an index", err);
	rc = seek(cursor, &key, &value, order);
	while (rc == 0 && value.mv_size == DB_FIELDS_NUMBER_BYTES && *n < max) {
		const uint8_t *p = value.mv_data;
		numbers[(*n)++] =
		    (struct db_fields_number){bytes_get64be(p), bytes_get32be(p + 8)};
		rc = mdb_cursor_get(cursor, &key, &value,
		    order == DB_FIELDS_UP ? MDB_NEXT_DUP : MDB_PREV_DUP);
	}
	mdb_cursor_close(cursor);
	if (rc == 0 && *n < max)
		return db_damaged(txn->db, "numbers have another size", err);
	return rc == 0 || rc == MDB_NOTFOUND
		   ? 0
		   : db_fail(txn->db, rc, "reading an index", err);
}
