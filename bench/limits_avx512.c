#include "bench/limits.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Compilers may not find out that a round is like the one before. */
#define NEXT_ROUND() __asm__ volatile("" : : : "memory")

static double
read_all(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	__m512i all[8] = {0};

	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < bytes; i += 512)
#pragma GCC unroll 8
			for (size_t j = 0; j < 8; j++)
				all[j] = _mm512_or_si512(
				    all[j], _mm512_load_si512(at + i + 64 * j));
		NEXT_ROUND();
	}
#pragma GCC unroll 8
	for (size_t j = 0; j < 8; j++)
		*sink += (uint64_t)_mm512_reduce_or_epi64(all[j]);
	return (double)bytes * (double)rounds;
}

/* Eight queries a line; carry-save adders take as many instructions. */
static double
count_bits(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	__m512i sums[8] = {0}, k[8];

#pragma GCC unroll 8
	for (size_t j = 0; j < 8; j++)
		k[j] = _mm512_set1_epi32((int)j);
	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < bytes; i += 64) {
			const __m512i x = _mm512_load_si512(at + i);
#pragma GCC unroll 8
			for (size_t j = 0; j < 8; j++)
				sums[j] = _mm512_add_epi32(sums[j],
				    _mm512_popcnt_epi32(_mm512_xor_si512(x, k[j])));
		}
		NEXT_ROUND();
	}
#pragma GCC unroll 8
	for (size_t j = 0; j < 8; j++)
		*sink += (uint64_t)_mm512_reduce_add_epi32(sums[j]);
	return 8 * 8 * (double)bytes * (double)rounds;
}

/* Eight queries meet two lines of levels. */
static double
multiply(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	__m512i sums[8][2] = {0};

	for (size_t round = 0; round < rounds; round++) {
		const int32_t *k = (const void *)at;
		for (size_t i = 0; i < bytes; i += 128, k += 8) {
			const __m512i c0 = _mm512_load_si512(at + i);
			const __m512i c1 = _mm512_load_si512(at + i + 64);
#pragma GCC unroll 8
			for (size_t j = 0; j < 8; j++) {
				const __m512i kj = _mm512_set1_epi32(k[j]);
				sums[j][0] = _mm512_dpbusd_epi32(sums[j][0], c0, kj);
				sums[j][1] = _mm512_dpbusd_epi32(sums[j][1], c1, kj);
			}
		}
		NEXT_ROUND();
	}
#pragma GCC unroll 8
	for (size_t j = 0; j < 8; j++)
		*sink += (uint64_t)_mm512_reduce_add_epi32(
		    _mm512_add_epi32(sums[j][0], sums[j][1]));
	return 8 * (double)bytes * (double)rounds;
}

const struct limits limits_avx512 = {
    .level = CPU_AVX512,
    .read = read_all,
    .popcount = count_bits,
    .products = multiply,
};

#endif /* __x86_64__ */
