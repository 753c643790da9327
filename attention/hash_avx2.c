#include "attention/hash_plan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>

#include "attention/lanes.h"

#define HASH_TOKENS 2
#define HASH_QUERIES 4
#define HASH_SPAN 1

struct words {
	__m256i a, b;
};

/* Eight weights a permutation. */
struct lookup {
	const float *table;
	size_t eights;
};

static inline struct words
words_load(const uint32_t *words)
{
	return (struct words){_mm256_loadu_si256((const void *)words),
	    _mm256_loadu_si256((const void *)(words + 8))};
}

static inline struct lookup
lookup_load(const float *table, const struct hash_plan *plan)
{
	return (struct lookup){table, (plan->counts + 7) / 8};
}

/* Numbers := the set bits of each (Mula, Kurz & Lemire 2018). */
static inline __m256i
popcount(__m256i x)
{
	const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi8(1);
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
	    3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
	__m256i bytes =
	    _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
		_mm256_shuffle_epi8(table, high));

	return _mm256_madd_epi16(
	    _mm256_maddubs_epi16(bytes, one), _mm256_set1_epi16(1));
}

static inline __attribute__((always_inline)) __m256
weigh_half(__m256i x, uint32_t key, struct lookup lookup, const struct hash_plan *plan,
    const bool grouped)
{
	x = _mm256_xor_si256(x, _mm256_set1_epi32((int)key));
	if (grouped) {
		for (int i = 0; i < 3; i++)
			x = _mm256_or_si256(
			    x, _mm256_srl_epi32(
				   x, _mm_cvtsi32_si128((int)plan->shift[i])));
		x = _mm256_and_si256(x, _mm256_set1_epi32((int)plan->mask));
	}
	x = popcount(x);
	/* A permutation takes the index modulo 8; the last that applies stays. */
	__m256 w = _mm256_permutevar8x32_ps(_mm256_loadu_ps(lookup.table), x);
	for (size_t i = 1; i < lookup.eights; i++) {
		__m256i beyond =
		    _mm256_cmpgt_epi32(x, _mm256_set1_epi32((int)(8 * i) - 1));
		w = _mm256_blendv_ps(w,
		    _mm256_permutevar8x32_ps(_mm256_loadu_ps(lookup.table + 8 * i), x),
		    _mm256_castsi256_ps(beyond));
	}
	return w;
}

static inline __attribute__((always_inline)) struct lanes
weigh(struct words query, uint32_t key, struct lookup lookup,
    const struct hash_plan *plan, const bool grouped)
{
	return (struct lanes){weigh_half(query.a, key, lookup, plan, grouped),
	    weigh_half(query.b, key, lookup, plan, grouped)};
}

#include "attention/hash_kernels.h"

const struct hash_kernel hash_avx2 = {CPU_AVX2, "avx2", codes, attend};

#endif
