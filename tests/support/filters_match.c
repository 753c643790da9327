#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/filters.h"

/* The documentation, read word by word. */

#define VALUES_MAX 256

struct values {
	const cJSON *list[VALUES_MAX];
	size_t n;
};

static void
collect(struct values *out, const char *path, const cJSON *at)
{
	char key[64];
	size_t n = 0;

	if (*path == '\0') {
		if (out->n == VALUES_MAX)
			abort();
		out->list[out->n++] = at;
		return;
	}
	if (*path == '[') {
		const char *rest = strchr(path, ']') + 1;
		int i = 0;
		const cJSON *child;
		cJSON_ArrayForEach(child, at) if (cJSON_IsArray(at))
		{
			if (path[1] == ']' || atoi(path + 1) == i)
				collect(out, rest, child);
			i++;
		}
		return;
	}
	if (*path == '.')
		path++;
	if (*path == '"') {
		for (path++; *path != '"'; path++)
			key[n++] = *path;
		path++;
	} else {
		while (*path != '\0' && *path != '.' && *path != '[')
			key[n++] = *path++;
	}
	key[n] = '\0';
	const cJSON *child = cJSON_GetObjectItemCaseSensitive(at, key);
	if (cJSON_IsObject(at) && child)
		collect(out, path, child);
}

static bool
is_integer(const cJSON *v, long long *i)
{
	char *end;

	if (!cJSON_IsRaw(v) || strpbrk(v->valuestring, ".eE"))
		return false;
	errno = 0;
	*i = strtoll(v->valuestring, &end, 10);
	return errno == 0;
}

static bool
same(const cJSON *stored, const cJSON *wanted)
{
	long long a, b;

	if (cJSON_IsString(stored) && cJSON_IsString(wanted))
		return strcmp(stored->valuestring, wanted->valuestring) == 0;
	if (cJSON_IsBool(stored) && cJSON_IsBool(wanted))
		return cJSON_IsTrue(stored) == cJSON_IsTrue(wanted);
	return is_integer(stored, &a) && is_integer(wanted, &b) && a == b;
}

static bool
in_list(const cJSON *stored, const cJSON *list)
{
	const cJSON *wanted;

	cJSON_ArrayForEach(wanted, list) if (same(stored, wanted)) return true;
	return false;
}

static bool
in_bounds(double x, const cJSON *range)
{
	const cJSON *b;

	cJSON_ArrayForEach(b, range)
	{
		double y = strtod(b->valuestring, NULL);
		bool good = strcmp(b->string, "lt") == 0    ? x < y
			    : strcmp(b->string, "lte") == 0 ? x <= y
			    : strcmp(b->string, "gt") == 0  ? x > y
							    : x >= y;
		if (!good)
			return false;
	}
	return true;
}

