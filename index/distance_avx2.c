#include "index/distance_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Half a block (8 rows) to a register; the two halves share the query's words. */

/* Bytes := the number of set bits in each byte of x (Mula, Kurz & Lemire 2018). */
static inline __m256i
popcount_bytes(__m256i x)
{
	const __m256i low = _mm256_set1_epi8(15);
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
	    3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);

	return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
	    _mm256_shuffle_epi8(table, high));
}

/* sum + the 4 bytes of each 32-bit lane. */
static inline __m256i
add_bytes(__m256i sum, __m256i bytes)
{
	__m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* A byte counts at most 8 a word: widened before 31 words have been added. */
#define WORDS_A_BYTE 31

static void
hamming(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	const size_t words = distance_words(q->shape);
	const __m256i mask = _mm256_set1_epi32((int)q->mask);
	const __m256i dims = _mm256_set1_epi32((int)q->shape.dims);

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		__m256i h0 = _mm256_setzero_si256(), h1 = h0;
		for (size_t w = 0; w < words;) {
			size_t end =
			    words - w < WORDS_A_BYTE ? words : w + WORDS_A_BYTE;
			__m256i n0 = _mm256_setzero_si256(), n1 = n0;
			for (; w < end; w++, blocks += 64) {
				distance_fetch(blocks);
				__m256i k = _mm256_set1_epi32((int)q->words[w]);
				__m256i x0 = _mm256_load_si256((const void *)blocks);
				__m256i x1 =
				    _mm256_load_si256((const void *)(blocks + 32));
				x0 = _mm256_and_si256(_mm256_xor_si256(x0, k), mask);
				x1 = _mm256_and_si256(_mm256_xor_si256(x1, k), mask);
				n0 = _mm256_add_epi8(n0, popcount_bytes(x0));
				n1 = _mm256_add_epi8(n1, popcount_bytes(x1));
			}
			h0 = add_bytes(h0, n0);
			h1 = add_bytes(h1, n1);
		}
		_mm256_store_si256(
		    (void *)dots, _mm256_sub_epi32(dims, _mm256_slli_epi32(h0, 1)));
		_mm256_store_si256((void *)(dots + 8),
		    _mm256_sub_epi32(dims, _mm256_slli_epi32(h1, 1)));
	}
}

/*
 * 16-bit sums of level * k over `step` words, then 32 bits.  One maddubs is at most
 * 2 * 15 * 128 = 3840, so nothing saturates; a word adds 8 / field of them, and step
 * keeps the sum below 2^15:
 *     field 1: 2 words x 8 x  256 =  4096
 *     field 2: 4 words x 4 x  768 = 12288
 *     field 4: 4 words x 2 x 3840 = 30720
 * Every shape has a multiple of 2, 4 or 8 words.  Inlined with a constant field.
 */
static inline __attribute__((always_inline)) void
dot(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks, unsigned field)
{
	const size_t words = distance_words(q->shape), step = field == 1 ? 2 : 4;
	const __m256i mask = _mm256_set1_epi8((char)(q->mask & ((1u << field) - 1)));
	const __m256i one = _mm256_set1_epi16(1), bias = _mm256_set1_epi32(q->bias);
	const unsigned groups = 8 / field;

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		__m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
		const int *k = (const int *)q->words; /* 4 query bytes each */
		for (size_t w = 0; w < words; w += step) {
			__m256i s0 = _mm256_setzero_si256(), s1 = s0;
#pragma GCC unroll 4
			for (size_t i = 0; i < step; i++) {
				distance_fetch(blocks);
				__m256i x0 = _mm256_load_si256((const void *)blocks);
				__m256i x1 =
				    _mm256_load_si256((const void *)(blocks + 32));
#pragma GCC unroll 8
				for (unsigned g = 0; g < groups; g++) {
					__m256i kk = _mm256_set1_epi32(k[g]);
					__m256i c0 = _mm256_and_si256(
					    _mm256_srli_epi32(x0, (int)(field * g)),
					    mask);
					__m256i c1 = _mm256_and_si256(
					    _mm256_srli_epi32(x1, (int)(field * g)),
					    mask);
					s0 = _mm256_add_epi16(
					    s0, _mm256_maddubs_epi16(c0, kk));
					s1 = _mm256_add_epi16(
					    s1, _mm256_maddubs_epi16(c1, kk));
				}
				k += groups;
				blocks += 64;
			}
			sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(s0, one));
			sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(s1, one));
		}
		_mm256_store_si256(
		    (void *)dots, _mm256_sub_epi32(_mm256_slli_epi32(sum0, 1), bias));
		_mm256_store_si256((void *)(dots + 8),
		    _mm256_sub_epi32(_mm256_slli_epi32(sum1, 1), bias));
	}
}

