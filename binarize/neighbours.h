#ifndef BINARIZE_NEIGHBOURS_H
#define BINARIZE_NEIGHBOURS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/blas.h"

/*
 * For vectors in random order, a near neighbour of each: the row of the highest inner
 * product among NEIGHBOURS_BLOCK rows around it, so that the cost grows with the rows
 * and not with their square.  Of 200,000 rows it is one of the nearest 25 or so, which
 * is what a positive is wanted for.
 */
#define NEIGHBOURS_BLOCK 8192

/* nearest (n) := the row near each of u (n, d), of equal ones the first; n >= 2.  Opens
 * OpenMP regions.  ERR_MEMORY. */
int neighbours_find(uint32_t *nearest, const struct blas *blas, const float *u,
    size_t n, size_t d, struct error *err);

#endif /* BINARIZE_NEIGHBOURS_H */
