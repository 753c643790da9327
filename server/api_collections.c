#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "binarize/recurrent.h"
#include "index/progressive.h"
#include "server/api.h"
#include "server/api_change.h"
#include "server/memory.h"

/* Collections: what is asked for is in api_settings.c; here they are listed, told
 * about, made, changed and dropped. */

void
api_collections_list(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct collection **list;
	struct text out = {0};
	struct error err;
	size_t n;
	(void)worker;

	if (registry_list(&list, &n, api->registry, &err)) {
		http_fail(request, &err);
		return;
	}
	api_begin(&out);
	text_string(&out, "{\"collections\":[");
	for (size_t i = 0; i < n; i++) {
		const char *name = collection_settings(list[i])->name;
		text_string(&out, i ? ",{\"name\":" : "{\"name\":");
		text_json(&out, name, strlen(name));
		text_string(&out, "}");
	}
	text_string(&out, "]}");
	registry_list_free(list, n);
	api_end(request, &out, NULL);
}

void
api_collections_exists(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	struct error err;
	(void)worker;

	struct collection *collection = api_collection(request, &err);
	if (!collection && err.code != ERR_NOT_FOUND) {
		http_fail(request, &err);
		return;
	}
	api_begin(&out);
	text_printf(&out, "{\"exists\":%s}", collection ? "true" : "false");
	collection_release(collection);
	api_end(request, &out, NULL);
}

/* "codes": {...}, "text_model": "...", "query_model": "..." of a collection, as
 * members. */
static void
add_codes(struct text *out, const struct collection *collection)
{
	const struct collection_settings *s = collection_settings(collection);

	text_printf(out,
	    "\"codes\":{\"dims\":%u,\"bits\":%u,\"centres\":%u,\"distance\":\"%s\","
	    "\"binarizer\":",
	    s->shape.dims, s->shape.bits, s->shape.centres,
	    collection_code_distance_name(s->code_distance));
	text_json(out, s->binarizer, strlen(s->binarizer));
	text_printf(out,
	    ",\"binarizer_id\":\"%s\",\"packing\":\"planes, MSB first\","
	    "\"progressive\":%s}",
	    collection_binarizer_id(collection), s->progressive ? "true" : "false");
	if (s->text_model[0]) {
		text_string(out, ",\"text_model\":");
		text_json(out, s->text_model, strlen(s->text_model));
	}
	if (s->query_model[0]) {
		text_string(out, ",\"query_model\":");
		text_json(out, s->query_model, strlen(s->query_model));
	}
}

/* What is known of a version's plane 0, as a member. */
static void
add_progressive(struct text *out, const struct collection *collection,
    const struct collection_version *v)
{
	struct progressive *p = collection_progressive(collection);

	if (!p)
		return;
	struct progressive_info info = progressive_info(p, v->codes.version);
	text_printf(out,
	    ",\"progressive\":{\"known\":%s,\"samples\":%zu,\"slope\":%.6g,"
	    "\"margin\":%.6g,\"kept\":%.6g}",
	    info.n_samples == PROGRESSIVE_SAMPLES ? "true" : "false", info.n_samples,
	    (double)info.slope, (double)info.margin, PROGRESSIVE_KEPT);
}

/* "versions": [...], of the codes: those that hold documents, and the newest. */
static void
add_versions(struct text *out, const struct collection *collection)
{
	struct collection_counts counts[STORE_PARTS_MAX];
	size_t n = collection_n_versions(collection);
	bool first = true;

	collection_version_counts(counts, collection);
	text_string(out, "\"versions\":[");
	for (size_t i = 0; i < n; i++) {
		const struct collection_version *v = collection_version(collection, i);
		if (counts[i].rows == 0 && i + 1 < n)
			continue;
		text_printf(out,
		    "%s{\"version\":%u,\"documents\":%zu,\"passages\":%zu,"
		    "\"size\":%u,\"dims\":%u,\"bits\":%u,\"centres\":%u,\"binarizer\":",
		    first ? "" : ",", v->codes.version, counts[i].points,
		    counts[i].rows, v->size, v->shape.dims, v->shape.bits,
		    v->shape.centres);
		text_json(out, v->binarizer, strlen(v->binarizer));
		text_printf(out, ",\"binarizer_id\":\"%s\"", recurrent_id(v->model));
		add_progressive(out, collection, v);
		if (v->text_model[0]) {
			text_string(out, ",\"text_model\":");
			text_json(out, v->text_model, strlen(v->text_model));
		}
		text_string(out, "}");
		first = false;
	}
	text_string(out, "]");
}

