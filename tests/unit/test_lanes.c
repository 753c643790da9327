/*
 * Claims of attention/lanes.h, for its lanes in plain C (what the kernels of other
 * levels make of theirs is compared with it in test_rows.c and test_softmax.c):
 *  - exp is within 2e-7 of expl over its range, and clamps beyond;
 *  - rounding is half to even, comparisons and choices are the header's with NaN;
 *  - lanes_first and lanes_transpose at every count, at guard pages.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/lanes.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static float
exp_of(float x)
{
	float y[16];

	lanes_store(y, lanes_exp(lanes_set(x)));
	for (size_t i = 1; i < 16; i++)
		assert_memory_equal(y, y + i, sizeof *y);
	return y[0];
}

static void
test_exp(void **state)
{
	enum { N = 200000 };
	long double worst = 0;

	(void)state;
	for (size_t i = 0; i <= N; i++) {
		const float x = -87 + 175 * (float)i / N;
		const long double error = fabsl(exp_of(x) / expl(x) - 1);
		worst = error <= worst ? worst : error; /* NaN too */
	}
	print_message("largest relative error %.2Lg\n", worst);
	assert_true(worst <= 2e-7L);
	assert_true(exp_of(0) == 1);
	assert_true(exp_of(-0.0f) == 1);
	assert_true(exp_of(1e-41f) == 1);
	assert_true(exp_of(-INFINITY) == exp_of(-87));
	assert_true(exp_of(-1e30f) == exp_of(-87));
	assert_true(exp_of(INFINITY) == exp_of(88));
	assert_true(isnan(exp_of(NAN)));
}

static void
test_rounding(void **state)
{
	const float x[16] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f,
	    0.49999997f, 1, -127, 3.7f, -3.7f, 8388609, -4194304.5f, 16777216};
	const int32_t want[16] = {0, 2, 2, 0, -2, -2, 126, -126, 0, 1, -127, 4, -4,
	    8388609, -4194304, 16777216};
	struct lanes_int got = lanes_to_int(lanes_load(x));

	(void)state;
	assert_memory_equal(got.v, want, sizeof want);
	assert_int_equal(lanes_int_sum(lanes_int_add(got, lanes_int_set(1))),
	    16 + 8388609 - 4194304 + 16777216 + 1 - 127);
}

static void
test_order(void **state)
{
	const float x[4] = {1, 2, NAN, 2}, y[4] = {2, 1, 1, NAN};
	float min[16], max[16];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct lanes a = lanes_set(x[i]), b = lanes_set(y[i]);
		lanes_store(min, lanes_min(a, b));
		lanes_store(max, lanes_max(a, b));
		assert_memory_equal(min, x[i] < y[i] ? x + i : y + i, sizeof *x);
		assert_memory_equal(max, x[i] > y[i] ? x + i : y + i, sizeof *x);
		assert_int_equal(
		    lanes_mask_bits(lanes_less(a, b)), x[i] < y[i] ? 0xFFFF : 0);
		assert_int_equal(
		    lanes_mask_bits(lanes_at_least(a, b)), x[i] >= y[i] ? 0xFFFF : 0);
	}
	assert_int_equal(
	    lanes_mask_bits(lanes_at_least(lanes_set(1), lanes_set(1))), 0xFFFF);
}

static void
test_first_and_transpose(void **state)
{
	const size_t stride = 19;
	struct rng rng;
	float *out = guard_new(256 * sizeof *out);

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (size_t n = 0; n <= 16; n++) {
		float first[16];
		lanes_store(first, lanes_first(lanes_set(3), n, 5));
		for (size_t i = 0; i < 16; i++)
			assert_true(first[i] == (i < n ? 3 : 5));
		if (n == 0)
			continue;
		const size_t floats = (n - 1) * stride + 16;
		float *in = guard_new(floats * sizeof *in);
		for (size_t i = 0; i < floats; i++)
			in[i] = rng_normal(&rng);
		lanes_transpose(out, in, stride, n);
		for (size_t d = 0; d < 16; d++)
			for (size_t j = 0; j < 16; j++)
				assert_true(out[16 * d + j] ==
					    (j < n ? in[j * stride + d] : 0));
		guard_free(in, floats * sizeof *in);
	}
	guard_free(out, 256 * sizeof *out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_exp),
	    cmocka_unit_test(test_rounding),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_first_and_transpose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
