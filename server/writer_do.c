#include "server/writer_internal.h"

/* One operation inside a transaction. */

size_t
writer_n_rows(const struct writer_point *point)
{
	return point->n_passages > 0 ? point->n_passages : 1;
}

struct db_code
writer_code(const struct writer_point *point, size_t i)
{
	return point->n_passages > 0
		   ? point->codes[i]
		   : (struct db_code){point->wire, point->factor, point->norm2};
}

static int
fail_alone(struct writer_operation *op)
{
	op->result.err = &op->err;
	return 0;
}

static int
find_live(
    struct writer_operation *op, struct db_txn *txn, bool *live, struct error *err)
{
	const struct collection_settings *s = collection_settings(op->collection);
	uint32_t id = 0;

	if (db_collection_find(txn, s->name, live, &id, err) != 0)
		return -1;
	*live = *live && id == s->id;
	if (!*live)
		error_set(
		    &op->err, ERR_NOT_FOUND, "the collection %s was deleted", s->name);
	return 0;
}

/* How many rows a point of n rows has beyond its first. */
static int64_t
extra(size_t n)
{
	return n > 1 ? (int64_t)n - 1 : 0;
}

/* A point of n_before rows has n_after: 0 = is not there. */
static int
count_rows(struct writer_operation *op, struct db_txn *txn, size_t n_before,
    size_t n_after, struct error *err)
{
	uint32_t id = collection_codes(op->collection)->collection;
	int64_t more = extra(n_after) - extra(n_before);
	uint64_t n;

	if (more == 0)
		return 0;
	if (db_extra_rows(txn, id, &n, err) != 0)
		return -1;
	if (more < 0 && n < (uint64_t)-more)
		return error_set(err, ERR_FORMAT,
		    "expected at least %lld extra rows, not %llu: the data are "
		    "damaged; restore them from a copy",
		    (long long)-more, (unsigned long long)n);
	if (db_set_extra_rows(txn, id, n + (uint64_t)more, err) != 0)
		return -1;
	return store_add_extra(collection_store(op->collection), more, err);
}

/* Take the codes in slots[0 .. n-1] away. */
static int
remove_codes(struct writer_operation *op, struct db_txn *txn, const uint32_t *slots,
    size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (store_remove(collection_store(op->collection), slots[i], err) !=
			0 ||
		    db_code_delete(
			txn, collection_codes(op->collection), slots[i], err) != 0)
			return -1;
	return 0;
}

/* Make *slots, those of the n_before rows that a point has, n_after: new ones behind
 * them, or the last ones removed. */
static int
fit_rows(struct db_rows *rows, size_t n_after, struct writer_operation *op,
    struct db_txn *txn, struct error *err)
{
	uint32_t id = collection_codes(op->collection)->collection;

	for (; rows->n < n_after; rows->n++)
		if (store_slot_new(&rows->slots[rows->n],
			collection_store(op->collection), err) != 0)
			return -1;
	for (; rows->n > n_after; rows->n--) {
		uint32_t *last = &rows->slots[rows->n - 1];
		if (remove_codes(op, txn, last, 1, err) != 0 ||
		    db_record_delete(txn, id, *last, err) != 0)
			return -1;
	}
	return 0;
}

static int
put_point(struct writer_operation *op, struct db_txn *txn,
    const struct writer_point *point, struct error *err)
{
	const struct db_codes *codes = collection_codes(op->collection);
	struct store *store = collection_store(op->collection);
	struct db_record record = {
	    .id = point->id,
	    .operation = op->result.operation,
	    .payload = point->payload,
	    .payload_len = point->payload_len,
	};
	size_t n_rows = writer_n_rows(point);
	struct db_rows rows;

	if (db_rows(txn, codes->collection, &point->id, &rows, err) != 0)
		return -1;
	size_t n_before = rows.n;
	if (fit_rows(&rows, n_rows, op, txn, err) != 0 ||
	    count_rows(op, txn, n_before, n_rows, err) != 0)
		return -1;
	for (size_t i = 0; i < n_rows; i++) {
		struct db_code code = writer_code(point, i);
		struct store_row row = {code.wire, code.factor, code.norm2, 0};
		if (store_put(store, rows.slots[i], &row, err) != 0 ||
		    db_code_put(txn, codes, rows.slots[i], &code, err) != 0)
			return -1;
	}
	return db_point_put(txn, codes->collection, &rows,
	    point->n_passages > 0 ? point->passages : NULL, &record, err);
}

static int
do_upsert(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	for (size_t i = 0; i < op->n; i++)
		if (put_point(op, txn, &op->points[i], err) != 0)
			return -1;
	op->result.n_affected = op->n;
	return 0;
}

static int
do_delete(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	uint32_t collection = collection_codes(op->collection)->collection;
	struct db_rows rows;

	for (size_t i = 0; i < op->n; i++) {
		const struct point_id *id = &op->ids[i];
		if (db_rows(txn, collection, id, &rows, err) != 0)
			return -1;
		if (rows.n == 0)
			continue;
		if (remove_codes(op, txn, rows.slots, rows.n, err) != 0 ||
		    db_point_delete(txn, collection, &rows, id, err) != 0 ||
		    count_rows(op, txn, rows.n, 0, err) != 0)
			return -1;
		op->result.n_affected++;
	}
	return 0;
}

static int
do_create(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	const struct collection_settings *s = collection_settings(op->collection);
	struct db_collection row;
	uint32_t id;
	bool found;

	if (db_collection_find(txn, s->name, &found, &id, err) != 0)
		return -1;
	if (found) {
		error_set(&op->err, ERR_EXISTS,
		    "there is a collection called %s already: delete it first, or "
		    "choose another name",
		    s->name);
		return fail_alone(op);
	}
	if (db_collection_new_id(txn, &id, err) != 0 ||
	    collection_row(&row, op->collection, id, err) != 0)
		return -1;
	op->result.n_affected = 1;
	return db_collection_put(txn, &row, err);
}

int
writer_do(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	bool live;

	if (op->kind == WRITER_CREATE)
		return do_create(op, txn, err);
	if (find_live(op, txn, &live, err) != 0)
		return -1;
	if (!live)
		return fail_alone(op);
	if (op->kind == WRITER_UPSERT)
		return do_upsert(op, txn, err);
	if (op->kind == WRITER_DELETE)
		return do_delete(op, txn, err);
	const struct collection_settings *s = collection_settings(op->collection);
	op->result.n_affected = 1;
	return db_collection_drop(txn, s->name, s->id, err);
}
