#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/json.h"
#include "client/import_job.h"
#include "client/lines.h"
#include "client/stop.h"

#define IMPORT_NORM_END 1e18f /* as the server has it */

static int
append_id(
    struct text *point, const struct json *object, uint64_t number, struct error *err)
{
	struct json id;
	uint64_t exact;
	if (!json_member(object, "id", &id)) {
		text_printf(point, "%llu", (unsigned long long)number);
		return 0;
	}
	if (id.type == JSON_NUMBER && !json_u64(&exact, &id))
		return error_set(err, ERR_INPUT,
		    "expected \"id\" to be a whole number 0 to 2^64 - 1 or a string, "
		    "not %.*s",
		    id.len > 40 ? 40 : (int)id.len, id.text);
	if (id.type != JSON_NUMBER && id.type != JSON_STRING)
		return error_set(err, ERR_INPUT,
		    "expected \"id\" to be a number or a string, not %s",
		    json_type_name(id.type));
	if (id.type == JSON_STRING && id.len <= 2)
		return error_set(err, ERR_INPUT, "expected \"id\" not to be empty");
	text_bytes(point, id.text, id.len);
	return 0;
}

/* A vector as base64 of its floats: a fifth of its digits, and read at once. */
static int
append_vector(
    struct text *point, const struct json *array, size_t *want, struct error *err)
{
	size_t n = json_count(array);
	if (n < 1 || n > IMPORT_DIMS_MAX)
		return error_set(err, ERR_INPUT,
		    "expected \"vector\" to have 1 to %d numbers, not %zu",
		    IMPORT_DIMS_MAX, n);
	if (*want != 0 && n != *want)
		return error_set(err, ERR_INPUT,
		    "expected %zu dimensions as in the first vector, not %zu", *want,
		    n);
	float *values = array_new(n, sizeof *values);
	uint8_t *bytes = array_new(n, 4);
	int rc = -1;
	if (values == NULL || bytes == NULL) {
		error_set(err, ERR_MEMORY, "no memory for a vector");
	} else if (json_floats(values, n, &n, array, err) == -1) {
		error_prefix(err, "\"vector\"");
	} else {
		for (size_t i = 0; i < n; i++)
			bytes_putfle(bytes + 4 * i, values[i]);
		text_string(point, "{\"object\":{\"b64\":\"");
		text_base64(point, bytes, 4 * n);
		text_string(point, "\"},\"model\":\"float32\"}");
		*want = n;
		rc = 0;
	}
	free(bytes);
	free(values);
	return rc;
}

/* The member that the document is made of: exactly one of three. */
static int
find_content(struct json *content, enum import_kind *kind, const struct json *object,
    struct error *err)
{
	static const struct {
		const char *name;
		enum import_kind kind;
		enum json_type type;
	} members[] = {
	    {"text", IMPORT_TEXT, JSON_STRING},
	    {"vector", IMPORT_VECTOR, JSON_ARRAY},
	    {"code", IMPORT_CODE, JSON_STRING},
	};
	size_t found = 0;
	for (size_t i = 0; i < 3; i++) {
		struct json value;
		if (!json_member(object, members[i].name, &value))
			continue;
		if (value.type != members[i].type)
			return error_set(err, ERR_INPUT,
			    "expected \"%s\" to be %s, not %s", members[i].name,
			    json_type_name(members[i].type),
			    json_type_name(value.type));
		if (value.type == JSON_STRING && value.len <= 2)
			return error_set(err, ERR_INPUT,
			    "expected \"%s\" not to be empty", members[i].name);
		*content = value;
		*kind = members[i].kind;
		found++;
	}
	if (found != 1)
		return error_set(err, ERR_INPUT,
		    "expected one of \"text\", \"vector\" and \"code\", not %s",
		    found == 0 ? "none" : "several");
	return 0;
}

/* A code, and the length of its vector and whose it is where the line says it. */
static int
append_code(struct text *point, const struct json *object, const struct json *code,
    struct error *err)
{
	struct json norm, id;
	text_string(point, "{\"object\":{\"b64\":");
	text_bytes(point, code->text, code->len);
	if (json_member(object, "norm", &norm)) {
		float length = norm.type == JSON_NUMBER ? (float)json_double(&norm) : 0;
		if (!(length > 0) || !(length < IMPORT_NORM_END))
			return error_set(err, ERR_INPUT,
			    "expected \"norm\" to be a number above 0 and below 1e18");
		text_string(point, ",\"norm\":");
		text_bytes(point, norm.text, norm.len);
	}
	if (json_member(object, "binarizer_id", &id)) {
		if (id.type != JSON_STRING)
			return error_set(
			    err, ERR_INPUT, "expected \"binarizer_id\" to be a string");
		text_string(point, ",\"binarizer_id\":");
		text_bytes(point, id.text, id.len);
	}
	text_string(point, "},\"model\":\"codes\"}");
	return 0;
}

