#ifndef BINARIZE_LOSS_H
#define BINARIZE_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/learn.h"
#include "binarize/queue.h"

/*
 * What a recurrent model learns from: losses over a batch's codes (struct learn_codes).
 * Each returns its value and adds its gradient at y, v and Q to codes' dy, dv and
 * dquery; a training loss is a sum of them.
 *
 * Each has a term on every prefix of planes, times `weights` (planes) of it, so that
 * the first b planes are a good code themselves; one whose weight is 0 costs nothing.
 *
 * A code is compared with another in one of two ways, as search does it:
 *
 *     LOSS_CODES    <v_q, v_d> / (|v_q| |v_d|)   the query coded too
 *     LOSS_FLOATS   f <y_q, v_d>, f = 1 / <y_d, v_d>   the query before its sign; where
 *                   y_d and v_d do not even point the same way, f = 1 / |v_d|
 *
 * A struct loss is working memory: its owner's.  Products run on blas's threads, the
 * rest on OpenMP's; the results do not depend on the number of the latter.
 */
enum loss_query {
	LOSS_CODES,
	LOSS_FLOATS,
};

struct loss_size {
	size_t rows; /* the largest batch */
	size_t dims, input_dims;
	size_t queue;   /* the queue's capacity, 0 for none */
	size_t hardest; /* the most negatives of a row */
};

struct loss;

/* blas is borrowed until loss_free.  NULL: ERR_MEMORY. */
struct loss *loss_new(
    const struct loss_size *size, const struct blas *blas, struct error *err);
void loss_free(struct loss *loss);

/* What makes <., v_d> of row i and prefix p a score: 1 / |v_d| or f. */
float loss_scale(
    const struct learn_codes *codes, size_t plane, size_t row, enum loss_query query);

/* Symmetric InfoNCE: of 2 n rows, i and n + i are a pair, and each has to find the
 * other among its `hardest` best-scored negatives (Gan et al., arXiv:2302.08714,
 * section 3.2; van den Oord et al., arXiv:1807.03748, eq. 4): -log( e^{s(i, i+) / t} /
 * (e^{s(i, i+) / t} + sum_negatives e^{s(i, j) / t}) ), the mean over all rows.
 * Negatives are the other half of the batch and the queue, but for items of the same
 * id. */
struct loss_pairs {
	enum loss_query query;
	float temperature; /* t; the paper's code has .05 */
	size_t hardest;    /* 1 .. loss_size's */
	const float *weights;
	const uint64_t *ids;       /* (n) which item the pair i is of */
	const struct queue *queue; /* NULL: none */
};

double loss_pairs(
    struct loss *loss, const struct learn_codes *codes, const struct loss_pairs *pairs);

/* What a code has lost of its vector, f being the best: the mean over rows of
 *     min_f |u - f Q^T v|^2 = 1 - cos^2(u, Q^T v). */
double loss_reconstruction(
    struct loss *loss, const struct learn_codes *codes, const float *weights);

/* Whether codes rank the batch as its floats do: the mean over rows i of the KL
 * divergence, over all other rows j, from
 *     softmax_j(<u_i, u_j> / t)  to  softmax_j(f_j <y_i, v_j> / t). */
double loss_ranking(struct loss *loss, const struct learn_codes *codes,
    const float *weights, float temperature);

#endif /* BINARIZE_LOSS_H */
