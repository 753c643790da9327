#include "client/beir.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "client/lines.h"

static int
no_memory(const char *path, struct error *err)
{
	return error_set(err, ERR_MEMORY, "no memory for %s", path);
}

/* A member that is a string (or, for ids, a whole number), as text from the heap. */
static int
copy_member(char **out, const struct json *object, const char *key, struct error *err)
{
	struct json value;
	if (!json_member(object, key, &value)) {
		*out = NULL;
		return 0;
	}
	if (value.type != JSON_STRING && value.type != JSON_NUMBER)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" to be a string, not %s", key,
		    json_type_name(value.type));
	char *text = array_new(value.len + 1, 1);
	if (text == NULL)
		return error_set(err, ERR_MEMORY, "no memory for a text");
	if (value.type == JSON_STRING)
		json_string(text, value.len + 1, &value);
	else
		memcpy(text, value.text, value.len);
	*out = text;
	return 0;
}

/* item->text := title, space, text. */
static int
join(struct beir_text *item, const char *title, const char *text, struct error *err)
{
	size_t n = title == NULL ? 0 : strlen(title);
	size_t m = text == NULL ? 0 : strlen(text);
	item->text = array_new(n + m + 2, 1);
	if (item->text == NULL)
		return error_set(err, ERR_MEMORY, "no memory for a text");
	char *to = item->text;
	if (n > 0)
		to = mempcpy(to, title, n);
	if (n > 0 && m > 0)
		*to++ = ' ';
	if (m > 0)
		to = mempcpy(to, text, m);
	item->len = (size_t)(to - item->text);
	return 0;
}

static int
parse_text(struct beir_text *item, const char *line, size_t len, struct error *err)
{
	struct json object;
	char *title = NULL, *text = NULL;
	if (json_check(&object, line, len, err) == -1)
		return -1;
	if (object.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT, "expected an object, not %s",
		    json_type_name(object.type));
	int rc = copy_member(&item->id, &object, "_id", err);
	if (rc == 0 && item->id == NULL)
		rc = copy_member(&item->id, &object, "id", err);
	if (rc == 0 && item->id == NULL)
		rc = error_set(err, ERR_FORMAT, "expected \"id\" or \"_id\"");
	if (rc == 0)
		rc = copy_member(&title, &object, "title", err);
	if (rc == 0)
		rc = copy_member(&text, &object, "text", err);
	if (rc == 0)
		rc = join(item, title, text, err);
	free(title);
	free(text);
	return rc;
}

/* Append one line; doubles the room when it is used up. */
static int
add_text(struct beir_texts *texts, size_t *room, const char *line, size_t len,
    struct error *err)
{
	if (texts->n == *room) {
		size_t more = *room == 0 ? 1024 : *room * 2;
		void *items = array_resize(texts->items, more, sizeof *texts->items);
		if (items == NULL)
			return error_set(err, ERR_MEMORY, "no memory for a text");
		texts->items = items;
		*room = more;
	}
	texts->items[texts->n] = (struct beir_text){NULL, NULL, 0};
	texts->n++; /* even if it fails: what it holds is freed with the rest */
	return parse_text(&texts->items[texts->n - 1], line, len, err);
}

static int
compare_ids(const void *a, const void *b, void *texts)
{
	const struct beir_texts *t = texts;
	return strcmp(
	    t->items[*(const uint32_t *)a].id, t->items[*(const uint32_t *)b].id);
}

static int
order_ids(struct beir_texts *texts, const char *path, struct error *err)
{
	if (texts->n >= TREC_NOWHERE)
		return error_set(err, ERR_TOO_LARGE, "%s: too many lines", path);
	texts->by_id = array_new(texts->n, sizeof *texts->by_id);
	if (texts->by_id == NULL)
		return no_memory(path, err);
	for (uint32_t i = 0; i < texts->n; i++)
		texts->by_id[i] = i;
	qsort_r(texts->by_id, texts->n, sizeof *texts->by_id, compare_ids, texts);
	for (size_t i = 1; i < texts->n; i++) {
		if (compare_ids(&texts->by_id[i - 1], &texts->by_id[i], texts) == 0)
			return error_set(err, ERR_FORMAT,
			    "%s: expected every id once, but \"%.100s\" comes twice",
			    path, texts->items[texts->by_id[i]].id);
	}
	return 0;
}

int
beir_texts_load(struct beir_texts *texts, const char *path, struct error *err)
{
	char *line;
	size_t len, room = 0;
	int rc;

	*texts = (struct beir_texts){NULL, 0, NULL};
	struct lines *lines = lines_open(path, err);
	if (lines == NULL)
		return -1;
	while ((rc = lines_next(lines, &line, &len, err)) == 1) {
		if (len > 0 && (rc = add_text(texts, &room, line, len, err)) == -1) {
			error_prefix(err, "%s:%llu", path,
			    (unsigned long long)lines_number(lines));
			break;
		}
	}
	lines_close(lines);
	if (rc == 0 && texts->n == 0)
		rc = error_set(
		    err, ERR_FORMAT, "%s: expected lines of JSON, found none", path);
	if (rc == 0)
		rc = order_ids(texts, path, err);
	if (rc == -1)
		beir_texts_free(texts);
	return rc;
}

void
beir_texts_free(struct beir_texts *texts)
{
	for (size_t i = 0; i < texts->n; i++) {
		free(texts->items[i].id);
		free(texts->items[i].text);
	}
	free(texts->items);
	free(texts->by_id);
	*texts = (struct beir_texts){NULL, 0, NULL};
}

uint32_t
beir_find(const struct beir_texts *texts, const char *id)
{
	size_t low = 0, high = texts->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(texts->items[texts->by_id[middle]].id, id);
		if (order == 0)
			return texts->by_id[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return TREC_NOWHERE;
}
