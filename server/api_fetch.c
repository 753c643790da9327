#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/api.h"
#include "server/api_select.h"
#include "server/api_vector.h"

/* POST /collections/{c}/points: points by their ids, in the order asked for; ids that
 * are not there are left out. */

/* Append the point with this id, if it is there. */
static int
add_point(struct text *out, const struct api_select *select, struct api_coder *coder,
    struct db_txn *txn, const struct point_id *id, struct error *err)
{
	uint32_t collection = collection_codes(coder->collection)->collection;
	struct db_record record;
	uint32_t slot;
	bool found;

	if (db_slot(txn, collection, id, &found, &slot, err))
		return -1;
	if (!found)
		return 0;
	if (db_record(txn, collection, slot, &found, &record, err))
		return -1;
	if (!found)
		return error_set(err, ERR_FORMAT, "a point has an id and no record");
	if (out->bytes[out->n - 1] != '[')
		text_string(out, ",");
	if (api_select_point(out, select, coder, txn, slot, &record, err))
		return -1;
	text_string(out, "}");
	return 0;
}

static int
add_points(struct text *out, const struct api_select *select, struct api_coder *coder,
    struct db_txn *txn, const struct json *ids, struct error *err)
{
	struct json_walk walk = json_walk(ids);
	int rc = 0;

	text_string(out, "[");
	for (size_t i = 0; rc == 0 && !out->failed && json_next(&walk); i++) {
		struct point_id id;
		rc = point_id_parse(&id, &walk.value, err);
		if (rc)
			error_prefix(err, "ids[%zu]", i);
		else
			rc = add_point(out, select, coder, txn, &id, err);
		if (rc == 0)
			rc = api_fits(out, coder->api, API_SELECT_LESS, err);
	}
	text_string(out, "]");
	return rc;
}

void
api_points_get(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	uint64_t max = api->config->max_points_per_request;
	struct api_select select = {.payload = true};
	struct api_coder coder = {.api = NULL};
	struct collection *collection = NULL;
	struct db_txn *txn = NULL;
	struct text out = {0};
	struct json root, ids;
	struct error err;
	(void)worker;

	if (api_body(&root, request, &err) || api_select_read(&select, &root, &err))
		goto err;
	int has = api_member(&ids, &root, "ids", JSON_ARRAY, &err);
	if (has == 0)
		error_set(&err, ERR_INPUT, "expected 'ids': an array of point ids");
	if (has <= 0)
		goto err;
	if (json_count(&ids) > max) {
		error_set(&err, ERR_TOO_LARGE,
		    "expected at most %llu ids (max_points_per_request), not %zu",
		    (unsigned long long)max, json_count(&ids));
		goto err;
	}
	collection = api_collection_now(request, &txn, &err);
	if (!collection || api_select_check(&select, collection, &err) ||
	    api_coder_init(&coder, api, collection, NULL, &err))
		goto err;
	api_begin(&out);
	if (add_points(&out, &select, &coder, txn, &ids, &err))
		goto err;
	db_end(txn);
	api_coder_free(&coder);
	collection_release(collection);
	api_end(request, &out, NULL);
	return;
err:
	db_end(txn);
	api_coder_free(&coder);
	collection_release(collection);
	text_free(&out);
	http_fail(request, &err);
}