/* Lower case words between blanks, with a blank at both ends. */
static void
words_of(char *out, const char *text)
{
	char *p = out;

	*p++ = ' ';
	for (; *text; text++) {
		char c = *text;
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		if (c == '\x89' && text[-1] == '\xC3')
			c = '\xA9';
		bool letter =
		    (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c & 0x80;
		*p++ = letter ? c : ' ';
	}
	*p++ = ' ';
	*p = '\0';
}

static bool
has_words(const struct values *values, const char *text)
{
	char wanted[700], there[8192] = "", one[700];
	size_t n = 0;

	for (size_t i = 0; i < values->n; i++) {
		const cJSON *v = values->list[i];
		const cJSON *e = cJSON_IsArray(v) ? v->child : v;
		for (; e; e = cJSON_IsArray(v) ? e->next : NULL) {
			if (!cJSON_IsString(e))
				continue;
			words_of(one, e->valuestring);
			strcat(there, one);
		}
	}
	words_of(wanted, text);
	for (char *word = strtok(wanted, " "); word; word = strtok(NULL, " ")) {
		snprintf(one, sizeof one, " %s ", word);
		if (!strstr(there, one))
			return false;
		n++;
	}
	return n > 0;
}

static bool
element_matches(const cJSON *v, const cJSON *match, const cJSON *range)
{
	const cJSON *what = match ? match->child : NULL;

	if (range)
		return cJSON_IsRaw(v) && in_bounds(strtod(v->valuestring, NULL), range);
	if (!what)
		return false;
	if (strcmp(what->string, "value") == 0)
		return same(v, what);
	if (strcmp(what->string, "any") == 0)
		return in_list(v, what);
	if (strcmp(what->string, "except") == 0)
		return !cJSON_IsNull(v) && !in_list(v, what);
	return cJSON_IsString(v) && strstr(v->valuestring, what->valuestring);
}

static bool
field_matches(
    const cJSON *c, const char *key, const cJSON *payload, const char *text_key)
{
	const cJSON *count = cJSON_GetObjectItem(c, "values_count");
	const cJSON *match = cJSON_GetObjectItem(c, "match");
	const cJSON *range = cJSON_GetObjectItem(c, "range");
	const cJSON *text = cJSON_GetObjectItem(match, "text");
	struct values values = {.n = 0};

	collect(&values, key, payload);
	if (text && text_key && strcmp(key, text_key) == 0)
		return has_words(&values, text->valuestring);
	if (count && values.n == 0) /* what is not there has none */
		return in_bounds(0, count);
	for (size_t i = 0; i < values.n; i++) {
		const cJSON *v = values.list[i], *e;
		int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : !cJSON_IsNull(v);
		if (count && in_bounds(n, count))
			return true;
		if (!count && !cJSON_IsArray(v) && element_matches(v, match, range))
			return true;
		if (!count && cJSON_IsArray(v))
			cJSON_ArrayForEach(
			    e, v) if (element_matches(e, match, range)) return true;
	}
	return false;
}

static bool
nothing_matches(const char *key, bool is_null, const cJSON *payload)
{
	struct values values = {.n = 0};

	collect(&values, key, payload);
	for (size_t i = 0; i < values.n; i++) {
		const cJSON *v = values.list[i];
		if (is_null && cJSON_IsNull(v))
			return true;
		if (!is_null && !cJSON_IsNull(v) &&
		    !(cJSON_IsArray(v) && cJSON_GetArraySize(v) == 0))
			return false;
	}
	return !is_null;
}

static bool
condition_matches(const cJSON *c, const struct point_id *id, const cJSON *payload,
    const char *text_key)
{
	const cJSON *key = cJSON_GetObjectItem(c, "key");
	const cJSON *has = cJSON_GetObjectItem(c, "has_id");
	const cJSON *nested = cJSON_GetObjectItem(c, "nested"), *v;

	for (int i = 0; i < 2; i++) {
		const cJSON *nothing =
		    cJSON_GetObjectItem(c, i ? "is_null" : "is_empty");
		if (nothing && key)
			return nothing_matches(key->valuestring, i, payload) ==
			       cJSON_IsTrue(nothing);
		if (nothing)
			return nothing_matches(nothing->child->valuestring, i, payload);
	}
	if (key)
		return field_matches(c, key->valuestring, payload, text_key);
	if (has) {
		char text[POINT_ID_PRINT_MAX];
		point_id_print(text, id);
		cJSON_ArrayForEach(
		    v, has) if (strcmp(v->valuestring, text) == 0) return true;
		return false;
	}
	if (nested) {
		struct values values = {.n = 0};
		char path[64];
		snprintf(path, sizeof path, "%s",
		    cJSON_GetObjectItem(nested, "key")->valuestring);
		if (!strstr(path, "[]"))
			strcat(path, "[]");
		collect(&values, path, payload);
		for (size_t i = 0; i < values.n; i++)
			if (cJSON_IsObject(values.list[i]) &&
			    filters_match(cJSON_GetObjectItem(nested, "filter"), id,
				values.list[i], NULL))
				return true;
		return false;
	}
	return filters_match(c, id, payload, text_key);
}

/* How many of a list match; *n := how many there are. */
static int
count(const cJSON *list, int *n, const struct point_id *id, const cJSON *payload,
    const char *text_key)
{
	int matching = 0;
	const cJSON *c = cJSON_IsArray(list) ? list->child : list;

	for (*n = 0; c; c = cJSON_IsArray(list) ? c->next : NULL, ++*n)
		matching += condition_matches(c, id, payload, text_key);
	return matching;
}

bool
filters_match(const cJSON *filter, const struct point_id *id, const cJSON *payload,
    const char *text_key)
{
	const cJSON *least = cJSON_GetObjectItem(filter, "min_should");
	int n;

	if (count(cJSON_GetObjectItem(filter, "must"), &n, id, payload, text_key) != n)
		return false;
	int some =
	    count(cJSON_GetObjectItem(filter, "should"), &n, id, payload, text_key);
	if (n > 0 && some == 0)
		return false;
	if (count(cJSON_GetObjectItem(filter, "must_not"), &n, id, payload, text_key) >
	    0)
		return false;
	if (!least)
		return true;
	some =
	    count(cJSON_GetObjectItem(least, "conditions"), &n, id, payload, text_key);
	return n == 0 || some >= cJSON_GetObjectItem(least, "min_count")->valueint;
}
