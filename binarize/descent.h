#ifndef BINARIZE_DESCENT_H
#define BINARIZE_DESCENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/checkpoint.h"
#include "binarize/learn.h"

/*
 * Learning a recurrent model (learn.h) by gradients, step by step, from vectors and
 * from pairs of them that belong together (Gan et al., arXiv:2302.08714, section 3.2).
 * A step: a random batch of pairs; its codes; four losses (loss.h), each on every
 * prefix of planes; gradients, clipped at a length of 5; a step of Adam; then the
 * follower's codes of the batch go into the momentum queue.
 *
 * The rate rises over the first sixteenth of the steps, as Adam's first ones know
 * little, and falls to 0 along half a cosine; ReSTE's power rises meanwhile from 1
 * to 3. Training starts at the untrained quantiser (learn_start_rotation).  The result
 * is the same for a seed, a number of threads and a machine.
 *
 * Owner only.
 */

/* What may change while it learns. */
struct descent_tuning {
	float rate;        /* of Adam, at its highest */
	float temperature; /* of the ranking and of pairs */

	/* Of each loss, shared among the prefixes; one of weight 0 costs nothing. */
	float reconstruction;
	float ranking;
	float codes;  /* pairs, both coded */
	float floats; /* pairs, the query before its sign */
};

struct descent_config {
	const struct blas *blas; /* borrowed until descent_free */
	struct learn_config model;
	enum estimator_kind estimator;
	uint64_t seed;
	uint64_t steps; /* of the whole training */
	size_t pairs;   /* of a batch, which has twice as many rows */
	size_t hardest; /* negatives of a row */
	size_t queue;   /* rows of the momentum queue */
};

/* What is learned from, borrowed until descent_free. */
struct descent_data {
	const float *u; /* (n, input_dims), without the mean, at length 1 */
	size_t n;
	const uint32_t *left, *right; /* (n_pairs) rows of u */
	const uint64_t *ids;          /* (n_pairs) of right: which item it is */
	size_t n_pairs;               /* at least 1 */
};

struct descent;

/* At step 0.  NULL: ERR_INPUT as learn_new and learn_start_rotation, ERR_MEMORY. */
struct descent *descent_new(const struct descent_config *config,
    const struct descent_tuning *tuning, const struct descent_data *data,
    struct error *err);
void descent_free(struct descent *descent);

/* The loss of the batch, before the step.  A gradient that is not finite is left out.
 * Opens OpenMP regions. */
double descent_step(struct descent *descent);

/* Steps taken. */
uint64_t descent_steps(const struct descent *descent);

/* The model, valid until descent_free. */
struct learn *descent_learn(struct descent *descent);

/* The tuning, to be read and changed between steps. */
struct descent_tuning *descent_tuning(struct descent *descent);

/* Model, moments, follower and queue of `to` := those of `from`, a descent of the same
 * config but for its seed; its random choices and its tuning stay. */
void descent_copy(struct descent *to, const struct descent *from);

/* Of the last step, over all planes' signs. */
struct estimator_indicators descent_indicators(const struct descent *descent);

/* Add all that later steps depend on. */
void descent_parts(struct descent *descent, struct checkpoint *checkpoint);

#endif /* BINARIZE_DESCENT_H */
