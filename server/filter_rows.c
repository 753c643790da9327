#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/filter_internal.h"

/*
 * All points against a filter.  Three steps:
 *
 *     which conditions are answered by an index, and lists of nothing else with them
 *     from the live rows, take what these leave, going into lists that hold both
 *     of what is left, read payloads and try what was not answered
 */

struct filter_walk {
	const struct filter *filter;
	struct filter_place place;
	struct filter_cost *cost;
	struct row_set *rows; /* the caller's */
	uint32_t slot;        /* where the walk over payloads goes on */
	bool *answered;       /* [filter->n] */
};

static const struct filter_node *
node_at(const struct filter_walk *f, uint32_t i)
{
	return &f->filter->nodes[i];
}

/* ---- what is answered ---- */

/* Whether an index of this type knows what the condition asks. */
static bool
type_suits(const struct filter_node *node)
{
	enum db_field_type type = node->field_type;
	bool numbers = type == DB_FIELD_INTEGER || type == DB_FIELD_FLOAT;

	switch (node->kind) {
	case FILTER_IS_EMPTY:
	case FILTER_IS_NULL:
		return true;
	case FILTER_WORDS:
		return type == DB_FIELD_TEXT;
	case FILTER_RANGE:
		return numbers;
	case FILTER_MATCH:
	case FILTER_EXCEPT:
		return node->type == JSON_STRING   ? type == DB_FIELD_KEYWORD
		       : node->type == JSON_NUMBER ? numbers
		       : node->type == JSON_TRUE   ? type == DB_FIELD_BOOL
						   : false;
	default:
		return false;
	}
}

static struct db_fields_at
field_of(const struct filter_walk *f, const struct filter_node *node)
{
	return (struct db_fields_at){
	    f->place.txn, f->place.collection, (uint16_t)node->field};
}

static void
note_key(struct filter_walk *f, const struct filter_node *node)
{
	struct filter_cost *cost = f->cost;
	const char *key = path_key(node->path);

	for (size_t i = 0; i < cost->n_keys; i++)
		if (strcmp(cost->keys[i], key) == 0)
			return;
	if (cost->n_keys < FILTER_KEYS_MAX)
		cost->keys[cost->n_keys++] = key;
}

static int
find_answered(struct filter_walk *f, struct error *err)
{
	/* Children stand behind their parents. */
	for (uint32_t i = f->filter->n; i-- > 0;) {
		const struct filter_node *node = node_at(f, i);
		bool *answered = &f->answered[i];
		if (node->kind == FILTER_HAS_ID) {
			*answered = true;
		} else if (node->kind == FILTER_NESTED) {
			*answered = false;
		} else if (!node->path) {
			*answered = true;
			for (uint32_t c = node->first; c != 0; c = node_at(f, c)->next)
				*answered &= f->answered[c];
		} else if (node->field != FILTER_NO_FIELD && type_suits(node)) {
			struct db_fields_at at = field_of(f, node);
			if (db_fields_complete(&at, answered, err) != 0)
				return -1;
		}
		if (node->path && !*answered)
			note_key(f, node);
	}
	return 0;
}

/* ---- sets of rows ---- */

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
add_ids(struct row_set *rows, const struct filter_walk *f,
    const struct filter_node *node, struct error *err)
{
	struct db_rows found;
	struct point_id id;

	for (size_t i = 0; i < node->n_values; i++) {
		const struct filter_value *value = &node->values[i];
		if (point_id_from_key(&id, value->bytes, value->n, err) != 0 ||
		    db_rows(f->place.txn, f->place.collection, &id, &found, err) != 0)
			return -1;
		for (size_t k = 0; k < found.n; k++)
			row_set_add(rows, found.slots[k]);
	}
	return 0;
}

static int set_rows(
    struct row_set *rows, const struct filter_walk *f, uint32_t i, struct error *err);

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

/* rows := those that are in at least `least` children: planes count, in binary, and
 * carry (bit b of a row's count is in planes[b]). */
#define PLANES_MAX 11
_Static_assert(FILTER_CONDITIONS_MAX < 1 << PLANES_MAX, "counts fit the planes");

