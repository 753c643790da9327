#ifndef INDEX_STORE_INTERNAL_H
#define INDEX_STORE_INTERNAL_H

#include <pthread.h>

#include "index/slab.h"
#include "index/store.h"

/* What the files of index/store share; threads as there. */

/* A slot whose removal was published as `generation`: snapshots before it show it. */
struct store_pending {
	uint64_t generation;
	uint32_t slot;
};

/* A growing list of slots. */
struct store_slots {
	uint32_t *items;
	size_t n, max;
};

struct store {
	bool with_norm2;

	/* Guards what follows up to the writer's part, and every snapshot's n_readers,
	 * older and newer.  The store is a reader of `newest`. */
	pthread_mutex_t lock;
	struct store_snapshot *oldest, *newest;
	size_t writer_bytes; /* of the writer's tables at the last publish */

	/* The writer's own. */
	struct store_snapshot *staged; /* NULL: nothing staged but slots */
	uint64_t *busy;                /* bit set: not for store_slot_new */
	size_t busy_words;
	size_t free_from;              /* no word of busy before this has a zero bit */
	struct store_pending *pending; /* oldest first */
	size_t n_pending, pending_max;
	struct store_slots taken;   /* busy since this transaction */
	struct store_slots removed; /* in this transaction */
};

/* Fill *err with ERR_MEMORY; returns -1. */
int store_no_memory(struct error *err, const char *what);

/* A source of chunks for codes of `shape`; NULL: memory is short. */
struct slab *store_slab_new(const struct store *store, struct code_shape shape);

/* A source of their plane 0; NULL: memory is short. */
struct slab *store_slab0_new(struct code_shape shape);

/* A chunk of a part without rows, or a copy of `from`; NULL: memory is short. */
struct store_chunk *store_chunk_new(const struct store *store,
    const struct store_part *part, const struct store_chunk *from);
void store_chunk_drop(const struct store_part *part, struct store_chunk *chunk);
bool store_chunk_is_live(const struct store_chunk *chunk, size_t row);

/* A snapshot like `from` (NULL: without rows and parts) with one reader; NULL: memory
 * is short. */
struct store_snapshot *store_snapshot_new(
    struct store *store, const struct store_snapshot *from);
void store_snapshot_free(struct store_snapshot *snapshot);

/* Of a part that was taken out of its snapshot. */
void store_part_free(struct store_part *part, size_t n_chunks);

/* With the lock held: one reader less; the snapshot if it was the last, to be freed
 * once the lock is open. */
struct store_snapshot *store_snapshot_leave(
    struct store *store, struct store_snapshot *snapshot);

#endif /* INDEX_STORE_INTERNAL_H */
