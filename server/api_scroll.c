#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/api.h"
#include "server/api_filter.h"
#include "server/api_order.h"
#include "server/api_select.h"

/*
 * POST /collections/{c}/points/scroll: a page of points in the order of their ids, and
 * the id that the next page begins with; or in the order of a number of their payloads
 * (server/api_order.h), which has no next page.
 *
 * What indexes leave of a filter is a set of rows; ids or numbers are walked in one
 * transaction, in steps, and payloads are read of those in the set until the page is
 * full.  So a page costs what it walks over, not what the collection has.
 */
#define LIMIT_DEFAULT 10
#define LOOK_IDS 8 /* between looks at the clock */

struct scroll {
	struct collection *collection;
	struct db_txn *txn;
	struct api_filter filter;
	struct api_select select;
	struct api_coder coder; /* for vectors alone */
	struct api_order order;
	struct point_id id; /* where the walk is; len 0: before all, or in an order */
	enum db_id_from from;
	uint64_t limit;
	uint64_t n; /* points so far */
	struct text out;
};

static void
scroll_free(void *state)
{
	struct scroll *scroll = state;

	db_end(scroll->txn);
	api_filter_free(&scroll->filter);
	api_coder_free(&scroll->coder);
	api_order_free(&scroll->order);
	collection_release(scroll->collection);
	text_free(&scroll->out);
	free(scroll);
}

/* The next row to look at: of a point by ids the first, in an order any. */
static int
next_row(struct scroll *scroll, bool *found, uint32_t *slot, struct error *err)
{
	uint32_t collection = collection_codes(scroll->collection)->collection;

	if (scroll->order.path)
		return api_order_next(
		    &scroll->order, scroll->collection, scroll->txn, found, slot, err);
	if (db_id_next(
		scroll->txn, collection, scroll->from, found, &scroll->id, slot, err))
		return -1;
	scroll->from = DB_ID_BEHIND;
	if (!*found)
		scroll->id.len = 0;
	return 0;
}

/* Whether it is the first row of a point that matches: 1, 0, -1; *record is that
 * row's. */
static int
matches(
    struct scroll *scroll, struct db_record *record, uint32_t slot, struct error *err)
{
	uint32_t collection = collection_codes(scroll->collection)->collection;
	struct api_filter *filter = &scroll->filter;
	bool found;

	if (filter->filter && !row_set_has(filter->rows, slot))
		return 0;
	if (db_record(scroll->txn, collection, slot, &found, record, err))
		return -1;
	if (!found)
		return error_set(
		    err, ERR_FORMAT, "a point has an id or a number and no record");
	if (record->is_passage && record->number > 0)
		return 0;
	if (!filter->filter)
		return 1;
	filter->cost.n_payloads += filter->cost.n_keys > 0;
	return filter_match(
	    filter->filter, &record->id, record->payload, record->payload_len);
}

/* Append the next points of the page: 1 = go on, 0 = it is full and scroll->id begins
 * the next one, or no point is left and scroll->id has len 0; -1. */
static int
add_points(struct scroll *scroll, const struct api *api, struct error *err)
{
	struct db_record record;
	uint32_t slot;
	bool found;

	for (size_t i = 0; i < LOOK_IDS; i++) {
		if (scroll->order.path && scroll->n == scroll->limit)
			return 0;
		if (next_row(scroll, &found, &slot, err))
			return -1;
		if (!found)
			return 0;
		int match = matches(scroll, &record, slot, err);
		if (match < 0)
			return -1;
		if (!match)
			continue;
		if (scroll->n == scroll->limit)
			return 0;
		if (scroll->n++ > 0)
			text_string(&scroll->out, ",");
		if (api_select_point(&scroll->out, &scroll->select, &scroll->coder,
			scroll->txn, slot, &record, err))
			return -1;
		if (scroll->order.path) {
			text_string(&scroll->out, ",\"order_value\":");
			api_order_value(&scroll->out, &scroll->order);
		}
		text_string(&scroll->out, "}");
		if (api_fits(&scroll->out, api, API_SELECT_LESS, err))
			return -1;
	}
	return 1;
}

/* Of the filter, and then of the page: 1 = go on, 0 = it is done, -1. */
static int
take_step(struct scroll *scroll, const struct api *api, struct error *err)
{
	int more =
	    api_filter_narrow(&scroll->filter, scroll->collection, scroll->txn, err);

	return more != 0 ? more : add_points(scroll, api, err);
}

