#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/store_internal.h"

/* Chunks and snapshots: what readers hold. */

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

struct slab *
store_slab_new(const struct store *store, struct code_shape shape)
{
	return slab_new(CHUNK_HEAD_BYTES + chunk_body_bytes(shape, store->with_norm2));
}

static size_t
chunk_plane0_bytes(struct code_shape shape)
{
	return STORE_CHUNK_BLOCKS * distance_block_bytes(store_plane0(shape));
}

struct slab *
store_slab0_new(struct code_shape shape)
{
	return slab_new(chunk_plane0_bytes(shape));
}

/* The chunk's plane 0 := that of its rows. */
static void
fill_plane0(struct store_chunk *chunk, struct code_shape shape)
{
	const struct code_shape shape0 = store_plane0(shape);
	uint8_t wire[CODE_BYTES_MAX];

	for (size_t r = 0; r < STORE_CHUNK_ROWS; r++) {
		size_t b = r / DISTANCE_ROWS;
		distance_unpack(wire, chunk->codes + b * distance_block_bytes(shape),
		    r % DISTANCE_ROWS, shape);
		distance_pack(chunk->plane0 + b * distance_block_bytes(shape0),
		    r % DISTANCE_ROWS, wire, shape0);
	}
}

struct store_chunk *
store_chunk_new(const struct store *store, const struct store_part *part,
    const struct store_chunk *from)
{
	const struct code_shape shape = part->shape;
	const size_t body = chunk_body_bytes(shape, store->with_norm2);
	struct store_chunk *chunk = slab_take(part->slab);
	uint8_t *plane0 = part->plane0 ? slab_take(part->slab0) : NULL;

	if (!chunk || (part->plane0 && !plane0))
		goto err;
	*chunk = (struct store_chunk){.codes = (uint8_t *)chunk + CHUNK_HEAD_BYTES,
	    .plane0 = plane0,
	    .bounds = DISTANCE_BOUNDS_NONE};
	chunk->factor = (void *)(chunk->codes + chunk_code_bytes(shape));
	if (store->with_norm2)
		chunk->norm2 = chunk->factor + STORE_CHUNK_ROWS;
	if (shape.centres > 0)
		chunk->place = (void *)(chunk->codes + body -
					STORE_CHUNK_ROWS * sizeof *chunk->place);
	if (from) {
		chunk->bounds = from->bounds;
		memcpy(chunk->live, from->live, sizeof chunk->live);
		memcpy(chunk->codes, from->codes, body);
	} else {
		memset(chunk->codes, 0, body);
	}
	if (plane0 && from && from->plane0)
		memcpy(plane0, from->plane0, chunk_plane0_bytes(shape));
	else if (plane0)
		fill_plane0(chunk, shape);
	atomic_init(&chunk->n_owners, 1);
	return chunk;

err:
	if (chunk)
		slab_give(part->slab, chunk);
	if (plane0)
		slab_give(part->slab0, plane0);
	return NULL;
}

void
store_chunk_drop(const struct store_part *part, struct store_chunk *chunk)
{
	if (!chunk || atomic_fetch_sub(&chunk->n_owners, 1) > 1)
		return;
	if (chunk->plane0)
		slab_give(part->slab0, chunk->plane0);
	slab_give(part->slab, chunk);
}

bool
store_chunk_is_live(const struct store_chunk *chunk, size_t row)
{
	return chunk->live[row / DISTANCE_ROWS] >> row % DISTANCE_ROWS & 1;
}

/* to := from, whose chunks it shares; false if memory is short. */
static bool
copy_part(struct store_part *to, const struct store_part *from, size_t n_chunks)
{
	*to = *from;
	to->chunks = array_new(n_chunks, sizeof(struct store_chunk *));
	if (!to->chunks)
		return false;
	slab_retain(to->slab);
	if (to->slab0)
		slab_retain(to->slab0);
	for (size_t i = 0; i < n_chunks; i++) {
		to->chunks[i] = from->chunks[i];
		if (to->chunks[i])
			atomic_fetch_add(&to->chunks[i]->n_owners, 1);
	}
	return true;
}

