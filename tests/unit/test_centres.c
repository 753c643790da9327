/* Claims of binarize/centres.h and of refined models with centres, on synthetic vectors
 * in clusters: the nearest centre is a slow twin's at every level; k-means lowers the
 * distance to the nearest centre, leaves no centre empty and gives the same for a seed;
 * a vector's estimate from its code has the vector's own product with its centre, is
 * what decoding and what the search of stored rows give, for vectors of any length and
 * for a centre itself; a code without its vector has the factor of its length; a file
 * gives back the model; files with other centres than they say, and codes at centres
 * that there are not, are refused; centres find more than a mean does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/tensors.h"
#include "binarize/centres.h"
#include "binarize/compatible.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "index/flat.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/openblas.h"

#define D 72
#define M 128
#define CLUSTERS 24
#define ROWS 3000

static float rows[ROWS * D];

static void
normalise(float *x)
{
	recurrent_centre(x, x, NULL, D);
}

static void
make_rows(struct rng *rng)
{
	static float middle[CLUSTERS * D];

	for (size_t i = 0; i < CLUSTERS * D; i++)
		middle[i] = rng_normal(rng);
	for (size_t i = 0; i < ROWS; i++) {
		const float *m = middle + rng_below(rng, CLUSTERS) * D;
		for (size_t j = 0; j < D; j++)
			rows[i * D + j] = m[j] + 0.8f * rng_normal(rng);
		normalise(rows + i * D);
	}
}

static double
distance2(const float *a, const float *b)
{
	double sum = 0;
	for (size_t j = 0; j < D; j++)
		sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
	return sum;
}

static void
test_nearest(void **state)
{
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	make_rows(&rng);
	for (size_t n = 1; n <= 130; n += 43) {
		float *copy = guard_copy(rows, n * D * sizeof *rows);
		struct centres *centres = centres_new(copy, n, D, &err);
		assert_non_null(centres);
		size_t stride = centres_stride(centres);
		int32_t *products = guard_new(7 * stride * sizeof *products);
		int16_t *rounded = guard_new(7 * D * sizeof *rounded);
		for (size_t i = 0; i < 7; i++)
			refine_round(rounded + i * D, rows + (500 + i) * D, D);
		centres_products(centres, products, rounded, 7);
		for (size_t i = 0; i < 7; i++) {
			const float *x = rows + (500 + i) * D;
			size_t got = centres_nearest(centres, products + i * stride);
			assert_true(got < n);
			for (size_t j = 0; j < n; j++) {
				double product =
				    products[i * stride + j] * centres_unit(centres);
				assert_true(
				    fabs(product - recurrent_dot(x, rows + j * D, D)) <
				    1e-4);
				assert_true(distance2(x, rows + got * D) <
					    distance2(x, rows + j * D) + 4e-4);
			}
		}
		guard_free(copy, n * D * sizeof *rows);
		guard_free(products, 7 * stride * sizeof *products);
		guard_free(rounded, 7 * D * sizeof *rounded);
		centres_free(centres);
	}
}

static double
mean_distance2(const float *centres, size_t k)
{
	double sum = 0;
	for (size_t i = 0; i < ROWS; i++) {
		double least = INFINITY;
		for (size_t c = 0; c < k; c++)
			least = fmin(least, distance2(rows + i * D, centres + c * D));
		sum += least / ROWS;
	}
	return sum;
}

static atomic_int stop_after;

static bool
stops(void)
{
	return atomic_fetch_sub(&stop_after, 1) <= 0;
}

static void
test_learn(void **state)
{
	enum { K = 40 };
	static float first[K * D], again[K * D], other[K * D];
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 2);
	make_rows(&rng);
	assert_int_equal(centres_learn(first, K, rows, ROWS, D, 1, NULL, &err), 0);
	assert_int_equal(centres_learn(again, K, rows, ROWS, D, 1, NULL, &err), 0);
	assert_int_equal(centres_learn(other, K, rows, ROWS, D, 2, NULL, &err), 0);
	assert_memory_equal(first, again, sizeof first);
	assert_memory_not_equal(first, other, sizeof first);
	assert_true(mean_distance2(first, K) < 0.9 * mean_distance2(rows, K));
	size_t counts[K] = {0};
	for (size_t i = 0; i < ROWS; i++) {
		size_t best = 0;
		for (size_t c = 1; c < K; c++)
			if (distance2(rows + i * D, first + c * D) <
			    distance2(rows + i * D, first + best * D))
				best = c;
		counts[best]++;
	}
	for (size_t c = 0; c < K; c++)
		assert_true(counts[c] > 0);

	stop_after = 3;
	assert_int_equal(centres_learn(again, K, rows, ROWS, D, 1, stops, &err), -1);
	assert_int_equal(err.code, ERR_NONE);

	/* Nothing but one vector: every centre is as good as at it. */
	for (size_t i = 1; i < 100; i++)
		memcpy(rows + i * D, rows, D * sizeof *rows);
	assert_int_equal(centres_learn(first, K, rows, 100, D, 1, NULL, &err), 0);
	for (size_t c = 0; c < K; c++)
		assert_true(distance2(rows, first + c * D) < 1e-3);
}

