#include "attention/rows_kernels.h"

#if defined(__x86_64__)
#include "attention/rows_lanes.h"

const struct rows_kernel rows_avx2 = ROWS_KERNEL(CPU_AVX2, "avx2");

#endif
