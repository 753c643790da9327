#include "binarize/refine_kernels.h"

#if defined(__aarch64__)
#define REFINE_LANES 4
#define REFINE_ROWS 5
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_neon = REFINE_KERNEL(CPU_NEON, "neon");

#endif
