#include "index/store.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/store_internal.h"

/* Slots and staging: the writer's side. */

int
store_no_memory(struct error *err, const char *what)
{
	return error_set(err, ERR_MEMORY,
	    "expected memory for %s, not none; free some or lower the number of points",
	    what);
}

static bool
chunk_is_empty(const struct store_chunk *chunk)
{
	for (size_t b = 0; b < STORE_CHUNK_BLOCKS; b++)
		if (chunk->live[b])
			return false;
	return true;
}

/* The part's chunks are to keep plane 0, where that is not all. */
static int
want_plane0(struct store_part *part)
{
	if (part->shape.bits == 1)
		return 0;
	if (!part->slab0)
		part->slab0 = store_slab0_new(part->shape);
	part->plane0 = part->slab0 != NULL;
	return part->plane0 ? 0 : -1;
}

/* The part behind the others, in a snapshot that nobody sees yet. */
static int
add_part(struct store *store, struct store_snapshot *s, uint32_t number,
    struct code_shape shape)
{
	struct store_part *part = &s->parts[s->n_parts];

	*part = (struct store_part){
	    .number = number,
	    .shape = shape,
	    .chunks = array_new(s->chunks_max, sizeof(struct store_chunk *)),
	    .slab = store_slab_new(store, shape),
	};
	if (!part->slab || !part->chunks)
		goto err;
	if (s->wants_plane0 && want_plane0(part) != 0)
		goto err;
	s->n_parts++;
	return 0;
err:
	slab_release(part->slab);
	free(part->chunks);
	return -1;
}

struct store *
store_new(uint32_t number, struct code_shape shape, bool with_norm2, struct error *err)
{
	struct store *store;

	if (code_shape_check(shape, err) != 0)
		return NULL;
	store = array_new(1, sizeof *store);
	if (!store)
		goto err0;
	store->with_norm2 = with_norm2;
	store->newest = store->oldest = store_snapshot_new(store, NULL);
	if (!store->newest)
		goto err1;
	if (add_part(store, store->newest, number, shape) != 0)
		goto err2;
	pthread_mutex_init(&store->lock, NULL);
	return store;

err2:
	store_snapshot_free(store->newest);
err1:
	free(store);
err0:
	store_no_memory(err, "a collection's codes");
	return NULL;
}

void
store_free(struct store *store)
{
	if (!store)
		return;
	assert(store->oldest == store->newest && store->newest->n_readers == 1);
	store_rollback(store);
	store_snapshot_free(store->newest);
	pthread_mutex_destroy(&store->lock);
	free(store->busy);
	free(store->pending);
	free(store->taken.items);
	free(store->removed.items);
	free(store);
}

/* Free slots. */

static int
slots_reserve(struct store_slots *slots)
{
	if (slots->n < slots->max)
		return 0;
	size_t max = slots->max ? 2 * slots->max : 64;
	uint32_t *items = array_resize(slots->items, max, sizeof *items);
	if (!items)
		return -1;
	slots->items = items;
	slots->max = max;
	return 0;
}

/* Empty, without keeping the memory of an unusually large transaction. */
static void
slots_clear(struct store_slots *slots)
{
	slots->n = 0;
	if (slots->max > 4096) {
		free(slots->items);
		*slots = (struct store_slots){0};
	}
}

static bool
is_busy(const struct store *store, uint32_t slot)
{
	size_t w = slot / 64;
	return w < store->busy_words && store->busy[w] >> slot % 64 & 1;
}

