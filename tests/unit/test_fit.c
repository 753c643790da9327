/*
 * Claims of binarize/fit.h and of refined models, on synthetic vectors whose directions
 * vary unequally, from a printed seed:
 *  - from the second turn on every turn misses less than the one before, or as much;
 *  - vectors that the fit has not seen find more of their float neighbours by its codes
 *    than by the untrained rotation's, at 1, 2 and 4 bits;
 *  - a decoded code has the vector's length, and its inner product with a query is what
 *    the int8 query says, but for rounding;
 *  - a coded query says what its decoded vector says;
 *  - the same seed gives the same map, another seed another.
 * Skipped, with a line, where OpenBLAS is not installed.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "binarize/fit.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "client/train_check.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

#define D 96
#define M 128
#define TRAIN 6000
#define DOCUMENTS 1500
#define QUERIES 100
#define TURNS 5

static float rows[(TRAIN + DOCUMENTS + QUERIES) * D];
static float mean[D];

static void
normalise(float *x)
{
	float inverse = (float)(1.0 / sqrt(recurrent_dot(x, x, D)));
	for (size_t j = 0; j < D; j++)
		x[j] *= inverse;
}

/* Direction j varies as 1 / (j + 3), in a basis of reflections. */
static void
make_rows(struct rng *rng)
{
	float axis[3][D];
	for (int r = 0; r < 3; r++) {
		for (size_t j = 0; j < D; j++)
			axis[r][j] = rng_normal(rng);
		normalise(axis[r]);
	}
	for (size_t i = 0; i < TRAIN + DOCUMENTS + QUERIES; i++) {
		float *x = rows + i * D;
		for (size_t j = 0; j < D; j++)
			x[j] = rng_normal(rng) / (float)(j + 3) + (j == 5 ? 0.1f : 0);
		for (int r = 0; r < 3; r++) {
			float along = 2 * (float)recurrent_dot(x, axis[r], D);
			for (size_t j = 0; j < D; j++)
				x[j] -= along * axis[r][j];
		}
		normalise(x);
	}
	memset(mean, 0, sizeof mean);
	for (size_t i = 0; i < TRAIN; i++)
		for (size_t j = 0; j < D; j++)
			mean[j] += rows[i * D + j] / TRAIN;
}

static float units[TRAIN * D];

static struct fit *
begin(const struct blas *blas, uint32_t bits, uint64_t seed)
{
	struct error err;
	const struct fit_config config = {
	    .blas = blas, .shape = {M, bits}, .seed = seed, .input_dims = D};
	for (size_t i = 0; i < TRAIN; i++) {
		for (size_t j = 0; j < D; j++)
			units[i * D + j] = rows[i * D + j] - mean[j];
		normalise(units + i * D);
	}
	struct fit *fit = fit_new(&config, units, TRAIN, &err);
	assert_non_null(fit);
	return fit;
}

static struct recurrent *
refined(const struct blas *blas, uint32_t bits)
{
	struct error err;
	struct fit *fit = begin(blas, bits, 1);
	double before = 1.0, missed;
	for (int turn = 0; turn < TURNS; turn++) {
		assert_int_equal(fit_turn(fit, &missed, &err), 0);
		assert_true(missed > 0.0 && missed < before * (1 + 1e-4));
		before = missed;
	}
	const struct recurrent_refined_config config = {
	    D, {M, bits}, mean, fit_map(fit), fit_base(fit)};
	struct recurrent *model = recurrent_new_refined(&config, &err);
	assert_non_null(model);
	fit_free(fit);
	return model;
}

static void
test_overlap(void **state)
{
	static const double gain[] = {[1] = 0.08, [2] = 0.05, [4] = 0.01};
	const struct blas *blas = test_blas();
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	make_rows(&rng);
	struct train_check check = {.blas = blas,
	    .documents = rows + TRAIN * D,
	    .queries = rows + (TRAIN + DOCUMENTS) * D,
	    .n_documents = DOCUMENTS,
	    .n_queries = QUERIES,
	    .dims = D};
	assert_int_equal(train_check_init(&check, &err), 0);
	for (uint32_t bits = 1; bits <= 4; bits *= 2) {
		double found, control;
		const struct recurrent_rotation_config config = {
		    D, {M, bits}, RECURRENT_UNTRAINED_SEED, mean};
		struct recurrent *rotation = recurrent_new(&config, &err);
		struct recurrent *model = refined(blas, bits);
		assert_int_equal(train_check_run(&control, &check, rotation, &err), 0);
		assert_int_equal(train_check_run(&found, &check, model, &err), 0);
		printf(
		    "%u bits: overlap@10 %.3f, untrained %.3f\n", bits, found, control);
		assert_true(found > control + gain[bits]);
		recurrent_free(rotation);
		recurrent_free(model);
	}
	train_check_free(&check);
}

