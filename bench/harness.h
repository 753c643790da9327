#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stddef.h>
#include <stdint.h>

/* What benches share.  Owner only; a bench that cannot go on says why and exits. */

/* Seconds of a piece of work: on the wall, and of processor time over all threads. */
struct harness_time {
	double wall, cpu;
};

/* A running stopwatch: harness_stop gives the time since harness_start. */
struct harness_watch {
	uint64_t wall_ns, cpu_ns;
};
struct harness_watch harness_start(void);
struct harness_time harness_stop(struct harness_watch watch);

#define HARNESS_ROUNDS_MAX 64

/* The middle of n <= HARNESS_ROUNDS_MAX times, wall and cpu each by itself. */
struct harness_time harness_median(const struct harness_time *times, size_t n);

/* Operations (2 a multiply-add) a second of processor time that vpdpbusd does on
 * registers, 20 sums in turn: the most that AVX-512 has for int8.  0 without it. */
double harness_dot_rate(void);

/* Bytes of anonymous memory of this process (RssAnon). */
size_t harness_rss_anon(void);

/* Print "name: reason" and exit 2 if $SIMD asks for what is not there; to be called
 * first, so that no figure stands for another kernel. */
void harness_check_simd(const char *name);

/* Print "name: reason" and exit 1. */
_Noreturn void harness_fail(const char *name, const char *reason);

#endif /* BENCH_HARNESS_H */
