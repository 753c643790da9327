#include <assert.h>

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

int
writer_fail_alone(struct writer_operation *op)
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

/* A part of the store has `more` extra rows. */
static int
count_extra(struct writer_operation *op, struct db_txn *txn, size_t part, int64_t more,
    struct error *err)
{
	const struct db_codes *codes = &collection_version(op->current, part)->codes;
	uint64_t n;

	if (more == 0)
		return 0;
	if (db_extra_rows(txn, codes, &n, err) != 0)
		return -1;
	if (more < 0 && n < (uint64_t)-more)
		return error_set(err, ERR_FORMAT,
		    "expected at least %lld extra rows, not %llu: the data are "
		    "damaged; restore them from a copy",
		    (long long)-more, (unsigned long long)n);
	if (db_set_extra_rows(txn, codes, n + (uint64_t)more, err) != 0)
		return -1;
	return store_add_extra(collection_store(op->collection), part, more, err);
}

/* A point of n_before rows in part `before` has n_after in `after`; 0 = is not there.
 */
static int
count_rows(struct writer_operation *op, struct db_txn *txn, size_t before,
    size_t n_before, size_t after, size_t n_after, struct error *err)
{
	if (before == after)
		return count_extra(
		    op, txn, after, extra(n_after) - extra(n_before), err);
	return count_extra(op, txn, before, -extra(n_before), err) ||
		       count_extra(op, txn, after, extra(n_after), err)
		   ? -1
		   : 0;
}

/* The part that the operation's codes are of, and the one that the rows are in now:
 * all of a point's are in one.  The collection may have got more versions since the
 * operation came, and lost older ones, but not this one (collection_next). */
static size_t
newest_part(const struct writer_operation *op)
{
	uint32_t number = collection_codes(op->collection)->version;
	size_t part = 0;

	while (collection_version(op->current, part)->codes.version != number) {
		part++;
		assert(part < collection_n_versions(op->current));
	}
	return part;
}

static size_t
part_of(const struct writer_operation *op, const struct db_rows *rows)
{
	int part = rows->n > 0 ? store_staged_part(
				     collection_store(op->collection), rows->slots[0])
			       : -1;

	return part < 0 ? newest_part(op) : (size_t)part;
}

/* Delete the code in a slot, of the version in whose part it was, from the file. */
static int
delete_code(struct writer_operation *op, struct db_txn *txn, int part, uint32_t slot,
    struct error *err)
{
	const struct collection_version *v =
	    collection_version(op->current, (size_t)part);

	return db_code_delete(txn, &v->codes, slot, err);
}

/* Take the codes in slots[0 .. n-1] away. */
static int
remove_codes(struct writer_operation *op, struct db_txn *txn, const uint32_t *slots,
    size_t n, struct error *err)
{
	struct store *store = collection_store(op->collection);

	for (size_t i = 0; i < n; i++) {
		int part = store_staged_part(store, slots[i]);
		if (store_remove(store, slots[i], err) != 0 ||
		    delete_code(op, txn, part, slots[i], err) != 0)
			return -1;
	}
	return 0;
}

