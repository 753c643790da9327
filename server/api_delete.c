#include <stdlib.h>

#include "server/api.h"
#include "server/api_change.h"

/*
 * POST /collections/{c}/points/delete: points by their ids, or those that match a
 * filter, in groups, each in a transaction of its own:
 *     workers: find the rows -> worker: ids of the next of them -> writer: delete those
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
delete_group(struct pool_task *task, unsigned worker)
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
			http_fail(request, &err);
	} else if (err.code != ERR_NONE) {
		http_fail(request, &err);
	} else {
		api_change_answer(change);
	}
}

/* A deletion of the path's collection, read but for what it may have of `ids`. */
static struct api_change *
read_deletion(struct http_request *request, const struct json *root,
    const struct json *ids, struct error *err)
{
	size_t n = ids ? json_count(ids) : GROUP_IDS;
	struct api_change *change = api_change_of_path(request, WRITER_DELETE, n, err);

	if (!change)
		return NULL;
	if (ids ? read_ids(change, ids, err)
		: api_filter_read(&change->filter, root, change->collection, err)) {
		api_change_free(change);
		return NULL;
	}
	return change;
}

void
api_points_delete(struct http_request *request, unsigned worker)
{
	struct api_change *change = NULL;
	struct json root, ids, filter;
	struct error err;
	int has_ids = -1, has_filter = -1;
	(void)worker;

	if (api_body(&root, request, &err) == 0) {
		has_ids = api_member(&ids, &root, "points", JSON_ARRAY, &err);
		has_filter = api_member(&filter, &root, "filter", JSON_OBJECT, &err);
	}
	if (has_ids >= 0 && has_filter >= 0 && has_ids == has_filter)
		error_set(&err, ERR_INPUT,
		    "expected either 'points': [ids] or 'filter': {...}");
	else if (has_ids > 0 && has_filter == 0 &&
		 api_change_check(request->context, json_count(&ids), &err) == 0)
		change = read_deletion(request, &root, &ids, &err);
	else if (has_ids == 0 && has_filter > 0)
		change = read_deletion(request, &root, NULL, &err);
	if (!change) {
		http_fail(request, &err);
	} else if (has_ids) {
		api_change_submit(change);
	} else {
		change->answer = delete_group;
		change->operation.filter = change->filter.filter;
		api_change_keep(change);
		api_filter_find(
		    &change->filter, change->collection, request, delete_group);
	}
}
