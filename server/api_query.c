#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/api.h"
#include "server/api_group.h"
#include "server/api_select.h"
#include "server/api_vector.h"

/*
 * POST /collections/{c}/points/query, in steps:
 *     worker: read the request, make the query  (-> embedding.h -> worker, of a text)
 *     -> scan thread: search in a batch
 *     -> worker: read ids and payloads of the hits, answer; or search again for more
 *        rows, where those of chunked points left too few different points
 */
#define LIMIT_DEFAULT 10

/* A query under way. */
struct query {
	struct http_request *request;
	struct collection *collection;
	struct distance_query *queries; /* one for each version of its codes */
	struct batch_search search;
	struct hit *hits;
	struct api_select select;
	struct json root; /* the body */
	struct json what; /* the vector, text, code or id */
	struct point_id id;
	bool by_id; /* the point itself, in all its rows, is not among its hits */
	bool has_threshold;
	float threshold;
	size_t limit;
	size_t offset;
	uint32_t planes;        /* of the codes that are read; 0 = all */
	struct api_texts texts; /* the query's, if it is one */
	uint64_t start_ns;      /* of embed_s */
	double embed_s;
	double wait_s; /* of all its searches */
	double scan_s;
};

static void
query_free(void *state)
{
	struct query *query = state;
	if (!query)
		return;
	store_release(query->search.snapshot);
	collection_release(query->collection);
	api_texts_free(&query->texts);
	free(query->queries);
	free(query->hits);
	free(query);
}

/* ---- reading ---- */

static int
read_limits(struct query *query, const struct json *root, const struct config *config,
    struct error *err)
{
	struct json value;
	uint64_t limit = LIMIT_DEFAULT, offset = 0, max = config->max_limit;

	if (json_member(root, "limit", &value) && value.type != JSON_NULL &&
	    api_count(&limit, &value, "limit (max_limit)", 1, max, err))
		return -1;
	if (json_member(root, "offset", &value) && value.type != JSON_NULL &&
	    api_count(&offset, &value, "offset (max_limit)", 0, max, err))
		return -1;
	if (limit + offset > max)
		return error_set(err, ERR_INPUT,
		    "limit: expected limit + offset of at most %llu (max_limit), not "
		    "%llu + %llu",
		    (unsigned long long)max, (unsigned long long)limit,
		    (unsigned long long)offset);
	query->limit = limit;
	query->offset = offset;
	if (json_member(root, "score_threshold", &value) && value.type != JSON_NULL) {
		if (value.type != JSON_NUMBER)
			return error_set(err, ERR_INPUT,
			    "score_threshold: expected a number, not %s",
			    json_type_name(value.type));
		query->has_threshold = true;
		query->threshold = (float)json_double(&value);
	}
	return 0;
}

/* Take {"nearest": X} apart; other kinds of query are not served. */
static int
read_what(struct query *query, const struct json *value, struct error *err)
{
	static const char *const kinds[] = {"recommend", "discover", "context",
	    "fusion", "order_by", "sample", "formula", "rrf", "mmr",
	    "relevance_feedback"};
	struct json inner;

	query->what = *value;
	if (value->type != JSON_OBJECT)
		return 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (json_member(value, kinds[i], &inner) && inner.type != JSON_NULL)
			return error_set(err, ERR_UNSUPPORTED,
			    "query: '%s' is not served; use {\"nearest\": a vector, a "
			    "text, a code or a point id}",
			    kinds[i]);
	}
	if (json_member(value, "nearest", &inner))
		query->what = inner;
	return 0;
}

static int
check_members(const struct json *root, struct error *err)
{
	static const char *const known[] = {"query", "limit", "offset",
	    "score_threshold", "params", "with_payload", "with_vector", "filter",
	    "using"};
	static const char *const not_served[] = {
	    "prefetch", "lookup_from", "shard_key", "group_by"};
	struct json_walk walk = json_walk(root);

	while (json_next(&walk)) {
		bool fine =
		    walk.value.type == JSON_NULL ||
		    (walk.value.type == JSON_ARRAY && json_count(&walk.value) == 0);
		for (size_t i = 0; i < sizeof known / sizeof *known && !fine; i++)
			fine = json_equals(&walk.key, known[i]);
		if (fine)
			continue;
		for (size_t i = 0; i < sizeof not_served / sizeof *not_served; i++) {
			if (json_equals(&walk.key, not_served[i]))
				return error_set(err, ERR_UNSUPPORTED,
				    "%s is not served", not_served[i]);
		}
		return error_set(err, ERR_INPUT,
		    "expected query, limit, offset, with_payload, with_vector, "
		    "score_threshold, params, using; not %.*s",
		    walk.key.len < 60 ? (int)walk.key.len : 60, walk.key.text);
	}
	return api_no_filter(root, err);
}

