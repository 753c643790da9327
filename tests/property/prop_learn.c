/* Claims about training, each a number with a threshold, on 4,000 vectors of 64 dims
 * with a skewed spectrum, a quarter of which training has not seen: codes of 1 and 2
 * bits that learned find more of a query's true ten nearest than the untrained ones,
 * and both prefixes of a 2-bit code do; pairs find each other better against a queue
 * that a follower fills; a training repeats itself bit by bit, on any number of
 * OpenMP's threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/heap.h"
#include "base/rng.h"
#include "binarize/adam.h"
#include "binarize/learn.h"
#include "binarize/loss.h"
#include "binarize/queue.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

enum {
	D = 64,
	ROWS = 4000,
	SEEN = 3000, /* that training sees; of the others the first are queries */
	QUERIES = 200,
	DOCUMENTS = ROWS - SEEN - QUERIES,
	BATCH = 256,
	NEAREST = 10,
	QUEUE = 1024,
};

/* u (ROWS, D): Gaussian, the j-th principal deviation being (1 + j)^-.75, at length 1.
 */
static float *
skewed_vectors(struct rng *rng)
{
	struct error err;
	struct recurrent_rotation_config config = {
	    .input_dims = D, .shape = {D, 1, 0}, .seed = 99};
	struct recurrent *axes = recurrent_new(&config, &err);
	float *u = calloc(ROWS * D, sizeof *u);
	assert_non_null(axes);
	assert_non_null(u);
	for (size_t i = 0; i < ROWS; i++) {
		float *x = u + i * D;
		for (size_t j = 0; j < D; j++)
			x[j] = rng_normal(rng) * powf((float)(1 + j), -0.75f);
		recurrent_rotation_forward(axes, x);
		float length = (float)sqrt(recurrent_dot(x, x, D));
		for (size_t j = 0; j < D; j++)
			x[j] /= length;
	}
	recurrent_free(axes);
	return u;
}

/* A model that learns, and all that it needs for it. */
struct rig {
	struct rng rng;
	float *u;
	struct learn *learn;
	struct learn_pass *pass;
	struct loss *loss;
	struct adam adam;
	struct estimator estimator;
};

static struct rig
rig_new(uint32_t bits, float *u)
{
	struct error err;
	struct learn_config config = {D, {D, bits, 0}, 1, 0, false};
	struct loss_size size = {BATCH, D, D, QUEUE, 32};
	struct rig r = {.u = u, .estimator = {ESTIMATOR_RESTE, 1, false}};
	rng_init(&r.rng, test_seed(), bits);
	r.learn = learn_new(&config, &err);
	assert_non_null(r.learn);
	r.pass = learn_pass_new(r.learn, test_blas(), ROWS, &err);
	assert_non_null(r.pass);
	r.loss = loss_new(&size, test_blas(), &err);
	assert_non_null(r.loss);
	assert_int_equal(adam_init(&r.adam, learn_size(r.learn).params, &err), 0);
	assert_int_equal(learn_start_rotation(r.pass, 1, u, SEEN, &err), 0);
	return r;
}

static void
rig_free(struct rig *r)
{
	learn_pass_free(r->pass);
	learn_free(r->learn);
	loss_free(r->loss);
	adam_free(&r->adam);
}

