#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/*
 * Seeded random streams: the same numbers for the same (seed, stream) on every
 * machine and for ever, because stored codes depend on them.  xoshiro256**
 * (Blackman & Vigna, 2018) seeded by splitmix64.  A struct rng is its owner's.
 */
struct rng {
	uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed, uint64_t stream);

/* 64 random bits. */
uint64_t rng_u64(struct rng *rng);

/* Uniform in 0 .. n - 1, n > 0 (multiply-shift; bias below 2^-32 for n < 2^32). */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Uniform in [0, 1) with 24 bits. */
float rng_uniform(struct rng *rng);

/* Standard normal (Box-Muller); the last digits may differ between C libraries, so
 * nothing that is stored may depend on it. */
float rng_normal(struct rng *rng);

#endif /* BASE_RNG_H */
