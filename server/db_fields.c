#include "server/db_fields.h"

#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/text.h"
#include "server/db_fields_internal.h"

/* ---- changes that wait ---- */

/* An entry's key and what stands behind it: of numbers the value, of terms the lower
 * half of the slot. */
struct change {
	size_t at; /* in bytes; rising, so it tells which change came later */
	uint16_t n;
	bool is_new;
};

#define LOG_BYTES_MAX ((size_t)16 << 20) /* then it is written early */

struct db_fields_log {
	struct text bytes;
	struct text
	    payload; /* the one at work: writing may move what is in the store */
	struct change *changes;
	size_t n, cap;
};

void
db_fields_forget(struct db_txn *txn)
{
	if (!txn->fields)
		return;
	text_free(&txn->fields->bytes);
	text_free(&txn->fields->payload);
	free(txn->fields->changes);
	free(txn->fields);
	txn->fields = NULL;
}

static int
out_of_memory(struct error *err)
{
	return error_set(err, ERR_MEMORY, "out of memory for the changes of an index");
}

static int
note_change(
    struct db_txn *txn, const uint8_t *bytes, size_t n, bool is_new, struct error *err)
{
	struct db_fields_log *log = txn->fields;
	if (log->n == log->cap) {
		size_t cap = log->cap ? 2 * log->cap : 1024;
		struct change *changes =
		    array_resize(log->changes, cap, sizeof *changes);
		if (!changes)
			return out_of_memory(err);
		log->changes = changes;
		log->cap = cap;
	}
	size_t at = log->bytes.n;
	text_bytes(&log->bytes, bytes, n);
	if (log->bytes.failed)
		return out_of_memory(err);
	log->changes[log->n++] = (struct change){at, (uint16_t)n, is_new};
	return log->bytes.n > LOG_BYTES_MAX ? db_fields_flush(txn, err) : 0;
}

static int
compare_bytes(const char *bytes, const struct change *a, const struct change *b)
{
	int order = memcmp(bytes + a->at, bytes + b->at, a->n < b->n ? a->n : b->n);

	return order != 0 ? order : a->n < b->n ? -1 : a->n > b->n;
}

static int
compare_changes(const void *a, const void *b, void *bytes)
{
	const struct change *x = a, *y = b;
	int order = compare_bytes(bytes, x, y);

	return order != 0 ? order : x->at < y->at ? -1 : 1;
}

/* Sort, and leave of each entry the change that came last. */
static void
settle(struct db_fields_log *log)
{
	const char *bytes = log->bytes.bytes;
	size_t n = 0;

	qsort_r(log->changes, log->n, sizeof *log->changes, compare_changes,
	    log->bytes.bytes);
	for (size_t i = 0; i < log->n; i++) {
		struct change *c = &log->changes[i];
		if (i + 1 == log->n || compare_bytes(bytes, c, c + 1) != 0)
			log->changes[n++] = *c;
	}
	log->n = n;
}

static int
write_number(struct db_txn *txn, const struct change *c, struct error *err)
{
	char *bytes = txn->fields->bytes.bytes + c->at;
	MDB_val key = {DB_FIELDS_PREFIX_BYTES, bytes};
	MDB_val value = {DB_FIELDS_NUMBER_BYTES, bytes + DB_FIELDS_PREFIX_BYTES};
	MDB_dbi dbi = txn->db->dbi[DB_NUMBERS];

	int rc = c->is_new ? mdb_put(txn->txn, dbi, &key, &value, MDB_NODUPDATA)
			   : mdb_del(txn->txn, dbi, &key, &value);
	if (rc == 0 || rc == MDB_KEYEXIST || rc == MDB_NOTFOUND)
		return 0;
	return db_fail(txn->db, rc, "writing an index", err);
}

/* Put the bitmap under key, or delete that where it is empty. */
static int
write_bitmap(struct db_txn *txn, const char *key, size_t key_len,
    roaring_bitmap_t *bitmap, struct error *err)
{
	char *value = (char *)txn->block;

	if (roaring_bitmap_is_empty(bitmap))
		return db_delete(txn, DB_TERMS, key, key_len, err);
	roaring_bitmap_run_optimize(bitmap);
	if (4 + roaring_bitmap_portable_size_in_bytes(bitmap) > DB_BLOCK_BYTES_MAX)
		return db_damaged(txn->db, "a bitmap is too large", err);
	size_t n = roaring_bitmap_portable_serialize(bitmap, value + 4);
	bytes_put32le(value, db_checksum(value + 4, n));
	return db_put(txn, DB_TERMS, key, key_len, value, 4 + n, err);
}