/* The share of QUERIES' true nearest among those by the first `planes` of codes. */
static double
overlap(struct rig *r, size_t planes)
{
	const struct learn_codes *codes =
	    learn_forward(r->pass, r->u, ROWS, DENSE_EVALUATE, &r->estimator);
	const float *v = codes->v + (planes - 1) * ROWS * D;
	size_t both = 0, first = SEEN + QUERIES;
	float factors[DOCUMENTS];
	for (size_t j = 0; j < DOCUMENTS; j++)
		factors[j] = loss_scale(codes, planes - 1, first + j, LOSS_FLOATS);
	for (size_t i = SEEN; i < first; i++) {
		struct hit hits[2][NEAREST];
		struct heap heaps[2];
		heap_init(&heaps[0], hits[0], NEAREST);
		heap_init(&heaps[1], hits[1], NEAREST);
		for (size_t j = 0; j < DOCUMENTS; j++) {
			const float *x = r->u + (first + j) * D,
				    *code = v + (first + j) * D;
			double real = recurrent_dot(r->u + i * D, x, D);
			double guess = recurrent_dot(codes->y + i * D, code, D);
			heap_push(&heaps[0], (struct hit){(float)real, (uint32_t)j});
			heap_push(&heaps[1],
			    (struct hit){(float)guess * factors[j], (uint32_t)j});
		}
		for (size_t a = 0; a < NEAREST; a++)
			for (size_t b = 0; b < NEAREST; b++)
				both += hits[0][a].slot == hits[1][b].slot;
	}
	return (double)both / (QUERIES * NEAREST);
}

/* One step against the gradients; the rate falls to 0 as a cosine does. */
static void
step(struct rig *r, float rate, double done)
{
	struct dense_numbers numbers = learn_numbers(r->learn);
	size_t n = learn_size(r->learn).params;
	assert_true(isfinite(adam_clip(numbers.grads, n, 5)));
	adam_step(&r->adam, numbers.params, numbers.grads,
	    rate * 0.5f * (1 + cosf(3.14159265f * (float)done)));
	memset(numbers.grads, 0, n * sizeof *numbers.grads);
}

/* Learn for so many steps, from how the batch is ranked above all, and from what is
 * lost of vectors. */
static void
train(struct rig *r, size_t steps)
{
	static const float weights[CODE_BITS_MAX] = {0.3f, 0.3f, 0.3f, 0.3f};
	static const float ranking[CODE_BITS_MAX] = {1, 1, 1, 1};
	float *batch = calloc(BATCH * D, sizeof *batch);
	assert_non_null(batch);
	for (size_t t = 0; t < steps; t++) {
		double done = (double)t / (double)steps;
		for (size_t i = 0; i < BATCH; i++)
			memcpy(batch + i * D, r->u + rng_below(&r->rng, SEEN) * D,
			    D * sizeof *batch);
		r->estimator.power = estimator_power((float)done, 3);
		const struct learn_codes *codes =
		    learn_forward(r->pass, batch, BATCH, DENSE_TRAIN, &r->estimator);
		(void)loss_reconstruction(r->loss, codes, weights);
		(void)loss_ranking(r->loss, codes, ranking, 0.05f);
		learn_backward(r->pass);
		step(r, 1e-3f, done);
	}
	free(batch);
}

static void
check_gain(uint32_t bits, const double least[])
{
	struct rng rng;
	rng_init(&rng, test_seed(), 100);
	float *u = skewed_vectors(&rng);
	struct rig r = rig_new(bits, u);
	double before[CODE_BITS_MAX];
	for (size_t p = 1; p <= bits; p++)
		before[p - 1] = overlap(&r, p);
	train(&r, 400);
	for (size_t p = 1; p <= bits; p++) {
		double after = overlap(&r, p);
		printf("%u bits, %zu planes: overlap@10 %.3f untrained, %.3f trained\n",
		    bits, p, before[p - 1], after);
		if (after < before[p - 1] + least[p - 1])
			fail_msg("expected a gain of at least %.3f", least[p - 1]);
	}
	rig_free(&r);
	free(u);
}

/* Over seeds 1 to 3 the gains were .040 to .063 at 1 bit, .037 to .052 at 2 bits, and
 * .039 to .056 for the first plane of 2. */
static void
test_gain(void **state)
{
	(void)state;
	check_gain(1, (const double[]){0.015});
	check_gain(2, (const double[]){0.015, 0.015});
}

enum { PAIRS = BATCH / 2 };

/* batch := PAIRS vectors and then, beside each, one that differs a little; ids (BATCH)
 * says which they are. */
