#include <stdlib.h>

#include "server/api_change.h"

/*
 * Changes of points by their ids, or of those that match a filter, in groups, each in a
 * transaction of its own:
 *     workers: find the rows -> worker: ids of the next of them -> writer: change those
 *     that still match -> worker: the next ... or answer
 */
#define GROUP_IDS 1000

static int
read_ids(struct api_change *change, const struct json *ids, struct error *err)
{
	struct json_walk walk = json_walk(ids);

	for (size_t i = 0; json_next(&walk); i++)
		if (point_id_parse(&change->ids[i], &walk.value, err))
			return error_prefix(err, "points[%zu]", i);
	return 0;
}

/* change->ids := the points of the next rows; fewer than GROUP_IDS: no rows are left.
 */
static int
next_ids(struct api_change *change, struct error *err)
{
	struct api *api = change->request->context;
	uint32_t collection = collection_codes(change->collection)->collection;
	struct db_txn *txn = db_begin_read(api->db, err);
	struct db_record record;
	size_t n = 0;
	bool found;
	int rc = txn ? 0 : -1;

	for (; rc == 0 && n < GROUP_IDS &&
	       row_set_next(change->filter.rows, &change->slot);
	     change->slot++) {
		rc = db_record(txn, collection, change->slot, &found, &record, err);
		/* Of a point with passages one row is enough. */
		if (rc == 0 && found && (!record.is_passage || record.number == 0))
			change->ids[n++] = record.id;
	}
	db_end(txn);
	change->operation.n = n;
	return rc;
}

static void
next_group(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct api_change *change = request->state;
	bool first = change->number == 0;
	struct error err = change->filter.err;
	(void)worker;

	if (change->err.code == ERR_NONE && err.code == ERR_NONE &&
	    (first || change->operation.n == GROUP_IDS)) {
		if (next_ids(change, &err) ||
		    api_write(request->context, &change->operation, &err))
			api_change_fail(change, &err);
	} else if (err.code != ERR_NONE) {
		api_change_fail(change, &err);
	} else {
		api_change_answer(change);
	}
}

/* Read what it is about. */
static int
read_points(struct api_change *change, const struct json *root, const struct json *ids,
    struct error *err)
{
	if (ids)
		return read_ids(change, ids, err);
	if (api_filter_read(
		&change->filter, root, change->request, change->collection, err) != 0)
		return -1;
	change->operation.filter = change->filter.filter;
	change->answer = next_group;
	return 0;
}

struct api_change *
api_change_of_points(struct http_request *request, enum writer_kind kind,
    const struct json *root, struct error *err)
{
	struct json ids, filter;
	int has_ids = api_member(&ids, root, "points", JSON_ARRAY, err);
	int has_filter =
	    has_ids < 0 ? -1 : api_member(&filter, root, "filter", JSON_OBJECT, err);

	if (has_ids < 0 || has_filter < 0)
		return NULL;
	if (has_ids == has_filter) {
		error_set(err, ERR_INPUT,
		    "expected either 'points': [ids] or 'filter': {...}");
		return NULL;
	}
	size_t n = has_ids ? json_count(&ids) : GROUP_IDS;
	if (has_ids && api_change_check(request->context, n, err) != 0)
		return NULL;
	struct api_change *change = api_change_of_path(request, kind, n, err);
	if (change && read_points(change, root, has_ids ? &ids : NULL, err) != 0) {
		api_change_free(change);
		return NULL;
	}
	return change;
}

void
api_change_run(struct api_change *change)
{
	struct error err;

	if (!change->filter.filter && change->texts.n == 0) {
		api_change_submit(change);
		return;
	}
	api_change_keep(change);
	if (change->texts.n > 0) {
		if (api_texts_embed(
			&change->texts, change->request, change->embedded, &err))
			api_change_fail(change, &err);
		return;
	}
	api_filter_find(
	    &change->filter, change->collection, change->request, next_group);
}
