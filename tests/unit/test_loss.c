/* Claims of binarize/loss.h and queue.h: each loss is its formula, against a slow twin
 * in double precision that sorts all negatives (masked ids, queue, few and many
 * negatives); each gradient is the slope of finite differences, in v, y and Q; a prefix
 * of weight 0 counts nothing; scales hold also where y and v point apart; a loss is 0
 * where nothing is lost; the queue keeps the latest rows with their scales; the number
 * of OpenMP's threads changes no bit; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/loss.h"
#include "binarize/queue.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"
#include "tests/support/slope.h"

enum {
	ROWS = 14,
	HALF = ROWS / 2,
	PLANES = 3,
	M = 64,
	D = 20,
	QUEUE = 9,
	Y = ROWS * M,
	V = PLANES * ROWS * M,
	Q = M * D,
};

enum term {
	PAIRS,
	RECONSTRUCTION,
	RANKING,
};

/* Codes of no model: every number is free. */
struct rig {
	struct rng rng;
	struct loss *loss;
	struct learn_codes codes;
	float u[ROWS * D], y[Y], v[V], query[Q];
	float dy[Y], dv[V], dquery[Q];
	float weights[PLANES];
	uint64_t ids[HALF];
	struct queue queue;
	enum term term;
	struct loss_pairs pairs;
};

static void
fill(struct rng *rng, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
}

static struct rig *
rig_new(uint64_t stream)
{
	struct error err;
	struct rig *r = calloc(1, sizeof *r);
	assert_non_null(r);
	rng_init(&r->rng, test_seed(), stream);
	struct loss_size size = {ROWS, M, D, QUEUE, 40};
	r->loss = loss_new(&size, test_blas(), &err);
	assert_non_null(r->loss);
	fill(&r->rng, r->u, ROWS * D);
	for (size_t i = 0; i < ROWS; i++) {
		double length = sqrt(recurrent_dot(r->u + i * D, r->u + i * D, D));
		for (size_t j = 0; j < D; j++)
			r->u[i * D + j] /= (float)length;
	}
	fill(&r->rng, r->y, Y);
	fill(&r->rng, r->query, Q);
	fill(&r->rng, r->v, V);
	for (size_t i = 0; i < V; i++) /* so that f is some .05, as in a model */
		r->v[i] = 0.5f * r->v[i] + 0.3f * r->y[i % Y];
	r->codes = (struct learn_codes){
	    ROWS, PLANES, M, D, r->u, r->y, r->v, r->query, r->dy, r->dv, r->dquery};
	assert_int_equal(queue_init(&r->queue, QUEUE, PLANES, M, &err), 0);
	for (size_t i = 0; i < HALF; i++)
		r->ids[i] = i == 3 ? 1 : i; /* two pairs of one item */
	queue_push(&r->queue, &r->codes, 6, (const uint64_t[]){50, 51, 2, 53, 54, 1});
	for (size_t i = 0; i < V; i++) /* as the model has moved on since */
		r->v[i] += 0.3f * rng_normal(&r->rng);
	for (size_t p = 0; p < PLANES; p++)
		r->weights[p] = 0.5f + 0.25f * (float)p;
	r->pairs =
	    (struct loss_pairs){LOSS_CODES, 0.3f, 4, r->weights, r->ids, &r->queue};
	return r;
}

static void
rig_free(struct rig *r)
{
	loss_free(r->loss);
	queue_free(&r->queue);
	free(r);
}

static double
value(void *context)
{
	struct rig *r = context;
	memset(r->dy, 0, sizeof r->dy);
	memset(r->dv, 0, sizeof r->dv);
	memset(r->dquery, 0, sizeof r->dquery);
	switch (r->term) {
	case PAIRS:
		return loss_pairs(r->loss, &r->codes, &r->pairs);
	case RECONSTRUCTION:
		return loss_reconstruction(r->loss, &r->codes, r->weights);
	case RANKING:
		return loss_ranking(r->loss, &r->codes, r->weights, 0.4f);
	}
	return NAN;
}

