#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/filter_internal.h"

/* JSON to a tree: lists of conditions here, what stands in one of them in
 * filter_values.c. */

struct reading {
	struct filter *filter;
	const struct db_field *fields;
	size_t n_fields;
	bool nested; /* inside a nested condition */
};

/* The members that a filter or a condition may have. */
enum member {
	KEY,
	MATCH,
	RANGE,
	VALUES_COUNT,
	IS_EMPTY,
	IS_NULL,
	HAS_ID,
	NESTED,
	MUST,
	SHOULD,
	MUST_NOT,
	MIN_SHOULD,
	UNSUPPORTED, /* the first of those that are known and not served */
	MEMBERS = UNSUPPORTED + 5,
};

static const char *const names[MEMBERS] = {
    [KEY] = "key",
    [MATCH] = "match",
    [RANGE] = "range",
    [VALUES_COUNT] = "values_count",
    [IS_EMPTY] = "is_empty",
    [IS_NULL] = "is_null",
    [HAS_ID] = "has_id",
    [NESTED] = "nested",
    [MUST] = "must",
    [SHOULD] = "should",
    [MUST_NOT] = "must_not",
    [MIN_SHOULD] = "min_should",
    "geo_radius",
    "geo_bounding_box",
    "geo_polygon",
    "has_vector",
    "slice",
};

#define BIT(m) (1u << (m))
#define LISTS (BIT(MUST) | BIT(SHOULD) | BIT(MUST_NOT) | BIT(MIN_SHOULD))

/* The members of an object that are not null. */
struct members {
	unsigned has; /* bits */
	struct json values[MEMBERS];
};

static int
refuse_member(const struct json *key, const char *expected, struct error *err)
{
	return error_set(err, ERR_INPUT, "filter: expected %s, not %.*s", expected,
	    (int)(key->len < 64 ? key->len : 64), key->text);
}

static int
read_members(struct members *m, const struct json *object, struct error *err)
{
	if (object->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "filter: expected an object, not %s",
		    json_type_name(object->type));
	m->has = 0;
	struct json_walk walk = json_walk(object);
	while (json_next(&walk)) {
		unsigned i = 0;
		while (i < MEMBERS && !json_equals(&walk.key, names[i]))
			i++;
		if (i == MEMBERS)
			return refuse_member(&walk.key,
			    "must, should, must_not, min_should, key with match, "
			    "range, "
			    "values_count, or has_id, is_empty, is_null, nested",
			    err);
		m->has &= ~BIT(i);
		if (walk.value.type == JSON_NULL)
			continue;
		if (i >= UNSUPPORTED)
			return error_set(err, ERR_UNSUPPORTED,
			    "filter: %s is not served; keep what it looks at as a "
			    "number, a string or a boolean and use match or range",
			    names[i]);
		m->has |= BIT(i);
		m->values[i] = walk.value;
	}
	return 0;
}

/* *index := a new node, the last child of `parent` (or the root). */
static int
new_node(struct filter *filter, enum filter_kind kind, uint32_t parent, uint32_t *index,
    struct error *err)
{
	if (filter->n == FILTER_CONDITIONS_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "filter: expected at most %d conditions and lists of them; put "
		    "many "
		    "values into one match.any or has_id",
		    FILTER_CONDITIONS_MAX);
	if (filter->n == filter->cap) {
		uint32_t cap = filter->cap ? 2 * filter->cap : 8;
		struct filter_node *nodes =
		    array_resize(filter->nodes, cap, sizeof *nodes);
		if (!nodes)
			return error_set(err, ERR_MEMORY, "out of memory for a filter");
		filter->nodes = nodes;
		filter->cap = cap;
	}
	*index = filter->n++;
	filter->nodes[*index] = (struct filter_node){
	    .kind = kind, .type = JSON_NULL, .field = FILTER_NO_FIELD};
	if (*index == 0)
		return 0;
	struct filter_node *above = &filter->nodes[parent];
	if (above->first == 0)
		above->first = *index;
	else
		filter->nodes[above->last].next = *index;
	above->last = *index;
	return 0;
}

static int read_lists(
    struct reading *r, const struct members *m, uint32_t parent, struct error *err);

/* The string under "key". */
static struct path *
read_path(const struct json *key, bool each, struct error *err)
{
	if (key->type != JSON_STRING) {
		error_set(err, ERR_INPUT,
		    "filter: expected a key that is a string, not %s",
		    json_type_name(key->type));
		return NULL;
	}
	char *text = array_new(key->len + 1, 1);
	if (!text) {
		error_set(err, ERR_MEMORY, "out of memory for a filter");
		return NULL;
	}
	size_t n = json_string(text, key->len + 1, key);
	struct path *path = each ? path_new_each(text, n, err) : path_new(text, n, err);
	free(text);
	return path;
}

