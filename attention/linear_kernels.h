#ifndef ATTENTION_LINEAR_KERNELS_H
#define ATTENTION_LINEAR_KERNELS_H

#include <stdbool.h>

#include "attention/linear.h"

/* The tables behind linear_find.  A table of a level that the build's architecture
 * lacks is not there; code of a level runs only after cpu_has(level). */
extern const struct linear_kernel linear_scalar;
#if defined(__x86_64__)
extern const struct linear_kernel linear_avx2;
extern const struct linear_kernel linear_avx512;
/* Its float form, and what few tokens do not fill a tile with, is AVX-512's. */
extern const struct linear_kernel linear_amx;
#elif defined(__aarch64__)
extern const struct linear_kernel linear_neon;
#endif

/* The self-test: whether a kernel gives the bits of linear_scalar for small layers of
 * every form. */
bool linear_agrees(const struct linear_kernel *kernel);

#endif /* ATTENTION_LINEAR_KERNELS_H */
