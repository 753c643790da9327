/* Claims: the streams are for ever (their first numbers, as an independent Python
 * implementation of xoshiro256** gives them: tests/golden/make_recurrent.py), streams
 * differ, and the distributions are what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "tests/support/guard.h"

static void
test_golden(void **state)
{
	(void)state;
	static const struct {
		uint64_t seed, stream, want[3];
	} rows[] = {
	    {0u, 0u,
		{18110106563157542208u, 8650457082529208451u, 3032169436225125478u}},
	    {42u, 5394260u,
		{981498732464925681u, 8670726838434253753u, 15632581217879228413u}},
	    {18446744073709551615u, 1u,
		{15589582835314059129u, 12153801442225935004u, 1509553683800666338u}},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rng rng;
		rng_init(&rng, rows[i].seed, rows[i].stream);
		for (size_t j = 0; j < 3; j++)
			assert_true(rng_u64(&rng) == rows[i].want[j]);
	}
}

static void
test_distributions(void **state)
{
	(void)state;
	enum { N = 200000 };
	struct rng rng;
	double sum = 0, normal = 0, square = 0;
	size_t count[7] = {0};
	rng_init(&rng, test_seed(), 1);
	for (int i = 0; i < N; i++) {
		uint64_t below = rng_below(&rng, 7);
		float u = rng_uniform(&rng);
		double x = (double)rng_normal(&rng);
		assert_true(below < 7 && u >= 0 && u < 1 && isfinite(x));
		count[below]++;
		sum += (double)u;
		normal += x;
		square += x * x;
	}
	for (size_t i = 0; i < 7; i++) /* six standard deviations */
		assert_true(fabs((double)count[i] - N / 7.0) < 6 * sqrt(N * 6.0 / 49));
	assert_true(fabs(sum / N - 0.5) < 6 * sqrt(1.0 / 12 / N));
	assert_true(fabs(normal / N) < 6 / sqrt(N));
	assert_true(fabs(square / N - 1) < 6 * sqrt(2.0 / N));
	assert_int_equal(rng_below(&rng, 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_distributions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
