/* Claims of binarize/learn.h: with a smooth estimator the gradient is the slope of
 * finite differences in every parameter, through blocks, lengths and prefixes, at 1 to
 * 4 bits, linear and with hidden layers and norm; a model that was started at the
 * rotation gives recurrent_new's codes; what is saved and opened gives the codes and
 * factors of the trainer's own evaluation; a follower follows; what cannot be is
 * refused; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/learn.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"
#include "tests/support/slope.h"

static const struct estimator hard = {ESTIMATOR_STE, 1, false};

/* A model with a pass and a batch. */
struct rig {
	struct rng rng;
	struct learn *learn;
	struct learn_pass *pass;
	struct dense_numbers numbers;
	struct dense_size size;
	struct estimator estimator;
	size_t rows;
	float *u;       /* (rows, input_dims) */
	float *weights; /* of each entry of v and then y in the value */
};

static void
rig_init(struct rig *r, const struct learn_config *config, size_t rows)
{
	struct error err;
	memset(r, 0, sizeof *r);
	rng_init(&r->rng, test_seed(), config->shape.bits);
	r->learn = learn_new(config, &err);
	if (!r->learn)
		fail_msg("%s", err.text);
	r->pass = learn_pass_new(r->learn, test_blas(), rows, &err);
	assert_non_null(r->pass);
	r->numbers = learn_numbers(r->learn);
	r->size = learn_size(r->learn);
	r->rows = rows;
	size_t d = config->input_dims;
	size_t n = rows * config->shape.dims * (config->shape.bits + 1);
	r->u = calloc(rows * d, sizeof *r->u);
	r->weights = calloc(n, sizeof *r->weights);
	assert_non_null(r->u);
	assert_non_null(r->weights);
	for (size_t i = 0; i < rows; i++) {
		float *u = r->u + i * d;
		for (size_t j = 0; j < d; j++)
			u[j] = rng_normal(&r->rng);
		double length = sqrt(recurrent_dot(u, u, d));
		for (size_t j = 0; j < d; j++)
			u[j] = (float)((double)u[j] / length);
	}
	for (size_t i = 0; i < n; i++)
		r->weights[i] = rng_normal(&r->rng);
}

static void
rig_free(struct rig *r)
{
	learn_pass_free(r->pass);
	learn_free(r->learn);
	free(r->u);
	free(r->weights);
}

static double
value(void *context)
{
	struct rig *r = context;
	const struct learn_codes *codes =
	    learn_forward(r->pass, r->u, r->rows, DENSE_TRAIN, &r->estimator);
	size_t n = codes->rows * codes->dims, n_v = n * codes->planes;
	double sum = 0;
	for (size_t i = 0; i < n_v; i++)
		sum += (double)codes->v[i] * (double)r->weights[i];
	for (size_t i = 0; i < n; i++)
		sum += (double)codes->y[i] * (double)r->weights[n_v + i];
	return sum;
}

static void
check_backward(const struct learn_config *config, const struct estimator *estimator)
{
	struct rig r;
	rig_init(&r, config, 200); /* many: a kink is one row's */
	r.estimator = *estimator;
	learn_start_random(r.learn, rng_u64(&r.rng));
	for (uint32_t p = 1; p < config->shape.bits; p++) /* g_p is last */
		r.numbers.params[r.size.params - p] = 0.7f + 0.1f * (float)p;
	(void)value(&r);
	const struct learn_codes *codes =
	    learn_forward(r.pass, r.u, r.rows, DENSE_TRAIN, &r.estimator);
	size_t n = codes->rows * codes->dims;
	for (size_t i = 0; i < n * codes->planes; i++)
		codes->dv[i] += r.weights[i];
	for (size_t i = 0; i < n; i++)
		codes->dy[i] += r.weights[n * codes->planes + i];
	learn_backward(r.pass);
	struct slope slope = {
	    "parameters", value, &r, r.numbers.params, r.size.params, 0.001f};
	slope_check(&slope, r.numbers.grads, &r.rng);

	/* The lengths alone: few among so many, and each moves every kink there is. */
	if (config->shape.bits > 1 && config->layers == 1) {
		size_t at = r.size.params - (config->shape.bits - 1);
		struct slope lengths = {"lengths", value, &r, r.numbers.params + at,
		    config->shape.bits - 1, 0.003f};
		slope_check(&lengths, r.numbers.grads + at, &r.rng);
	}
	rig_free(&r);
}

