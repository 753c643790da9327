#include "bench/sdc.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SDC_BYTES 64
#define SDC_TABLE(t) ((bytes)_mm512_broadcast_i32x4(_mm_load_si128((const void *)(t))))
#define SDC_LOOK(table, x) ((bytes)_mm512_shuffle_epi8((__m512i)(table), (__m512i)(x)))
#include "bench/sdc_lanes.h"

/* As in sdc_avx2.c; a lane counts its own bits. */
static inline __attribute__((always_inline)) void
cross(int32_t *dots, const struct sdc_query *q, const uint8_t *blocks, size_t n_blocks,
    unsigned bits)
{
	const int top = (1 << bits) - 1;
	const int32_t most = top * top * (int32_t)q->shape.dims;
	const size_t n = q->shape.dims / 64;

	for (size_t g = 0; g < n_blocks * SDC_BLOCK / 8; g++, dots += 8) {
		__m512i sum = _mm512_setzero_si512();
		_Alignas(64) int64_t out[8];
		for (size_t w = 0; w < n; w++) {
			__m512i word = _mm512_setzero_si512();
#pragma GCC unroll 4
			for (unsigned j = 0; j < bits; j++, blocks += 64) {
				__m512i c = _mm512_load_si512(blocks);
				__m512i part = _mm512_setzero_si512();
#pragma GCC unroll 4
				for (unsigned i = 0; i < bits; i++) {
					__m512i k = _mm512_set1_epi64(
					    (int64_t)q->planes[i * n + w]);
					part = _mm512_add_epi64(
					    _mm512_add_epi64(part, part),
					    _mm512_popcnt_epi64(
						_mm512_xor_si512(c, k)));
				}
				word = _mm512_add_epi64(
				    _mm512_add_epi64(word, word), part);
			}
			sum = _mm512_add_epi64(sum, word);
		}
		_mm512_store_si512(out, sum);
		for (int r = 0; r < 8; r++)
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

const struct sdc_kernel sdc_avx512 = {CPU_AVX512, tables, planes};

#endif
