#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The k best of a stream of (score, slot): a bounded binary heap with the worst
 * kept hit at its root.  A higher score is better; of equal scores the lower slot
 * (inserted first) is better, so the result does not depend on the order in which
 * hits come.  Scores are never NaN.  The caller owns the memory; owner only.
 */
struct hit {
	float score;
	uint32_t slot;
};

struct heap {
	struct hit *hits; /* room for k; after heap_sort: best first */
	size_t k;
	size_t n; /* hits kept, <= k */
};

static inline bool
hit_better(struct hit a, struct hit b)
{
	return a.score > b.score || (a.score == b.score && a.slot < b.slot);
}

/* Start empty over hits[0 .. k-1]; k may be 0. */
void heap_init(struct heap *heap, struct hit *hits, size_t k);

/* Keep the hit if it is among the k best so far. */
void heap_push(struct heap *heap, struct hit hit);

/* The score that a new hit must reach to matter: -INFINITY while not full. */
float heap_threshold(const struct heap *heap);

/* Order hits[0 .. n-1] best first.  Ends the heap: init before pushing again. */
void heap_sort(struct heap *heap);

#endif /* BASE_HEAP_H */
