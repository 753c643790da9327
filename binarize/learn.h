#ifndef BINARIZE_LEARN_H
#define BINARIZE_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/dense.h"
#include "binarize/estimator.h"
#include "binarize/recurrent.h"

/*
 * A recurrent model while it learns: forward over a batch with all that the way back
 * needs, and gradients from a loss on every prefix of planes.  Gan et al., "Binary
 * Embedding-based Retrieval at Tencent", KDD 2023, arXiv:2302.08714, section 3.2:
 *
 *     v_0 = sign(W(u));   v_p = v_{p-1} + 2^-p sign(R_p(u - g_p B_p(v_{p-1}) / |...|))
 *
 * for p = 1 .. bits - 1, where W, B_p and R_p are blocks (dense.h), and u is a vector
 * less the model's mean, at unit length.  Beside the code stands y = Q u, Q a linear
 * map: the inner product of u's code with a query q is f <Q q, v>, f = 1 / <y, v>.
 *
 * g_p, one number a plane, is not in the paper (there it is 1).  With a reconstruction
 * always as long as u itself, planes from the third on cannot be those of the untrained
 * quantiser: it would lose .9942 -> .9916 of cosine at 4 bits before it began.
 *
 * BEBR's baseline, a perceptron to m * B sign bits, is the model of shape (m * B, 1):
 * W alone.
 *
 * All parameters lie in one array (dense.h): W's, then B_1's, R_1's, B_2's, ..., then
 * Q (dims, input_dims) and g (bits - 1).
 *
 * Owner only; a model's passes take turns.
 */
struct learn_config {
	uint32_t input_dims;
	struct code_shape shape;
	size_t layers; /* of every block, 1 .. DENSE_LAYERS_MAX; 1 = linear */
	size_t hidden; /* width of their hidden layers, where there are any */
	bool norm;     /* batch norm in them */
};

struct learn;

/* A model whose numbers are all 0 until it is started.  NULL: ERR_INPUT for a shape
 * that recurrent.h would not open, ERR_MEMORY. */
struct learn *learn_new(const struct learn_config *config, struct error *err);
void learn_free(struct learn *learn);

/* The model's arrays, valid until learn_free, and how long they are. */
struct dense_numbers learn_numbers(const struct learn *learn);
struct dense_size learn_size(const struct learn *learn);

/* Everything of `slow` := momentum * itself + (1 - momentum) * that of `fast`, a model
 * of the same config: 0 copies.  He et al., "Momentum Contrast", CVPR 2020, eq. 2. */
void learn_follow(struct learn *slow, const struct learn *fast, float momentum);

/* What a batch goes through, kept for the way back. */
struct learn_pass;

/* For batches of up to `rows`; learn and blas are borrowed until it is freed.  NULL:
 * ERR_MEMORY. */
struct learn_pass *learn_pass_new(
    struct learn *learn, const struct blas *blas, size_t rows, struct error *err);
void learn_pass_free(struct learn_pass *pass);

/* Start at the untrained quantiser, the rotation of this seed: its codes are those of
 * recurrent_new, but for ties and, of planes from the third on, a few in 100 signs
 * (where B_p(v)'s length is not what it is on average).  Holds for dims = input_dims;
 * where they differ, the codes are as good and not the same.  Blocks with hidden layers
 * need 2 min(dims, input_dims) hidden units.  u (rows, input_dims), at least 2 and at
 * most what the pass holds, is a sample to measure lengths and norms with.  ERR_INPUT,
 * ERR_MEMORY. */
int learn_start_rotation(struct learn_pass *pass, uint64_t seed, const float *u,
    size_t rows, struct error *err);

/* Start at random blocks and Q, g = 1. */
void learn_start_random(struct learn *learn, uint64_t seed);

/* A batch's codes and the gradients that a loss adds at them. */
struct learn_codes {
	size_t rows, planes, dims, input_dims;
	const float *u;     /* (rows, input_dims) */
	const float *y;     /* (rows, dims) Q u */
	const float *v;     /* (planes, rows, dims) values of each prefix */
	const float *query; /* (dims, input_dims) Q */
	float *dy, *dv;     /* as y and v; zeros after learn_forward */
	float *dquery;      /* as query, in the model's gradients */
};

/* The codes of u (rows, input_dims), which is borrowed until the backward.  Valid until
 * the next forward. */
const struct learn_codes *learn_forward(struct learn_pass *pass, const float *u,
    size_t rows, enum dense_mode mode, const struct estimator *estimator);

/* From the gradients at the last forward's codes, which was in DENSE_TRAIN: those of
 * all parameters are added to the model's.  With an estimator that is smooth they are
 * the true ones. */
void learn_backward(struct learn_pass *pass);

/* Of plane p's sign, after learn_backward. */
struct estimator_indicators learn_indicators(
    const struct learn_pass *pass, uint32_t plane);

/* A copy of the model as recurrent.h has it, norms folded in; mean (input_dims).  NULL:
 * ERR_INPUT for a mean that is not finite, ERR_MEMORY. */
struct recurrent *learn_model(
    const struct learn *learn, const float *mean, struct error *err);

#endif /* BINARIZE_LEARN_H */