static double
dot(const float *a, const float *b, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static const float *
row_of(const struct rig *r, size_t plane, size_t row)
{
	return r->v + (plane * ROWS + row) * M;
}

static double
slow_score(const struct rig *r, size_t plane, size_t i, const float *v, double factor)
{
	if (r->pairs.query == LOSS_FLOATS)
		return factor * dot(r->y + i * M, v, M);
	const float *q = row_of(r, plane, i);
	return dot(q, v, M) / sqrt(dot(q, q, M) * dot(v, v, M));
}

static double
slow_factor(const struct rig *r, size_t plane, size_t row)
{
	const float *v = row_of(r, plane, row);
	double along = dot(r->y + row * M, v, M);
	return along > 0 ? 1 / along : 1 / sqrt(dot(v, v, M));
}

static int
descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? 1 : x > y ? -1 : 0;
}

/* Row i of plane p against the other half and the queue, all in double. */
static double
slow_row(const struct rig *r, size_t p, size_t i)
{
	size_t mate = (i + HALF) % ROWS, other = mate < HALF ? 0 : HALF, n = 0;
	double t = (double)r->pairs.temperature, negatives[HALF + QUEUE];
	uint64_t id = r->ids[i % HALF];
	for (size_t j = 0; j < HALF; j++)
		if (r->ids[j] != id)
			negatives[n++] = slow_score(r, p, i, row_of(r, p, other + j),
			    slow_factor(r, p, other + j));
	const struct queue *queue = r->pairs.queue;
	for (size_t j = 0; queue && j < queue->n; j++)
		if (queue->ids[j] != id)
			negatives[n++] =
			    slow_score(r, p, i, queue->v + (p * QUEUE + j) * M,
				(double)queue->factor[p * QUEUE + j]);
	qsort(negatives, n, sizeof *negatives, descending);
	double positive =
	    exp(slow_score(r, p, i, row_of(r, p, mate), slow_factor(r, p, mate)) / t);
	double sum = positive;
	for (size_t k = 0; k < n && k < r->pairs.hardest; k++)
		sum += exp(negatives[k] / t);
	return log(sum / positive);
}

static double
slow_pairs(const struct rig *r)
{
	double sum = 0;
	for (size_t p = 0; p < PLANES; p++)
		for (size_t i = 0; i < ROWS; i++)
			sum += (double)r->weights[p] / ROWS * slow_row(r, p, i);
	return sum;
}

static double
slow_reconstruction(const struct rig *r)
{
	double sum = 0;
	for (size_t p = 0; p < PLANES; p++)
		for (size_t i = 0; i < ROWS; i++) {
			double g[D] = {0}, a = 0, b = 0;
			for (size_t k = 0; k < M; k++)
				for (size_t j = 0; j < D; j++)
					g[j] += (double)row_of(r, p, i)[k] *
						(double)r->query[k * D + j];
			for (size_t j = 0; j < D; j++) {
				a += g[j] * (double)r->u[i * D + j];
				b += g[j] * g[j];
			}
			sum += (double)r->weights[p] / ROWS * (1 - a * a / b);
		}
	return sum;
}

static double
slow_ranking(const struct rig *r)
{
	const double t = 0.4;
	double sum = 0;
	for (size_t p = 0; p < PLANES; p++)
		for (size_t i = 0; i < ROWS; i++) {
			double wanted[ROWS], got[ROWS], all_wanted = 0, all_got = 0;
			for (size_t j = 0; j < ROWS; j++) {
				wanted[j] = exp(dot(r->u + i * D, r->u + j * D, D) / t);
				got[j] = exp(slow_factor(r, p, j) *
					     dot(r->y + i * M, row_of(r, p, j), M) / t);
				all_wanted += j == i ? 0 : wanted[j];
				all_got += j == i ? 0 : got[j];
			}
			for (size_t j = 0; j < ROWS; j++)
				if (j != i)
					sum += (double)r->weights[p] / ROWS *
					       wanted[j] / all_wanted *
					       log(wanted[j] / all_wanted /
						   (got[j] / all_got));
		}
	return sum;
}

