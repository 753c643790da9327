#ifndef SERVER_FILTER_INTERNAL_H
#define SERVER_FILTER_INTERNAL_H

#include "server/filter.h"

/* What the files of server/filter share: a filter as a checked tree. */

enum filter_kind {
	FILTER_ALL, /* of its children; the root, and every filter within */
	FILTER_ANY,
	FILTER_NONE,
	FILTER_AT_LEAST, /* `least` of them */
	FILTER_NESTED,   /* an object under `path` matches all children */
	FILTER_HAS_ID,   /* values: keys of ids */
	FILTER_MATCH,    /* one of values */
	FILTER_EXCEPT,   /* none of values */
	FILTER_TEXT,     /* values[0] is part of it */
	FILTER_WORDS,    /* all of words are in it */
	FILTER_RANGE,
	FILTER_COUNT,
	FILTER_IS_EMPTY,
	FILTER_IS_NULL,
};

struct filter_value {
	const char *bytes; /* (n) of a string or an id's key */
	size_t n;
	int64_t integer; /* of a number; of a boolean 0 or 1 */
};

struct filter_range {
	bool has_low, has_high;
	bool low_open, high_open;
	double low, high;
};

#define FILTER_NO_FIELD (-1)

struct filter_node {
	enum filter_kind kind;
	uint32_t first, last, next; /* child and sibling; 0 = none */

	/* The rest is of conditions. */
	size_t least;
	struct path *path;
	int32_t field;                 /* its number, or FILTER_NO_FIELD */
	enum db_field_type field_type; /* of a field */
	enum json_type type;           /* of all values: JSON_STRING, JSON_NUMBER or
					  JSON_TRUE; JSON_NULL: there is none */
	struct filter_value *values;   /* (n_values), in order */
	size_t n_values;
	char *bytes;        /* that values point into */
	uint32_t *restarts; /* FILTER_TEXT (n): see text_in */
	struct term *words; /* (n_words) */
	size_t n_words;
	struct filter_range range;
};

struct filter {
	struct filter_node *nodes; /* (n); the root first, children behind parents */
	uint32_t n, cap;
};

/* For qsort and bsearch: values by number, or by bytes and then length. */
int filter_value_order(const void *a, const void *b);

/* Fill the node from what stands under match, range, values_count or has_id.  What it
 * has got is filter_free's. */
int filter_read_match(
    struct filter_node *node, const struct json *match, struct error *err);
int filter_read_range(
    struct filter_node *node, const struct json *range, struct error *err);
int filter_read_count(
    struct filter_node *node, const struct json *range, struct error *err);
int filter_read_ids(
    struct filter_node *node, const struct json *ids, struct error *err);

bool filter_in_range(const struct filter_range *range, double number);

struct filter_point {
	const struct point_id *id;
	struct json payload; /* an object */
};
struct filter_point filter_point(
    const struct point_id *id, const char *payload, size_t payload_len);

bool filter_node_match(const struct filter *filter, const struct filter_node *node,
    const struct filter_point *point);

/* rows := those that a condition which indexes answer matches, and perhaps rows that
 * are not live; room: another set, for what is on the way.  Errors are those of db.h.
 */
int filter_set_rows(struct row_set *rows, struct row_set *room,
    const struct filter_place *place, const struct filter_node *node,
    struct error *err);

#endif /* SERVER_FILTER_INTERNAL_H */
