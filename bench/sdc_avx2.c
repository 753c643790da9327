#include "bench/sdc.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SDC_BYTES 32
#define SDC_TABLE(t) \
	((bytes)_mm256_broadcastsi128_si256(_mm_load_si128((const void *)(t))))
#define SDC_LOOK(table, x) ((bytes)_mm256_shuffle_epi8((__m256i)(table), (__m256i)(x)))
#include "bench/sdc_lanes.h"

/* The bits of each byte (Mula, Kurz & Lemire 2018). */
static inline __m256i
count(__m256i x)
{
	const __m256i low = _mm256_set1_epi8(15);
	const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
	    3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);

	return _mm256_add_epi8(_mm256_shuffle_epi8(ones, _mm256_and_si256(x, low)),
	    _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

/* sum k k' = top^2 dims - 2 sum of 2^(B-1-i) 2^(B-1-j) |q_i xor c_j|: the query's
 * planes count double in turn as bytes (at most 8 x 15), a code's once these are summed
 * up. Inlined with a constant number of bits. */
static inline __attribute__((always_inline)) void
cross(int32_t *dots, const struct sdc_query *q, const uint8_t *blocks, size_t n_blocks,
    unsigned bits)
{
	const int top = (1 << bits) - 1;
	const int32_t most = top * top * (int32_t)q->shape.dims;
	const size_t n = q->shape.dims / 64;
	const __m256i zero = _mm256_setzero_si256();

	for (size_t h = 0; h < n_blocks * SDC_BLOCK / 4; h++, dots += 4) {
		const uint8_t *half = blocks + h / 2 * 64 * n * bits + h % 2 * 32;
		__m256i sum = zero;
		_Alignas(32) int64_t out[4];
		for (size_t w = 0; w < n; w++) {
			__m256i word = zero;
#pragma GCC unroll 4
			for (unsigned j = 0; j < bits; j++, half += 64) {
				__m256i c = _mm256_load_si256((const void *)half);
				__m256i part = zero;
#pragma GCC unroll 4
				for (unsigned i = 0; i < bits; i++) {
					__m256i k = _mm256_set1_epi64x(
					    (int64_t)q->planes[i * n + w]);
					part =
					    _mm256_add_epi8(_mm256_add_epi8(part, part),
						count(_mm256_xor_si256(c, k)));
				}
				word = _mm256_add_epi64(_mm256_add_epi64(word, word),
				    _mm256_sad_epu8(part, zero));
			}
			sum = _mm256_add_epi64(sum, word);
		}
		_mm256_store_si256((void *)out, sum);
		for (int r = 0; r < 4; r++)
			dots[r] = most - 2 * (int32_t)out[r];
	}
}

static void
planes(int32_t *dots, const struct sdc_query *q, const uint8_t *blocks, size_t n_blocks)
{
	if (q->shape.bits == 1)
		cross(dots, q, blocks, n_blocks, 1);
	else if (q->shape.bits == 2)
		cross(dots, q, blocks, n_blocks, 2);
	else
		cross(dots, q, blocks, n_blocks, 4);
}

const struct sdc_kernel sdc_avx2 = {CPU_AVX2, tables, planes};

#endif
