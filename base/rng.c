#include "base/rng.h"

#include <math.h>

__extension__ typedef unsigned __int128 rng_wide;

static uint64_t
splitmix(uint64_t *x)
{
	uint64_t z = *x += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

static uint64_t
rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

void
rng_init(struct rng *rng, uint64_t seed, uint64_t stream)
{
	uint64_t x = stream;
	x = splitmix(&x) ^ seed;
	for (int i = 0; i < 4; i++)
		rng->s[i] = splitmix(&x);
}

uint64_t
rng_u64(struct rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t
rng_below(struct rng *rng, uint64_t n)
{
	return (uint64_t)((rng_wide)rng_u64(rng) * n >> 64);
}

float
rng_uniform(struct rng *rng)
{
	return (float)(rng_u64(rng) >> 40) * 0x1p-24f;
}

float
rng_normal(struct rng *rng)
{
	double u = 1.0 - (double)(rng_u64(rng) >> 11) * 0x1p-53; /* (0, 1] */
	double v = (double)(rng_u64(rng) >> 11) * 0x1p-53;
	return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
