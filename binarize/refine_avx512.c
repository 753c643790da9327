#include "binarize/refine_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define REFINE_MAX(a, b) _mm512_max_ps(a, b)
#define REFINE_LANES 16
#define REFINE_ROWS 12
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_avx512 = REFINE_KERNEL(CPU_AVX512, "avx512");

#endif
