/* Claims of binarize/estimator.h: each estimator's slope is its formula's, written out
 * at chosen places, and the slope of its smooth function; the forward gives signs,
 * sign(0) = +1, whatever a column's size; the backward is the slope of the smooth
 * forward, column sizes included, by finite differences, and leaves column sizes alone;
 * the power runs from 1 to its end; the indicators are the numbers that the header
 * names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "binarize/estimator.h"
#include "tests/support/guard.h"
#include "tests/support/slope.h"

static void
assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.9g, expected %.9g", got, want);
}

static void
test_formulas(void **state)
{
	(void)state;
	/* ReSTE's values: python3 -c "print(.1**(-2/3), .5**(-2/3)/3, 1.5**(-.5)/2)" */
	static const struct {
		enum estimator_kind kind;
		float power, z, slope;
	} rows[] = {
	    {ESTIMATOR_STE, 1, 0, 1},
	    {ESTIMATOR_STE, 1, 1, 1},
	    {ESTIMATOR_STE, 1, 1.001f, 0},
	    {ESTIMATOR_BIPER, 1, 0, 2},
	    {ESTIMATOR_BIPER, 1, 0.25f, 1.5f},
	    {ESTIMATOR_BIPER, 1, 1.25f, 0},
	    {ESTIMATOR_RESTE, 1, 0.05f, 1},
	    {ESTIMATOR_RESTE, 1, 1.4f, 1},
	    {ESTIMATOR_RESTE, 1, 1.6f, 0},
	    {ESTIMATOR_RESTE, 3, 0, 4.64158883f},
	    {ESTIMATOR_RESTE, 3, 0.1f, 4.64158883f},
	    {ESTIMATOR_RESTE, 3, 0.5f, 0.52913368f},
	    {ESTIMATOR_RESTE, 2, 1.5f, 0.40824829f},
	    {ESTIMATOR_RESTE, 2, 1.501f, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct estimator e = {rows[i].kind, rows[i].power, false};
		assert_near((double)estimator_slope(&e, rows[i].z),
		    (double)rows[i].slope, 1e-6);
		assert_near((double)estimator_slope(&e, -rows[i].z),
		    (double)rows[i].slope, 1e-6);
	}
	assert_near((double)estimator_power(0, 3), 1, 0);
	assert_near((double)estimator_power(0.5f, 3), 3 - sqrt(2), 1e-6);
	assert_near((double)estimator_power(1, 3), 3, 1e-6);
}

static const struct estimator all[] = {
    {ESTIMATOR_STE, 1, true},
    {ESTIMATOR_BIPER, 1, true},
    {ESTIMATOR_RESTE, 1, true},
    {ESTIMATOR_RESTE, 1.7f, true},
    {ESTIMATOR_RESTE, 3, true},
};
#define N_ALL (sizeof all / sizeof *all)

/* F' is the slope of F but where it jumps, and F is odd and rises. */
static void
test_value(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_ALL; k++)
		for (int step = 0; step < 64; step++) {
			float h = 0.002f, at = (float)step / 32 + 0.01f;
			float up = estimator_value(&all[k], at + h);
			float down = estimator_value(&all[k], at - h);
			assert_true(up >= down && down > 0);
			assert_true(estimator_value(&all[k], -at) ==
				    -estimator_value(&all[k], at));
			assert_near((double)((up - down) / (2 * h)),
			    (double)estimator_slope(&all[k], at), 5e-3);
		}
}

/* A batch whose columns have sizes of their own. */
enum { ROWS = 11, N = 70 };
struct rig {
	struct estimator e;
	struct estimator_batch batch;
	float *x, *s, *dx, *weights, *z, *inverse;
};

static void
rig_init(struct rig *r, const struct estimator *e, struct rng *rng)
{
	const size_t bytes = ROWS * N * sizeof(float);
	r->e = *e;
	r->x = guard_new(bytes);
	r->s = guard_new(bytes);
	r->dx = guard_new(bytes);
	r->weights = guard_new(bytes);
	r->z = guard_new(bytes);
	r->inverse = guard_new(N * sizeof(float));
	r->batch = (struct estimator_batch){ROWS, N, r->z, r->inverse};
	for (size_t i = 0; i < ROWS * N; i++) {
		r->x[i] = rng_normal(rng) * (float)(1 + i % N % 5);
		r->weights[i] = rng_normal(rng);
	}
}

