#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/api.h"
#include "server/api_query.h"

/*
 * POST /collections/{c}/points/query, points/query/batch, and points/search and
 * points/recommend, as older clients have it.  In steps:
 *     worker: read the searches, make the queries  (-> embedding.h -> worker, of texts)
 *     -> workers: find the rows of their filters, step by step
 *     -> scan thread: search in a batch
 *     -> worker: read ids and payloads of the hits, answer; or search again for more
 *        rows, where those of chunked points, or points that were changed meanwhile,
 *        left too few
 * Of many searches a group takes these steps, then the next: a request has at most
 * max_batch searches in the scan thread's queue, so that it does not shut out others.
 */

/* The searches of a request under way. */
struct queries {
	struct http_request *request;
	bool is_batch;
	struct api_query *all; /* (n) */
	size_t n;
	size_t first, end;  /* the group under way */
	size_t at;          /* of it, the next to be answered */
	size_t searched;    /* of it, end of those that were searched last */
	atomic_size_t open; /* searches that are not done, and who submits them */

	/* The group's: */
	struct collection *collection;
	struct api_texts texts;
	struct api_filter *filters; /* (n_filters), different ones; room for a group */
	size_t n_filters;

	struct text out;        /* the answer so far */
	struct api_texts noted; /* of the texts so far, the counts alone */
	struct api_filter_notes notes;
	uint64_t start_ns; /* of embed_s */
	double embed_s, filter_s, wait_s, scan_s, fetch_s;
};

static size_t
group_max(const struct queries *q)
{
	const struct api *api = q->request->context;
	size_t max = api->config->max_batch;

	return q->n < max ? q->n : max;
}

/* Give back what the group has. */
static void
end_group(struct queries *q)
{
	for (size_t i = q->first; i < q->end; i++)
		api_query_end(&q->all[i]);
	for (size_t i = 0; i < q->n_filters; i++)
		api_filter_free(&q->filters[i]);
	q->n_filters = 0;
	api_texts_free(&q->texts);
	collection_release(q->collection);
	q->collection = NULL;
}

static void
queries_free(void *state)
{
	struct queries *q = state;

	end_group(q);
	api_filter_notes_free(&q->notes);
	text_free(&q->out);
	free(q->filters);
	free(q->all);
	free(q);
}

/* In a batch the error says of which search it is. */
static void
fail(struct queries *q, size_t i, struct error *err)
{
	if (q->is_batch && q->collection)
		error_prefix(err, "searches[%zu]", i);
	http_fail(q->request, err);
}

/* ---- the end ---- */

/* Count what is to be said of the group's texts and filters. */
static int
note_group(struct queries *q, struct error *err)
{
	api_texts_count(&q->noted, &q->texts);
	for (size_t i = 0; i < q->n_filters; i++)
		if (api_filter_note(&q->notes, &q->filters[i], err))
			return -1;
	return 0;
}

static void
finish(struct queries *q)
{
	struct text extra = {0};

	if (q->is_batch)
		text_string(&q->out, "]");
	api_texts_notes(&extra, &q->noted);
	api_filter_notes_print(&extra, &q->notes);
	text_printf(&extra,
	    ",\"timing\":{\"embed_s\":%.9f,\"filter_s\":%.9f,\"wait_s\":%.9f,"
	    "\"scan_s\":%.9f,\"fetch_s\":%.9f}",
	    q->embed_s, q->filter_s, q->wait_s, q->scan_s, q->fetch_s);
	api_end(q->request, &q->out, extra.failed ? NULL : extra.bytes);
	text_free(&extra);
}

/* ---- searching ---- */

static void answer(struct pool_task *task, unsigned worker);

/* A search, or who submits them, is done; after the last the request goes on. */
static void
close_one(struct queries *q)
{
	if (atomic_fetch_sub(&q->open, 1) == 1)
		http_continue(q->request, answer);
}

