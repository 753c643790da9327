#include "server/api_group.h"

#include <stdlib.h>

#include "base/alloc.h"

#define ROWS_RATIO_MAX 4 /* of the first try */
#define GROWTH 4         /* of the next ones */

size_t
api_group_rows(size_t n, const struct collection *collection)
{
	struct collection_counts counts = collection_counts(collection);

	if (counts.rows == counts.points)
		return n;
	/* A text that is close in one passage is often close in its neighbours. */
	size_t ratio = counts.rows / counts.points + 1;
	return n * (ratio < ROWS_RATIO_MAX ? ratio : ROWS_RATIO_MAX);
}

size_t
api_group_more(size_t n_hits, size_t k, const struct store_snapshot *snapshot)
{
	if (n_hits < k || k >= snapshot->n_live)
		return 0;
	return k < snapshot->n_live / GROWTH ? k * GROWTH : snapshot->n_live;
}

int
api_group_init(struct api_group *group, size_t n, const struct store_snapshot *snapshot,
    struct error *err)
{
	size_t n_slots = 16;

	group->seen = NULL;
	group->n_left = snapshot->n_live - snapshot->n_extra;
	/* Where all points have one row every row is a new point. */
	if (snapshot->n_extra == 0)
		return 0;
	while (n_slots < 2 * n)
		n_slots *= 2;
	group->mask = n_slots - 1;
	group->seen = array_new(n_slots, sizeof *group->seen);
	return group->seen ? 0
			   : error_set(err, ERR_MEMORY, "no memory for %zu hits", n);
}

void
api_group_free(struct api_group *group)
{
	free(group->seen);
	group->seen = NULL;
}

/* Whether a chunked point has not been seen yet; it is noted. */
static bool
is_new(struct api_group *group, uint32_t first)
{
	uint32_t key = first + 1;
	size_t i = (key * UINT32_C(0x9E3779B1)) >> 8 & group->mask;

	for (; group->seen[i]; i = (i + 1) & group->mask)
		if (group->seen[i] == key)
			return false;
	group->seen[i] = key;
	return true;
}

static bool
is_left_out(const struct api_group *group, const struct point_id *id)
{
	for (size_t i = 0; i < group->n_without; i++)
		if (point_id_equal(id, &group->without[i]))
			return true;
	return false;
}

int
api_group_next(struct api_group *group, struct db_record *record, const struct hit *hit,
    struct error *err)
{
	bool found = false;

	if (db_record(group->txn, group->collection, hit->slot, &found, record, err) !=
	    0)
		return -1;
	if (!found ||
	    (group->seen && record->is_passage && !is_new(group, record->first)))
		return 0;
	if (group->n_left > 0)
		group->n_left--;
	return !is_left_out(group, &record->id);
}

void
api_group_passage(struct text *out, const struct db_record *record)
{
	if (record->is_passage)
		text_printf(out, ",\"passage\":{\"index\":%u,\"start\":%u,\"end\":%u}",
		    record->number, record->passage.start, record->passage.end);
}