static void
assert_close(double got, double want)
{
	if (!(fabs(got - want) < 2e-5 * (1 + fabs(want))))
		fail_msg("%.9g, expected %.9g", got, want);
}

/* How pairs are compared: each way, with and without a queue, few and all negatives. */
static const struct {
	enum loss_query query;
	size_t hardest;
	int queue;
} ways[] = {{LOSS_CODES, 4, 1}, {LOSS_CODES, 40, 1}, {LOSS_CODES, 1, 0},
    {LOSS_FLOATS, 4, 1}, {LOSS_FLOATS, 40, 1}, {LOSS_FLOATS, 3, 0}};
#define N_WAYS (sizeof ways / sizeof *ways)

static void
choose_way(struct rig *r, size_t k)
{
	r->term = PAIRS;
	r->pairs.query = ways[k].query;
	r->pairs.hardest = ways[k].hardest;
	r->pairs.queue = ways[k].queue ? &r->queue : NULL;
}

/* A row whose y points away from its codes. */
static void
turn(struct rig *r)
{
	for (size_t k = 0; k < M; k++)
		r->y[5 * M + k] = -r->y[5 * M + k];
}

static void
test_twins(void **state)
{
	(void)state;
	for (uint64_t t = 0; t < 20; t++) {
		struct rig *r = rig_new(t);
		if (t % 2)
			turn(r);
		for (size_t k = 0; k < N_WAYS; k++) {
			choose_way(r, k);
			assert_close(value(r), slow_pairs(r));
		}
		r->term = RECONSTRUCTION;
		assert_close(value(r), slow_reconstruction(r));
		r->term = RANKING;
		assert_close(value(r), slow_ranking(r));
		rig_free(r);
	}
}

/* Gradients as they are at the rig's numbers, in v, y and Q; where one is not expected,
 * it is 0. */
static void
check_gradients(struct rig *r, const char *name, bool in_y, bool in_query)
{
	static float dy[Y], dv[V], dquery[Q];
	(void)value(r);
	memcpy(dy, r->dy, sizeof dy);
	memcpy(dv, r->dv, sizeof dv);
	memcpy(dquery, r->dquery, sizeof dquery);
	slope_check(&(struct slope){name, value, r, r->v, V, 0.003f}, dv, &r->rng);
	if (in_y)
		slope_check(
		    &(struct slope){name, value, r, r->y, Y, 0.003f}, dy, &r->rng);
	if (in_query)
		slope_check(&(struct slope){name, value, r, r->query, Q, 0.003f},
		    dquery, &r->rng);
	for (size_t i = 0; i < Y; i++)
		assert_true(in_y || dy[i] == 0);
	for (size_t i = 0; i < Q; i++)
		assert_true(in_query || dquery[i] == 0);
}

static void
test_gradients(void **state)
{
	(void)state;
	for (uint64_t t = 0; t < 4; t++) {
		struct rig *r = rig_new(100 + t);
		if (t % 2)
			turn(r);
		for (size_t k = 0; k < N_WAYS; k++) {
			choose_way(r, k);
			check_gradients(
			    r, "pairs", ways[k].query == LOSS_FLOATS, false);
		}
		r->term = RECONSTRUCTION;
		check_gradients(r, "reconstruction", false, true);
		r->term = RANKING;
		check_gradients(r, "ranking", true, false);
		rig_free(r);
	}
}

/* Losses are sums of their prefixes' terms, each times its weight, and gradients are
 * added to what is there. */