static void
test_backward(void **state)
{
	(void)state;
	/* The one without jumps in its slope; test_estimator.c has all. */
	static const struct estimator smooth = {ESTIMATOR_BIPER, 1, true};
	for (uint32_t bits = 1; bits <= 4; bits++) {
		check_backward(
		    &(struct learn_config){10, {64, bits, 0}, 1, 0, false}, &smooth);
		check_backward(
		    &(struct learn_config){10, {64, bits, 0}, 2, 24, false}, &smooth);
		check_backward(
		    &(struct learn_config){10, {64, bits, 0}, 2, 24, true}, &smooth);
	}
}

/* v (dims) := the values of a code in wire form. */
static void
values_of(float *v, const uint8_t *wire, struct code_shape shape)
{
	uint8_t levels[CODE_DIMS_MAX];
	code_to_levels(levels, wire, shape);
	for (size_t i = 0; i < shape.dims; i++)
		v[i] = code_value(levels[i], shape.bits);
}

/* The cosine of u and Q^T v: how well the code stands for the vector. */
static double
decoded_cosine(const struct learn_codes *codes, const float *u, const float *v)
{
	size_t m = codes->dims, d = codes->input_dims;
	float g[256] = {0};
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < d; j++)
			g[j] += v[i] * codes->query[i * d + j];
	return recurrent_dot(u, g, d) / sqrt(recurrent_dot(g, g, d));
}

/* A model against `learn` over its batch, of vectors u scaled and moved by mean. */
struct compared {
	double values;       /* the share of values that differ */
	double rows;         /* the share of codes that do */
	double cosine;       /* the mean of decoded_cosine */
	double cosine_learn; /* of the same of `learn` */
	double factor;       /* the largest relative difference of a factor */
};

static struct compared
compare(struct rig *r, const struct recurrent *model, const float *mean)
{
	struct error err;
	struct compared c = {0, 0, 0, 0, 0};
	struct recurrent_info info = recurrent_info(model);
	size_t d = info.input_dims, m = info.shape.dims;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	float x[256], v[256];
	uint8_t wire[CODE_BYTES_MAX];
	const struct learn_codes *codes =
	    learn_forward(r->pass, r->u, r->rows, DENSE_EVALUATE, &hard);
	const float *last = codes->v + (codes->planes - 1) * r->rows * m;
	assert_non_null(scratch);
	assert_true(d <= 256 && m <= 256);
	for (size_t i = 0; i < r->rows; i++) {
		struct recurrent_numbers numbers;
		const float *y = codes->y + i * m;
		for (size_t j = 0; j < d; j++)
			x[j] = 3 * r->u[i * d + j] + (mean ? mean[j] : 0);
		assert_int_equal(
		    recurrent_encode(model, scratch, wire, &numbers, x, &err), 0);
		values_of(v, wire, info.shape);
		size_t different = 0;
		for (size_t j = 0; j < m; j++)
			different += v[j] != last[i * m + j];
		c.values += (double)different;
		c.rows += different > 0;
		double dot = recurrent_dot(y, last + i * m, m);
		c.cosine += decoded_cosine(codes, r->u + i * d, v);
		c.cosine_learn += decoded_cosine(codes, r->u + i * d, last + i * m);
		c.factor = fmax(c.factor, fabs((double)numbers.factor * dot / 3 - 1));
	}
	c.values /= (double)(r->rows * m);
	c.rows /= (double)r->rows;
	c.cosine /= (double)r->rows;
	c.cosine_learn /= (double)r->rows;
	recurrent_scratch_free(scratch);
	return c;
}

/* At 1 and 2 bits the codes are the same but for ties.  Later planes differ a little
 * where B_p(v) has not the length that it has on average (measured at 128 dims: .019 of
 * values at 3 bits, .05 at 4), which costs no cosine. */
