/* Claims of binarize/compatible.h:
 *  - what the older model knows itself the new one knows, by that map behind the polar
 *    factor of the pairs, as plain iteration finds it, for old vectors that are shorter
 *    and that are longer than the new; and the mean goes with it;
 *  - no other rotation that was tried has them agree more;
 *  - the older model's own codes rank items that were not learned from more nearly as
 *    the new vectors do than by that factor alone, and stand for them without a mean
 *    error; the same seed gives the same, another seed another;
 *  - of the same encoder, the map and the mean are the older model's;
 *  - other dims and ids that are known are refused in words; a failing allocation
 *    leaves a model without it.
 * Skipped, with a line, where OpenBLAS is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/compatible.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

#define LONG 60
#define SHORT 40
#define M 64
#define N 4200 /* more than are multiplied at once */

static float old_rows[N * LONG], new_rows[N * LONG], map[M * LONG], mean[LONG];

static void
fill(struct rng *rng, float *x, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++)
		x[i] = scale * rng_normal(rng);
}

static void
normalise(float *x, size_t n)
{
	double length = sqrt(recurrent_dot(x, x, n));
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)x[i] / length);
}

/* Pairs that are alike: both are mixtures of the same numbers, and noise. */
static struct compatible_pairs
make_pairs(struct rng *rng, size_t e, size_t d)
{
	float mix_old[SHORT * LONG], mix_new[SHORT * LONG], common[SHORT];

	fill(rng, mix_old, SHORT * e, 1);
	fill(rng, mix_new, SHORT * d, 1);
	for (size_t i = 0; i < N; i++) {
		float *o = old_rows + i * e, *n = new_rows + i * d;
		fill(rng, common, SHORT, 1);
		fill(rng, o, e, 2);
		fill(rng, n, d, 2);
		for (size_t k = 0; k < SHORT; k++) {
			for (size_t j = 0; j < e; j++)
				o[j] += common[k] * mix_old[k * e + j];
			for (size_t j = 0; j < d; j++)
				n[j] += common[k] * mix_new[k * d + j];
		}
		n[0] += 20; /* they have a mean of about 0.4 */
		normalise(o, e);
		normalise(n, d);
	}
	return (struct compatible_pairs){old_rows, new_rows, N, e, d};
}

static struct recurrent *
rotation(size_t d, uint64_t seed, uint32_t bits)
{
	struct error err;
	const struct recurrent_rotation_config config = {
	    (uint32_t)d, {M, bits, 0}, seed, mean};
	struct recurrent *model = recurrent_new(&config, &err);
	if (!model)
		fail_msg("%s", err.text);
	return model;
}

static struct recurrent *
refined(size_t d, uint32_t bits)
{
	struct error err;
	const struct recurrent_refined_config config = {.input_dims = (uint32_t)d,
	    .shape = {M, bits, 0},
	    .mean = mean,
	    .map = map,
	    .base = map};
	struct recurrent *model = recurrent_new_refined(&config, &err);
	if (!model)
		fail_msg("%s", err.text);
	snprintf(model->id, sizeof model->id, "00000000000000a%u", bits);
	return model;
}

/* R (e, d) := the polar factor of O^T N by X := (3 X - X X^T X) / 2, which takes every
 * singular value up to 1 towards 1 (Bjorck & Bowie, SIAM J. Numer. Anal. 1971). */
static void
slow_polar(double *R, const struct compatible_pairs *pairs, size_t d)
{
	static double square[LONG * LONG], next[LONG * LONG];
	size_t e = pairs->old_dims;
	double length = 0;

	memset(R, 0, e * d * sizeof *R);
	for (size_t i = 0; i < pairs->n; i++)
		for (size_t j = 0; j < e; j++)
			for (size_t k = 0; k < d; k++)
				R[j * d + k] += (double)pairs->old[i * e + j] *
						(double)pairs->now[i * d + k];
	for (size_t i = 0; i < e * d; i++)
		length += R[i] * R[i];
	for (size_t i = 0; i < e * d; i++)
		R[i] /= sqrt(length);
	for (int round = 0; round < 60; round++) {
		for (size_t i = 0; i < e; i++)
			for (size_t j = 0; j < e; j++) {
				square[i * e + j] = 0;
				for (size_t k = 0; k < d; k++)
					square[i * e + j] +=
					    R[i * d + k] * R[j * d + k];
			}
		for (size_t i = 0; i < e; i++)
			for (size_t k = 0; k < d; k++) {
				double sum = 0;
				for (size_t j = 0; j < e; j++)
					sum += square[i * e + j] * R[j * d + k];
				next[i * d + k] = (3 * R[i * d + k] - sum) / 2;
			}
		memcpy(R, next, e * d * sizeof *R);
	}
}

