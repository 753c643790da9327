#ifndef BINARIZE_LOSS_MODEL_H
#define BINARIZE_LOSS_MODEL_H

#include "base/heap.h"
#include "binarize/loss.h"

/* What the parts of loss.h share.  Internal to binarize/loss*.c; threads as there. */

#define LOSS_PARALLEL_MIN 65536 /* scores for which threads are worth waking */

/* A row's negatives as they were chosen. */
struct loss_chosen {
	size_t n;       /* hits kept */
	float positive; /* the slope of the positive's score */
};

struct loss {
	struct loss_size size;
	const struct blas *blas;
	float *wanted;              /* (rows, rows) */
	float *scores;              /* (rows, rows), or (n, n + queue) for n pairs */
	float *slopes;              /* (rows, rows) of the loss in scores */
	float *decoded;             /* (rows, input_dims) Q^T v, then its gradient */
	struct hit *hits;           /* (n, hardest): column and, at last, slope */
	struct loss_chosen *chosen; /* (n) */
	float *scale;               /* (rows) of loss_scale */
	double *dscale;             /* (rows) the gradient at them */
	double *values;             /* (rows) what each adds to the loss */
	double *entropy;            /* (rows) of wanted */
};

/* From the gradient at what loss_scale gave. */
void loss_scale_backward(const struct learn_codes *codes, size_t plane, size_t row,
    enum loss_query query, double dscale);

#endif /* BINARIZE_LOSS_MODEL_H */
