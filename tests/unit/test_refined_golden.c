/* Claim: refined models of 1, 2 and 4 bits, with and without centres, give the codes
 * and places that numpy computes from docs/formats.md in integers (tests/golden/
 * make_refined.py), bit for bit by every kernel, and its factors, vectors and queries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tensors.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"

/* A model, and what it has to give. */
struct golden {
	struct recurrent *model;
	struct recurrent_scratch *scratch;
	struct tensors *want;
	struct code_shape shape;
	size_t dims; /* of vectors */
	const float *x;
	size_t n;
};

static void
open_golden(struct golden *g, const char *name, struct code_shape shape)
{
	struct error err = {ERR_NONE, ""};
	char path[128];

	snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
	g->model = recurrent_open(path, shape, &err);
	if (!g->model)
		fail_msg("%s", err.text);
	g->scratch = recurrent_scratch_new(g->model, &err);
	assert_non_null(g->scratch);
	snprintf(path, sizeof path, "tests/golden/%s_results.safetensors", name);
	g->want = tensors_open(path, &err);
	if (!g->want)
		fail_msg("%s", err.text);
	g->shape = recurrent_info(g->model).shape;
	assert_int_equal(g->shape.centres, shape.centres);
	g->dims = recurrent_info(g->model).input_dims;
	const struct tensor *x = tensors_find(g->want, "x");
	assert_non_null(x);
	assert_int_equal(x->shape[1], g->dims);
	g->x = x->data;
	g->n = x->shape[0];
	assert_true(g->n >= 12);
}

static void
close_golden(struct golden *g)
{
	tensors_close(g->want);
	recurrent_scratch_free(g->scratch);
	recurrent_free(g->model);
}

/* Row i of what is wanted, each of `size` bytes. */
static const void *
row_of(const struct golden *g, const char *name, size_t i, size_t size)
{
	const struct tensor *tensor = tensors_find(g->want, name);

	assert_non_null(tensor);
	assert_int_equal(tensor->size_bytes, g->n * size);
	return (const uint8_t *)tensor->data + i * size;
}

static void
expect_near(const float *got, const float *want, size_t n, double tolerance)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
			fail_msg("%.9g at %zu, expected %.9g", (double)got[i], i,
			    (double)want[i]);
}

static void
check_codes(const struct golden *g)
{
	size_t bytes = code_bytes(g->shape);
	uint8_t *wire = guard_new(g->n * bytes);
	struct recurrent_numbers *numbers = calloc(g->n, sizeof *numbers);
	const struct recurrent_codes codes = {wire, numbers};
	float *decoded = guard_new(g->dims * sizeof *decoded);
	struct error err;

	assert_non_null(numbers);
	assert_int_equal(
	    recurrent_encode_many(g->model, g->scratch, &codes, g->x, g->n, &err),
	    g->n);
	for (size_t i = 0; i < g->n; i++) {
		const float *f = row_of(g, "factor", i, sizeof *f);
		assert_memory_equal(
		    wire + i * bytes, row_of(g, "wire", i, bytes), bytes);
		expect_near(&numbers[i].factor, f, 1, 1e-6 * (double)*f);
		recurrent_decode(
		    g->model, g->scratch, decoded, wire + i * bytes, numbers[i].factor);
		const float *want = row_of(g, "decoded", i, g->dims * sizeof *decoded);
		expect_near(decoded, want, g->dims, 1e-5);
	}
	guard_free(decoded, g->dims * sizeof *decoded);
	free(numbers);
	guard_free(wire, g->n * bytes);
}

typedef int ask_function(const struct recurrent *, struct recurrent_scratch *,
    struct recurrent_query *, const float *, struct error *);

static void
check_queries(const struct golden *g, ask_function *ask, const char *name)
{
	size_t m = g->shape.dims, k = g->shape.centres;
	char numbers[32], bases[32];
	struct recurrent_query query = {
	    .k = guard_new(m), .bases = guard_new(k * sizeof(float))};
	struct error err;

	snprintf(numbers, sizeof numbers, "%s_numbers", name);
	snprintf(bases, sizeof bases, "%s_bases", name);
	for (size_t i = 0; i < g->n; i++) {
		assert_int_equal(
		    ask(g->model, g->scratch, &query, g->x + i * g->dims, &err), 0);
		assert_memory_equal(query.k, row_of(g, name, i, m), m);
		const float *want = row_of(g, numbers, i, 2 * sizeof *want);
		/* of a code at a centre: what it decodes to is floats, which are
		 * rounded to integers again */
		expect_near(&query.scale, want, 1, 1e-4 * (double)want[0]);
		expect_near(&query.base, want + 1, 1, 1e-5);
		if (k > 0)
			expect_near(query.bases, row_of(g, bases, i, k * sizeof(float)),
			    k, 1e-3);
	}
	guard_free(query.k, m);
	guard_free(query.bases, k * sizeof(float));
}

static void
test_golden(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		struct code_shape shape;
	} models[] = {
	    {"refined_1", {64, 1, 0}},
	    {"refined_1_centres", {64, 1, 5}},
	    {"refined_2", {64, 2, 0}},
	    {"refined_2_centres", {128, 2, 5}},
	    {"refined_4", {64, 4, 0}},
	    {"refined_4_centres", {64, 4, 5}},
	};

	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		struct golden g;
		open_golden(&g, models[i].name, models[i].shape);
		check_codes(&g);
		check_queries(&g, recurrent_query_int8, "int8");
		check_queries(&g, recurrent_query_sdc, "sdc");
		close_golden(&g);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
