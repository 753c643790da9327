#include <string.h>

#include "base/alloc.h"
#include "server/api.h"
#include "server/api_change.h"

/* /collections/{c}/points/payload: payloads alone change; codes stay as they are. */

/* A key of the body as change->paths[n_paths]. */
static int
add_path(struct api_change *change, const struct json *key, const char *what,
    struct error *err)
{
	char text[PATH_BYTES_MAX + 1];

	if (api_string(text, sizeof text, key, what, err) != 0)
		return -1;
	struct path *path = path_new(text, strlen(text), err);
	if (!path)
		return error_prefix(err, "%s", what);
	change->paths[change->n_paths++] = path;
	return 0;
}

static int
room_for_paths(struct api_change *change, size_t n, struct error *err)
{
	change->paths = array_new(n, sizeof *change->paths);
	return change->paths ? 0
			     : error_set(err, ERR_MEMORY, "no memory for %zu keys", n);
}

/* "payload": {...}, of at most max_payload_bytes. */
static int
read_values(struct api_change *change, const struct json *root, struct error *err)
{
	struct writer_payload *payload = &change->operation.payload;
	int has = api_member(&payload->values, root, "payload", JSON_OBJECT, err);

	if (has < 0)
		return -1;
	if (!has)
		return error_set(
		    err, ERR_INPUT, "expected 'payload': an object with what is set");
	if (payload->values.len > payload->bytes_max)
		return error_set(err, ERR_TOO_LARGE,
		    "payload: expected at most %zu bytes (max_payload_bytes), not %zu",
		    payload->bytes_max, payload->values.len);
	return 0;
}

/* "key": where in the payload. */
static int
read_key(struct api_change *change, const struct json *root, struct error *err)
{
	struct json key;
	int has = api_member(&key, root, "key", JSON_STRING, err);

	if (has <= 0)
		return has;
	if (room_for_paths(change, 1, err) != 0 ||
	    add_path(change, &key, "key", err) != 0)
		return -1;
	change->operation.payload.path = change->paths[0];
	return 0;
}

/* "keys": [...] */
static int
read_keys(struct api_change *change, const struct json *root, struct error *err)
{
	struct writer_payload *payload = &change->operation.payload;
	struct json keys;
	int has = api_member(&keys, root, "keys", JSON_ARRAY, err);

	if (has < 0)
		return -1;
	if (!has || json_count(&keys) == 0)
		return error_set(err, ERR_INPUT,
		    "expected 'keys': [keys of the payload that are to go]");
	if (room_for_paths(change, json_count(&keys), err) != 0)
		return -1;
	struct json_walk walk = json_walk(&keys);
	while (json_next(&walk))
		if (add_path(change, &walk.value, "keys", err) != 0)
			return -1;
	payload->paths = (const struct path *const *)change->paths;
	payload->n_paths = change->n_paths;
	return 0;
}

static int
read_change(struct api_change *change, enum writer_payload_kind kind,
    const struct json *root, struct error *err)
{
	const struct api *api = change->request->context;

	change->operation.payload = (struct writer_payload){
	    .kind = kind, .bytes_max = api->config->max_payload_bytes};
	switch (kind) {
	case WRITER_PAYLOAD_MERGE:
		return read_values(change, root, err) || read_key(change, root, err)
			   ? -1
			   : 0;
	case WRITER_PAYLOAD_OVERWRITE:
		return read_values(change, root, err);
	case WRITER_PAYLOAD_REMOVE:
		return read_keys(change, root, err);
	default:
		return 0;
	}
}

static void
run(struct http_request *request, enum writer_payload_kind kind)
{
	struct api_change *change = NULL;
	struct json root;
	struct error err;

	if (api_body(&root, request, &err) == 0)
		change = api_change_of_points(request, WRITER_PAYLOAD, &root, &err);
	if (change && read_change(change, kind, &root, &err) == 0) {
		api_change_run(change);
		return;
	}
	api_change_free(change);
	http_fail(request, &err);
}

void
api_payload_set(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, WRITER_PAYLOAD_MERGE);
}

void
api_payload_overwrite(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, WRITER_PAYLOAD_OVERWRITE);
}

void
api_payload_delete(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, WRITER_PAYLOAD_REMOVE);
}

void
api_payload_clear(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, WRITER_PAYLOAD_CLEAR);
}
