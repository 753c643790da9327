#ifndef CLIENT_TRAIN_POPULATION_H
#define CLIENT_TRAIN_POPULATION_H

#include <stddef.h>

#include "base/rng.h"
#include "binarize/descent.h"

/*
 * Population Based Training (Jaderberg et al., 2017, arXiv:1711.09846): models learn
 * side by side with different tuning; now and then the worst quarter takes the place of
 * one of the best quarter, model and tuning ("exploit", by truncation), and each number
 * of that tuning is made a fifth larger or smaller ("explore").
 *
 * Two numbers of a tuning that are 0 stay 0.  One member alone is never touched.
 */
#define TRAIN_POPULATION_STREAM 0x504254 /* "PBT": of the seed */

struct train_member {
	struct descent *descent; /* borrowed */
	double overlap;          /* what its model is worth now */
};

/* Tunings to begin with: the first member's as it is, others' within a factor of 2. */
void train_population_spread(struct train_member *members, size_t n, struct rng *rng);

/* The place of the best; of equal ones the first. */
size_t train_population_best(const struct train_member *members, size_t n);

/* Exploit and explore. */
void train_population_evolve(struct train_member *members, size_t n, struct rng *rng);

/* Say on stderr what the best member's tuning has become. */
void train_population_show(const struct train_member *members, size_t n, size_t best);

#endif /* CLIENT_TRAIN_POPULATION_H */