static double
score(
    const struct recurrent_query *q, float factor, const uint8_t *levels, uint32_t bits)
{
	double sum = 0;
	for (size_t i = 0; i < M; i++)
		sum += q->k[i] * (double)code_value(levels[i], bits);
	return (double)q->base + (double)(q->scale * factor) * sum;
}

static void
test_estimates(void **state)
{
	const struct blas *blas = test_blas();
	struct error err;
	struct rng rng;
	float x[D], decoded[D];
	uint8_t wire[CODE_BYTES_MAX], levels[M], own[M];
	struct recurrent_numbers numbers;
	int8_t k[M];
	struct recurrent_query query = {.k = k};
	(void)state;

	rng_init(&rng, test_seed(), 2);
	make_rows(&rng);
	struct recurrent *model = refined(blas, 2);
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	assert_non_null(scratch);
	for (size_t i = 0; i < DOCUMENTS; i++) {
		const float *q = rows + (TRAIN + DOCUMENTS + i % QUERIES) * D;
		for (size_t j = 0; j < D; j++)
			x[j] = 3 * rows[(TRAIN + i) * D + j];
		assert_int_equal(
		    recurrent_encode(model, scratch, wire, &numbers, x, &err), 0);
		code_to_levels(levels, wire, (struct code_shape){M, 2});
		recurrent_decode(model, scratch, decoded, wire, numbers.factor);
		double length = 0, want = 0;
		for (size_t j = 0; j < D; j++) {
			double left = (double)x[j] - (double)mean[j];
			want += left * left;
			left = (double)decoded[j] - (double)mean[j];
			length += left * left;
		}
		assert_true(fabs(length / want - 1) < 1e-4);
		float again = recurrent_factor(model, scratch, wire, (float)sqrt(want));
		assert_true(fabsf(again / numbers.factor - 1) < 1e-4f);

		double exact = recurrent_dot(q, decoded, D);
		assert_int_equal(
		    recurrent_query_int8(model, scratch, &query, q, &err), 0);
		assert_true(
		    fabs(score(&query, numbers.factor, levels, 2) - exact) < 0.05);

		/* q by its own code: the vector that this decodes to, as long as q */
		assert_int_equal(
		    recurrent_query_sdc(model, scratch, &query, q, &err), 0);
		double coded = score(&query, numbers.factor, levels, 2);
		assert_int_equal(recurrent_query_code(model, scratch, own, q, &err), 0);
		code_from_levels(wire, own, (struct code_shape){M, 2});
		float near[D];
		recurrent_decode(model, scratch, near, wire,
		    recurrent_factor(model, scratch, wire, 1));
		double base = recurrent_dot(q, mean, D), sum = base;
		for (size_t j = 0; j < D; j++)
			sum += (double)(near[j] - mean[j]) *
			       (double)(decoded[j] - mean[j]);
		assert_true(fabs(coded - sum) < 0.05);
	}
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
test_seeds(void **state)
{
	const struct blas *blas = test_blas();
	struct error err;
	struct rng rng;
	double missed;
	static float maps[3][M * D];
	(void)state;

	rng_init(&rng, test_seed(), 3);
	make_rows(&rng);
	for (int i = 0; i < 3; i++) {
		struct fit *fit = begin(blas, 1, i < 2 ? 1 : 2);
		for (int turn = 0; turn < 2; turn++)
			assert_int_equal(fit_turn(fit, &missed, &err), 0);
		memcpy(maps[i], fit_map(fit), sizeof maps[i]);
		fit_free(fit);
	}
	assert_memory_equal(maps[0], maps[1], sizeof maps[0]);
	assert_memory_not_equal(maps[0], maps[2], sizeof maps[0]);
	fit_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_overlap),
	    cmocka_unit_test(test_estimates),
	    cmocka_unit_test(test_seeds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
