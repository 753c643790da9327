#ifndef TESTS_SUPPORT_SLOPE_H
#define TESTS_SUPPORT_SLOPE_H

#include <stddef.h>

#include "base/rng.h"

/*
 * Gradients against finite differences.  `value` gives a function of x (n), at whatever
 * stands there; it may write x's place only, and must give the same twice.
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
 * along several random directions and several single coordinates, to 1 in 100 of what
 * such a slope typically is.  Where differences of two steps disagree the
 * function has a kink there (ReLU) and the direction does not count; fails too if more
 * than half do not. */
void slope_check(const struct slope *slope, const float *gradient, struct rng *rng);

#endif /* TESTS_SUPPORT_SLOPE_H */