static void
test_weights(void **state)
{
	(void)state;
	struct rig *r = rig_new(200);
	for (int term = PAIRS; term <= RANKING; term++) {
		double sum = 0, whole;
		float all[V];
		r->term = (enum term)term;
		whole = value(r);
		memcpy(all, r->dv, sizeof all);
		float weights[PLANES];
		memcpy(weights, r->weights, sizeof weights);
		for (size_t p = 0; p < PLANES; p++) {
			memset(r->weights, 0, sizeof r->weights);
			r->weights[p] = weights[p];
			sum += value(r);
			for (size_t i = 0; i < V; i++)
				assert_true(i / Y == p
						? fabsf(r->dv[i] - all[i]) < 1e-6f
						: r->dv[i] == 0);
		}
		memcpy(r->weights, weights, sizeof weights);
		assert_close(sum, whole);
		double again =
		    value(r) + loss_reconstruction(r->loss, &r->codes, weights);
		assert_true(again > whole);
		float both[V];
		memcpy(both, r->dv, sizeof both);
		r->term = RECONSTRUCTION;
		(void)value(r);
		for (size_t i = 0; i < V; i++)
			assert_true(fabsf(both[i] - all[i] - r->dv[i]) < 1e-5f);
	}
	rig_free(r);
}

/* Where v is y = Q u and Q a rotation, nothing is lost. */
static void
test_nothing_lost(void **state)
{
	(void)state;
	struct rig *r = rig_new(300);
	memset(r->query, 0, sizeof r->query);
	for (size_t j = 0; j < D; j++)
		r->query[(3 * j + 1) * D + j] = 1;
	for (size_t i = 0; i < V; i++) {
		size_t row = i / M % ROWS, k = i % M;
		r->y[row * M + k] = k % 3 == 1 && k / 3 < D ? r->u[row * D + k / 3] : 0;
		r->v[i] = 2 * r->y[row * M + k];
	}
	r->term = RECONSTRUCTION;
	assert_true(fabs(value(r)) < 1e-6);
	r->term = RANKING;
	assert_true(fabs(value(r)) < 1e-6);
	for (size_t i = 0; i < V; i++)
		assert_true(fabsf(r->dv[i]) < 1e-6f);
	rig_free(r);
}

static void
test_queue(void **state)
{
	(void)state;
	struct error err;
	struct rig *r = rig_new(500);
	struct queue queue;
	uint64_t ids[ROWS];
	for (size_t i = 0; i < ROWS; i++)
		ids[i] = 1000 + i;
	assert_int_equal(queue_init(&queue, QUEUE, PLANES, M, &err), 0);
	queue_push(&queue, &r->codes, 4, ids);
	assert_true(queue.n == 4 && queue.next == 4);
	queue_push(&queue, &r->codes, ROWS, ids);
	assert_true(queue.n == QUEUE && queue.next == (4 + ROWS) % QUEUE);
	/* The last QUEUE rows, the oldest where the next will go. */
	for (size_t k = 0; k < QUEUE; k++) {
		size_t at = (queue.next + k) % QUEUE, row = ROWS - QUEUE + k;
		assert_true(queue.ids[at] == ids[row]);
		for (size_t p = 0; p < PLANES; p++) {
			const float *v = row_of(r, p, row);
			assert_memory_equal(
			    queue.v + (p * QUEUE + at) * M, v, M * sizeof *v);
			assert_close(
			    (double)queue.unit[p * QUEUE + at], 1 / sqrt(dot(v, v, M)));
			assert_close((double)queue.factor[p * QUEUE + at],
			    slow_factor(r, p, row));
		}
	}
	queue_free(&queue);
	queue_free(&queue);
	for (long k = 1; k <= 4; k++) {
		array_fail_at(k);
		int rc = queue_init(&queue, QUEUE, PLANES, M, &err);
		array_fail_at(0);
		assert_true(rc == -1 && err.code == ERR_MEMORY && !queue.v);
	}
	rig_free(r);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	struct loss_size size = {ROWS, M, D, QUEUE, 4};
	struct loss *loss = NULL;
	long k;
	for (k = 1; !loss && k < 100; k++) {
		array_fail_at(k);
		loss = loss_new(&size, test_blas(), &err);
		array_fail_at(0);
		assert_true(loss || err.code == ERR_MEMORY);
	}
	assert_true(loss && k > 10);
	loss_free(loss);
	loss_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_twins),
	    cmocka_unit_test(test_gradients),
	    cmocka_unit_test(test_weights),
	    cmocka_unit_test(test_nothing_lost),
	    cmocka_unit_test(test_queue),
	    cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