struct store_snapshot *
store_snapshot_new(struct store *store, const struct store_snapshot *from)
{
	struct store_snapshot *s = array_new(1, sizeof *s);

	if (!s)
		return NULL;
	s->store = store;
	s->n_readers = 1;
	if (!from)
		return s;
	s->n_slots = from->n_slots;
	s->n_live = from->n_live;
	s->n_extra = from->n_extra;
	s->wants_plane0 = from->wants_plane0;
	s->generation = from->generation + 1;
	s->n_chunks = s->chunks_max = from->n_chunks;
	for (size_t p = 0; p < from->n_parts; p++) {
		if (!copy_part(&s->parts[p], &from->parts[p], s->n_chunks)) {
			store_snapshot_free(s);
			return NULL;
		}
		s->n_parts++;
	}
	return s;
}

void
store_part_free(struct store_part *part, size_t n_chunks)
{
	for (size_t i = 0; i < n_chunks; i++)
		store_chunk_drop(part, part->chunks[i]);
	free(part->chunks);
	slab_release(part->slab);
	slab_release(part->slab0);
}

void
store_snapshot_free(struct store_snapshot *s)
{
	if (!s)
		return;
	for (size_t p = 0; p < s->n_parts; p++)
		store_part_free(&s->parts[p], s->n_chunks);
	free(s);
}

struct store_snapshot *
store_snapshot_leave(struct store *store, struct store_snapshot *s)
{
	assert(s->n_readers > 0);
	if (--s->n_readers > 0)
		return NULL;
	*(s->older ? &s->older->newer : &store->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &store->newest) = s->older;
	return s;
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
	snapshot = store_snapshot_leave(store, snapshot);
	pthread_mutex_unlock(&store->lock);
	store_snapshot_free(snapshot);
}

uint32_t
store_newest(const struct store_snapshot *s)
{
	return s->parts[s->n_parts - 1].number;
}

int
store_part(const struct store_snapshot *s, uint32_t slot)
{
	if (slot >= s->n_slots)
		return -1;
	for (size_t p = 0; p < s->n_parts; p++) {
		const struct store_chunk *chunk =
		    s->parts[p].chunks[slot / STORE_CHUNK_ROWS];
		if (chunk && store_chunk_is_live(chunk, slot % STORE_CHUNK_ROWS))
			return (int)p;
	}
	return -1;
}

bool
store_get(uint8_t *wire, float *factor, float *norm2, const struct store_snapshot *s,
    uint32_t slot)
{
	int p = store_part(s, slot);

	if (p < 0)
		return false;
	const struct store_part *part = &s->parts[p];
	const struct store_chunk *chunk = part->chunks[slot / STORE_CHUNK_ROWS];
	size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
	if (wire)
		distance_unpack(wire,
		    chunk->codes + b * distance_block_bytes(part->shape),
		    r % DISTANCE_ROWS, part->shape);
	if (wire && chunk->place)
		code_place_put(wire, chunk->place[r], part->shape);
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
	struct store_bytes bytes = {.tables = sizeof *s};

	for (size_t p = 0; p < s->n_parts; p++) {
		size_t n = 0, n0 = 0;
		for (size_t i = 0; i < s->n_chunks; i++) {
			const struct store_chunk *chunk = s->parts[p].chunks[i];
			n += chunk != NULL;
			n0 += chunk && chunk->plane0;
		}
		bytes.plane0 += n0 * chunk_plane0_bytes(s->parts[p].shape);
		bytes.codes += n * chunk_code_bytes(s->parts[p].shape);
		bytes.factors +=
		    n * chunk_row_bytes(s->parts[p].shape, store->with_norm2);
		bytes.tables += n * sizeof(struct store_chunk) +
				s->chunks_max * sizeof(struct store_chunk *);
	}
	store_release(s);
	pthread_mutex_lock(&store->lock);
	bytes.tables += store->writer_bytes;
	pthread_mutex_unlock(&store->lock);
	return bytes;
}
