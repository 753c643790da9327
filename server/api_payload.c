#include <string.h>

#include "server/api.h"
#include "server/api_change.h"
#include "server/payload.h"

/* /collections/{c}/points/payload: payloads alone change; codes stay as they are. */

/* "payload": {...}, of at most max_payload_bytes. */
static int
read_values(
    struct json *values, const struct json *root, size_t bytes_max, struct error *err)
{
	int has = api_member(values, root, "payload", JSON_OBJECT, err);

	if (has < 0)
		return -1;
	if (!has)
		return error_set(
		    err, ERR_INPUT, "expected 'payload': an object with what is set");
	if (values->len > bytes_max)
		return error_set(err, ERR_TOO_LARGE,
		    "payload: expected at most %zu bytes (max_payload_bytes), not %zu",
		    bytes_max, values->len);
	return 0;
}

/* *path := "key", where in the payload; NULL: the top. */
static int
read_key(struct path **path, const struct json *root, struct error *err)
{
	char text[PATH_BYTES_MAX + 1];
	struct json key;
	int has = api_member(&key, root, "key", JSON_STRING, err);

	*path = NULL;
	if (has <= 0)
		return has;
	if (api_string(text, sizeof text, &key, "key", err) != 0)
		return -1;
	*path = path_new(text, strlen(text), err);
	return *path ? 0 : error_prefix(err, "key");
}

static struct payload_change *
read_set(const struct json *root, size_t bytes_max, struct error *err)
{
	struct payload_change *payload = NULL;
	struct json values;
	struct path *path;

	if (read_values(&values, root, bytes_max, err) == 0 &&
	    read_key(&path, root, err) == 0) {
		payload = payload_set(&values, path, err);
		path_free(path);
	}
	return payload;
}

static struct payload_change *
read_overwrite(const struct json *root, size_t bytes_max, struct error *err)
{
	struct json values, key;

	if (read_values(&values, root, bytes_max, err) != 0)
		return NULL;
	if (json_member(root, "key", &key) && key.type != JSON_NULL) {
		error_set(err, ERR_UNSUPPORTED,
		    "key: a whole payload is overwritten; to set a part, POST it");
		return NULL;
	}
	return payload_overwrite(&values, err);
}

/* "keys": [...] */
static struct payload_change *
read_delete(const struct json *root, struct error *err)
{
	struct json keys;
	int has = api_member(&keys, root, "keys", JSON_ARRAY, err);

	if (has > 0)
		return payload_delete(&keys, err);
	if (has == 0)
		error_set(err, ERR_INPUT,
		    "expected 'keys': [keys of the payload that are to go]");
	return NULL;
}

static int
read_change(struct api_change *change, enum api_payload kind, const struct json *root,
    struct error *err)
{
	const struct api *api = change->request->context;
	size_t bytes_max = api->config->max_payload_bytes;

	change->payload = kind == API_PAYLOAD_SET ? read_set(root, bytes_max, err)
			  : kind == API_PAYLOAD_OVERWRITE
			      ? read_overwrite(root, bytes_max, err)
			  : kind == API_PAYLOAD_DELETE ? read_delete(root, err)
						       : payload_clear(err);
	change->operation.payload = change->payload;
	change->operation.payload_bytes_max = bytes_max;
	return change->payload ? 0 : -1;
}

struct api_change *
api_change_of_payloads(struct http_request *request, enum api_payload kind,
    const struct json *root, struct error *err)
{
	struct api_change *change =
	    api_change_of_points(request, WRITER_PAYLOAD, root, err);

	if (change && read_change(change, kind, root, err) != 0) {
		api_change_free(change);
		return NULL;
	}
	return change;
}

static void
run(struct http_request *request, enum api_payload kind)
{
	struct api_change *change = NULL;
	struct json root;
	struct error err;

	if (api_body(&root, request, &err) == 0)
		change = api_change_of_payloads(request, kind, &root, &err);
	if (change)
		api_change_run(change);
	else
		http_fail(request, &err);
}

void
api_payload_set(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, API_PAYLOAD_SET);
}

void
api_payload_overwrite(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, API_PAYLOAD_OVERWRITE);
}

void
api_payload_delete(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, API_PAYLOAD_DELETE);
}

void
api_payload_clear(struct http_request *request, unsigned worker)
{
	(void)worker;
	run(request, API_PAYLOAD_CLEAR);
}
