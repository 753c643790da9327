#include "attention/hash_plan.h"

#if defined(__aarch64__)
#include "attention/hash_plain.h"

#include "attention/hash_kernels.h"

const struct hash_kernel hash_neon = {CPU_NEON, "neon", codes, attend};

#endif
