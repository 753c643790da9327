#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/filter_internal.h"

/* What stands in a condition: values, bounds, ids. */

static int
out_of_memory(struct error *err)
{
	return error_set(err, ERR_MEMORY, "out of memory for a filter");
}

int
filter_value_order(const void *a, const void *b)
{
	const struct filter_value *x = a, *y = b;

	if (!x->bytes)
		return x->integer < y->integer ? -1 : x->integer > y->integer;
	int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
	return order != 0 ? order : x->n < y->n ? -1 : x->n > y->n;
}

/* Room for n values, whose strings come to at most n_bytes. */
static int
make_room(struct filter_node *node, size_t n, size_t n_bytes, struct error *err)
{
	node->values = array_new(n, sizeof *node->values);
	node->bytes = array_new(n_bytes, 1);
	return node->values && node->bytes ? 0 : out_of_memory(err);
}

/* Put a value behind the others; *used counts the bytes of strings. */
static int
add_value(struct filter_node *node, const struct json *json, bool lists, size_t *used,
    struct error *err)
{
	struct filter_value *value = &node->values[node->n_values];
	enum json_type type = json->type == JSON_FALSE ? JSON_TRUE : json->type;

	if (type == JSON_NUMBER && !json_i64(&value->integer, json))
		return error_set(err, ERR_INPUT,
		    "filter: expected an integer of 64 bits in match, written without "
		    "fraction or exponent, not %.*s; other numbers are matched by "
		    "range",
		    (int)(json->len < 40 ? json->len : 40), json->text);
	if (type != JSON_NUMBER && type != JSON_STRING && (type != JSON_TRUE || lists))
		return error_set(err, ERR_INPUT, "filter: expected %s in match, not %s",
		    lists ? "strings or integers" : "a string, an integer or a boolean",
		    json_type_name(json->type));
	if (node->n_values > 0 && node->type != type)
		return error_set(err, ERR_INPUT,
		    "filter: expected values of one type in match, not %s beside %s; "
		    "put two conditions into should",
		    json_type_name(type), json_type_name(node->type));
	node->type = type;
	if (type == JSON_TRUE)
		value->integer = json->type == JSON_TRUE;
	if (type == JSON_STRING) {
		char *bytes = node->bytes + *used;
		value->n = json_string(bytes, json->len, json);
		value->bytes = bytes;
		*used += json->len;
	}
	node->n_values++;
	return 0;
}

static int
read_values(struct filter_node *node, const struct json *list, struct error *err)
{
	size_t used = 0;

	if (list->type != JSON_ARRAY)
		return error_set(err, ERR_INPUT,
		    "filter: expected an array in match.any and match.except, not %s",
		    json_type_name(list->type));
	if (make_room(node, json_count(list), list->len, err) != 0)
		return -1;
	struct json_walk walk = json_walk(list);
	while (json_next(&walk))
		if (add_value(node, &walk.value, true, &used, err) != 0)
			return -1;
	qsort(node->values, node->n_values, sizeof *node->values, filter_value_order);
	return 0;
}

/* How far a match that fails behind byte i goes on: the longest end of bytes 0 .. i
 * that they also begin with (Knuth, Morris & Pratt, 1977). */
static void
fill_restarts(uint32_t *restarts, const char *bytes, size_t n)
{
	uint32_t k = 0;

	for (size_t i = 1; i < n; i++) {
		while (k > 0 && bytes[i] != bytes[k])
			k = restarts[k - 1];
		k += bytes[i] == bytes[k];
		restarts[i] = k;
	}
}

static int
read_text(struct filter_node *node, const struct json *text, struct error *err)
{
	size_t used = 0;

	if (text->type != JSON_STRING)
		return error_set(err, ERR_INPUT,
		    "filter: expected a string in match.text, not %s",
		    json_type_name(text->type));
	node->kind = FILTER_TEXT;
	if (make_room(node, 1, text->len, err) != 0 ||
	    add_value(node, text, false, &used, err) != 0)
		return -1;
	node->restarts = array_new(node->values->n, sizeof *node->restarts);
	if (!node->restarts)
		return out_of_memory(err);
	fill_restarts(node->restarts, node->values->bytes, node->values->n);
	return 0;
}

/* The words of a text, each once. */
static int
read_words(struct filter_node *node, const struct json *text, struct error *err)
{
	struct term_words words = term_words(text);
	struct term term;

	node->kind = FILTER_WORDS;
	node->words = array_new(FILTER_WORDS_MAX, sizeof *node->words);
	if (!node->words)
		return out_of_memory(err);
	while (term_next(&words, &term)) {
		size_t i = 0;
		while (i < node->n_words && term_compare(&node->words[i], &term) != 0)
			i++;
		if (i == FILTER_WORDS_MAX)
			return error_set(err, ERR_TOO_LARGE,
			    "filter: expected at most %d words in match.text",
			    FILTER_WORDS_MAX);
		if (i == node->n_words)
			node->words[node->n_words++] = term;
	}
	return 0;
}

