#ifndef BINARIZE_QUEUE_H
#define BINARIZE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/learn.h"

/*
 * The momentum queue: codes of rows of earlier batches, as negatives for later ones.
 * They are made by a model that follows the one that learns slowly (learn_follow), so
 * that old ones still agree with new ones (He et al., "Momentum Contrast", CVPR 2020,
 * arXiv:1911.05722; in BEBR: arXiv:2302.08714, section 3.2).  No gradient reaches them.
 *
 * A ring: when it is full, the oldest make room.  Owner only.
 */
struct queue {
	size_t capacity, planes, dims;
	size_t n;      /* rows in it */
	size_t next;   /* where the next row goes */
	float *v;      /* (planes, capacity, dims) */
	float *unit;   /* (planes, capacity) 1 / |v| */
	float *factor; /* (planes, capacity) f = 1 / <y, v> */
	uint64_t *ids; /* (capacity) of the items */
};

/* An empty queue for `capacity` >= 1 rows.  ERR_MEMORY; *queue is then all zeros. */
int queue_init(struct queue *queue, size_t capacity, size_t planes, size_t dims,
    struct error *err);
void queue_free(struct queue *queue);

/* Append the first n rows of these codes; ids (n) says which items they are of.  Of
 * more rows than it holds, the last stay. */
void queue_push(struct queue *queue, const struct learn_codes *codes, size_t n,
    const uint64_t *ids);

#endif /* BINARIZE_QUEUE_H */
