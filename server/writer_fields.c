#include <string.h>

#include "base/text.h"
#include "server/filter.h"
#include "server/payload.h"
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

/* A point whose payload is to change: its rows, the record of the first, and what its
 * payload becomes. */
struct changed {
	struct db_rows rows;
	struct db_record record;
	struct text payload;
};

/* Whether there is such a point, and the filter matches it by now: 1, 0, -1. */
static int
find(struct changed *c, const struct writer_operation *op, struct db_txn *txn,
    const struct point_id *id, struct error *err)
{
	const struct db_record *r = &c->record;
	bool found = false;

	if (db_rows(txn, collection_id(op), id, &c->rows, err) != 0)
		return -1;
	if (c->rows.n > 0 && db_record(txn, collection_id(op), c->rows.slots[0], &found,
				 &c->record, err) != 0)
		return -1;
	return found && (!op->filter || filter_match(op->filter, &r->id, r->payload,
					    r->payload_len));
}

static int
apply(struct changed *c, const struct writer_operation *op, struct error *err)
{
	return payload_apply(&c->payload, op->payload, c->record.payload,
	    c->record.payload_len, op->payload_bytes_max, err);
}

/* Everything is tried before anything is written.  What is wrong is the operation's:
 * op->result.err. */
static int
try_all(struct changed *c, struct writer_operation *op, struct db_txn *txn,
    struct error *err)
{
	for (size_t i = 0; i < op->n; i++) {
		char printed[POINT_ID_PRINT_MAX];
		int found = find(c, op, txn, &op->ids[i], err);
		if (found < 0)
			return -1;
		if (!found ||
		    !payload_may_refuse(
			op->payload, c->record.payload_len, op->payload_bytes_max) ||
		    apply(c, op, &op->err) == 0)
			continue;
		point_id_print(printed, &op->ids[i]);
		error_prefix(&op->err, "nothing was changed: point %s", printed);
		return writer_fail_alone(op);
	}
	return 0;
}

static bool
is_same(const struct changed *c)
{
	size_t n = c->payload.n;

	return n == c->record.payload_len &&
	       (n == 0 || memcmp(c->payload.bytes, c->record.payload, n) == 0);
}

static int
put_payload(struct changed *c, const struct writer_operation *op, struct db_txn *txn,
    struct error *err)
{
	const struct text *payload = &c->payload;
	struct db_record record = c->record;

	record.operation = op->result.operation;
	record.payload = payload->n > 0 ? payload->bytes : "";
	record.payload_len = payload->n;
	if (writer_unindex_rows(op, txn, &c->rows, err) != 0 ||
	    db_record_put(txn, collection_id(op), c->rows.slots[0], &record, err) != 0)
		return -1;
	return writer_index_rows(
	    op, txn, &c->rows, record.payload, record.payload_len, err);
}

static int
put_all(struct changed *c, struct writer_operation *op, struct db_txn *txn,
    struct error *err)
{
	for (size_t i = 0; i < op->n; i++) {
		int found = find(c, op, txn, &op->ids[i], err);
		if (found < 0 || (found && apply(c, op, err) != 0))
			return -1;
		if (found && !is_same(c) && put_payload(c, op, txn, err) != 0)
			return -1;
		op->result.n_affected += (size_t)found;
	}
	return 0;
}

int
writer_do_payload(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	struct changed c = {.payload = {0}};
	int result = try_all(&c, op, txn, err);

	if (result == 0 && !op->result.err)
		result = put_all(&c, op, txn, err);
	text_free(&c.payload);
	return result;
}

/* ---- indexes ---- */

int
writer_put_made(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	struct db_collection row;

	op->result.n_affected = 1;
	if (collection_row(&row, op->made, collection_id(op), err) != 0)
		return -1;
	row.binarizer_len = 0; /* is there, and as large as a model */
	return db_collection_put(txn, &row, err);
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
	return writer_put_made(op, txn, err);
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
	return writer_put_made(op, txn, err);
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
