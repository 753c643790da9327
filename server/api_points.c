#include <string.h>

#include "binarize/recurrent.h"
#include "server/api.h"
#include "server/api_change.h"
#include "server/api_vector.h"

/* PUT /collections/{c}/points. */

/* The parts of one point, wherever they stood; a missing one has no text. */
struct parts {
	struct json id, vector, payload;
};

static int
read_payload(struct writer_point *point, const struct json *payload,
    const struct api *api, struct error *err)
{
	if (!payload->text || payload->type == JSON_NULL)
		return 0;
	if (payload->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "payload: expected an object, not %s",
		    json_type_name(payload->type));
	if (payload->len > api->config->max_payload_bytes)
		return error_set(err, ERR_TOO_LARGE,
		    "payload: expected at most %llu bytes (max_payload_bytes), not %zu",
		    (unsigned long long)api->config->max_payload_bytes, payload->len);
	point->payload = payload->text;
	point->payload_len = payload->len;
	return 0;
}

static struct api_code
code_of(const struct api_change *change, size_t i)
{
	size_t bytes = code_bytes(collection_settings(change->collection)->shape);
	return (struct api_code){.wire = change->wires + i * bytes};
}

static void
set_code(struct writer_point *point, const struct api_code *code)
{
	point->wire = code->wire;
	point->factor = code->factor;
	point->norm2 = code->norm2;
}

/* Code the vectors that wait: those of the last points before number `end`. */
static int
code_waiting(
    struct api_change *change, struct api_coder *coder, size_t end, struct error *err)
{
	struct recurrent_numbers numbers[API_CODER_WAITING_MAX];
	size_t n = coder->n_waiting, first = end - n;
	size_t coded = api_coder_code(coder, code_of(change, first).wire, numbers, err);

	for (size_t i = 0; i < coded; i++) {
		struct api_code code = code_of(change, first + i);
		code.factor = numbers[i].factor;
		code.norm2 = numbers[i].norm2;
		set_code(&change->points[first + i], &code);
	}
	return coded == n ? 0 : error_prefix(err, "point %zu", first + coded);
}

/* Point i of the change := these parts; a vector waits, unless it was the last that
 * may; a text is coded later (code_texts), of one that is cut only the number of
 * passages is known. */
static int
read_point(struct api_change *change, struct api_coder *coder, size_t i,
    const struct parts *parts, struct error *err)
{
	struct writer_point *point = &change->points[i];
	struct api_code code = code_of(change, i);
	size_t n_before = change->chunks.n;
	int rc = 0;

	if (!parts->id.text)
		rc = error_set(err, ERR_INPUT, "expected an 'id'");
	else if (point_id_parse(&point->id, &parts->id, err))
		rc = error_prefix(err, "id");
	else if (!parts->vector.text || parts->vector.type == JSON_NULL)
		rc = error_set(err, ERR_INPUT, "expected a 'vector'");
	else if (read_payload(point, &parts->payload, coder->api, err))
		rc = -1;
	else
		rc = api_coder_document(coder, &code, &parts->vector, err);
	if (rc < 0)
		return error_prefix(err, "point %zu", i);
	point->n_passages = change->chunks.n - n_before;
	if (rc == API_DOCUMENT_VECTOR)
		return coder->n_waiting < API_CODER_WAITING_MAX
			   ? 0
			   : code_waiting(change, coder, i + 1, err);
	if (rc == API_DOCUMENT_CODE)
		set_code(point, &code);
	return code_waiting(change, coder, i, err);
}

/* Code what still waits when *err stopped the points at number `end` (rc -1), or they
 * are all there: of several that are wrong the first is told. */
static int
code_rest(struct api_change *change, struct api_coder *coder, size_t end, int rc,
    struct error *err)
{
	struct error earlier;

	if (code_waiting(change, coder, end, &earlier) == 0)
		return rc;
	*err = earlier;
	return -1;
}

/* Code point i, if it waits for its text, which is number *text. */
static int
code_text(struct api_change *change, struct api_coder *coder, size_t i, size_t *text,
    struct error *err)
{
	struct writer_point *point = &change->points[i];
	size_t n = point->n_passages;
	bool waits = !point->wire && n == 0;

	if ((!waits || coder->n_waiting == API_CODER_WAITING_MAX) &&
	    code_waiting(change, coder, i, err))
		return -1;
	if (point->wire)
		return 0;
	if (waits ? api_coder_embedded_waits(coder, *text, err)
		  : api_chunks_code(&change->chunks, point, coder, *text, err))
		return error_prefix(err, "point %zu", i);
	*text += waits ? 1 : n;
	return 0;
}

