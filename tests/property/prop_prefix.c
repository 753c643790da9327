/*
 * What the first planes of an untrained code are worth, on vectors in clusters: with
 * the factor of recurrent_prefix they estimate inner products without bias, and they
 * find nearly the neighbours that a code of so many planes finds.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"

#define DIMS 128
#define DOCUMENTS 1500
#define QUERIES 100
#define CLUSTERS 30
#define K 10

static float documents[DOCUMENTS][DIMS], queries[QUERIES][DIMS];
static float exact[QUERIES][DOCUMENTS], estimate[QUERIES][DOCUMENTS];

static void
fill(float *x, const float *centre, float spread, struct rng *rng)
{
	double norm2 = 0;

	for (size_t i = 0; i < DIMS; i++) {
		x[i] = (centre ? centre[i] : 0) + spread * rng_normal(rng);
		norm2 += (double)x[i] * (double)x[i];
	}
	for (size_t i = 0; i < DIMS; i++)
		x[i] = (float)((double)x[i] / sqrt(norm2));
}

static void
fill_all(struct rng *rng)
{
	static float centres[CLUSTERS][DIMS];

	for (size_t c = 0; c < CLUSTERS; c++)
		fill(centres[c], NULL, 1, rng);
	for (size_t i = 0; i < DOCUMENTS; i++)
		fill(documents[i], centres[i % CLUSTERS], 0.1f, rng);
	for (size_t q = 0; q < QUERIES; q++) {
		fill(queries[q], centres[q % CLUSTERS], 0.1f, rng);
		for (size_t i = 0; i < DOCUMENTS; i++) {
			exact[q][i] = 0;
			for (size_t d = 0; d < DIMS; d++)
				exact[q][i] += queries[q][d] * documents[i][d];
		}
	}
}

/* estimate := by the first `planes` planes of codes of `bits`. */
static void
estimate_all(uint32_t bits, uint32_t planes)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = DIMS, .shape = {DIMS, bits, 0}, .seed = 1};
	struct error err;
	struct recurrent *model = recurrent_new(&config, &err);
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	static int8_t k[QUERIES][DIMS];
	struct recurrent_query query[QUERIES];
	uint8_t wire[DIMS / 8 * CODE_BITS_MAX], levels[DIMS];
	struct recurrent_numbers numbers;

	for (size_t q = 0; q < QUERIES; q++) {
		query[q].k = k[q];
		assert_int_equal(
		    recurrent_query_int8(model, scratch, &query[q], queries[q], &err),
		    0);
	}
	for (size_t i = 0; i < DOCUMENTS; i++) {
		assert_int_equal(recurrent_encode(model, scratch, wire, &numbers,
				     documents[i], &err),
		    0);
		code_to_levels(levels, wire, (struct code_shape){DIMS, bits, 0});
		float f = numbers.factor * recurrent_prefix(bits, planes);
		for (size_t q = 0; q < QUERIES; q++) {
			float dot = 0;
			for (size_t d = 0; d < DIMS; d++)
				dot +=
				    (float)k[q][d] *
				    code_value((uint8_t)(levels[d] >> (bits - planes)),
					planes);
			estimate[q][i] = query[q].base + f * query[q].scale * dot;
		}
	}
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

/* Of the K exact neighbours of every query, the share that the estimates find; *bias :=
 * the estimates of these less the truth, in the mean, as a share of the truth. */
static double
overlap(double *bias)
{
	size_t found = 0;
	double off = 0, all = 0;

	for (size_t q = 0; q < QUERIES; q++)
		for (size_t i = 0; i < DOCUMENTS; i++) {
			size_t nearer = 0, better = 0;
			for (size_t j = 0; j < DOCUMENTS; j++) {
				nearer += exact[q][j] > exact[q][i];
				better += estimate[q][j] > estimate[q][i];
			}
			if (nearer >= K)
				continue;
			found += better < K;
			off += (double)(estimate[q][i] - exact[q][i]);
			all += (double)exact[q][i];
		}
	*bias = off / all;
	return (double)found / (QUERIES * K);
}

static void
test_prefix(void **state)
{
	(void)state;
	double whole[CODE_BITS_MAX + 1], bias;
	struct rng rng;

	rng_init(&rng, test_seed(), 0);
	fill_all(&rng);
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
		estimate_all(bits, bits);
		whole[bits] = overlap(&bias);
		assert_true(recurrent_prefix(bits, bits) == 1);
		for (uint32_t planes = 1; planes < bits; planes++) {
			estimate_all(bits, planes);
			double share = overlap(&bias);
			print_message("%u of %u planes: overlap@10 %.3f (%.3f), "
				      "bias %+.4f\n",
			    planes, bits, share, whole[planes], bias);
			assert_true(share > whole[planes] - 0.1);
			assert_true(fabs(bias) < 0.02);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_prefix)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