static void
set_free(struct store *store, uint32_t slot)
{
	store->busy[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	if (slot / 64 < store->free_from)
		store->free_from = slot / 64;
}

/* Make the slot this transaction's. */
static int
take(struct store *store, uint32_t slot, struct error *err)
{
	if (slots_reserve(&store->taken) != 0)
		return store_no_memory(err, "a transaction's slots");
	if (slot / 64 >= store->busy_words) {
		size_t words = 2 * store->busy_words;
		if (words <= slot / 64)
			words = slot / 64 + 16;
		uint64_t *busy = array_resize(store->busy, words, sizeof *busy);
		if (!busy)
			return store_no_memory(err, "a collection's slots");
		memset(busy + store->busy_words, 0,
		    (words - store->busy_words) * sizeof *busy);
		store->busy = busy;
		store->busy_words = words;
	}
	store->busy[slot / 64] |= UINT64_C(1) << slot % 64;
	store->taken.items[store->taken.n++] = slot;
	return 0;
}

/* Free the pending slots that no snapshot shows any more. */
static void
free_pending(struct store *store)
{
	size_t n = 0;

	if (store->n_pending == 0)
		return;
	pthread_mutex_lock(&store->lock);
	uint64_t oldest = store->oldest->generation;
	pthread_mutex_unlock(&store->lock);
	while (n < store->n_pending && store->pending[n].generation <= oldest)
		set_free(store, store->pending[n++].slot);
	store->n_pending -= n;
	memmove(store->pending, store->pending + n,
	    store->n_pending * sizeof *store->pending);
}

int
store_slot_new(uint32_t *slot, struct store *store, struct error *err)
{
	free_pending(store);
	while (store->free_from < store->busy_words &&
	       store->busy[store->free_from] == UINT64_MAX)
		store->free_from++;

	size_t free_slot = 64 * store->free_from;
	if (store->free_from < store->busy_words)
		free_slot += (size_t)__builtin_ctzll(~store->busy[store->free_from]);
	if (free_slot >= STORE_SLOTS_MAX)
		return error_set(err, ERR_FULL,
		    "expected at most %u points or passages in a collection, not one "
		    "more; use a "
		    "second collection",
		    STORE_SLOTS_MAX);
	if (take(store, (uint32_t)free_slot, err) != 0)
		return -1;
	*slot = (uint32_t)free_slot;
	return 0;
}

/* Staging. */

/* There is a staged table. */
static int
stage(struct store *store, struct error *err)
{
	if (!store->staged)
		store->staged = store_snapshot_new(store, store->newest);
	return store->staged ? 0 : store_no_memory(err, "a table of codes");
}

static const struct store_snapshot *
staged(const struct store *store)
{
	return store->staged ? store->staged : store->newest;
}

/* Every part's table has room for chunks_max chunks. */
static int
grow_tables(struct store_snapshot *s, size_t chunks_max)
{
	for (size_t p = 0; p < s->n_parts; p++) {
		void *chunks = array_resize(
		    s->parts[p].chunks, chunks_max, sizeof(struct store_chunk *));
		if (!chunks)
			return -1;
		s->parts[p].chunks = chunks;
	}
	s->chunks_max = chunks_max;
	return 0;
}

/* The staged tables have an entry for the chunk of `slot`. */
static int
stage_table(struct store *store, uint32_t slot, struct error *err)
{
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	size_t want = slot / STORE_CHUNK_ROWS + 1;
	if (want <= s->n_chunks)
		return 0;
	size_t max = want > 2 * s->chunks_max ? want : 2 * s->chunks_max;
	if (want > s->chunks_max && grow_tables(s, max) != 0)
		return store_no_memory(err, "a table of codes");
	for (; s->n_chunks < want; s->n_chunks++)
		for (size_t p = 0; p < s->n_parts; p++)
			s->parts[p].chunks[s->n_chunks] = NULL;
	return 0;
}

/* The staged part's chunks are one more, or one less. */
static void
count_chunk(struct store_part *of, const struct store_chunk *chunk, int by)
{
	if (!chunk)
		return;
	of->n_present += (size_t)by;
	if (chunk->plane0)
		of->n_plane0 += (size_t)by;
}

/* A chunk of the staged table := a new one, or a copy of itself. */
static struct store_chunk *
copy_chunk(struct store *store, struct store_part *of, struct store_chunk **place,
    struct error *err)
{
	struct store_chunk *chunk = store_chunk_new(store, of, *place);

	if (!chunk) {
		store_no_memory(err, "a chunk of codes");
		return NULL;
	}
	chunk->generation = store->staged->generation;
	count_chunk(of, *place, -1);
	count_chunk(of, chunk, 1);
	store_chunk_drop(of, *place);
	*place = chunk;
	return chunk;
}

/* The part's chunk of `slot`, made or copied so that this transaction may write it. */
static struct store_chunk *
stage_chunk(struct store *store, size_t part, uint32_t slot, struct error *err)
{
	if (stage_table(store, slot, err) != 0)
		return NULL;
	struct store_snapshot *s = store->staged;
	assert(part < s->n_parts);
	struct store_part *of = &s->parts[part];
	struct store_chunk **place = &of->chunks[slot / STORE_CHUNK_ROWS];
	if (*place && (*place)->generation == s->generation)
		return *place;
	return copy_chunk(store, of, place, err);
}

/* Take the row out of a part whose chunk is staged; an emptied chunk goes. */
static void
clear_row(struct store *store, size_t part, uint32_t slot)
{
	struct store_snapshot *s = store->staged;
	struct store_part *of = &s->parts[part];
	struct store_chunk **place = &of->chunks[slot / STORE_CHUNK_ROWS];
	size_t r = slot % STORE_CHUNK_ROWS;

	(*place)->live[r / DISTANCE_ROWS] &= (uint16_t) ~(1u << r % DISTANCE_ROWS);
	of->n_live--;
	s->n_live--;
	if (chunk_is_empty(*place)) {
		count_chunk(of, *place, -1);
		store_chunk_drop(of, *place);
		*place = NULL;
	}
}

/* The chunk's bounds hold for its row r too. */
static void
widen_bounds(struct store_chunk *chunk, size_t r)
{
	struct distance_bounds *b = &chunk->bounds;

	b->factor_min = fminf(b->factor_min, chunk->factor[r]);
	b->factor_max = fmaxf(b->factor_max, chunk->factor[r]);
	if (chunk->norm2)
		b->norm2_min = fminf(b->norm2_min, chunk->norm2[r]);
}

int
store_put(
    struct store *store, uint32_t slot, const struct store_row *row, struct error *err)
{
	assert(slot < STORE_SLOTS_MAX);
	int before = store_staged_part(store, slot);
	struct store_chunk *chunk = stage_chunk(store, row->part, slot, err);
	if (!chunk || (!is_busy(store, slot) && take(store, slot, err) != 0))
		return -1;
	if (before >= 0 && (size_t)before != row->part) {
		if (!stage_chunk(store, (size_t)before, slot, err))
			return -1;
		clear_row(store, (size_t)before, slot);
	}

	struct store_snapshot *s = store->staged;
	struct store_part *part = &s->parts[row->part];
	size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
	distance_pack(chunk->codes + b * distance_block_bytes(part->shape),
	    r % DISTANCE_ROWS, row->wire, part->shape);
	if (chunk->plane0) /* the first plane of the wire form */
		distance_pack(
		    chunk->plane0 + b * distance_block_bytes(store_plane0(part->shape)),
		    r % DISTANCE_ROWS, row->wire, store_plane0(part->shape));
	chunk->factor[r] = row->factor;
	if (chunk->norm2)
		chunk->norm2[r] = row->norm2;
	if (chunk->place)
		chunk->place[r] = code_place(row->wire, part->shape);
	widen_bounds(chunk, r);
	unsigned is_new = !store_chunk_is_live(chunk, r);
	part->n_live += is_new;
	s->n_live += is_new;
	chunk->live[b] |= (uint16_t)(1u << r % DISTANCE_ROWS);
	if (slot >= s->n_slots)
		s->n_slots = slot + 1;
	return 0;
}

/* Room for the pending slots that publish will add. */
static int
reserve_pending(struct store *store, struct error *err)
{
	size_t want = store->n_pending + store->removed.n + 1;

	if (want <= store->pending_max)
		return 0;
	size_t max = want > 2 * store->pending_max ? want : 2 * store->pending_max;
	struct store_pending *pending =
	    array_resize(store->pending, max, sizeof *pending);
	if (!pending)
		return store_no_memory(err, "removed points");
	store->pending = pending;
	store->pending_max = max;
	return 0;
}

int
store_remove(struct store *store, uint32_t slot, struct error *err)
{
	int part = store_staged_part(store, slot);

	assert(part >= 0);
	if (!stage_chunk(store, (size_t)part, slot, err) ||
	    reserve_pending(store, err) != 0)
		return -1;
	if (slots_reserve(&store->removed) != 0)
		return store_no_memory(err, "removed points");
	store->removed.items[store->removed.n++] = slot;
	clear_row(store, (size_t)part, slot);
	return 0;
}

int
store_add_part(
    struct store *store, uint32_t number, struct code_shape shape, struct error *err)
{
	assert(number > store_staged_newest(store));
	if (code_shape_check(shape, err) != 0 || stage(store, err) != 0)
		return -1;
	if (store->staged->n_parts == STORE_PARTS_MAX)
		return error_set(err, ERR_FULL,
		    "expected codes of at most %d shapes or binarizers, not one more",
		    STORE_PARTS_MAX);
	return add_part(store, store->staged, number, shape) == 0
		   ? 0
		   : store_no_memory(err, "a collection's codes");
}

int
store_drop_part(struct store *store, uint32_t number, struct error *err)
{
	size_t p = 0;

	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	while (s->parts[p].number < number)
		p++;
	assert(s->parts[p].number == number && s->parts[p].n_live == 0 &&
	       p + 1 < s->n_parts);
	store_part_free(&s->parts[p], s->n_chunks);
	s->n_parts--;
	memmove(&s->parts[p], &s->parts[p + 1], (s->n_parts - p) * sizeof *s->parts);
	return 0;
}

int
store_want_plane0(struct store *store, bool want, struct error *err)
{
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	for (size_t p = 0; want && p < s->n_parts; p++)
		if (want_plane0(&s->parts[p]) != 0)
			return store_no_memory(err, "plane 0 of codes");
	for (size_t p = 0; !want && p < s->n_parts; p++)
		s->parts[p].plane0 = false;
	s->wants_plane0 = want;
	return 0;
}

int
store_step_plane0(bool *done, struct store *store, size_t n, struct error *err)
{
	*done = false;
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	for (size_t p = 0; p < s->n_parts; p++) {
		struct store_part *part = &s->parts[p];
		for (size_t i = 0; i < s->n_chunks; i++) {
			const struct store_chunk *chunk = part->chunks[i];
			if (!chunk || (chunk->plane0 != NULL) == part->plane0)
				continue;
			if (n-- == 0)
				return 0;
			if (!copy_chunk(store, part, &part->chunks[i], err))
				return -1;
		}
	}
	for (size_t p = 0; p < s->n_parts; p++) {
		struct store_part *part = &s->parts[p];
		if (part->plane0)
			continue;
		slab_release(part->slab0);
		part->slab0 = NULL;
	}
	*done = true;
	return 0;
}

uint32_t
store_staged_newest(const struct store *store)
{
	return store_newest(staged(store));
}

int
store_staged_part(const struct store *store, uint32_t slot)
{
	return store_part(staged(store), slot);
}

int
store_add_extra(struct store *store, size_t part, int64_t n, struct error *err)
{
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	assert(part < s->n_parts && (int64_t)s->parts[part].n_extra + n >= 0);
	s->parts[part].n_extra = (uint32_t)((int64_t)s->parts[part].n_extra + n);
	s->n_extra = (uint32_t)((int64_t)s->n_extra + n);
	return 0;
}

/* What the transaction's slots become when `after` replaces `before`. */
static void
settle_slots(struct store *store, const struct store_snapshot *before,
    const struct store_snapshot *after)
{
	for (size_t i = 0; i < store->removed.n; i++) {
		uint32_t slot = store->removed.items[i];
		if (store_part(before, slot) >= 0 && store_part(after, slot) < 0)
			store->pending[store->n_pending++] =
			    (struct store_pending){after->generation, slot};
	}
	for (size_t i = 0; i < store->taken.n; i++)
		if (store_part(after, store->taken.items[i]) < 0)
			set_free(store, store->taken.items[i]);
	slots_clear(&store->removed);
	slots_clear(&store->taken);
}

void
store_publish(struct store *store)
{
	struct store_snapshot *before = store->newest, *after = store->staged;

	settle_slots(store, before, after ? after : before);
	if (!after)
		return;
	store->staged = NULL;
	after->older = before;
	pthread_mutex_lock(&store->lock);
	before->newer = after;
	store->newest = after;
	store->writer_bytes =
	    store->busy_words * sizeof *store->busy +
	    store->pending_max * sizeof *store->pending +
	    (store->taken.max + store->removed.max) * sizeof(uint32_t);
	before = store_snapshot_leave(store, before);
	pthread_mutex_unlock(&store->lock);
	store_snapshot_free(before);
}

void
store_rollback(struct store *store)
{
	store_snapshot_free(store->staged);
	store->staged = NULL;
	for (size_t i = 0; i < store->taken.n; i++)
		set_free(store, store->taken.items[i]);
	slots_clear(&store->removed);
	slots_clear(&store->taken);
}