/* n changes that have the key of the first. */
static int
write_term(struct db_txn *txn, const struct change *c, size_t n, struct error *err)
{
	const char *bytes = txn->fields->bytes.bytes, *key = bytes + c->at;
	size_t key_len = c->n - (size_t)2;
	bool found = false, changed = false;
	MDB_val value;

	if (db_get(txn, DB_TERMS, key, key_len, &found, &value, err) != 0)
		return -1;
	roaring_bitmap_t *bitmap =
	    found ? db_fields_bitmap(txn, &value, err) : roaring_bitmap_create();
	if (!bitmap)
		return found ? -1 : out_of_memory(err);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *end = (const uint8_t *)bytes + c[i].at + c[i].n;
		uint32_t slot = (uint32_t)(end[-2] << 8 | end[-1]);
		changed |= c[i].is_new ? roaring_bitmap_add_checked(bitmap, slot)
				       : roaring_bitmap_remove_checked(bitmap, slot);
	}
	int result = changed ? write_bitmap(txn, key, key_len, bitmap, err) : 0;
	roaring_bitmap_free(bitmap);
	return result;
}

int
db_fields_flush(struct db_txn *txn, struct error *err)
{
	struct db_fields_log *log = txn->fields;
	size_t i = 0;

	if (!log || log->n == 0)
		return 0;
	settle(log);
	while (i < log->n) {
		const struct change *c = &log->changes[i];
		const char *bytes = log->bytes.bytes, *key = bytes + c->at;
		size_t n = 1, key_len = c->n - (size_t)2;
		int result;
		if (db_fields_is_number(key[DB_FIELDS_PREFIX_BYTES - 1])) {
			result = write_number(txn, c, err);
		} else {
			while (i + n < log->n && c[n].n == c->n &&
			       memcmp(bytes + c[n].at, key, key_len) == 0)
				n++;
			result = write_term(txn, c, n, err);
		}
		if (result != 0)
			return -1;
		i += n;
	}
	text_clear(&log->bytes);
	log->n = 0;
	return 0;
}

/* ---- payloads to entries ---- */

struct entering {
	struct db_txn *txn;
	const struct db_field *field;
	const struct db_fields_rows *rows;
	bool is_new;
	struct error *err;
	bool failed;
};

/* Entries of all rows.  bytes: a prefix with its kind, and n bytes in all, to which the
 * slot is added; room for DB_FIELDS_ENTRY_MAX. */
static void
enter(struct entering *e, uint8_t *bytes, size_t n)
{
	const struct db_fields_rows *rows = e->rows;
	bool is_number = db_fields_is_number((char)bytes[DB_FIELDS_PREFIX_BYTES - 1]);

	if (!is_number)
		bytes[n++] = '\0';
	for (size_t i = 0; i < rows->n && !e->failed; i++) {
		bytes_put32be(bytes + n, rows->slots[i]);
		e->failed = note_change(e->txn, bytes, n + 4, e->is_new, e->err) != 0;
	}
}

static void
enter_term(struct entering *e, enum db_fields_kind kind, const struct term *term)
{
	uint8_t bytes[DB_FIELDS_ENTRY_MAX];
	size_t n =
	    db_fields_prefix(bytes, e->rows->collection, e->field->number, kind, term);

	enter(e, bytes, n);
}

static void
enter_number(struct entering *e, const struct json *number)
{
	uint8_t bytes[DB_FIELDS_ENTRY_MAX];
	int64_t integer;
	bool exact = json_i64(&integer, number);
	size_t n = db_fields_prefix(bytes, e->rows->collection, e->field->number,
	    exact ? DB_FIELDS_INTEGER : DB_FIELDS_DOUBLE, NULL);

	bytes_put64be(bytes + n,
	    exact ? db_fields_integer(integer) : db_fields_double(json_double(number)));
	enter(e, bytes, n + 8);
}