/* Q (M, e) of either kind, row by row through its decoder. */
static void
map_of(double *Q, const struct recurrent *model, size_t e)
{
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	uint32_t bits = recurrent_info(model).shape.bits;
	uint8_t wire[CODE_BYTES_MAX], levels[M];
	float x[2][LONG];

	assert_non_null(scratch);
	/* Two codes that differ in dimension i alone differ by 2 v_i Q_i. */
	for (size_t i = 0; i < M; i++) {
		for (int side = 0; side < 2; side++) {
			memset(levels, 0, sizeof levels);
			levels[i] = (uint8_t)(side << (bits - 1));
			code_from_levels(wire, levels, (struct code_shape){M, bits, 0});
			recurrent_decode(model, scratch, x[side], wire, 1);
		}
		for (size_t j = 0; j < e; j++)
			Q[i * e + j] = ((double)x[1][j] - (double)x[0][j]);
	}
	recurrent_scratch_free(scratch);
}

/* The map and the mean by which `model` searches `old` are old's behind R. */
static void
check_known(const struct recurrent *model, const struct recurrent *old, const double *R)
{
	static double want[M * LONG], got[M * LONG];
	const struct recurrent *known = recurrent_searching(model, recurrent_id(old));
	size_t d = recurrent_info(model).input_dims, e = recurrent_info(old).input_dims;

	assert_non_null(known);
	assert_int_equal(recurrent_info(known).shape.dims, M);
	assert_int_equal(
	    recurrent_info(known).shape.bits, recurrent_info(old).shape.bits);
	map_of(want, old, e);
	map_of(got, known, d);
	for (size_t k = 0; k < d; k++) {
		double a = 0;
		for (size_t j = 0; j < e; j++)
			a += R[j * d + k] * (double)recurrent_info(old).mean[j];
		assert_true(fabs(a - (double)recurrent_info(known).mean[k]) < 1e-5);
		for (size_t i = 0; i < M; i++) {
			double sum = 0;
			for (size_t j = 0; j < e; j++)
				sum += want[i * e + j] * R[j * d + k];
			if (!(fabs(sum - got[i * d + k]) < 1e-4))
				fail_msg(
				    "%zu, %zu: %g, not %g", i, k, got[i * d + k], sum);
		}
	}
}

/* sum <o_i, R n_i> */
static double
agreement(const struct compatible_pairs *pairs, const double *R, size_t d)
{
	double sum = 0;

	for (size_t i = 0; i < pairs->n; i++)
		for (size_t j = 0; j < pairs->old_dims; j++)
			for (size_t k = 0; k < d; k++)
				sum += (double)pairs->old[i * pairs->old_dims + j] *
				       R[j * d + k] * (double)pairs->now[i * d + k];
	return sum;
}

/* Turn rows (or columns) p and q of R by an angle: still a rotation. */
static void
turn(double *R, size_t n, size_t along, size_t across, size_t p, size_t q, double angle)
{
	for (size_t k = 0; k < n; k++) {
		double a = R[p * along + k * across], b = R[q * along + k * across];
		R[p * along + k * across] = cos(angle) * a - sin(angle) * b;
		R[q * along + k * across] = sin(angle) * a + cos(angle) * b;
	}
}

static void
test_pairs(void **state)
{
	(void)state;
	static const size_t sizes[][2] = {{SHORT, LONG}, {LONG, SHORT}, {SHORT, SHORT}};
	static double R[LONG * LONG];
	const struct blas *blas = test_blas();
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 1);
	for (size_t s = 0; s < 3; s++) {
		size_t e = sizes[s][0], d = sizes[s][1];
		struct compatible_pairs pairs = make_pairs(&rng, e, d);
		fill(&rng, mean, LONG, 0.1f);
		fill(&rng, map, M * LONG, 0.1f);
		slow_polar(R, &pairs, d);
		struct recurrent *model = rotation(d, 9, 1), *old = rotation(e, 5, 2);
		struct recurrent *oldest[] = {
		    rotation(e, 6, 1), rotation(e, 6, 2), refined(e, 1), refined(e, 2)};
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(
			    compatible_add(old, oldest[k], NULL, blas, 1, &err), 0);
		if (compatible_add(model, old, &pairs, blas, 1, &err) != 0)
			fail_msg("%s", err.text);
		for (size_t k = 0; k < 4; k++) {
			check_known(model, oldest[k], R);
			recurrent_free(oldest[k]);
		}
		recurrent_free(old);
		recurrent_free(model);
		double most = agreement(&pairs, R, d);
		for (int i = 0; i < 10; i++) {
			size_t p = rng_below(&rng, SHORT - 1);
			double angle = i % 2 ? 0.05 : -0.05;
			turn(R, d, d, 1, p, p + 1, angle);
			assert_true(agreement(&pairs, R, d) < most);
			turn(R, d, d, 1, p, p + 1, -angle);
			turn(R, e, 1, d, p, p + 1, angle);
			assert_true(agreement(&pairs, R, d) < most);
			turn(R, e, 1, d, p, p + 1, -angle);
		}
	}
}

