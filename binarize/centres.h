#ifndef BINARIZE_CENTRES_H
#define BINARIZE_CENTRES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Centres: vectors among which others lie, so that a code need only say how far from
 * the nearest one (as the lists of an inverted file do: Jegou et al., "Product
 * Quantization for Nearest Neighbor Search", PAMI 2011, section IV).
 *
 * Sums run over their index in order, as in refine.h: every kernel gives the same bits,
 * and so the same nearest centre.
 *
 * A struct centres never changes once made: any thread may use it.
 */
struct centres;

/* Of rows (n, dims), copied; n > 0.  NULL: ERR_MEMORY. */
struct centres *centres_new(
    const float *rows, size_t n, size_t dims, struct error *err);
void centres_free(struct centres *centres);

/* Centre i (dims), and its square. */
const float *centres_row(const struct centres *centres, size_t i);
double centres_square(const struct centres *centres, size_t i);

/* Floats that the products of one vector take: the centres' number, rounded up. */
size_t centres_stride(const struct centres *centres);

/* products (n, stride) := the inner product of each of x (n, dims) with each centre. */
void centres_products(
    const struct centres *centres, float *products, const float *x, size_t n);

/* The centre with the least |x - c|, from x's products; of equal ones the first. */
size_t centres_nearest(const struct centres *centres, const float *products);

/* near (n) := the nearest centre of each of x (n, dims).  ERR_MEMORY.  Opens an OpenMP
 * region. */
int centres_assign(uint32_t *near, const struct centres *centres, const float *x,
    size_t n, struct error *err);

/* rows (k, dims) := centres of x (n, dims), n >= k: k-means (Lloyd, 1982) from k of the
 * rows; a centre that nobody is near moves beside the one that most are near.  The
 * result is the same for a seed, a number of threads and a machine.  ERR_MEMORY.  Opens
 * OpenMP regions. */
int centres_learn(float *rows, size_t k, const float *x, size_t n, size_t dims,
    uint64_t seed, struct error *err);

#endif /* BINARIZE_CENTRES_H */
