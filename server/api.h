#ifndef SERVER_API_H
#define SERVER_API_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "server/batch.h"
#include "server/config.h"
#include "server/db.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/pool.h"
#include "server/registry.h"
#include "server/writer.h"

/*
 * What the routes do.
 *
 * A handler runs on a worker and never waits: it reads the request, hands a write to
 * the writer or a search to the scan thread, and its next step runs on a worker when
 * that is done (http_continue).  struct api is the server as handlers see it.
 *
 * Shapes are those of Qdrant's REST API and of OpenAI's embeddings; docs/openapi.yaml
 * is the contract, docs/design.md says what differs.
 */
#define API_VERSION "1.20.0" /* of Qdrant's API: what its clients compare */

struct embedding;

enum api_state { API_LOADING, API_READY, API_FAILED };

struct api {
	const struct config *config;
	struct db *db;
	struct registry *registry; /* after API_READY */
	struct models *models;
	struct pool *pool;
	struct metrics *metrics;
	struct http *http;
	const char *simd;              /* "avx512" */
	struct embedding **embeddings; /* [model]; NULL: not a text model */
	atomic_int state;              /* enum api_state */
	_Atomic uint64_t texts_bytes;  /* that texts being embedded hold */

	pthread_mutex_t lock; /* guards writer, batch: NULL while they take nothing */
	struct writer *writer;
	struct batch *batch;
};

/* A line for every text model; ERR_MEMORY. */
int api_init(struct api *api, struct error *err);
void api_free(struct api *api);

/* From here on nothing reaches writer and batch; what they have taken is finished and
 * its requests go on.  Called before pool_free. */
void api_stop(struct api *api);

/* Hand over to the writer or the scan thread.  ERR_UNAVAILABLE when stopping, else as
 * writer_submit and batch_submit. */
int api_write(struct api *api, struct writer_operation *operation, struct error *err);
int api_search(struct api *api, struct batch_search *search, struct error *err);

/* Every route with its handler; names[i] is the label of routes[i]. */
extern const struct http_route api_routes[];
extern const size_t api_n_routes;
extern const char *api_route_names[];
void api_name_routes(void);

/* Why no request can be served now; NULL if it can.  For struct http_options. */
const char *api_unavailable(void *api);

/* ---- for handlers ---- */

/* The body as a JSON object.  ERR_INPUT. */
int api_body(struct json *root, const struct http_request *request, struct error *err);

/* The member `key` if it is there and not null: 1, 0 = not there, -1 = of another
 * type (ERR_INPUT names both). */
int api_member(struct json *value, const struct json *object, const char *key,
    enum json_type type, struct error *err);

/* 0 if every member of the object is among `names` (NULL behind the last), or says
 * nothing: null, [].  ERR_UNSUPPORTED for what Qdrant has there; ERR_INPUT lists the
 * names: a word that is misspelt must not be a word that is missed. */
int api_members(
    const struct json *object, const char *const names[], struct error *err);

/* out (cap) := a string of at most cap - 1 bytes.  ERR_INPUT names `what`. */
int api_string(char *out, size_t cap, const struct json *string, const char *what,
    struct error *err);

/* *out := a whole number in min .. max.  ERR_INPUT. */
int api_count(uint64_t *out, const struct json *number, const char *what, uint64_t min,
    uint64_t max, struct error *err);

/* 0 while the answer is within max_answer_bytes; else ERR_INPUT, which says to ask for
 * `less` ("fewer points"). */
int api_fits(
    const struct text *out, const struct api *api, const char *less, struct error *err);

/* Start and send an answer of the form {"result": ..., "status": "ok", "time": s}.
 * `extra` is more members (",\"timing\":{...}") or NULL. */
void api_begin(struct text *out);
void api_end(struct http_request *request, struct text *out, const char *extra);

/* The collection that the path names; NULL: ERR_NOT_FOUND. */
struct collection *api_collection(struct http_request *request, struct error *err);

/* The same with *txn := a transaction of that moment, every code in which is of a
 * version that the collection has.  ERR_NOT_FOUND, or as db_begin_read; *txn is NULL
 * then. */
struct collection *api_collection_now(
    struct http_request *request, struct db_txn **txn, struct error *err);

/* 0 while somebody waits for the answer; else ERR_UNAVAILABLE: what is long to do asks
 * now and then. */
int api_wanted(const struct http_request *request, struct error *err);

/* What is long to do gives its worker to others every so often. */
#define API_STEP_S 0.01

/* *settings := what the body of a creation says, without the name; defaults stay 0
 * and "".  After success free its mean.  ERR_INPUT, ERR_UNSUPPORTED, ERR_MEMORY. */
int api_settings(
    struct collection_settings *settings, const struct json *root, struct error *err);
void api_settings_free(struct collection_settings *settings);

/* *settings := what the body of a change says of a collection that has the settings
 * `now`, for collection_next, or without a binarizer if it only says whether the
 * collection is to be progressive; *progressive := whether it says that.  ERR_INPUT,
 * ERR_UNSUPPORTED, ERR_MEMORY. */
int api_settings_change(struct collection_settings *settings, bool *progressive,
    const struct collection_settings *now, const struct json *root, struct error *err);

/* Append the payload indexes of a collection, as an object.  Errors are those of db.h.
 */
int api_index_schema(struct text *out, struct api *api,
    const struct collection *collection, struct error *err);

http_handler api_root, api_page, api_contract, api_healthz, api_readyz, api_metrics;
http_handler api_collections_list, api_collections_get, api_collections_exists,
    api_collections_create, api_collections_update, api_collections_drop,
    api_collections_binarizer;
http_handler api_index_create, api_index_delete;
http_handler api_payload_set, api_payload_overwrite, api_payload_delete,
    api_payload_clear;
http_handler api_points_upsert, api_points_get, api_points_delete, api_points_count,
    api_points_scroll, api_batch_points;
http_handler api_recall, api_query, api_query_batch, api_points_search,
    api_points_search_batch, api_points_recommend, api_points_recommend_batch;
http_handler api_embeddings, api_models, api_model;

#endif /* SERVER_API_H */
