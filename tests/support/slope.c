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

#define DIRECTIONS 40
#define COUNTED 30
#define TOLERANCE 0.02

/* The value's slope along `direction` from x as it was, by a central difference. */
static double
difference(const struct slope *s, const float *before, const float *direction)
{
	double value[2], step = (double)s->step;
	for (int side = 0; side < 2; side++) {
		double at = side ? -step : step;
		for (size_t i = 0; i < s->n; i++)
			s->x[i] =
			    (float)((double)before[i] + at * (double)direction[i]);
		value[side] = s->value(s->context);
	}
	memcpy(s->x, before, s->n * sizeof *s->x);
	return (value[0] - value[1]) / (2 * step);
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void
slope_check(const struct slope *s, const float *gradient, struct rng *rng)
{
	float *before = malloc(s->n * sizeof *before);
	float *direction = malloc(s->n * sizeof *direction);
	double slopes = 0, errors[DIRECTIONS], sum = 0;
	assert_non_null(before);
	assert_non_null(direction);
	memcpy(before, s->x, s->n * sizeof *before);
	for (int t = 0; t < DIRECTIONS; t++) {
		/* Of unit length on average, or a single coordinate. */
		bool single = t % 2;
		size_t one = rng_below(rng, s->n);
		double said = 0;
		for (size_t i = 0; i < s->n; i++) {
			direction[i] = single ? (float)(i == one)
					      : rng_normal(rng) / sqrtf((float)s->n);
			said += (double)direction[i] * (double)gradient[i];
		}
		double slope = difference(s, before, direction);
		slopes += slope * slope;
		errors[t] = (said - slope) * (said - slope);
	}
	qsort(errors, DIRECTIONS, sizeof *errors, ascending);
	for (int t = 0; t < COUNTED; t++)
		sum += errors[t];
	double off = sqrt(sum / COUNTED), size = sqrt(slopes / DIRECTIONS);
	free(before);
	free(direction);
	if (!(size > 0 && off < TOLERANCE * size))
		fail_msg("%s: slopes of %.4g, the gradient is off by %.2g", s->name,
		    size, off);
}