static int
count_rows(struct row_set *rows, struct row_set *one, struct row_set *const *planes,
    const struct filter_walk *f, const struct filter_node *node, struct error *err)
{
	for (uint32_t c = node->first; c != 0; c = node_at(f, c)->next) {
		if (set_rows(one, f, c, err) != 0)
			return -1;
		for (size_t p = 0; p < PLANES_MAX; p++) {
			row_set_copy(rows, planes[p]);
			row_set_and(rows, one); /* the carry */
			for (size_t w = 0; w < one->n_words; w++)
				planes[p]->words[w] ^= one->words[w];
			row_set_copy(one, rows);
		}
	}
	/* rows: the counts that are larger, or equal, from the highest bit down. */
	row_set_copy(one, f->place.live);
	row_set_clear(rows);
	for (size_t p = PLANES_MAX; p-- > 0;) {
		bool bit = node->least >> p & 1;
		for (size_t w = 0; w < one->n_words; w++) {
			uint16_t plane = planes[p]->words[w];
			if (!bit)
				rows->words[w] |= one->words[w] & plane;
			one->words[w] &= bit ? plane : (uint16_t)~plane;
		}
	}
	row_set_or(rows, one);
	return 0;
}

static int
set_at_least(struct row_set *rows, struct row_set *one, const struct filter_walk *f,
    const struct filter_node *node, struct error *err)
{
	struct row_set *planes[PLANES_MAX] = {NULL};
	int result = 0;

	if (node->least >> PLANES_MAX != 0)
		return 0;
	for (size_t p = 0; result == 0 && p < PLANES_MAX; p++) {
		planes[p] = row_set_new(rows->n_slots, err);
		result = planes[p] ? 0 : -1;
	}
	if (result == 0)
		result = count_rows(rows, one, planes, f, node, err);
	for (size_t p = 0; p < PLANES_MAX; p++)
		row_set_free(planes[p]);
	return result;
}

/* rows (empty) := those of a list; one: room. */
static int
set_list(struct row_set *rows, struct row_set *one, const struct filter_walk *f,
    const struct filter_node *node, struct error *err)
{
	if (node->kind != FILTER_ANY)
		row_set_copy(rows, f->place.live);
	for (uint32_t c = node->first; c != 0; c = node_at(f, c)->next) {
		if (set_rows(one, f, c, err) != 0)
			return -1;
		if (node->kind == FILTER_ALL)
			row_set_and(rows, one);
		else if (node->kind == FILTER_ANY)
			row_set_or(rows, one);
		else
			row_set_and_not(rows, one);
	}
	return 0;
}

/* rows := those that an answered node matches, and perhaps rows that are not live. */
static int
set_rows(
    struct row_set *rows, const struct filter_walk *f, uint32_t i, struct error *err)
{
	const struct filter_node *node = node_at(f, i);
	struct db_fields_at at = field_of(f, node);
	struct row_set *one;
	int result;

	row_set_clear(rows);
	switch (node->kind) {
	case FILTER_HAS_ID:
		return add_ids(rows, f, node, err);
	case FILTER_MATCH:
		return add_matches(rows, &at, node, err);
	case FILTER_EXCEPT:
		return add_others(rows, &at, node, err);
	case FILTER_RANGE:
		return add_range(rows, &at, &node->range, err);
	case FILTER_IS_NULL:
		return db_fields_term(rows, &at, DB_FIELDS_NULL, NULL, err);
	default:
		break;
	}
	if (!(one = row_set_new(rows->n_slots, err)))
		return -1;
	if (node->kind == FILTER_WORDS) {
		result = set_words(rows, one, &at, node, err);
	} else if (node->kind == FILTER_IS_EMPTY) {
		row_set_copy(rows, f->place.live);
		result = db_fields_term(one, &at, DB_FIELDS_VALUE, NULL, err);
		row_set_and_not(rows, one);
	} else if (node->kind == FILTER_AT_LEAST) {
		result = set_at_least(rows, one, f, node, err);
	} else {
		result = set_list(rows, one, f, node, err);
	}
	row_set_free(one);
	return result;
}

/* ---- all together ---- */

