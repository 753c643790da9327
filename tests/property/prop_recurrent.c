/* Claims about the rotation binarizer, each a number with a threshold, on data from a
 * printed seed: the rotation keeps lengths and inner products; every plane brings the
 * code nearer to the vector, to the cosines of a fitted quantiser; a code's prefix is a
 * code; the estimate of an inner product is right on average; recall rises with bits,
 * and the int8 query beats the coded one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"

struct bench {
	struct recurrent *model;
	struct recurrent_scratch *scratch;
};

static struct bench
rotation(uint32_t input_dims, struct code_shape shape, uint64_t seed, const float *mean)
{
	struct error err;
	struct recurrent_rotation_config config = {input_dims, shape, seed, mean};
	struct bench b = {.model = recurrent_new(&config, &err)};
	if (!b.model)
		fail_msg("%s", err.text);
	b.scratch = recurrent_scratch_new(b.model, &err);
	assert_non_null(b.scratch);
	return b;
}

static void
bench_free(struct bench *b)
{
	recurrent_scratch_free(b->scratch);
	recurrent_free(b->model);
}

static void
random_vector(struct rng *rng, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
}

static double
cosine(const float *a, const float *b, size_t n)
{
	return recurrent_dot(a, b, n) /
	       sqrt(recurrent_dot(a, a, n) * recurrent_dot(b, b, n));
}

/* For every n = 64, 128, ... 4096: P keeps what it should, and P^T takes it back. */
static void
test_orthonormal(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (uint32_t n = 64; n <= 4096; n += 64) {
		uint32_t d = n - (uint32_t)rng_below(&rng, 64);
		struct bench b = rotation(d, (struct code_shape){n, 1, 0}, n, NULL);
		float *a = guard_new(n * sizeof *a), *c = guard_new(n * sizeof *c);
		float *a0 = malloc(d * sizeof *a0);
		random_vector(&rng, a, d);
		random_vector(&rng, c, d);
		memcpy(a0, a, d * sizeof *a0);
		double aa = recurrent_dot(a, a, d), cc = recurrent_dot(c, c, d);
		double ac = recurrent_dot(a, c, d);
		recurrent_rotation_forward(b.model, a);
		recurrent_rotation_forward(b.model, c);
		assert_true(fabs(recurrent_dot(a, a, n) / aa - 1) < 1e-5);
		assert_true(
		    fabs(recurrent_dot(a, c, n) - ac) < 1e-5 * sqrt(aa) * sqrt(cc));
		recurrent_rotation_backward(b.model, a);
		for (size_t i = 0; i < d; i++)
			assert_true(fabsf(a[i] - a0[i]) < 1e-5f);
		guard_free(a, n * sizeof *a);
		guard_free(c, n * sizeof *c);
		free(a0);
		bench_free(&b);
	}
}

/* d > m: <P a, c> = <a, P^T c> for any c (m), and <P a, P b> is <a, b> on average. */
static void
test_projection(void **state)
{
	(void)state;
	enum { D = 300, M = 128, N = 320 };
	struct rng rng;
	double sum = 0;
	float a[D], c[D], pa[N], pc[N];
	rng_init(&rng, test_seed(), 2);
	random_vector(&rng, a, D);
	random_vector(&rng, c, D);
	for (size_t j = 0; j < D; j++)
		c[j] = 0.8f * a[j] + 0.6f * c[j];
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct bench b =
		    rotation(D, (struct code_shape){M, 1, 0}, test_seed() + seed, NULL);
		memcpy(pa, a, sizeof a);
		memcpy(pc, c, sizeof c);
		recurrent_rotation_forward(b.model, pa);
		recurrent_rotation_forward(b.model, pc);
		sum += recurrent_dot(pa, pc, M) / recurrent_dot(a, c, D);
		float back[N];
		double left = recurrent_dot(pa, pc, M);
		memcpy(back, pc, sizeof back);
		recurrent_rotation_backward(b.model, back);
		assert_true(fabs(recurrent_dot(a, back, D) - left) < 1e-4 * fabs(left));
		bench_free(&b);
	}
	assert_true(fabs(sum / 2000 - 1) < 0.01);
}

