#include "server/path_change.h"

#include <string.h>

#include "server/path_internal.h"

static void
put(struct text *out, const struct json *value)
{
	text_bytes(out, value->text, value->len);
}

/* A member, behind others or not. */
static void
begin_member(struct text *out, bool *first, const struct json *key)
{
	text_string(out, *first ? "" : ",");
	*first = false;
	put(out, key);
	text_string(out, ":");
}

/* Whether an object has a member of this name, however it is spelled. */
static bool
names(const struct json *object, const struct json *key)
{
	struct json_walk walk = json_walk(object);

	while (json_next(&walk)) {
		struct json_pieces a = json_pieces(key), b = json_pieces(&walk.key);
		char x[4], y[4];
		size_t n, m, i;
		do {
			n = json_piece(&a, x);
			m = json_piece(&b, y);
			for (i = 0; i < n && i < m && x[i] == y[i]; i++)
				;
		} while (n > 0 && n == m && i == n);
		if (n == 0 && m == 0)
			return true;
	}
	return false;
}

void
path_merge(struct text *out, const struct json *object, const struct json *values)
{
	struct json_walk walk = json_walk(object);
	bool first = true;

	text_string(out, "{");
	while (json_next(&walk)) {
		if (names(values, &walk.key))
			continue;
		begin_member(out, &first, &walk.key);
		put(out, &walk.value);
	}
	walk = json_walk(values);
	while (json_next(&walk)) {
		begin_member(out, &first, &walk.key);
		put(out, &walk.value);
	}
	text_string(out, "}");
}

static const struct json nothing = {JSON_OBJECT, "{}", 2};

static void merge_at(struct text *out, const struct json *value,
    const struct path_part *part, const struct path_part *end,
    const struct json *values);

/* An object's member, made if it is not there. */
static void
merge_member(struct text *out, const struct json *value, const struct path_part *part,
    const struct path_part *end, const struct json *values)
{
	struct json_walk walk =
	    json_walk(value->type == JSON_OBJECT ? value : &nothing);
	struct json before;
	bool first = true, has = json_member(value, part->key, &before);

	text_string(out, "{");
	while (json_next(&walk)) {
		if (json_equals(&walk.key, part->key))
			continue;
		begin_member(out, &first, &walk.key);
		put(out, &walk.value);
	}
	/* What a path through an array finds missing stays so. */
	if (has || part + 1 == end || part[1].kind == PATH_MEMBER) {
		text_string(out, first ? "" : ",");
		text_json(out, part->key, strlen(part->key));
		text_string(out, ":");
		merge_at(out, has ? &before : &nothing, part + 1, end, values);
	}
	text_string(out, "}");
}

static void
merge_at(struct text *out, const struct json *value, const struct path_part *part,
    const struct path_part *end, const struct json *values)
{
	struct json_walk walk = json_walk(value);

	if (part == end) {
		path_merge(out, value->type == JSON_OBJECT ? value : &nothing, values);
	} else if (part->kind == PATH_MEMBER) {
		merge_member(out, value, part, end, values);
	} else if (value->type != JSON_ARRAY) {
		put(out, value);
	} else {
		text_string(out, "[");
		for (size_t i = 0; json_next(&walk); i++) {
			text_string(out, i ? "," : "");
			if (part->kind == PATH_ELEMENT && i != part->index)
				put(out, &walk.value);
			else
				merge_at(out, &walk.value, part + 1, end, values);
		}
		text_string(out, "]");
	}
}

void
path_merge_at(struct text *out, const struct json *object, const struct path *path,
    const struct json *values)
{
	merge_at(out, object, path->parts, path->parts + path->n_parts, values);
}

/* `value` without what the parts lead to. */
static void
remove_at(struct text *out, const struct json *value, const struct path_part *part,
    const struct path_part *end)
{
	const bool member = part->kind == PATH_MEMBER, last = part + 1 == end;
	struct json_walk walk = json_walk(value);
	bool first = true;

	if (value->type != (member ? JSON_OBJECT : JSON_ARRAY)) {
		put(out, value);
		return;
	}
	text_string(out, member ? "{" : "[");
	for (size_t i = 0; json_next(&walk); i++) {
		bool here = member ? json_equals(&walk.key, part->key)
				   : part->kind == PATH_EACH || i == part->index;
		if (here && last)
			continue;
		if (member) {
			begin_member(out, &first, &walk.key);
		} else {
			text_string(out, first ? "" : ",");
			first = false;
		}
		if (here)
			remove_at(out, &walk.value, part + 1, end);
		else
			put(out, &walk.value);
	}
	text_string(out, member ? "}" : "]");
}

void
path_remove(struct text *out, const struct json *object, const struct path *path)
{
	remove_at(out, object, path->parts, path->parts + path->n_parts);
}
