#ifndef INDEX_FLAT_INTERNAL_H
#define INDEX_FLAT_INTERNAL_H

#include <stdbool.h>

#include "index/flat.h"

/* What the files of index/flat share; threads as there. */

#define FLAT_BATCH_MAX 64 /* queries of a batch */

/* What a thread works with. */
struct flat_thread {
	int32_t *dots;      /* (FLAT_BATCH_MAX, rows of DISTANCE_BATCH_BLOCKS), or of a
			       whole chunk */
	struct hit *found;  /* (STORE_CHUNK_ROWS) */
	void *work;         /* DISTANCE_WORK_BYTES */
	struct heap *heaps; /* (n searches) */
	struct distance_least *least; /* (n searches), of the chunk at hand */
};

/* Searches whose queries for a part meet its codes together. */
struct flat_group {
	struct distance_batch batch; /* n = 0: by no batch, but one by one */
	const size_t *searches;      /* (n), their numbers */
	size_t n;
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

	/* Of the pass: */
	struct flat_search *searches;
	size_t n;
	const struct store_snapshot *snapshot;
	size_t next;   /* chunk */
	size_t active; /* threads that take part */
	struct flat_part parts[STORE_PARTS_MAX];
	struct flat_group *groups;

	/* Grown as searches ask for it: */
	struct heap *heaps;           /* (n_threads, n) */
	struct distance_least *least; /* (n_threads, n) */
	struct hit *hits; /* of all threads but the first, whose are the searches' */
	const struct distance_query **queries; /* in the order of groups */
	size_t *order;
	bool *sparse; /* (n) */
	uint8_t *prepared;
	size_t searches_max, hits_max, groups_max, prepared_max;
};

/* Every query into a group, where its set of rows is not so small that most blocks are
 * passed over.  ERR_MEMORY. */
int flat_group_searches(struct flat_scratch *scratch, struct error *err);

/* One chunk of a part against every query, by one thread. */
void flat_scan_chunk(
    struct flat_scratch *scratch, size_t part, size_t chunk, struct flat_thread *t);

#endif /* INDEX_FLAT_INTERNAL_H */
