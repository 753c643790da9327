#ifndef BINARIZE_DENSE_H
#define BINARIZE_DENSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/rng.h"
#include "binarize/blas.h"

/*
 * A block of a model that learns: linear layers, with batch norm (where asked for) and
 * ReLU behind each but the last (Gan et al., arXiv:2302.08714, section 3.2; batch norm:
 * Ioffe & Szegedy, arXiv:1502.03167).
 *
 *     hidden layer:  y = relu(g * (W x - mean) / sqrt(variance + 1e-5) + b)    with
 * norm y = relu(W x + b)                                         without last layer: y
 * = W x + b
 *
 * A model's parameters lie in one array of floats and their gradients in an equal one,
 * so that a step, a clipping or a checkpoint is one loop however many blocks there are;
 * a third array holds what batch norm keeps running and no gradient reaches.  A block
 * owns no numbers, only the places of its own in these arrays, layer after layer:
 *
 *     params, grads:  W (out, in)   b (out)   g (out), hidden layers with norm
 *     running:        mean (out)   variance (out), hidden layers with norm
 *
 * Matrices are row-major; a batch is (rows, in).  A struct dense never changes once
 * placed.  A pass is its owner's, and two passes over the same numbers may not run at
 * once: training writes them.
 */
#define DENSE_LAYERS_MAX 8

struct dense_shape {
	size_t in, out; /* 1 .. */
	size_t layers;  /* 1 .. DENSE_LAYERS_MAX */
	size_t hidden;  /* outputs of each layer but the last */
	bool norm;
};

struct dense_layer {
	size_t in, out;
	bool hidden, norm;
	size_t weight, bias, gain; /* first places in params and grads */
	size_t mean, variance;     /* in running */
};

struct dense {
	struct dense_shape shape;
	struct dense_layer layers[DENSE_LAYERS_MAX];
};

/* Places taken so far in a model's arrays. */
struct dense_size {
	size_t params, running;
};

/* The arrays themselves, the caller's. */
struct dense_numbers {
	float *params, *grads; /* (params) */
	float *running;        /* (running) */
};

/* Place a block of this shape behind what is taken. */
void dense_init(
    struct dense *block, const struct dense_shape *shape, struct dense_size *taken);

/* Weights uniform within +-sqrt(6 / (in + out)) (Glorot & Bengio, AISTATS 2010), biases
 * and means 0, gains and variances 1. */
void dense_start_random(
    const struct dense *block, const struct dense_numbers *numbers, struct rng *rng);

/* The block as the linear map `map` (out, in): its one layer, or hidden units in pairs
 * relu(x) and relu(-x), of which 2 min(in, out) are needed; hidden units beyond look
 * at random directions, and nothing listens to them yet.  With norm, a pass in
 * DENSE_CALIBRATE over a sample makes it so.  ERR_INPUT: too few hidden units. */
int dense_start_map(const struct dense *block, const struct dense_numbers *numbers,
    const float *map, struct rng *rng, struct error *err);

/* What a batch goes through, kept for the way back. */
struct dense_pass;

/* For batches of up to `rows`; block, numbers' arrays and blas are borrowed until it is
 * freed.  NULL: ERR_MEMORY. */
struct dense_pass *dense_pass_new(const struct dense *block,
    const struct dense_numbers *numbers, const struct blas *blas, size_t rows,
    struct error *err);
void dense_pass_free(struct dense_pass *pass);

enum dense_mode {
	DENSE_EVALUATE, /* norm by what is kept running; nothing is kept for backward */
	DENSE_TRAIN,    /* norm by the batch, of at least 2 rows, a tenth of which (with
			 * the variance by rows - 1) goes into what is kept running */
	DENSE_CALIBRATE, /* as DENSE_TRAIN, after running := the batch's own and gain
			  * and bias := what makes norm change nothing */
};

/* y (rows, out) := the block of x (rows, in), which is borrowed until the backward. */
void dense_forward(struct dense_pass *pass, float *y, const float *x, size_t rows,
    enum dense_mode mode);

/* From dy (rows, out), the gradient at the last dense_forward's y, which was in
 * DENSE_TRAIN: the parameters' gradients are added to numbers' grads, and dx (rows, in)
 * := the gradient at x; NULL where nobody needs it. */
void dense_backward(struct dense_pass *pass, float *dx, const float *dy);

/* weight (out, in), bias (out) := layer j with its norm, as it is in DENSE_EVALUATE,
 * folded in. */
void dense_fold(const struct dense *block, const struct dense_numbers *numbers,
    size_t j, float *weight, float *bias);

#endif /* BINARIZE_DENSE_H */
