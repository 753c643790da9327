/* Property of binarize/compatible.h: where a new encoder is the old one turned, into as
 * many dimensions or more, an older binarizer's codes give new queries the scores that
 * they give old ones, but for 8-bit rounding; of any size, shape and kind, from a
 * printed seed.  (Codes whose map goes on to learn are in test_compatible.)
 * Skipped, with a line, where OpenBLAS is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "binarize/compatible.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

#define D 128
#define N 600
#define ROUNDS 6

static float old_rows[N * D], new_rows[N * D], turned[D * D], mean[D];

/* Rows of turned (e, d) := orthonormal, by Gram and Schmidt. */
static void
make_turn(struct rng *rng, size_t e, size_t d)
{
	for (size_t i = 0; i < e; i++) {
		float *row = turned + i * d;
		for (size_t k = 0; k < d; k++)
			row[k] = rng_normal(rng);
		for (size_t j = 0; j < i; j++) {
			double along = recurrent_dot(row, turned + j * d, d);
			for (size_t k = 0; k < d; k++)
				row[k] -= (float)along * turned[j * d + k];
		}
		float inverse = (float)(1 / sqrt(recurrent_dot(row, row, d)));
		for (size_t k = 0; k < d; k++)
			row[k] *= inverse;
	}
}

static void
make_rows(struct rng *rng, size_t e, size_t d)
{
	memset(new_rows, 0, sizeof new_rows);
	for (size_t i = 0; i < N; i++) {
		float *o = old_rows + i * e;
		for (size_t j = 0; j < e; j++)
			o[j] = rng_normal(rng) / (float)(j + 3);
		float inverse = (float)(1 / sqrt(recurrent_dot(o, o, e)));
		for (size_t j = 0; j < e; j++)
			o[j] *= inverse;
		for (size_t j = 0; j < e; j++)
			for (size_t k = 0; k < d; k++)
				new_rows[i * d + k] += o[j] * turned[j * d + k];
	}
}

static struct recurrent *
rotation(size_t d, struct code_shape shape, uint64_t seed)
{
	struct error err;
	const struct recurrent_rotation_config config = {
	    (uint32_t)d, shape, seed, mean};
	struct recurrent *model = recurrent_new(&config, &err);
	assert_non_null(model);
	return model;
}

/* The score of a code, with f, and *bound := what rounding may have changed. */
static double
score(double *bound, const struct recurrent *model, const float *q, const float *v,
    double f)
{
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	size_t m = recurrent_info(model).shape.dims;
	int8_t k[CODE_DIMS_MAX];
	struct recurrent_query query = {.k = k};
	double sum = 0, lengths = 0;

	assert_non_null(scratch);
	assert_int_equal(recurrent_query_int8(model, scratch, &query, q, &err), 0);
	for (size_t i = 0; i < m; i++) {
		sum += (double)k[i] * (double)v[i];
		lengths += fabs((double)v[i]);
	}
	*bound = f * (double)query.scale * lengths / 2 + 1e-4;
	recurrent_scratch_free(scratch);
	return (double)query.base + f * (double)query.scale * sum;
}

static void
check_scores(const struct recurrent *before, const struct recurrent *now,
    struct rng *rng, size_t e, size_t d)
{
	struct code_shape shape = recurrent_info(before).shape;
	float v[CODE_DIMS_MAX] = {0};

	for (size_t i = 0; i < 50; i++) {
		double bounds[2];
		size_t q = rng_below(rng, N);
		for (size_t j = 0; j < shape.dims; j++)
			v[j] = code_value(
			    (uint8_t)rng_below(rng, 1u << shape.bits), shape.bits);
		double f = 1 / sqrt(recurrent_dot(v, v, shape.dims));
		double want = score(&bounds[0], before, old_rows + q * e, v, f);
		double got = score(&bounds[1], now, new_rows + q * d, v, f);
		if (!(fabs(got - want) <= bounds[0] + bounds[1]))
			fail_msg("%zu -> %zu, %u x %u: %g, not %g", e, d, shape.dims,
			    shape.bits, got, want);
	}
}

static void
test_turned(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < ROUNDS; round++) {
		size_t e = 8 + rng_below(&rng, D - 8);
		size_t d = e + rng_below(&rng, D - e + 1);
		struct code_shape shape = {64 * (1 + (uint32_t)rng_below(&rng, 3)),
		    1 + (uint32_t)rng_below(&rng, 4), 0};
		make_turn(&rng, e, d);
		make_rows(&rng, e, d);
		for (size_t j = 0; j < D; j++)
			mean[j] = rng_normal(&rng) / 50;
		struct recurrent *first = rotation(e, shape, 1);
		struct recurrent *second = rotation(e, shape, 2);
		struct recurrent *third = rotation(d, (struct code_shape){64, 1, 0}, 3);
		const struct compatible_pairs pairs = {old_rows, new_rows, N, e, d};
		assert_int_equal(
		    compatible_add(second, first, NULL, test_blas(), 1, &err), 0);
		assert_int_equal(
		    compatible_add(third, second, &pairs, test_blas(), 1, &err), 0);
		check_scores(
		    first, recurrent_searching(third, recurrent_id(first)), &rng, e, d);
		recurrent_free(first);
		recurrent_free(second);
		recurrent_free(third);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_turned)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
