#include "server/api_filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define LOOK_PAYLOADS 8 /* between looks at the clock */

/* filter->limit_s := what the request may take. */
static int
read_limit(
    struct api_filter *filter, const struct http_request *request, struct error *err)
{
	const struct api *api = request->context;
	size_t n;
	const char *wanted = http_query(request, "timeout", &n);
	uint64_t limit_s = api->config->filter_timeout_s, seconds = limit_s;

	if (wanted) {
		bool digits = n > 0 && strspn(wanted, "0123456789") >= n;
		struct json number = {digits ? JSON_NUMBER : JSON_STRING, wanted, n};
		if (api_count(&seconds, &number, "timeout", 1, UINT32_MAX, err))
			return -1;
	}
	filter->limit_s = (double)(seconds < limit_s ? seconds : limit_s);
	return 0;
}

int
api_filter_read(struct api_filter *filter, const struct json *root,
    const struct http_request *request, const struct collection *collection,
    struct error *err)
{
	size_t n;
	const struct db_field *fields = collection_fields(collection, &n);

	if (read_limit(filter, request, err))
		return -1;
	int has = api_member(&filter->json, root, "filter", JSON_OBJECT, err);
	if (has <= 0)
		return has;
	filter->filter = filter_new(&filter->json, fields, n, err);
	return filter->filter ? 0 : -1;
}

/* What was needed to find the rows. */
static void
end_finding(struct api_filter *filter)
{
	filter_walk_free(filter->walk);
	filter->walk = NULL;
	row_set_free(filter->live);
	filter->live = NULL;
	db_end(filter->txn);
	filter->txn = NULL;
}

void
api_filter_free(struct api_filter *filter)
{
	end_finding(filter);
	filter_free(filter->filter);
	row_set_free(filter->rows);
	store_release(filter->snapshot);
	*filter = (struct api_filter){.filter = NULL};
}

/* walk := one over the live rows of the snapshot. */
static int
begin_walk(struct api_filter *filter, const struct collection *collection,
    struct db_txn *txn, struct error *err)
{
	struct filter_place place = {
	    .txn = txn, .collection = collection_codes(collection)->collection};

	filter->live = row_set_live(filter->snapshot, err);
	if (!filter->live || db_operation(txn, &filter->operation, err))
		return -1;
	place.live = filter->live;
	filter->rows = row_set_new(filter->live->n_slots, err);
	if (!filter->rows)
		return -1;
	filter->walk =
	    filter_walk_new(filter->rows, filter->filter, &place, &filter->cost, err);
	return filter->walk ? 0 : -1;
}

void
api_filter_hold(struct api_filter *filter, const struct collection *collection)
{
	filter->snapshot = store_acquire(collection_store(collection));
}

int
api_filter_narrow(struct api_filter *filter, const struct collection *collection,
    struct db_txn *txn, struct error *err)
{
	int more = 1;

	if (!filter->filter || (filter->rows && !filter->walk))
		return 0;
	if (filter->walk)
		more = filter_walk_narrow(filter->walk, err);
	else
		more = begin_walk(filter, collection, txn, err) == 0 ? 1 : -1;
	if (more <= 0)
		end_finding(filter);
	return more;
}

/* The keys that have no index, behind a text. */
static void
print_keys(struct text *out, const struct filter_cost *cost)
{
	for (size_t i = 0; i < cost->n_keys; i++)
		text_printf(out, "%s%.40s", i > 0 ? ", " : "", cost->keys[i]);
}

int
api_filter_in_time(const struct api_filter *filter, const struct http_request *request,
    struct error *err)
{
	if (api_wanted(request, err))
		return -1;
	if (clock_since(request->start_ns) < filter->limit_s)
		return 0;
	struct text keys = {0};
	print_keys(&keys, &filter->cost);
	error_set(err, ERR_TIMEOUT,
	    "%s: expected to be done within %.0f s (filter_timeout_s, or the request's "
	    "timeout); %s%s",
	    filter->filter ? "filter" : "page", filter->limit_s,
	    keys.n > 0 ? "make an index of " : "ask for less, or at a quieter time",
	    keys.n > 0 && !keys.failed ? keys.bytes : "");
	text_free(&keys);
	return -1;
}

