#ifndef BINARIZE_COMPATIBLE_RANK_H
#define BINARIZE_COMPATIBLE_RANK_H

#include <stdint.h>

#include "base/error.h"
#include "binarize/compatible.h"

/*
 * Steps of Adam on a map by which new queries search old codes, so that the codes rank
 * items as the new vectors do.  With v_j the old code of item j and f_j its factor, of
 * batches of pairs
 *
 *     mean over i of KL( softmax_{j /= i}(<n_i, n_j> / t)
 *                     || softmax_{j /= i}(f_j <T^T n_i, v_j> / t) ),    t = .05
 *
 * (as loss_ranking in loss.h has it for codes that learn; here they stay).  map
 * (dims of old's codes, pairs->dims) := T^T, from what it was; mean (pairs->dims) :=
 * the a that with it takes nothing from n_j - f_j T v_j but its mean, so that scores
 * are those of new vectors on average.  The same for a seed, a number of BLAS's threads
 * and a machine.  ERR_MEMORY, ERR_INPUT for a vector that cannot be coded; map is then
 * spoilt.
 */
int compatible_rank(float *map, float *mean, const struct recurrent *old,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err);

#endif /* BINARIZE_COMPATIBLE_RANK_H */