static void
dot1(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 1);
}

static void
dot2(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 2);
}

static void
dot4(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 4);
}

/* Most often there is none: that is found out first, by the largest. */
static bool
reach(uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least)
{
	const __m256i below = _mm256_set1_epi32(least - 1);
	const __m256i *d = (const void *)dots;
	__m256i most0 = below, most1 = below;

	for (size_t b = 0; b < n_blocks; b++) {
		most0 = _mm256_max_epi32(most0, d[2 * b]);
		most1 = _mm256_max_epi32(most1, d[2 * b + 1]);
	}
	most0 = _mm256_cmpgt_epi32(_mm256_max_epi32(most0, most1), below);
	if (_mm256_testz_si256(most0, most0))
		return false;
	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		__m256i d0 = _mm256_load_si256((const void *)dots);
		__m256i d1 = _mm256_load_si256((const void *)(dots + 8));
		__m256i m0 = _mm256_cmpgt_epi32(d0, below);
		__m256i m1 = _mm256_cmpgt_epi32(d1, below);
		int low = _mm256_movemask_ps(_mm256_castsi256_ps(m0));
		int high = _mm256_movemask_ps(_mm256_castsi256_ps(m1));
		reached[b] = (uint16_t)(high << 8 | low);
	}
	return true;
}

/* Of 8 rows from `row` on, which of their scores (index/distance.h) reach `least`. */
static inline int
reach_8(const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t row, float least)
{
	/* The centre is the lower half of a place, the share the upper. */
	__m256i place = _mm256_loadu_si256((const void *)(rows->place + row));
	__m256i centre = _mm256_and_si256(place, _mm256_set1_epi32(0xFFFF));
	__m256i small = _mm256_slli_epi32(_mm256_srli_epi32(place, 16), 13);
	__m256 share =
	    _mm256_mul_ps(_mm256_castsi256_ps(small), _mm256_set1_ps(0x1p112f));
	__m256 at = _mm256_mul_ps(share, _mm256_i32gather_ps(q->bases, centre, 4));
	__m256 dot = _mm256_cvtepi32_ps(_mm256_load_si256((const void *)(dots + row)));
	__m256 score = _mm256_add_ps(at, _mm256_mul_ps(_mm256_set1_ps(q->scale), dot));

	score = _mm256_mul_ps(_mm256_load_ps(rows->factor + row), score);
	score = _mm256_add_ps(_mm256_set1_ps(q->terms.base), score);
	if (q->terms.metric == DISTANCE_EUCLID)
		score = _mm256_sub_ps(
		    _mm256_add_ps(score, score), _mm256_load_ps(rows->norm2 + row));
	return _mm256_movemask_ps(
	    _mm256_cmp_ps(score, _mm256_set1_ps(least), _CMP_GE_OQ));
}

bool
distance_avx2_reach_at(uint16_t *reached, const int32_t *dots, size_t n_blocks,
    const struct distance_query *q, const struct distance_rows *rows, float least)
{
	unsigned any = 0;

	for (size_t b = 0; b < n_blocks; b++) {
		const size_t row = b * DISTANCE_ROWS;
		int low = reach_8(dots, q, rows, row, least);
		int high = reach_8(dots, q, rows, row + 8, least);
		reached[b] = (uint16_t)(high << 8 | low);
		any |= reached[b];
	}
	return any != 0;
}

const struct distance_kernel distance_avx2 = {
    .level = CPU_AVX2,
    .name = "avx2",
    .hamming = hamming,
    .dot1 = dot1,
    .dot2 = dot2,
    .dot4 = dot4,
    .reach = reach,
    .reach_at = distance_avx2_reach_at,
    .batch_least = distance_avx2_batch_least,
    .batch_bytes = distance_avx2_batch_bytes,
    .batch_prepare = distance_avx2_batch_prepare,
    .batch_dots = distance_avx2_batch_dots,
};

#endif /* __x86_64__ */
