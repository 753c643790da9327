#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/api.h"
#include "server/api_select.h"
#include "server/api_vector.h"

/*
 * POST /collections/{c}/points/query, in steps:
 *     worker: read the request, make the query  (-> embedding.h -> worker, of a text)
 *     -> scan thread: search in a batch
 *     -> worker: read ids and payloads of the hits, answer
 */
#define LIMIT_DEFAULT 10

/* A query under way. */
struct query {
	struct distance_query query; /* 64-byte aligned: first */
	struct http_request *request;
	struct collection *collection;
	struct batch_search search;
	struct hit *hits;
	struct api_select select;
	struct json what; /* the vector, text, code or id */
	struct point_id id;
	bool by_id; /* the point itself is not among its hits */
	bool has_threshold;
	float threshold;
	size_t limit;
	size_t offset;
	struct api_texts texts; /* the query's, if it is one */
	uint64_t start_ns;      /* of embed_s */
	double embed_s;
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
read_using(const struct query *query, const struct json *root, struct error *err)
{
	char name[COLLECTION_NAME_MAX + 1];
	const char *want = collection_settings(query->collection)->vector;
	struct json value;
	int has = api_member(&value, root, "using", JSON_STRING, err);
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

/* *query := the stored point as query. */
static int
query_by_id(struct query *query, struct api_coder *coder, struct error *err)
{
	const struct db_codes *codes = collection_codes(query->collection);
	struct db_code code = {.wire = NULL};
	uint32_t slot = 0;
	bool found = false;

	if (point_id_parse(&query->id, &query->what, err))
		return error_prefix(err, "query");
	query->by_id = true;
	struct db_txn *txn = db_begin_read(coder->api->db, err);
	if (!txn)
		return -1;
	int rc = db_slot(txn, codes->collection, &query->id, &found, &slot, err);
	if (rc == 0 && found)
		rc = db_code(txn, codes, slot, &found, &code, err);
	if (rc == 0 && !found)
		rc = error_set(err, ERR_NOT_FOUND, "query: no point with id %.*s",
		    query->what.len < 80 ? (int)query->what.len : 80, query->what.text);
	struct api_row row = {code.wire, code.factor, code.norm2};
	if (rc == 0)
		rc = api_coder_stored(coder, &query->query, &row, err);
	db_end(txn);
	return rc;
}

/* query->query := what is looked for; 1 if its text is to be embedded first. */
static int
make_query(struct query *query, struct api *api, struct error *err)
{
	struct api_coder coder;
	bool is_id = query->what.type == JSON_NUMBER || query->what.type == JSON_STRING;

	query->start_ns = clock_ns();
	int rc = api_coder_init(&coder, api, query->collection, &query->texts, err);
	if (rc == 0)
		rc = is_id ? query_by_id(query, &coder, err)
			   : api_coder_query(&coder, &query->query, &query->what, err);
	api_coder_free(&coder);
	return rc;
}

/* ---- answering ---- */

/* Euclid's scores are distances: there less is better. */
static bool
passes(const struct query *query, float score)
{
	if (!query->has_threshold)
		return true;
	bool is_distance = query->query.terms.metric == DISTANCE_EUCLID &&
			   query->query.kind != DISTANCE_HAMMING;
	return is_distance ? score <= query->threshold : score >= query->threshold;
}

/* *record := the hit's point: 1; 0: it is gone, or is the one that was asked about;
 * -1: it cannot be read. */
static int
find_record(struct db_record *record, const struct query *query, struct db_txn *txn,
    const struct hit *hit, struct error *err)
{
	uint32_t id = collection_codes(query->collection)->collection;
	bool found = false;

	if (db_record(txn, id, hit->slot, &found, record, err) != 0)
		return -1;
	if (query->by_id && found && point_id_equal(&record->id, &query->id))
		return 0;
	return found ? 1 : 0;
}

static int
add_hit(struct text *out, const struct query *query, struct api_coder *coder,
    const struct db_record *record, const struct hit *hit, struct error *err)
{
	struct api_row row = {.wire = coder->wire};
	char printed[POINT_ID_PRINT_MAX];

	point_id_print(printed, &record->id);
	text_printf(out, "{\"id\":%s,\"version\":%llu,\"score\":", printed,
	    (unsigned long long)record->operation);
	text_float(out, distance_report(&query->query, hit->score));
	if (api_select_payload(out, &query->select, record, err) != 0)
		return -1;
	if (query->select.vector && store_get(coder->wire, &row.factor, &row.norm2,
					query->search.snapshot, hit->slot))
		api_select_vector(out, &query->select, coder, &row);
	text_string(out, "}");
	return 0;
}

static int
add_hits(struct text *out, const struct query *query, struct api_coder *coder,
    struct db_txn *txn, struct error *err)
{
	size_t counted = 0, end = query->offset + query->limit;

	text_string(out, "{\"points\":[");
	for (size_t i = 0; i < query->search.flat.n && counted < end; i++) {
		const struct hit *hit = &query->hits[i];
		struct db_record record;
		if (!passes(query, distance_report(&query->query, hit->score)))
			break;
		int found = find_record(&record, query, txn, hit, err);
		if (found < 0)
			return -1;
		if (!found || counted++ < query->offset)
			continue;
		if (counted > query->offset + 1)
			text_string(out, ",");
		if (add_hit(out, query, coder, &record, hit, err) != 0 ||
		    api_fits(out, query->request->context, API_SELECT_LESS, err) != 0)
			return -1;
	}
	text_string(out, "]}");
	return 0;
}

/* Append the answer's hits; a coder is needed for vectors alone. */
static int
add_result(
    struct text *out, const struct query *query, struct api *api, struct error *err)
{
	struct api_coder coder = {.api = NULL};
	struct db_txn *txn = NULL;
	int rc = 0;

	if (query->select.vector)
		rc = api_coder_init(&coder, api, query->collection, NULL, err);
	if (rc == 0) {
		txn = db_begin_read(api->db, err);
		rc = txn ? add_hits(out, query, &coder, txn, err) : -1;
	}
	db_end(txn);
	api_coder_free(&coder);
	return rc;
}

static void
answer(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct query *query = request->state;
	struct api *api = request->context;
	struct text out = {0};
	struct error err = query->search.err;
	uint64_t start_ns = clock_ns();
	(void)worker;

	api_begin(&out);
	if (err.code != ERR_NONE || add_result(&out, query, api, &err)) {
		text_free(&out);
		http_fail(request, &err);
		return;
	}
	double fetch_s = clock_since(start_ns);
	metrics_query(api->metrics, METRICS_EMBED, query->embed_s);
	metrics_query(api->metrics, METRICS_WAIT, query->search.wait_s);
	metrics_query(api->metrics, METRICS_SCAN, query->search.scan_s);
	metrics_query(api->metrics, METRICS_FETCH, fetch_s);
	struct text extra = {0};
	api_texts_notes(&extra, &query->texts);
	text_printf(&extra,
	    ",\"timing\":{\"embed_s\":%.9f,\"wait_s\":%.9f,\"scan_s\":%.9f,\"fetch_s\":"
	    "%.9f}",
	    query->embed_s, query->search.wait_s, query->search.scan_s, fetch_s);
	api_end(request, &out, extra.failed ? NULL : extra.bytes);
	text_free(&extra);
}

static void
on_searched(struct batch_search *search)
{
	struct query *query = search->arg;
	http_continue(query->request, answer);
}

/* Hand it to the scan thread. */
static void
search(struct query *query, struct api *api)
{
	struct error err;

	query->embed_s = clock_since(query->start_ns);
	if (api_search(api, &query->search, &err))
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

	int rc = api_coder_init(
	    &coder, request->context, query->collection, &query->texts, &err);
	if (rc == 0)
		rc = api_coder_embedded_query(&coder, &query->query, 0, &err);
	api_coder_free(&coder);
	if (rc == 0)
		search(query, request->context);
	else
		http_fail(request, &err);
}

void
api_query(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct json root, value;
	struct error err;
	(void)worker;

	struct query *query = array_new_aligned(1, sizeof *query);
	if (!query) {
		error_set(&err, ERR_MEMORY, "no memory for a query");
		goto err;
	}
	query->request = request;
	request->state = query;
	request->state_free = query_free;
	api_texts_init(&query->texts, api);
	if (api_body(&root, request, &err) || check_members(&root, &err) ||
	    read_limits(query, &root, api->config, &err) ||
	    api_select_read(&query->select, &root, &err))
		goto err;
	if (!json_member(&root, "query", &value) || value.type == JSON_NULL) {
		error_set(&err, ERR_UNSUPPORTED,
		    "points without a 'query' (scroll) are not served; expected "
		    "'query': a vector, {\"text\": ...}, a code, or a point id");
		goto err;
	}
	query->collection = api_collection(request, &err);
	if (!query->collection ||
	    api_select_check(&query->select, query->collection, &err) ||
	    read_what(query, &value, &err) || read_using(query, &root, &err))
		goto err;
	int is_text = make_query(query, api, &err);
	if (is_text < 0)
		goto err;
	size_t k = query->limit + query->offset + (query->by_id ? 1 : 0);
	query->hits = array_new(k, sizeof *query->hits);
	if (!query->hits) {
		error_set(&err, ERR_MEMORY, "no memory for %zu hits; lower limit", k);
		goto err;
	}
	query->search =
	    (struct batch_search){.store = collection_store(query->collection),
		.flat = {.query = &query->query, .k = k, .hits = query->hits},
		.on_done = on_searched,
		.arg = query};
	if (!is_text)
		search(query, api);
	else if (api_texts_embed(&query->texts, request, on_embedded, &err))
		http_fail(request, &err);
	return;
err:
	http_fail(request, &err);
}