/* node->path := the key, and its field where there is one. */
static int
read_key(struct reading *r, struct filter_node *node, const struct json *key,
    struct error *err)
{
	node->path = read_path(key, false, err);
	if (!node->path)
		return -1;
	for (size_t i = 0; !r->nested && i < r->n_fields; i++) {
		if (!path_equal(r->fields[i].path, node->path))
			continue;
		node->field = r->fields[i].number;
		node->field_type = r->fields[i].type;
	}
	return 0;
}

/* {"key": K} with one of the conditions on a key. */
static int
read_keyed(
    struct reading *r, const struct members *m, uint32_t parent, struct error *err)
{
	unsigned what = m->has & ~BIT(KEY);
	uint32_t i;

	if (what != BIT(MATCH) && what != BIT(RANGE) && what != BIT(VALUES_COUNT) &&
	    what != BIT(IS_EMPTY) && what != BIT(IS_NULL))
		return error_set(err, ERR_INPUT,
		    "filter: expected one of match, range, values_count, is_empty and "
		    "is_null beside key; make several conditions of several");
	enum member one = (enum member)__builtin_ctz(what);
	const struct json *value = &m->values[one];
	if (one == IS_EMPTY || one == IS_NULL) {
		if (value->type != JSON_TRUE && value->type != JSON_FALSE)
			return error_set(err, ERR_INPUT,
			    "filter: expected true or false for %s, not %s", names[one],
			    json_type_name(value->type));
		if (value->type == JSON_FALSE) {
			if (new_node(r->filter, FILTER_NONE, parent, &i, err) != 0)
				return -1;
			parent = i;
		}
	}
	static const enum filter_kind kinds[] = {[MATCH] = FILTER_MATCH,
	    [RANGE] = FILTER_RANGE,
	    [VALUES_COUNT] = FILTER_COUNT,
	    [IS_EMPTY] = FILTER_IS_EMPTY,
	    [IS_NULL] = FILTER_IS_NULL};
	if (new_node(r->filter, kinds[one], parent, &i, err) != 0)
		return -1;
	struct filter_node *node = &r->filter->nodes[i];
	if (read_key(r, node, &m->values[KEY], err) != 0)
		return -1;
	return one == MATCH          ? filter_read_match(node, value, err)
	       : one == RANGE        ? filter_read_range(node, value, err)
	       : one == VALUES_COUNT ? filter_read_count(node, value, err)
				     : 0;
}

/* {"is_empty": {"key": K}} and is_null. */
static int
read_nothing(struct reading *r, enum filter_kind kind, const struct json *value,
    uint32_t parent, struct error *err)
{
	struct members m;
	uint32_t i;

	if (read_members(&m, value, err) != 0)
		return -1;
	if (m.has != BIT(KEY))
		return error_set(err, ERR_INPUT,
		    "filter: expected {\"key\": ...} in is_empty and is_null");
	if (new_node(r->filter, kind, parent, &i, err) != 0)
		return -1;
	return read_key(r, &r->filter->nodes[i], &m.values[KEY], err);
}

/* {"nested": {"key": K, "filter": F}} */
static int
read_nested(
    struct reading *r, const struct json *value, uint32_t parent, struct error *err)
{
	struct json key = {.type = JSON_NULL}, inner = {.type = JSON_NULL};
	struct json_walk walk = json_walk(value);
	bool nested = r->nested;
	struct members m;
	uint32_t i;

	while (json_next(&walk)) {
		if (json_equals(&walk.key, "key"))
			key = walk.value;
		else if (json_equals(&walk.key, "filter"))
			inner = walk.value;
		else
			return refuse_member(
			    &walk.key, "key and filter in nested", err);
	}
	if (key.type == JSON_NULL || inner.type == JSON_NULL)
		return error_set(
		    err, ERR_INPUT, "filter: expected key and filter in nested");
	if (new_node(r->filter, FILTER_NESTED, parent, &i, err) != 0)
		return -1;
	struct path *path = read_path(&key, true, err);
	r->filter->nodes[i].path = path;
	if (!path || read_members(&m, &inner, err) != 0)
		return -1;
	r->nested = true;
	int result = read_lists(r, &m, i, err);
	r->nested = nested;
	return result;
}

static int
read_ids(
    struct reading *r, const struct json *value, uint32_t parent, struct error *err)
{
	uint32_t i;

	if (r->nested)
		return error_set(err, ERR_INPUT,
		    "filter: expected no has_id within nested: an object has no id; "
		    "put "
		    "it beside");
	if (new_node(r->filter, FILTER_HAS_ID, parent, &i, err) != 0)
		return -1;
	return filter_read_ids(&r->filter->nodes[i], value, err);
}

static int
read_condition(
    struct reading *r, const struct json *value, uint32_t parent, struct error *err)
{
	struct members m;
	uint32_t i;