static int
read_using(const struct query *query, struct error *err)
{
	char name[COLLECTION_NAME_MAX + 1];
	const char *want = collection_settings(query->collection)->vector;
	struct json value;
	int has = api_member(&value, &query->root, "using", JSON_STRING, err);
	if (has <= 0)
		return has;
	if (api_string(name, sizeof name, &value, "using", err))
		return -1;
	if (strcmp(name, want) != 0)
		return error_set(err, ERR_INPUT,
		    "using: expected the collection's vector name '%.80s', not '%.80s'",
		    want, name);
	return 0;
}

/* "params": {"bits": b}; its other members steer what does not exist here. */
static int
read_params(struct query *query, struct error *err)
{
	uint32_t bits = collection_settings(query->collection)->shape.bits;
	struct json params, value;
	uint64_t planes;
	int has = api_member(&params, &query->root, "params", JSON_OBJECT, err);

	query->planes = 0;
	if (has <= 0)
		return has;
	if (!json_member(&params, "bits", &value) || value.type == JSON_NULL)
		return 0;
	if (api_count(
		&planes, &value, "params.bits (those of the collection)", 1, bits, err))
		return -1;
	query->planes = (uint32_t)planes;
	return 0;
}

/* query->queries := the stored point as query; the transaction is of the moment when
 * the collection was looked up. */
static int
query_by_id(
    struct query *query, struct api_coder *coder, struct db_txn *txn, struct error *err)
{
	uint32_t id = collection_codes(query->collection)->collection, slot = 0;
	struct db_code code = {.wire = NULL};
	struct api_row row = {.wire = NULL};
	bool found = false;

	if (point_id_parse(&query->id, &query->what, err))
		return error_prefix(err, "query");
	query->by_id = true;
	if (db_slot(txn, id, &query->id, &found, &slot, err) != 0 ||
	    (found && collection_code(txn, query->collection, slot, &row.version,
			  &found, &code, err) != 0))
		return -1;
	if (!found)
		return error_set(err, ERR_NOT_FOUND, "query: no point with id %.*s",
		    query->what.len < 80 ? (int)query->what.len : 80, query->what.text);
	row.wire = code.wire;
	row.factor = code.factor;
	row.norm2 = code.norm2;
	return api_coder_stored(coder, query->queries, &row, err);
}

static int
init_coder(struct api_coder *coder, struct query *query, struct error *err)
{
	int rc = api_coder_init(
	    coder, query->request->context, query->collection, &query->texts, err);

	coder->planes = query->planes;
	return rc;
}

/* query->queries := what is looked for; 1 if its text is to be embedded first.  Of an
 * id: txn is not NULL. */
static int
make_queries(struct query *query, struct db_txn *txn, struct error *err)
{
	struct api_coder coder;
	int rc = init_coder(&coder, query, err);

	free(query->queries);
	query->queries = array_new_aligned(
	    collection_n_versions(query->collection), sizeof *query->queries);
	if (rc == 0 && !query->queries)
		rc = error_set(err, ERR_MEMORY, "no memory for a query");
	if (rc == 0)
		rc = txn ? query_by_id(query, &coder, txn, err)
			 : api_coder_query(&coder, query->queries, &query->what, err);
	api_coder_free(&coder);
	return rc;
}

/* The query that scores are told by: they mean the same for every version's codes. */
static const struct distance_query *
newest_query(const struct query *query)
{
	return &query->queries[collection_n_versions(query->collection) - 1];
}

/* ---- answering ---- */

/* Euclid's scores are distances: there less is better. */
static bool
passes(const struct query *query, float score)
{
	if (!query->has_threshold)
		return true;
	const struct distance_query *q = newest_query(query);
	bool is_distance =
	    q->terms.metric == DISTANCE_EUCLID && q->kind != DISTANCE_HAMMING;
	return is_distance ? score <= query->threshold : score >= query->threshold;
}

/* A walk over the hits. */
struct walk {
	struct api_group group;
	struct api_coder coder; /* for vectors alone */
	bool again;             /* out: more rows may have more points */
};