int
filter_read_match(struct filter_node *node, const struct json *match, struct error *err)
{
	static const char *const unsupported[] = {
	    "phrase", "text_any", "prefix", "substring"};
	if (match->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "filter: expected {\"value\": ..} or the like in match, not %s",
		    json_type_name(match->type));
	struct json_walk walk = json_walk(match);
	struct json what = {.type = JSON_NULL}, value = what;
	size_t used = 0;

	while (json_next(&walk)) {
		if (walk.value.type == JSON_NULL)
			continue;
		if (what.type != JSON_NULL)
			return error_set(err, ERR_INPUT,
			    "filter: expected one of value, any, except and text in "
			    "match, not several");
		what = walk.key;
		value = walk.value;
	}
	for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
		if (json_equals(&what, unsupported[i]))
			return error_set(err, ERR_UNSUPPORTED,
			    "filter: match.%s is not served; use match.text, once for "
			    "each text",
			    unsupported[i]);
	if (json_equals(&what, "text"))
		return node->field != FILTER_NO_FIELD &&
			       node->field_type == DB_FIELD_TEXT &&
			       value.type == JSON_STRING
			   ? read_words(node, &value, err)
			   : read_text(node, &value, err);
	if (json_equals(&what, "except"))
		node->kind = FILTER_EXCEPT;
	if (json_equals(&what, "except") || json_equals(&what, "any"))
		return read_values(node, &value, err);
	if (!json_equals(&what, "value"))
		return error_set(err, ERR_INPUT,
		    "filter: expected value, any, except or text in match, not %.*s",
		    what.type != JSON_STRING ? 7 : (int)(what.len < 64 ? what.len : 64),
		    what.type != JSON_STRING ? "nothing" : what.text);
	if (make_room(node, 1, value.len, err) != 0)
		return -1;
	return add_value(node, &value, false, &used, err);
}

/* Narrow the range to numbers over (or from) `bound`, or below. */
static void
narrow(struct filter_range *range, bool is_low, bool open, double bound)
{
	bool *has = is_low ? &range->has_low : &range->has_high;
	bool *was_open = is_low ? &range->low_open : &range->high_open;
	double *was = is_low ? &range->low : &range->high;

	if (*has && (is_low ? bound < *was : bound > *was))
		return;
	*was_open = open || (*has && bound == *was && *was_open);
	*was = bound;
	*has = true;
}

static int
read_bounds(
    struct filter_node *node, const struct json *json, bool counts, struct error *err)
{
	static const char *const bounds[] = {"lt", "lte", "gt", "gte"};
	const char *what = counts ? "values_count" : "range";
	struct json_walk walk = json_walk(json);
	uint64_t count;

	if (json->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "filter: expected an object in %s, not %s", what,
		    json_type_name(json->type));
	while (json_next(&walk)) {
		const struct json *v = &walk.value;
		size_t i = 0;
		while (i < 4 && !json_equals(&walk.key, bounds[i]))
			i++;
		if (i == 4)
			return error_set(err, ERR_INPUT,
			    "filter: expected lt, lte, gt and gte in %s, not %.*s",
			    what, (int)(walk.key.len < 64 ? walk.key.len : 64),
			    walk.key.text);
		if (v->type == JSON_NULL)
			continue;
		if (v->type == JSON_STRING && !counts)
			return error_set(err, ERR_UNSUPPORTED,
			    "filter: ranges of dates are not served; keep times as "
			    "numbers (seconds since 1970) and compare these");
		if (counts ? !json_u64(&count, v) : v->type != JSON_NUMBER)
			return error_set(err, ERR_INPUT,
			    "filter: expected %s in %s.%s, not %s",
			    counts ? "an integer from 0 on" : "a number", what,
			    bounds[i], json_type_name(v->type));
		narrow(&node->range, i >= 2, i % 2 == 0, json_double(v));
	}
	return 0;
}

int
filter_read_range(struct filter_node *node, const struct json *range, struct error *err)
{
	return read_bounds(node, range, false, err);
}

int
filter_read_count(struct filter_node *node, const struct json *range, struct error *err)
{
	return read_bounds(node, range, true, err);
}

int
filter_read_ids(struct filter_node *node, const struct json *ids, struct error *err)
{
	struct point_id id;
	size_t used = 0;

	if (ids->type != JSON_ARRAY)
		return error_set(err, ERR_INPUT,
		    "filter: expected an array of ids in has_id, not %s",
		    json_type_name(ids->type));
	/* The key of a number, 9 bytes, may be longer than its JSON, a digit. */
	size_t n = json_count(ids);
	if (make_room(node, n, ids->len + 9 * n, err) != 0)
		return -1;
	node->type = JSON_STRING;
	struct json_walk walk = json_walk(ids);
	while (json_next(&walk)) {
		if (point_id_parse(&id, &walk.value, err) != 0)
			return error_prefix(err, "filter: has_id");
		char *bytes = node->bytes + used;
		memcpy(bytes, id.key, id.len);
		node->values[node->n_values++] =
		    (struct filter_value){.bytes = bytes, .n = id.len};
		used += id.len;
	}
	qsort(node->values, node->n_values, sizeof *node->values, filter_value_order);
	return 0;
}