static void
enter_words(struct entering *e, const struct json *string)
{
	struct term_words words = term_words(string);
	struct term term;

	while (!e->failed && term_next(&words, &term))
		enter_term(e, DB_FIELDS_WORD, &term);
}

static void
enter_element(struct entering *e, const struct json *value)
{
	enum db_field_type type = e->field->type;
	bool is_bool = value->type == JSON_TRUE || value->type == JSON_FALSE;
	struct term term;

	if (value->type == JSON_NULL)
		return;
	if (type == DB_FIELD_KEYWORD && value->type == JSON_STRING) {
		term_of(&term, value);
		enter_term(e, DB_FIELDS_STRING, &term);
	} else if (type == DB_FIELD_TEXT && value->type == JSON_STRING) {
		enter_words(e, value);
	} else if ((type == DB_FIELD_INTEGER || type == DB_FIELD_FLOAT) &&
		   value->type == JSON_NUMBER) {
		enter_number(e, value);
	} else if (type == DB_FIELD_BOOL && is_bool) {
		enter_term(e,
		    value->type == JSON_TRUE ? DB_FIELDS_TRUE : DB_FIELDS_FALSE, NULL);
	} else {
		enter_term(e, DB_FIELDS_OTHER, NULL);
	}
}

static bool
on_value(void *arg, const struct json *value)
{
	struct entering *e = arg;

	if (value->type != JSON_ARRAY) {
		enter_term(e,
		    value->type == JSON_NULL ? DB_FIELDS_NULL : DB_FIELDS_VALUE, NULL);
		enter_element(e, value);
		return e->failed;
	}
	struct json_walk walk = json_walk(value);
	for (bool first = true; !e->failed && json_next(&walk); first = false) {
		if (first)
			enter_term(e, DB_FIELDS_VALUE, NULL);
		enter_element(e, &walk.value);
	}
	return e->failed;
}

static int
change(struct db_txn *txn, const struct db_field *fields, size_t n,
    const struct db_fields_rows *rows, bool is_new, struct error *err)
{
	if (n == 0 || rows->payload_len == 0)
		return 0;
	if (!txn->fields && !(txn->fields = array_new(1, sizeof *txn->fields)))
		return out_of_memory(err);
	struct text *copy = &txn->fields->payload;
	text_clear(copy);
	text_bytes(copy, rows->payload, rows->payload_len);
	if (copy->failed)
		return out_of_memory(err);
	struct json payload = {JSON_OBJECT, copy->bytes, copy->n};
	for (size_t i = 0; i < n; i++) {
		struct entering e = {txn, &fields[i], rows, is_new, err, false};
		path_any(fields[i].path, &payload, on_value, &e);
		if (e.failed)
			return -1;
	}
	return 0;
}

int
db_fields_add(struct db_txn *txn, const struct db_field *fields, size_t n,
    const struct db_fields_rows *rows, struct error *err)
{
	return change(txn, fields, n, rows, true, err);
}

int
db_fields_remove(struct db_txn *txn, const struct db_field *fields, size_t n,
    const struct db_fields_rows *rows, struct error *err)
{
	return change(txn, fields, n, rows, false, err);
}

/* ---- fields ---- */

int
db_fields_new(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err)
{
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n = db_fields_prefix(key, collection, number, DB_FIELDS_STATE, NULL);

	if (db_need_format(txn, DB_FORMAT_FIELDS, err) != 0)
		return -1;
	return db_put(txn, DB_TERMS, key, n, "\0", 1, err);
}

int
db_fields_set_complete(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err)
{
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n = db_fields_prefix(key, collection, number, DB_FIELDS_STATE, NULL);

	return db_put(txn, DB_TERMS, key, n, "\1", 1, err);
}

int
db_fields_drop(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err)
{
	uint8_t key[DB_FIELDS_ENTRY_MAX];
	size_t n = db_fields_prefix(key, collection, number, DB_FIELDS_STATE, NULL);

	if (db_delete(txn, DB_TERMS, key, n, err) != 0)
		return -1;
	return db_put(txn, DB_DROPPED, key, n - 1, "", 0, err);
}