/* The payload is with a point's first row. */
static int
add_payload(struct text *out, const struct query *query, struct walk *walk,
    const struct db_record *record, struct error *err)
{
	const struct api_group *group = &walk->group;
	struct db_record first = *record;
	bool found = true;

	if (record->is_passage && record->number > 0 && query->select.payload &&
	    db_record(
		group->txn, group->collection, record->first, &found, &first, err) != 0)
		return -1;
	if (!found)
		return error_set(
		    err, ERR_FORMAT, "a passage of a point without its first one");
	return api_select_payload(out, &query->select, &first, err);
}

static int
add_hit(struct text *out, const struct query *query, struct walk *walk,
    const struct db_record *record, const struct hit *hit, struct error *err)
{
	struct api_coder *coder = &walk->coder;
	struct api_row row = {.wire = coder->wire};
	char printed[POINT_ID_PRINT_MAX];

	point_id_print(printed, &record->id);
	text_printf(out, "{\"id\":%s,\"version\":%llu,\"score\":", printed,
	    (unsigned long long)record->operation);
	text_float(out, distance_report(newest_query(query), hit->score));
	api_group_passage(out, record);
	if (add_payload(out, query, walk, record, err) != 0)
		return -1;
	const struct store_snapshot *snapshot = query->search.snapshot;
	if (query->select.vector &&
	    store_get(coder->wire, &row.factor, &row.norm2, snapshot, hit->slot)) {
		row.version = (size_t)store_part(snapshot, hit->slot);
		api_select_vector(out, &query->select, coder, &row);
	}
	text_string(out, "}");
	return 0;
}

static int
add_hits(
    struct text *out, const struct query *query, struct walk *walk, struct error *err)
{
	size_t counted = 0, end = query->offset + query->limit,
	       n = query->search.flat.n;
	size_t i = 0;

	text_string(out, "{\"points\":[");
	/* When no point is left, other rows have nothing to add. */
	for (; i < n && counted < end && walk->group.n_left > 0; i++) {
		const struct hit *hit = &query->hits[i];
		struct db_record record;
		if (!passes(query, distance_report(newest_query(query), hit->score)))
			break;
		int found = api_group_next(&walk->group, &record, hit, err);
		if (found < 0)
			return -1;
		if (!found || counted++ < query->offset)
			continue;
		if (counted > query->offset + 1)
			text_string(out, ",");
		if (add_hit(out, query, walk, &record, hit, err) != 0 ||
		    api_fits(out, query->request->context, API_SELECT_LESS, err) != 0)
			return -1;
	}
	text_string(out, "]}");
	walk->again = i == n && counted < end && walk->group.n_left > 0;
	return 0;
}

/* Append the answer's hits; *again: there may be more with more rows. */
static int
add_result(struct text *out, bool *again, const struct query *query, struct api *api,
    struct error *err)
{
	struct db_txn *txn = db_begin_read(api->db, err);
	struct walk walk = {
	    .group = {.txn = txn,
		.collection = collection_codes(query->collection)->collection,
		.without = query->by_id ? &query->id : NULL}};
	int rc = txn ? api_group_init(&walk.group, query->offset + query->limit,
			   query->search.snapshot, err)
		     : -1;

	if (rc == 0 && query->select.vector)
		rc = api_coder_init(&walk.coder, api, query->collection, NULL, err);
	if (rc == 0)
		rc = add_hits(out, query, &walk, err);
	api_coder_free(&walk.coder);
	api_group_free(&walk.group);
	db_end(txn);
	*again = walk.again;
	return rc;
}

static void on_searched(struct batch_search *search);

/* Hand the query to the scan thread, which is to find k rows. */
static int
find_rows(struct query *query, size_t k, struct error *err)
{
	store_release(query->search.snapshot);
	query->search.snapshot = NULL;
	free(query->hits);
	query->hits = array_new(k, sizeof *query->hits);
	if (!query->hits)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu hits; lower limit", k);
	query->search =
	    (struct batch_search){.store = collection_store(query->collection),
		.flat = {.query = query->queries, .k = k, .hits = query->hits},
		.newest = collection_codes(query->collection)->version,
		.on_done = on_searched,
		.arg = query};
	return api_search(query->request->context, &query->search, err);
}

/* Append the hits, or search again: then *again, and the query is another thread's. */
static int
answer_or_search(struct text *out, bool *again, struct query *query, struct error *err)
{
	*again = false;
	*err = query->search.err;
	if (err->code != ERR_NONE ||
	    add_result(out, again, query, query->request->context, err) != 0)
		return -1;
	size_t k =
	    *again ? api_group_more(query->search.flat.n, query->search.snapshot) : 0;
	*again = k > 0;
	return k > 0 ? find_rows(query, k, err) : 0;
}

