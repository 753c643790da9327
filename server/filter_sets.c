#include <stdlib.h>

#include "server/filter_internal.h"

/* The rows of one condition, by an index. */

/* Whether x is not below the range, or (at its end) is above it. */
static bool
has_reached(const struct filter_range *range, bool end, double x)
{
	struct filter_range half = *range;

	if (end)
		half.has_low = false;
	else
		half.has_high = false;
	return filter_in_range(&half, x) != end;
}

/* *place := that of the first integer that, as a double, has reached the range or its
 * end; false: there is none. */
static bool
first_integer(uint64_t *place, const struct filter_range *range, bool end)
{
	uint64_t low = 0, high = UINT64_MAX;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (has_reached(range, end, (double)db_fields_integer_at(middle)))
			high = middle;
		else
			low = middle + 1;
	}
	*place = low;
	return has_reached(range, end, (double)db_fields_integer_at(low));
}

static int
add_range(struct row_set *rows, const struct db_fields_at *at,
    const struct filter_range *range, struct error *err)
{
	/* Beside a bound that does not count stands its neighbour. */
	uint64_t first = 0, last = UINT64_MAX;
	if (range->has_low)
		first = db_fields_double(range->low) + range->low_open;
	if (range->has_high)
		last = db_fields_double(range->high) - range->high_open;
	if (db_fields_numbers(rows, at, DB_FIELDS_DOUBLE, first, last, err) != 0)
		return -1;
	if (!first_integer(&first, range, false))
		return 0;
	if (!first_integer(&last, range, true))
		last = UINT64_MAX;
	else if (last-- == 0)
		return 0;
	return db_fields_numbers(rows, at, DB_FIELDS_INTEGER, first, last, err);
}

static int
add_matches(struct row_set *rows, const struct db_fields_at *at,
    const struct filter_node *node, struct error *err)
{
	struct term term;
	int result = 0;

	for (size_t i = 0; result == 0 && i < node->n_values; i++) {
		const struct filter_value *value = &node->values[i];
		uint64_t place = db_fields_integer(value->integer);
		if (node->type == JSON_STRING) {
			term_of_bytes(&term, value->bytes, value->n);
			result = db_fields_term(rows, at, DB_FIELDS_STRING, &term, err);
		} else if (node->type == JSON_NUMBER) {
			result = db_fields_numbers(
			    rows, at, DB_FIELDS_INTEGER, place, place, err);
		} else {
			result = db_fields_term(rows, at,
			    value->integer ? DB_FIELDS_TRUE : DB_FIELDS_FALSE, NULL,
			    err);
		}
	}
	return result;
}

/* Whether the term is that of one of the node's strings. */
static bool
is_among(void *arg, const struct term *term)
{
	const struct filter_node *node = arg;
	struct filter_value wanted = {.bytes = term->bytes, .n = term->n};
	struct term long_one;

	if (bsearch(&wanted, node->values, node->n_values, sizeof wanted,
		filter_value_order))
		return true;
	for (size_t i = 0; term->n == TERM_BYTES_MAX && i < node->n_values; i++) {
		if (node->values[i].n <= TERM_BYTES_MAX)
			continue;
		term_of_bytes(&long_one, node->values[i].bytes, node->values[i].n);
		if (term_compare(&long_one, term) == 0)
			return true;
	}
	return false;
}

/* Every value but the node's: of integers those between them. */
static int
add_others(struct row_set *rows, const struct db_fields_at *at,
    const struct filter_node *node, struct error *err)
{
	uint64_t first = 0;

	if (db_fields_term(rows, at, DB_FIELDS_OTHER, NULL, err) != 0)
		return -1;
	if (node->type == JSON_STRING)
		return db_fields_strings(
		    rows, at, is_among, (void *)(uintptr_t)node, err);
	if (db_fields_numbers(rows, at, DB_FIELDS_DOUBLE, 0, UINT64_MAX, err) != 0)
		return -1;
	for (size_t i = 0; i < node->n_values; i++) {
		uint64_t place = db_fields_integer(node->values[i].integer);
		if (place > first && db_fields_numbers(rows, at, DB_FIELDS_INTEGER,
					 first, place - 1, err) != 0)
			return -1;
		if (place == UINT64_MAX)
			return 0;
		first = place + 1;
	}
	return db_fields_numbers(rows, at, DB_FIELDS_INTEGER, first, UINT64_MAX, err);
}

static int
add_ids(struct row_set *rows, const struct filter_place *place,
    const struct filter_node *node, struct error *err)
{
	struct db_rows found;
	struct point_id id;

	for (size_t i = 0; i < node->n_values; i++) {
		const struct filter_value *value = &node->values[i];
		if (point_id_from_key(&id, value->bytes, value->n, err) != 0 ||
		    db_rows(place->txn, place->collection, &id, &found, err) != 0)
			return -1;
		for (size_t k = 0; k < found.n; k++)
			row_set_add(rows, found.slots[k]);
	}
	return 0;
}

/* Rows with all of the words. */
static int
set_words(struct row_set *rows, struct row_set *one, const struct db_fields_at *at,
    const struct filter_node *node, struct error *err)
{
	for (size_t i = 0; i < node->n_words; i++) {
		row_set_clear(one);
		if (db_fields_term(one, at, DB_FIELDS_WORD, &node->words[i], err) != 0)
			return -1;
		if (i == 0)
			row_set_or(rows, one);
		else
			row_set_and(rows, one);
	}
	return 0;
}

int
filter_set_rows(struct row_set *rows, struct row_set *room,
    const struct filter_place *place, const struct filter_node *node, struct error *err)
{
	struct db_fields_at at = {place->txn, place->collection, (uint16_t)node->field};

	row_set_clear(rows);
	switch (node->kind) {
	case FILTER_HAS_ID:
		return add_ids(rows, place, node, err);
	case FILTER_MATCH:
		return add_matches(rows, &at, node, err);
	case FILTER_EXCEPT:
		return add_others(rows, &at, node, err);
	case FILTER_RANGE:
		return add_range(rows, &at, &node->range, err);
	case FILTER_WORDS:
		return set_words(rows, room, &at, node, err);
	case FILTER_IS_NULL:
		return db_fields_term(rows, &at, DB_FIELDS_NULL, NULL, err);
	default: /* FILTER_IS_EMPTY */
		row_set_clear(room);
		row_set_copy(rows, place->live);
		if (db_fields_term(room, &at, DB_FIELDS_VALUE, NULL, err) != 0)
			return -1;
		row_set_and_not(rows, room);
		return 0;
	}
}
