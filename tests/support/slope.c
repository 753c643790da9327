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

/* What differences along a direction say. */
struct differences {
	double slope;
	double kink; /* how much they disagree with a smooth function's */
};

/* Central differences of two steps, which a kink beside x sets apart, and second ones,
 * which shrink with the step but for a kink at x itself. */
static struct differences
differences(const struct slope *s, const float *before, const float *direction)
{
	double value[5], step = (double)s->step;
	for (int k = 0; k < 5; k++) {
		double at = step * (k - 2) / 2;
		for (size_t i = 0; i < s->n; i++)
			s->x[i] =
			    (float)((double)before[i] + at * (double)direction[i]);
		value[k] = s->value(s->context);
	}
	memcpy(s->x, before, s->n * sizeof *s->x);
	double wide = (value[4] - value[0]) / (2 * step);
	double narrow = (value[3] - value[1]) / step;
	double second = (value[4] - 2 * value[2] + value[0]) / step;
	double second_narrow = (value[3] - 2 * value[2] + value[1]) / (step / 2);
	return (struct differences){
	    narrow, fmax(fabs(wide - narrow), fabs(second - 2 * second_narrow))};
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
		struct differences found = differences(s, before, direction);
		if (found.kink > bound)
			continue;
		smooth++;
		if (fabs(found.slope - want) > bound)
			fail_msg("%s, direction %d: gradient says %.6g, slope is %.6g "
				 "+- %.2g",
			    s->name, t, want, found.slope, bound);
	}
	if (smooth < DIRECTIONS / 2)
		fail_msg("%s: only %d of %d directions were smooth", s->name, smooth,
		    DIRECTIONS);
	free(before);
	free(direction);
}
