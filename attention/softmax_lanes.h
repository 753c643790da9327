#ifndef ATTENTION_SOFTMAX_LANES_H
#define ATTENTION_SOFTMAX_LANES_H

/*
 * The kernel of attention/softmax.h, written once over lanes: softmax_<level>.c
 * includes it under its level's compiler flags.
 *
 * One head at a time: its keys are laid out as (n / 16, head_dims, 16) so that a lane
 * is a key, its values as (n, head_dims) so that a lane is a dimension.  Six queries
 * at a time: scores against all keys, their weights in place, the weighted values.
 */
#include <math.h>

#include "attention/lanes.h"
#include "attention/softmax_kernels.h"

/* c (rows, 16 * wide) := scale_r * sum_k a_rk b_k, each sum in the order of k by fma.
 * Lanes t of b_k are at b + k * b_step + t * b_lanes. */
struct product {
	float *c;
	const float *a, *b;
	size_t c_stride, a_stride, b_step, b_lanes;
	size_t k;
	float scale[SOFTMAX_QUERIES];
};

/* Inlined with constant `rows` and `wide`: all sums are in registers. */
static inline __attribute__((always_inline)) void
multiply_tile(const struct product *p, size_t t0, size_t rows, size_t wide)
{
	struct lanes sum[SOFTMAX_QUERIES][LANES_TILE];
	const float *a = p->a, *b = p->b + t0 * p->b_lanes;

#pragma GCC unroll 6
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (size_t t = 0; t < wide; t++)
			sum[r][t] = lanes_set(0);
	for (size_t k = 0; k < p->k; k++, b += p->b_step) {
		struct lanes column[LANES_TILE];
#pragma GCC unroll 4
		for (size_t t = 0; t < wide; t++)
			column[t] = lanes_load(b + t * p->b_lanes);
#pragma GCC unroll 6
		for (size_t r = 0; r < rows; r++) {
			struct lanes x = lanes_set(a[r * p->a_stride + k]);
#pragma GCC unroll 4
			for (size_t t = 0; t < wide; t++)
				sum[r][t] = lanes_fma(x, column[t], sum[r][t]);
		}
	}
#pragma GCC unroll 6
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (size_t t = 0; t < wide; t++)
			lanes_store(p->c + r * p->c_stride + 16 * (t0 + t),
			    lanes_mul(sum[r][t], lanes_set(p->scale[r])));
}

/* The widest tiles first. */
static inline __attribute__((always_inline)) void
multiply_rows(const struct product *p, size_t lanes, size_t rows)
{
	size_t t = 0;

#if LANES_TILE >= 4
	for (; t + 4 <= lanes; t += 4)
		multiply_tile(p, t, rows, 4);
	for (; t + 2 <= lanes; t += 2)
		multiply_tile(p, t, rows, 2);
#endif
	for (; t < lanes; t++)
		multiply_tile(p, t, rows, 1);
}

static void
multiply(const struct product *p, size_t rows, size_t lanes)
{
	switch (rows) {
	case 1:
		multiply_rows(p, lanes, 1);
		break;
	case 2:
		multiply_rows(p, lanes, 2);
		break;
	case 3:
		multiply_rows(p, lanes, 3);
		break;
	case 4:
		multiply_rows(p, lanes, 4);
		break;
	case 5:
		multiply_rows(p, lanes, 5);
		break;
	default:
		multiply_rows(p, lanes, 6);
	}
}

/* row (n) := exp(row - its largest); returns their sum. */
static inline float
weigh(float *row, size_t n)
{
	const size_t whole = n / 16 * 16, rest = n % 16;
	struct lanes top = lanes_set(-INFINITY), sum = lanes_set(0);

	for (size_t j = 0; j < whole; j += 16)
		top = lanes_max(lanes_load(row + j), top);
	if (rest > 0)
		top = lanes_max(
		    lanes_first(lanes_load(row + whole), rest, -INFINITY), top);
	top = lanes_set(lanes_top(top));
	for (size_t j = 0; j < whole; j += 16) {
		struct lanes w = lanes_exp(lanes_sub(lanes_load(row + j), top));
		lanes_store(row + j, w);
		sum = lanes_add(sum, w);
	}
	if (rest > 0) {
		struct lanes w = lanes_exp(lanes_sub(lanes_load(row + whole), top));
		lanes_store(row + whole, w);
		sum = lanes_add(sum, lanes_first(w, rest, 0));
	}
	return lanes_sum(sum);
}

/* Keys and values of the head that starts at column `at`. */
static void
lay_out(float *scratch, const struct softmax_layout *l, const struct attend *attend,
    size_t at)
{
	const size_t dims = attend->head_dims, n = attend->n;

	for (size_t g = 0; g < l->groups; g++) {
		const float *k = attend->k + 16 * g * attend->stride + at;
		const size_t keys = n - 16 * g < 16 ? n - 16 * g : 16;
		for (size_t d = 0; d < dims; d += 16)
			lanes_transpose(
			    scratch + 16 * (g * dims + d), k + d, attend->stride, keys);
	}
	for (size_t j = 0; j < n; j++) {
		const float *v = attend->v + j * attend->stride + at;
		for (size_t d = 0; d < dims; d += 16)
			lanes_store(
			    scratch + l->values + j * dims + d, lanes_load(v + d));
	}
}

static inline void
attend_softmax(const struct attend *attend, float *scratch)
{
	const size_t dims = attend->head_dims, n = attend->n;
	const size_t width = attend->heads * dims;
	const struct softmax_layout l = softmax_layout(n, dims);
	float *scores = scratch + l.scores;
	const float scale = 1 / sqrtf((float)dims);

	for (size_t at = 0; at < width; at += dims) {
		lay_out(scratch, &l, attend, at);
		/* As few blocks as can be, as even as can be. */
		size_t blocks = (n + SOFTMAX_QUERIES - 1) / SOFTMAX_QUERIES;
		for (size_t i = 0, rows; i < n; i += rows, blocks--) {
			rows = (n - i + blocks - 1) / blocks;
			struct product score = {scores,
			    attend->q + i * attend->stride + at, scratch,
			    l.score_stride, attend->stride, 16, 16 * dims, dims,
			    {scale, scale, scale, scale, scale, scale}};
			multiply(&score, rows, l.groups);
			struct product mix = {attend->out + i * width + at, scores,
			    scratch + l.values, width, l.score_stride, dims, 16, n,
			    {0}};
			for (size_t r = 0; r < rows; r++)
				mix.scale[r] =
				    1 / weigh(scores + r * l.score_stride, n);
			multiply(&mix, rows, dims / 16);
		}
	}
}

#endif /* ATTENTION_SOFTMAX_LANES_H */
