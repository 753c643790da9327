#include <stdlib.h>

#include "base/alloc.h"
#include "server/api.h"
#include "server/api_filter.h"

/*
 * POST /collections/{c}/points/count, always exact:
 *     workers: find the rows of the filter -> of chunked points count one row each, in
 *     steps
 */
#define STEP_ROWS 20000 /* some milliseconds */

struct counting {
	struct collection *collection;
	struct api_filter filter;
	uint32_t slot; /* where its rows go on */
	size_t n;
};

static void
counting_free(void *state)
{
	struct counting *counting = state;

	collection_release(counting->collection);
	api_filter_free(&counting->filter);
	free(counting);
}

/* Count the points of the next rows: 1 = more rows are left, 0, -1. */
static int
count_rows(struct counting *counting, struct api *api, struct error *err)
{
	const struct row_set *rows = counting->filter.rows;
	uint32_t collection = collection_codes(counting->collection)->collection;
	struct db_record record;
	size_t n_left = STEP_ROWS;
	bool found, more = true;
	int rc = 0;

	if (counting->filter.snapshot->n_extra == 0) {
		counting->n = row_set_count(rows);
		return 0;
	}
	struct db_txn *txn = db_begin_read(api->db, err);
	if (!txn)
		return -1;
	while (
	    rc == 0 && (more = row_set_next(rows, &counting->slot)) && n_left-- > 0) {
		rc = db_record(txn, collection, counting->slot++, &found, &record, err);
		counting->n +=
		    rc == 0 && found && (!record.is_passage || record.number == 0);
	}
	db_end(txn);
	return rc == 0 ? more : -1;
}

static void
count(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct counting *counting = request->state;
	struct api_filter_notes notes = {.n_keys = 0};
	struct error err = counting->filter.err;
	struct text out = {0}, extra = {0};
	int more = err.code == ERR_NONE ? api_wanted(request, &err) : -1;
	(void)worker;

	if (more == 0 && counting->filter.filter)
		more = count_rows(counting, request->context, &err);
	else if (more == 0)
		counting->n = collection_count(counting->collection);
	if (more == 0)
		more = api_filter_note(&notes, &counting->filter, &err);
	if (more > 0) {
		http_continue(request, count);
	} else if (more < 0) {
		http_fail(request, &err);
	} else {
		api_filter_notes_print(&extra, &notes);
		api_begin(&out);
		text_printf(&out, "{\"count\":%zu}", counting->n);
		api_end(request, &out, extra.bytes);
	}
	text_free(&extra);
	api_filter_notes_free(&notes);
}

/* "exact" may say what it likes: an estimate is never given. */
static int
read_counting(
    struct counting *counting, struct http_request *request, struct error *err)
{
	static const char *const members[] = {"filter", "exact", NULL};
	struct json root, exact;

	if (request->body_n > 0) {
		if (api_body(&root, request, err) || api_members(&root, members, err))
			return -1;
		if (json_member(&root, "exact", &exact) && exact.type != JSON_NULL &&
		    exact.type != JSON_TRUE && exact.type != JSON_FALSE)
			return error_set(err, ERR_INPUT,
			    "exact: expected true or false, not %s",
			    json_type_name(exact.type));
	}
	counting->collection = api_collection(request, err);
	if (!counting->collection)
		return -1;
	return request->body_n > 0 ? api_filter_read(&counting->filter, &root, request,
					 counting->collection, err)
				   : 0;
}

void
api_points_count(struct http_request *request, unsigned worker)
{
	struct counting *counting = array_new(1, sizeof *counting);
	struct error err;
	(void)worker;

	if (!counting) {
		error_set(&err, ERR_MEMORY, "no memory for a count");
		http_fail(request, &err);
		return;
	}
	request->state = counting;
	request->state_free = counting_free;
	if (read_counting(counting, request, &err))
		http_fail(request, &err);
	else
		api_filter_find(
		    &counting->filter, counting->collection, request, count);
}
