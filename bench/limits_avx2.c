#include "bench/limits.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Compilers may not find out that a round is like the one before. */
#define NEXT_ROUND() __asm__ volatile("" : : : "memory")

static uint64_t
sum_of(__m256i x)
{
	uint64_t words[4];

	_mm256_storeu_si256((void *)words, x);
	return words[0] + words[1] + words[2] + words[3];
}

static double
read_all(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	__m256i all[8] = {0};

	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < bytes; i += 256)
#pragma GCC unroll 8
			for (size_t j = 0; j < 8; j++)
				all[j] = _mm256_or_si256(all[j],
				    _mm256_load_si256((const void *)(at + i + 32 * j)));
		NEXT_ROUND();
	}
#pragma GCC unroll 8
	for (size_t j = 0; j < 8; j++)
		*sink += sum_of(all[j]);
	return (double)bytes * (double)rounds;
}

/* Bits of each byte, in four sums. */
static inline __m256i
popcount(__m256i x)
{
	const __m256i low = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
	    3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
	__m256i sum =
	    _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
		_mm256_shuffle_epi8(table, high));

	return _mm256_sad_epu8(sum, zero);
}

/* *low := the sum of three bits at each place, returns what is carried. */
static inline __m256i
carry(__m256i *low, __m256i b, __m256i c)
{
	const __m256i a = *low, u = _mm256_xor_si256(a, b);

	*low = _mm256_xor_si256(u, c);
	return _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(u, c));
}

/* Carry-save adders of 16 registers to one popcount (Mula, Kurz & Lemire 2018,
 * arXiv:1611.07612: Harley-Seal), a third faster here than a popcount of each. */
static double
count_bits(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	const __m256i *x = (const void *)at;
	__m256i sum = _mm256_setzero_si256();
	__m256i ones = sum, twos = sum, fours = sum, eights = sum;

	for (size_t round = 0; round < rounds; round++) {
		const __m256i k = _mm256_set1_epi64x((long long)round);
		for (size_t i = 0; i < bytes / 32; i += 16) {
			__m256i eight[2];
#pragma GCC unroll 2
			for (size_t e = 0; e < 2; e++) {
				__m256i four[2];
#pragma GCC unroll 2
				for (size_t f = 0; f < 2; f++) {
					const __m256i *at4 = x + i + 8 * e + 4 * f;
					__m256i t0 =
					    carry(&ones, _mm256_xor_si256(at4[0], k),
						_mm256_xor_si256(at4[1], k));
					__m256i t1 =
					    carry(&ones, _mm256_xor_si256(at4[2], k),
						_mm256_xor_si256(at4[3], k));
					four[f] = carry(&twos, t0, t1);
				}
				eight[e] = carry(&fours, four[0], four[1]);
			}
			__m256i sixteen = carry(&eights, eight[0], eight[1]);
			sum = _mm256_add_epi64(sum, popcount(sixteen));
		}
	}
	*sink +=
	    sum_of(sum) + sum_of(ones) + sum_of(twos) + sum_of(fours) + sum_of(eights);
	return 8 * (double)bytes * (double)rounds;
}

/* Two queries meet four registers of levels. */
static double
multiply(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	__m256i sums[2][4] = {0};

	for (size_t round = 0; round < rounds; round++) {
		const int32_t *k = (const void *)at;
#pragma GCC unroll 4
		for (size_t i = 0; i < bytes; i += 128, k += 2) {
			__m256i k0 = _mm256_set1_epi32(k[0]);
			__m256i k1 = _mm256_set1_epi32(k[1]);
#pragma GCC unroll 4
			for (size_t j = 0; j < 4; j++) {
				__m256i c =
				    _mm256_load_si256((const void *)(at + i + 32 * j));
				sums[0][j] = _mm256_add_epi16(
				    sums[0][j], _mm256_maddubs_epi16(c, k0));
				sums[1][j] = _mm256_add_epi16(
				    sums[1][j], _mm256_maddubs_epi16(c, k1));
				__asm__("" : "+x"(sums[0][j]), "+x"(sums[1][j]));
			}
		}
		NEXT_ROUND();
	}
#pragma GCC unroll 4
	for (size_t j = 0; j < 4; j++)
		*sink += sum_of(sums[0][j]) + sum_of(sums[1][j]);
	return 2 * (double)bytes * (double)rounds;
}

const struct limits limits_avx2 = {
    .level = CPU_AVX2,
    .read = read_all,
    .popcount = count_bits,
    .products = multiply,
};

#endif /* __x86_64__ */