/* A model of random directions with k centres out of the rows. */
static struct recurrent *
random_model(struct rng *rng, uint32_t bits, uint32_t k)
{
	static float map[M * D], centres[CODE_CENTRES_MAX * D], mean[D];
	struct error err;

	for (size_t i = 0; i < M * D; i++)
		map[i] = rng_normal(rng) / M;
	if (k > 0)
		assert_int_equal(
		    centres_learn(centres, k, rows, ROWS, D, 1, NULL, &err), 0);
	memset(mean, 0, sizeof mean);
	for (size_t i = 0; i < ROWS * D; i++)
		mean[i % D] += rows[i] / ROWS;
	const struct recurrent_refined_config config = {.input_dims = D,
	    .shape = {M, bits, k},
	    .mean = k > 0 ? NULL : mean,
	    .centres = centres,
	    .map = map,
	    .base = map};
	struct recurrent *model = recurrent_new_refined(&config, &err);
	if (!model)
		fail_msg("%s", err.text);
	return model;
}

/* <q, x> by the numbers of a query and of a code. */
static double
score(const struct recurrent_query *q, float factor, const uint8_t *wire,
    struct code_shape shape)
{
	uint8_t levels[M];
	struct code_place place = code_place(wire, shape);
	double sum = 0;

	code_to_levels(levels, wire, shape);
	for (size_t i = 0; i < M; i++)
		sum += q->k[i] * (double)code_value(levels[i], shape.bits);
	double at =
	    (double)code_share_value(place.share) * (double)q->bases[place.centre];
	return (double)q->base + (double)factor * (at + (double)q->scale * sum);
}

static void
test_estimates(void **state)
{
	struct error err;
	struct rng rng;
	float x[D], decoded[D], bases[CODE_CENTRES_MAX];
	int8_t k[M];
	struct recurrent_query query = {.k = k, .bases = bases};
	struct recurrent_numbers numbers;
	(void)state;

	rng_init(&rng, test_seed(), 3);
	make_rows(&rng);
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
		struct recurrent *model = random_model(&rng, bits, 20);
		struct code_shape shape = recurrent_info(model).shape;
		struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
		uint8_t *wire = guard_new(code_bytes(shape));
		assert_non_null(scratch);
		assert_int_equal(shape.centres, 20);
		for (size_t i = 0; i < 200; i++) {
			const float *q = rows + (i + 1000) * D;
			float length = i % 3 ? 1.0f : 50.0f * rng_uniform(&rng) + 0.1f;
			for (size_t j = 0; j < D; j++)
				x[j] = length * rows[i * D + j];
			assert_int_equal(
			    recurrent_encode(model, scratch, wire, &numbers, x, &err),
			    0);
			assert_int_equal(code_check(wire, shape, &err), 0);
			recurrent_decode(model, scratch, decoded, wire, numbers.factor);
			size_t c = code_place(wire, shape).centre;
			const float *centre = centres_row(model->centres, c);
			double own = recurrent_dot(centre, x, D);
			/* binary16 keeps 11 bits of the share. */
			assert_true(fabs(recurrent_dot(centre, decoded, D) - own) <
				    1e-3 * (double)length);
			float size = (float)sqrt(recurrent_dot(decoded, decoded, D));
			float factor = recurrent_factor(model, scratch, wire, size);
			assert_true(fabsf(factor / numbers.factor - 1) < 1e-4f);

			double exact = recurrent_dot(q, decoded, D);
			assert_int_equal(
			    recurrent_query_int8(model, scratch, &query, q, &err), 0);
			assert_true(fabs(score(&query, numbers.factor, wire, shape) -
					 exact) < 0.05 * (double)length);
		}
		guard_free(wire, code_bytes(shape));
		recurrent_scratch_free(scratch);
		recurrent_free(model);
	}
}

