#include "index/distance_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* A block's word is one register: lane r is row r. */

static inline __m512i
differing(__m512i count, const uint8_t *line, uint32_t word, __m512i mask)
{
	distance_fetch(line);
	__m512i x = _mm512_load_si512(line);
	__m512i k = _mm512_set1_epi32((int)word);

	x = _mm512_ternarylogic_epi32(x, k, mask, 0x28); /* (x ^ k) & mask */
	return _mm512_add_epi32(count, _mm512_popcnt_epi32(x));
}

/* Every shape has an even number of words. */
void
distance_avx512_hamming(int32_t *dots, const struct distance_query *q,
    const uint8_t *blocks, size_t n_blocks)
{
	const size_t words = distance_words(q->shape);
	const __m512i mask = _mm512_set1_epi32((int)q->mask);
	const __m512i dims = _mm512_set1_epi32((int)q->shape.dims);

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		__m512i h0 = _mm512_setzero_si512(), h1 = h0;
		for (size_t w = 0; w < words; w += 2, blocks += 128) {
			h0 = differing(h0, blocks, q->words[w], mask);
			h1 = differing(h1, blocks + 64, q->words[w + 1], mask);
		}
		h0 = _mm512_slli_epi32(_mm512_add_epi32(h0, h1), 1);
		_mm512_store_si512(dots, _mm512_sub_epi32(dims, h0));
	}
}

/*
 * A field is not shifted down: its bits in place are a byte c << (field * g) <= 255,
 * which vpdpbusd takes as it is, into a sum of its own for each group g.  Those sums
 * are multiples of 2^(field * g), at most 255 * 128 * 1024 in size, and are shifted
 * once a block.  Several words have sums of their own too: SUMS in all hide the latency
 * of vpdpbusd.  (Several blocks side by side would do so as well, but reading from more
 * than one place at a time halves the rate from memory.)  Every shape has a multiple of
 * 2, 4, 8 words for fields of 1, 2, 4 bits.  Inlined with a constant field.
 */
#define SUMS 8

static inline __attribute__((always_inline)) void
dot(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks, unsigned field)
{
	const unsigned groups = 8 / field;
	const size_t words = distance_words(q->shape), step = SUMS / groups;
	const __m512i bias = _mm512_set1_epi32(q->bias);
	__m512i mask[8]; /* (groups): of the fields of each group */

#pragma GCC unroll 8
	for (unsigned g = 0; g < groups; g++) {
		uint32_t low = q->mask & ((1u << field) - 1);
		mask[g] = _mm512_set1_epi8((char)(low << (field * g)));
	}
	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		const int *k = (const int *)q->words; /* 4 query bytes each */
		__m512i sum[SUMS];
#pragma GCC unroll 8
		for (unsigned i = 0; i < SUMS; i++)
			sum[i] = _mm512_setzero_si512();
		for (size_t w = 0; w < words; w += step, k += SUMS) {
#pragma GCC unroll 8
			for (unsigned i = 0; i < SUMS; i++) {
				if (i % groups == 0)
					distance_fetch(blocks + 64 * (i / groups));
				__m512i x =
				    _mm512_load_si512(blocks + 64 * (i / groups));
				x = _mm512_and_si512(x, mask[i % groups]);
				sum[i] = _mm512_dpbusd_epi32(
				    sum[i], x, _mm512_set1_epi32(k[i]));
			}
			blocks += 64 * step;
		}
#pragma GCC unroll 8
		for (unsigned i = 1; i < SUMS; i++)
			sum[0] = _mm512_add_epi32(
			    sum[0], _mm512_srai_epi32(sum[i], field * (i % groups)));
		_mm512_store_si512(
		    dots, _mm512_sub_epi32(_mm512_slli_epi32(sum[0], 1), bias));
	}
}

void
distance_avx512_dot1(int32_t *dots, const struct distance_query *q,
    const uint8_t *blocks, size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 1);
}

void
distance_avx512_dot2(int32_t *dots, const struct distance_query *q,
    const uint8_t *blocks, size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 2);
}

void
distance_avx512_dot4(int32_t *dots, const struct distance_query *q,
    const uint8_t *blocks, size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 4);
}

/* Most often there is none: that is found out first, by the largest. */
bool
distance_avx512_reach(
    uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least)
{
	const __m512i want = _mm512_set1_epi32(least);
	__m512i most = _mm512_set1_epi32(-INT32_MAX - 1);

	for (size_t b = 0; b < n_blocks; b++)
		most =
		    _mm512_max_epi32(most, _mm512_load_si512(dots + b * DISTANCE_ROWS));
	if (_mm512_cmpge_epi32_mask(most, want) == 0)
		return false;
	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS)
		reached[b] =
		    (uint16_t)_mm512_cmpge_epi32_mask(_mm512_load_si512(dots), want);
	return true;
}

const struct distance_kernel distance_avx512 = {
    .level = CPU_AVX512,
    .name = "avx512",
    .hamming = distance_avx512_hamming,
    .dot1 = distance_avx512_dot1,
    .dot2 = distance_avx512_dot2,
    .dot4 = distance_avx512_dot4,
    .reach = distance_avx512_reach,
    .reach_at = distance_avx2_reach_at,
    .batch_least = distance_avx512_batch_least,
    .batch_bytes = distance_scalar_batch_bytes,
    .batch_prepare = distance_scalar_batch_prepare,
    .batch_dots = distance_avx512_batch_dots,
};

#endif /* __x86_64__ */
