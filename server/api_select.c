#include "server/api_select.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static int
read_keys(struct api_select *select, const struct json *keys, struct error *err)
{
	struct json_walk walk = json_walk(keys);
	if (keys->type != JSON_ARRAY)
		return error_set(err, ERR_INPUT,
		    "with_payload: expected an array of keys, not %s",
		    json_type_name(keys->type));
	while (json_next(&walk)) {
		if (walk.value.type != JSON_STRING)
			return error_set(err, ERR_INPUT,
			    "with_payload: expected keys as strings, not %s",
			    json_type_name(walk.value.type));
	}
	select->payload = true;
	select->has_keys = true;
	select->keys = *keys;
	return 0;
}

static int
read_payload(struct api_select *select, const struct json *value, struct error *err)
{
	struct json keys;
	switch (value->type) {
	case JSON_NULL:
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		select->payload = value->type == JSON_TRUE;
		return 0;
	case JSON_ARRAY:
		return read_keys(select, value, err);
	default:
		break;
	}
	if (json_member(value, "include", &keys) && keys.type != JSON_NULL)
		return read_keys(select, &keys, err);
	if (json_member(value, "exclude", &keys) && keys.type != JSON_NULL) {
		select->exclude = true;
		return read_keys(select, &keys, err);
	}
	return error_set(err, ERR_INPUT,
	    "with_payload: expected true, false, an array of keys, {\"include\": keys} "
	    "or {\"exclude\": keys}, not %.*s",
	    value->len < 40 ? (int)value->len : 40, value->text);
}

int
api_select_read(struct api_select *select, const struct json *root, struct error *err)
{
	struct json value;

	if (json_member(root, "with_payload", &value) &&
	    read_payload(select, &value, err))
		return -1;
	/* The second is what Qdrant also takes. */
	if ((!json_member(root, "with_vector", &value) || value.type == JSON_NULL) &&
	    (!json_member(root, "with_vectors", &value) || value.type == JSON_NULL))
		return 0;
	if (value.type == JSON_ARRAY) {
		select->vector = json_count(&value) > 0;
		select->has_names = true;
		select->names = value;
	} else if (value.type == JSON_TRUE || value.type == JSON_FALSE) {
		select->vector = value.type == JSON_TRUE;
	} else {
		return error_set(err, ERR_INPUT,
		    "with_vector: expected true, false or an array of names, not %s",
		    json_type_name(value.type));
	}
	return 0;
}

int
api_select_check(const struct api_select *select, const struct collection *collection,
    struct error *err)
{
	const char *name = collection_settings(collection)->vector;

	if (!select->has_names)
		return 0;
	struct json_walk walk = json_walk(&select->names);
	while (json_next(&walk)) {
		if (!json_equals(&walk.value, name))
			return error_set(err, ERR_INPUT,
			    "with_vector: expected the collection's vector name "
			    "'%.80s', "
			    "not %.*s",
			    name, walk.value.len < 80 ? (int)walk.value.len : 80,
			    walk.value.text);
	}
	return 0;
}

/* Two JSON strings may spell one text differently: compare what they mean.  1, 0, or
 * -1 with ERR_MEMORY. */
static int
is_selected(const struct api_select *select, const struct json *key, struct error *err)
{
	struct json_walk walk = json_walk(&select->keys);
	char *text = array_new(key->len + 1, 1);
	bool found = false;

	if (!text)
		return error_set(err, ERR_MEMORY, "no memory for a payload's key");
	json_string(text, key->len + 1, key);
	while (!found && json_next(&walk))
		found = json_equals(&walk.value, text);
	free(text);
	return found != select->exclude;
}

static int
add_keys(struct text *out, const struct api_select *select,
    const struct db_record *record, struct error *err)
{
	struct json root;
	bool first = true;

	if (record->payload_len == 0)
		return 0;
	if (json_check(&root, record->payload, record->payload_len, err) != 0) {
		if (err->code == ERR_INPUT) /* of the store, not of the request */
			err->code = ERR_FORMAT;
		return error_prefix(err, "a stored payload");
	}
	struct json_walk walk = json_walk(&root);
	while (json_next(&walk)) {
		int selected = is_selected(select, &walk.key, err);
		if (selected < 0)
			return -1;
		if (!selected)
			continue;
		if (!first)
			text_string(out, ",");
		first = false;
		text_bytes(out, walk.key.text, walk.key.len);
		text_string(out, ":");
		text_bytes(out, walk.value.text, walk.value.len);
	}
	return 0;
}

int
api_select_payload(struct text *out, const struct api_select *select,
    const struct db_record *record, struct error *err)
{
	if (!select->payload)
		return 0;
	text_string(out, ",\"payload\":");
	if (!select->has_keys && record->payload_len) {
		text_bytes(out, record->payload, record->payload_len);
		return 0;
	}
	text_string(out, "{");
	if (select->has_keys && add_keys(out, select, record, err) != 0)
		return -1;
	text_string(out, "}");
	return 0;
}

void
api_select_vector(struct text *out, const struct api_select *select,
    struct api_coder *coder, const struct api_row *row)
{
	const struct collection_settings *s = collection_settings(coder->collection);

	if (!select->vector)
		return;
	api_coder_decode(coder, row);
	text_string(out, ",\"vector\":");
	if (s->vector[0]) {
		text_string(out, "{");
		text_json(out, s->vector, strlen(s->vector));
		text_string(out, ":");
	}
	text_string(out, "[");
	for (uint32_t i = 0; i < s->size; i++) {
		if (i)
			text_string(out, ",");
		text_float(out, coder->vector[i]);
	}
	text_string(out, s->vector[0] ? "]}" : "]");
}

int
api_select_point(struct text *out, const struct api_select *select,
    struct api_coder *coder, struct db_txn *txn, uint32_t slot,
    const struct db_record *record, struct error *err)
{
	char printed[POINT_ID_PRINT_MAX];
	struct db_code code;
	size_t version;
	bool found;

	point_id_print(printed, &record->id);
	text_printf(out, "{\"id\":%s", printed);
	if (api_select_payload(out, select, record, err))
		return -1;
	if (select->vector) {
		if (collection_code(
			txn, coder->collection, slot, &version, &found, &code, err))
			return -1;
		struct api_row row = {code.wire, code.factor, code.norm2, version};
		if (found)
			api_select_vector(out, select, coder, &row);
	}
	return 0;
}
