#ifndef ATTENTION_TRAINING_FAST_HASH_PIECE_H
#define ATTENTION_TRAINING_FAST_HASH_PIECE_H

/* What fast_hash_forward() and _backward() have in memory of one text and head. */
#include "attention/training/fast/hash.h"
#include "attention/training/fast/lanes.h"

enum { BITS = FAST_HASH_BITS_MAX, WIDTH = FAST_HASH_WIDTH_MAX };

/* Floats in a row in memory: what is there, then zeros up to a multiple of LANES. */
struct widths {
	size_t dims, features, bits, tokens;
};

/* One head's parameters, as they are and turned, for products either way. */
struct head {
	float anchor[WIDTH * WIDTH], anchor_turned[WIDTH * WIDTH]; /* (anchors, dims) */
	float planes[BITS * WIDTH], planes_turned[WIDTH * BITS]; /* (bits, features) */
	float threshold[BITS];
	float inverse_sigma;
	float table[BITS + 1], slope[BITS + 1]; /* w, its change by a group more */
};

/* What one thread has summed for a head: z and z^2 of queries and of keys (forward),
 * gradients of the parameters (backward). */
struct sums {
	double z[2][BITS], square[2][BITS];
	float anchor[WIDTH * WIDTH], planes[BITS * WIDTH], threshold[BITS];
	float inverse_sigma, table[BITS + 1];
};

/* Queries or keys of one text and head; `_d` is the loss's gradient by what it is named
 * after. */
struct side {
	float *x, *x_d;             /* (n, dims) unit vectors */
	float *inverse;             /* (n) 1 / length */
	float *near;                /* (n, anchors) <x, anchor> - 1 */
	float *feature, *feature_d; /* (n, features); x where there are no anchors */
	float *z, *z_d;             /* (n, bits) */
	float *h;                   /* (n, bits) +1 or -1 */
	uint32_t *word;             /* (n) */
};

/* One text and head. */
struct piece {
	const struct fast_hash *hash;
	const struct head *head;
	struct sums *sums;
	struct widths wide;
	size_t n, features;
	struct side queries, keys; /* one and the same where shared */
	float *v, *v_turned, *v_d; /* (n, dims), (dims, n) */
	float *out, *out_d;        /* (n, dims) */
	float *weight, *weight_d;  /* (n, n) */
	float *total;              /* (n) sums of a row's weights */
	uint32_t *differ;          /* (n, n) groups that differ */
	uint32_t *equal, *apart;   /* (n) see movable_bits() */
};

/* to (n, width of dims) := rows of one head of a text. */
INLINE void
gather(float *to, const struct piece *p, const float *from)
{
	const size_t dims = p->hash->dims, step = p->hash->heads * dims;

	for (size_t i = 0; i < p->n; i++, to += p->wide.dims, from += step)
		memcpy(to, from, dims * sizeof(float));
}

/* And back; what is behind the text's end is 0. */
INLINE void
scatter(float *to, const struct piece *p, const float *from)
{
	const size_t dims = p->hash->dims, step = p->hash->heads * dims;

	for (size_t i = 0; i < p->n; i++, from += p->wide.dims, to += step)
		memcpy(to, from, dims * sizeof(float));
	for (size_t i = p->n; i < p->hash->longest; i++, to += step)
		memset(to, 0, dims * sizeof(float));
}

INLINE void
clear(float *x, size_t rows, size_t width)
{
	memset(x, 0, rows * width * sizeof(float));
}

#endif /* ATTENTION_TRAINING_FAST_HASH_PIECE_H */