/* Code the points that wait for their texts, which come in the order of the points. */
static int
code_texts(struct api_change *change, struct api_coder *coder, struct error *err)
{
	size_t bytes = code_bytes(collection_settings(change->collection)->shape);
	size_t i = 0, text = 0;
	int rc = 0;

	if (change->chunks.n > 0 && api_chunks_room(&change->chunks, bytes, err))
		return -1;
	while (i < change->operation.n &&
	       (rc = code_text(change, coder, i, &text, err)) == 0)
		i++;
	return code_rest(change, coder, i, rc, err);
}

static void
on_embedded(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct api_change *change = request->state;
	struct api_coder coder = {.api = NULL};
	struct error err;
	(void)worker;

	int rc = api_coder_init(
	    &coder, request->context, change->collection, &change->texts, &err);
	if (rc == 0)
		rc = code_texts(change, &coder, &err);
	api_coder_free(&coder);
	if (rc == 0)
		api_change_submit(change);
	else
		api_change_fail(change, &err);
}

/* Bytes that the points hold while their texts are embedded. */
static size_t
bytes_of(const struct api_change *change)
{
	size_t wire = code_bytes(collection_settings(change->collection)->shape);
	const struct api *api = change->texts.api;

	return change->operation.n * (sizeof *change->points + wire) +
	       api_chunks_bytes(&change->chunks, wire, api->config);
}

/* "points": [{"id", "vector", "payload"}, ...]; *n := how many are read. */
static int
read_points(struct api_change *change, struct api_coder *coder,
    const struct json *points, size_t *n, struct error *err)
{
	struct json_walk walk = json_walk(points);
	for (*n = 0; json_next(&walk); ++*n) {
		size_t i = *n;
		struct parts parts = {.id = {.text = NULL}};
		if (walk.value.type != JSON_OBJECT)
			return error_set(err, ERR_INPUT,
			    "point %zu: expected an object, not %s", i,
			    json_type_name(walk.value.type));
		struct json_walk members = json_walk(&walk.value);
		while (json_next(&members)) {
			if (json_equals(&members.key, "id"))
				parts.id = members.value;
			else if (json_equals(&members.key, "vector"))
				parts.vector = members.value;
			else if (json_equals(&members.key, "payload"))
				parts.payload = members.value;
			else if (members.value.type != JSON_NULL)
				return error_set(err, ERR_INPUT,
				    "point %zu: expected id, vector and payload, not "
				    "%.*s; put other fields into payload",
				    i, members.key.len < 60 ? (int)members.key.len : 60,
				    members.key.text);
		}
		if (read_point(change, coder, i, &parts, err))
			return -1;
	}
	return 0;
}

/* "batch": {"ids": [...], "vectors": [...] or {"": [...]}, "payloads": [...]} */
struct batch_parts {
	struct json ids, vectors, payloads;
	bool has_payloads;
	size_t n;
};

static int
read_batch(struct batch_parts *parts, const struct json *batch, struct error *err)
{
	struct json_walk walk = json_walk(batch);
	bool has_ids = false, has_vectors = false;
	*parts = (struct batch_parts){.has_payloads = false};
	while (json_next(&walk)) {
		if (json_equals(&walk.key, "ids")) {
			parts->ids = walk.value;
			has_ids = walk.value.type == JSON_ARRAY;
		} else if (json_equals(&walk.key, "vectors")) {
			parts->vectors = walk.value;
			has_vectors = true;
		} else if (json_equals(&walk.key, "payloads")) {
			parts->payloads = walk.value;
			parts->has_payloads = walk.value.type != JSON_NULL;
		}
	}
	/* Of named vectors a batch has one list for the one name. */
	if (has_vectors && parts->vectors.type == JSON_OBJECT) {
		struct json_walk names = json_walk(&parts->vectors);
		if (json_count(&parts->vectors) == 1 && json_next(&names))
			parts->vectors = names.value;
	}
	if (!has_ids || !has_vectors || parts->vectors.type != JSON_ARRAY ||
	    (parts->has_payloads && parts->payloads.type != JSON_ARRAY))
		return error_set(err, ERR_INPUT,
		    "batch: expected the arrays 'ids' and 'vectors', and perhaps "
		    "'payloads'");
	parts->n = json_count(&parts->ids);
	size_t n = json_count(&parts->vectors);
	if (n != parts->n)
		return error_set(err, ERR_INPUT,
		    "batch: expected as many vectors as ids (%zu), not %zu", parts->n,
		    n);
	n = parts->has_payloads ? json_count(&parts->payloads) : parts->n;
	if (n != parts->n)
		return error_set(err, ERR_INPUT,
		    "batch: expected as many payloads as ids (%zu), not %zu", parts->n,
		    n);
	return 0;
}