static int
finish(struct http_request *request, struct scroll *scroll, struct error *err)
{
	struct api_filter_notes notes = {.n_keys = 0};
	char printed[POINT_ID_PRINT_MAX];
	struct text extra = {0};

	if (api_filter_note(&notes, &scroll->filter, err)) {
		api_filter_notes_free(&notes);
		return -1;
	}
	text_string(&scroll->out, "],\"next_page_offset\":");
	if (scroll->id.len > 0)
		point_id_print(printed, &scroll->id);
	text_string(&scroll->out, scroll->id.len > 0 ? printed : "null");
	text_string(&scroll->out, "}");
	api_filter_notes_print(&extra, &notes);
	api_filter_notes_free(&notes);
	api_end(request, &scroll->out, extra.bytes);
	text_free(&extra);
	return 0;
}

static void
walk(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct scroll *scroll = request->state;
	struct error err;
	uint64_t start_ns = clock_ns();
	int more = api_filter_in_time(&scroll->filter, request, &err) == 0 ? 1 : -1;
	(void)worker;

	while (more > 0 && clock_since(start_ns) < API_STEP_S)
		more = take_step(scroll, request->context, &err);
	if (more > 0)
		http_continue(request, walk);
	else if (more < 0 || finish(request, scroll, &err))
		http_fail(request, &err);
}

static int
read_page(struct scroll *scroll, const struct json *root, const struct config *config,
    struct error *err)
{
	static const char *const members[] = {"limit", "offset", "filter", "order_by",
	    "with_payload", "with_vector", "with_vectors", NULL};
	struct json value;

	scroll->limit = LIMIT_DEFAULT;
	scroll->select.payload = true;
	if (api_members(root, members, err) ||
	    api_order_read(&scroll->order, root, err))
		return -1;
	if (json_member(root, "limit", &value) && value.type != JSON_NULL &&
	    api_count(
		&scroll->limit, &value, "limit (max_limit)", 1, config->max_limit, err))
		return -1;
	if (json_member(root, "offset", &value) && value.type != JSON_NULL &&
	    point_id_parse(&scroll->id, &value, err))
		return error_prefix(err, "offset");
	if (scroll->order.path && scroll->id.len > 0)
		return error_set(err, ERR_INPUT,
		    "offset: expected none with order_by: go on by "
		    "order_by.start_from, "
		    "and a filter that leaves out the ids that had its value");
	return api_select_read(&scroll->select, root, err);
}

/* The collection, its snapshot, and behind that the transaction of this moment. */
static int
begin(struct http_request *request, struct scroll *scroll, struct error *err)
{
	struct collection *before = api_collection(request, err);

	if (!before)
		return -1;
	api_filter_hold(&scroll->filter, before);
	scroll->collection = api_collection_now(request, &scroll->txn, err);
	/* Not the one that was deleted meanwhile. */
	bool same = scroll->collection &&
		    collection_store(scroll->collection) == collection_store(before);
	if (!same)
		api_filter_free(&scroll->filter);
	collection_release(before);
	if (scroll->collection && !same)
		return error_set(err, ERR_UNAVAILABLE,
		    "the collection was deleted and made anew just now: try again");
	return scroll->collection ? 0 : -1;
}

static int
prepare(struct http_request *request, struct scroll *scroll, struct error *err)
{
	struct api *api = request->context;
	struct json root;

	if (api_body(&root, request, err) ||
	    read_page(scroll, &root, api->config, err) || begin(request, scroll, err))
		return -1;
	if (api_select_check(&scroll->select, scroll->collection, err) ||
	    api_filter_read(&scroll->filter, &root, request, scroll->collection, err) ||
	    api_order_begin(&scroll->order, scroll->collection, scroll->txn, err))
		return -1;
	return api_coder_init(&scroll->coder, api, scroll->collection, NULL, err);
}

void
api_points_scroll(struct http_request *request, unsigned worker)
{
	struct scroll *scroll = array_new(1, sizeof *scroll);
	struct error err;

	if (!scroll) {
		error_set(&err, ERR_MEMORY, "no memory for a page");
		http_fail(request, &err);
		return;
	}
	request->state = scroll;
	request->state_free = scroll_free;
	if (prepare(request, scroll, &err)) {
		http_fail(request, &err);
		return;
	}
	api_begin(&scroll->out);
	text_string(&scroll->out, "{\"points\":[");
	walk(&request->task, worker);
}