/* What is no payload. */
static bool
is_ours(const struct json *key, enum import_kind kind)
{
	return json_equals(key, "id") || json_equals(key, "text") ||
	       json_equals(key, "vector") || json_equals(key, "code") ||
	       (kind == IMPORT_CODE &&
		   (json_equals(key, "norm") || json_equals(key, "binarizer_id")));
}

/* All other members, as they came. */
static void
append_payload(struct text *point, const struct json *object, enum import_kind kind,
    const struct json *text)
{
	const char *comma = "";
	struct json_walk w = json_walk(object);
	text_string(point, ",\"payload\":{");
	while (json_next(&w)) {
		if (is_ours(&w.key, kind))
			continue;
		text_string(point, comma);
		text_bytes(point, w.key.text, w.key.len);
		text_string(point, ":");
		text_bytes(point, w.value.text, w.value.len);
		comma = ",";
	}
	if (text != NULL) {
		text_string(point, comma);
		text_string(point, "\"text\":");
		text_bytes(point, text->text, text->len);
	}
	text_string(point, "}");
}

int
import_point(struct text *point, struct import_line *line, struct error *err)
{
	struct json object, content = {.text = ""};
	if (json_check(&object, line->text, line->len, err) == -1)
		return -1;
	if (object.type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "expected an object {\"id\", \"text\" or \"vector\" or \"code\", "
		    "...}, not %s",
		    json_type_name(object.type));
	if (find_content(&content, &line->kind, &object, err) == -1)
		return -1;
	if (line->chunk && line->kind != IMPORT_TEXT)
		return error_set(err, ERR_INPUT,
		    "expected \"text\", as --chunk says, not \"%s\"",
		    line->kind == IMPORT_VECTOR ? "vector" : "code");
	text_string(point, "{\"id\":");
	if (append_id(point, &object, line->number, err) == -1)
		return -1;
	text_string(point, ",\"vector\":");
	switch (line->kind) {
	case IMPORT_VECTOR:
		if (append_vector(point, &content, &line->dims, err) == -1)
			return -1;
		break;
	case IMPORT_CODE:
		if (append_code(point, &object, &content, err) == -1)
			return -1;
		break;
	case IMPORT_TEXT:
	case IMPORT_NOTHING:
		text_string(point, "{\"text\":");
		text_bytes(point, content.text, content.len);
		text_string(point, line->chunk ? ",\"chunk\":true}" : "}");
		break;
	}
	append_payload(point, &object, line->kind,
	    line->kind == IMPORT_TEXT && line->keep_text ? &content : NULL);
	text_string(point, "}");
	if (point->failed)
		return error_set(err, ERR_MEMORY, "no memory for a point");
	return 0;
}

static bool
is_blank(const char *text, size_t len)
{
	return strspn(text, " \t") == len;
}

static int
add_line(struct import_job *job, const struct lines *lines, const char *text,
    size_t len, struct error *err)
{
	struct import_line line = {
	    .text = text,
	    .len = len,
	    .number = job->number + lines_number(lines),
	    .keep_text = job->settings.keep_text,
	    .chunk = job->settings.chunk,
	    .dims = job->vector_dims,
	};
	size_t before = job->points.n;
	if (job->n_points > 0)
		text_string(&job->points, ",");
	if (import_point(&job->points, &line, err) == -1) {
		/* Take back what stands of it: what came before is whole. */
		job->points.n = before;
		return error_prefix(err, "%s:%llu", lines_name(lines),
		    (unsigned long long)lines_number(lines));
	}
	job->vector_dims = line.dims;
	if (job->upload == NULL && import_prepare(job, line.kind, err) == -1)
		return -1;
	return import_added(job, lines_number(lines), err);
}

int
import_lines(struct import_job *job, const char *path, struct error *err)
{
	char *text;
	size_t len;
	int rc;
	struct lines *lines = lines_open(path, err);
	if (lines == NULL)
		return -1;
	job->file = strcmp(path, "-") == 0 ? "standard input" : path;
	job->mark = ":";
	while ((rc = lines_next(lines, &text, &len, err)) == 1) {
		job->file_bytes = lines_read_bytes(lines);
		if (!is_blank(text, len) &&
		    add_line(job, lines, text, len, err) == -1) {
			rc = -1;
			break;
		}
	}
	if (rc == 0 && stop_requested())
		rc = error_set(err, ERR_NONE, "stopped");
	if (rc == 0)
		rc = import_flush(job, err);
	job->number += lines_number(lines);
	job->read_bytes += lines_read_bytes(lines);
	job->file_bytes = 0;
	lines_close(lines);
	return rc;
}
