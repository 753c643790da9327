#include "server/payload.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/path_internal.h"

enum kind { SET, OVERWRITE, DELETE, CLEAR };

/* A member that comes. */
struct member {
	char *name; /* the key's text */
	size_t n;
	struct json key, value;
};

struct payload_change {
	enum kind kind;
	struct json json;       /* SET, OVERWRITE */
	struct member *members; /* SET: by name, each once */
	size_t n_members;
	struct path
	    *paths[PAYLOAD_KEYS_MAX]; /* DELETE; of SET the key, if it has one */
	size_t n_paths;
};

/* ---- making one ---- */

static struct payload_change *
make(enum kind kind, struct error *err)
{
	struct payload_change *change = array_new(1, sizeof *change);

	if (!change)
		error_set(err, ERR_MEMORY, "out of memory for a change of payloads");
	else
		change->kind = kind;
	return change;
}

void
payload_change_free(struct payload_change *change)
{
	if (!change)
		return;
	for (size_t i = 0; i < change->n_members; i++)
		free(change->members[i].name);
	free(change->members);
	for (size_t i = 0; i < change->n_paths; i++)
		path_free(change->paths[i]);
	free(change);
}

/* By name; of equal ones in the order in which they came. */
static int
compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = memcmp(x->name, y->name, x->n < y->n ? x->n : y->n);

	if (order == 0)
		order = x->n < y->n ? -1 : x->n > y->n;
	return order ? order : x->key.text < y->key.text ? -1 : 1;
}

/* Of members of one name the last counts. */
static void
sort_members(struct payload_change *change)
{
	struct member *m = change->members;
	size_t n = 0;

	qsort(m, change->n_members, sizeof *m, compare_members);
	for (size_t i = 0; i < change->n_members; i++) {
		if (i + 1 < change->n_members && m[i].n == m[i + 1].n &&
		    memcmp(m[i].name, m[i + 1].name, m[i].n) == 0)
			free(m[i].name);
		else
			m[n++] = m[i];
	}
	change->n_members = n;
}

static int
take_members(struct payload_change *change, struct error *err)
{
	struct json_walk walk = json_walk(&change->json);

	change->members = array_new(json_count(&change->json), sizeof *change->members);
	while (change->members && json_next(&walk)) {
		struct member *m = &change->members[change->n_members];
		m->name = array_new(walk.key.len + 1, 1);
		if (!m->name)
			break;
		m->n = json_string(m->name, walk.key.len + 1, &walk.key);
		m->key = walk.key;
		m->value = walk.value;
		change->n_members++;
	}
	if (!change->members || change->n_members < json_count(&change->json))
		return error_set(err, ERR_MEMORY, "out of memory for a payload");
	sort_members(change);
	return 0;
}

struct payload_change *
payload_set(const struct json *members, const struct path *key, struct error *err)
{
	struct payload_change *change = make(SET, err);

	if (!change)
		return NULL;
	change->json = *members;
	if (key) {
		const char *text = path_key(key);
		change->paths[0] = path_new(text, strlen(text), err);
		change->n_paths = change->paths[0] != NULL;
	}
	if ((key && change->n_paths == 0) || take_members(change, err) != 0) {
		payload_change_free(change);
		return NULL;
	}
	return change;
}

struct payload_change *
payload_overwrite(const struct json *payload, struct error *err)
{
	struct payload_change *change = make(OVERWRITE, err);

	if (change)
		change->json = *payload;
	return change;
}

static int
take_path(struct payload_change *change, const struct json *key, struct error *err)
{
	size_t i = change->n_paths;

	if (key->type != JSON_STRING)
		return error_set(err, ERR_INPUT, "expected a string, not %s",
		    json_type_name(key->type));
	if (i == PAYLOAD_KEYS_MAX)
		return error_set(err, ERR_TOO_LARGE, "expected at most %d keys at once",
		    PAYLOAD_KEYS_MAX);
	char *text = array_new(key->len + 1, 1);
	if (!text)
		return error_set(err, ERR_MEMORY, "out of memory for a key");
	size_t n = json_string(text, key->len + 1, key);
	change->paths[i] = path_new(text, n, err);
	free(text);
	change->n_paths += change->paths[i] != NULL;
	return change->paths[i] ? 0 : -1;
}

struct payload_change *
payload_delete(const struct json *keys, struct error *err)
{
	struct payload_change *change = make(DELETE, err);
	struct json_walk walk = json_walk(keys);

	for (size_t i = 0; change && json_next(&walk); i++) {
		if (take_path(change, &walk.value, err) != 0) {
			error_prefix(err, "keys[%zu]", i);
			payload_change_free(change);
			return NULL;
		}
	}
	return change;
}

struct payload_change *
payload_clear(struct error *err)
{
	return make(CLEAR, err);
}

size_t
payload_change_bytes(const struct payload_change *change)
{
	return change->json.len;
}

/* ---- doing it ---- */

static void
begin_item(struct text *out, bool *first)
{
	if (!*first)
		text_string(out, ",");
	*first = false;
}

static void
add_value(struct text *out, const struct json *value)
{
	text_bytes(out, value->text, value->len);
}

static void
add_member(
    struct text *out, bool *first, const struct json *key, const struct json *value)
{
	begin_item(out, first);
	add_value(out, key);
	text_string(out, ":");
	add_value(out, value);
}

