#ifndef ATTENTION_HASH_H
#define ATTENTION_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "attention/attend.h"
#include "base/cpu.h"
#include "base/error.h"

/*
 * Hash attention (EcoFormer): queries and keys become codes of a few bits a head, and
 * what a token takes from another depends on the bits alone.
 *
 * Codes.  x is a head's part of a query or key, x' = x / max(|x|, 1e-6):
 *
 *     kernel   e_m = exp((<x', a_m> - 1) * inverse_sigma)      m = 0 .. anchors - 1
 *              bit r = [ sum_m planes_rm e_m >= threshold_r ]
 *     linear   bit r = [ <planes_r, x'> >= threshold_r ]
 *
 * (|x'| = |a_m| = 1, so this is the Gaussian kernel with a frozen bandwidth; the
 * centring of the features is folded into the thresholds.)  Bit r is worth
 * h_r = +1 or -1; a code is a word whose bit r is set for +1.  D = the bits that two
 * codes differ in, b = bits.  No padding enters a sum.
 *
 * Similarities, per head:
 *
 *     positive  w_ij = (b - 2 D) + (b + 1)            o_i = sum_j w v_j / sum_j w
 *     general   o_i = gamma / (b n) sum_j (b - 2 D) v_j + delta / n sum_j v_j
 *                     + epsilon v_i
 *     buckets   w_ij = (groups of bucket_bits bits that are equal) + floor
 *               o_i = sum_j w v_j / sum_j w
 *     table     w_ij = table[D]                       o_i = sum_j w v_j / sum_j w
 *
 * positive is the paper's kernel with its constant c = b + 1; general has no division
 * that depends on data; buckets and table are sharp.  positive, general and buckets are
 * sums over the text that need not be taken for each pair (*linear order*); any form
 * can be taken pair by pair (*quadratic order*), which is faster for short texts and
 * the only way of a table.  The two orders differ by rounding alone: either is within
 * 1e-5 of the exact sum, as a share of the largest |v| (of general, times |gamma| +
 * |delta| + |epsilon|).
 *
 * Sources: Liu et al., "EcoFormer: Energy-Saving Attention with Linear Complexity",
 * NeurIPS 2022, arXiv:2209.09004; Zeng et al., "YOSO", ICML 2021, arXiv:2111.09714
 * (equal buckets as attention weights).  Allocates nothing; any thread may call, each
 * with its own scratch.
 */
#define HASH_BITS_MAX 32
#define HASH_ANCHORS_MAX 64

enum hash_function { HASH_KERNEL, HASH_LINEAR };
enum hash_similarity { HASH_POSITIVE, HASH_GENERAL, HASH_BUCKETS, HASH_TABLE };

/* One layer's hash attention: plain memory, all of it borrowed.  The parameters of
 * HASH_KERNEL and of each similarity are NULL where they are not used. */
struct hash {
	enum hash_function function;
	enum hash_similarity similarity;
	size_t heads, head_dims;
	size_t bits;        /* 1 .. HASH_BITS_MAX */
	size_t anchors;     /* 1 .. HASH_ANCHORS_MAX; kernel */
	size_t bucket_bits; /* divides bits, 1 .. 8; buckets */

	const float *anchor;        /* (heads, anchors, head_dims), unit length */
	const float *inverse_sigma; /* (heads), > 0 */
	const float *planes;        /* (heads, bits, anchors or head_dims) */
	const float *threshold;     /* (heads, bits) */

	const float *gamma, *delta, *epsilon; /* (heads); general */
	const float *floor;                   /* (heads), > 0; buckets */
	const float *table;                   /* (heads, bits + 1), > 0; table */
};

/* What kernels read: the parameters copied and laid out for them.  Made once when a
 * model is opened; never written again.  ERR_MEMORY is the only error: who reads a file
 * has checked the shape.  hash_plan_free(NULL) is legal. */
struct hash_plan;
struct hash_plan *hash_plan_new(const struct hash *hash, struct error *err);
void hash_plan_free(struct hash_plan *plan);

enum hash_order { HASH_AUTO, HASH_ORDER_LINEAR, HASH_ORDER_QUADRATIC };

struct hash_kernel {
	enum cpu_level level;
	const char *name;

	/* codes (n, heads) := of x (n, heads * head_dims), rows `stride` apart. */
	void (*codes)(uint32_t *codes, const struct hash_plan *plan, const float *x,
	    size_t n, size_t stride);

	/* attend->out := attention over the values, by the codes (n, heads) of queries
	 * and keys (the same array where they share); attend->q and ->k are not read.
	 * HASH_AUTO takes the order that is faster for n, by n and the plan's shape
	 * alone, the same on every machine: with 16 bits linear from 31 tokens on
	 * (positive, general), 24 (buckets of 4 bits).  A table has quadratic order
	 * only.  n is 1 .. ATTEND_TOKENS_MAX. */
	void (*attend)(const struct attend *attend, const struct hash_plan *plan,
	    const uint32_t *q, const uint32_t *k, enum hash_order order,
	    float *scratch);
};

/* Floats of scratch, best 64-byte aligned, for texts of up to n tokens. */
size_t hash_scratch(const struct hash_plan *plan, size_t n);

/* The kernels of exactly this level, NULL without (CPU_AMX has none of its own); the
 * best at or below cpu_ceiling() that agreed with the scalar ones in a self-test at
 * first use (one that does not is logged and skipped).  Every kernel gives the same
 * codes and the same floats, bit for bit. */
const struct hash_kernel *hash_find(enum cpu_level level);
const struct hash_kernel *hash_best(void);

#endif /* ATTENTION_HASH_H */
