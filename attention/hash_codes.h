#ifndef ATTENTION_HASH_CODES_H
#define ATTENTION_HASH_CODES_H

/* The part of hash_kernels.h that makes codes. */
#include <math.h>

#include "attention/hash_plan.h"
#include "attention/lanes.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

/* A matrix whose row k, `width` floats, is what number k of a vector is multiplied by.
 */
struct matrix {
	const float *row;
	size_t n, width;
};

/* out (HASH_TOKENS, at `out_stride`) := x times 16 * span columns of the matrix. */
INLINE void
multiply(float *out, size_t out_stride, const float *const *x, struct matrix matrix,
    const size_t span)
{
	struct lanes sum[HASH_TOKENS][2];

#pragma GCC unroll 8
	for (size_t t = 0; t < HASH_TOKENS; t++)
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++)
			sum[t][s] = lanes_set(0);
	for (size_t k = 0; k < matrix.n; k++, matrix.row += matrix.width) {
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++) {
			struct lanes row = lanes_load(matrix.row + s * LANES);
#pragma GCC unroll 8
			for (size_t t = 0; t < HASH_TOKENS; t++)
				sum[t][s] =
				    lanes_fma(lanes_set(x[t][k]), row, sum[t][s]);
		}
	}
#pragma GCC unroll 8
	for (size_t t = 0; t < HASH_TOKENS; t++)
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++)
			lanes_store(out + t * out_stride + s * LANES, sum[t][s]);
}

/* As above, all columns. */
INLINE void
multiply_all(float *out, size_t out_stride, const float *const *x, struct matrix matrix)
{
	size_t c = 0;

	for (; c + 2 * LANES <= matrix.width; c += 2 * LANES, matrix.row += 2 * LANES)
		multiply(out + c, out_stride, x, matrix, 2);
	if (c < matrix.width)
		multiply(out + c, out_stride, x, matrix, 1);
}

/* 1 / max(|x|, 1e-6) */
INLINE float
inverse_length(const float *x, size_t dims)
{
	struct lanes sum = lanes_set(0);

	for (size_t d = 0; d < dims; d += LANES) {
		struct lanes v = lanes_load(x + d);
		sum = lanes_fma(v, v, sum);
	}
	float length = sqrtf(lanes_sum(sum));
	return 1.0f / (length > 1e-6f ? length : 1e-6f);
}

/* Codes of head h of HASH_TOKENS tokens.  What belongs to |x| is multiplied in behind
 * the products: <x, a> / |x| for <x / |x|, a>. */
INLINE void
hash_tokens(
    uint32_t *codes, const struct hash_plan *plan, size_t h, const float *const *x)
{
	_Alignas(64) float feature[HASH_TOKENS][HASH_ANCHORS_MAX];
	_Alignas(64) float sum[HASH_TOKENS][HASH_BITS_MAX];
	const float *from[HASH_TOKENS];
	struct lanes scale[HASH_TOKENS];

	for (size_t t = 0; t < HASH_TOKENS; t++) {
		scale[t] = lanes_set(inverse_length(x[t], plan->head_dims));
		from[t] = x[t];
	}
	if (plan->function == HASH_KERNEL) {
		const struct lanes sigma = lanes_set(plan->inverse_sigma[h]);
		const struct lanes one = lanes_set(1.0f);
		const size_t width = plan->anchor_width;
		multiply_all(feature[0], HASH_ANCHORS_MAX, x,
		    (struct matrix){plan->anchor + h * plan->head_dims * width,
			plan->head_dims, width});
		for (size_t t = 0; t < HASH_TOKENS; t++) {
			for (size_t m = 0; m < width; m += LANES) {
				struct lanes cosine =
				    lanes_mul(lanes_load(feature[t] + m), scale[t]);
				lanes_store(feature[t] + m,
				    lanes_exp(
					lanes_mul(lanes_sub(cosine, one), sigma)));
			}
			scale[t] = one;
			from[t] = feature[t];
		}
	}
	const size_t width = plan->bit_width;
	multiply_all(sum[0], HASH_BITS_MAX, from,
	    (struct matrix){
		plan->planes + h * plan->features * width, plan->features, width});
	for (size_t t = 0; t < HASH_TOKENS; t++) {
		codes[t] = 0;
		for (size_t r = 0; r < width; r += LANES) {
			struct lanes limit =
			    lanes_load(plan->threshold + h * width + r);
			struct lanes value =
			    lanes_mul(lanes_load(sum[t] + r), scale[t]);
			codes[t] |= lanes_mask_bits(lanes_at_least(value, limit)) << r;
		}
	}
}

/* See struct hash_kernel. */
static void
codes(uint32_t *codes, const struct hash_plan *plan, const float *x, size_t n,
    size_t stride)
{
	for (size_t h = 0; h < plan->heads; h++, x += plan->head_dims) {
		for (size_t i = 0; i < n; i += HASH_TOKENS) {
			const float *rows[HASH_TOKENS];
			uint32_t found[HASH_TOKENS];
			/* Behind the last token stands the last token. */
			for (size_t t = 0; t < HASH_TOKENS; t++)
				rows[t] = x + (i + t < n ? i + t : n - 1) * stride;
			hash_tokens(found, plan, h, rows);
			for (size_t t = 0; t < HASH_TOKENS && i + t < n; t++)
				codes[(i + t) * plan->heads + h] = found[t];
		}
	}
}

#endif /* ATTENTION_HASH_CODES_H */
