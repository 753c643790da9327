#include "server/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/embedding.h"

#define ANY (HTTP_GET | HTTP_POST | HTTP_PUT | HTTP_DELETE | HTTP_PATCH)
#define C "/collections/{c}"

/* clang-format off */
const struct http_route api_routes[] = {
    {"/", api_root, "/", HTTP_GET, true, true},
    {"/ui", api_page, "/ui", HTTP_GET, true, true},
    {"/openapi.yaml", api_contract, "/openapi.yaml", HTTP_GET, true, true},
    {"/healthz", api_healthz, "/healthz", HTTP_GET, true, true},
    {"/livez", api_healthz, "/livez", HTTP_GET, true, true},
    {"/readyz", api_readyz, "/readyz", HTTP_GET, true, true},
    {"/metrics", api_metrics, "/metrics", HTTP_GET, false, false},
    {"/collections", api_collections_list, "GET /collections", HTTP_GET, false, false},
    {C, api_collections_get, "GET " C, HTTP_GET, false, false},
    {C, api_collections_create, "PUT " C, HTTP_PUT, false, false},
    {C, api_collections_update, "PATCH " C, HTTP_PATCH, false, false},
    {C, api_collections_drop, "DELETE " C, HTTP_DELETE, false, false},
    {C "/exists", api_collections_exists, C "/exists", HTTP_GET, false, false},
    {C "/binarizer", api_collections_binarizer, C "/binarizer", HTTP_GET, false, false},
    {C "/points", api_points_upsert, "PUT " C "/points", HTTP_PUT, false, false},
    {C "/points", api_points_get, "POST " C "/points", HTTP_POST, false, false},
    {C "/points/scroll", api_points_scroll, C "/points/scroll", HTTP_POST, false, false},
    {C "/points/query", api_query, C "/points/query", HTTP_POST, false, false},
    {C "/points/query/batch", api_query_batch, C "/points/query/batch", HTTP_POST, false, false},
    {C "/points/search", api_points_search, C "/points/search", HTTP_POST, false, false},
    {C "/points/search/batch", api_points_search_batch, C "/points/search/batch", HTTP_POST, false, false},
    {C "/points/recommend", api_points_recommend, C "/points/recommend", HTTP_POST, false, false},
    {C "/points/recommend/batch", api_points_recommend_batch, C "/points/recommend/batch", HTTP_POST, false, false},
    {C "/recall", api_recall, C "/recall", HTTP_POST, false, false},
    {C "/points/delete", api_points_delete, C "/points/delete", HTTP_POST, false, false},
    {C "/index", api_index_create, "PUT " C "/index", HTTP_PUT, false, false},
    {C "/index/{field}", api_index_delete, "DELETE " C "/index/{field}", HTTP_DELETE, false, false},
    {C "/points/payload", api_payload_set, "POST " C "/points/payload", HTTP_POST, false, false},
    {C "/points/payload", api_payload_overwrite, "PUT " C "/points/payload", HTTP_PUT, false, false},
    {C "/points/payload/delete", api_payload_delete, C "/points/payload/delete", HTTP_POST, false, false},
    {C "/points/batch", api_batch_points, C "/points/batch", HTTP_POST, false, false},
    {C "/points/payload/clear", api_payload_clear, C "/points/payload/clear", HTTP_POST, false, false},
    {C "/points/count", api_points_count, C "/points/count", HTTP_POST, false, false},
    {"/v1/embeddings", api_embeddings, "/v1/embeddings", HTTP_POST, false, false},
    {"/v1/models", api_models, "/v1/models", HTTP_GET, false, false},
    {"/v1/models/{model}", api_model, "/v1/models/{model}", HTTP_GET, false, false},
    /* Known, and not served. */
    {C "/aliases", NULL, "aliases", ANY, false, false},
    {C "/snapshots", NULL, "snapshots", ANY, false, false},
    {C "/snapshots/{s}", NULL, "snapshots", ANY, false, false},
    {C "/cluster", NULL, "cluster", ANY, false, false},
    {C "/optimizations", NULL, "optimizations", ANY, false, false},
    {C "/shards", NULL, "shards", ANY, false, false},
    {C "/shards/{s}", NULL, "shards", ANY, false, false},
    {C "/facet", NULL, "facets", ANY, false, false},
    {C "/points/search/{b}", NULL, "search groups: group the hits", ANY, false, false},
    {C "/points/search/matrix/{b}", NULL, "search matrix", ANY, false, false},
    {C "/points/recommend/{b}", NULL, "recommend groups: group the hits", ANY, false, false},
    {C "/points/discover", NULL, "discover", ANY, false, false},
    {C "/points/discover/{b}", NULL, "discover", ANY, false, false},
    {C "/points/query/{b}", NULL, "query groups: group the hits", ANY, false, false},
    {C "/points/vectors", NULL, "vector updates: upsert the point", ANY, false, false},
    {C "/points/vectors/{d}", NULL, "vector updates: upsert the point", ANY, false, false},
    {C "/points/import", NULL, "bulk import: PUT points in batches", ANY, false, false},
    {C "/points/{id}", NULL, "one point: POST points with ids", HTTP_GET, false, false},
    {"/collections/aliases", NULL, "aliases", HTTP_POST, false, false},
    {"/aliases", NULL, "aliases", ANY, false, false},
    {"/snapshots", NULL, "snapshots", ANY, false, false},
    {"/cluster", NULL, "cluster", ANY, false, false},
    {"/telemetry", NULL, "telemetry: see /metrics", ANY, false, false},
    {"/issues", NULL, "issues", ANY, false, false},
    {"/embed", NULL, "text-embeddings-inference: use /v1/embeddings", ANY, false, false},
    {"/v1/chat/completions", NULL, "chat", ANY, false, false},
    {"/v1/completions", NULL, "completions", ANY, false, false},
};
/* clang-format on */
#define N_ROUTES (sizeof api_routes / sizeof *api_routes)
const size_t api_n_routes = N_ROUTES;
const char *api_route_names[N_ROUTES];

