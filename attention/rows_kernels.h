#ifndef ATTENTION_ROWS_KERNELS_H
#define ATTENTION_ROWS_KERNELS_H

#include "attention/rows.h"

/* The tables behind rows_find, each compiled from rows_lanes.h.  A table of a level
 * that the build's architecture lacks is not there; code of a level runs only after
 * cpu_has(level). */
extern const struct rows_kernel rows_scalar;
#if defined(__x86_64__)
extern const struct rows_kernel rows_avx2;
extern const struct rows_kernel rows_avx512;
#elif defined(__aarch64__)
extern const struct rows_kernel rows_neon;
#endif

#endif /* ATTENTION_ROWS_KERNELS_H */
