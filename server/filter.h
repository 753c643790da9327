#ifndef SERVER_FILTER_H
#define SERVER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "index/row_set.h"
#include "server/db_fields.h"
#include "server/point_id.h"

/*
 * Which points count: a filter in Qdrant's form.
 *
 *     {"must": [..], "should": [..], "must_not": [..],
 *      "min_should": {"conditions": [..], "min_count": 2}}
 *
 * All four are optional; a list may be a single condition; an empty list says nothing,
 * and a filter that says nothing matches every point.  A condition is a filter or one
 * of
 *
 *     {"key": K, "match": {"value": V}}        a string, an integer or a boolean
 *     {"key": K, "match": {"any": [V, ..]}}    all strings or all integers
 *     {"key": K, "match": {"except": [V, ..]}} any value but these and null
 *     {"key": K, "match": {"text": T}}         T is part of a string; or, where K has
 *                                              an index of text, every word of T is in
 *                                              the strings
 *     {"key": K, "range": {"lt", "lte", "gt", "gte"}}         of numbers, as doubles
 *     {"key": K, "values_count": {"lt", "lte", "gt", "gte"}}  of an array; null has no
 *                                              values, everything else one
 *     {"is_empty": {"key": K}}   there is nothing, null or an empty array
 *     {"is_null": {"key": K}}    there is null
 *     {"nested": {"key": K, "filter": F}}      one object in the array K matches F
 *     {"has_id": [ID, ..]}       the point's id; not within nested
 *
 * K is a path (server/path.h).  Where it leads to an array, one element that matches is
 * enough; arrays in arrays are not opened.  Where it leads nowhere, nothing but
 * is_empty matches.  An integer is written without fraction and exponent and fits 64
 * bits: 1.0 is none and is matched by a range alone.  A range without bounds is every
 * number.
 * {"key": K, "is_empty": B} and {"key": K, "is_null": B} are other ways to write these
 * two; a member that is null is as if it were not there.  Geographic conditions, ranges
 * of dates, phrase, text_any, has_vector and slice are ERR_UNSUPPORTED.
 *
 * A filter never changes; any thread may use it.
 */
#define FILTER_BYTES_MAX (1024 * 1024) /* of JSON */
#define FILTER_CONDITIONS_MAX 1024     /* with the lists that hold them */
#define FILTER_WORDS_MAX 64            /* of a text that is looked for by words */

struct filter;

/* The filter in a JSON object (of a text that passed json_check); `fields` are the
 * indexes of the collection that it is for, none with n_fields 0.  Neither is needed
 * afterwards.  ERR_INPUT, ERR_UNSUPPORTED, ERR_TOO_LARGE, ERR_MEMORY. */
struct filter *filter_new(const struct json *json, const struct db_field *fields,
    size_t n_fields, struct error *err);

void filter_free(struct filter *filter); /* NULL is fine */

/* Whether a point matches; its payload is a JSON object that passed json_check, or
 * nothing with payload_len 0.  Allocates nothing. */
bool filter_match(const struct filter *filter, const struct point_id *id,
    const char *payload, size_t payload_len);

/* Where rows are looked for. */
struct filter_place {
	struct db_txn *txn;
	uint32_t collection;
	const struct row_set *live; /* rows of a snapshot that was acquired before the
				       transaction began and is still held, so that a
				       slot is the same row in both */
};

/* What it took: keys that conditions read payloads for, as many as there is room for
 * (they live as long as the filter), and how many payloads were read. */
#define FILTER_KEYS_MAX 8
struct filter_cost {
	const char *keys[FILTER_KEYS_MAX];
	size_t n_keys;
	size_t n_payloads;
};

/* rows (of as many slots as place->live) := the live rows whose point matches.
 * Conditions that indexes answer come first; payloads are read of the rows that are
 * left.  Errors are those of db.h; then rows holds nothing of use. */
int filter_rows(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err);

/*
 * The same in steps, for who must not keep its thread.  A step of filter_walk_next asks
 * the indexes for one condition, and when these are through it reads at most n
 * payloads: 1 = some step is left, 0 = rows holds those that match.  filter_walk_narrow
 * takes the steps of the first kind alone: with 0 rows holds what indexes leave, every
 * row that matches, and perhaps others.  What is given to filter_walk_new lives, and
 * stays, as long as the walk; whatever thread takes a step uses the transaction.
 */
struct filter_walk;
struct filter_walk *filter_walk_new(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err);
int filter_walk_narrow(struct filter_walk *walk, struct error *err);
int filter_walk_next(struct filter_walk *walk, size_t n, struct error *err);
void filter_walk_free(struct filter_walk *walk); /* NULL is fine */

#endif /* SERVER_FILTER_H */