static void
test_sdc(void **state)
{
	struct error err;
	struct rng rng;
	float own[D], decoded[D], bases[CODE_CENTRES_MAX];
	uint8_t wire[CODE_BYTES_MAX], levels[M], want[M];
	int8_t k[M];
	struct recurrent_query query = {.k = k, .bases = bases};
	struct recurrent_numbers numbers;
	(void)state;

	rng_init(&rng, test_seed(), 4);
	make_rows(&rng);
	struct recurrent *model = random_model(&rng, 2, 20);
	struct code_shape shape = recurrent_info(model).shape;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	assert_non_null(scratch);
	for (size_t i = 0; i < 100; i++) {
		const float *q = rows + (i + 1000) * D;
		recurrent_encode(model, scratch, wire, &numbers, q, &err);
		recurrent_decode(model, scratch, own, wire, numbers.factor);
		code_to_levels(want, wire, shape);
		recurrent_query_code(model, scratch, levels, q, &err);
		assert_memory_equal(levels, want, M);
		assert_int_equal(
		    recurrent_query_sdc(model, scratch, &query, q, &err), 0);
		recurrent_encode(model, scratch, wire, &numbers, rows + i * D, &err);
		recurrent_decode(model, scratch, decoded, wire, numbers.factor);
		assert_true(fabs(score(&query, numbers.factor, wire, shape) -
				 recurrent_dot(own, decoded, D)) < 0.05);
	}
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

/* A centre itself, and what has no share that could be written. */
static void
test_centre_itself(void **state)
{
	struct error err;
	struct rng rng;
	float decoded[D];
	uint8_t wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers;
	(void)state;

	rng_init(&rng, test_seed(), 5);
	make_rows(&rng);
	for (size_t i = 1; i < ROWS; i++)
		memcpy(rows + i * D, rows, D * sizeof *rows);
	struct recurrent *model = random_model(&rng, 1, 1);
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	const float *c = centres_row(model->centres, 0);
	assert_non_null(scratch);
	assert_int_equal(recurrent_encode(model, scratch, wire, &numbers, c, &err), 0);
	recurrent_decode(model, scratch, decoded, wire, numbers.factor);
	assert_true(distance2(decoded, c) < 1e-4);

	assert_int_equal(code_share(0.0f), 0);
	assert_int_equal(code_share(-1.0f), 0);
	assert_int_equal(code_share(NAN), 0);
	assert_int_equal(code_share(1.0f), 0x3C00);
	assert_int_equal(code_share(INFINITY), 0x7BFF);
	assert_int_equal(code_share(0x1p-24f), 1);
	assert_true(code_share_value(0x7BFF) == CODE_SHARE_MAX);
	for (unsigned s = 0; s < 0x7C00; s++) {
		float value = code_share_value((uint16_t)s);
		assert_int_equal(code_share(value), s);
		if (s > 0)
			assert_true(value > code_share_value((uint16_t)(s - 1)));
	}

	struct code_shape shape = recurrent_info(model).shape;
	code_place_put(wire, (struct code_place){1, 0}, shape);
	assert_int_equal(code_check(wire, shape, &err), -1);
	assert_non_null(strstr(err.text, "one of 1 centres, not at number 1"));
	code_place_put(wire, (struct code_place){0, 0x7C00}, shape);
	assert_int_equal(code_check(wire, shape, &err), -1);
	assert_non_null(strstr(err.text, "share"));
	code_place_put(wire, (struct code_place){0, 0x8001}, shape);
	assert_int_equal(code_check(wire, shape, &err), -1);
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

#define DOCUMENTS 2500
#define QUERIES 100
#define DEPTH 10

/* overlap@10 of stored rows with floats; each score is what decoding gives. */
static double
overlap(const struct recurrent *model)
{
	struct error err;
	struct code_shape shape = recurrent_info(model).shape;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	struct store *store = store_new(1, shape, false, &err);
	struct flat_scratch *flat = flat_scratch_new(distance_best(), 2, &err);
	static float decoded[DOCUMENTS * D];
	float bases[CODE_CENTRES_MAX];
	int8_t k[M];
	struct recurrent_query q = {.k = k, .bases = bases};
	size_t found = 0;

	assert_true(scratch && store && flat);
	for (size_t i = 0; i < DOCUMENTS; i++) {
		uint8_t wire[CODE_BYTES_MAX];
		struct recurrent_numbers numbers;
		recurrent_encode(model, scratch, wire, &numbers, rows + i * D, &err);
		recurrent_decode(model, scratch, decoded + i * D, wire, numbers.factor);
		struct store_row row = {.wire = wire, .factor = numbers.factor};
		assert_int_equal(store_put(store, (uint32_t)i, &row, &err), 0);
	}
	store_publish(store);
	struct store_snapshot *snapshot = store_acquire(store);
	for (size_t i = 0; i < DOCUMENTS; i++) {
		uint8_t wire[CODE_BYTES_MAX], back[CODE_BYTES_MAX];
		struct recurrent_numbers numbers;
		recurrent_encode(model, scratch, wire, &numbers, rows + i * D, &err);
		assert_true(store_get(back, NULL, NULL, snapshot, (uint32_t)i));
		assert_memory_equal(back, wire, code_bytes(shape));
	}
	for (size_t i = DOCUMENTS; i < DOCUMENTS + QUERIES; i++) {
		const float *x = rows + i * D;
		struct hit hits[DEPTH];
		struct distance_query query;
		recurrent_query_int8(model, scratch, &q, x, &err);
		distance_query_int8(&query, k, q.scale, shape,
		    (struct distance_terms){.base = q.base, .bases = bases});
		memset(bases, 0xFF, sizeof bases); /* the query has its own */
		struct flat_search search = {.query = &query, .k = DEPTH, .hits = hits};
		assert_int_equal(flat_run(&search, 1, snapshot, flat, &err), 0);
		assert_int_equal(search.n, DEPTH);
		for (size_t h = 0; h < DEPTH; h++) {
			const float *document = rows + hits[h].slot * D;
			double own = recurrent_dot(x, document, D);
			size_t nearer = 0;
			for (size_t j = 0; j < DOCUMENTS; j++)
				nearer += recurrent_dot(x, rows + j * D, D) > own;
			found += nearer < DEPTH;
			assert_true(fabs((double)hits[h].score -
					 recurrent_dot(
					     x, decoded + hits[h].slot * D, D)) < 0.05);
		}
	}
	store_release(snapshot);
	store_free(store);
	flat_scratch_free(flat);
	recurrent_scratch_free(scratch);
	return (double)found / (QUERIES * DEPTH);
}

static void
test_search(void **state)
{
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 6);
	make_rows(&rng);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		struct recurrent *mean = random_model(&rng, bits, 0);
		struct recurrent *centres = random_model(&rng, bits, 64);
		double control = overlap(mean), with = overlap(centres);
		printf("%u bits: overlap@10 %.3f with a mean, %.3f with centres\n",
		    bits, control, with);
		assert_true(with > control);
		recurrent_free(mean);
		recurrent_free(centres);
	}
}

