#ifndef INDEX_FLAT_INTERNAL_H
#define INDEX_FLAT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "index/flat.h"

/* What the files of index/flat share; threads as there. */

#define FLAT_BATCH_MAX 64 /* queries of a batch */

/* From the dots of one query to those of the next: of a power of two, all would lie in
 * the same few lines of the first-level cache. */
#define FLAT_STRIDE (STORE_CHUNK_ROWS + DISTANCE_ROWS)

#define FLAT_LISTED_MAX (2 * STORE_CHUNK_ROWS)

/* The most chunks that rows of a set are brought together from. */
#define FLAT_FEW_CHUNKS 32

/* What a thread works with. */
struct flat_thread {
	int32_t *dots;      /* (FLAT_BATCH_MAX, FLAT_STRIDE) */
	int32_t *some_dots; /* (STORE_CHUNK_ROWS) */
	struct hit *found;  /* (STORE_CHUNK_ROWS) */
	uint32_t *listed; /* (FLAT_LISTED_MAX): slots that a search is still to meet */
	size_t n_listed;
	void *work;         /* DISTANCE_WORK_BYTES */
	struct heap *heaps; /* (n searches), of the pass that steps */
};

/* Searches whose queries for a part meet its codes, or plane 0 of them, together. */
struct flat_group {
	struct distance_batch batch;
	bool together;          /* by the kernel's batch; else one by one */
	bool coarse;            /* plane 0, and whole codes of what survives */
	const size_t *searches; /* (batch.n), their numbers */
};

/* The groups of a part are groups[first .. first + n - 1]; searches in none of them
 * are of few rows. */
struct flat_part {
	size_t first, n;
};

struct flat_scratch {
	const struct distance_kernel *kernel;
	size_t n_threads;
	struct flat_thread *threads;
	bool beside; /* they are another scratch's */

	/* Of the pass: */
	struct flat_search *searches;
	size_t n;
	const struct store_snapshot *snapshot;
	atomic_size_t next; /* chunk */
	size_t active;      /* threads that take part */
	struct flat_part parts[STORE_PARTS_MAX];
	bool *sparse; /* (n): of few rows */
	size_t n_sparse;
	size_t unit; /* chunks that a thread takes at once */

	/* (parts, n): the query that meets every row: the search's own, or one of
	 * `coarse`. */
	const struct distance_query **scanning;
	struct distance_query *coarse;
	/* In the order of groups, (parts, n) too: */
	const struct distance_query **queries;
	size_t *order;
	struct flat_group *groups;
	uint8_t *prepared;

	/* (n_threads, n), and the hits of all threads but the first, whose are the
	 * searches' own. */
	struct heap *heaps;
	struct hit *hits;

	size_t searches_max, hits_max, queries_max, coarse_max, prepared_max;
};

/* An array of the scratch, of n items by now, whose content is gone; false: memory is
 * short. */
bool flat_grow(void *array, size_t n, size_t size);

/* Every query into a group, where its set of rows is not so small that most blocks are
 * passed over; and how the threads share the work.  ERR_MEMORY. */
int flat_group_searches(struct flat_scratch *scratch, struct error *err);

/* One chunk of a part against every query of a group, by one thread. */
void flat_scan_chunk(
    struct flat_scratch *scratch, size_t part, size_t chunk, struct flat_thread *t);

/* The rows that a search of few has in chunks first .. end - 1 of a part, by one
 * thread. */
void flat_scan_few(struct flat_scratch *scratch, size_t part, size_t search,
    size_t first, size_t end, struct flat_thread *t);

#endif /* INDEX_FLAT_INTERNAL_H */
