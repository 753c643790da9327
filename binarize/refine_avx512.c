#include "binarize/refine_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define REFINE_PAIRS(w, x) ((ints)_mm512_madd_epi16((__m512i)(w), (__m512i)(x)))
#define REFINE_ADD(sum, w, x) \
	((ints)_mm512_dpwssd_epi32((__m512i)(sum), (__m512i)(w), (__m512i)(x)))
#define REFINE_MAX(a, b) ((ints)_mm512_max_epi32((__m512i)(a), (__m512i)(b)))
#define REFINE_MOST(a) _mm512_reduce_max_epi32((__m512i)(a))
#define REFINE_BETTER(a, b, x, y)                                              \
	((ints)_mm512_mask_blend_epi32(                                        \
	    _mm512_cmpgt_epi32_mask((__m512i)(a), (__m512i)(b)), (__m512i)(y), \
	    (__m512i)(x)))
#define REFINE_LANES 16
#define REFINE_ROWS 12
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_avx512 = REFINE_KERNEL(CPU_AVX512, "avx512");

#endif
