#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/json_text.h"

/* Everything here runs over text that json_check has accepted, so it only has to find
 * its way, not to judge. */

const char *
json_type_name(enum json_type type)
{
	switch (type) {
	case JSON_NULL:
		return "null";
	case JSON_FALSE:
	case JSON_TRUE:
		return "a boolean";
	case JSON_NUMBER:
		return "a number";
	case JSON_STRING:
		return "a string";
	case JSON_ARRAY:
		return "an array";
	case JSON_OBJECT:
		return "an object";
	}
	return "nothing";
}

/* p stands at an opening quote; the byte after the closing one, which is the first that
 * has an even number of backslashes before it.  Codes and vectors are long strings, and
 * every look for a member passes them. */
static const char *
skip_string(const char *p, const char *end)
{
	const char *quote = p, *first;

	do {
		quote = memchr(quote + 1, '"', (size_t)(end - quote - 1));
		assert(quote);
		for (first = quote; first[-1] == '\\'; first--)
			continue;
	} while ((quote - first) % 2 != 0);
	return quote + 1;
}

static const char *
skip_container(const char *p, const char *end)
{
	int depth = 0;
	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '[' || *p == '{')
			depth++;
		if (*p == ']' || *p == '}')
			depth--;
		p++;
		if (depth == 0)
			break;
	}
	return p;
}

/* *value := the value at p; the byte after it. */
static const char *
take_value(struct json *value, const char *p, const char *end)
{
	const char *start = p;
	value->type = json_text_type(*p);
	if (value->type == JSON_STRING) {
		p = skip_string(p, end);
	} else if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
		p = skip_container(p, end);
	} else {
		while (p < end && *p != ',' && *p != ']' && *p != '}' && *p != ' ' &&
		       *p != '\n' && *p != '\r' && *p != '\t')
			p++;
	}
	value->text = start;
	value->len = (size_t)(p - start);
	return p;
}

struct json_walk
json_walk(const struct json *container)
{
	struct json_walk walk = {.next = NULL, .end = NULL};
	if (container->type != JSON_ARRAY && container->type != JSON_OBJECT)
		return walk;
	walk.key.type = container->type == JSON_OBJECT ? JSON_STRING : JSON_NULL;
	walk.next = container->text + 1;
	walk.end = container->text + container->len - 1; /* the closing bracket */
	return walk;
}

bool
json_next(struct json_walk *walk)
{
	if (walk->next == walk->end)
		return false;
	const char *p = json_text_space(walk->next, walk->end);
	if (p == walk->end) { /* an empty container with space in it */
		walk->next = p;
		return false;
	}
	if (walk->key.type == JSON_STRING) {
		p = take_value(&walk->key, p, walk->end);
		p = json_text_space(p, walk->end) + 1; /* the colon */
		p = json_text_space(p, walk->end);
	}
	p = take_value(&walk->value, p, walk->end);
	p = json_text_space(p, walk->end);
	walk->next = p < walk->end ? p + 1 : p; /* the comma */
	return true;
}

size_t
json_count(const struct json *container)
{
	size_t n = 0;
	struct json_walk walk = json_walk(container);
	while (json_next(&walk))
		n++;
	return n;
}

bool
json_member(const struct json *object, const char *key, struct json *value)
{
	bool found = false;
	if (object->type != JSON_OBJECT)
		return false;
	struct json_walk walk = json_walk(object);
	while (json_next(&walk)) {
		if (json_equals(&walk.key, key)) {
			*value = walk.value;
			found = true;
		}
	}
	return found;
}

/* Four hex digits. */
static uint32_t
take_unit(const char *p)
{
	uint32_t unit = 0;
	for (int i = 0; i < 4; i++)
		unit = unit << 4 | (uint32_t)json_text_hex(p[i]);
	return unit;
}

static size_t
put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

/* Resolve what *p stands at, one byte or one escape, into out; the bytes written.
 * *p moves past it. */
static size_t
take_piece(char out[4], const char **p)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *q = *p;
	if (*q != '\\') {
		out[0] = *q;
		*p = q + 1;
		return 1;
	}
	if (q[1] != 'u') {
		const char *at = strchr(from, q[1]);
		out[0] = at ? to[at - from] : q[1];
		*p = q + 2;
		return 1;
	}
	uint32_t c = take_unit(q + 2);
	*p = q + 6;
	if (c >= 0xD800 && c <= 0xDBFF) {
		c = 0x10000 + ((c - 0xD800) << 10) + (take_unit(q + 8) - 0xDC00);
		*p = q + 12;
	}
	return put_utf8(out, c);
}

bool
json_equals(const struct json *string, const char *text)
{
	if (string->type != JSON_STRING)
		return false;
	const char *p = string->text + 1;
	const char *end = string->text + string->len - 1;
	while (p < end) {
		char piece[4];
		size_t n = take_piece(piece, &p);
		if (strncmp(text, piece, n) != 0)
			return false;
		text += n;
	}
	return *text == '\0';
}

size_t
json_string(char *out, size_t cap, const struct json *string)
{
	assert(string->type == JSON_STRING && cap >= string->len);
	(void)cap;
	const char *p = string->text + 1;
	const char *end = string->text + string->len - 1;
	size_t n = 0;
	while (p < end) {
		char piece[4];
		size_t k = take_piece(piece, &p);
		memcpy(out + n, piece, k);
		n += k;
	}
	out[n] = '\0';
	return n;
}

struct json_pieces
json_pieces(const struct json *string)
{
	assert(string->type == JSON_STRING);
	return (struct json_pieces){string->text + 1, string->text + string->len - 1};
}

size_t
json_piece(struct json_pieces *pieces, char piece[4])
{
	return pieces->next < pieces->end ? take_piece(piece, &pieces->next) : 0;
}

int
json_compare(const struct json *string, const char *bytes, size_t n)
{
	struct json_pieces pieces = json_pieces(string);
	char piece[4];
	size_t k;

	while ((k = json_piece(&pieces, piece)) > 0) {
		size_t same = k < n ? k : n;
		int order = memcmp(piece, bytes, same);
		if (order != 0 || same < k)
			return order != 0 ? order : 1;
		bytes += k;
		n -= k;
	}
	return n > 0 ? -1 : 0;
}
