#ifndef INDEX_STORE_H
#define INDEX_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "index/distance.h"

/*
 * Rows of codes in memory: what is scanned.
 *
 * A row is a *slot*: a packed code (index/distance.h), a float factor, where the
 * store has them a float |x|^2 and a place (base/code.h), and a live bit; nothing else.
 * Rows stand in chunks of STORE_CHUNK_ROWS behind a table of pointers:
 *
 *     snapshot 7 --> | chunk 0 | chunk 1 | chunk 2  |
 *                         ^         ^         (first version of chunk 2)
 *     snapshot 8 --> | chunk 0 | chunk 1 | chunk 2' | chunk 3 |
 *
 * A store has *parts*, usually one: a part's rows have one shape, and each its own
 * chunks behind a table of the same length.  A slot is live in one part at most, so
 * that rows can move from one part to another (codes of an older binarizer to those of
 * a newer one) and keep their slots; part 0 is the oldest.  A part that has lost all
 * its rows can be dropped; the numbers that parts have tell them apart then.
 *
 * A store may keep plane 0 of its codes a second time, as blocks of 1-bit codes, for
 * searches that look at it first (index/progressive.h): reading it alone out of packed
 * levels would read them all.
 *
 * A published chunk never changes.  The writer changes copies of the chunks it
 * touches (one copy a chunk and transaction) and publishes a new table; readers keep
 * the snapshot they acquired for as long as they like and never see a torn row.
 *
 * Threads: one writer at a time calls store_slot_new, _put, _remove, _add_extra,
 * _add_part, _drop_part, _want_plane0, _step_plane0, _staged_*, _publish, _rollback;
 * store_acquire, store_release, store_bytes and everything that takes a snapshot: any
 * thread.
 *
 * A transaction begins with the first call that stages something after a publish or
 * rollback.  Those may fail with ERR_MEMORY and then have changed nothing (what was
 * staged before stays staged); publish and rollback cannot fail.
 */
#define STORE_CHUNK_ROWS 1024
#define STORE_CHUNK_BLOCKS (STORE_CHUNK_ROWS / DISTANCE_ROWS)
#define STORE_SLOTS_MAX UINT32_C(0xFFFFFC00) /* a multiple of STORE_CHUNK_ROWS */
#define STORE_PARTS_MAX 8

struct slab;
struct store;

/* Readers look and do not touch. */
struct store_chunk {
	uint8_t *codes; /* STORE_CHUNK_BLOCKS blocks, 64-byte aligned */
	float *factor;  /* [STORE_CHUNK_ROWS], 64-byte aligned */
	float *norm2;   /* [STORE_CHUNK_ROWS], 64-byte aligned; NULL without */
	struct code_place *place; /* [STORE_CHUNK_ROWS]; NULL without centres */
	uint8_t *plane0; /* STORE_CHUNK_BLOCKS blocks of store_plane0(shape), 64-byte
			    aligned; NULL without */
	struct distance_bounds bounds;
	uint16_t live[STORE_CHUNK_BLOCKS];
	uint64_t generation; /* of the transaction that made it */
	atomic_size_t n_owners;
};

struct store_part {
	uint32_t number; /* the owner's name for it, rising from part to part */
	struct code_shape shape;
	uint32_t n_live;
	uint32_t n_extra;            /* of them: see store_add_extra */
	struct store_chunk **chunks; /* (n_chunks of the snapshot); NULL: no row */
	bool plane0;                 /* chunks that are written get one */
	size_t n_present, n_plane0;  /* chunks that are there, and that have one */
	struct slab *slab, *slab0;   /* of chunks and of their plane 0 (NULL: none had
					one yet): the store's own business */
};

struct store_snapshot {
	uint32_t n_slots;    /* slots 0 .. n_slots - 1 may be live */
	uint32_t n_live;     /* of all parts */
	uint32_t n_extra;    /* of them: see store_add_extra */
	uint64_t generation; /* counts publishes */
	bool wants_plane0;   /* of parts that will come, too */
	size_t n_chunks;
	size_t n_parts;
	struct store_part parts[STORE_PARTS_MAX];

	struct store *store; /* the rest is the store's own business */
	size_t chunks_max;
	size_t n_readers; /* under the store's lock */
	struct store_snapshot *older, *newer;
};

/* An empty store of one part for codes of `shape`, with |x|^2 a row if with_norm2
 * (euclid).  ERR_MEMORY. */
struct store *store_new(
    uint32_t number, struct code_shape shape, bool with_norm2, struct error *err);