static void
on_searched(struct batch_search *search)
{
	close_one(search->arg);
}

/* Hand a search to the scan thread, which is to find k rows. */
static int
submit(struct queries *q, struct api_query *query, size_t k, struct error *err)
{
	const struct api_filter *filter = query->filter;

	store_release(query->search.snapshot);
	query->search = (struct batch_search){.store = collection_store(q->collection)};
	free(query->hits);
	query->hits = array_new(k, sizeof *query->hits);
	if (!query->hits)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu hits; lower limit", k);
	query->search.flat = (struct flat_search){.query = query->queries,
	    .k = k,
	    .hits = query->hits,
	    .rows = filter ? filter->rows : NULL,
	    .of_row = !query->recommend && api_query_names_points(query),
	    .progressive = api_query_progressive(&query->params, q->collection)};
	query->search.given_up = &q->request->given_up;
	query->search.newest = collection_codes(q->collection)->version;
	query->search.on_done = on_searched;
	query->search.arg = q;
	return api_search(q->request->context, &query->search, err);
}

/* Search from number q->at to before `end`, for k rows, or as many as they want at
 * first with k = 0.  From here on the request is another thread's. */
static void
search(struct queries *q, size_t end, size_t k)
{
	struct error err;

	q->searched = end;
	atomic_store(&q->open, 1);
	for (size_t i = q->at; i < end; i++) {
		struct api_query *query = &q->all[i];
		atomic_fetch_add(&q->open, 1);
		size_t rows = k > 0 ? k : api_query_rows(query, q->collection);
		if (submit(q, query, rows, &err)) {
			query->search.err = err;
			close_one(q);
		}
	}
	close_one(q);
}

static void start_group(struct queries *q);

/* Count the times of what was searched; they overlap. */
static void
count_times(struct queries *q)
{
	const struct api *api = q->request->context;
	double wait_s = 0, scan_s = 0;

	for (size_t i = q->at; i < q->searched; i++) {
		const struct batch_search *search = &q->all[i].search;
		metrics_query(api->metrics, METRICS_WAIT, search->wait_s);
		metrics_query(api->metrics, METRICS_SCAN, search->scan_s);
		if (wait_s < search->wait_s)
			wait_s = search->wait_s;
		if (scan_s < search->scan_s)
			scan_s = search->scan_s;
	}
	q->wait_s += wait_s;
	q->scan_s += scan_s;
}

/* Append the answers of the group, as far as they are there.  *more > 0: number q->at
 * is to be searched again for so many rows. */
static int
answer_group(struct queries *q, size_t *more, struct error *err)
{
	const struct api *api = q->request->context;

	for (*more = 0; q->at < q->end && *more == 0; q->at += *more == 0) {
		const struct api_query *query = &q->all[q->at];
		size_t before = q->out.n;
		uint64_t start_ns = clock_ns();
		*err = query->search.err;
		if (err->code != ERR_NONE)
			return -1;
		if (q->at > 0)
			text_string(&q->out, ",");
		if (api_query_answer(&q->out, more, query, api, q->collection, err))
			return -1;
		if (*more > 0)
			text_cut(&q->out, before);
		double fetch_s = clock_since(start_ns);
		metrics_query(api->metrics, METRICS_FETCH, fetch_s);
		q->fetch_s += fetch_s;
	}
	return 0;
}

static bool
is_outdated(const struct queries *q)
{
	for (size_t i = q->at; i < q->searched; i++)
		if (q->all[i].search.outdated)
			return true;
	return false;
}

static void
answer(struct pool_task *task, unsigned worker)
{
	struct queries *q = http_of_task(task)->state;
	struct error err;
	size_t more = 0;
	(void)worker;

	count_times(q);
	bool outdated = is_outdated(q);
	if (!outdated && answer_group(q, &more, &err)) {
		fail(q, q->at, &err);
	} else if (!outdated && more > 0) {
		search(q, q->at + 1, more);
	} else if (!outdated && note_group(q, &err)) {
		http_fail(q->request, &err);
	} else if (outdated || q->end < q->n) {
		start_group(q);
	} else {
		finish(q);
	}
}

