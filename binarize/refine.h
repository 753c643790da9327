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
 * Q is (m, d), m = shape.dims.  A code's values v (m), odd multiples of 2^(1 - bits)
 * (base/code.h), stand for Q^T v, and the code of u (d) is a v that misses little of
 * it:
 *
 *     y = Q u,  v_i = the level nearest to y_i / <q_i, q_i>,  c = y - Q Q^T v
 *     until nothing is gained:  the level of v whose step up or down lowers
 *         |u - Q^T v|^2  most takes it, and c follows
 *
 * c = Q (u - Q^T v) is the residual block's view of what reconstruction has missed:
 * the recurrence of binary embedding-based retrieval (arXiv:2302.08714, section 3.2)
 * with one map for all blocks, run until it stands still.  As coordinate descent it is
 * iterated conditional modes (Besag, 1986), which "Revisiting additive quantization"
 * (Martinez et al., ECCV 2016) uses for codes.  If Q is a rotation the start is the
 * end.
 *
 * Sums run over their index in order, without fused operations, and of equal gains the
 * first dimension's is taken: every kernel gives the same bits.
 *
 * A struct refine never changes once made: any thread may use it.
 */
struct refine;

/* Of Q (shape.dims, input_dims), copied.  Holds shape.dims^2 floats beside it and costs
 * shape.dims^2 * input_dims products.  NULL: ERR_MEMORY; ERR_INPUT for a row of Q that
 * is zero, too long or not finite. */
struct refine *refine_new(
    const float *Q, size_t input_dims, struct code_shape shape, struct error *err);
void refine_free(struct refine *refine);

/* y (n, m) := Q u of each of u (n, d). */
void refine_project(const struct refine *refine, float *y, const float *u, size_t n);

/* v (n, m) := values of each vector, from its projection y (n, m); c (n, m) is working
 * memory and ends as what is missing. */
void refine_code(
    const struct refine *refine, float *v, float *c, const float *y, size_t n);

/* The same, from the values that are in v instead of from the nearest levels. */
void refine_again(
    const struct refine *refine, float *v, float *c, const float *y, size_t n);

#endif /* BINARIZE_REFINE_H */
