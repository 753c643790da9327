#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/convert_model.h"
#include "attention/file.h"
#include "base/alloc.h"

#define JSON_BYTES_MAX ((size_t)4 << 20)
#define SHOWN 60 /* bytes of a value that a message shows */

int
convert_path(char *out, const char *dir, const char *name, struct error *err)
{
	int n = snprintf(out, CONVERT_PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= CONVERT_PATH_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "expected the path of a model in at most %d bytes, not %zu",
		    CONVERT_PATH_MAX, strlen(dir));
	return 0;
}

static int
shown(const struct json *value)
{
	return value->len < SHOWN ? (int)value->len : SHOWN;
}

int
convert_json_open(struct convert_json *json, const char *dir, const char *name,
    bool optional, struct error *err)
{
	size_t n;

	json->bytes = NULL;
	json->root = (struct json){JSON_OBJECT, "{}", 2};
	if (convert_path(json->path, dir, name, err) != 0)
		return -1;
	json->bytes = file_read(json->path, JSON_BYTES_MAX, &n, err);
	if (!json->bytes)
		return optional && err->code == ERR_NOT_FOUND ? 0 : -1;
	if (json_check(&json->root, json->bytes, n, err) != 0) {
		err->code = ERR_FORMAT;
		return error_prefix(err, "%s", json->path);
	}
	if (json->root.type != JSON_OBJECT && json->root.type != JSON_ARRAY)
		return error_set(err, ERR_FORMAT,
		    "%s: expected an object or an array, not %s", json->path,
		    json_type_name(json->root.type));
	return 0;
}

void
convert_json_close(struct convert_json *json)
{
	free(json->bytes);
	json->bytes = NULL;
}

bool
convert_json_member(const struct json *object, const char *key, struct json *value)
{
	return json_member(object, key, value) && value->type != JSON_NULL;
}

int
convert_json_size(size_t *value, const struct json *object, const char *key, size_t max,
    struct error *err)
{
	struct json found;
	uint64_t number;

	if (!json_member(object, key, &found))
		return error_set(
		    err, ERR_FORMAT, "expected \"%s\", which is missing", key);
	if (!json_u64(&number, &found) || number < 1 || number > max)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" as an integer of 1 .. %zu, not %.*s", key, max,
		    shown(&found), found.text);
	*value = (size_t)number;
	return 0;
}

int
convert_json_text(
    char *out, size_t cap, const struct json *value, const char *key, struct error *err)
{
	if (value->type != JSON_STRING)
		return error_set(err, ERR_FORMAT, "expected \"%s\" as a text, not %s",
		    key, json_type_name(value->type));
	char *text = array_new(value->len, 1);
	if (!text)
		return error_set(err, ERR_MEMORY, "no memory for \"%s\"", key);
	size_t n = json_string(text, value->len, value);
	if (n < cap)
		memcpy(out, text, n + 1);
	free(text);
	if (n >= cap)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" in at most %zu bytes, not %zu", key, cap - 1, n);
	return 0;
}

static bool
is_written(const struct json *value, const char *text)
{
	return text && value->len == strlen(text) &&
	       memcmp(value->text, text, value->len) == 0;
}

int
convert_json_check(const struct json *object, const struct convert_wish *wishes,
    size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct convert_wish *wish = &wishes[i];
		struct json value, content;
		if (!convert_json_member(object, wish->key, &value))
			continue;
		/* A special piece may be written as an object. */
		if (json_member(&value, "content", &content))
			value = content;
		if (is_written(&value, wish->wanted) ||
		    is_written(&value, wish->instead))
			continue;
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"%s\" as %s%s%s, not %.*s", wish->key, wish->wanted,
		    wish->instead ? " or " : "", wish->instead ? wish->instead : "",
		    shown(&value), value.text);
	}
	return 0;
}
