/* Claims: rotation and learned models give the codes, factors, queries and vectors that
 * numpy computes from the equations (tests/golden/make_recurrent.py); a learned model
 * built from the rotation's matrix gives the rotation's codes; what is saved comes
 * back; files and vectors that are not right are refused with a message; no write
 * leaves its buffer; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/tensors.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

static char path[512];

/* A model with its scratch; fails the test if there is none. */
struct bench {
	struct recurrent *model;
	struct recurrent_scratch *scratch;
};

static struct bench
bench_of(struct recurrent *model, const struct error *err)
{
	struct error scratch_err;
	struct bench b = {.model = model};
	if (!model)
		fail_msg("%s", err->text);
	b.scratch = recurrent_scratch_new(model, &scratch_err);
	assert_non_null(b.scratch);
	return b;
}

static struct bench
rotation(uint32_t input_dims, struct code_shape shape, uint64_t seed, const float *mean)
{
	struct error err;
	struct recurrent_rotation_config config = {input_dims, shape, seed, mean};
	struct recurrent *model = recurrent_new(&config, &err);
	return bench_of(model, &err);
}

static struct bench
from_file(const char *file, struct code_shape shape)
{
	struct error err;
	struct recurrent *model = recurrent_open(file, shape, &err);
	return bench_of(model, &err);
}

static void
bench_free(struct bench *b)
{
	recurrent_scratch_free(b->scratch);
	recurrent_free(b->model);
}

static void
assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.9g, expected %.9g", got, want);
}

static const void *
data_of(const struct tensors *file, const char *name)
{
	const struct tensor *t = tensors_find(file, name);
	assert_non_null(t);
	return t->data;
}

static void
check_golden(const char *name, struct code_shape shape)
{
	struct error err;
	char file[256];
	snprintf(file, sizeof file, "tests/golden/recurrent_%s.safetensors", name);
	struct bench b = from_file(file, shape);
	snprintf(
	    file, sizeof file, "tests/golden/recurrent_%s_results.safetensors", name);
	struct tensors *want = tensors_open(file, &err);
	assert_non_null(want);
	size_t d = recurrent_info(b.model).input_dims, bytes = code_bytes(shape);
	size_t n = tensors_find(want, "x")->shape[0];
	const float *xs = data_of(want, "x"), *factors = data_of(want, "factor");
	const float *int8_numbers = data_of(want, "int8_numbers");
	const float *sdc_numbers = data_of(want, "sdc_numbers");
	const float *decoded = data_of(want, "decoded");
	uint8_t *wire = guard_new(bytes);
	int8_t *k = guard_new(shape.dims);
	float *back = guard_new(d * sizeof *back);

	assert_true(n >= 8);
	for (size_t i = 0; i < n; i++) {
		float *x = guard_copy(xs + i * d, d * sizeof *x);
		struct recurrent_numbers numbers;
		struct recurrent_query query = {.k = k};
		assert_int_equal(
		    recurrent_encode(b.model, b.scratch, wire, &numbers, x, &err), 0);
		assert_memory_equal(
		    wire, (const uint8_t *)data_of(want, "wire") + i * bytes, bytes);
		assert_near(numbers.factor, factors[i], 1e-4 * fabsf(factors[i]));
		double norm2 = 0;
		for (size_t j = 0; j < d; j++)
			norm2 += (double)x[j] * (double)x[j];
		assert_near(numbers.norm2, norm2, 1e-6 * norm2);

		recurrent_decode(b.model, b.scratch, back, wire, numbers.factor);
		for (size_t j = 0; j < d; j++)
			assert_near(back[j], decoded[i * d + j],
			    2e-4 * (1 + fabsf(factors[i])));

		assert_int_equal(
		    recurrent_query_int8(b.model, b.scratch, &query, x, &err), 0);
		assert_memory_equal(k,
		    (const int8_t *)data_of(want, "int8") + i * shape.dims, shape.dims);
		assert_near(query.scale, int8_numbers[2 * i],
		    1e-5 * fabsf(int8_numbers[2 * i]));
		assert_near(query.base, int8_numbers[2 * i + 1], 1e-4);

		assert_int_equal(
		    recurrent_query_sdc(b.model, b.scratch, &query, x, &err), 0);
		assert_memory_equal(k,
		    (const int8_t *)data_of(want, "sdc") + i * shape.dims, shape.dims);
		assert_near(
		    query.scale, sdc_numbers[2 * i], 1e-4 * fabsf(sdc_numbers[2 * i]));
		assert_near(query.base, sdc_numbers[2 * i + 1], 1e-4);
		guard_free(x, d * sizeof *x);
	}
	guard_free(wire, bytes);
	guard_free(k, shape.dims);
	guard_free(back, d * sizeof *back);
	tensors_close(want);
	bench_free(&b);
}

