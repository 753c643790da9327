#include "base/text.h"
#include "server/filter.h"
#include "server/path_change.h"
#include "server/writer_internal.h"

/* Payloads and their indexes, inside a transaction. */

static uint32_t
collection_id(const struct writer_operation *op)
{
	return collection_codes(op->collection)->collection;
}

int
writer_unindex_rows(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, struct error *err)
{
	struct db_record record;
	size_t n;
	bool found;
	const struct db_field *fields = collection_fields(op->current, &n);

	if (n == 0 || rows->n == 0)
		return 0;
	if (db_record(txn, collection_id(op), rows->slots[0], &found, &record, err) !=
	    0)
		return -1;
	const struct db_fields_rows old = {collection_id(op), rows->slots, rows->n,
	    record.payload, record.payload_len};
	return found ? db_fields_remove(txn, fields, n, &old, err) : 0;
}

int
writer_index_rows(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, const char *payload, size_t payload_len,
    struct error *err)
{
	const struct db_fields_rows new = {
	    collection_id(op), rows->slots, rows->n, payload, payload_len};
	size_t n;
	const struct db_field *fields = collection_fields(op->current, &n);

	return n > 0 ? db_fields_add(txn, fields, n, &new, err) : 0;
}

/* ---- payloads ---- */

/* out := what becomes of a payload; it may be empty. */
static void
change(struct text *out, const struct writer_payload *change, const char *payload,
    size_t n)
{
	struct json before = {JSON_OBJECT, n > 0 ? payload : "{}", n > 0 ? n : 2};
	struct text kept = {0};

	switch (change->kind) {
	case WRITER_PAYLOAD_MERGE:
		if (change->path)
			path_merge_at(out, &before, change->path, &change->values);
		else
			path_merge(out, &before, &change->values);
		break;
	case WRITER_PAYLOAD_OVERWRITE:
		text_bytes(out, change->values.text, change->values.len);
		break;
	case WRITER_PAYLOAD_REMOVE:
		text_bytes(out, before.text, before.len);
		for (size_t i = 0; i < change->n_paths && !out->failed; i++) {
			text_free(&kept);
			kept = *out;
			*out = (struct text){0};
			before = (struct json){JSON_OBJECT, kept.bytes, kept.n};
			path_remove(out, &before, change->paths[i]);
		}
		text_free(&kept);
		break;
	case WRITER_PAYLOAD_CLEAR:
		break;
	}
}

/* A point whose payload is to change: its rows (none: it is not there, or matches no
 * more), the record of the first, and what its payload becomes. */
struct changed {
	struct db_rows rows;
	struct db_record record;
	struct text payload;
};

static int
look(struct changed *c, const struct writer_operation *op, size_t i, struct db_txn *txn,
    struct error *err)
{
	bool found = false;
	int matches;

	if (db_rows(txn, collection_id(op), &op->ids[i], &c->rows, err) != 0)
		return -1;
	if (c->rows.n == 0)
		return 0;
	if ((matches = writer_still_matches(op, txn, &c->rows, err)) < 0 ||
	    db_record(
		txn, collection_id(op), c->rows.slots[0], &found, &c->record, err) != 0)
		return -1;
	if (!matches || !found) {
		c->rows.n = 0;
		return 0;
	}
	change(&c->payload, &op->payload, c->record.payload, c->record.payload_len);
	return c->payload.failed
		   ? error_set(err, ERR_MEMORY, "out of memory for a payload")
		   : 0;
}

/* One becomes too large: then op->err says so. */
static int
check_sizes(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < op->n; i++) {
		struct changed c = {.payload = {0}};
		result = look(&c, op, i, txn, err);
		if (result == 0 && c.rows.n > 0 &&
		    c.payload.n > op->payload.bytes_max) {
			error_set(&op->err, ERR_TOO_LARGE,
			    "expected payloads of at most %zu bytes "
			    "(max_payload_bytes), not %zu, as that of point number "
			    "%zu of the request would become; nothing was changed",
			    op->payload.bytes_max, c.payload.n, i);
			writer_fail_alone(op);
			i = op->n - 1;
		}
		text_free(&c.payload);
	}
	return result;
}

static int
put_payload(
    struct writer_operation *op, struct db_txn *txn, size_t i, struct error *err)
{
	struct changed c = {.payload = {0}};
	int result = look(&c, op, i, txn, err);

	if (result == 0 && c.rows.n > 0) {
		struct db_record record = c.record;
		record.operation = op->result.operation;
		record.payload = c.payload.n > 0 ? c.payload.bytes : "";
		record.payload_len = c.payload.n;
		if (writer_unindex_rows(op, txn, &c.rows, err) != 0 ||
		    db_record_put(
			txn, collection_id(op), c.rows.slots[0], &record, err) != 0 ||
		    writer_index_rows(
			op, txn, &c.rows, record.payload, record.payload_len, err) != 0)
			result = -1;
		op->result.n_affected++;
	}
	text_free(&c.payload);
	return result;
}

int
writer_do_payload(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	if (op->payload.kind == WRITER_PAYLOAD_MERGE && check_sizes(op, txn, err) != 0)
		return -1;
	if (op->result.err)
		return 0;
	for (size_t i = 0; i < op->n; i++)
		if (put_payload(op, txn, i, err) != 0)
			return -1;
	return 0;
}

/* ---- indexes ---- */

/* The collection that was made is stored in place of the one before. */
static int
put_settings(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	struct db_collection row;

	op->result.n_affected = 1;
	return collection_row(&row, op->made, collection_id(op), err) == 0
		   ? db_collection_put(txn, &row, err)
		   : -1;
}

int
writer_do_index(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	const struct db_field *is = collection_field(op->current, op->index.path);

	if (is && is->type == op->index.type)
		return 0;
	if (is) {
		error_set(&op->err, ERR_INPUT,
		    "expected an index of type %s of the key %.80s, which is there, "
		    "not "
		    "%s; delete it first",
		    collection_field_type_name(is->type), path_key(is->path),
		    collection_field_type_name(op->index.type));
		return writer_fail_alone(op);
	}
	op->made =
	    collection_indexed(op->current, op->index.path, op->index.type, &op->err);
	if (!op->made)
		return writer_fail_alone(op);
	const struct db_field *field = collection_field(op->made, op->index.path);
	if (db_fields_new(txn, collection_id(op), field->number, err) != 0)
		return -1;
	return put_settings(op, txn, err);
}

int
writer_do_unindex(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	const struct db_field *is = collection_field(op->current, op->index.path);

	if (!is)
		return 0;
	if (db_fields_drop(txn, collection_id(op), is->number, err) != 0)
		return -1;
	op->made = collection_unindexed(op->current, op->index.path, &op->err);
	if (!op->made) {
		*err = op->err;
		return -1;
	}
	return put_settings(op, txn, err);
}

int
writer_index_is_full(bool *full, const struct writer_operation *op,
    struct registry *registry, struct db *db, struct error *err)
{
	struct error none;
	struct collection *now =
	    registry_find(registry, collection_settings(op->collection)->name, &none);
	bool same = now && collection_store(now) == collection_store(op->collection);
	const struct db_field *is = same ? collection_field(now, op->index.path) : NULL;
	struct db_txn *txn = is ? db_begin_read(db, err) : NULL;
	int result = is && !txn ? -1 : 0;

	*full = true;
	if (txn) {
		const struct db_fields_at at = {txn, collection_id(op), is->number};
		result = db_fields_complete(&at, full, err);
	}
	db_end(txn);
	collection_release(now);
	return result;
}
