/* Claims of binarize/dense.h: a block's results are the formulas', in double precision,
 * in each mode, for 1 to 3 layers, with norm and without; its gradients are the slopes
 * of finite differences, in every parameter and in x; what is kept running is the mean
 * and variance; a folded block gives what an evaluation gives; a block started as a
 * linear map is that map, and calibrated also with norm; too few hidden units are
 * refused; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/dense.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"
#include "tests/support/slope.h"

/* A block with its numbers and a batch. */
struct rig {
	const struct blas *blas;
	struct rng rng;
	struct dense block;
	struct dense_size size;
	struct dense_numbers numbers;
	struct dense_pass *pass;
	size_t rows;
	float *x, *dx;      /* (rows, in) */
	float *y, *weights; /* (rows, out), and of each of y's entries in the value */
};

static float *
normal_array(struct rng *rng, size_t n)
{
	float *x = calloc(n, sizeof *x);
	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
	return x;
}

static void
rig_init(struct rig *r, const struct dense_shape *shape, size_t rows)
{
	struct error err;
	memset(r, 0, sizeof *r);
	r->blas = test_blas();
	rng_init(&r->rng, test_seed(), shape->layers);
	r->size = (struct dense_size){3, 5}; /* of some other block */
	dense_init(&r->block, shape, &r->size);
	r->numbers.params = normal_array(&r->rng, r->size.params);
	r->numbers.grads = calloc(r->size.params, sizeof(float));
	r->numbers.running = normal_array(&r->rng, r->size.running);
	assert_non_null(r->numbers.grads);
	for (size_t i = 0; i < r->size.running; i++)
		r->numbers.running[i] =
		    0.5f + r->numbers.running[i] * r->numbers.running[i];
	r->rows = rows;
	r->x = normal_array(&r->rng, rows * shape->in);
	r->dx = normal_array(&r->rng, rows * shape->in);
	r->y = normal_array(&r->rng, rows * shape->out);
	r->weights = normal_array(&r->rng, rows * shape->out);
	r->pass = dense_pass_new(&r->block, &r->numbers, r->blas, rows, &err);
	assert_non_null(r->pass);
}

static void
rig_free(struct rig *r)
{
	dense_pass_free(r->pass);
	free(r->numbers.params);
	free(r->numbers.grads);
	free(r->numbers.running);
	free(r->x);
	free(r->dx);
	free(r->y);
	free(r->weights);
}

/* y (rows, out) := the block of x as the header has it, each sum in double. */
static void
slow_forward(const struct rig *r, double *y, bool train)
{
	enum { WIDEST = 64 };
	static double from[32][WIDEST], to[32][WIDEST];
	const float *params = r->numbers.params, *running = r->numbers.running;
	const struct dense_layer *l = r->block.layers;
	assert_true(r->rows <= 32);
	for (size_t i = 0; i < r->rows * l->in; i++)
		from[i / l->in][i % l->in] = (double)r->x[i];
	for (size_t j = 0; j < r->block.shape.layers; j++, l++) {
		for (size_t o = 0; o < l->out; o++) {
			double mean = 0, variance = 0, n = (double)r->rows;
			for (size_t i = 0; i < r->rows; i++) {
				to[i][o] = 0;
				for (size_t k = 0; k < l->in; k++)
					to[i][o] +=
					    from[i][k] *
					    (double)params[l->weight + o * l->in + k];
				mean += to[i][o] / n;
			}
			for (size_t i = 0; i < r->rows; i++)
				variance += (to[i][o] - mean) * (to[i][o] - mean) / n;
			if (!train && l->norm) {
				mean = (double)running[l->mean + o];
				variance = (double)running[l->variance + o];
			}
			for (size_t i = 0; i < r->rows; i++) {
				if (l->norm)
					to[i][o] = (double)params[l->gain + o] *
						   (to[i][o] - mean) /
						   sqrt(variance + 1e-5);
				to[i][o] += (double)params[l->bias + o];
				if (l->hidden && to[i][o] < 0)
					to[i][o] = 0;
			}
		}
		memcpy(from, to, sizeof from);
	}
	size_t out = r->block.shape.out;
	for (size_t i = 0; i < r->rows * out; i++)
		y[i] = from[i / out][i % out];
}

