#include "binarize/refine_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define REFINE_MAX(a, b) _mm256_max_ps(a, b)
#define REFINE_CHOOSE(mask, a, b) \
	((ints)_mm256_blendv_epi8((__m256i)(b), (__m256i)(a), (__m256i)(mask)))
#define REFINE_LANES 8
#define REFINE_ROWS 4
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_avx2 = REFINE_KERNEL(CPU_AVX2, "avx2");

#endif