void
api_name_routes(void)
{
	for (size_t i = 0; i < N_ROUTES; i++)
		api_route_names[i] = api_routes[i].name;
}

int
api_init(struct api *api, struct error *err)
{
	size_t n = models_count(api->models);

	pthread_mutex_init(&api->lock, NULL);
	atomic_init(&api->state, API_LOADING);
	api->embeddings = array_new(n, sizeof(struct embedding *));
	if (!api->embeddings)
		return error_set(err, ERR_MEMORY, "no memory for %zu models", n);
	for (size_t i = 0; i < n; i++) {
		const struct model *model = models_at(api->models, i);
		if (!model->encoder)
			continue;
		api->embeddings[i] =
		    embedding_new(model->encoder, api->pool, api->metrics, err);
		if (!api->embeddings[i])
			return -1; /* api_free frees those that are there */
	}
	return 0;
}

void
api_free(struct api *api)
{
	for (size_t i = 0; api->embeddings && i < models_count(api->models); i++)
		embedding_free(api->embeddings[i]);
	free(api->embeddings);
	api->embeddings = NULL;
	pthread_mutex_destroy(&api->lock);
}

void
api_stop(struct api *api)
{
	pthread_mutex_lock(&api->lock);
	struct writer *writer = api->writer;
	struct batch *batch = api->batch;
	api->writer = NULL;
	api->batch = NULL;
	pthread_mutex_unlock(&api->lock);
	batch_stop(batch);
	writer_stop(writer);
}

int
api_write(struct api *api, struct writer_operation *operation, struct error *err)
{
	pthread_mutex_lock(&api->lock);
	int rc = api->writer
		     ? writer_submit(api->writer, operation, err)
		     : error_set(err, ERR_UNAVAILABLE, "the server is stopping");
	pthread_mutex_unlock(&api->lock);
	return rc;
}

int
api_search(struct api *api, struct batch_search *search, struct error *err)
{
	pthread_mutex_lock(&api->lock);
	int rc = api->batch ? batch_submit(api->batch, search, err)
			    : error_set(err, ERR_UNAVAILABLE, "the server is stopping");
	pthread_mutex_unlock(&api->lock);
	return rc;
}

const char *
api_unavailable(void *context)
{
	struct api *api = context;
	if (atomic_load(&api->state) == API_READY)
		return NULL;
	return "the collections are still being read; try again soon";
}

int
api_body(struct json *root, const struct http_request *request, struct error *err)
{
	if (request->body_n == 0)
		return error_set(
		    err, ERR_INPUT, "expected a JSON object as body, not nothing");
	if (json_check(root, request->body, request->body_n, err))
		return error_prefix(err, "JSON");
	if (root->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "expected a JSON object as body, not %s",
		    json_type_name(root->type));
	return 0;
}

int
api_member(struct json *value, const struct json *object, const char *key,
    enum json_type type, struct error *err)
{
	if (!json_member(object, key, value) || value->type == JSON_NULL)
		return 0;
	if (value->type != type)
		return error_set(err, ERR_INPUT, "%s: expected %s, not %s", key,
		    json_type_name(type), json_type_name(value->type));
	return 1;
}

