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

#define PLANES_MAX 11
_Static_assert(FILTER_CONDITIONS_MAX < 1 << PLANES_MAX, "counts fit the planes");

/* A list that indexes answer, or that they answer in part, on the way over its
 * children. */
struct frame {
	uint32_t node, child; /* child: the next; 0 = none is left */
	struct row_set *rows; /* so far; of a list answered in part the walk's */
	struct row_set *planes[PLANES_MAX]; /* FILTER_AT_LEAST: of each row the count,
					       in binary, bit b in planes[b] */
};

struct filter_walk {
	const struct filter *filter;
	struct filter_place place;
	struct filter_cost *cost;
	struct row_set *rows; /* the caller's */
	struct row_set *one, *room;
	struct frame *frames; /* [filter->n], within each other; n_frames of them */
	size_t n_frames;
	uint32_t slot;  /* where the walk over payloads goes on */
	bool *answered; /* [filter->n] */
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

/* ---- what indexes leave ---- */

/* Begin a list; rows: what it takes from, NULL for a set of its own. */
static int
enter(struct filter_walk *f, uint32_t i, struct row_set *rows, struct error *err)
{
	const struct filter_node *node = node_at(f, i);
	struct frame *frame = &f->frames[f->n_frames++];

	*frame = (struct frame){.node = i, .child = node->first, .rows = rows};
	if (rows)
		return 0;
	if (!(frame->rows = row_set_new(f->rows->n_slots, err)))
		return -1;
	if (node->kind == FILTER_ALL || node->kind == FILTER_NONE)
		row_set_copy(frame->rows, f->place.live);
	if (node->kind != FILTER_AT_LEAST)
		return 0;
	for (size_t p = 0; p < PLANES_MAX; p++)
		if (!(frame->planes[p] = row_set_new(f->rows->n_slots, err)))
			return -1;
	return 0;
}

/* Free the last list's sets. */
static void
pop(struct filter_walk *f)
{
	struct frame *frame = &f->frames[--f->n_frames];

	for (size_t p = 0; p < PLANES_MAX; p++)
		row_set_free(frame->planes[p]);
	if (frame->rows != f->rows)
		row_set_free(frame->rows);
}

/* One more for the rows of a child, which becomes the carry. */
static void
count_rows(struct frame *frame, struct row_set *child)
{
	for (size_t p = 0; p < PLANES_MAX; p++) {
		struct row_set *plane = frame->planes[p];
		row_set_copy(frame->rows, plane);
		row_set_and(frame->rows, child);
		for (size_t w = 0; w < child->n_words; w++)
			plane->words[w] ^= child->words[w];
		row_set_copy(child, frame->rows);
	}
}

/* frame->rows := those that were counted `least` times or more: the counts that are
 * larger, or equal, from the highest bit down. */
static void
compare_counts(struct filter_walk *f, struct frame *frame, size_t least)
{
	struct row_set *rows = frame->rows, *equal = f->one;

	row_set_clear(rows);
	if (least >> PLANES_MAX != 0)
		return;
	row_set_copy(equal, f->place.live);
	for (size_t p = PLANES_MAX; p-- > 0;) {
		bool bit = least >> p & 1;
		for (size_t w = 0; w < equal->n_words; w++) {
			uint16_t plane = frame->planes[p]->words[w];
			if (!bit)
				rows->words[w] |= equal->words[w] & plane;
			equal->words[w] &= bit ? plane : (uint16_t)~plane;
		}
	}
	row_set_or(rows, equal);
}

/* Bring the rows of a child, which are spent, into the last list. */
static void
fold(struct filter_walk *f, struct row_set *child)
{
	struct frame *frame = &f->frames[f->n_frames - 1];

	switch (node_at(f, frame->node)->kind) {
	case FILTER_ANY:
		row_set_or(frame->rows, child);
		break;
	case FILTER_NONE:
		row_set_and_not(frame->rows, child);
		break;
	case FILTER_AT_LEAST:
		count_rows(frame, child);
		break;
	default:
		row_set_and(frame->rows, child);
	}
}

/* The last list has no child left. */
static void
leave(struct filter_walk *f)
{
	struct frame *frame = &f->frames[f->n_frames - 1];
	const struct filter_node *node = node_at(f, frame->node);
	struct row_set *rows = frame->rows;

	if (rows == f->rows) {
		pop(f);
		return;
	}
	if (node->kind == FILTER_AT_LEAST)
		compare_counts(f, frame, node->least);
	frame->rows = NULL;
	pop(f);
	fold(f, rows);
	row_set_free(rows);
}

static bool
is_list(const struct filter_node *node)
{
	return node->kind == FILTER_ALL || node->kind == FILTER_ANY ||
	       node->kind == FILTER_NONE || node->kind == FILTER_AT_LEAST;
}

int
filter_walk_narrow(struct filter_walk *f, struct error *err)
{
	if (f->n_frames == 0)
		return 0;
	struct frame *frame = &f->frames[f->n_frames - 1];
	uint32_t c = frame->child;
	if (c == 0) {
		leave(f);
		return f->n_frames > 0;
	}
	const struct filter_node *node = node_at(f, c);
	frame->child = node->next;
	/* Of a list that is answered in part; lists in an ALL take from its rows. */
	if (!f->answered[c]) {
		bool split = node_at(f, frame->node)->kind == FILTER_ALL &&
			     (node->kind == FILTER_ALL || node->kind == FILTER_NONE);
		return split && enter(f, c, f->rows, err) != 0 ? -1 : 1;
	}
	if (is_list(node))
		return enter(f, c, NULL, err) != 0 ? -1 : 1;
	if (filter_set_rows(f->one, f->room, &f->place, node, err) != 0)
		return -1;
	fold(f, f->one);
	return 1;
}

/* ---- all together ---- */

/* Whether a point matches what indexes have not answered. */
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

struct filter_walk *
filter_walk_new(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err)
{
	struct filter_walk *f = array_new(1, sizeof *f);

	if (!f) {
		error_set(err, ERR_MEMORY, "out of memory for a filter");
		return NULL;
	}
	*f = (struct filter_walk){
	    .filter = filter, .place = *place, .cost = cost, .rows = rows};
	*cost = (struct filter_cost){.n_keys = 0};
	f->answered = array_new(filter->n, sizeof *f->answered);
	f->frames = array_new(filter->n, sizeof *f->frames);
	if (!f->answered || !f->frames) {
		error_set(err, ERR_MEMORY, "out of memory for a filter");
		goto fail;
	}
	f->one = row_set_new(rows->n_slots, err);
	f->room = f->one ? row_set_new(rows->n_slots, err) : NULL;
	if (!f->room || find_answered(f, err) != 0 || enter(f, 0, rows, err) != 0)
		goto fail;
	row_set_copy(rows, place->live);
	return f;
fail:
	filter_walk_free(f);
	return NULL;
}

int
filter_walk_next(struct filter_walk *f, size_t n, struct error *err)
{
	bool matches;

	if (f->n_frames > 0)
		return filter_walk_narrow(f, err) < 0 ? -1 : 1;
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
	while (f->n_frames > 0)
		pop(f);
	row_set_free(f->one);
	row_set_free(f->room);
	free(f->frames);
	free(f->answered);
	free(f);
}

int
filter_rows(struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost, struct error *err)
{
	struct filter_walk *walk = filter_walk_new(rows, filter, place, cost, err);
	int more = walk ? 1 : -1;

	while (more > 0)
		more = filter_walk_next(walk, SIZE_MAX, err);
	filter_walk_free(walk);
	return more;
}