static void
add_vectors(struct text *out, const struct collection_settings *s)
{
	text_string(out, "\"vectors\":{");
	if (s->vector[0]) {
		text_json(out, s->vector, strlen(s->vector));
		text_string(out, ":{");
	}
	text_printf(out, "\"size\":%u,\"distance\":\"%s\"}", s->size,
	    collection_distance_name(s->distance));
	if (s->vector[0])
		text_string(out, "}");
}

/* The codes in Qdrant's words, where it has any. */
static void
add_quantization(struct text *out, struct code_shape shape)
{
	if (shape.bits > 2)
		text_string(out, "null");
	else
		text_printf(out,
		    "{\"binary\":{\"encoding\":\"%s\",\"always_ram\":true}}",
		    shape.bits == 1 ? "one_bit" : "two_bits");
}

/* What Qdrant's clients need to see is there; what means nothing here is 0 or null. */
static void
add_info(struct text *out, const struct collection *collection,
    const struct collection_bytes *bytes, uint64_t store_resident)
{
	struct collection_counts counts = collection_counts(collection);

	text_printf(out,
	    "{\"status\":\"green\",\"optimizer_status\":\"ok\",\"points_count\":%zu,"
	    "\"indexed_vectors_count\":%zu,\"passages\":%zu,\"segments_count\":1,"
	    "\"config\":{\"params\":{",
	    counts.points, counts.rows, counts.rows);
	add_vectors(out, collection_settings(collection));
	text_string(out, ",\"shard_number\":1,\"replication_factor\":1,\"write_"
			 "consistency_factor\":1,\"on_disk_payload\":true,");
	add_codes(out, collection);
	text_string(out, ",");
	add_versions(out, collection);
	text_printf(out,
	    ",\"bytes\":{\"memory_codes\":%zu,\"memory_plane0\":%zu,"
	    "\"memory_factors\":%zu,\"memory_tables\":%zu,\"disk_codes\":%" PRIu64
	    ",\"disk_ids\":%" PRIu64 ",\"disk_points\":%" PRIu64
	    ",\"process_anonymous\":%" PRIu64 ",\"store_resident\":%" PRIu64 "}},",
	    bytes->memory_codes, bytes->memory_plane0, bytes->memory_factors,
	    bytes->memory_tables, bytes->disk_codes, bytes->disk_ids,
	    bytes->disk_points, memory_anonymous(), store_resident);
	text_string(out,
	    "\"hnsw_config\":{\"m\":0,\"ef_construct\":4,\"full_scan_threshold\":0},"
	    "\"optimizer_config\":{\"deleted_threshold\":0.0,\"vacuum_min_vector_"
	    "number\":0,\"default_segment_number\":1,\"flush_interval_sec\":0},\"wal_"
	    "config\":null,\"quantization_config\":");
	add_quantization(out, collection_settings(collection)->shape);
	text_string(out, ",\"metadata\":{");
	add_codes(out, collection);
	text_string(out, "}},\"payload_schema\":");
}

void
api_collections_get(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct collection_bytes bytes;
	uint64_t store_resident;
	struct text out = {0};
	struct error err;
	(void)worker;

	struct collection *collection = api_collection(request, &err);
	if (!collection || collection_bytes(&bytes, collection, api->db, &err) ||
	    db_resident(api->db, &store_resident, &err)) {
		collection_release(collection);
		http_fail(request, &err);
		return;
	}
	api_begin(&out);
	add_info(&out, collection, &bytes, store_resident);
	int rc = api_index_schema(&out, api, collection, &err);
	collection_release(collection);
	text_string(&out, "}");
	if (rc == 0) {
		api_end(request, &out, NULL);
	} else {
		text_free(&out);
		http_fail(request, &err);
	}
}

/* *at := the version that the query names, or the newest. */
static int
find_version(size_t *at, const struct http_request *request,
    const struct collection *collection, struct error *err)
{
	size_t i = collection_n_versions(collection), length;
	const char *wanted = http_query(request, "version", &length);

	*at = i - 1;
	if (!wanted)
		return 0;
	while (i-- > 0) {
		uint32_t number = collection_version(collection, i)->codes.version;
		char text[16];
		int n = snprintf(text, sizeof text, "%u", number);
		if ((size_t)n == length && memcmp(text, wanted, length) == 0) {
			*at = i;
			return 0;
		}
	}
	return error_set(err, ERR_NOT_FOUND,
	    "version: expected one of those that GET /collections/{collection} lists, "
	    "not %.*s",
	    length < 60 ? (int)length : 60, wanted);
}

