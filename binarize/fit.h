#ifndef BINARIZE_FIT_H
#define BINARIZE_FIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "binarize/blas.h"

/*
 * Learning the linear maps of refine.h from vectors alone.
 *
 * What is wanted is Q (m, d) such that the unit vectors u_i = (x_i - mu) / |x_i - mu|
 * are near Q^T v_i, v_i being their codes.  Two steps take turns, and neither can make
 *     sum_i |u_i - Q^T v_i|^2
 * larger but by the ridge: given Q the codes go on from where they are, level by level
 * (refine_again); given the codes, Q is the ridge regression of the vectors on them.
 *
 * W follows from Q: codes of new vectors begin with what W expects of them.
 *
 * The first Q is a random rotation behind a half of whitening: the directions of the
 * vectors count by the fourth root of their variance.  From the untrained rotation's Q
 * the same turns end where 4 bits miss a third more.
 *
 * The result is the same for a seed, a number of threads and a machine.
 */
struct fit_config {
	const struct blas *blas; /* borrowed until fit_free */
	struct code_shape shape;
	uint64_t seed; /* of the rotation to begin with */
	size_t input_dims;
};

struct fit;

/* Of u (n, input_dims), borrowed until fit_free, rows of length 1; n > 0.  Keeps a byte
 * a dimension a row.  NULL: ERR_MEMORY, ERR_INPUT. */
struct fit *fit_new(
    const struct fit_config *config, const float *u, size_t n, struct error *err);
void fit_free(struct fit *fit);

/* A turn: codes, then Q.  *missed := the mean of |u_i - Q^T v_i|^2 with the new codes
 * and the Q they were made with (1 would be nothing at all, 0 everything).  ERR_MEMORY,
 * ERR_INPUT where the regression has no solution; the fit is then as it was but for
 * codes.  Opens OpenMP regions. */
int fit_turn(struct fit *fit, double *missed, struct error *err);

/* Q and W (m, d), valid until the next turn. */
const float *fit_map(const struct fit *fit);
const float *fit_base(const struct fit *fit);

#endif /* BINARIZE_FIT_H */