static void
check_start(size_t dims, uint32_t bits, size_t layers, bool norm)
{
	static const double most[CODE_BITS_MAX + 1] = {0, 1, 1, 0.04, 0.09};
	struct error err;
	struct rig r;
	struct learn_config config = {
	    (uint32_t)dims, {(uint32_t)dims, bits, 0}, layers, 2 * dims + 10, norm};
	rig_init(&r, &config, 300);
	assert_int_equal(learn_start_rotation(r.pass, 7, r.u, r.rows, &err), 0);
	struct recurrent_rotation_config rotation = {
	    (uint32_t)dims, config.shape, 7, NULL};
	struct recurrent *model = recurrent_new(&rotation, &err);
	assert_non_null(model);
	struct compared c = compare(&r, model, NULL);
	if ((bits <= 2 && c.rows > 0.01) || c.values > most[bits] ||
	    fabs(c.cosine - c.cosine_learn) > 1e-3)
		fail_msg(
		    "%zu dims, %u bits, %zu layers: %.5f of codes and %.5f of values "
		    "differ, cosines %.5f %.5f",
		    dims, bits, layers, c.rows, c.values, c.cosine, c.cosine_learn);
	recurrent_free(model);
	rig_free(&r);
}

static void
test_start(void **state)
{
	(void)state;
	for (uint32_t bits = 1; bits <= 4; bits++) {
		check_start(128, bits, 1, false);
		check_start(128, bits, 2, false);
		check_start(128, bits, 2, true);
		check_start(64, bits > 2 ? 2 : bits, 3, true);
	}
}

/* Where dims are not input_dims the codes stand for u as well as the rotation's do. */
static void
test_start_other_dims(void **state)
{
	(void)state;
	static const uint32_t input_dims[] = {50, 100, 200};
	for (size_t k = 0; k < 3; k++)
		for (uint32_t bits = 1; bits <= 4; bits++) {
			struct error err;
			struct rig r;
			struct learn_config config = {
			    input_dims[k], {128, bits, 0}, 1, 0, false};
			rig_init(&r, &config, 300);
			assert_int_equal(
			    learn_start_rotation(r.pass, 9, r.u, r.rows, &err), 0);
			struct recurrent_rotation_config rotation = {
			    input_dims[k], config.shape, 9, NULL};
			struct recurrent *model = recurrent_new(&rotation, &err);
			assert_non_null(model);
			struct compared c = compare(&r, model, NULL);
			if (c.cosine_learn < c.cosine - 2e-3)
				fail_msg("%u dims, %u bits: cosine %.5f, rotation %.5f",
				    input_dims[k], bits, c.cosine_learn, c.cosine);
			recurrent_free(model);
			rig_free(&r);
		}
}

/* Saved and opened after every number has moved.  Of 100 codes one may differ, having
 * had a number so near 0 that another order of sums turns its sign. */
static void
check_saved(const struct learn_config *config)
{
	struct error err;
	struct rig r;
	char path[512];
	float mean[256];
	rig_init(&r, config, 400);
	assert_int_equal(learn_start_rotation(r.pass, 3, r.u, r.rows, &err), 0);
	for (size_t i = 0; i < r.size.params; i++)
		r.numbers.params[i] += 0.01f * rng_normal(&r.rng);
	for (int t = 0; t < 3; t++)
		learn_forward(r.pass, r.u, r.rows, DENSE_TRAIN, &hard);
	for (size_t j = 0; j < config->input_dims; j++)
		mean[j] = rng_normal(&r.rng);
	snprintf(path, sizeof path, "%s/m.safetensors", test_folder());
	struct recurrent *model = learn_model(r.learn, mean, &err);
	if (!model)
		fail_msg("%s", err.text);
	assert_memory_equal(
	    recurrent_info(model).mean, mean, config->input_dims * sizeof *mean);
	struct compared c = compare(&r, model, mean);
	if (c.rows > 0.01)
		fail_msg("%u bits, %zu layers: %.4f of codes differ",
		    config->shape.bits, config->layers, c.rows);
	if (c.rows == 0)
		assert_true(c.factor < 1e-3);

	/* And the same from a file. */
	assert_int_equal(recurrent_save(model, path, &err), 0);
	recurrent_free(model);
	model = recurrent_open(path, config->shape, &err);
	assert_non_null(model);
	assert_true(compare(&r, model, mean).values == c.values);
	recurrent_free(model);
	rig_free(&r);
}

static void
test_saved(void **state)
{
	(void)state;
	for (uint32_t bits = 1; bits <= 4; bits++) {
		check_saved(&(struct learn_config){100, {128, bits, 0}, 1, 0, false});
		check_saved(&(struct learn_config){64, {64, bits, 0}, 2, 150, true});
	}
	/* BEBR's baseline: one perceptron to m * B signs. */
	check_saved(&(struct learn_config){64, {128, 1, 0}, 4, 130, true});
}