static void
rig_free(struct rig *r)
{
	const size_t bytes = ROWS * N * sizeof(float);
	guard_free(r->x, bytes);
	guard_free(r->s, bytes);
	guard_free(r->dx, bytes);
	guard_free(r->weights, bytes);
	guard_free(r->z, bytes);
	guard_free(r->inverse, N * sizeof(float));
}

static double
value(void *context)
{
	struct rig *r = context;
	double sum = 0;
	estimator_forward(&r->e, &r->batch, r->s, r->x);
	for (size_t i = 0; i < ROWS * N; i++)
		sum += (double)r->s[i] * (double)r->weights[i];
	return sum;
}

static void
test_backward(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (size_t k = 0; k < N_ALL; k++) {
		struct rig r;
		rig_init(&r, &all[k], &rng);
		(void)value(&r);
		estimator_backward(&r.e, &r.batch, r.dx, r.weights);
		struct slope slope = {"x", value, &r, r.x, ROWS * N, 0.002f};
		slope_check(&slope, r.dx, &rng);
		for (size_t j = 0; j < N; j++) {
			double along = 0;
			for (size_t i = 0; i < ROWS; i++)
				along +=
				    (double)r.dx[i * N + j] * (double)r.x[i * N + j];
			assert_near(along, 0, 1e-4);
		}
		rig_free(&r);
	}
}

static void
test_signs(void **state)
{
	(void)state;
	struct rng rng;
	struct rig r;
	rng_init(&rng, test_seed(), 2);
	rig_init(&r, &(struct estimator){ESTIMATOR_RESTE, 2, false}, &rng);
	for (size_t i = 0; i < ROWS; i++)
		r.x[i * N] = 0; /* a column of zeros */
	r.x[1] = 0;
	r.x[2] = -0.0f;
	(void)value(&r);
	for (size_t i = 0; i < ROWS * N; i++)
		assert_true(r.s[i] == (r.x[i] >= 0 ? 1.0f : -1.0f));
	estimator_backward(&r.e, &r.batch, r.dx, r.weights);
	for (size_t i = 0; i < ROWS * N; i++)
		assert_true(isfinite(r.dx[i]) && (i % N != 0 || r.dx[i] == 0));

	/* What is 1,000 times as large gives the same signs, and 1 / 1,000 the
	 * gradient. */
	float *before = guard_copy(r.dx, ROWS * N * sizeof *before);
	for (size_t i = 0; i < ROWS * N; i++)
		r.x[i] *= 1000;
	(void)value(&r);
	estimator_backward(&r.e, &r.batch, r.dx, r.weights);
	for (size_t i = 0; i < ROWS * N; i++)
		assert_near(1000 * (double)r.dx[i], (double)before[i], 1e-4);

	double errors = 0, sum = 0, squares = 0;
	for (size_t i = 0; i < ROWS * N; i++) {
		double missed = (double)(r.s[i] - estimator_value(&r.e, r.z[i]));
		errors += missed * missed;
		sum += (double)r.dx[i];
		squares += (double)r.dx[i] * (double)r.dx[i];
	}
	struct estimator_indicators found = estimator_indicators(&r.e, &r.batch, r.dx);
	double n = ROWS * N, variance = squares / n - sum / n * (sum / n);
	assert_near(found.error, sqrt(errors / n), 1e-6);
	assert_near(found.stability, variance, 1e-3 * variance);
	guard_free(before, ROWS * N * sizeof *before);
	rig_free(&r);
}

/* A higher power comes nearer to the sign, with gradients that vary more: the balance
 * that ReSTE's paper is about. */
static void
test_equilibrium(void **state)
{
	(void)state;
	struct estimator_indicators found[3];
	struct rng rng;
	for (int k = 0; k < 3; k++) {
		struct rig r;
		struct estimator e = {ESTIMATOR_RESTE, (float)(k + 1), false};
		rng_init(&rng, test_seed(), 3);
		rig_init(&r, &e, &rng);
		(void)value(&r);
		estimator_backward(&r.e, &r.batch, r.dx, r.weights);
		found[k] = estimator_indicators(&r.e, &r.batch, r.dx);
		rig_free(&r);
	}
	assert_true(found[0].error > found[1].error && found[1].error > found[2].error);
	assert_true(found[2].stability > found[1].stability);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_formulas),
	    cmocka_unit_test(test_value),
	    cmocka_unit_test(test_backward),
	    cmocka_unit_test(test_signs),
	    cmocka_unit_test(test_equilibrium),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