#define SEEN 3800 /* pairs that are learned from; the others are not */

/* The mean KL divergence, over rows from `first`, of scores by `known` from those of
 * the new vectors, and *residual := the length of what is left of new vectors, on
 * average. */
static double
divergence(double *residual, const struct recurrent *known, const struct recurrent *old,
    const struct compatible_pairs *pairs, size_t first, size_t n)
{
	static float decoded[1000 * LONG];
	struct error err;
	struct recurrent_scratch *code = recurrent_scratch_new(old, &err);
	struct recurrent_scratch *decode = recurrent_scratch_new(known, &err);
	size_t d = pairs->dims, e = pairs->old_dims;
	double total = 0, left[LONG] = {0};

	assert_true(n <= 1000 && code && decode);
	for (size_t i = 0; i < n; i++) {
		uint8_t wire[CODE_BYTES_MAX];
		struct recurrent_numbers numbers;
		assert_int_equal(recurrent_encode(old, code, wire, &numbers,
				     pairs->old + (first + i) * e, &err),
		    0);
		recurrent_decode(known, decode, decoded + i * d, wire, numbers.factor);
		for (size_t k = 0; k < d; k++)
			left[k] += ((double)pairs->now[(first + i) * d + k] -
				       (double)decoded[i * d + k]) /
				   (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		const float *q = pairs->now + (first + i) * d;
		double sums[2] = {0, 0}, dot = 0;
		for (size_t j = 0; j < n; j++) {
			double want =
			    recurrent_dot(q, pairs->now + (first + j) * d, d) / 0.05;
			double got = recurrent_dot(q, decoded + j * d, d) / 0.05;
			if (j == i)
				continue;
			sums[0] += exp(want);
			sums[1] += exp(got);
			dot += exp(want) * (want - got);
		}
		total += dot / sums[0] - log(sums[0]) + log(sums[1]);
	}
	*residual = 0;
	for (size_t k = 0; k < d; k++)
		*residual += left[k] * left[k];
	*residual = sqrt(*residual);
	recurrent_scratch_free(code);
	recurrent_scratch_free(decode);
	return total / (double)n;
}

/* A model of the new encoder that knows codes of `old` by the first pairs; first by the
 * polar factor alone, through a model between that codes nothing. */
static struct recurrent *
taught(const struct recurrent *old, const struct compatible_pairs *pairs, bool alone,
    uint64_t seed)
{
	struct error err;
	struct recurrent *model = rotation(pairs->dims, 9, 1);
	struct recurrent *between = rotation(pairs->old_dims, 99, 1);
	struct compatible_pairs some = *pairs;

	some.n = SEEN;
	assert_int_equal(
	    compatible_add(between, old, NULL, test_blas(), seed, &err), 0);
	assert_int_equal(compatible_add(model, alone ? between : old, &some,
			     test_blas(), seed, &err),
	    0);
	recurrent_free(between);
	return model;
}

static void
test_ranking(void **state)
{
	(void)state;
	static const size_t sizes[][2] = {{SHORT, LONG}, {LONG, SHORT}};
	struct rng rng;

	rng_init(&rng, test_seed(), 5);
	for (size_t s = 0; s < 2; s++) {
		struct compatible_pairs pairs =
		    make_pairs(&rng, sizes[s][0], sizes[s][1]);
		fill(&rng, mean, LONG, 0.02f);
		fill(&rng, map, M * LONG, 0.1f);
		struct recurrent *old[] = {
		    rotation(sizes[s][0], 5, 2), refined(sizes[s][0], 1)};
		for (size_t k = 0; k < 2; k++) {
			double residual[2], kl[2];
			struct recurrent *by[2] = {taught(old[k], &pairs, true, 1),
			    taught(old[k], &pairs, false, 1)};
			for (size_t i = 0; i < 2; i++)
				kl[i] = divergence(&residual[i],
				    recurrent_searching(by[i], recurrent_id(old[k])),
				    old[k], &pairs, SEEN, N - SEEN);
			if (!(kl[1] < 0.9 * kl[0] && residual[0] > 0.2 &&
				residual[1] < 0.07))
				fail_msg("KL %g after %g, off by %g after %g", kl[1],
				    kl[0], residual[1], residual[0]);
			recurrent_free(by[0]);
			recurrent_free(by[1]);
			recurrent_free(old[k]);
		}
	}
}

static void
test_seeds(void **state)
{
	(void)state;
	struct rng rng;
	const struct recurrent *known[3];
	struct recurrent *by[3];

	rng_init(&rng, test_seed(), 6);
	struct compatible_pairs pairs = make_pairs(&rng, SHORT, LONG);
	struct recurrent *old = rotation(SHORT, 5, 1);
	for (size_t i = 0; i < 3; i++) {
		by[i] = taught(old, &pairs, false, i / 2);
		known[i] = recurrent_searching(by[i], recurrent_id(old));
	}
	size_t bytes = M * pairs.dims * sizeof(float);
	assert_memory_equal(known[0]->query->data, known[1]->query->data, bytes);
	assert_memory_equal(known[0]->mean, known[1]->mean, LONG * sizeof(float));
	assert_int_not_equal(
	    memcmp(known[0]->query->data, known[2]->query->data, bytes), 0);
	for (size_t i = 0; i < 3; i++)
		recurrent_free(by[i]);
	recurrent_free(old);
}

static void
identity(double *R, size_t n)
{
	memset(R, 0, n * n * sizeof *R);
	for (size_t i = 0; i < n; i++)
		R[i * n + i] = 1;
}

static void
test_same_encoder(void **state)
{
	(void)state;
	static double R[SHORT * SHORT];
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 2);
	fill(&rng, mean, LONG, 0.1f);
	fill(&rng, map, M * LONG, 0.1f);
	identity(R, SHORT);
	struct recurrent *model = rotation(SHORT, 9, 1);
	struct recurrent *old[] = {rotation(SHORT, 5, 2), refined(SHORT, 3)};
	for (size_t k = 0; k < 2; k++) {
		assert_int_equal(
		    compatible_add(model, old[k], NULL, test_blas(), 1, &err), 0);
		check_known(model, old[k], R);
		recurrent_free(old[k]);
	}
	recurrent_free(model);
}

