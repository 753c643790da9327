#include "binarize/refine_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

static inline int
largest(__m256i x)
{
	__m128i y =
	    _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
	y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4E));
	y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0xB1));
	return _mm_cvtsi128_si32(y);
}

#define REFINE_PAIRS(w, x) ((ints)_mm256_madd_epi16((__m256i)(w), (__m256i)(x)))
#define REFINE_ADD(sum, w, x) ((sum) + REFINE_PAIRS(w, x))
#define REFINE_MAX(a, b) ((ints)_mm256_max_epi32((__m256i)(a), (__m256i)(b)))
#define REFINE_MOST(a) largest((__m256i)(a))
#define REFINE_BETTER(a, b, x, y) \
	((ints)_mm256_blendv_epi8((__m256i)(y), (__m256i)(x), (__m256i)((a) > (b))))
#define REFINE_LANES 8
#define REFINE_ROWS 4
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_avx2 = REFINE_KERNEL(CPU_AVX2, "avx2");

#endif
