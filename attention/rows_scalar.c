#include "attention/rows_kernels.h"

#include "attention/rows_lanes.h"

const struct rows_kernel rows_scalar = ROWS_KERNEL(CPU_SCALAR, "scalar");