/* ---- getting ready ---- */

/* Find the rows of the next filter; behind the last, search. */
static void
find_filters(struct pool_task *task, unsigned worker)
{
	struct queries *q = http_of_task(task)->state;
	size_t i = 0;
	(void)worker;

	while (i < q->n_filters && q->filters[i].rows &&
	       q->filters[i].err.code == ERR_NONE)
		i++;
	if (i == q->n_filters) {
		for (i = 0; i < q->n_filters; i++)
			q->filter_s += q->filters[i].find_s;
		search(q, q->end, 0);
	} else if (q->filters[i].err.code != ERR_NONE) {
		http_fail(q->request, &q->filters[i].err);
	} else {
		api_filter_find(
		    &q->filters[i], q->collection, q->request, find_filters);
	}
}

/* The queries are made. */
static void
find_rows(struct queries *q)
{
	const struct api *api = q->request->context;
	double embed_s = clock_since(q->start_ns);

	metrics_query(api->metrics, METRICS_EMBED, embed_s);
	q->embed_s += embed_s;
	find_filters(&q->request->task, 0);
}

static void
on_embedded(struct pool_task *task, unsigned worker)
{
	struct queries *q = http_of_task(task)->state;
	struct api_coder coder;
	struct error err;
	size_t i = q->first;
	(void)worker;

	int rc =
	    api_coder_init(&coder, q->request->context, q->collection, &q->texts, &err);
	for (; rc == 0 && i < q->end; i += rc == 0) {
		struct api_query *query = &q->all[i];
		coder.planes = query->params.planes;
		if (query->is_text)
			rc = api_coder_embedded_query(
			    &coder, query->queries, query->text, &err);
	}
	api_coder_free(&coder);
	if (rc == 0)
		find_rows(q);
	else
		fail(q, i, &err);
}

/* query->filter := its own, or that of a search before it in the group that says the
 * same. */
static int
read_filter(struct queries *q, struct api_query *query, struct error *err)
{
	struct api_filter *filter = &q->filters[q->n_filters];
	struct json json;

	query->filter = NULL;
	if (!json_member(&query->root, "filter", &json) || json.type == JSON_NULL)
		return 0;
	for (size_t i = 0; i < q->n_filters && !query->filter; i++)
		if (q->filters[i].json.len == json.len &&
		    memcmp(q->filters[i].json.text, json.text, json.len) == 0)
			query->filter = &q->filters[i];
	if (query->filter)
		return 0;
	if (api_filter_read(filter, &query->root, q->request, q->collection, err))
		return -1;
	q->n_filters++;
	query->filter = filter;
	return 0;
}

/* Make the queries of the group; *i: the one that cannot be. */
static int
prepare_all(struct queries *q, size_t *i, struct db_txn *txn, struct error *err)
{
	struct api_coder coder;
	int rc =
	    api_coder_init(&coder, q->request->context, q->collection, &q->texts, err);

	for (*i = q->first; rc >= 0 && *i < q->end; *i += rc >= 0) {
		rc = api_wanted(q->request, err);
		if (rc == 0)
			rc = read_filter(q, &q->all[*i], err);
		if (rc == 0)
			rc = api_query_prepare(&q->all[*i], &coder, txn, err);
	}
	api_coder_free(&coder);
	return rc < 0 ? -1 : 0;
}

/* Look the collection up and make the queries for it. */
static int
prepare(struct queries *q, size_t *i, struct error *err)
{
	struct db_txn *txn = NULL;
	bool names_points = false;

	*i = q->first;
	for (size_t k = q->first; k < q->end; k++)
		names_points |= api_query_names_points(&q->all[k]);
	q->collection = names_points ? api_collection_now(q->request, &txn, err)
				     : api_collection(q->request, err);
	int rc = q->collection ? prepare_all(q, i, txn, err) : -1;
	db_end(txn);
	return rc;
}

