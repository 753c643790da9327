#include <stdlib.h>

#include "server/filter_internal.h"

/* One point against a filter. */

bool
filter_in_range(const struct filter_range *range, double number)
{
	return (!range->has_low || number > range->low ||
		   (!range->low_open && number == range->low)) &&
	       (!range->has_high || number < range->high ||
		   (!range->high_open && number == range->high));
}

/* How the value stands to the middle one, for a search by halves; value->type is the
 * node's. */
static int
order_of(const struct json *value, int64_t integer, const struct filter_value *middle)
{
	if (value->type == JSON_STRING)
		return json_compare(value, middle->bytes, middle->n);
	return integer < middle->integer ? -1 : integer > middle->integer;
}

/* Whether the value is one of the node's. */
static bool
is_among(const struct filter_node *node, const struct json *value)
{
	enum json_type type = value->type == JSON_FALSE ? JSON_TRUE : value->type;
	size_t low = 0, high = node->n_values;
	int64_t integer = value->type == JSON_TRUE;

	if (type != node->type || (type == JSON_NUMBER && !json_i64(&integer, value)))
		return false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = order_of(value, integer, &node->values[middle]);
		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

/* Whether the node's text is in the string, in one pass over it. */
static bool
text_in(const struct filter_node *node, const struct json *string)
{
	const struct filter_value *text = node->values;
	struct json_pieces pieces = json_pieces(string);
	char piece[4];
	size_t k = 0, n;

	while (k < text->n && (n = json_piece(&pieces, piece)) > 0) {
		for (size_t i = 0; i < n && k < text->n; i++) {
			while (k > 0 && piece[i] != text->bytes[k])
				k = node->restarts[k - 1];
			k += piece[i] == text->bytes[k];
		}
	}
	return k == text->n;
}

/* A condition on its way over the values under a key. */
struct look {
	const struct filter *filter;
	const struct filter_node *node;
	const struct filter_point *point;
	uint64_t found; /* FILTER_WORDS: a bit for each word */
};

static bool
find_words(struct look *look, const struct json *string)
{
	const struct filter_node *node = look->node;
	struct term_words words = term_words(string);
	struct term term;

	while (term_next(&words, &term))
		for (size_t i = 0; i < node->n_words; i++)
			if (term_compare(&term, &node->words[i]) == 0)
				look->found |= UINT64_C(1) << i;
	return node->n_words > 0 && look->found == UINT64_MAX >> (64 - node->n_words);
}

/* A value that is no array, or an element of one. */
static bool
element_matches(struct look *look, const struct json *value)
{
	const struct filter_node *node = look->node;

	switch (node->kind) {
	case FILTER_MATCH:
		return is_among(node, value);
	case FILTER_EXCEPT:
		return value->type != JSON_NULL && !is_among(node, value);
	case FILTER_TEXT:
		return value->type == JSON_STRING && text_in(node, value);
	case FILTER_WORDS:
		return value->type == JSON_STRING && find_words(look, value);
	default:
		return value->type == JSON_NUMBER &&
		       filter_in_range(&node->range, json_double(value));
	}
}

static bool
on_value(void *arg, const struct json *value)
{
	if (value->type != JSON_ARRAY)
		return element_matches(arg, value);
	struct json_walk walk = json_walk(value);
	while (json_next(&walk))
		if (element_matches(arg, &walk.value))
			return true;
	return false;
}

static bool
on_count(void *arg, const struct json *value)
{
	const struct look *look = arg;
	size_t n = value->type == JSON_ARRAY  ? json_count(value)
		   : value->type == JSON_NULL ? 0
					      : 1;

	return filter_in_range(&look->node->range, (double)n);
}

static bool
on_anything(void *arg, const struct json *value)
{
	(void)arg;
	(void)value;
	return true;
}

static bool
on_something(void *arg, const struct json *value)
{
	(void)arg;
	return value->type != JSON_NULL &&
	       (value->type != JSON_ARRAY || json_count(value) > 0);
}

static bool
on_null(void *arg, const struct json *value)
{
	(void)arg;
	return value->type == JSON_NULL;
}

/* How many children match, counted up to `enough`, or those that do not. */
static size_t
count_children(const struct look *look, bool matching, size_t enough)
{
	size_t n = 0;

	for (uint32_t i = look->node->first; i != 0 && n < enough;
	     i = look->filter->nodes[i].next)
		n += filter_node_match(look->filter, &look->filter->nodes[i],
			 look->point) == matching;
	return n;
}

static bool
on_object(void *arg, const struct json *value)
{
	struct look look = *(const struct look *)arg;
	struct filter_point inner = {look.point->id, *value};

	look.point = &inner;
	return value->type == JSON_OBJECT && count_children(&look, false, 1) == 0;
}

static bool
has_id(const struct filter_node *node, const struct point_id *id)
{
	struct filter_value wanted = {.bytes = (const char *)id->key, .n = id->len};

	return bsearch(&wanted, node->values, node->n_values, sizeof wanted,
		   filter_value_order) != NULL;
}

bool
filter_node_match(const struct filter *filter, const struct filter_node *node,
    const struct filter_point *point)
{
	struct look look = {filter, node, point, 0};
	const struct json *payload = &point->payload;

	switch (node->kind) {
	case FILTER_ALL:
		return count_children(&look, false, 1) == 0;
	case FILTER_ANY:
		return count_children(&look, true, 1) == 1;
	case FILTER_NONE:
		return count_children(&look, true, 1) == 0;
	case FILTER_AT_LEAST:
		return count_children(&look, true, node->least) == node->least;
	case FILTER_NESTED:
		return path_any(node->path, payload, on_object, &look);
	case FILTER_HAS_ID:
		return has_id(node, point->id);
	case FILTER_COUNT: /* of what is not there there are none */
		if (filter_in_range(&node->range, 0) &&
		    !path_any(node->path, payload, on_anything, NULL))
			return true;
		return path_any(node->path, payload, on_count, &look);
	case FILTER_IS_EMPTY:
		return !path_any(node->path, payload, on_something, NULL);
	case FILTER_IS_NULL:
		return path_any(node->path, payload, on_null, NULL);
	default:
		return path_any(node->path, payload, on_value, &look);
	}
}

struct filter_point
filter_point(const struct point_id *id, const char *payload, size_t payload_len)
{
	struct filter_point point = {id, {JSON_OBJECT, payload, payload_len}};

	if (payload_len == 0)
		point.payload = (struct json){JSON_OBJECT, "{}", 2};
	return point;
}

bool
filter_match(const struct filter *filter, const struct point_id *id,
    const char *payload, size_t payload_len)
{
	struct filter_point point = filter_point(id, payload, payload_len);

	return filter_node_match(filter, filter->nodes, &point);
}
