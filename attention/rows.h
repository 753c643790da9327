#ifndef ATTENTION_ROWS_H
#define ATTENTION_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

/*
 * What an encoder does to the rows (one a token) between its matrices: float32, in one
 * fixed order.  Sums over a row are 16 partial sums (number i goes to sum i % 16),
 * added up pairwise (16 -> 8 -> 4 -> 2 -> 1); fused multiply-adds are where these
 * comments say fma.  So every kernel gives the same bits, and a row's result does not
 * depend on the rows beside it.
 *
 * dims is a multiple of 16; rows are contiguous, 64-byte aligned arrays.  Nothing here
 * allocates or fails.  Any thread may call.
 */
struct rows_norm {
	const float *weight; /* (dims) */
	const float *bias;   /* (dims); not read by rms_norm */
	float epsilon;
};

struct rows_kernel {
	enum cpu_level level;
	const char *name;

	/* x (n, dims) := (x - mean) / sqrt(variance + epsilon) * weight + bias, as
	 *     fma((x - mean) * (1 / sqrt(variance + epsilon)), weight, bias)
	 * with variance = the sum by fma of (x - mean)^2, / dims
	 * (Ba, Kiros & Hinton, arXiv:1607.06450). */
	void (*layer_norm)(
	    float *x, const struct rows_norm *norm, size_t n, size_t dims);

	/* x (n, dims) := x * (1 / sqrt(mean of squares + epsilon)) * weight, squares
	 * summed by fma
	 * (Zhang & Sennrich, arXiv:1910.07467). */
	void (*rms_norm)(float *x, const struct rows_norm *norm, size_t n, size_t dims);

	/* Signed bytes with a scale of each row's own, rounded half to even:
	 *     a = max(max |x|, 1e-5),  scale = a / 127,
	 *     q = rne(x * (127 / a)) clamped to -127 .. 127,  sum = sum of q
	 * The quotients are float32 divisions.  NaN gives 0. */
	void (*quantize)(int8_t *q, float *scale, int32_t *sum, const float *x,
	    size_t n, size_t dims);

	/* sum (n) := of each row of bytes (n, dims) */
	void (*sum)(int32_t *sum, const int8_t *q, size_t n, size_t dims);

	/* x (n, a multiple of 16) := x / 2 * (1 + erf(x / sqrt 2)), to 4e-7 absolute or
	 * relative; -0, infinity and NaN give -0, infinity and NaN, -infinity about 0
	 * (Hendrycks & Gimpel, arXiv:1606.08415). */
	void (*gelu)(float *x, size_t n);

	/* out (dims) := the mean of n rows, their sum in order. */
	void (*mean)(float *out, const float *x, size_t n, size_t dims);

	/* out (dims) := x / |x|, squares summed by fma; 0 if |x|^2 is below 1e-30 or
	 * not finite, and `out` is as it was; else 1. */
	int (*unit)(float *out, const float *x, size_t dims);
};

/* The kernels of exactly this level; NULL if this build or this processor lacks them.
 * CPU_AMX has none of its own: NULL. */
const struct rows_kernel *rows_find(enum cpu_level level);

/* The best kernels at or below cpu_ceiling(); never NULL. */
const struct rows_kernel *rows_best(void);

#endif /* ATTENTION_ROWS_H */