/* The searches from number q->at on, as many as a group may have.  It begins here again
 * for a collection whose versions of codes changed before the scan: what was made for
 * those before does not fit. */
static void
start_group(struct queries *q)
{
	struct error err;
	size_t i = q->at;

	end_group(q);
	q->first = q->at;
	q->end = q->n - q->first < group_max(q) ? q->n : q->first + group_max(q);
	api_texts_init(&q->texts, q->request->context);
	q->start_ns = clock_ns();
	int rc = prepare(q, &i, &err);
	if (rc == 0 && q->texts.n > 0)
		rc = api_texts_embed(&q->texts, q->request, on_embedded, &err);
	else if (rc == 0)
		find_rows(q);
	if (rc < 0)
		fail(q, i, &err);
}

/* ---- reading ---- */

static int
room(struct queries *q, size_t n, struct error *err)
{
	q->n = n;
	q->all = array_new(n, sizeof *q->all);
	q->filters = array_new(group_max(q), sizeof *q->filters);
	return q->all && q->filters
		   ? 0
		   : error_set(err, ERR_MEMORY, "no memory for %zu searches", n);
}

/* {"searches": [...]} */
static int
read_batch(struct queries *q, const struct json *root, enum api_query_form form,
    struct error *err)
{
	const struct config *config = ((struct api *)q->request->context)->config;
	struct json searches;
	int has = api_member(&searches, root, "searches", JSON_ARRAY, err);

	if (has == 0)
		error_set(err, ERR_INPUT, "expected 'searches': an array of searches");
	if (has <= 0)
		return -1;
	size_t n = json_count(&searches);
	if (n > config->max_searches)
		return error_set(err, ERR_TOO_LARGE,
		    "searches: expected at most %llu (max_searches), not %zu",
		    (unsigned long long)config->max_searches, n);
	if (room(q, n, err))
		return -1;
	struct json_walk walk = json_walk(&searches);
	for (size_t i = 0; json_next(&walk); i++) {
		int rc =
		    walk.value.type == JSON_OBJECT
			? api_query_read(&q->all[i], &walk.value, form, config, err)
			: error_set(err, ERR_INPUT, "expected an object, not %s",
			      json_type_name(walk.value.type));
		if (rc)
			return error_prefix(err, "searches[%zu]", i);
	}
	return 0;
}

static int
read_request(struct queries *q, enum api_query_form form, struct error *err)
{
	const struct api *api = q->request->context;
	struct json root;

	if (api_body(&root, q->request, err))
		return -1;
	if (q->is_batch)
		return read_batch(q, &root, form, err);
	return room(q, 1, err) ||
		       api_query_read(&q->all[0], &root, form, api->config, err)
		   ? -1
		   : 0;
}

static void
begin(struct http_request *request, enum api_query_form form, bool is_batch)
{
	struct queries *q = array_new(1, sizeof *q);
	struct error err;

	if (!q) {
		error_set(&err, ERR_MEMORY, "no memory for a search");
		http_fail(request, &err);
		return;
	}
	q->request = request;
	q->is_batch = is_batch;
	request->state = q;
	request->state_free = queries_free;
	if (read_request(q, form, &err)) {
		http_fail(request, &err);
		return;
	}
	api_begin(&q->out);
	if (is_batch)
		text_string(&q->out, "[");
	start_group(q);
}

void
api_query(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_NEW, false);
}

void
api_query_batch(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_NEW, true);
}

void
api_points_search(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_OLD, false);
}

void
api_points_search_batch(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_OLD, true);
}

void
api_points_recommend(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_RECOMMEND, false);
}

void
api_points_recommend_batch(struct http_request *request, unsigned worker)
{
	(void)worker;
	begin(request, API_QUERY_RECOMMEND, true);
}
