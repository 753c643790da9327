#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * What this processor can do, and what the user allows.
 *
 * The environment variable SIMD=scalar|neon|avx2|avx512|amx is a ceiling: each module
 * takes its best kernel at or below it.  The levels of one architecture are ordered;
 * unset means the best there is.  Any thread may call.
 */
enum cpu_level {
	CPU_SCALAR = 0,
	CPU_NEON,   /* aarch64 with dot product */
	CPU_AVX2,   /* AVX2, FMA */
	CPU_AVX512, /* AVX-512 F BW DQ VL, VNNI, VPOPCNTDQ, VBMI */
	CPU_AMX,    /* AMX int8, and all of CPU_AVX512 */
};

/* "scalar", "neon", "avx2", "avx512", "amx" */
const char *cpu_level_name(enum cpu_level level);

/* Whether this processor and system run code of `level`.  The first question for
 * CPU_AMX asks Linux to let this process use tiles. */
bool cpu_has(enum cpu_level level);

/* *level := the ceiling from $SIMD, or the best this processor has.  ERR_INPUT for
 * a name that does not exist, ERR_UNSUPPORTED for one that this processor lacks.
 * Programs call it once at start. */
int cpu_ceiling(enum cpu_level *level, struct error *err);

/* A module's kernels, from scalar (number 0, which every processor runs) to the best.
 */
struct cpu_kernels {
	const char *event; /* names them in the log: "linear_kernel" */
	size_t n;
	enum cpu_level (*level)(size_t i);
	bool (*agrees)(size_t i); /* kernel i with the scalar ones, in a self-test */
};

/* The best of them at or below cpu_ceiling() that agrees; one that does not is logged
 * and passed over.  A module calls it once. */
size_t cpu_choose(const struct cpu_kernels *kernels);

#endif /* BASE_CPU_H */
