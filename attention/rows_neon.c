#include "attention/rows_kernels.h"

#if defined(__aarch64__)
#include "attention/rows_lanes.h"

const struct rows_kernel rows_neon = ROWS_KERNEL(CPU_NEON, "neon");

#endif
