#ifndef ATTENTION_TRAINING_FAST_HASH_H
#define ATTENTION_TRAINING_FAST_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hash attention while it learns: what class Hash of hashing.py computes in training
 * mode, pair by pair, and its gradients, on every core.  fast_hash.py calls this.
 *
 * One table serves every similarity: w_ij = table[groups of bucket_bits bits in which
 * the codes of i and j differ], groups of one bit where nothing is said of buckets.
 * The gradient of a bit is OneHot's: what the weight loses where the bit's group comes
 * to differ.  With groups of one bit that is the table's slope in the bits that differ.
 *
 * Backward computes features, codes, weights and outputs again rather than keep them:
 * that costs less than going through memory for them.  Padding gives 0 and takes no
 * gradient.
 *
 * All is borrowed, float32, dense and in the order of the shape beside it.  Both return
 * 0, or -1 where there is no memory: then nothing is written.  Any thread may call;
 * each opens an OpenMP region.
 */
#define FAST_HASH_BITS_MAX 32
#define FAST_HASH_WIDTH_MAX 64 /* of dims and anchors */

struct fast_hash {
	size_t texts, longest, heads, dims;
	size_t anchors; /* 0: the planes meet the unit vector itself */
	size_t bits, bucket_bits;
	size_t threads;
	float power; /* of ReSTE */

	const int64_t *length;      /* (texts), <= longest */
	const float *q, *k, *v;     /* (texts, longest, heads, dims); k NULL: shared */
	const float *anchor;        /* (heads, anchors, dims) */
	const float *inverse_sigma; /* (heads) */
	const float *planes;        /* (heads, bits, anchors or dims) */
	const float *threshold;     /* (heads, bits) */
	const float *table;         /* (heads, bits / bucket_bits + 1) */

	/* What forward writes; backward reads the deviations. */
	float *out;                       /* as v */
	int64_t *words_q, *words_k;       /* (texts, longest, heads) */
	float *deviation_q, *deviation_k; /* (heads, bits), over all tokens */
};

/* Of the loss by what the name says, and of its shape; k, anchor, inverse_sigma where
 * there are such.  To those of parameters theirs is added. */
struct fast_hash_gradient {
	const float *out;
	float *q, *k, *v;
	float *anchor, *inverse_sigma, *planes, *threshold, *table;
};

int fast_hash_forward(const struct fast_hash *hash);
int fast_hash_backward(
    const struct fast_hash *hash, const struct fast_hash_gradient *gradient);

#endif /* ATTENTION_TRAINING_FAST_HASH_H */