/* Take from rows what the answered children of an ALL leave, and those of a NONE do
 * not; the same within an ALL or NONE that is answered in part. */
static int
narrow(struct row_set *rows, struct row_set *one, const struct filter_walk *f,
    uint32_t i, struct error *err)
{
	const struct filter_node *node = node_at(f, i);
	bool all = node->kind == FILTER_ALL;

	for (uint32_t c = node->first; c != 0; c = node_at(f, c)->next) {
		enum filter_kind kind = node_at(f, c)->kind;
		if (!f->answered[c]) {
			if (all && (kind == FILTER_ALL || kind == FILTER_NONE) &&
			    narrow(rows, one, f, c, err) != 0)
				return -1;
			continue;
		}
		if (set_rows(one, f, c, err) != 0)
			return -1;
		if (all)
			row_set_and(rows, one);
		else
			row_set_and_not(rows, one);
	}
	return 0;
}

/* Whether a point matches what narrow has left out. */
static bool
matches_rest(const struct filter_walk *f, uint32_t i, const struct filter_point *point)
{
	const struct filter_node *node = node_at(f, i);
	bool all = node->kind == FILTER_ALL;

	for (uint32_t c = node->first; c != 0; c = node_at(f, c)->next) {
		const struct filter_node *child = node_at(f, c);
		if (f->answered[c])
			continue;
		bool split =
		    all && (child->kind == FILTER_ALL || child->kind == FILTER_NONE);
		bool matches = split ? matches_rest(f, c, point)
				     : filter_node_match(f->filter, child, point);
		if (matches != all)
			return false;
	}
	return true;
}

/* *matches := whether the point of the row in this slot does; its first row has the
 * payload. */
static int
try_row(struct filter_walk *f, uint32_t slot, bool *matches, struct error *err)
{
	const struct filter_place *place = &f->place;
	struct db_record record;
	bool found = false;

	if (db_record(place->txn, place->collection, slot, &found, &record, err) != 0)
		return -1;
	if (found &&
	    db_record_first(place->txn, place->collection, &found, &record, err) != 0)
		return -1;
	*matches = false;
	if (!found)
		return 0;
	struct filter_point point =
	    filter_point(&record.id, record.payload, record.payload_len);
	*matches = matches_rest(f, 0, &point);
	f->cost->n_payloads++;
	return 0;
}

/* rows := what indexes leave; one: room. */
static int
begin(struct filter_walk *f, struct row_set *one, struct error *err)
{
	if (find_answered(f, err) != 0)
		return -1;
	row_set_copy(f->rows, f->place.live);
	return narrow(f->rows, one, f, 0, err);
}

struct filter_walk *
filter_walk_new(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err)
{
	struct row_set *one = row_set_new(rows->n_slots, err);
	struct filter_walk *f = one ? array_new(1, sizeof *f) : NULL;
	bool *answered = f ? array_new(filter->n, sizeof *answered) : NULL;
	int result = -1;

	if (answered) {
		*f = (struct filter_walk){filter, *place, cost, rows, 0, answered};
		*cost = (struct filter_cost){.n_keys = 0};
		result = begin(f, one, err);
	} else if (one) {
		error_set(err, ERR_MEMORY, "out of memory for a filter");
	}
	row_set_free(one);
	if (result == 0)
		return f;
	free(answered);
	free(f);
	return NULL;
}

int
filter_walk_next(struct filter_walk *f, size_t n, struct error *err)
{
	bool matches;

	for (; !f->answered[0] && row_set_next(f->rows, &f->slot); f->slot++) {
		if (n-- == 0)
			return 1;
		if (try_row(f, f->slot, &matches, err) != 0)
			return -1;
		if (!matches)
			row_set_remove(f->rows, f->slot);
	}
	return 0;
}

void
filter_walk_free(struct filter_walk *f)
{
	if (!f)
		return;
	free(f->answered);
	free(f);
}

int
filter_rows(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err)
{
	struct filter_walk *walk = filter_walk_new(rows, filter, place, cost, err);
	int result = walk ? filter_walk_next(walk, SIZE_MAX, err) : -1;

	filter_walk_free(walk);
	return result;
}