/* A model of the same vectors searches the codes as their own does. */
static void
test_older(void **state)
{
	struct error err;
	struct rng rng;
	char path[512];
	float bases[2][CODE_CENTRES_MAX];
	uint8_t wire[CODE_BYTES_MAX];
	int8_t k[2][M];
	struct recurrent_query own = {.k = k[0], .bases = bases[0]};
	struct recurrent_query now = {.k = k[1], .bases = bases[1]};
	struct recurrent_numbers numbers;
	(void)state;

	snprintf(path, sizeof path, "%s/newer.safetensors", test_folder());
	rng_init(&rng, test_seed(), 8);
	make_rows(&rng);
	struct recurrent *old = random_model(&rng, 2, 20);
	struct code_shape shape = recurrent_info(old).shape;
	assert_int_equal(recurrent_save(old, path, &err), 0);
	recurrent_free(old);
	old = recurrent_open(path, shape, &err); /* its id is of the file */
	assert_non_null(old);
	const struct recurrent_rotation_config config = {
	    .input_dims = D, .shape = {M, 4, 0}, .seed = 3};
	struct recurrent *model = recurrent_new(&config, &err);
	assert_non_null(model);
	assert_int_equal(compatible_add(model, old, NULL, test_blas(), 1, &err), 0);
	assert_int_equal(recurrent_save(model, path, &err), 0);
	recurrent_free(model);
	model = recurrent_open(path, (struct code_shape){M, 4, 0}, &err);
	assert_non_null(model);
	const struct recurrent *known = recurrent_searching(model, recurrent_id(old));
	assert_non_null(known);
	assert_true(code_shape_equal(recurrent_info(known).shape, shape));
	struct recurrent_scratch *a = recurrent_scratch_new(old, &err);
	struct recurrent_scratch *b = recurrent_scratch_new(known, &err);
	assert_true(a && b);
	for (size_t i = 0; i < 200; i++) {
		const float *q = rows + (i + 1000) * D;
		recurrent_encode(old, a, wire, &numbers, rows + i * D, &err);
		assert_int_equal(recurrent_query_int8(old, a, &own, q, &err), 0);
		assert_int_equal(recurrent_query_int8(known, b, &now, q, &err), 0);
		double want = score(&own, numbers.factor, wire, shape);
		assert_true(
		    fabs(score(&now, numbers.factor, wire, shape) - want) < 0.01);
		/* by codes: both ways near to what floats say */
		assert_int_equal(recurrent_query_sdc(known, b, &now, q, &err), 0);
		assert_true(
		    fabs(score(&now, numbers.factor, wire, shape) - want) < 0.15);
	}
	recurrent_scratch_free(a);
	recurrent_scratch_free(b);
	recurrent_free(model);
	recurrent_free(old);
}

