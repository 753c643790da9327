#include "tests/support/filters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const filters_keys[] = {"a", "b", "c", "o.x", "o", "l[].x", "l[0].y", "l",
    "a[]", "b[1]", "\"q.t\"", "o.\"x\"", "none", "l.x"};
const size_t filters_n_keys = sizeof filters_keys / sizeof *filters_keys;

struct point_id
filters_id(size_t i)
{
	struct point_id id;
	struct error err;
	char text[40];

	if (i % 3 == 0) {
		point_id_from_number(&id, i);
		return id;
	}
	int n = snprintf(text, sizeof text, i % 3 == 1 ? "%032zu" : "name %zu", i);
	if (point_id_from_string(&id, text, (size_t)n, &err) != 0)
		abort();
	return id;
}

static cJSON *
number(struct rng *rng)
{
	static const char *const texts[] = {"0", "-0", "1", "1.0", "2", "2.5", "-3",
	    "-0.0", "1e2", "100", "0.1", "9007199254740993", "9007199254740992",
	    "9007199254740992.0", "9223372036854775807", "-9223372036854775808",
	    "9223372036854775808", "18446744073709551615", "1e300", "-1e-300"};
	char text[32];

	/* A few often, so that bounds meet numbers. */
	if (rng_below(rng, 3) == 0)
		return cJSON_CreateRaw(rng_below(rng, 2) == 0 ? "2.5" : "1.0");
	if (rng_below(rng, 3) == 0)
		return cJSON_CreateRaw(
		    texts[rng_below(rng, sizeof texts / sizeof *texts)]);
	snprintf(text, sizeof text, "%d", (int)rng_below(rng, 9) - 4);
	return cJSON_CreateRaw(text);
}

static cJSON *
string(struct rng *rng)
{
	static const char *const texts[] = {"", "red", "Red", "blue bird", "bird", "b",
	    "red, blue; BIRD", "\xC3\x89t\xC3\xA9", "\xC3\xA9t\xC3\xA9 bird", "a\"b\\c",
	    "1", "ababab", "abab", "bab bird-bath 7"};
	char text[600];
	size_t n = 0;

	if (rng_below(rng, 8) != 0)
		return cJSON_CreateString(
		    texts[rng_below(rng, sizeof texts / sizeof *texts)]);
	/* Around the longest term, alike but for the end. */
	n = 395 + rng_below(rng, 10) + (rng_below(rng, 2) == 0 ? 100 : 0);
	memset(text, 'k', n);
	text[n - 1] = (char)('k' + rng_below(rng, 2));
	text[n] = '\0';
	return cJSON_CreateString(text);
}

static cJSON *
scalar(struct rng *rng)
{
	switch (rng_below(rng, 8)) {
	case 0:
		return cJSON_CreateNull();
	case 1:
		return cJSON_CreateBool(rng_below(rng, 2) == 0);
	case 2:
	case 3:
	case 4:
		return number(rng);
	default:
		return string(rng);
	}
}

static cJSON *
value(struct rng *rng, int depth)
{
	unsigned kind = (unsigned)rng_below(rng, 10);

	if (kind < 6 || depth == 0)
		return scalar(rng);
	if (kind < 9) {
		cJSON *array = cJSON_CreateArray();
		for (size_t n = rng_below(rng, 4); n > 0; n--)
			cJSON_AddItemToArray(array, rng_below(rng, 8) == 0
							? value(rng, depth - 1)
							: scalar(rng));
		return array;
	}
	cJSON *object = cJSON_CreateObject();
	for (size_t i = 0; i < 2; i++)
		if (rng_below(rng, 3) != 0)
			cJSON_AddItemToObject(
			    object, i == 0 ? "x" : "y", value(rng, depth - 1));
	return object;
}

cJSON *
filters_payload(struct rng *rng)
{
	static const char *const plain[] = {"a", "b", "c", "q.t"};
	cJSON *payload = cJSON_CreateObject();

	for (size_t i = 0; i < 4; i++)
		if (rng_below(rng, 4) != 0)
			cJSON_AddItemToObject(payload, plain[i], value(rng, 2));
	for (size_t i = 0; i < 2; i++) {
		if (rng_below(rng, 2) == 0)
			continue;
		cJSON *array = cJSON_CreateArray();
		for (size_t n = rng_below(rng, 4) + (i == 0); n > 0; n--) {
			cJSON *object = cJSON_CreateObject();
			cJSON_AddItemToObject(object, "x", value(rng, 1));
			cJSON_AddItemToObject(object, "y", value(rng, 1));
			cJSON_AddItemToArray(array, object);
		}
		cJSON_AddItemToObject(payload, i == 0 ? "o" : "l",
		    i == 0 ? cJSON_DetachItemFromArray(array, 0) : array);
		if (i == 0)
			cJSON_Delete(array);
	}
	return payload;
}

static cJSON *
bounds(struct rng *rng, bool counts)
{
	static const char *const names[] = {"lt", "lte", "gt", "gte"};
	cJSON *range = cJSON_CreateObject();
	char text[8];

	for (size_t i = 0; i < 4; i++) {
		if (rng_below(rng, 5) > 1)
			continue;
		snprintf(text, sizeof text, "%d", (int)rng_below(rng, 4));
		cJSON_AddItemToObject(
		    range, names[i], counts ? cJSON_CreateRaw(text) : number(rng));
	}
	return range;
}