static const struct dense_shape shapes[] = {
    {.in = 7, .out = 5, .layers = 1},
    {.in = 7, .out = 5, .layers = 2, .hidden = 12, .norm = false},
    {.in = 5, .out = 6, .layers = 2, .hidden = 11, .norm = true},
    {.in = 4, .out = 9, .layers = 3, .hidden = 10, .norm = false},
    {.in = 9, .out = 4, .layers = 3, .hidden = 8, .norm = true},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void
test_forward(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SHAPES; s++) {
		struct rig r;
		double want[32 * 16] = {0};
		rig_init(&r, &shapes[s], 21);
		for (int train = 0; train < 2; train++) {
			slow_forward(&r, want, train);
			dense_forward(r.pass, r.y, r.x, r.rows,
			    train ? DENSE_TRAIN : DENSE_EVALUATE);
			for (size_t i = 0; i < r.rows * shapes[s].out; i++)
				assert_true(fabs((double)r.y[i] - want[i]) <
					    1e-4 * (1 + fabs(want[i])));
		}
		rig_free(&r);
	}
}

/* The value that is differentiated: y's entries, weighted. */
static double
value(void *context)
{
	struct rig *r = context;
	double sum = 0;
	dense_forward(r->pass, r->y, r->x, r->rows, DENSE_TRAIN);
	for (size_t i = 0; i < r->rows * r->block.shape.out; i++)
		sum += (double)r->y[i] * (double)r->weights[i];
	return sum;
}

static void
test_backward(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SHAPES; s++) {
		struct rig r;
		rig_init(&r, &shapes[s], 200); /* many: a kink is one row's */
		r.numbers.grads[r.block.layers[0].weight] = 1; /* is added to */
		(void)value(&r);
		dense_backward(r.pass, r.dx, r.weights);
		r.numbers.grads[r.block.layers[0].weight] -= 1;
		assert_true(r.numbers.grads[0] == 0 && r.numbers.grads[2] == 0);
		struct slope params = {"parameters", value, &r, r.numbers.params + 3,
		    r.size.params - 3, 0.001f};
		slope_check(&params, r.numbers.grads + 3, &r.rng);
		struct slope x = {"x", value, &r, r.x, r.rows * shapes[s].in, 0.003f};
		slope_check(&x, r.dx, &r.rng);

		float *again = calloc(r.size.params, sizeof *again);
		assert_non_null(again);
		memcpy(again, r.numbers.grads, r.size.params * sizeof *again);
		memset(r.numbers.grads, 0, r.size.params * sizeof *again);
		(void)value(&r);
		dense_backward(r.pass, NULL, r.weights);
		for (size_t i = 0; i < r.size.params; i++)
			assert_true(fabsf(again[i] - r.numbers.grads[i]) < 1e-4f);
		free(again);
		rig_free(&r);
	}
}

/* Many small steps towards a batch's mean and variance end there. */
static void
test_running(void **state)
{
	(void)state;
	struct rig r;
	rig_init(&r, &shapes[2], 16);
	const struct dense_layer *l = &r.block.layers[0];
	for (int t = 0; t < 200; t++)
		dense_forward(r.pass, r.y, r.x, r.rows, DENSE_TRAIN);
	for (size_t o = 0; o < l->out; o++) {
		double sum = 0, squares = 0, n = (double)r.rows;
		for (size_t i = 0; i < r.rows; i++) {
			double z = 0;
			for (size_t k = 0; k < l->in; k++)
				z +=
				    (double)r.x[i * l->in + k] *
				    (double)r.numbers.params[l->weight + o * l->in + k];
			sum += z;
			squares += z * z;
		}
		double variance = (squares - sum * sum / n) / (n - 1);
		assert_true(
		    fabs((double)r.numbers.running[l->mean + o] - sum / n) < 1e-4);
		assert_true(fabs((double)r.numbers.running[l->variance + o] -
				 variance) < 1e-3 * (1 + variance));
	}
	rig_free(&r);
}

