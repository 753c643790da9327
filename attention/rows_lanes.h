#ifndef ATTENTION_ROWS_LANES_H
#define ATTENTION_ROWS_LANES_H

/*
 * The kernels of attention/rows.h, written once over lanes: rows_<level>.c includes
 * them, under its level's compiler flags, and makes ROWS_KERNEL of them.
 */
#include <math.h>

#include "attention/lanes.h"
#include "attention/rows.h"

/* Rows that a norm works on at a time, so that one row's sums do not wait for
 * themselves. */
#define NORM_ROWS 4

/* Inlined with constant `rows`, so that the loops over rows unroll. */
static inline __attribute__((always_inline)) void
layer_norm_rows(float *x, const struct rows_norm *norm, size_t dims, size_t rows)
{
	struct lanes sum[NORM_ROWS], mean[NORM_ROWS], inverse[NORM_ROWS];

#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++)
		sum[r] = lanes_load(x + r * dims);
	for (size_t i = 16; i < dims; i += 16) {
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++)
			sum[r] = lanes_add(sum[r], lanes_load(x + r * dims + i));
	}
#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++) {
		mean[r] = lanes_set(lanes_sum(sum[r]) / (float)dims);
		sum[r] = lanes_set(0);
	}
	for (size_t i = 0; i < dims; i += 16) {
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++) {
			struct lanes from_mean =
			    lanes_sub(lanes_load(x + r * dims + i), mean[r]);
			sum[r] = lanes_fma(from_mean, from_mean, sum[r]);
		}
	}
#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++) {
		float variance = lanes_sum(sum[r]) / (float)dims;
		inverse[r] = lanes_set(1 / sqrtf(variance + norm->epsilon));
	}
	for (size_t i = 0; i < dims; i += 16) {
		struct lanes weight = lanes_load(norm->weight + i);
		struct lanes bias = lanes_load(norm->bias + i);
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++) {
			float *at = x + r * dims + i;
			struct lanes from_mean = lanes_sub(lanes_load(at), mean[r]);
			lanes_store(at,
			    lanes_fma(lanes_mul(from_mean, inverse[r]), weight, bias));
		}
	}
}

static void
layer_norm(float *x, const struct rows_norm *norm, size_t n, size_t dims)
{
	for (; n >= NORM_ROWS; n -= NORM_ROWS, x += NORM_ROWS * dims)
		layer_norm_rows(x, norm, dims, NORM_ROWS);
	for (; n > 0; n--, x += dims)
		layer_norm_rows(x, norm, dims, 1);
}

static inline __attribute__((always_inline)) void
rms_norm_rows(float *x, const struct rows_norm *norm, size_t dims, size_t rows)
{
	struct lanes sum[NORM_ROWS], inverse[NORM_ROWS];

#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++)
		sum[r] = lanes_set(0);
	for (size_t i = 0; i < dims; i += 16) {
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++) {
			struct lanes at = lanes_load(x + r * dims + i);
			sum[r] = lanes_fma(at, at, sum[r]);
		}
	}
#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++) {
		float mean = lanes_sum(sum[r]) / (float)dims;
		inverse[r] = lanes_set(1 / sqrtf(mean + norm->epsilon));
	}
	for (size_t i = 0; i < dims; i += 16) {
		struct lanes weight = lanes_load(norm->weight + i);
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++) {
			float *at = x + r * dims + i;
			lanes_store(at,
			    lanes_mul(lanes_mul(lanes_load(at), inverse[r]), weight));
		}
	}
}

static void
rms_norm(float *x, const struct rows_norm *norm, size_t n, size_t dims)
{
	for (; n >= NORM_ROWS; n -= NORM_ROWS, x += NORM_ROWS * dims)
		rms_norm_rows(x, norm, dims, NORM_ROWS);
	for (; n > 0; n--, x += dims)
		rms_norm_rows(x, norm, dims, 1);
}

