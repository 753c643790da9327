#ifndef BINARIZE_REFINE_H
#define BINARIZE_REFINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/cpu.h"
#include "base/error.h"

/*
 * The code of a vector under a linear decoder that need not be a rotation.
 *
 * Q and W are (m, d), m = shape.dims.  A code's values v (m), odd multiples of h =
 * 2^(1 - bits) (base/code.h), stand for Q^T v, and the code of u (d) is a v that misses
 * little of it:
 *
 *     v = the levels nearest to W u,  c = Q (u - Q^T v)
 *     until nothing is gained:
 *         in each quarter of the dimensions the level whose step up or down lowers
 *         |u - Q^T v|^2  most takes it, where it still does after the steps of the
 *         quarters before, and c follows
 *
 * c is the residual block's view of what reconstruction has missed: the recurrence of
 * binary embedding-based retrieval (arXiv:2302.08714, section 3.2) with W as its base
 * block and one map for all others, run until it stands still.  As coordinate descent
 * it is iterated conditional modes (Besag, 1986), which "Revisiting additive
 * quantization" (Martinez et al., ECCV 2016) uses for codes.  Where W is the inverse of
 * a square Q^T that is a rotation, the start is the end.
 *
 * All of it is done in integers, so every kernel gives the same bits in whatever order
 * it adds, and each step lowers what is missed.  A unit vector is rounded to x = 32767
 * u (refine_round), rows of Q and W are to 16 bits; v is held as the odd numbers v / h;
 * y = Q u, c and h Q Q^T are rounded to multiples of refine_unit(), in which the
 * longest row q has h <q, q> = min(32767, 2^29 / ((2^bits - 1) m)).
 *
 * A struct refine never changes once made: any thread may use it.
 */
struct refine;

/* Of Q and W (shape.dims, input_dims), which are not kept.  Holds 2 bytes for each of
 * their numbers and shape.dims^2 more; costs shape.dims^2 * input_dims / 2 products.
 * NULL: ERR_MEMORY; ERR_INPUT for rows that are not finite, of Q too that are zero, or
 * all out of proportion to vectors of length 1. */
struct refine *refine_new(const float *Q, const float *W, size_t input_dims,
    struct code_shape shape, struct error *err);
void refine_free(struct refine *refine);

/* Numbers of a rounded vector: d, or one more, as they are multiplied in pairs. */
static inline size_t
refine_inputs(size_t input_dims)
{
	return (input_dims + 1) / 2 * 2;
}

/* x (refine_inputs(n)) := u (n), of length at most 1, in integers. */
void refine_round(int16_t *x, const float *u, size_t n);

/* What 1 is in y and c. */
double refine_unit(const struct refine *refine);

/* y (n, m) := Q u of each of x (n, refine_inputs(d)). */
void refine_project(
    const struct refine *refine, int32_t *y, const int16_t *x, size_t n);

/* v, c (n, m) := the code and what is missing, of each of x with its projection y. */
void refine_code(const struct refine *refine, int16_t *v, int32_t *c, const int32_t *y,
    const int16_t *x, size_t n);

/* The same, from the values that are in v instead of from W's. */
void refine_again(
    const struct refine *refine, int16_t *v, int32_t *c, const int32_t *y, size_t n);

#endif /* BINARIZE_REFINE_H */
