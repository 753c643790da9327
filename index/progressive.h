#ifndef INDEX_PROGRESSIVE_H
#define INDEX_PROGRESSIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/heap.h"
#include "index/distance.h"
#include "index/store.h"

/*
 * Progressive search: plane 0 of every row, the whole code of few.
 *
 * A *coarse* query, of values of 4 bits, meets plane 0 alone (a quarter of a 4-bit
 * code's bytes).  What it finds says within an error what the whole code would:
 *
 *     <q, v>  ~  slope * <q', s_0>,      s_0 the signs of plane 0
 *
 * with the slope that fits it best over the hits of queries.  A row whose score would
 * reach the k-th best so far even if its <q, v> were `margin` * |q| more is a survivor,
 * and its whole code is read.  So the answer's scores are those of exact search; a row
 * is lost only if its error is beyond the margin and the threshold between.
 *
 * Both are learned from exact searches: their ten best hits each say how far their
 * plane 0 was off, and the margin is what PROGRESSIVE_KEPT of them stay within (most
 * others survive too, because few hits are just at the threshold: docs/design.md has
 * figures).  So the first searches of a collection, or of one that has doubled or
 * halved, are exact and teach.  Later a search now and then, of 8 and in the end of
 * 256, is a check: it is exact, and its hits take the place of the oldest.  If more
 * of them would have been lost than may be, the queries have changed: all is learned
 * anew.
 *
 * Source: the idea of a bound per candidate is that of RaBitQ's reranking (Gao & Long,
 * SIGMOD 2024, arXiv:2405.12497, section 4), whose bound holds for random rotations;
 * codes that have been learned have no such bound, so it is measured.
 */
#define PROGRESSIVE_KEPT 0.98
#define PROGRESSIVE_SAMPLES 512 /* hits that a margin is learned from */
#define PROGRESSIVE_HITS 10     /* of a search, at most */

#define PROGRESSIVE_ROWS 8192 /* of a part; fewer are scanned as soon */

/* What is known of a collection's parts.  One thread at a time, but for
 * progressive_info. */
struct progressive;

/* ERR_MEMORY. */
struct progressive *progressive_new(struct error *err);
void progressive_free(struct progressive *p); /* NULL is fine */

/* Whether the part's margin is known, for about as many rows as it has: if so *coarse
 * := q (int8 or sdc, of all planes) for blocks of store_plane0, with the margin in its
 * dots, so that the rows which a kernel selects by it are the survivors. */
bool progressive_coarse(struct distance_query *coarse, struct progressive *p,
    const struct store_part *part, const struct distance_query *q);

/* Whether it is the part's turn for a check; to be asked once a search that would be
 * coarse in it and can teach. */
bool progressive_is_check(struct progressive *p, const struct store_part *part);

/* Learn from the n hits, best first, of a search of all rows by `queries`, one for each
 * part of the snapshot: about the parts in which it was exact (bit i: part i), as it is
 * in those that are not known and in a check. */
void progressive_learn(struct progressive *p, const struct distance_kernel *kernel,
    const struct distance_query *queries, uint32_t exact, const struct hit *hits,
    size_t n, const struct store_snapshot *snapshot);

/* What is known of a part by its number: zeros of one that nothing is known of.  Any
 * thread. */
struct progressive_info {
	size_t n_samples; /* slope and margin are known from PROGRESSIVE_SAMPLES on */
	float slope;
	float margin; /* of <q, v>, in units of |q| */
};
struct progressive_info progressive_info(struct progressive *p, uint32_t number);

#endif /* INDEX_PROGRESSIVE_H */
