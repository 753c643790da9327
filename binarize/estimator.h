#ifndef BINARIZE_ESTIMATOR_H
#define BINARIZE_ESTIMATOR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Gradients through a sign.  The sign of x has slope 0 wherever it has one; going back,
 * an estimator puts the slope of a smooth function F in its place, at z = x /
 * deviation:
 *
 *     ESTIMATOR_STE     F' = 1 for |z| <= 1, 0 beyond.  Bengio et al., "Estimating or
 *                       Propagating Gradients", arXiv:1308.3432; clipped as in Hubara
 *                       et al., "Binarized Neural Networks", NeurIPS 2016
 *     ESTIMATOR_BIPER   F' = max(0, 2 - 2 |z|).  Liu et al., "Bi-Real Net", ECCV 2018;
 *                       what BiPer (Vargas et al., CVPR 2024) has for activations
 *     ESTIMATOR_RESTE   F = sign(z) |z|^(1/o):  F' = |z|^(1/o - 1) / o for
 *                       .1 < |z| <= 1.5, .1^(1/o - 1) for |z| <= .1, 0 beyond 1.5.  Wu
 *                       et al., "Estimator Meets Equilibrium", ICCV 2023
 *
 * The deviation of a column is the root of its mean square over the batch: about 0, the
 * threshold, so that no column's numbers are all out of reach.  The gradient goes
 * through it too, and so never says to change a column's size, which no sign shows.
 *
 * Nothing here allocates, locks or fails.  Any thread may call.
 */
enum estimator_kind {
	ESTIMATOR_STE,
	ESTIMATOR_RESTE,
	ESTIMATOR_BIPER,
};

struct estimator {
	enum estimator_kind kind;
	float power; /* ReSTE's o, 1 (about STE) .. 3; unused by others */
	bool smooth; /* F itself instead of the sign, so that slopes can be measured */
};

/* ReSTE's power when the share `done` (0 .. 1) of training is over:
 * 1 + (end - 1) (1 - cos(pi done / 2)), from 1 to `end`. */
float estimator_power(float done, float end);

/* F and F' at z. */
float estimator_value(const struct estimator *e, float z);
float estimator_slope(const struct estimator *e, float z);

/* A batch (rows, n) and what is kept of it, in the caller's memory. */
struct estimator_batch {
	size_t rows, n;
	float *z;       /* (rows, n) */
	float *inverse; /* (n) 1 / deviation; 0 for a column of zeros */
};

/* s (rows, n) := signs of x (rows, n), sign(0) = +1; or F(z) where e->smooth. */
void estimator_forward(const struct estimator *e, const struct estimator_batch *batch,
    float *s, const float *x);

/* dx (rows, n) := the gradient at x, from ds (rows, n); they may be the same. */
void estimator_backward(const struct estimator *e, const struct estimator_batch *batch,
    float *dx, const float *ds);

/* The two numbers by which ReSTE's paper compares estimators (section 3.1). */
struct estimator_indicators {
	double error;     /* estimating error: root mean square of sign(z) - F(z) */
	double stability; /* variance of the entries of dx: the less, the stabler */
};

struct estimator_indicators estimator_indicators(
    const struct estimator *e, const struct estimator_batch *batch, const float *dx);

#endif /* BINARIZE_ESTIMATOR_H */
