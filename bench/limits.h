#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

/*
 * The most that a core can do of what a search is made of: plain loops for each
 * instruction set, with operands where a search's kernels have theirs, and nothing
 * else.  What a search reaches is shown as a share of them, measured in the same run.
 *
 * A popcount is not the least that a Hamming distance can cost: tables and tiles may
 * take less, and then a share is over 100 %.
 */

/* Goes over `bytes` (a multiple of 4096) at the 64-byte aligned `at` as often as
 * `rounds` says; returns how much of what it is about it did.  *sink takes what comes
 * out, so that nothing is left out. */
typedef double limits_loop(
    uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds);

struct limits {
	enum cpu_level level;
	limits_loop *read;     /* bytes, by the widest loads */
	limits_loop *popcount; /* bits of codes, xored with a query's and counted: the
				  fastest such loop that is known */
	limits_loop *products; /* multiply-adds of levels with bytes of queries, as many
				  of them a load as registers allow */
};

#if defined(__x86_64__)
extern const struct limits limits_avx2;
extern const struct limits limits_avx512;
extern const struct limits limits_amx;
#endif

/* Those of exactly this level; NULL if this processor lacks it. */
const struct limits *limits_find(enum cpu_level level);

/* How much the loop does a second of processor time: one sample of a few milliseconds,
 * to be taken in turns with samples of what it is a limit for.  Over `bytes` at `at`;
 * with NULL over 16 KiB in the first-level cache. */
double limits_rate(limits_loop *loop, const uint8_t *at, size_t bytes);

#endif /* BENCH_LIMITS_H */