/* Mean cosine of x and its decoded code, per bits: what theory says of a Gaussian. */
static void
test_cosines(void **state)
{
	(void)state;
	static const double want[] = {0, 0.7979, 0.9387, 0.9811, 0.9942};
	static const uint32_t sizes[] = {256, 1024};
	struct rng rng;
	rng_init(&rng, test_seed(), 3);
	for (size_t s = 0; s < 2; s++) {
		uint32_t m = sizes[s];
		double before = 0;
		for (uint32_t bits = 1; bits <= 4; bits++) {
			struct code_shape shape = {m, bits, 0};
			struct bench b = rotation(m, shape, 5, NULL);
			double sum = 0;
			for (int t = 0; t < 200; t++) {
				float x[1024], back[1024];
				uint8_t wire[CODE_BYTES_MAX];
				struct recurrent_numbers numbers;
				struct error err;
				random_vector(&rng, x, m);
				recurrent_encode(
				    b.model, b.scratch, wire, &numbers, x, &err);
				recurrent_decode(
				    b.model, b.scratch, back, wire, numbers.factor);
				sum += cosine(x, back, m);
			}
			double mean = sum / 200;
			print_message(
			    "%u dims x %u bits: mean cosine %.4f\n", m, bits, mean);
			assert_true(mean > before);
			assert_true(fabs(mean - want[bits]) < 0.003);
			before = mean;
			bench_free(&b);
		}
	}
}

/* The first b planes of a 4-bit code are a b-bit code of the same vector: plane 0 is
 * the 1-bit code itself, and each prefix is nearly as near as a code of its own. */
static void
test_prefixes(void **state)
{
	(void)state;
	enum { M = 512, TRIALS = 200 };
	static const double least[] = {0, 0.795, 0.923, 0.977, 0.993};
	struct code_shape shape = {M, 4, 0};
	struct bench four = rotation(M, shape, 9, NULL);
	struct bench one = rotation(M, (struct code_shape){M, 1, 0}, 9, NULL);
	double sums[5] = {0};
	struct rng rng;
	rng_init(&rng, test_seed(), 4);
	for (int t = 0; t < TRIALS; t++) {
		float x[M], y[M], v[M];
		uint8_t wire[CODE_BYTES_MAX], first[CODE_BYTES_MAX], levels[M];
		struct recurrent_numbers numbers;
		struct error err;
		random_vector(&rng, x, M);
		recurrent_encode(four.model, four.scratch, wire, &numbers, x, &err);
		recurrent_encode(one.model, one.scratch, first, &numbers, x, &err);
		assert_memory_equal(wire, first, M / 8);
		memcpy(y, x, sizeof x);
		recurrent_rotation_forward(four.model, y);
		code_to_levels(levels, wire, shape);
		for (uint32_t bits = 1; bits <= 4; bits++) {
			for (size_t i = 0; i < M; i++)
				v[i] = code_value(
				    (uint8_t)(levels[i] >> (4 - bits)), bits);
			sums[bits] += cosine(y, v, M) / TRIALS;
			/* and the wire's first planes say the same */
			uint8_t prefix[CODE_BYTES_MAX];
			struct code_shape part = {M, bits, 0};
			for (size_t i = 0; i < M; i++)
				levels[i] = (uint8_t)(levels[i] >> (4 - bits));
			code_from_levels(prefix, levels, part);
			assert_memory_equal(prefix, wire, code_bytes(part));
			code_to_levels(levels, wire, shape);
		}
	}
	for (uint32_t bits = 1; bits <= 4; bits++) {
		print_message(
		    "first %u of 4 planes: mean cosine %.4f\n", bits, sums[bits]);
		assert_true(sums[bits] > least[bits] && sums[bits] > sums[bits - 1]);
	}
	bench_free(&four);
	bench_free(&one);
}

