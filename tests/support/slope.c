#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/slope.h"

#define DIRECTIONS 24
#define TOLERANCE 1e-2

/* The value's central difference along `direction`, from x as it was. */
static double
difference(
    const struct slope *s, const float *before, const float *direction, double step)
{
	double value[2];
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < s->n; i++)
			s->x[i] = (float)((double)before[i] +
					  (side ? -step : step) * (double)direction[i]);
		value[side] = s->value(s->context);
	}
	memcpy(s->x, before, s->n * sizeof *s->x);
	return (value[0] - value[1]) / (2 * step);
}

void
slope_check(const struct slope *s, const float *gradient, struct rng *rng)
{
	float *before = malloc(s->n * sizeof *before);
	float *direction = malloc(s->n * sizeof *direction);
	double length2 = 0;
	int smooth = 0;
	assert_non_null(before);
	assert_non_null(direction);
	memcpy(before, s->x, s->n * sizeof *before);
	for (size_t i = 0; i < s->n; i++)
		length2 += (double)gradient[i] * (double)gradient[i];
	if (!(length2 > 0))
		fail_msg("%s: the gradient is %g", s->name, length2);

	/* Of a coordinate of a unit vector; a slope along one is typically |gradient|
	 * times it. */
	double typical = 1 / sqrt((double)s->n);
	double bound = TOLERANCE * sqrt(length2) * typical;
	for (int t = 0; t < DIRECTIONS; t++) {
		/* Of unit length on average, or a single coordinate. */
		bool single = t % 2;
		size_t one = rng_below(rng, s->n);
		double want = 0;
		for (size_t i = 0; i < s->n; i++) {
			direction[i] = single ? (float)(i == one)
					      : rng_normal(rng) * (float)typical;
			want += (double)direction[i] * (double)gradient[i];
		}
		double wide = difference(s, before, direction, (double)s->step);
		double narrow = difference(s, before, direction, (double)s->step / 2);
		if (fabs(wide - narrow) > bound / 2)
			continue;
		smooth++;
		if (fabs(narrow - want) > bound)
			fail_msg("%s, direction %d: slope %.6g, expected %.6g +- %.2g",
			    s->name, t, want, narrow, bound);
	}
	if (smooth < DIRECTIONS / 2)
		fail_msg("%s: only %d of %d directions were smooth", s->name, smooth,
		    DIRECTIONS);
	free(before);
	free(direction);
}