static void
test_golden(void **state)
{
	(void)state;
	check_golden("learned", (struct code_shape){64, 3, 0});
	check_golden("padded", (struct code_shape){192, 4, 0});
	check_golden("projected", (struct code_shape){128, 2, 0});
}

static void
random_vector(struct rng *rng, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
}

/* P (m, d), row i being P^T of the i-th unit vector: decode gives it, by steps of one
 * level at a time, f = 1 and no mean. */
static float *
matrix_of(struct bench *b)
{
	struct recurrent_info info = recurrent_info(b->model);
	size_t m = info.shape.dims, d = info.input_dims;
	float *matrix = calloc(m * d, sizeof *matrix);
	float *all = calloc(2 * d, sizeof *all), *flipped = all + d;
	uint8_t wire[CODE_BYTES_MAX] = {0};
	assert_non_null(matrix);
	assert_non_null(all);
	recurrent_decode(b->model, b->scratch, all, wire, 1);
	for (size_t i = 0; i < m; i++) {
		wire[i / 8] = (uint8_t)(0x80 >> i % 8); /* plane 0: -1 -> +1 */
		recurrent_decode(b->model, b->scratch, flipped, wire, 1);
		wire[i / 8] = 0;
		for (size_t j = 0; j < d; j++)
			matrix[i * d + j] = (flipped[j] - all[j]) / 2;
	}
	free(all);
	return matrix;
}

/* The paper's model made of P alone: W = P, B = P^T, R = P.  Its plane 1 compares with
 * 1 (the unit length of the reconstruction) where the rotation compares with .9957 (the
 * fitted step), so coordinates between may differ and are left out. */
static void
test_learned_from_rotation(void **state)
{
	(void)state;
	enum { D = 128 };
	struct code_shape shape = {D, 2, 0};
	struct error err;
	struct rng rng;
	struct bench b = rotation(D, shape, 7, NULL);
	float *P = matrix_of(&b), *PT = calloc(D * D, sizeof *PT);
	static const float zeros[D];
	assert_non_null(PT);
	for (size_t i = 0; i < D; i++)
		for (size_t j = 0; j < D; j++)
			PT[j * D + i] = P[i * D + j];
	struct tensor list[] = {models_tensor("mean", zeros, D, 0),
	    models_tensor("base.0.weight", P, D, D),
	    models_tensor("base.0.bias", zeros, D, 0),
	    models_tensor("reconstruct.1.0.weight", PT, D, D),
	    models_tensor("reconstruct.1.0.bias", zeros, D, 0),
	    models_tensor("residual.1.0.weight", P, D, D),
	    models_tensor("residual.1.0.bias", zeros, D, 0),
	    models_tensor("query.weight", P, D, D)};
	struct tensors_pair metadata[] = {{"format", "halftone-binarizer"},
	    {"format_version", "1"}, {"kind", "recurrent"}, {"dims", "128"},
	    {"bits", "2"}, {"layers", "1"}};
	assert_int_equal(tensors_save(path, list, 8, metadata, 6, &err), 0);
	struct bench learned = from_file(path, shape);

	size_t different = 0, close = 0, total = 0;
	rng_init(&rng, test_seed(), 1);
	for (int t = 0; t < 400; t++) {
		float x[D];
		uint8_t wire[2][2 * D / 8], levels[2][D];
		struct recurrent_numbers numbers[2];
		random_vector(&rng, x, D);
		recurrent_encode(b.model, b.scratch, wire[0], &numbers[0], x, &err);
		recurrent_encode(
		    learned.model, learned.scratch, wire[1], &numbers[1], x, &err);
		assert_near(numbers[0].factor, numbers[1].factor, 5e-2);
		code_to_levels(levels[0], wire[0], shape);
		code_to_levels(levels[1], wire[1], shape);
		double length = sqrt((double)numbers[0].norm2 / D);
		for (size_t i = 0; i < D; i++) {
			double y = 0;
			for (size_t j = 0; j < D; j++)
				y += (double)P[i * D + j] * (double)x[j] / length;
			if (fabs(y) > 0.995 && fabs(y) < 1.001) {
				close++;
				continue;
			}
			different += levels[0][i] != levels[1][i];
			total++;
		}
	}
	assert_true(total > 40000 && close < total / 100);
	assert_true((double)different < 1e-4 * (double)total);
	free(P);
	free(PT);
	bench_free(&b);
	bench_free(&learned);
}

