#ifndef ATTENTION_LINEAR_AVX512_H
#define ATTENTION_LINEAR_AVX512_H

#include <immintrin.h>
#include <stdint.h>

/* LINEAR_TABLE for registers of 16 numbers: shared by the kernels of AVX-512 and of
 * tiles, whose files alone may include this. */

/* table[128 + v] of 64 signed bytes v. */
static inline __attribute__((always_inline)) __m512i
linear_avx512_look_up(const int8_t *table, __m512i v)
{
	/* vpermi2b looks at the low 7 bits: v + 128 for v < 0, else v. */
	__m512i low = _mm512_permutex2var_epi8(
	    _mm512_loadu_si512(table), v, _mm512_loadu_si512(table + 64));
	__m512i high = _mm512_permutex2var_epi8(
	    _mm512_loadu_si512(table + 128), v, _mm512_loadu_si512(table + 192));

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), high, low);
}

/* The signed bytes of y * step, 16 * parts of them (parts <= 4, a constant), and zeros.
 * What is too small, and NaN, is INT32_MIN before it is narrowed to -128. */
static inline __attribute__((always_inline)) __m512i
linear_avx512_to_bytes(const __m512 *y, float step, const unsigned parts)
{
	/* Packing works in quarters: 4 numbers of each part lie side by side. */
	const __m512i order =
	    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m512i v[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
	    _mm512_setzero_si512(), _mm512_setzero_si512()};

#pragma GCC unroll 4
	for (unsigned p = 0; p < parts; p++)
		v[p] = _mm512_cvtps_epi32(_mm512_min_ps(
		    _mm512_set1_ps(127.0f), _mm512_mul_ps(y[p], _mm512_set1_ps(step))));
	v[0] = _mm512_packs_epi16(
	    _mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
	return _mm512_permutexvar_epi32(order, v[0]);
}

#endif /* ATTENTION_LINEAR_AVX512_H */
