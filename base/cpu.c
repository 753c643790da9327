#include "base/cpu.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"scalar", "neon", "avx2", "avx512", "amx"};
#define LEVELS (sizeof names / sizeof names[0])

const char *
cpu_level_name(enum cpu_level level)
{
	return names[level];
}

bool
cpu_has(enum cpu_level level)
{
	switch (level) {
	case CPU_SCALAR:
		return true;
#if defined(__x86_64__)
	/* libgcc asks XGETBV too: the system saves these registers. */
	case CPU_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	case CPU_AVX512:
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512vnni") &&
		       __builtin_cpu_supports("avx512vpopcntdq") &&
		       __builtin_cpu_supports("avx512vbmi");
#endif
	default:
		return false;
	}
}

int
cpu_ceiling(enum cpu_level *level, struct error *err)
{
	const char *wish = getenv("SIMD");

	if (!wish || !*wish) {
		enum cpu_level best = CPU_SCALAR;
		for (size_t i = 0; i < LEVELS; i++)
			if (cpu_has((enum cpu_level)i))
				best = (enum cpu_level)i;
		*level = best;
		return 0;
	}
	for (size_t i = 0; i < LEVELS; i++) {
		if (strcmp(wish, names[i]) != 0)
			continue;
		if (!cpu_has((enum cpu_level)i))
			return error_set(err, ERR_UNSUPPORTED,
			    "SIMD=%s: this processor or build lacks it; unset SIMD to "
			    "take the best there is",
			    wish);
		*level = (enum cpu_level)i;
		return 0;
	}
	return error_set(
	    err, ERR_INPUT, "SIMD=%.32s: expected one of scalar, avx2, avx512", wish);
}
