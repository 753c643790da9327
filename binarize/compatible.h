#ifndef BINARIZE_COMPATIBLE_H
#define BINARIZE_COMPATIBLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/recurrent.h"

/*
 * What a new model has to know to search the codes of an older one: T and a of
 * recurrent.h.
 *
 * Of the same encoder, the older model's own: T^T = Q, a = mu, its centres.
 *
 * Of another encoder, by items that have vectors of both, rows of O (n, e) and N (n, d)
 * at length 1.  Of all matrices (e, d) whose rows (or columns, if they are fewer) are
 * orthonormal,
 *     R = the polar factor of O^T N
 * has the largest sum of <o_i, R n_i> (Schönemann, "A generalized solution of the
 * orthogonal Procrustes problem", Psychometrika 1966); by it new queries go to where
 * the old vectors lie (Drift-Adapter, arXiv:2509.23471):
 *     <q, x> ~ <R q, x_old>,    so  T^T = Q R,  a = R^T mu,  centres R^T c
 *
 * and from there T and a go on to what ranks the items as their new vectors do
 * (compatible_rank.h).  A regression of the new vectors on the codes misses less of
 * them and ranks worse: it shortens what it is unsure of, each document by another
 * share (docs/binarizer.md has all three).
 *
 * Any thread; products run on blas's threads.
 */
struct compatible_pairs {
	const float *old; /* O (n, old_dims) */
	const float *now; /* N (n, dims) */
	size_t n;
	size_t old_dims, dims;
};

/* Have `model` know `old` and all that `old` knows (by R alone: their codes are not at
 * hand), before any other thread sees it.  pairs NULL: the encoder is the same.
 * ERR_INPUT: other dims than these; as recurrent_add_older, and what was added before
 * stays then.  ERR_MEMORY. */
int compatible_add(struct recurrent *model, const struct recurrent *old,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err);

/* The same before the new model has been made: a model of its vectors that knows the
 * same and encodes nothing.  NULL: as compatible_add. */
struct recurrent *compatible_new(const struct recurrent *old,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err);

/* Have `model`, of the same vectors, know all that `from` knows.  Errors as
 * recurrent_add_older. */
int compatible_hand_on(
    struct recurrent *model, const struct recurrent *from, struct error *err);

#endif /* BINARIZE_COMPATIBLE_H */
