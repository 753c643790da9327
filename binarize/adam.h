#ifndef BINARIZE_ADAM_H
#define BINARIZE_ADAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Adam over one flat array of parameters (Kingma & Ba, "Adam: A Method for Stochastic
 * Optimization", ICLR 2015, arXiv:1412.6980, algorithm 1), and clipping before it:
 *
 *     first := b1 first + (1 - b1) g      second := b2 second + (1 - b2) g^2
 *     x := x - rate * (first / (1 - b1^steps)) / (sqrt(second / (1 - b2^steps)) + e)
 *
 * with b1 = .9, b2 = .999, e = 1e-8, as PyTorch has it.  Owner only.
 */
struct adam {
	float *first, *second; /* (n): with steps, all that a checkpoint needs */
	size_t n;
	uint64_t steps; /* taken so far */
};

/* For n parameters, at step 0.  ERR_MEMORY; *adam is then all zeros. */
int adam_init(struct adam *adam, size_t n, struct error *err);
void adam_free(struct adam *adam);

/* One step of x (n) against its gradient (n), rate > 0. */
void adam_step(struct adam *adam, float *x, const float *gradient, float rate);

/* gradient (n) := itself, no longer than `longest`; its length before.  A length that
 * is not finite is returned, and the gradient left: such a step is the caller's to
 * leave out. */
double adam_clip(float *gradient, size_t n, double longest);

#endif /* BINARIZE_ADAM_H */