/* The same vector gives the same bits again, and another seed others. */
static void
test_deterministic(void **state)
{
	(void)state;
	struct code_shape shape = {320, 4, 0};
	float x[300];
	uint8_t wire[3][CODE_BYTES_MAX];
	struct recurrent_numbers numbers[3];
	struct rng rng;
	rng_init(&rng, test_seed(), 5);
	random_vector(&rng, x, 300);
	for (int i = 0; i < 3; i++) {
		struct error err;
		struct bench b = rotation(300, shape, i < 2 ? 1 : 2, NULL);
		recurrent_encode(b.model, b.scratch, wire[i], &numbers[i], x, &err);
		bench_free(&b);
	}
	assert_memory_equal(wire[0], wire[1], code_bytes(shape));
	assert_memory_equal(&numbers[0], &numbers[1], sizeof numbers[0]);
	assert_memory_not_equal(wire[0], wire[2], code_bytes(shape));
}

/* Over random rotations the estimate with f has no bias; with |x| / |v|, the factor of
 * a code alone, it comes out short by the code's cosine. */
static void
test_unbiased(void **state)
{
	(void)state;
	enum { D = 128, TRIALS = 4000 };
	struct rng rng;
	rng_init(&rng, test_seed(), 6);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		struct code_shape shape = {D, bits, 0};
		double with_f = 0, alone = 0, exact = 0;
		for (uint64_t t = 0; t < TRIALS; t++) {
			float x[D], q[D], mean[D];
			uint8_t wire[CODE_BYTES_MAX], levels[D];
			int8_t k[D];
			struct recurrent_numbers numbers;
			struct recurrent_query query = {.k = k};
			struct error err;
			random_vector(&rng, x, D);
			random_vector(&rng, q, D);
			random_vector(&rng, mean, D);
			for (size_t i = 0; i < D; i++) {
				mean[i] *= 0.3f;
				q[i] = 0.6f * x[i] + 0.8f * q[i];
				x[i] += mean[i];
			}
			struct bench b = rotation(D, shape, test_seed() + t, mean);
			recurrent_encode(b.model, b.scratch, wire, &numbers, x, &err);
			recurrent_query_int8(b.model, b.scratch, &query, q, &err);
			code_to_levels(levels, wire, shape);
			double dot = 0, length2 = 0;
			for (size_t i = 0; i < D; i++) {
				double v = (double)code_value(levels[i], bits);
				dot += k[i] * v;
				length2 += v * v;
				x[i] -= mean[i];
			}
			dot *= (double)query.scale;
			assert_true(fabs((double)query.base -
					 recurrent_dot(q, mean, D)) < 1e-4);
			exact += recurrent_dot(q, x, D) / TRIALS;
			with_f += (double)numbers.factor * dot / TRIALS;
			alone += sqrt(recurrent_dot(x, x, D) / length2) * dot / TRIALS;
			bench_free(&b);
		}
		double bias = fabs(with_f / exact - 1), bias_alone = 1 - alone / exact;
		print_message("%u bits: bias %.4f with f, %.4f with |x|/|v|\n", bits,
		    bias, bias_alone);
		assert_true(bias < 0.01);
		assert_true(bits > 2 || bias < bias_alone / 4);
	}
}

/* Clustered unit vectors that share a mean, as embeddings do. */
enum { DIMS = 128, ROWS = 3000, QUERIES = 100, K = 10 };

static void
unit(float *x)
{
	double inverse = 1 / sqrt(recurrent_dot(x, x, DIMS));
	for (size_t j = 0; j < DIMS; j++)
		x[j] = (float)((double)x[j] * inverse);
}

static float *
clustered(struct rng *rng)
{
	enum { CENTRES = 60 };
	float *x = malloc((ROWS + QUERIES) * DIMS * sizeof *x);
	float *centres = malloc((CENTRES + 1) * DIMS * sizeof *centres);
	assert_non_null(x);
	assert_non_null(centres);
	random_vector(rng, centres, (CENTRES + 1) * DIMS);
	for (size_t i = 0; i < ROWS + QUERIES; i++) {
		const float *centre = centres + rng_below(rng, CENTRES) * DIMS;
		for (size_t j = 0; j < DIMS; j++)
			x[i * DIMS + j] = 0.7f * centres[CENTRES * DIMS + j] +
					  centre[j] + 0.9f * rng_normal(rng);
		unit(x + i * DIMS);
	}
	free(centres);
	return x;
}

/* The share of the K true neighbours (by cosine) that codes find. */
struct recall {
	double int8;
	double sdc;
};

