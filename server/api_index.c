#include <string.h>

#include "server/api.h"
#include "server/api_change.h"

/* Indexes of keys of payloads: made and deleted, and what a collection has. */

/* What an index of Qdrant can have that changes which points a filter finds; here it
 * has what is the default there, or is not served. */
static bool
is_default(const struct json *key, const struct json *value)
{
	if (value->type == JSON_NULL || json_equals(key, "type"))
		return true;
	if (json_equals(key, "tokenizer"))
		return value->type == JSON_STRING && json_equals(value, "word");
	if (json_equals(key, "lowercase"))
		return value->type == JSON_TRUE;
	if (json_equals(key, "phrase_matching") || json_equals(key, "ascii_folding") ||
	    json_equals(key, "prefix"))
		return value->type == JSON_FALSE;
	static const char *const faster_or_smaller[] = {"lookup", "range", "is_tenant",
	    "is_principal", "on_disk", "memory", "enable_hnsw"};
	for (size_t i = 0; i < sizeof faster_or_smaller / sizeof *faster_or_smaller;
	     i++)
		if (json_equals(key, faster_or_smaller[i]))
			return true;
	return false; /* min_token_len, stopwords, stemmer, ... */
}

static int
check_options(const struct json *schema, struct error *err)
{
	struct json_walk walk = json_walk(schema);

	while (json_next(&walk))
		if (!is_default(&walk.key, &walk.value))
			return error_set(err, ERR_UNSUPPORTED,
			    "field_schema: %.*s: %.*s is not served: words are runs of "
			    "letters and digits in lower case, all of them",
			    walk.key.len < 40 ? (int)walk.key.len : 40, walk.key.text,
			    walk.value.len < 40 ? (int)walk.value.len : 40,
			    walk.value.text);
	return 0;
}

/* "field_schema": a type's name, or {"type": name, ...}. */
static int
read_type(enum db_field_type *type, const struct json *root, struct error *err)
{
	static const char *const not_served[] = {"geo", "datetime"};
	struct json schema, name;
	char text[32];

	if (!json_member(root, "field_schema", &schema))
		schema.type = JSON_NULL;
	name = schema;
	if (schema.type == JSON_OBJECT && !json_member(&schema, "type", &name))
		name.type = JSON_NULL;
	if (name.type == JSON_NULL)
		return error_set(err, ERR_INPUT,
		    "field_schema: expected a type, or {\"type\": a type}: keyword, "
		    "integer, float, bool, text or uuid");
	for (size_t i = 0; i < sizeof not_served / sizeof *not_served; i++)
		if (name.type == JSON_STRING && json_equals(&name, not_served[i]))
			return error_set(err, ERR_UNSUPPORTED,
			    "field_schema: indexes of type %s are not served: expected "
			    "keyword, integer, float, bool, text or uuid",
			    not_served[i]);
	if (api_string(text, sizeof text, &name, "field_schema", err) != 0)
		return -1;
	*type = DB_FIELD_KEYWORD; /* of uuid too: a string like others */
	if (strcmp(text, "uuid") != 0 &&
	    collection_field_type_parse(type, text, err) != 0)
		return error_prefix(err, "field_schema");
	return schema.type == JSON_OBJECT ? check_options(&schema, err) : 0;
}

static int
set_key(struct api_change *change, const char *key, size_t n, struct error *err)
{
	change->key = path_new(key, n, err);
	change->operation.index.path = change->key;
	return change->key ? 0 : error_prefix(err, "field_name");
}

static bool
is_true(const struct http_request *request, const char *name)
{
	size_t n;
	const char *value = http_query(request, name, &n);

	return value && n == 4 && memcmp(value, "true", 4) == 0;
}

static int
read_index(struct api_change *change, const struct json *root, struct error *err)
{
	char key[PATH_BYTES_MAX + 1];
	struct json name;
	int has = api_member(&name, root, "field_name", JSON_STRING, err);

	if (has < 0)
		return -1;
	if (!has)
		return error_set(
		    err, ERR_INPUT, "expected 'field_name': a key of payloads");
	change->operation.index.wait = is_true(change->request, "wait");
	if (api_string(key, sizeof key, &name, "field_name", err) != 0)
		return -1;
	return read_type(&change->operation.index.type, root, err) ||
		       set_key(change, key, strlen(key), err)
		   ? -1
		   : 0;
}

void
api_index_create(struct http_request *request, unsigned worker)
{
	struct api_change *change = NULL;
	struct json root;
	struct error err;
	(void)worker;

	if (api_body(&root, request, &err) == 0)
		change = api_change_of_path(request, WRITER_INDEX, 0, &err);
	if (change && read_index(change, &root, &err) == 0) {
		api_change_submit(change);
		return;
	}
	api_change_free(change);
	http_fail(request, &err);
}

void
api_index_delete(struct http_request *request, unsigned worker)
{
	const char *key = request->args[1];
	struct error err;
	(void)worker;

	struct api_change *change =
	    api_change_of_path(request, WRITER_UNINDEX, 0, &err);
	if (change && set_key(change, key, strlen(key), &err) == 0) {
		api_change_submit(change);
		return;
	}
	api_change_free(change);
	http_fail(request, &err);
}

/* Rows in an index, and whether they are all there. */
static int
count(size_t *n, bool *complete, const struct db_fields_at *at, uint32_t n_slots,
    struct error *err)
{
	struct row_set *rows = row_set_new(n_slots, err);
	int rc = -1;

	if (rows && db_fields_complete(at, complete, err) == 0 &&
	    db_fields_term(rows, at, DB_FIELDS_VALUE, NULL, err) == 0) {
		*n = row_set_count(rows);
		rc = 0;
	}
	row_set_free(rows);
	return rc;
}

int
api_index_schema(struct text *out, struct api *api, const struct collection *collection,
    struct error *err)
{
	size_t n;
	const struct db_field *fields = collection_fields(collection, &n);
	struct store_snapshot *snapshot = store_acquire(collection_store(collection));
	struct db_txn *txn = n > 0 ? db_begin_read(api->db, err) : NULL;
	int rc = n > 0 && !txn ? -1 : 0;

	text_string(out, "{");
	for (size_t i = 0; i < n && rc == 0; i++) {
		const char *key = path_key(fields[i].path);
		const struct db_fields_at at = {
		    txn, collection_codes(collection)->collection, fields[i].number};
		size_t rows = 0;
		bool complete = false;
		rc = count(&rows, &complete, &at, snapshot->n_slots, err);
		text_string(out, i ? "," : "");
		text_json(out, key, strlen(key));
		text_printf(out,
		    ":{\"data_type\":\"%s\",\"points\":%zu,"
		    "\"complete\":%s}",
		    collection_field_type_name(fields[i].type), rows,
		    complete ? "true" : "false");
	}
	text_string(out, "}");
	db_end(txn);
	store_release(snapshot);
	return rc;
}
