/*
 * What this machine can do at most of what searching is made of (bench/limits.h), one
 * thread, a second of processor time: what bench_flat shows shares of.  Medians.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/harness.h"
#include "bench/limits.h"

#define ROUNDS 15
#define BUFFER_BYTES ((size_t)1 << 30)

static double
median(limits_loop *loop, const uint8_t *at, size_t bytes)
{
	struct harness_time times[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++)
		times[i].wall = times[i].cpu = limits_rate(loop, at, bytes);
	return harness_median(times, ROUNDS).cpu;
}

int
main(void)
{
	static const enum cpu_level levels[] = {CPU_AMX, CPU_AVX512, CPU_AVX2};
	uint8_t *buffer = aligned_alloc((size_t)2 << 20, BUFFER_BYTES);

	harness_check_simd("bench_limits");
	if (!buffer)
		harness_fail("bench_limits", "no memory for the buffer");
	(void)madvise(buffer, BUFFER_BYTES, MADV_HUGEPAGE);
	memset(buffer, 1, BUFFER_BYTES);
	printf("limits of one thread, a second of processor time: GB read from 16 KiB, "
	       "256 KiB, 64 MiB, 1 GiB;\nGbit xored and counted, G multiply-adds, in "
	       "the first-level cache\n");
	printf("|        |   16 KiB | 256 KiB | 64 MiB | 1 GiB |  bits | products |\n");
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		const struct limits *l = limits_find(levels[i]);
		if (!l) {
			printf("| %-6s |      n/a |     n/a |    n/a |   n/a |   n/a | "
			       "     n/a |\n",
			    cpu_level_name(levels[i]));
			continue;
		}
		printf("| %-6s | %8.0f | %7.0f | %6.1f | %5.1f | %5.0f | %8.0f |\n",
		    cpu_level_name(levels[i]), median(l->read, NULL, 0) * 1e-9,
		    median(l->read, buffer, (size_t)256 << 10) * 1e-9,
		    median(l->read, buffer, (size_t)64 << 20) * 1e-9,
		    median(l->read, buffer, BUFFER_BYTES) * 1e-9,
		    median(l->popcount, NULL, 0) * 1e-9,
		    median(l->products, NULL, 0) * 1e-9);
		fflush(stdout);
	}
	free(buffer);
	return 0;
}