void
api_collections_binarizer(struct http_request *request, unsigned worker)
{
	struct text file = {0};
	struct error err;
	size_t at;
	(void)worker;

	struct collection *collection = api_collection(request, &err);
	if (!collection || find_version(&at, request, collection, &err) != 0) {
		collection_release(collection);
		http_fail(request, &err);
		return;
	}
	collection_version_file(&file, collection, at);
	collection_release(collection);
	request->filename = "binarizer.safetensors";
	http_reply(request, 200, "application/octet-stream", &file);
}

static void
changed(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct api_change *change = request->state;
	struct text out = {0};
	(void)worker;

	/* To drop what is gone already is no error, as in Qdrant. */
	bool gone =
	    change->operation.kind == WRITER_DROP && change->err.code == ERR_NOT_FOUND;
	if (change->err.code != ERR_NONE && !gone) {
		http_fail(request, &change->err);
		return;
	}
	api_begin(&out);
	text_string(&out, gone ? "false" : "true");
	api_end(request, &out, NULL);
}

/* Hand the change to the writer; takes the reference to the collection. */
static void
submit(
    struct http_request *request, struct collection *collection, enum writer_kind kind)
{
	struct error err;
	struct api_change *change =
	    api_change_new(request, collection, kind, changed, &err);
	if (change)
		api_change_submit(change);
	else
		http_fail(request, &err);
}

static void
submit_progressive(
    struct http_request *request, struct collection *collection, bool progressive)
{
	struct error err;
	struct api_change *change =
	    api_change_new(request, collection, WRITER_PROGRESSIVE, changed, &err);
	if (change) {
		change->operation.progressive = progressive;
		api_change_submit(change);
	} else {
		http_fail(request, &err);
	}
}

void
api_collections_create(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct collection_settings settings = {.mean = NULL};
	struct collection *collection;
	struct error err;
	struct json root;
	(void)worker;

	if (collection_name_check(request->args[0], strlen(request->args[0]), &err) ||
	    api_body(&root, request, &err) || api_settings(&settings, &root, &err))
		goto err;
	memcpy(settings.name, request->args[0], strlen(request->args[0]) + 1);
	collection = registry_find(api->registry, settings.name, &err);
	if (collection) {
		collection_release(collection);
		error_set(&err, ERR_EXISTS,
		    "collection '%.80s' exists already; drop it first", settings.name);
		goto err;
	}
	collection = collection_new(&settings, api->models, &err);
	if (!collection)
		goto err;
	api_settings_free(&settings);
	submit(request, collection, WRITER_CREATE);
	return;
err:
	api_settings_free(&settings);
	http_fail(request, &err);
}

/* What the body says, *change and *progressive as api_settings_change; the collection
 * that is to take the place of `before`, or itself if its codes stay.  NULL: *err. */
static struct collection *
read_change(struct collection_settings *change, bool *progressive,
    struct http_request *request, struct collection *before, struct error *err)
{
	const struct collection_settings *now = collection_settings(before);
	struct api *api = request->context;
	struct json root;

	if (api_body(&root, request, err) != 0 ||
	    api_settings_change(change, progressive, now, &root, err) != 0)
		return NULL;
	if (!change->binarizer[0])
		return collection_retain(before);
	struct collection *next = collection_next(before, change, api->models, err);
	if (next && next != before && change->progressive != now->progressive) {
		collection_release(next);
		error_set(err, ERR_INPUT,
		    "expected another binarizer or another codes.progressive, not both "
		    "at once: change one after the other");
		return NULL;
	}
	return next;
}

void
api_collections_update(struct http_request *request, unsigned worker)
{
	struct collection_settings change;
	struct text out = {0};
	struct error err;
	bool progressive = false;
	(void)worker;

	struct collection *before = api_collection(request, &err), *next = NULL;
	if (before)
		next = read_change(&change, &progressive, request, before, &err);
	bool is_so = next && next == before;
	/* Before the answer: the next change shall find it gone. */
	collection_release(before);
	if (!next) {
		http_fail(request, &err);
	} else if (!is_so) {
		submit(request, next, WRITER_VERSION);
	} else if (progressive) {
		submit_progressive(request, next, change.progressive);
	} else {
		api_begin(&out);
		text_string(&out, "true");
		api_end(request, &out, NULL);
		collection_release(next);
	}
}

void
api_collections_drop(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	struct error err;
	(void)worker;

	struct collection *collection = api_collection(request, &err);
	if (collection) {
		submit(request, collection, WRITER_DROP);
	} else if (err.code == ERR_NOT_FOUND) {
		api_begin(&out);
		text_string(&out, "false");
		api_end(request, &out, NULL);
	} else {
		http_fail(request, &err);
	}
}
