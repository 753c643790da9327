#ifndef ATTENTION_LANES_H
#define ATTENTION_LANES_H

#include <stddef.h>
#include <stdint.h>

/*
 * Sixteen floats as one value, on every instruction set: one register, two, four, or an
 * array.  A kernel is written once over lanes and compiled once a level
 * (rows_avx2.c, rows_avx512.c ...); each operation here rounds as IEEE 754 says, so a
 * kernel gives the same bits at every level as long as its own order is fixed.  (Which
 * NaN a NaN is, is not promised.)
 *
 *     lanes_load, lanes_store      unaligned
 *     lanes_set(x)                 x in every lane
 *     lanes_add, sub, mul, div     a op b
 *     lanes_fma(a, b, c)           a * b + c, rounded once
 *     lanes_abs
 *     lanes_min(a, b)              a < b ? a : b, so b where either is NaN
 *     lanes_max(a, b)              a > b ? a : b, so b where either is NaN
 *     lanes_less(a, b)             a < b      as a mask; false where either is NaN
 *     lanes_at_least(a, b)         a >= b
 *     lanes_select(m, a, b)        m ? a : b
 *     lanes_mask_bits(m)           bit i is lane i's
 *     lanes_scale2(x, t)           x * 2^k where t = k + LANES_MAGIC; x and the result
 *                                  are normal numbers
 *     lanes_to_int(x)              rounded half to even; |x| < 2^31
 *     lanes_int_set, lanes_int_add
 *     lanes_int_load8, _store8     16 signed bytes; values that fit
 *     lanes_int_sum                wraps
 *     lanes_sum(x)                 lane i + lane i + 8, then + 4, + 2, + 1
 *     lanes_top(x)                 the largest lane; of NaN or zeros, any
 *     lanes_quads(x0, .., x3)      see lanes_transpose
 *
 * LANES_TILE is how many lanes' columns times six rows of sums fit the registers.
 */

/* 1.5 * 2^23: adding it to |x| < 2^22 rounds x half to even into the lowest bits. */
#define LANES_MAGIC 12582912.0f

#if defined(__AVX512F__)
#include "attention/lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "attention/lanes_avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "attention/lanes_neon.h"
#else
#include "attention/lanes_plain.h"
#endif

/* e^x, x clamped to -87 .. 88; within 2e-7 relative.  NaN gives NaN. */
static inline struct lanes
lanes_exp(struct lanes x)
{
	/* x = k ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, k times the first is
	 * exact.  The polynomial is a minimax fit of e^r. */
	x = lanes_min(lanes_set(88.0f), lanes_max(lanes_set(-87.0f), x));
	struct lanes t = lanes_fma(x, lanes_set(1.44269504f), lanes_set(LANES_MAGIC));
	struct lanes k = lanes_sub(t, lanes_set(LANES_MAGIC));
	struct lanes r = lanes_fma(k, lanes_set(-0.693359375f), x);
	r = lanes_fma(k, lanes_set(2.12194440e-4f), r);
	struct lanes p = lanes_set(0.008312502f);
	p = lanes_fma(p, r, lanes_set(0.041890334f));
	p = lanes_fma(p, r, lanes_set(0.16667116f));
	p = lanes_fma(p, r, lanes_set(0.4999923f));
	p = lanes_fma(p, r, lanes_set(1.0f));
	p = lanes_fma(p, r, lanes_set(1.0f));
	return lanes_scale2(p, t);
}

/* The first m lanes of x, `rest` in the others. */
static inline struct lanes
lanes_first(struct lanes x, size_t m, float rest)
{
	static const float number[16] = {
	    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

	return lanes_select(
	    lanes_less(lanes_load(number), lanes_set((float)m)), x, lanes_set(rest));
}

/* out[16 * d + j] := in[j * stride + d] for d < 16 and j < n; 0 for j = n .. 15. */
static inline void
lanes_transpose(float *out, const float *in, size_t stride, size_t n)
{
	static const float zeros[16];
	const float *row[16];

	for (size_t j = 0; j < 16; j++)
		row[j] = j < n ? in + j * stride : zeros;
	for (size_t d = 0; d < 16; d += 4) {
		struct lanes columns[4];
		lanes_quads(columns, row, d);
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			lanes_store(out + 16 * (d + i), columns[i]);
	}
}

#endif /* ATTENTION_LANES_H */
