#ifndef INDEX_FLAT_H
#define INDEX_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/heap.h"
#include "index/distance.h"
#include "index/row_set.h"
#include "index/store.h"

/*
 * Exact search: every live row of a snapshot, or those of a set, against every query of
 * a batch, in one pass over the codes (they are read from memory once a batch).  Blocks
 * without a row that counts are passed over.
 *
 * The hits and the bits of their scores do not depend on the number of threads, the
 * kernel or the split into batches; of equal scores the lower slot comes first.  (Which
 * hits a progressive search loses depends on the order that rows are seen in.)
 *
 * flat_step and flat_run open OpenMP regions: one thread of the program calls them
 * (libgomp keeps a team for each calling thread).  A scratch serves one pass at a time.
 */
struct flat_search {
	const struct distance_query *query; /* one for each part of the snapshot */
	size_t k;
	struct hit *hits;           /* room for k; afterwards the best n, best first */
	size_t n;                   /* out: min(k, rows that count) */
	const struct row_set *rows; /* NULL: every live row counts; else of those the
				       ones in the set, which may be of fewer slots */
	struct progressive *progressive; /* NULL: exact; else plane 0 decides whose
					    whole codes are read, in parts that have it
					    and where it is known well enough
					    (index/progressive.h) */
	bool of_row; /* the query is a stored row's code: its best hit, that row, says
			nothing of others */
};

struct flat_scratch;

/* Scratch for a pass of up to `threads` (>= 1) threads and one kernel, usually
 * distance_best().  ERR_MEMORY. */
struct flat_scratch *flat_scratch_new(
    const struct distance_kernel *kernel, size_t threads, struct error *err);

/* Scratch for another pass, which takes turns with those of `other`: its threads work
 * in other's memory, so that other is freed last.  ERR_MEMORY. */
struct flat_scratch *flat_scratch_beside(
    const struct flat_scratch *other, struct error *err);

/* NULL is fine. */
void flat_scratch_free(struct flat_scratch *scratch);

/* Begin to answer n searches, by at most `threads` (>= 1) of the scratch's threads.
 * Allocates only when the scratch has never been used for
 * so many queries, parts or so large a k.  ERR_MEMORY, and then no search has been
 * answered.  Searches, queries and snapshot stay as they are until flat_end. */
int flat_begin(struct flat_scratch *scratch, struct flat_search *searches, size_t n,
    const struct store_snapshot *snapshot, size_t threads, struct error *err);

/* Scan on until nothing is left (false), or until enough(arg) says so (NULL: never).
 * Every thread asks behind the few chunks that it has taken, so a step comes forward in
 * any case; what it asks must be quick and stay true. */
typedef bool flat_enough(void *arg);
bool flat_step(struct flat_scratch *scratch, flat_enough *enough, void *arg);

/* The hits of what has been scanned. */
void flat_end(struct flat_scratch *scratch);

/* All of this at once, by all threads.  ERR_MEMORY. */
int flat_run(struct flat_search *searches, size_t n,
    const struct store_snapshot *snapshot, struct flat_scratch *scratch,
    struct error *err);

#endif /* INDEX_FLAT_H */
