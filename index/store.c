#include "index/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/slab.h"

/* A slot whose removal was published as `generation`: snapshots before it show it. */
struct pending {
	uint64_t generation;
	uint32_t slot;
};

/* A growing list of slots. */
struct slots {
	uint32_t *items;
	size_t n, max;
};

struct store {
	struct code_shape shape;
	bool with_norm2;
	struct slab *slab; /* of chunks */

	/* Guards what follows up to the writer's part, and every snapshot's n_readers,
	 * older and newer.  The store is a reader of `newest`. */
	pthread_mutex_t lock;
	struct store_snapshot *oldest, *newest;
	size_t writer_bytes; /* of the writer's tables at the last publish */

	/* The writer's own. */
	struct store_snapshot *staged; /* NULL: no row staged */
	uint64_t *busy;                /* bit set: not for store_slot_new */
	size_t busy_words;
	size_t free_from;        /* no word of busy before this has a zero bit */
	struct pending *pending; /* oldest first */
	size_t n_pending, pending_max;
	struct slots taken;   /* busy since this transaction */
	struct slots removed; /* in this transaction */
};

static int
no_memory(struct error *err, const char *what)
{
	return error_set(err, ERR_MEMORY,
	    "expected memory for %s, not none; free some or lower the number of points",
	    what);
}

/* Chunks. */

static size_t
chunk_code_bytes(struct code_shape shape)
{
	return STORE_CHUNK_BLOCKS * distance_block_bytes(shape);
}

/* Bytes before a chunk's codes, of what is beside them, and of both. */
#define CHUNK_HEAD_BYTES ((sizeof(struct store_chunk) + 63) / 64 * 64)

static size_t
chunk_row_bytes(struct code_shape shape, bool with_norm2)
{
	size_t floats = with_norm2 ? 2 : 1;
	size_t place = shape.centres > 0 ? sizeof(struct code_place) : 0;
	return STORE_CHUNK_ROWS * (floats * sizeof(float) + place);
}

static size_t
chunk_body_bytes(struct code_shape shape, bool with_norm2)
{
	return chunk_code_bytes(shape) + chunk_row_bytes(shape, with_norm2);
}

/* A chunk without rows, or a copy of `from`; NULL if memory is short. */
static struct store_chunk *
chunk_new(struct store *store, const struct store_chunk *from)
{
	const size_t body = chunk_body_bytes(store->shape, store->with_norm2);
	struct store_chunk *chunk = slab_take(store->slab);

	if (!chunk)
		return NULL;
	*chunk = (struct store_chunk){.codes = (uint8_t *)chunk + CHUNK_HEAD_BYTES};
	chunk->factor = (void *)(chunk->codes + chunk_code_bytes(store->shape));
	if (store->with_norm2)
		chunk->norm2 = chunk->factor + STORE_CHUNK_ROWS;
	if (store->shape.centres > 0)
		chunk->place = (void *)(chunk->codes + body -
					STORE_CHUNK_ROWS * sizeof *chunk->place);
	if (from) {
		memcpy(chunk->live, from->live, sizeof chunk->live);
		memcpy(chunk->codes, from->codes, body);
	} else {
		memset(chunk->codes, 0, body);
	}
	atomic_init(&chunk->n_owners, 1);
	return chunk;
}

static void
chunk_drop(struct store *store, struct store_chunk *chunk)
{
	if (chunk && atomic_fetch_sub(&chunk->n_owners, 1) == 1)
		slab_give(store->slab, chunk);
}

static bool
chunk_is_live(const struct store_chunk *chunk, size_t row)
{
	return chunk->live[row / DISTANCE_ROWS] >> row % DISTANCE_ROWS & 1;
}

static bool
chunk_is_empty(const struct store_chunk *chunk)
{
	for (size_t b = 0; b < STORE_CHUNK_BLOCKS; b++)
		if (chunk->live[b])
			return false;
	return true;
}

/* Snapshots. */

static struct store_snapshot *
snapshot_new(struct store *store, const struct store_snapshot *from)
{
	struct store_snapshot *s = array_new(1, sizeof *s);
	size_t n = from ? from->n_chunks : 0;

	if (!s)
		return NULL;
	s->chunks = array_new(n, sizeof(struct store_chunk *));
	if (!s->chunks) {
		free(s);
		return NULL;
	}
	s->store = store;
	s->shape = store->shape;
	s->n_chunks = s->chunks_max = n;
	s->n_readers = 1;
	if (!from)
		return s;
	s->n_slots = from->n_slots;
	s->n_live = from->n_live;
	s->n_extra = from->n_extra;
	s->generation = from->generation + 1;
	for (size_t i = 0; i < n; i++) {
		s->chunks[i] = from->chunks[i];
		if (s->chunks[i])
			atomic_fetch_add(&s->chunks[i]->n_owners, 1);
	}
	return s;
}