/* An integer that a filter may name. */
static cJSON *
integer(struct rng *rng)
{
	static const char *const texts[] = {
	    "9007199254740993", "9223372036854775807", "-9223372036854775808", "100"};
	char text[32];

	snprintf(text, sizeof text, "%d", (int)rng_below(rng, 9) - 4);
	return cJSON_CreateRaw(
	    rng_below(rng, 4) == 0 ? texts[rng_below(rng, 4)] : text);
}

static cJSON *
match(struct rng *rng)
{
	cJSON *match = cJSON_CreateObject();
	unsigned kind = (unsigned)rng_below(rng, 7);
	bool strings = rng_below(rng, 2) == 0;

	if (kind == 0) {
		cJSON_AddItemToObject(match, "text", string(rng));
	} else if (kind < 4) {
		cJSON_AddItemToObject(match, "value",
		    rng_below(rng, 4) == 0 ? cJSON_CreateBool(rng_below(rng, 2) == 0)
		    : strings              ? string(rng)
					   : integer(rng));
	} else {
		cJSON *list =
		    cJSON_AddArrayToObject(match, kind < 6 ? "any" : "except");
		for (size_t n = rng_below(rng, 5); n > 0; n--)
			cJSON_AddItemToArray(
			    list, strings ? string(rng) : integer(rng));
	}
	return match;
}

/* What a filter is made over. */
struct over {
	const char *const *keys; /* (n) */
	size_t n;
	bool all; /* kinds of conditions */
	bool nested;
};

static cJSON *filter(struct rng *rng, int depth, struct over over);

static cJSON *
ids(struct rng *rng)
{
	cJSON *list = cJSON_CreateArray();
	char text[POINT_ID_PRINT_MAX];

	for (size_t n = rng_below(rng, 30); n > 0; n--) {
		struct point_id id = filters_id(rng_below(rng, FILTERS_IDS));
		point_id_print(text, &id);
		cJSON_AddItemToArray(list, cJSON_CreateRaw(text));
	}
	return list;
}

static cJSON *
condition(struct rng *rng, int depth, struct over over)
{
	cJSON *c = cJSON_CreateObject(), *inner = NULL;
	const char *key = over.keys[rng_below(rng, over.n)];
	unsigned kind = (unsigned)rng_below(rng, 13);

	if (!over.all && (kind == 1 || kind == 6))
		kind = 12;
	if (depth > 0 && kind == 0) {
		cJSON_Delete(c);
		return filter(rng, depth - 1, over);
	}
	if (depth > 0 && kind == 1) {
		static const char *const members[] = {"x", "y"};
		inner = cJSON_AddObjectToObject(c, "nested");
		cJSON_AddStringToObject(inner, "key",
		    over.nested              ? key
		    : rng_below(rng, 2) == 0 ? "l"
					     : "l[]");
		cJSON_AddItemToObject(inner, "filter",
		    filter(rng, depth - 1, (struct over){members, 2, true, true}));
		return c;
	}
	if (kind == 2 && !over.nested) {
		cJSON_AddItemToObject(c, "has_id", ids(rng));
		return c;
	}
	if (kind < 5) {
		inner = cJSON_AddObjectToObject(c, kind == 3 ? "is_empty" : "is_null");
		cJSON_AddStringToObject(inner, "key", key);
		return c;
	}
	cJSON_AddStringToObject(c, "key", key);
	if (kind == 5)
		cJSON_AddBoolToObject(c,
		    rng_below(rng, 2) == 0 ? "is_empty" : "is_null",
		    rng_below(rng, 2) == 0);
	else if (kind < 8)
		cJSON_AddItemToObject(
		    c, kind == 6 ? "values_count" : "range", bounds(rng, kind == 6));
	else
		cJSON_AddItemToObject(c, "match", match(rng));
	return c;
}

static cJSON *
conditions(struct rng *rng, int depth, struct over over)
{
	if (rng_below(rng, 6) == 0)
		return condition(rng, depth, over);
	cJSON *list = cJSON_CreateArray();
	for (size_t n = rng_below(rng, 4); n > 0; n--)
		cJSON_AddItemToArray(list, condition(rng, depth, over));
	return list;
}

static cJSON *
filter(struct rng *rng, int depth, struct over over)
{
	static const char *const names[] = {"must", "should", "must_not"};
	cJSON *f = cJSON_CreateObject();

	for (size_t i = 0; i < 3; i++)
		if (rng_below(rng, 3) == 0)
			cJSON_AddItemToObject(
			    f, names[i], conditions(rng, depth, over));
	if (rng_below(rng, 5) == 0) {
		cJSON *least = cJSON_AddObjectToObject(f, "min_should");
		cJSON_AddItemToObject(
		    least, "conditions", conditions(rng, depth, over));
		cJSON_AddNumberToObject(least, "min_count", (double)rng_below(rng, 4));
	}
	return f;
}

cJSON *
filters_filter(struct rng *rng)
{
	return filter(rng, 2, (struct over){filters_keys, filters_n_keys, true, false});
}

cJSON *
filters_filter_of(struct rng *rng, const char *const *keys, size_t n)
{
	return filter(rng, 2, (struct over){keys, n, false, false});
}

char *
filters_print(struct rng *rng, const cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	char *out = malloc(6 * strlen(text) + 1), *p = out;

	/* 'b' and 'd' stand in strings alone, never behind a backslash that counts. */
	for (const char *t = text; *t; t++) {
		bool letter = (*t == 'b' || *t == 'd') && (t == text || t[-1] != '\\');
		if (letter && rng_below(rng, 8) == 0)
			p += sprintf(p, "\\u%04x", (unsigned)*t);
		else
			*p++ = *t;
	}
	*p = '\0';
	cJSON_free(text);
	return out;
}