	if (read_members(&m, value, err) != 0)
		return -1;
	if (m.has & BIT(KEY))
		return read_keyed(r, &m, parent, err);
	switch (m.has) {
	case BIT(HAS_ID):
		return read_ids(r, &m.values[HAS_ID], parent, err);
	case BIT(NESTED):
		return read_nested(r, &m.values[NESTED], parent, err);
	case BIT(IS_EMPTY):
		return read_nothing(
		    r, FILTER_IS_EMPTY, &m.values[IS_EMPTY], parent, err);
	case BIT(IS_NULL):
		return read_nothing(r, FILTER_IS_NULL, &m.values[IS_NULL], parent, err);
	default:
		if (new_node(r->filter, FILTER_ALL, parent, &i, err) != 0)
			return -1;
		return read_lists(r, &m, i, err);
	}
}

/* The conditions of a list, or the one that stands in its place, as children. */
static int
read_list(
    struct reading *r, const struct json *list, uint32_t parent, struct error *err)
{
	if (list->type != JSON_ARRAY)
		return read_condition(r, list, parent, err);
	struct json_walk walk = json_walk(list);
	while (json_next(&walk))
		if (read_condition(r, &walk.value, parent, err) != 0)
			return -1;
	return 0;
}

/* A list as a node of its own; an empty one is none. */
static int
read_group(struct reading *r, enum filter_kind kind, const struct json *list,
    size_t least, uint32_t parent, struct error *err)
{
	uint32_t i;

	if (list->type == JSON_ARRAY && json_count(list) == 0)
		return 0;
	if (new_node(r->filter, kind, parent, &i, err) != 0)
		return -1;
	r->filter->nodes[i].least = least;
	return read_list(r, list, i, err);
}

/* {"conditions": [..], "min_count": N} */
static int
read_min_should(
    struct reading *r, const struct json *value, uint32_t parent, struct error *err)
{
	struct json list = {.type = JSON_NULL}, count = {.type = JSON_NULL};
	struct json_walk walk = json_walk(value);
	uint64_t least;

	if (value->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "filter: expected {\"conditions\": [..], \"min_count\": N} in "
		    "min_should, not %s",
		    json_type_name(value->type));
	while (json_next(&walk)) {
		if (json_equals(&walk.key, "conditions"))
			list = walk.value;
		else if (json_equals(&walk.key, "min_count"))
			count = walk.value;
		else
			return refuse_member(
			    &walk.key, "conditions and min_count in min_should", err);
	}
	if (list.type == JSON_NULL || !json_u64(&least, &count))
		return error_set(err, ERR_INPUT,
		    "filter: expected conditions and a min_count of 0 or more in "
		    "min_should");
	return read_group(r, FILTER_AT_LEAST, &list, least, parent, err);
}

/* must, should, must_not and min_should as children of an ALL or NESTED. */
static int
read_lists(
    struct reading *r, const struct members *m, uint32_t parent, struct error *err)
{
	if (m->has & ~LISTS)
		return error_set(err, ERR_INPUT,
		    "filter: expected must, should, must_not or min_should, not %s; "
		    "put "
		    "conditions into must, and each of them alone",
		    names[__builtin_ctz(m->has & ~LISTS)]);
	if (m->has & BIT(MUST) && read_list(r, &m->values[MUST], parent, err) != 0)
		return -1;
	if (m->has & BIT(SHOULD) &&
	    read_group(r, FILTER_ANY, &m->values[SHOULD], 0, parent, err) != 0)
		return -1;
	if (m->has & BIT(MUST_NOT) &&
	    read_group(r, FILTER_NONE, &m->values[MUST_NOT], 0, parent, err) != 0)
		return -1;
	if (m->has & BIT(MIN_SHOULD))
		return read_min_should(r, &m->values[MIN_SHOULD], parent, err);
	return 0;
}

struct filter *
filter_new(const struct json *json, const struct db_field *fields, size_t n_fields,
    struct error *err)
{
	struct filter *filter = array_new(1, sizeof *filter);
	struct reading reading = {filter, fields, n_fields, false};
	struct members m;
	uint32_t root;

	if (!filter) {
		error_set(err, ERR_MEMORY, "out of memory for a filter");
		return NULL;
	}
	if (json->len > FILTER_BYTES_MAX) {
		error_set(err, ERR_TOO_LARGE,
		    "filter: expected at most %d bytes of JSON, not %zu",
		    FILTER_BYTES_MAX, json->len);
		goto fail;
	}
	if (read_members(&m, json, err) != 0 ||
	    new_node(filter, FILTER_ALL, 0, &root, err) != 0 ||
	    read_lists(&reading, &m, root, err) != 0)
		goto fail;
	return filter;
fail:
	filter_free(filter);
	return NULL;
}

void
filter_free(struct filter *filter)
{
	if (!filter)
		return;
	for (uint32_t i = 0; i < filter->n; i++) {
		struct filter_node *node = &filter->nodes[i];
		path_free(node->path);
		free(node->values);
		free(node->bytes);
		free(node->restarts);
		free(node->words);
	}
	free(filter->nodes);
	free(filter);
}
