#ifndef TESTS_SUPPORT_DISTANCE_TWIN_H
#define TESTS_SUPPORT_DISTANCE_TWIN_H

#include "base/rng.h"
#include "index/distance.h"

/*
 * A kernel of index/distance.h against the scalar one, on random codes and queries,
 * with codes, dots, what is prepared and what is worked with ending at unreadable
 * pages.  Needs no test framework, so that it runs under an emulated processor too.
 *
 * For every kind and 1 .. 4 bits: 1 .. 35 queries and 64 of 64 .. 576 dimensions, and
 * codes as wide as they come; 1 .. 8 blocks, any planes; small, mixed and extreme
 * values.  One by one, in batches, and which rows reach a least.  `odds`: of the cases,
 * run one in so many, for kernels that are emulated slowly.
 *
 * 0 if all integers are the same; ERR_FORMAT says for which case they are not.
 */
int distance_twin_compare(const struct distance_kernel *kernel, size_t odds,
    struct rng *rng, struct error *err);

#endif /* TESTS_SUPPORT_DISTANCE_TWIN_H */
