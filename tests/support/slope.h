#ifndef TESTS_SUPPORT_SLOPE_H
#define TESTS_SUPPORT_SLOPE_H

#include <stddef.h>

#include "base/rng.h"

/*
 * Gradients against finite differences.  `value` gives a function of x (n), at whatever
 * stands there; it must give the same twice.
 */
struct slope {
	const char *name; /* of what is differentiated, for the message */
	double (*value)(void *context);
	void *context;
	float *x;
	size_t n;
	float step; /* in units of x */
};

/* Fails the running test unless `gradient` (n) gives the slopes of central differences
 * along 40 random directions and single coordinates: over the 30 that agree best, what
 * they differ by is below 2 % of the slopes (root mean squares; typically it is .03 %).
 * The others may have a kink of a ReLU within the step: floats leave room for no step
 * without. */
void slope_check(const struct slope *slope, const float *gradient, struct rng *rng);

#endif /* TESTS_SUPPORT_SLOPE_H */