static void
test_fold(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SHAPES; s++) {
		struct rig r, folded;
		struct dense_shape plain = shapes[s];
		plain.norm = false;
		rig_init(&r, &shapes[s], 9);
		rig_init(&folded, &plain, 9);
		for (size_t j = 0; j < plain.layers; j++)
			dense_fold(&r.block, &r.numbers, j,
			    folded.numbers.params + folded.block.layers[j].weight,
			    folded.numbers.params + folded.block.layers[j].bias);
		dense_forward(r.pass, r.y, r.x, 9, DENSE_EVALUATE);
		dense_forward(folded.pass, folded.y, r.x, 9, DENSE_EVALUATE);
		for (size_t i = 0; i < 9 * plain.out; i++)
			assert_true(
			    fabsf(r.y[i] - folded.y[i]) < 1e-4f * (1 + fabsf(r.y[i])));
		rig_free(&r);
		rig_free(&folded);
	}
}

static void
check_map(size_t in, size_t out, size_t layers, bool norm)
{
	struct error err;
	struct rig r;
	size_t least = in < out ? in : out;
	struct dense_shape shape = {in, out, layers, 2 * least + 3, norm};
	rig_init(&r, &shape, 30);
	float *map = normal_array(&r.rng, in * out);
	assert_int_equal(dense_start_map(&r.block, &r.numbers, map, &r.rng, &err), 0);
	dense_forward(r.pass, r.y, r.x, r.rows, DENSE_CALIBRATE);
	dense_forward(
	    r.pass, r.y, r.x, 20, DENSE_EVALUATE); /* other rows, other batch */
	for (size_t i = 0; i < 20 * out; i++) {
		double want = 0;
		for (size_t k = 0; k < in; k++)
			want += (double)map[i % out * in + k] *
				(double)r.x[i / out * in + k];
		assert_true(fabs((double)r.y[i] - want) < 1e-4);
	}
	free(map);
	rig_free(&r);
}

static void
test_start_map(void **state)
{
	(void)state;
	for (size_t layers = 1; layers <= 4; layers++)
		for (int norm = 0; norm < 2; norm++) {
			check_map(6, 11, layers, norm);
			check_map(11, 6, layers, norm);
			check_map(8, 8, layers, norm);
		}
	struct error err;
	struct rig r;
	float map[9 * 4] = {0};
	struct dense_shape shape = {9, 4, 2, 7, true};
	rig_init(&r, &shape, 2);
	float before = r.numbers.params[r.block.layers[0].weight];
	assert_int_equal(dense_start_map(&r.block, &r.numbers, map, &r.rng, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "at least 8 hidden units"));
	assert_true(r.numbers.params[r.block.layers[0].weight] == before);
	rig_free(&r);
}

/* Uniform within its bound, the bound nearly reached, other numbers neutral. */
static void
test_start_random(void **state)
{
	(void)state;
	struct rig r;
	struct dense_shape shape = {40, 50, 2, 60, true};
	rig_init(&r, &shape, 2);
	dense_start_random(&r.block, &r.numbers, &r.rng);
	for (size_t j = 0; j < 2; j++) {
		const struct dense_layer *l = &r.block.layers[j];
		double bound = sqrt(6.0 / (double)(l->in + l->out)), sum = 0, peak = 0;
		for (size_t i = 0; i < l->in * l->out; i++) {
			double w = (double)r.numbers.params[l->weight + i];
			sum += w;
			peak = fmax(peak, fabs(w));
		}
		assert_true(peak <= bound && peak > 0.99 * bound);
		assert_true(fabs(sum) < bound * 5 * sqrt((double)(l->in * l->out) / 3));
		for (size_t i = 0; i < l->out; i++)
			assert_true(r.numbers.params[l->bias + i] == 0 &&
				    (!l->norm || r.numbers.params[l->gain + i] == 1));
	}
	rig_free(&r);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	struct rig r;
	struct dense_pass *pass = NULL;
	rig_init(&r, &shapes[4], 4);
	for (long k = 1; !pass && k < 100; k++) {
		array_fail_at(k);
		pass = dense_pass_new(&r.block, &r.numbers, r.blas, 4, &err);
		array_fail_at(0);
		assert_true(pass || err.code == ERR_MEMORY);
		assert_true(!pass || k > 8);
	}
	assert_non_null(pass);
	dense_pass_free(pass);
	dense_pass_free(NULL);
	rig_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forward),
	    cmocka_unit_test(test_backward),
	    cmocka_unit_test(test_running),
	    cmocka_unit_test(test_fold),
	    cmocka_unit_test(test_start_map),
	    cmocka_unit_test(test_start_random),
	    cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
