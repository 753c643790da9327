#include "attention/hash_plain.h"

#include "attention/hash_kernels.h"

const struct hash_kernel hash_scalar = {CPU_SCALAR, "scalar", codes, attend};