/* Every snapshot must have been released; what is staged is dropped.  NULL is fine. */
void store_free(struct store *store);

/* *slot := the lowest slot that is free, or the next new one.  A removed slot is free
 * again once every snapshot from before its removal has been released; so are slots
 * below the highest live one that a restart did not put.  The slot belongs to this
 * transaction until publish (where it stays taken if it was put) or rollback.
 * ERR_MEMORY; ERR_FULL at STORE_SLOTS_MAX.
 */
int store_slot_new(uint32_t *slot, struct store *store, struct error *err);

/* A row to stage: borrowed for the call. */
struct store_row {
	const uint8_t *wire; /* code_bytes(shape), checked (code_check) */
	float factor;        /* finite */
	float norm2;         /* finite; ignored by a store without */
	size_t part;         /* whose shape the code has */
};

/* Stage a row, in place of the slot's row in whatever part: of a slot from
 * store_slot_new, of a live slot (replaces), or, when a restart loads rows whose slots
 * are known, of any slot < STORE_SLOTS_MAX.  Many puts before one publish copy no chunk
 * twice: that is the bulk path.  ERR_MEMORY. */
int store_put(
    struct store *store, uint32_t slot, const struct store_row *row, struct error *err);

/* Stage the removal of a slot that is live (or was put in this transaction).
 * ERR_MEMORY. */
int store_remove(struct store *store, uint32_t slot, struct error *err);

/* Stage an empty part behind the others, of a higher number.  ERR_MEMORY; ERR_FULL at
 * STORE_PARTS_MAX. */
int store_add_part(
    struct store *store, uint32_t number, struct code_shape shape, struct error *err);

/* Stage the end of a part that has no rows and is not the last: those behind it move
 * up.  ERR_MEMORY. */
int store_drop_part(struct store *store, uint32_t number, struct error *err);

/* Whether all rows of a part have plane 0 by itself. */
static inline bool
store_has_plane0(const struct store_part *part)
{
	return part->n_plane0 > 0 && part->n_plane0 == part->n_present;
}

/* The shape of plane 0 kept by itself. */
static inline struct code_shape
store_plane0(struct code_shape shape)
{
	return (struct code_shape){shape.dims, 1, 0};
}

/* Stage that chunks which are written from now on keep plane 0 by itself, or do not;
 * those of 1-bit codes, which are plane 0, never do.  ERR_MEMORY. */
int store_want_plane0(struct store *store, bool want, struct error *err);

/* Stage copies of up to n (>= 1) chunks that are not as wanted; *done: none is left.
 * What they kept is free with the last snapshot from before.  ERR_MEMORY. */
int store_step_plane0(bool *done, struct store *store, size_t n, struct error *err);

/* With what is staged: the last part's number; the part in which a slot is live, -1: in
 * none. */
uint32_t store_staged_newest(const struct store *store);
int store_staged_part(const struct store *store, uint32_t slot);

/* Stage n more (or fewer) extra rows of a part: those that are not the first of what
 * their owner counts as one.  The store carries the number with its snapshots and does
 * not look at it.  ERR_MEMORY. */
int store_add_extra(struct store *store, size_t part, int64_t n, struct error *err);

/* Make what is staged visible to the next store_acquire.  Without anything staged
 * nothing happens. */
void store_publish(struct store *store);

/* Forget what is staged; the slots of this transaction are free again. */
void store_rollback(struct store *store);

/* The newest published snapshot (empty at first): immutable, valid until released. */
struct store_snapshot *store_acquire(struct store *store);

/* NULL is fine. */
void store_release(struct store_snapshot *snapshot);

/* The last part's number. */
uint32_t store_newest(const struct store_snapshot *snapshot);

/* The part in which the slot is live in the snapshot; -1: in none. */
int store_part(const struct store_snapshot *snapshot, uint32_t slot);

/* Whether the slot is live in the snapshot; if so wire (code_bytes), *factor and
 * *norm2 (0 in a store without) := its row.  Any of the three may be NULL. */
bool store_get(uint8_t *wire, float *factor, float *norm2,
    const struct store_snapshot *snapshot, uint32_t slot);

/* Bytes of memory of the newest snapshot by part. */
struct store_bytes {
	size_t codes;   /* packed codes, room for whole chunks */
	size_t plane0;  /* what of them is kept a second time */
	size_t factors; /* factors, places and |x|^2 */
	size_t tables;  /* live bits, free slots, tables of pointers */
};
struct store_bytes store_bytes(struct store *store);

#endif /* INDEX_STORE_H */
