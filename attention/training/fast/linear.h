#ifndef ATTENTION_TRAINING_FAST_LINEAR_H
#define ATTENTION_TRAINING_FAST_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "attention/linear.h"

/*
 * Ternary layers while they learn: latent float weights to codes, activations and
 * gradients to bytes, and the engine's products of both, on every core.  fast_linear.py
 * calls these.
 *
 * A matrix is packed twice, as (out, in) for y = x W^T and turned, as (in, out), for
 * dx = dy W.  in and out are multiples of LINEAR_DIMS_STEP, LINEAR_DIMS_MAX at most.
 *
 * Nothing here allocates or fails.  Any thread may call; each opens an OpenMP region.
 */

/* q (n, dims), scale (n), sum (n) := rows of x (n, dims), each times factors (dims)
 * unless NULL, as rows_kernel.quantize() makes bytes of them.  `to` borrows all of what
 * it points to; its x is not looked at. */
struct fast_linear_bytes {
	int8_t *q;
	float *scale;
	int32_t *sum;
};

void fast_linear_quantize(const struct fast_linear_bytes *to, const float *x,
    const float *factors, size_t n, size_t dims);

/* levels (out, in) -1, 0, 1 and scale (out) := rows of weight (out, in): zero up to .7
 * mean |w|, scale the mean of the rest
 * (Li et al., arXiv:1605.04711). */
void fast_linear_ternarize(
    int8_t *levels, float *scale, const float *weight, size_t in, size_t out);

/* packed, turned (in * out / 4 bytes each) := levels (out, in) as linear_pack() packs
 * them, and as it packs their transpose. */
void fast_linear_pack(
    void *packed, void *turned, const int8_t *levels, size_t in, size_t out);

/* linear_forward() of the best kernels; `out` is stored or added. */
void fast_linear_forward(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out);

#endif /* ATTENTION_TRAINING_FAST_LINEAR_H */