static void
test_follow(void **state)
{
	(void)state;
	struct rig fast, slow;
	struct learn_config config = {10, {64, 2, 0}, 2, 24, true};
	rig_init(&fast, &config, 8);
	rig_init(&slow, &config, 8);
	learn_start_random(fast.learn, 1);
	learn_start_random(slow.learn, 2);
	learn_forward(fast.pass, fast.u, 8, DENSE_TRAIN, &hard);
	size_t n = fast.size.params;
	float *before = guard_copy(slow.numbers.params, n * sizeof *before);
	learn_follow(slow.learn, fast.learn, 0.75f);
	for (size_t i = 0; i < n; i++)
		assert_true(fabsf(slow.numbers.params[i] - 0.75f * before[i] -
				  0.25f * fast.numbers.params[i]) < 1e-6f);
	learn_follow(slow.learn, fast.learn, 0);
	assert_memory_equal(
	    slow.numbers.params, fast.numbers.params, n * sizeof *before);
	assert_memory_equal(slow.numbers.running, fast.numbers.running,
	    fast.size.running * sizeof *before);
	guard_free(before, n * sizeof *before);
	rig_free(&fast);
	rig_free(&slow);
}

static void
test_refused(void **state)
{
	(void)state;
	struct error err;
	static const struct {
		struct learn_config config;
		const char *reason;
	} rows[] = {
	    {{0, {64, 1, 0}, 1, 0, false}, "vectors of 1 to 65536 numbers, not 0"},
	    {{10, {100, 1, 0}, 1, 0, false}, "dims"},
	    {{10, {64, 5, 0}, 1, 0, false}, "bits"},
	    {{10, {64, 1, 0}, 0, 0, false}, "1 to 8 layers, not 0"},
	    {{10, {64, 1, 0}, 9, 30, false}, "1 to 8 layers, not 9"},
	    {{10, {64, 1, 0}, 2, 0, false}, "1 to 65536 units, not 0"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_null(learn_new(&rows[i].config, &err));
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, rows[i].reason));
	}
	struct rig r;
	rig_init(&r, &(struct learn_config){10, {64, 2, 0}, 2, 19, true}, 8);
	assert_int_equal(learn_start_rotation(r.pass, 1, r.u, 8, &err), -1);
	assert_non_null(strstr(err.text, "at least 20 hidden units"));
	assert_int_equal(learn_start_rotation(r.pass, 1, r.u, 1, &err), -1);
	assert_non_null(strstr(err.text, "2 to 8 rows, not 1"));
	rig_free(&r);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	const struct blas *blas = test_blas();
	struct learn_config config = {10, {64, 2, 0}, 2, 20, true};
	struct learn *learn = NULL;
	struct learn_pass *pass = NULL;
	float u[8 * 10] = {1}, mean[10] = {0};
	int rc = -1;
	long k;
	for (k = 1; !learn && k < 100; k++) {
		array_fail_at(k);
		learn = learn_new(&config, &err);
		array_fail_at(0);
		assert_true(learn || err.code == ERR_MEMORY);
	}
	assert_true(k > 4);
	for (k = 1; !pass && k < 100; k++) {
		array_fail_at(k);
		pass = learn_pass_new(learn, blas, 8, &err);
		array_fail_at(0);
		assert_true(pass || err.code == ERR_MEMORY);
	}
	assert_true(k > 30);
	for (k = 1; rc != 0 && k < 100; k++) {
		array_fail_at(k);
		rc = learn_start_rotation(pass, 1, u, 8, &err);
		array_fail_at(0);
		assert_true(rc == 0 || err.code == ERR_MEMORY);
	}
	assert_true(rc == 0 && k > 3);
	struct recurrent *model = NULL;
	for (k = 1; !model && k < 100; k++) {
		array_fail_at(k);
		model = learn_model(learn, mean, &err);
		array_fail_at(0);
		assert_true(model || err.code == ERR_MEMORY);
	}
	assert_true(model && k > 3);
	recurrent_free(model);
	learn_pass_free(pass);
	learn_pass_free(NULL);
	learn_free(learn);
	learn_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_backward),
	    cmocka_unit_test(test_start),
	    cmocka_unit_test(test_start_other_dims),
	    cmocka_unit_test(test_saved),
	    cmocka_unit_test(test_follow),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
