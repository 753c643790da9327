#define REFINE_LANES 4
#define REFINE_ROWS 2
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_scalar = REFINE_KERNEL(CPU_SCALAR, "scalar");
