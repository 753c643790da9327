#ifndef BINARIZE_CENTRES_H
#define BINARIZE_CENTRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Centres: vectors among which others lie, so that a code need only say how far from
 * the nearest one (as the lists of an inverted file do: Jegou et al., "Product
 * Quantization for Nearest Neighbor Search", PAMI 2011, section IV).
 *
 * Products are of integers, as in refine.h: every kernel gives the same bits, and so
 * the same nearest centre.
 *
 * A struct centres never changes once made: any thread may use it.
 */
struct centres;

/* Of rows (n, dims), copied; n > 0.  NULL: ERR_MEMORY, ERR_INPUT for rows that
 * are not finite or far longer than 1. */
struct centres *centres_new(
    const float *rows, size_t n, size_t dims, struct error *err);
void centres_free(struct centres *centres);

/* Centre i (dims), and its square. */
const float *centres_row(const struct centres *centres, size_t i);
double centres_square(const struct centres *centres, size_t i);

/* Numbers that the products of one vector take: the centres' number, rounded up. */
size_t centres_stride(const struct centres *centres);

/* products (n, stride) := of each of x (n, refine_inputs(dims)), rounded by
 * refine_round, with each centre, in units of centres_unit. */
void centres_products(
    const struct centres *centres, int32_t *products, const int16_t *x, size_t n);
double centres_unit(const struct centres *centres);

/* The centre with the least |x - c|, from x's products; of equal ones the first. */
size_t centres_nearest(const struct centres *centres, const int32_t *products);

/* near (n) := the nearest centre of each of x (n, dims), of length at most 1.
 * ERR_MEMORY; ERR_NONE: stopped, as below.  Opens an OpenMP region. */
int centres_assign(uint32_t *near, const struct centres *centres, const float *x,
    size_t n, bool (*stop)(void), struct error *err);

/* rows (k, dims) := centres of x (n, dims), as above, n >= k: k-means (Lloyd, 1982)
 * from k of the rows; a centre that nobody is near moves beside the one that most are
 * near.  The result is the same for a seed, a number of threads and a machine.
 * ERR_MEMORY; ERR_NONE once stop says so, which any thread asks now and then (NULL:
 * never).  Opens OpenMP regions. */
int centres_learn(float *rows, size_t k, const float *x, size_t n, size_t dims,
    uint64_t seed, bool (*stop)(void), struct error *err);

#endif /* BINARIZE_CENTRES_H */