/* Put a code into a slot; one of another version that was there goes. */
static int
put_code(struct writer_operation *op, struct db_txn *txn, uint32_t slot,
    const struct db_code *code, struct error *err)
{
	struct store *store = collection_store(op->collection);
	size_t part = newest_part(op);
	struct store_row row = {code->wire, code->factor, code->norm2, part};
	int before = store_staged_part(store, slot);

	if (store_put(store, slot, &row, err) != 0)
		return -1;
	if (before >= 0 && (size_t)before != part &&
	    delete_code(op, txn, before, slot, err) != 0)
		return -1;
	return db_code_put(txn, collection_codes(op->collection), slot, code, err);
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
	size_t n_before = rows.n, before = part_of(op, &rows);
	if (writer_unindex_rows(op, txn, &rows, err) != 0)
		return -1;
	if (fit_rows(&rows, n_rows, op, txn, err) != 0 ||
	    count_rows(op, txn, before, n_before, newest_part(op), n_rows, err) != 0)
		return -1;
	for (size_t i = 0; i < n_rows; i++) {
		struct db_code code = writer_code(point, i);
		if (put_code(op, txn, rows.slots[i], &code, err) != 0)
			return -1;
	}
	if (db_point_put(txn, codes->collection, &rows,
		point->n_passages > 0 ? point->passages : NULL, &record, err) != 0)
		return -1;
	return writer_index_rows(
	    op, txn, &rows, point->payload, point->payload_len, err);
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

int
writer_still_matches(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, struct error *err)
{
	uint32_t collection = collection_codes(op->collection)->collection;
	struct db_record record;
	bool found;

	if (!op->filter)
		return 1;
	if (db_record(txn, collection, rows->slots[0], &found, &record, err) != 0)
		return -1;
	return found &&
	       filter_match(op->filter, &record.id, record.payload, record.payload_len);
}

static int
do_delete(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	uint32_t collection = collection_codes(op->collection)->collection;
	struct db_rows rows;
	int matches;

	for (size_t i = 0; i < op->n; i++) {
		const struct point_id *id = &op->ids[i];
		if (db_rows(txn, collection, id, &rows, err) != 0)
			return -1;
		if (rows.n == 0)
			continue;
		if ((matches = writer_still_matches(op, txn, &rows, err)) < 0)
			return -1;
		if (!matches)
			continue;
		size_t part = part_of(op, &rows);
		if (writer_unindex_rows(op, txn, &rows, err) != 0 ||
		    remove_codes(op, txn, rows.slots, rows.n, err) != 0 ||
		    db_point_delete(txn, collection, &rows, id, err) != 0 ||
		    count_rows(op, txn, part, rows.n, part, 0, err) != 0)
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
		return writer_fail_alone(op);
	}
	if (db_collection_new_id(txn, &id, err) != 0 ||
	    collection_row(&row, op->collection, id, err) != 0)
		return -1;
	op->result.n_affected = 1;
	return db_collection_put(txn, &row, err);
}

/* Binarizers of versions that the collection has no longer. */
static int
forget_binarizers(
    const struct collection *c, uint32_t id, struct db_txn *txn, struct error *err)
{
	uint32_t number = 1;

	for (size_t i = 0; i < collection_n_versions(c); i++, number++)
		for (; number < collection_version(c, i)->codes.version; number++)
			if (db_binarizer_delete(txn, id, number, err) != 0)
				return -1;
	return 0;
}

/* Drop the parts of the versions that the collection has no longer. */
static int
drop_parts(const struct writer_operation *op, struct error *err)
{
	const struct collection *before = op->current, *after = op->collection;
	size_t kept = 0;

	for (size_t i = 0; i < collection_n_versions(before); i++) {
		uint32_t number = collection_version(before, i)->codes.version;
		if (collection_version(after, kept)->codes.version == number)
			kept++;
		else if (store_drop_part(collection_store(after), number, err) != 0)
			return -1;
	}
	return 0;
}

static int
do_version(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	const struct collection_settings *s = collection_settings(op->collection);
	struct store *store = collection_store(op->collection);
	uint32_t number = collection_codes(op->collection)->version;
	struct db_collection row;

	if (number != collection_codes(op->current)->version + 1) {
		if (collection_codes_alike(op->current, op->collection))
			return 0; /* the same change came first */
		error_set(&op->err, ERR_EXISTS,
		    "the codes of %s were changed by another request meanwhile: look "
		    "at them and try again",
		    s->name);
		return writer_fail_alone(op);
	}
	collection_keep_up(op->collection, op->current);
	if (drop_parts(op, err) != 0 ||
	    store_add_part(store, number, s->shape, err) != 0 ||
	    collection_row(&row, op->collection, s->id, err) != 0 ||
	    forget_binarizers(op->collection, s->id, txn, err) != 0)
		return -1;
	op->result.n_affected = 1;
	return db_collection_put(txn, &row, err);
}

static int
do_progressive(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	if (op->progressive == collection_settings(op->current)->progressive)
		return 0;
	op->made = collection_with_progressive(op->current, op->progressive, &op->err);
	if (!op->made)
		return writer_fail_alone(op);
	if (store_want_plane0(collection_store(op->made), op->progressive, err) != 0)
		return -1;
	return writer_put_made(op, txn, err);
}

static int
do_live(struct writer_operation *op, struct db_txn *txn, struct error *err)
{
	const struct collection_settings *s = collection_settings(op->collection);

	switch (op->kind) {
	case WRITER_UPSERT:
		return do_upsert(op, txn, err);
	case WRITER_DELETE:
		return do_delete(op, txn, err);
	case WRITER_VERSION:
		return do_version(op, txn, err);
	case WRITER_PAYLOAD:
		return writer_do_payload(op, txn, err);
	case WRITER_INDEX:
		return writer_do_index(op, txn, err);
	case WRITER_UNINDEX:
		return writer_do_unindex(op, txn, err);
	case WRITER_PROGRESSIVE:
		return do_progressive(op, txn, err);
	default:
		op->result.n_affected = 1;
		return db_collection_drop(txn, s->name, s->id, err);
	}
}

int
writer_do(struct writer_operation *op, struct registry *registry, struct db_txn *txn,
    struct error *err)
{
	const struct collection_settings *s = collection_settings(op->collection);
	struct error none;
	bool live;

	if (op->kind == WRITER_CREATE)
		return do_create(op, txn, err);
	if (find_live(op, txn, &live, err) != 0)
		return -1;
	if (!live)
		return writer_fail_alone(op);
	/* It may have other versions by now. */
	struct collection *current = registry_find(registry, s->name, &none);
	bool same =
	    current && collection_store(current) == collection_store(op->collection);
	op->current = same ? current : op->collection;
	int result = do_live(op, txn, err);
	op->current = NULL;
	collection_release(current);
	return result;
}
