#include "base/cpu.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const char *const names[] = {"scalar", "neon", "avx2", "avx512", "amx"};
#define LEVELS (sizeof names / sizeof names[0])

const char *
cpu_level_name(enum cpu_level level)
{
	return names[level];
}

#if defined(__x86_64__)
/* Whether this process may use tiles: the processor has them (CPUID), the system saves
 * them (XCR0), and lets in whoever asks.  Linux grants that to a process once and for
 * all its threads; gcc 12 does not know the features by name. */
static bool tiles;

static void
ask_for_tiles(void)
{
	const unsigned features = 1u << 24 | 1u << 25; /* amx-tile, amx-int8 */
	const uint32_t saved = 1u << 17 | 1u << 18; /* their configuration and data */
	const long request = 0x1023, data = 18;     /* ARCH_REQ_XCOMP_PERM */
	unsigned a, b, c, d;
	uint32_t low, high;

	/* AVX-512 says that XGETBV is there. */
	if (!cpu_has(CPU_AVX512) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
	    (d & features) != features)
		return;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	tiles = (low & saved) == saved && syscall(SYS_arch_prctl, request, data) == 0;
}
#endif

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
	case CPU_AMX: {
		static pthread_once_t once = PTHREAD_ONCE_INIT;
		pthread_once(&once, ask_for_tiles);
		return tiles;
	}
#elif defined(__aarch64__)
	case CPU_NEON:
		return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
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
	return error_set(err, ERR_INPUT,
	    "SIMD=%.32s: expected one of scalar, neon, avx2, avx512, amx", wish);
}

size_t
cpu_choose(const struct cpu_kernels *kernels)
{
	enum cpu_level ceiling;
	struct error err;

	if (cpu_ceiling(&ceiling, &err) != 0) {
		log_event(
		    LOG_WARN, kernels->event, "kernel=scalar reason=\"%s\"", err.text);
		return 0;
	}
	for (size_t i = kernels->n; i-- > 1;) {
		enum cpu_level level = kernels->level(i);
		if (level > ceiling || !cpu_has(level))
			continue;
		if (kernels->agrees(i))
			return i;
		log_event(LOG_WARN, kernels->event,
		    "kernel=%s reason=\"differs from scalar in the self-test; not "
		    "used\"",
		    cpu_level_name(level));
	}
	return 0;
}