static void
snapshot_free(struct store_snapshot *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_chunks; i++)
		chunk_drop(s->store, s->chunks[i]);
	free(s->chunks);
	free(s);
}

/* With the lock held: one reader less; the snapshot if it was the last, to be freed
 * once the lock is open. */
static struct store_snapshot *
snapshot_leave(struct store *store, struct store_snapshot *s)
{
	assert(s->n_readers > 0);
	if (--s->n_readers > 0)
		return NULL;
	*(s->older ? &s->older->newer : &store->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &store->newest) = s->older;
	return s;
}

static bool
snapshot_is_live(const struct store_snapshot *s, uint32_t slot)
{
	if (slot >= s->n_slots)
		return false;
	const struct store_chunk *chunk = s->chunks[slot / STORE_CHUNK_ROWS];
	return chunk && chunk_is_live(chunk, slot % STORE_CHUNK_ROWS);
}

struct store *
store_new(struct code_shape shape, bool with_norm2, struct error *err)
{
	struct store *store;

	if (code_shape_check(shape, err) != 0)
		return NULL;
	store = array_new(1, sizeof *store);
	if (!store)
		goto err0;
	store->shape = shape;
	store->with_norm2 = with_norm2;
	store->slab = slab_new(CHUNK_HEAD_BYTES + chunk_body_bytes(shape, with_norm2));
	if (!store->slab)
		goto err1;
	store->newest = store->oldest = snapshot_new(store, NULL);
	if (!store->newest)
		goto err2;
	pthread_mutex_init(&store->lock, NULL);
	return store;

err2:
	slab_free(store->slab);
err1:
	free(store);
err0:
	no_memory(err, "a collection's codes");
	return NULL;
}

void
store_free(struct store *store)
{
	if (!store)
		return;
	assert(store->oldest == store->newest && store->newest->n_readers == 1);
	snapshot_free(store->staged);
	snapshot_free(store->newest);
	slab_free(store->slab);
	pthread_mutex_destroy(&store->lock);
	free(store->busy);
	free(store->pending);
	free(store->taken.items);
	free(store->removed.items);
	free(store);
}

/* Free slots. */

