#ifndef BINARIZE_LEARN_MODEL_H
#define BINARIZE_LEARN_MODEL_H

#include "binarize/learn.h"

/* What the parts of learn.h share.  Internal to binarize/learn*.c; threads as there. */

struct learn {
	struct learn_config config;
	struct dense base;
	struct dense
	    reconstruct[CODE_BITS_MAX]; /* [p], residual[p] make plane p >= 1 */
	struct dense residual[CODE_BITS_MAX];
	size_t query;  /* the place of Q (dims, input_dims) in params */
	size_t length; /* the place of g; g_p is length + p - 1 */
	struct dense_size size;
	struct dense_numbers numbers;
};

/* What a plane keeps of a batch. */
struct learn_plane {
	struct dense_pass *reconstruct, *residual; /* planes >= 1 */
	float *unit;    /* (rows, input_dims) B_p at length 1 */
	float *inverse; /* (rows) 1 / |B_p|; 0 where it is 0 */
	float *rest;    /* (rows, input_dims) u - g_p unit */
	float *z;       /* (rows, dims), deviation (dims): of struct estimator_batch */
	float *deviation;
	float *ds; /* (rows, dims) the gradient that came through the sign */
};

struct learn_pass {
	struct learn *learn;
	const struct blas *blas;
	size_t rows_max;
	struct estimator estimator;
	struct learn_codes codes;
	struct dense_pass *base;
	struct learn_plane planes[CODE_BITS_MAX];
	float *y, *v;   /* of codes */
	float *through; /* (rows, dims) the gradient at a plane's v from later planes */
	float *back;    /* (rows, dims) what one of them adds */
	float *drest;   /* (rows, input_dims) */
};

#endif /* BINARIZE_LEARN_MODEL_H */
