#ifndef INDEX_DISTANCE_KERNELS_H
#define INDEX_DISTANCE_KERNELS_H

#include "index/distance.h"

/* The tables behind distance_find.  A table of a level that the build's architecture
 * lacks is not there; code of a level runs only after cpu_has(level). */
extern const struct distance_kernel distance_scalar;
#if defined(__x86_64__)
extern const struct distance_kernel distance_avx2;
extern const struct distance_kernel distance_avx512;
#endif

/* The smallest integer whose hamming score (float)dot / (float)dims reaches the
 * threshold; dims + 1 if none does.  Lets a kernel compare integers. */
int32_t distance_hamming_floor(uint32_t dims, float threshold);

/* found (n so far) += the rows of a block whose bit is set in `mask`; returns the new
 * n.  `row` is the block's first row. */
static inline size_t
distance_emit(
    struct hit *found, size_t n, uint32_t mask, const float *scores, size_t row)
{
	for (; mask; mask &= mask - 1) {
		unsigned r = (unsigned)__builtin_ctz(mask);
		found[n++] = (struct hit){scores[r], (uint32_t)(row + r)};
	}
	return n;
}

#endif /* INDEX_DISTANCE_KERNELS_H */
