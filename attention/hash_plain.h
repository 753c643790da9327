#ifndef ATTENTION_HASH_PLAIN_H
#define ATTENTION_HASH_PLAIN_H

/* What hash_kernels.h wants, in plain C: for instruction sets without permutations
 * of floats. */
#include <stdbool.h>

#include "attention/hash_plan.h"
#include "attention/lanes.h"

#define HASH_TOKENS 2
#define HASH_QUERIES 4
#define HASH_SPAN 1

struct words {
	const uint32_t *word;
};
struct lookup {
	const float *table;
};

static inline struct words
words_load(const uint32_t *words)
{
	return (struct words){words};
}

static inline struct lookup
lookup_load(const float *table, const struct hash_plan *plan)
{
	(void)plan;
	return (struct lookup){table};
}

static inline unsigned
popcount(uint32_t x)
{
	x -= x >> 1 & 0x55555555u;
	x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
	return ((x + (x >> 4)) & 0x0F0F0F0Fu) * 0x01010101u >> 24;
}

static inline struct lanes
weigh(struct words query, uint32_t key, struct lookup lookup,
    const struct hash_plan *plan, const bool grouped)
{
	float weights[16];

	for (size_t i = 0; i < 16; i++) {
		uint32_t x = query.word[i] ^ key;
		for (size_t s = 0; grouped && s < 3; s++)
			x |= x >> plan->shift[s];
		weights[i] = lookup.table[popcount(x & plan->mask)];
	}
	return lanes_load(weights);
}

#endif /* ATTENTION_HASH_PLAIN_H */
