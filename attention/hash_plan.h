#ifndef ATTENTION_HASH_PLAN_H
#define ATTENTION_HASH_PLAN_H

#include "attention/hash.h"

/*
 * What the kernels of hash attention read: the parameters with what a vector's lanes
 * run over (anchors, bits) innermost and padded to whole vectors.  Padded anchors are
 * computed and never read; padded bits have a threshold that nothing reaches.
 */

/* Entries of a table of weights, by the number of differing bits or groups. */
#define HASH_WEIGHTS 48

/* Linear order adds a value to one row of a table for each group of bits: the buckets,
 * or, where the weight is affine in D, HASH_NIBBLE bits. */
#define HASH_NIBBLE 4
#define HASH_NIBBLES (1 << HASH_NIBBLE)

/* Quadratic order takes this many keys at a time: their weights and values stay in the
 * first cache. */
#define HASH_KEYS 128

struct hash_plan {
	enum hash_function function;
	enum hash_similarity similarity;
	size_t heads, head_dims, bits, anchors;
	size_t features;                 /* what planes meet: anchors or head_dims */
	size_t anchor_width, bit_width;  /* rounded up to 16 */
	size_t group_bits, groups, rows; /* linear order: rows a group = 2^group_bits */
	size_t auto_tokens;              /* HASH_AUTO: linear order from here on */

	/* How pairs differ: word = a ^ b, thrice word |= word >> shift; then the weight
	 * is weights[popcount(word & mask)]. */
	unsigned shift[3];
	uint32_t mask;
	size_t counts; /* values that the popcount can have: from 0 on */

	float *anchor;        /* (heads, head_dims, anchor_width) */
	float *inverse_sigma; /* (heads) */
	float *planes;        /* (heads, features, bit_width) */
	float *threshold;     /* (heads, bit_width) */
	float *weights;       /* (heads, HASH_WEIGHTS); general: b - 2 D */
	float *gamma, *delta, *epsilon, *floor; /* (heads), zero where not used */

	/* agree[a][c]: bits equal less bits different of two nibbles */
	_Alignas(64) float agree[HASH_NIBBLES][HASH_NIBBLES];
};

/* The tables behind hash_find.  Code of a level runs only after cpu_has(level). */
extern const struct hash_kernel hash_scalar;
#if defined(__x86_64__)
extern const struct hash_kernel hash_avx2;
extern const struct hash_kernel hash_avx512;
#elif defined(__aarch64__)
extern const struct hash_kernel hash_neon;
#endif

#endif /* ATTENTION_HASH_PLAN_H */
