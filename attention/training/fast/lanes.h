#ifndef ATTENTION_TRAINING_FAST_LANES_H
#define ATTENTION_TRAINING_FAST_LANES_H

/* Eight floats at a time, by the compiler's own vectors: it makes of them what the
 * instruction set of the function around has.  Sums here have no fixed order. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* A function that starts the work of a text and head is compiled twice. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FAST_CLONES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define FAST_CLONES
#endif

enum { LANES = 8 };
typedef float lanes __attribute__((vector_size(32)));
typedef int32_t lanes_int __attribute__((vector_size(32)));
typedef uint32_t lanes_bits __attribute__((vector_size(32)));

INLINE size_t
lanes_up(size_t n)
{
	return (n + LANES - 1) / LANES * LANES;
}

INLINE lanes
lanes_set(float x)
{
	return (lanes){x, x, x, x, x, x, x, x};
}

INLINE lanes
lanes_load(const float *x)
{
	lanes v;

	memcpy(&v, x, sizeof(v));
	return v;
}

INLINE void
lanes_store(float *x, lanes v)
{
	memcpy(x, &v, sizeof(v));
}

INLINE float
lanes_sum(lanes v)
{
	return (v[0] + v[4] + (v[1] + v[5])) + (v[2] + v[6] + (v[3] + v[7]));
}

/* a where the lane of `mask` is -1, b where it is 0 */
INLINE lanes
lanes_choose(lanes_int mask, lanes a, lanes b)
{
	return (lanes)(((lanes_int)a & mask) | ((lanes_int)b & ~mask));
}

/* a there, 0 elsewhere */
INLINE lanes
lanes_where(lanes_int mask, lanes a)
{
	return (lanes)((lanes_int)a & mask);
}

INLINE lanes_bits
lanes_load_bits(const uint32_t *x)
{
	lanes_bits v;

	memcpy(&v, x, sizeof(v));
	return v;
}

INLINE void
lanes_store_bits(uint32_t *x, lanes_bits v)
{
	memcpy(x, &v, sizeof(v));
}

/* Bits that are set, lane by lane. */
INLINE lanes_bits
lanes_count(lanes_bits x)
{
	x -= x >> 1 & 0x55555555u;
	x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
	return ((x + (x >> 4)) & 0x0F0F0F0Fu) * 0x01010101u >> 24;
}

/* e^x to two units in the last place; x below -87 counts as -87, above 88 as 88. */
INLINE lanes
lanes_exp(lanes x)
{
	const float shift = 0x1.8p23f; /* x + shift has its whole number in low bits */

	x = lanes_choose(x < -87.0f, lanes_set(-87.0f), x);
	x = lanes_choose(x > 88.0f, lanes_set(88.0f), x);
	lanes whole = x * 0x1.715476p0f + shift;
	lanes n = whole - shift;
	lanes r = x - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f;
	lanes p = r * (1 / 5040.0f) + 1 / 720.0f;
	p = p * r + 1 / 120.0f;
	p = p * r + 1 / 24.0f;
	p = p * r + 1 / 6.0f;
	p = p * r + 0.5f;
	p = p * r * r + r + 1.0f;
	return p * (lanes)(((lanes_int)whole + 127) << 23);
}

/* ln x of normal x > 0 */
INLINE lanes
lanes_log(lanes x)
{
	lanes_int from = (lanes_int)x - 0x3f3504f3; /* the mantissa's from sqrt(1/2) */
	lanes_int exponent = from >> 23;
	lanes m = (lanes)((lanes_int)x - (exponent << 23));
	lanes t = (m - 1.0f) / (m + 1.0f), s = t * t;
	lanes p = s * (1 / 9.0f) + 1 / 7.0f;
	p = p * s + 1 / 5.0f;
	p = p * s + 1 / 3.0f;
	p = p * s + 1.0f;
	return __builtin_convertvector(exponent, lanes) * 0x1.62e43p-1f + 2.0f * t * p;
}

/* c (rows, cols) += a b, b (inner, cols).  Element (i, k) of a is a[i * a_row +
 * k * a_step], so that a matrix stands for its transpose too.  cols: of LANES. */
struct product {
	float *c;
	const float *a, *b;
	size_t a_row, a_step;
	size_t rows, inner, cols;
};

/* Inlined with constant `rows` and `wide`: all sums are in registers. */
INLINE void
product_tile(
    const struct product *p, size_t i, size_t j, const size_t rows, const size_t wide)
{
	const float *a = p->a + i * p->a_row, *b = p->b + j;
	float *c = p->c + i * p->cols + j;
	lanes sum[4][2];

#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
		for (size_t t = 0; t < wide; t++)
			sum[r][t] = lanes_load(c + r * p->cols + t * LANES);
	for (size_t k = 0; k < p->inner; k++, a += p->a_step, b += p->cols) {
#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
			for (size_t t = 0; t < wide; t++)
				sum[r][t] +=
				    a[r * p->a_row] * lanes_load(b + t * LANES);
	}
#pragma GCC unroll 4
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
		for (size_t t = 0; t < wide; t++)
			lanes_store(c + r * p->cols + t * LANES, sum[r][t]);
}

INLINE void
product_rows(const struct product *p, size_t i, const size_t rows)
{
	size_t j = 0;

	for (; j + 2 * LANES <= p->cols; j += 2 * LANES)
		product_tile(p, i, j, rows, 2);
	if (j < p->cols)
		product_tile(p, i, j, rows, 1);
}

FAST_CLONES static void
product_add(struct product p)
{
	size_t i = 0;

	for (; i + 4 <= p.rows; i += 4)
		product_rows(&p, i, 4);
	for (; i < p.rows; i++)
		product_rows(&p, i, 1);
}

#endif /* ATTENTION_TRAINING_FAST_LANES_H */