static void
draw_pairs(struct rig *r, float *batch, uint64_t *ids)
{
	for (size_t i = 0; i < PAIRS; i++) {
		float *a = batch + i * D, *b = a + PAIRS * D;
		ids[i] = ids[PAIRS + i] = rng_below(&r->rng, SEEN);
		memcpy(a, r->u + ids[i] * D, D * sizeof *a);
		const float *other = r->u + rng_below(&r->rng, SEEN) * D;
		for (size_t j = 0; j < D; j++)
			b[j] = a[j] + 0.2f * other[j];
		float length = (float)sqrt(recurrent_dot(b, b, D));
		for (size_t j = 0; j < D; j++)
			b[j] /= length;
	}
}

/* Both losses over pairs, at the first and the last of 200 steps (measured: .43 to .57
 * of the first); the queue is full before.  That overlap@10 rises with it is not
 * claimed, nor so: to tell a vector from its like is another task than to rank as
 * floats do. */
static void
test_pairs(void **state)
{
	(void)state;
	enum { STEPS = 200, FULL = QUEUE / BATCH, MEAN = 10 };
	static const float weights[CODE_BITS_MAX] = {1, 1};
	struct error err;
	struct rng rng;
	rng_init(&rng, test_seed(), 101);
	float *u = skewed_vectors(&rng), *batch = calloc(BATCH * D, sizeof *batch);
	struct rig r = rig_new(2, u), slow = rig_new(2, u);
	struct queue queue;
	uint64_t ids[BATCH];
	double first = 0, last = 0;
	assert_non_null(batch);
	assert_int_equal(queue_init(&queue, QUEUE, 2, D, &err), 0);
	for (size_t t = 0; t < FULL + STEPS; t++) {
		draw_pairs(&r, batch, ids);
		const struct learn_codes *codes =
		    learn_forward(r.pass, batch, BATCH, DENSE_TRAIN, &r.estimator);
		struct loss_pairs pairs = {LOSS_CODES, 0.1f, 32, weights, ids, &queue};
		double loss = loss_pairs(r.loss, codes, &pairs);
		pairs.query = LOSS_FLOATS;
		loss += loss_pairs(r.loss, codes, &pairs);
		if (t >= FULL) {
			learn_backward(r.pass);
			step(&r, 1e-3f, (double)(t - FULL) / STEPS);
			learn_follow(slow.learn, r.learn, 0.9f);
		}
		first += t == FULL ? loss : 0;
		last += t >= FULL + STEPS - MEAN ? loss / MEAN : 0;
		codes = learn_forward(
		    slow.pass, batch, BATCH, DENSE_EVALUATE, &slow.estimator);
		queue_push(&queue, codes, BATCH, ids);
	}
	printf("pairs: loss %.3f at first, %.3f at last\n", first, last);
	assert_true(queue.n == QUEUE && last < 0.75 * first);
	queue_free(&queue);
	rig_free(&r);
	rig_free(&slow);
	free(batch);
	free(u);
}

static void
test_repeats(void **state)
{
	(void)state;
	struct rng rng;
	float *first = NULL;
	size_t bytes = 0;
	rng_init(&rng, test_seed(), 102);
	float *u = skewed_vectors(&rng);
	for (int threads = 1; threads <= 3; threads++) {
#ifdef _OPENMP
		omp_set_num_threads(threads);
#endif
		struct rig r = rig_new(2, u);
		train(&r, 5);
		const float *params = learn_numbers(r.learn).params;
		bytes = learn_size(r.learn).params * sizeof *params;
		if (first)
			assert_memory_equal(params, first, bytes);
		else
			first = guard_copy(params, bytes);
		rig_free(&r);
	}
	guard_free(first, bytes);
	free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gain),
	    cmocka_unit_test(test_pairs),
	    cmocka_unit_test(test_repeats),
	};
#ifdef _OPENMP
	omp_set_num_threads(1); /* small batches; where others run, threads only wait */
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
