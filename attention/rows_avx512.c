#include "attention/rows_kernels.h"

#if defined(__x86_64__)
#include "attention/rows_lanes.h"

const struct rows_kernel rows_avx512 = ROWS_KERNEL(CPU_AVX512, "avx512");

#endif
