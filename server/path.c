#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/path_internal.h"

static int
refuse(const char *key, size_t n, struct error *err)
{
	return error_set(err, ERR_INPUT,
	    "expected a key like a, a.b, a[].b, a[0] or \"a.b\" in quotes, of 1 to %d "
	    "bytes and at most %d parts, not %.*s",
	    PATH_BYTES_MAX, PATH_PARTS_MAX, (int)(n < 80 ? n : 80), key);
}

/* A bare or quoted key at p, ended by '\0' in its place; where the next part begins, or
 * NULL.  *next := the byte that stood there. */
static char *
take_member(struct path_part *part, char *p, char *next)
{
	bool quoted = *p == '"';

	part->kind = PATH_MEMBER;
	part->key = p + quoted;
	p += quoted;
	p += strcspn(p, quoted ? "\"" : ".[]\"");
	if (quoted && *p != '"')
		return NULL;
	if (!quoted && p == part->key)
		return NULL;
	*next = quoted ? p[1] : *p;
	*p = '\0';
	return p + quoted;
}

/* "[]" or "[3]" at p. */
static char *
take_element(struct path_part *part, char *p)
{
	char *digits = ++p;

	part->kind = PATH_EACH;
	for (; *p >= '0' && *p <= '9'; p++) {
		part->kind = PATH_ELEMENT;
		if (p - digits > 9)
			return NULL;
		part->index = part->index * 10 + (size_t)(*p - '0');
	}
	return *p == ']' ? p + 1 : NULL;
}

/* Cut path->text into parts. */
static bool
cut(struct path *path)
{
	char next = '\0',
	     *p = take_member(&path->parts[path->n_parts++], path->text, &next);

	while (p && next != '\0') {
		if (path->n_parts == PATH_PARTS_MAX)
			return false;
		struct path_part *part = &path->parts[path->n_parts++];
		if (next == '[') {
			p = take_element(part, p);
			next = p ? *p : '\0';
		} else {
			p = next == '.' ? take_member(part, p + 1, &next) : NULL;
		}
	}
	return p != NULL;
}

struct path *
path_new(const char *key, size_t n, struct error *err)
{
	if (n == 0 || n > PATH_BYTES_MAX || memchr(key, 0, n)) {
		refuse(key, n, err);
		return NULL;
	}
	struct path *path = array_new(1, sizeof *path);
	if (path) {
		path->key = array_copy(key, n);
		path->text = array_copy(key, n);
	}
	if (!path || !path->key || !path->text) {
		error_set(err, ERR_MEMORY, "out of memory for a key");
		path_free(path);
		return NULL;
	}
	if (!cut(path)) {
		refuse(key, n, err);
		path_free(path);
		return NULL;
	}
	return path;
}

struct path *
path_new_each(const char *key, size_t n, struct error *err)
{
	struct path *path = path_new(key, n, err);

	if (path && path->parts[path->n_parts - 1].kind != PATH_EACH)
		path->parts[path->n_parts++].kind = PATH_EACH;
	return path;
}

void
path_free(struct path *path)
{
	if (!path)
		return;
	free(path->key);
	free(path->text);
	free(path);
}

const char *
path_key(const struct path *path)
{
	return path->key;
}

bool
path_equal(const struct path *a, const struct path *b)
{
	if (a->n_parts != b->n_parts)
		return false;
	for (size_t i = 0; i < a->n_parts; i++) {
		const struct path_part *x = &a->parts[i], *y = &b->parts[i];
		if (x->kind != y->kind || x->index != y->index ||
		    (x->kind == PATH_MEMBER && strcmp(x->key, y->key) != 0))
			return false;
	}
	return true;
}

/* The parts from `part` on, below `value`. */
static bool
any(const struct path_part *part, const struct path_part *end, const struct json *value,
    path_on_value *on_value, void *arg)
{
	struct json member;

	if (part == end)
		return on_value(arg, value);
	if (part->kind == PATH_MEMBER)
		return json_member(value, part->key, &member) &&
		       any(part + 1, end, &member, on_value, arg);
	if (value->type != JSON_ARRAY)
		return false;
	struct json_walk walk = json_walk(value);
	for (size_t i = 0; json_next(&walk); i++) {
		if (part->kind == PATH_ELEMENT && i < part->index)
			continue;
		if (any(part + 1, end, &walk.value, on_value, arg))
			return true;
		if (part->kind == PATH_ELEMENT)
			return false;
	}
	return false;
}

bool
path_any(const struct path *path, const struct json *object, path_on_value *on_value,
    void *arg)
{
	return any(path->parts, path->parts + path->n_parts, object, on_value, arg);
}