static void start(struct query *query);

static void
answer(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct query *query = request->state;
	struct api *api = request->context;
	struct text out = {0};
	uint64_t start_ns = clock_ns();
	struct error err;
	bool again;
	(void)worker;

	query->wait_s += query->search.wait_s;
	query->scan_s += query->search.scan_s;
	if (query->search.outdated) {
		start(query);
		return;
	}
	api_begin(&out);
	int rc = answer_or_search(&out, &again, query, &err);
	if (rc || again) {
		text_free(&out);
		if (rc)
			http_fail(request, &err);
		return;
	}
	double fetch_s = clock_since(start_ns);
	metrics_query(api->metrics, METRICS_EMBED, query->embed_s);
	metrics_query(api->metrics, METRICS_WAIT, query->wait_s);
	metrics_query(api->metrics, METRICS_SCAN, query->scan_s);
	metrics_query(api->metrics, METRICS_FETCH, fetch_s);
	struct text extra = {0};
	api_texts_notes(&extra, &query->texts);
	text_printf(&extra,
	    ",\"timing\":{\"embed_s\":%.9f,\"wait_s\":%.9f,\"scan_s\":%.9f,\"fetch_s\":"
	    "%.9f}",
	    query->embed_s, query->wait_s, query->scan_s, fetch_s);
	api_end(request, &out, extra.failed ? NULL : extra.bytes);
	text_free(&extra);
}

static void
on_searched(struct batch_search *search)
{
	struct query *query = search->arg;
	http_continue(query->request, answer);
}

static void
search(struct query *query)
{
	size_t n = query->limit + query->offset + (query->by_id ? 1 : 0);
	struct error err;

	query->embed_s = clock_since(query->start_ns);
	if (find_rows(query, api_group_rows(n, query->collection), &err))
		http_fail(query->request, &err);
}

static void
on_embedded(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct query *query = request->state;
	struct api_coder coder;
	struct error err;
	(void)worker;

	int rc = init_coder(&coder, query, &err);
	if (rc == 0)
		rc = api_coder_embedded_query(&coder, query->queries, 0, &err);
	api_coder_free(&coder);
	if (rc == 0)
		search(query);
	else
		http_fail(request, &err);
}

/* Look the collection up and make the queries for it: 1 if a text is to be embedded
 * first. */
static int
prepare(struct query *query, struct error *err)
{
	bool is_id = query->what.type == JSON_NUMBER || query->what.type == JSON_STRING;
	struct db_txn *txn = NULL;
	int rc = -1;

	collection_release(query->collection);
	query->collection = is_id ? api_collection_now(query->request, &txn, err)
				  : api_collection(query->request, err);
	if (query->collection &&
	    api_select_check(&query->select, query->collection, err) == 0 &&
	    read_using(query, err) == 0 && read_params(query, err) == 0)
		rc = make_queries(query, txn, err);
	db_end(txn);
	return rc;
}

/* From here on again for a collection whose versions of codes changed before the scan:
 * what was made for those before does not fit. */
static void
start(struct query *query)
{
	struct http_request *request = query->request;
	struct error err;

	api_texts_free(&query->texts);
	api_texts_init(&query->texts, request->context);
	query->start_ns = clock_ns();
	int rc = prepare(query, &err);
	if (rc == 1)
		rc = api_texts_embed(&query->texts, request, on_embedded, &err);
	else if (rc == 0)
		search(query);
	if (rc < 0)
		http_fail(request, &err);
}

void
api_query(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct json value;
	struct error err;
	(void)worker;

	struct query *query = array_new(1, sizeof *query);
	if (!query) {
		error_set(&err, ERR_MEMORY, "no memory for a query");
		goto err;
	}
	query->request = request;
	request->state = query;
	request->state_free = query_free;
	api_texts_init(&query->texts, api);
	if (api_body(&query->root, request, &err) ||
	    check_members(&query->root, &err) ||
	    read_limits(query, &query->root, api->config, &err) ||
	    api_select_read(&query->select, &query->root, &err))
		goto err;
	if (!json_member(&query->root, "query", &value) || value.type == JSON_NULL) {
		error_set(&err, ERR_UNSUPPORTED,
		    "points without a 'query' (scroll) are not served; expected "
		    "'query': a vector, {\"text\": ...}, a code, or a point id");
		goto err;
	}
	if (read_what(query, &value, &err))
		goto err;
	start(query);
	return;
err:
	http_fail(request, &err);
}
