#include "bench/limits.h"

#include <time.h>

#define CACHED_BYTES ((size_t)16 << 10)
#define SAMPLE_SECONDS .003 /* of processor time, at least */

/* Of this thread alone: others that wait for work by looping do not count. */
static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const struct limits *
limits_find(enum cpu_level level)
{
#if defined(__x86_64__)
	static const struct limits *const all[] = {
	    &limits_avx2, &limits_avx512, &limits_amx};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i]->level == level && cpu_has(level))
			return all[i];
#endif
	(void)level;
	return NULL;
}

double
limits_rate(limits_loop *loop, const uint8_t *at, size_t bytes)
{
	static _Alignas(64) uint8_t cached[CACHED_BYTES];
	uint64_t sink = 0;
	double done = 0, spent = 0;

	/* Rounds until a sample is long enough; those before warm up. */
	for (size_t rounds = 1; spent < SAMPLE_SECONDS; rounds *= 2) {
		const double begin = seconds();
		done = loop(&sink, at ? at : cached, at ? bytes : CACHED_BYTES, rounds);
		spent = seconds() - begin;
	}
	return done / spent;
}
