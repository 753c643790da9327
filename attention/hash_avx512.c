#include "attention/hash_plan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>

#include "attention/lanes.h"

#define HASH_TOKENS 4
#define HASH_QUERIES 8
#define HASH_SPAN 2

struct words {
	__m512i v;
};

/* 32 weights behind one permutation, and number 32. */
struct lookup {
	__m512 low, high, last;
};

static inline struct words
words_load(const uint32_t *words)
{
	return (struct words){_mm512_loadu_si512(words)};
}

static inline struct lookup
lookup_load(const float *table, const struct hash_plan *plan)
{
	(void)plan;
	return (struct lookup){_mm512_loadu_ps(table), _mm512_loadu_ps(table + 16),
	    _mm512_set1_ps(table[32])};
}

static inline __attribute__((always_inline)) struct lanes
weigh(struct words query, uint32_t key, struct lookup lookup,
    const struct hash_plan *plan, const bool grouped)
{
	__m512i x = _mm512_xor_si512(query.v, _mm512_set1_epi32((int)key));

	if (grouped) {
		for (int i = 0; i < 3; i++)
			x = _mm512_or_si512(
			    x, _mm512_srl_epi32(
				   x, _mm_cvtsi32_si128((int)plan->shift[i])));
		x = _mm512_and_si512(x, _mm512_set1_epi32((int)plan->mask));
	}
	x = _mm512_popcnt_epi32(x);
	__m512 w = _mm512_permutex2var_ps(lookup.low, x, lookup.high);
	__mmask16 last = _mm512_test_epi32_mask(x, _mm512_set1_epi32(32));
	return (struct lanes){_mm512_mask_mov_ps(w, last, lookup.last)};
}

#include "attention/hash_kernels.h"

const struct hash_kernel hash_avx512 = {CPU_AVX512, "avx512", codes, attend};

#endif
