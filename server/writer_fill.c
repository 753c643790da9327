#include "server/writer_internal.h"

/* Rows that were there before an index was made are entered behind other work, some at
 * a time; who writes meanwhile enters its own. */
#define FILL_ROWS 4096
#define FILL_BYTES ((size_t)8 << 20) /* of payloads */

void
writer_fill_forget(struct writer_fill *fill)
{
	collection_release(fill->collection);
	*fill = (struct writer_fill){0};
}

/* Whether the collection has a field that lacks rows; then *number. */
static int
lacks(bool *some, uint16_t *number, const struct collection *c, struct db_txn *txn,
    struct error *err)
{
	size_t n;
	const struct db_field *fields = collection_fields(c, &n);

	*some = false;
	for (size_t i = 0; i < n && !*some; i++) {
		const struct db_fields_at at = {
		    txn, collection_codes(c)->collection, fields[i].number};
		bool complete;
		if (db_fields_complete(&at, &complete, err) != 0)
			return -1;
		*some = !complete;
		*number = fields[i].number;
	}
	return 0;
}

/* The next index to fill, from its first row. */
static int
choose(struct writer_fill *fill, struct registry *registry, struct db_txn *txn,
    struct error *err)
{
	struct collection **list;
	size_t n;
	bool some = false;
	int result = registry_list(&list, &n, registry, err);

	if (result != 0)
		return -1;
	for (size_t i = 0; i < n && result == 0 && !some; i++) {
		result = lacks(&some, &fill->number, list[i], txn, err);
		if (some)
			fill->collection = collection_retain(list[i]);
	}
	fill->slot = 0;
	registry_list_free(list, n);
	return result;
}

/* The collection as it is by now; NULL: it or the field is gone. */
static const struct db_field *
refresh(struct writer_fill *fill, struct registry *registry)
{
	const char *name = collection_settings(fill->collection)->name;
	struct error none;
	struct collection *now = registry_find(registry, name, &none);
	size_t n;

	if (!now || collection_store(now) != collection_store(fill->collection)) {
		collection_release(now);
		return NULL;
	}
	collection_release(fill->collection);
	fill->collection = now;
	const struct db_field *fields = collection_fields(now, &n);
	for (size_t i = 0; i < n; i++)
		if (fields[i].number == fill->number)
			return &fields[i];
	return NULL;
}

/* Enter the point whose first row this record is. */
static int
enter(const struct db_field *field, uint32_t collection, uint32_t slot,
    const struct db_record *record, struct db_txn *txn, struct error *err)
{
	struct db_rows rows = {.n = 1};

	rows.slots[0] = slot;
	if (record->is_passage &&
	    db_rows(txn, collection, &record->id, &rows, err) != 0)
		return -1;
	const struct db_fields_rows of = {
	    collection, rows.slots, rows.n, record->payload, record->payload_len};
	return db_fields_add(txn, field, 1, &of, err);
}

/* *done: no rows are left. */
static int
fill_some(struct writer_fill *fill, bool *done, const struct db_field *field,
    struct db_txn *txn, struct error *err)
{
	uint32_t collection = collection_codes(fill->collection)->collection;
	struct db_record record;
	bool found = true;
	size_t bytes = 0;

	for (size_t n = 0; n < FILL_ROWS && bytes < FILL_BYTES; n++, fill->slot++) {
		if (db_record_next(
			txn, collection, &found, &fill->slot, &record, err) != 0)
			return -1;
		if (!found)
			break;
		bytes += record.payload_len;
		if ((!record.is_passage || record.number == 0) &&
		    enter(field, collection, fill->slot, &record, txn, err) != 0)
			return -1;
	}
	*done = !found;
	return found ? 0 : db_fields_set_complete(txn, collection, field->number, err);
}

int
writer_fill(struct writer_fill *fill, bool *more, struct registry *registry,
    struct db *db, struct error *err)
{
	struct db_txn *txn = db_begin_write(db, err);
	bool done = false;

	*more = true;
	if (!txn)
		return -1;
	if (!fill->collection && choose(fill, registry, txn, err) != 0)
		goto fail;
	if (!fill->collection) {
		db_end(txn);
		*more = false;
		return 0;
	}
	const struct db_field *field = refresh(fill, registry);
	if (!field) {
		db_end(txn);
		writer_fill_forget(fill);
		return 0;
	}
	if (fill_some(fill, &done, field, txn, err) != 0)
		goto fail;
	if (db_commit(txn, err) != 0)
		goto forget;
	if (done)
		writer_fill_forget(fill);
	return 0;
fail:
	db_end(txn);
forget:
	writer_fill_forget(fill);
	return -1;
}