static int
read_batch_points(struct api_change *change, struct api_coder *coder,
    const struct batch_parts *batch, size_t *n, struct error *err)
{
	struct json_walk ids = json_walk(&batch->ids);
	struct json_walk vectors = json_walk(&batch->vectors);
	struct json_walk payloads =
	    json_walk(batch->has_payloads ? &batch->payloads : &batch->ids);
	for (*n = 0; json_next(&ids) && json_next(&vectors); ++*n) {
		struct parts parts = {.id = ids.value, .vector = vectors.value};
		if (batch->has_payloads && json_next(&payloads))
			parts.payload = payloads.value;
		if (read_point(change, coder, *n, &parts, err))
			return -1;
	}
	return 0;
}

/* Which of the two forms the body has. */
struct upsert {
	struct json points;
	struct batch_parts batch;
	bool is_batch;
	size_t n;
};

static int
read_upsert(struct upsert *upsert, const struct json *root, struct error *err)
{
	struct json_walk walk = json_walk(root);
	int n_forms = 0;
	while (json_next(&walk)) {
		if (walk.value.type == JSON_NULL)
			continue;
		if (json_equals(&walk.key, "points")) {
			if (walk.value.type != JSON_ARRAY)
				return error_set(err, ERR_INPUT,
				    "points: expected an array, not %s",
				    json_type_name(walk.value.type));
			upsert->points = walk.value;
			upsert->n = json_count(&walk.value);
			n_forms++;
		} else if (json_equals(&walk.key, "batch")) {
			if (read_batch(&upsert->batch, &walk.value, err))
				return -1;
			upsert->is_batch = true;
			upsert->n = upsert->batch.n;
			n_forms++;
		} else if (json_equals(&walk.key, "shard_key") ||
			   json_equals(&walk.key, "update_filter") ||
			   json_equals(&walk.key, "update_mode")) {
			return error_set(err, ERR_UNSUPPORTED, "%.*s is not served",
			    (int)walk.key.len, walk.key.text);
		} else {
			return error_set(err, ERR_INPUT,
			    "expected 'points' or 'batch', not %.*s",
			    walk.key.len < 60 ? (int)walk.key.len : 60, walk.key.text);
		}
	}
	if (n_forms != 1 || upsert->n == 0)
		return error_set(err, ERR_INPUT,
		    "expected either 'points': [{\"id\", \"vector\", \"payload\"}, "
		    "...] or 'batch', with at least one point");
	return 0;
}

/* Every point is read, and coded but for its text. */
static int
read_all(struct api_change *change, struct api_coder *coder,
    const struct upsert *upsert, struct error *err)
{
	size_t n;
	int rc = upsert->is_batch
		     ? read_batch_points(change, coder, &upsert->batch, &n, err)
		     : read_points(change, coder, &upsert->points, &n, err);

	return code_rest(change, coder, n, rc, err);
}

struct api_change *
api_change_of_upsert(
    struct http_request *request, const struct json *root, struct error *err)
{
	struct api *api = request->context;
	struct upsert upsert = {.is_batch = false};
	struct api_coder coder = {.api = NULL};
	struct api_change *change = NULL;

	if (read_upsert(&upsert, root, err) || api_change_check(api, upsert.n, err))
		return NULL;
	change = api_change_of_path(request, WRITER_UPSERT, upsert.n, err);
	if (!change)
		return NULL;
	int rc = api_coder_init(&coder, api, change->collection, &change->texts, err);
	coder.chunks = &change->chunks;
	if (rc == 0)
		rc = read_all(change, &coder, &upsert, err);
	api_coder_free(&coder);
	if (rc != 0) {
		api_change_free(change);
		return NULL;
	}
	change->embedded = on_embedded;
	change->texts.beside = bytes_of(change);
	return change;
}

void
api_points_upsert(struct http_request *request, unsigned worker)
{
	struct api_change *change = NULL;
	struct error err;
	struct json root;
	(void)worker;

	if (api_body(&root, request, &err) == 0)
		change = api_change_of_upsert(request, &root, &err);
	if (change)
		api_change_run(change);
	else
		http_fail(request, &err);
}
