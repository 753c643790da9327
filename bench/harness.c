#include "bench/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"

void
harness_check_simd(const char *name)
{
	enum cpu_level ceiling;
	struct error err;
	if (cpu_ceiling(&ceiling, &err) == 0)
		return;
	fprintf(stderr, "%s: %s\n", name, err.text);
	exit(2);
}

_Noreturn void
harness_fail(const char *name, const char *reason)
{
	fprintf(stderr, "%s: %s\n", name, reason);
	exit(1);
}

struct harness_watch
harness_start(void)
{
	return (struct harness_watch){clock_ns(), clock_cpu_ns()};
}

struct harness_time
harness_stop(struct harness_watch watch)
{
	return (struct harness_time){(double)(clock_ns() - watch.wall_ns) * 1e-9,
	    (double)(clock_cpu_ns() - watch.cpu_ns) * 1e-9};
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct harness_time
harness_median(const struct harness_time *times, size_t n)
{
	double wall[HARNESS_ROUNDS_MAX], cpu[HARNESS_ROUNDS_MAX];

	for (size_t i = 0; i < n; i++) {
		wall[i] = times[i].wall;
		cpu[i] = times[i].cpu;
	}
	qsort(wall, n, sizeof *wall, compare);
	qsort(cpu, n, sizeof *cpu, compare);
	return (struct harness_time){wall[n / 2], cpu[n / 2]};
}

size_t
harness_rss_anon(void)
{
	char line[256];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %zu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	if (kib == 0)
		harness_fail("/proc/self/status", "expected RssAnon in it");
	return kib << 10;
}

#define DOT_ROUNDS 9

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vnni"))) double
harness_dot_rate(void)
{
	struct harness_time times[DOT_ROUNDS];
	const size_t n = 100000;

	if (!cpu_has(CPU_AVX512))
		return 0;
	for (size_t round = 0; round < DOT_ROUNDS; round++) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < n; i++)
			__asm__ volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,"
					 "16,17,18,19\n\t"
					 "vpdpbusd %%zmm31, %%zmm30, %%zmm\\r\n\t"
					 ".endr"
					 :
					 :
					 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
					 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
					 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
					 "xmm15", "xmm16", "xmm17", "xmm18", "xmm19");
		times[round] = harness_stop(watch);
	}
	return 2.0 * 64 * 20 * (double)n / harness_median(times, DOT_ROUNDS).cpu;
}
#else
double
harness_dot_rate(void)
{
	return 0;
}
#endif