/* Whether one of the members that come has this name. */
static bool
comes(const struct payload_change *change, const struct json *key)
{
	size_t low = 0, high = change->n_members;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct member *m = &change->members[middle];
		int order = json_compare(key, m->name, m->n);
		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

/* The object, or nothing with NULL, with the members that come. */
static void
merge(struct text *out, const struct payload_change *change, const struct json *object)
{
	bool first = true;

	text_string(out, "{");
	if (object) {
		struct json_walk walk = json_walk(object);
		while (json_next(&walk))
			if (!comes(change, &walk.key))
				add_member(out, &first, &walk.key, &walk.value);
	}
	for (size_t i = 0; i < change->n_members; i++) {
		const struct member *m = &change->members[i];
		if (m->value.type != JSON_NULL)
			add_member(out, &first, &m->key, &m->value);
	}
	text_string(out, "}");
}

/* The object without the member of this name, its '{' and not its '}'; whether nothing
 * is in it. */
static bool
begin_without(struct text *out, const struct json *object, const char *name)
{
	struct json_walk walk = json_walk(object);
	bool first = true;

	text_string(out, "{");
	while (json_next(&walk))
		if (!json_equals(&walk.key, name))
			add_member(out, &first, &walk.key, &walk.value);
	return first;
}

static void
begin_member(struct text *out, bool first, const char *name)
{
	begin_item(out, &first);
	text_json(out, name, strlen(name));
	text_string(out, ":");
}

/* The value, or nothing with NULL, with members set where the parts lead. */
static void
set(struct text *out, const struct payload_change *change, const struct path_part *part,
    const struct path_part *end, const struct json *value)
{
	const struct json *object = value && value->type == JSON_OBJECT ? value : NULL;
	static const struct json nothing = {JSON_OBJECT, "{}", 2};
	struct json member;
	bool first = true;

	if (part == end) {
		merge(out, change, object);
		return;
	}
	if (part->kind == PATH_MEMBER) {
		bool found = object && json_member(object, part->key, &member);
		first = begin_without(out, object ? object : &nothing, part->key);
		begin_member(out, first, part->key);
		set(out, change, part + 1, end, found ? &member : NULL);
		text_string(out, "}");
		return;
	}
	text_string(out, "[");
	if (value && value->type == JSON_ARRAY) {
		struct json_walk walk = json_walk(value);
		for (size_t i = 0; json_next(&walk); i++) {
			begin_item(out, &first);
			if (part->kind == PATH_EACH || i == part->index)
				set(out, change, part + 1, end, &walk.value);
			else
				add_value(out, &walk.value);
		}
	}
	text_string(out, "]");
}

/* The value without what the parts lead to. */
static void
remove_at(struct text *out, const struct path_part *part, const struct path_part *end,
    const struct json *value)
{
	bool last = part + 1 == end, first = true;
	struct json member;

	if (part->kind == PATH_MEMBER && json_member(value, part->key, &member)) {
		first = begin_without(out, value, part->key);
		if (!last) {
			begin_member(out, first, part->key);
			remove_at(out, part + 1, end, &member);
		}
		text_string(out, "}");
	} else if (part->kind != PATH_MEMBER && value->type == JSON_ARRAY &&
		   !(last && part->kind == PATH_ELEMENT)) {
		struct json_walk walk = json_walk(value);
		text_string(out, "[");
		for (size_t i = 0; !last && json_next(&walk); i++) {
			begin_item(out, &first);
			if (part->kind == PATH_EACH || i == part->index)
				remove_at(out, part + 1, end, &walk.value);
			else
				add_value(out, &walk.value);
		}
		text_string(out, "]");
	} else {
		add_value(out, value);
	}
}

/* One key after the other. */
static int
remove_all(struct text *out, const struct payload_change *change,
    const struct json *payload, struct error *err)
{
	struct text before = {0};
	struct json json = *payload;

	text_bytes(out, payload->text, payload->len);
	for (size_t i = 0; i < change->n_paths && !out->failed; i++) {
		const struct path *path = change->paths[i];
		struct text swap = before;
		before = *out;
		*out = swap;
		json.text = before.bytes;
		json.len = before.n;
		text_clear(out);
		remove_at(out, path->parts, path->parts + path->n_parts, &json);
	}
	out->failed |= before.failed;
	text_free(&before);
	return out->failed ? error_set(err, ERR_MEMORY, "out of memory for a payload")
			   : 0;
}

bool
payload_may_refuse(const struct payload_change *change, size_t n, size_t bytes_max)
{
	return change->kind == SET &&
	       (change->n_paths > 0 || n + change->json.len > bytes_max);
}

int
payload_apply(struct text *after, const struct payload_change *change,
    const char *payload, size_t n, size_t bytes_max, struct error *err)
{
	const struct json json = {JSON_OBJECT, payload, n};
	const struct path *path = change->n_paths > 0 ? change->paths[0] : NULL;
	struct json checked;

	text_clear(after);
	switch (change->kind) {
	case SET:
		set(after, change, path ? path->parts : NULL,
		    path ? path->parts + path->n_parts : NULL, n > 0 ? &json : NULL);
		break;
	case OVERWRITE:
		add_value(after, &change->json);
		break;
	case DELETE:
		return n > 0 ? remove_all(after, change, &json, err) : 0;
	case CLEAR:
		return 0;
	}
	if (after->failed)
		return error_set(err, ERR_MEMORY, "out of memory for a payload");
	if (after->n > bytes_max)
		return error_set(err, ERR_TOO_LARGE,
		    "expected payloads of at most %zu bytes (max_payload_bytes), not "
		    "one of %zu",
		    bytes_max, after->n);
	/* Members that a key leads to stand deeper than they came. */
	if (path && json_check(&checked, after->bytes, after->n, err) != 0)
		return error_prefix(err, "what the payload would be");
	return 0;
}