static bool
is_among(const struct json *key, const char *const names[])
{
	while (*names && !json_equals(key, *names))
		names++;
	return *names != NULL;
}

static int
unknown_member(const struct json *key, const char *const names[], struct error *err)
{
	struct text expected = {0};

	for (; *names; names++)
		text_printf(&expected, "%s%s", expected.n > 0 ? ", " : "", *names);
	error_set(err, ERR_INPUT, "expected %s; not %.*s",
	    expected.failed ? "another name" : expected.bytes,
	    key->len < 60 ? (int)key->len : 60, key->text);
	text_free(&expected);
	return -1;
}

int
api_members(const struct json *object, const char *const names[], struct error *err)
{
	static const char *const not_served[] = {
	    "prefetch", "lookup_from", "shard_key", "group_by", NULL};
	struct json_walk walk = json_walk(object);

	while (json_next(&walk)) {
		const struct json *key = &walk.key, *value = &walk.value;
		if (value->type == JSON_NULL ||
		    (value->type == JSON_ARRAY && json_count(value) == 0) ||
		    is_among(key, names))
			continue;
		if (is_among(key, not_served))
			return error_set(err, ERR_UNSUPPORTED, "%.*s is not served",
			    (int)key->len, key->text);
		return unknown_member(key, names, err);
	}
	return 0;
}

int
api_string(char *out, size_t cap, const struct json *string, const char *what,
    struct error *err)
{
	if (string->type != JSON_STRING)
		return error_set(err, ERR_INPUT, "%s: expected a string, not %s", what,
		    json_type_name(string->type));
	/* An escape of six bytes stands for one byte at least. */
	if (string->len > 6 * cap)
		return error_set(
		    err, ERR_INPUT, "%s: expected at most %zu bytes", what, cap - 1);
	char *whole = array_new(string->len + 1, 1);
	if (!whole)
		return error_set(err, ERR_MEMORY, "no memory for %s", what);
	size_t n = json_string(whole, string->len + 1, string);
	int rc = 0;
	if (n >= cap)
		rc = error_set(err, ERR_INPUT,
		    "%s: expected at most %zu bytes, not %zu", what, cap - 1, n);
	else
		memcpy(out, whole, n + 1);
	free(whole);
	return rc;
}

int
api_count(uint64_t *out, const struct json *number, const char *what, uint64_t min,
    uint64_t max, struct error *err)
{
	uint64_t n;
	if (number->type != JSON_NUMBER || !json_u64(&n, number) || n < min || n > max)
		return error_set(err, ERR_INPUT,
		    "%s: expected a whole number from %llu to %llu, not %.*s", what,
		    (unsigned long long)min, (unsigned long long)max,
		    number->len < 40 ? (int)number->len : 40, number->text);
	*out = n;
	return 0;
}

int
api_wanted(const struct http_request *request, struct error *err)
{
	if (!atomic_load(&request->given_up))
		return 0;
	return error_set(err, ERR_UNAVAILABLE,
	    "given up: the client has closed its side, or the server stops");
}

int
api_fits(
    const struct text *out, const struct api *api, const char *less, struct error *err)
{
	uint64_t max = api->config->max_answer_bytes;
	if (out->n <= max)
		return 0;
	return error_set(err, ERR_INPUT,
	    "the answer is over %llu bytes (max_answer_bytes); ask for %s",
	    (unsigned long long)max, less);
}

void
api_begin(struct text *out)
{
	text_string(out, "{\"result\":");
}

void
api_end(struct http_request *request, struct text *out, const char *extra)
{
	text_printf(
	    out, ",\"status\":\"ok\",\"time\":%.9f", clock_since(request->start_ns));
	if (extra)
		text_string(out, extra);
	text_string(out, "}");
	http_reply(request, 200, "application/json", out);
}

struct collection *
api_collection(struct http_request *request, struct error *err)
{
	struct api *api = request->context;
	return registry_find(api->registry, request->args[0], err);
}

/* A collection changes after the transaction that changed it: if it is the same before
 * and after ours began, none came between. */
struct collection *
api_collection_now(struct http_request *request, struct db_txn **txn, struct error *err)
{
	struct api *api = request->context;
	struct error none;

	for (;;) {
		struct collection *collection = api_collection(request, err);
		*txn = collection ? db_begin_read(api->db, err) : NULL;
		if (!*txn) {
			collection_release(collection);
			return NULL;
		}
		struct collection *after = api_collection(request, &none);
		collection_release(after);
		if (after == collection)
			return collection;
		collection_release(collection);
		db_end(*txn);
	}
}