static void
test_vectors_refused(void **state)
{
	(void)state;
	enum { D = 100 };
	struct error err;
	struct code_shape shape = {64, 2, 0};
	struct bench b = rotation(D, shape, 1, NULL);
	uint8_t wire[16];
	int8_t k[64];
	struct recurrent_numbers numbers;
	struct recurrent_query query = {.k = k};
	static const struct {
		float value;
		const char *reason;
	} rows[] = {
	    {NAN, "position 99 of the vector, not nan"},
	    {INFINITY, "position 99 of the vector, not inf"},
	    {-INFINITY, "not -inf"},
	    {0, "a vector with a direction, not 100 zeros"},
	    {-0.0f, "a vector with a direction"},
	    {2e19f, "no longer than 1.8e19, not 2e+19"},
	    {3.4e38f, "no longer than"},
	    {1.8e19f, NULL},
	    {1e-19f, NULL},
	    {1e-45f, NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		float x[D] = {0};
		int want = rows[i].reason ? -1 : 0;
		x[99] = rows[i].value;
		assert_int_equal(
		    recurrent_encode(b.model, b.scratch, wire, &numbers, x, &err),
		    want);
		assert_true(want == 0 || strstr(err.text, rows[i].reason));
		assert_true(want == 0 || err.code == ERR_INPUT);
		assert_int_equal(
		    recurrent_query_int8(b.model, b.scratch, &query, x, &err), want);
		assert_int_equal(
		    recurrent_query_sdc(b.model, b.scratch, &query, x, &err), want);
		if (want == 0)
			assert_true(isfinite(numbers.factor) && isfinite(query.scale) &&
				    (numbers.factor > 0 || rows[i].value < 1e-40f));
	}
	bench_free(&b);
}

/* x = mean is a vector like others: its code says nothing, and its factor 0 says so. */
static void
test_at_the_mean(void **state)
{
	(void)state;
	struct error err;
	float mean[64], back[64];
	uint8_t wire[32];
	struct recurrent_numbers numbers = {.factor = -1};
	for (size_t i = 0; i < 64; i++)
		mean[i] = (float)i;
	struct bench b = rotation(64, (struct code_shape){64, 4, 0}, 1, mean);
	assert_int_equal(
	    recurrent_encode(b.model, b.scratch, wire, &numbers, mean, &err), 0);
	assert_true(numbers.factor == 0);
	assert_near(numbers.norm2, 85344, 0);
	recurrent_decode(b.model, b.scratch, back, wire, numbers.factor);
	assert_memory_equal(back, mean, sizeof mean);
	bench_free(&b);
}

static void
test_configs_refused(void **state)
{
	(void)state;
	struct error err;
	float mean[3] = {1, NAN, 2};
	struct recurrent_rotation_config config = {
	    .input_dims = 3, .shape = {64, 1, 0}, .mean = mean};
	assert_null(recurrent_new(&config, &err));
	assert_string_equal(err.text, "expected a finite mean, not nan at position 1");
	config.mean = NULL;
	config.input_dims = 0;
	assert_null(recurrent_new(&config, &err));
	config.input_dims = RECURRENT_INPUT_DIMS_MAX + 1;
	assert_null(recurrent_new(&config, &err));
	assert_int_equal(err.code, ERR_INPUT);
	config.input_dims = 3;
	config.shape.dims = 100;
	assert_null(recurrent_new(&config, &err));
	config.shape = (struct code_shape){64, 5, 0};
	assert_null(recurrent_new(&config, &err));
	assert_int_equal(err.code, ERR_INPUT);
}

static void
test_factor_of_code(void **state)
{
	(void)state;
	struct code_shape shape = {64, 2, 0};
	uint8_t levels[64], wire[16];
	double sum = 0;
	for (size_t i = 0; i < 64; i++) {
		levels[i] = i % 4;
		float v = code_value(levels[i], 2);
		sum += (double)(v * v);
	}
	code_from_levels(wire, levels, shape);
	const struct recurrent_rotation_config config = {64, shape, 1, NULL};
	struct error err;
	struct recurrent *model = recurrent_new(&config, &err);
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	assert_non_null(scratch);
	assert_near(recurrent_factor(model, scratch, wire, 3), 3 / sqrt(sum), 1e-7);
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_learned_from_rotation),
	    cmocka_unit_test(test_vectors_refused),
	    cmocka_unit_test(test_at_the_mean),
	    cmocka_unit_test(test_configs_refused),
	    cmocka_unit_test(test_factor_of_code),
	};
	snprintf(path, sizeof path, "%s/m.safetensors", test_folder());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