static int
begin(struct api_filter *filter)
{
	struct api *api = filter->request->context;

	api_filter_hold(filter, filter->collection);
	filter->txn = db_begin_read(api->db, &filter->err);
	if (!filter->txn ||
	    begin_walk(filter, filter->collection, filter->txn, &filter->err) != 0)
		return -1;
	return 1;
}

static void
take_step(struct pool_task *task, unsigned worker)
{
	struct api_filter *filter =
	    (struct api_filter *)(void *)((char *)task -
					  offsetof(struct api_filter, task));
	struct http_request *request = filter->request;
	struct api *api = request->context;
	uint64_t start_ns = clock_ns();
	int more = api_filter_in_time(filter, request, &filter->err) == 0 ? 1 : -1;

	if (more > 0 && !filter->walk)
		more = begin(filter);
	while (more > 0 && clock_since(start_ns) < API_STEP_S)
		more = filter_walk_next(filter->walk, LOOK_PAYLOADS, &filter->err);
	if (more > 0) {
		pool_submit(api->pool, task);
		return;
	}
	end_finding(filter);
	filter->find_s = clock_since(filter->start_ns);
	filter->next(&request->task, worker);
}

void
api_filter_find(struct api_filter *filter, const struct collection *collection,
    struct http_request *request, void (*next)(struct pool_task *task, unsigned worker))
{
	struct api *api = request->context;

	filter->err.code = ERR_NONE;
	if (!filter->filter) {
		next(&request->task, 0);
		return;
	}
	filter->request = request;
	filter->collection = collection;
	filter->next = next;
	filter->start_ns = clock_ns();
	filter->task.run = take_step;
	pool_submit(api->pool, &filter->task);
}

int
api_filter_holds(const struct api_filter *filter, struct db_txn *txn,
    uint32_t collection, const struct db_record *record, struct error *err)
{
	struct db_record first = *record;
	bool found;

	if (!filter->filter)
		return 1;
	if (db_record_first(txn, collection, &found, &first, err))
		return -1;
	if (found && first.operation <= filter->operation)
		return 1;
	return found && filter_match(filter->filter, &first.id, first.payload,
			    first.payload_len);
}

static int
note_key(struct api_filter_notes *notes, const char *key, struct error *err)
{
	for (size_t i = 0; i < notes->n_keys; i++)
		if (strcmp(notes->keys[i], key) == 0)
			return 0;
	if (notes->n_keys == FILTER_KEYS_MAX)
		return 0;
	size_t n = strlen(key) + 1;
	char *copy = array_new(n, 1);
	if (!copy)
		return error_set(err, ERR_MEMORY, "no memory for a key");
	notes->keys[notes->n_keys++] = memcpy(copy, key, n);
	return 0;
}

int
api_filter_note(
    struct api_filter_notes *notes, const struct api_filter *filter, struct error *err)
{
	notes->n_payloads += filter->cost.n_payloads;
	for (size_t i = 0; i < filter->cost.n_keys; i++)
		if (note_key(notes, filter->cost.keys[i], err))
			return -1;
	return 0;
}

void
api_filter_notes_print(struct text *out, const struct api_filter_notes *notes)
{
	if (notes->n_keys == 0)
		return;
	text_string(out, ",\"filter\":{\"unindexed\":[");
	for (size_t i = 0; i < notes->n_keys; i++) {
		if (i > 0)
			text_string(out, ",");
		text_json(out, notes->keys[i], strlen(notes->keys[i]));
	}
	text_printf(out, "],\"payloads_read\":%zu}", notes->n_payloads);
}

void
api_filter_notes_free(struct api_filter_notes *notes)
{
	for (size_t i = 0; i < notes->n_keys; i++)
		free(notes->keys[i]);
	notes->n_keys = 0;
}