static int
slots_reserve(struct slots *slots)
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
slots_clear(struct slots *slots)
{
	slots->n = 0;
	if (slots->max > 4096) {
		free(slots->items);
		*slots = (struct slots){0};
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
		return no_memory(err, "a transaction's slots");
	if (slot / 64 >= store->busy_words) {
		size_t words = 2 * store->busy_words;
		if (words <= slot / 64)
			words = slot / 64 + 16;
		uint64_t *busy = array_resize(store->busy, words, sizeof *busy);
		if (!busy)
			return no_memory(err, "a collection's slots");
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
		store->staged = snapshot_new(store, store->newest);
	return store->staged ? 0 : no_memory(err, "a table of codes");
}

/* The staged table has an entry for the chunk of `slot`. */
static int
stage_table(struct store *store, uint32_t slot, struct error *err)
{
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	size_t want = slot / STORE_CHUNK_ROWS + 1;
	if (want <= s->n_chunks)
		return 0;
	if (want > s->chunks_max) {
		size_t max = want > 2 * s->chunks_max ? want : 2 * s->chunks_max;
		void *chunks =
		    array_resize(s->chunks, max, sizeof(struct store_chunk *));
		if (!chunks)
			return no_memory(err, "a table of codes");
		s->chunks = chunks;
		s->chunks_max = max;
	}
	while (s->n_chunks < want)
		s->chunks[s->n_chunks++] = NULL;
	return 0;
}

/* The chunk of `slot`, made or copied so that this transaction may write it. */
static struct store_chunk *
stage_chunk(struct store *store, uint32_t slot, struct error *err)
{
	if (stage_table(store, slot, err) != 0)
		return NULL;
	struct store_snapshot *s = store->staged;
	struct store_chunk **place = &s->chunks[slot / STORE_CHUNK_ROWS];
	if (*place && (*place)->generation == s->generation)
		return *place;
	struct store_chunk *chunk = chunk_new(store, *place);
	if (!chunk) {
		no_memory(err, "a chunk of codes");
		return NULL;
	}
	chunk->generation = s->generation;
	chunk_drop(store, *place);
	*place = chunk;
	return chunk;
}

int
store_put(
    struct store *store, uint32_t slot, const struct store_row *row, struct error *err)
{
	assert(slot < STORE_SLOTS_MAX);
	struct store_chunk *chunk = stage_chunk(store, slot, err);
	if (!chunk || (!is_busy(store, slot) && take(store, slot, err) != 0))
		return -1;

	struct store_snapshot *s = store->staged;
	size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
	distance_pack(chunk->codes + b * distance_block_bytes(s->shape),
	    r % DISTANCE_ROWS, row->wire, s->shape);
	chunk->factor[r] = row->factor;
	if (chunk->norm2)
		chunk->norm2[r] = row->norm2;
	if (chunk->place)
		chunk->place[r] = code_place(row->wire, s->shape);
	s->n_live += !chunk_is_live(chunk, r);
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
	struct pending *pending = array_resize(store->pending, max, sizeof *pending);
	if (!pending)
		return no_memory(err, "removed points");
	store->pending = pending;
	store->pending_max = max;
	return 0;
}

int
store_remove(struct store *store, uint32_t slot, struct error *err)
{
	assert(snapshot_is_live(store->staged ? store->staged : store->newest, slot));
	struct store_chunk *chunk = stage_chunk(store, slot, err);
	if (!chunk || reserve_pending(store, err) != 0)
		return -1;
	if (slots_reserve(&store->removed) != 0)
		return no_memory(err, "removed points");

	struct store_snapshot *s = store->staged;
	size_t r = slot % STORE_CHUNK_ROWS;
	chunk->live[r / DISTANCE_ROWS] &= (uint16_t) ~(1u << r % DISTANCE_ROWS);
	s->n_live--;
	store->removed.items[store->removed.n++] = slot;
	if (chunk_is_empty(chunk)) {
		chunk_drop(store, chunk);
		s->chunks[slot / STORE_CHUNK_ROWS] = NULL;
	}
	return 0;
}

int
store_add_extra(struct store *store, int64_t n, struct error *err)
{
	if (stage(store, err) != 0)
		return -1;
	struct store_snapshot *s = store->staged;
	assert((int64_t)s->n_extra + n >= 0);
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
		if (snapshot_is_live(before, slot) && !snapshot_is_live(after, slot))
			store->pending[store->n_pending++] =
			    (struct pending){after->generation, slot};
	}
	for (size_t i = 0; i < store->taken.n; i++)
		if (!snapshot_is_live(after, store->taken.items[i]))
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
	before = snapshot_leave(store, before);
	pthread_mutex_unlock(&store->lock);
	snapshot_free(before);
}

void
store_rollback(struct store *store)
{
	snapshot_free(store->staged);
	store->staged = NULL;
	for (size_t i = 0; i < store->taken.n; i++)
		set_free(store, store->taken.items[i]);
	slots_clear(&store->removed);
	slots_clear(&store->taken);
}

struct store_snapshot *
store_acquire(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	struct store_snapshot *s = store->newest;
	s->n_readers++;
	pthread_mutex_unlock(&store->lock);
	return s;
}

void
store_release(struct store_snapshot *snapshot)
{
	if (!snapshot)
		return;
	struct store *store = snapshot->store;
	pthread_mutex_lock(&store->lock);
	snapshot = snapshot_leave(store, snapshot);
	pthread_mutex_unlock(&store->lock);
	snapshot_free(snapshot);
}

bool
store_get(uint8_t *wire, float *factor, float *norm2, const struct store_snapshot *s,
    uint32_t slot)
{
	if (!snapshot_is_live(s, slot))
		return false;
	const struct store_chunk *chunk = s->chunks[slot / STORE_CHUNK_ROWS];
	size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
	if (wire)
		distance_unpack(wire, chunk->codes + b * distance_block_bytes(s->shape),
		    r % DISTANCE_ROWS, s->shape);
	if (wire && chunk->place)
		code_place_put(wire, chunk->place[r], s->shape);
	if (factor)
		*factor = chunk->factor[r];
	if (norm2)
		*norm2 = chunk->norm2 ? chunk->norm2[r] : 0.0f;
	return true;
}

struct store_bytes
store_bytes(struct store *store)
{
	struct store_snapshot *s = store_acquire(store);
	size_t n = 0;

	for (size_t i = 0; i < s->n_chunks; i++)
		n += s->chunks[i] != NULL;
	struct store_bytes bytes = {
	    .codes = n * chunk_code_bytes(s->shape),
	    .factors = n * chunk_row_bytes(s->shape, store->with_norm2),
	    .tables = n * sizeof(struct store_chunk) + sizeof *s +
		      s->chunks_max * sizeof(struct store_chunk *),
	};
	store_release(s);
	pthread_mutex_lock(&store->lock);
	bytes.tables += store->writer_bytes;
	pthread_mutex_unlock(&store->lock);
	return bytes;
}