static void
quantize(int8_t *q, float *scale, int32_t *sum, const float *x, size_t n, size_t dims)
{
	for (size_t r = 0; r < n; r++, x += dims, q += dims) {
		struct lanes top = lanes_set(1e-5f);
		for (size_t i = 0; i < dims; i += 16)
			top = lanes_max(lanes_abs(lanes_load(x + i)), top);
		const float a = lanes_top(top);
		const struct lanes inverse = lanes_set(127 / a);
		struct lanes_int total = lanes_int_set(0);
		for (size_t i = 0; i < dims; i += 16) {
			/* At most 127 * (1 + 2^-23), which rounds to 127; NaN where x
			 * is, or where x and a are infinite. */
			struct lanes y = lanes_mul(lanes_load(x + i), inverse);
			y = lanes_select(lanes_at_least(y, y), y, lanes_set(0));
			struct lanes_int level = lanes_to_int(y);
			lanes_int_store8(q + i, level);
			total = lanes_int_add(total, level);
		}
		scale[r] = a / 127;
		sum[r] = lanes_int_sum(total);
	}
}

static void
sum_bytes(int32_t *sum, const int8_t *q, size_t n, size_t dims)
{
	for (size_t r = 0; r < n; r++, q += dims) {
		struct lanes_int total = lanes_int_set(0);
		for (size_t i = 0; i < dims; i += 16)
			total = lanes_int_add(total, lanes_int_load8(q + i));
		sum[r] = lanes_int_sum(total);
	}
}

/* max(x, 0) - a (1 - erf(a / sqrt 2)) / 2 with a = |x|; what is subtracted is 1e-7 at
 * a = 5.5 and less beyond. */
#define GELU_A_MAX 5.5f

static inline struct lanes
gelu_lanes(struct lanes x)
{
	/* -(1 - erf(a / sqrt 2)) / 2 as a polynomial of t = a / 2.75 - 1, the highest
	 * power first: a minimax fit of its product with a, 1.3e-7 from it at most. */
	static const float c[] = {0.0057201148f, -0.0055489140f, -0.030426351f,
	    0.044091564f, 0.049259938f, -0.13379332f, 0.034925322f, 0.16334261f,
	    -0.21847323f, 0.051329859f, 0.17717811f, -0.27188253f, 0.20680669f,
	    -0.094558202f, 0.025008099f, -0.0029797726f};
	struct lanes a = lanes_min(lanes_set(GELU_A_MAX), lanes_abs(x));
	struct lanes t = lanes_fma(a, lanes_set(2 / GELU_A_MAX), lanes_set(-1));
	struct lanes p = lanes_set(c[0]);

#pragma GCC unroll 16
	for (size_t i = 1; i < sizeof c / sizeof c[0]; i++)
		p = lanes_fma(p, t, lanes_set(c[i]));
	return lanes_fma(a, p, lanes_max(lanes_set(0), x));
}

static void
gelu(float *x, size_t n)
{
	for (size_t i = 0; i < n; i += 16)
		lanes_store(x + i, gelu_lanes(lanes_load(x + i)));
}

static void
mean_rows(float *out, const float *x, size_t n, size_t dims)
{
	for (size_t i = 0; i < dims; i += 16)
		lanes_store(out + i, lanes_load(x + i));
	for (size_t r = 1; r < n; r++)
		for (size_t i = 0; i < dims; i += 16)
			lanes_store(out + i, lanes_add(lanes_load(out + i),
						 lanes_load(x + r * dims + i)));
	const struct lanes count = lanes_set((float)n);
	for (size_t i = 0; i < dims; i += 16)
		lanes_store(out + i, lanes_div(lanes_load(out + i), count));
}

static int
unit(float *out, const float *x, size_t dims)
{
	struct lanes sum = lanes_set(0);

	for (size_t i = 0; i < dims; i += 16) {
		struct lanes at = lanes_load(x + i);
		sum = lanes_fma(at, at, sum);
	}
	const float square = lanes_sum(sum);
	if (!(square >= 1e-30f && square < INFINITY))
		return 0;
	const struct lanes length = lanes_set(sqrtf(square));
	for (size_t i = 0; i < dims; i += 16)
		lanes_store(out + i, lanes_div(lanes_load(x + i), length));
	return 1;
}

#define ROWS_KERNEL(level, name)                                              \
	{                                                                     \
		level, name, layer_norm, rms_norm, quantize, sum_bytes, gelu, \
		    mean_rows, unit                                           \
	}

#endif /* ATTENTION_ROWS_LANES_H */