/* The k best of these scores that are among `truth`. */
static size_t
common(const float *scores, const struct hit *truth)
{
	struct hit hits[K];
	struct heap heap;
	size_t n = 0;
	heap_init(&heap, hits, K);
	for (uint32_t i = 0; i < ROWS; i++)
		heap_push(&heap, (struct hit){scores[i], i});
	for (size_t a = 0; a < K; a++)
		for (size_t b = 0; b < K; b++)
			n += hits[a].slot == truth[b].slot;
	return n;
}

static struct recall
recall_of(const float *x, uint32_t bits, const float *mean)
{
	struct code_shape shape = {DIMS, bits, 0};
	struct bench b = rotation(DIMS, shape, 3, mean);
	struct recall recall = {0, 0};
	struct error err;
	int8_t *values = malloc(ROWS * DIMS); /* 2 c - top */
	float *factors = malloc(ROWS * sizeof *factors);
	float *scores = malloc(ROWS * sizeof *scores);
	assert_true(values && factors && scores);
	for (size_t i = 0; i < ROWS; i++) {
		uint8_t wire[CODE_BYTES_MAX], levels[DIMS];
		struct recurrent_numbers numbers;
		recurrent_encode(
		    b.model, b.scratch, wire, &numbers, x + i * DIMS, &err);
		code_to_levels(levels, wire, shape);
		for (size_t j = 0; j < DIMS; j++)
			values[i * DIMS + j] =
			    (int8_t)(2 * levels[j] - ((1 << bits) - 1));
		factors[i] = numbers.factor;
	}
	for (size_t t = 0; t < QUERIES; t++) {
		const float *q = x + (ROWS + t) * DIMS;
		struct hit truth[K];
		struct heap heap;
		heap_init(&heap, truth, K);
		for (uint32_t i = 0; i < ROWS; i++)
			heap_push(
			    &heap, (struct hit){
				       (float)recurrent_dot(q, x + i * DIMS, DIMS), i});
		for (int sdc = 0; sdc < 2; sdc++) {
			int8_t k[DIMS];
			struct recurrent_query query = {.k = k};
			if (sdc)
				recurrent_query_sdc(
				    b.model, b.scratch, &query, q, &err);
			else
				recurrent_query_int8(
				    b.model, b.scratch, &query, q, &err);
			for (size_t i = 0; i < ROWS; i++) {
				int dot = 0;
				for (size_t j = 0; j < DIMS; j++)
					dot += k[j] * values[i * DIMS + j];
				scores[i] = query.base +
					    factors[i] * (query.scale * (float)dot) /
						(float)(1 << (bits - 1));
			}
			*(sdc ? &recall.sdc : &recall.int8) +=
			    (double)common(scores, truth) / (QUERIES * K);
		}
	}
	free(values);
	free(factors);
	free(scores);
	bench_free(&b);
	return recall;
}

static void
mean_of(float *mean, const float *x)
{
	for (size_t j = 0; j < DIMS; j++) {
		double sum = 0;
		for (size_t i = 0; i < ROWS; i++)
			sum += (double)x[i * DIMS + j];
		mean[j] = (float)(sum / ROWS);
	}
}

static void
test_recall(void **state)
{
	(void)state;
	static const double least[] = {0, 0.27, 0.48, 0.66, 0.78};
	struct rng rng;
	rng_init(&rng, test_seed(), 7);
	float *x = clustered(&rng);
	float mean[DIMS];
	struct recall before = {0, 0};
	mean_of(mean, x);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		struct recall with = recall_of(x, bits, mean);
		struct recall without = recall_of(x, bits, NULL);
		print_message(
		    "%u bits: recall@10 int8 %.3f sdc %.3f; without a mean %.3f "
		    "%.3f\n",
		    bits, with.int8, with.sdc, without.int8, without.sdc);
		assert_true(with.int8 > before.int8 + 0.02);
		assert_true(with.sdc > before.sdc + 0.02);
		assert_true(with.int8 > with.sdc);
		assert_true(without.int8 > without.sdc);
		assert_true(with.int8 > least[bits]);
		before = with;
	}
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_orthonormal),
	    cmocka_unit_test(test_projection),
	    cmocka_unit_test(test_cosines),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_deterministic),
	    cmocka_unit_test(test_unbiased),
	    cmocka_unit_test(test_recall),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