/* first -> (another encoder) second -> (the same encoder) third. */
static void
test_chain(void **state)
{
	(void)state;
	static double R[LONG * LONG];
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 3);
	struct compatible_pairs pairs = make_pairs(&rng, SHORT, LONG);
	fill(&rng, mean, LONG, 0.1f);
	struct recurrent *first = rotation(SHORT, 1, 2);
	struct recurrent *second = rotation(LONG, 2, 1);
	struct recurrent *third = rotation(LONG, 3, 4);
	assert_int_equal(
	    compatible_add(second, first, &pairs, test_blas(), 1, &err), 0);
	assert_int_equal(compatible_add(third, second, NULL, test_blas(), 1, &err), 0);
	identity(R, LONG);
	check_known(third, second, R);
	const struct recurrent *by_second =
	    recurrent_searching(second, recurrent_id(first));
	check_known(third, by_second, R);
	recurrent_free(third);

	/* And back to the encoder of the first. */
	third = rotation(SHORT, 4, 1);
	pairs = (struct compatible_pairs){new_rows, old_rows, N, LONG, SHORT};
	assert_int_equal(
	    compatible_add(third, second, &pairs, test_blas(), 1, &err), 0);
	assert_non_null(recurrent_searching(third, recurrent_id(first)));
	recurrent_free(first);
	recurrent_free(second);
	recurrent_free(third);
}

static void
test_refused(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 4);
	struct compatible_pairs pairs = make_pairs(&rng, LONG, SHORT);
	pairs.n = 100;
	struct recurrent *model = rotation(SHORT, 1, 2);
	struct recurrent *old = rotation(SHORT, 2, 2);
	assert_int_equal(compatible_add(model, old, &pairs, test_blas(), 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "of 40 dimensions"));
	assert_non_null(strstr(err.text, "not of 60"));
	assert_int_equal(compatible_add(model, model, NULL, test_blas(), 1, &err), -1);
	assert_non_null(strstr(err.text, "not the model's own"));
	assert_int_equal(compatible_add(model, old, NULL, test_blas(), 1, &err), 0);
	assert_int_equal(compatible_add(model, old, NULL, test_blas(), 1, &err), -1);
	assert_non_null(strstr(err.text, "twice"));
	recurrent_free(old);
	old = rotation(LONG, 2, 2);
	assert_int_equal(compatible_add(model, old, NULL, test_blas(), 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	long k;
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = compatible_add(model, old, &pairs, test_blas(), 1, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
		assert_null(recurrent_searching(model, recurrent_id(old)));
	}
	assert_true(k > 10);
	recurrent_free(old);
	recurrent_free(model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pairs),
	    cmocka_unit_test(test_ranking),
	    cmocka_unit_test(test_seeds),
	    cmocka_unit_test(test_same_encoder),
	    cmocka_unit_test(test_chain),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