static void
test_file(void **state)
{
	struct error err;
	struct rng rng;
	char path[512];
	uint8_t wire[2][CODE_BYTES_MAX];
	struct recurrent_numbers numbers[2];
	(void)state;

	snprintf(path, sizeof path, "%s/model.safetensors", test_folder());
	rng_init(&rng, test_seed(), 7);
	make_rows(&rng);
	struct recurrent *model = random_model(&rng, 2, 33);
	assert_int_equal(recurrent_save(model, path, &err), 0);
	struct recurrent_info info;
	assert_int_equal(recurrent_peek(&info, path, &err), 0);
	assert_int_equal(info.shape.centres, 33);
	struct recurrent *back =
	    recurrent_open(path, (struct code_shape){M, 2, 0}, &err);
	assert_non_null(back);
	struct recurrent_scratch *a = recurrent_scratch_new(model, &err);
	struct recurrent_scratch *b = recurrent_scratch_new(back, &err);
	for (size_t i = 0; i < 50; i++) {
		recurrent_encode(model, a, wire[0], &numbers[0], rows + i * D, &err);
		recurrent_encode(back, b, wire[1], &numbers[1], rows + i * D, &err);
		assert_memory_equal(
		    wire[0], wire[1], code_bytes(recurrent_info(back).shape));
		assert_memory_equal(&numbers[0], &numbers[1], sizeof numbers[0]);
	}
	recurrent_scratch_free(a);
	recurrent_scratch_free(b);
	recurrent_free(model);
	recurrent_free(back);
}

/* Files that say other centres than they hold. */
static void
test_file_refused(void **state)
{
	struct error err;
	struct rng rng;
	char path[512];
	(void)state;

	snprintf(path, sizeof path, "%s/refused.safetensors", test_folder());
	rng_init(&rng, test_seed(), 9);
	static float map[64 * 8], mean[8], centres[3 * 8];
	for (size_t i = 0; i < 64 * 8; i++)
		map[i] = rng_normal(&rng);
	struct tensor list[4] = {models_tensor("mean", mean, 8, 0),
	    models_tensor("query.weight", map, 64, 8),
	    models_tensor("base.weight", map, 64, 8),
	    models_tensor("centres", centres, 3, 8)};
	struct tensors_pair said[] = {{"format", "halftone-binarizer"},
	    {"format_version", "1"}, {"kind", "refined"}, {"dims", "64"}, {"bits", "1"},
	    {"centres", "3"}};
	static const struct {
		const char *said; /* NULL: nothing of centres */
		float mean, centre;
		const char *message; /* NULL: fine */
	} cases[] = {{"3", 0, 0.5f, NULL}, {"4", 0, 0.5f, "'centres'"},
	    {"1025", 0, 0.5f, "up to 1024"}, {"-1", 0, 0.5f, "up to 1024"},
	    {"0", 0, 0.5f, "1 to 1024"}, {NULL, 0, 0.5f, "metadata 'centres'"},
	    {"3", 0, NAN, "finite"}, {"3", 0, 1e3f, "length 1000"},
	    {"3", 0, 1e37f, "of length 1"},
	    {"3", 0.1f, 0.5f, "where there are centres"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		said[5].value = cases[i].said;
		mean[3] = cases[i].mean;
		centres[23] = cases[i].centre;
		assert_int_equal(
		    tensors_save(path, list, 4, said, cases[i].said ? 6 : 5, &err), 0);
		struct recurrent *opened =
		    recurrent_open(path, (struct code_shape){64, 1, 0}, &err);
		if (!opened != !!cases[i].message ||
		    (!opened && (err.code != ERR_FORMAT ||
				    !strstr(err.text, cases[i].message))))
			fail_msg("case %zu: '%s'", i, opened ? "opened" : err.text);
		recurrent_free(opened);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nearest),
	    cmocka_unit_test(test_learn),
	    cmocka_unit_test(test_estimates),
	    cmocka_unit_test(test_sdc),
	    cmocka_unit_test(test_centre_itself),
	    cmocka_unit_test(test_search),
	    cmocka_unit_test(test_older),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_file_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
