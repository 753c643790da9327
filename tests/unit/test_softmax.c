/*
 * Claims of attention/softmax.h and how they are checked:
 *  - the scalar kernel is the formula, against double precision;
 *  - every kernel gives its bits, for texts of 1 .. 70, 128, 511 and 512 tokens, with
 *    everything it reads or writes ending at an unreadable page, and whatever was in
 *    the scratch;
 *  - a query's result depends neither on other queries nor on other heads;
 *  - equal, huge, tiny, zero and denormal numbers give what they should;
 *  - $SIMD is a ceiling.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/softmax.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])

struct shape {
	size_t n, heads, head_dims, stride;
};

/* A text whose rows, result and scratch end at guard pages. */
struct text {
	struct shape shape;
	float *q, *k, *v, *out, *scratch;
	size_t in_bytes, out_bytes, scratch_bytes;
};

static struct text
text_new(struct shape shape)
{
	const size_t width = shape.heads * shape.head_dims;
	struct text t = {.shape = shape};

	t.in_bytes = ((shape.n - 1) * shape.stride + width) * sizeof(float);
	t.out_bytes = shape.n * width * sizeof(float);
	t.scratch_bytes = softmax_scratch(shape.n, shape.head_dims) * sizeof(float);
	t.q = guard_new(t.in_bytes);
	t.k = guard_new(t.in_bytes);
	t.v = guard_new(t.in_bytes);
	t.out = guard_new(t.out_bytes);
	t.scratch = guard_new(t.scratch_bytes);
	return t;
}

static void
text_free(struct text *t)
{
	guard_free(t->q, t->in_bytes);
	guard_free(t->k, t->in_bytes);
	guard_free(t->v, t->in_bytes);
	guard_free(t->out, t->out_bytes);
	guard_free(t->scratch, t->scratch_bytes);
}

static void
fill(float *x, size_t bytes, float factor, struct rng *rng)
{
	for (size_t i = 0; i < bytes / sizeof *x; i++)
		x[i] = factor * rng_normal(rng);
}

/* Queries and keys times factor. */
static void
text_fill(struct text *t, float factor, struct rng *rng)
{
	fill(t->q, t->in_bytes, factor, rng);
	fill(t->k, t->in_bytes, factor, rng);
	fill(t->v, t->in_bytes, 1, rng);
}

static void
text_run(struct text *t, enum cpu_level level)
{
	struct attend attend = {.q = t->q,
	    .k = t->k,
	    .v = t->v,
	    .stride = t->shape.stride,
	    .out = t->out,
	    .n = t->shape.n,
	    .heads = t->shape.heads,
	    .head_dims = t->shape.head_dims};

	memset(t->out, 0xFF, t->out_bytes); /* NaN, which nothing may meet */
	memset(t->scratch, 0xFF, t->scratch_bytes);
	softmax_find(level)(&attend, t->scratch);
}

/* out := the formula in double precision, for head h of query i. */
static void
plain_attend(double *out, const struct text *t, size_t i, size_t h)
{
	const size_t n = t->shape.n, dims = t->shape.head_dims, at = h * dims;
	const float *q = t->q + i * t->shape.stride + at;
	double score[ATTEND_TOKENS_MAX], top = -INFINITY, sum = 0;

	for (size_t j = 0; j < n; j++) {
		const float *k = t->k + j * t->shape.stride + at;
		score[j] = 0;
		for (size_t d = 0; d < dims; d++)
			score[j] += (double)q[d] * k[d] / sqrt((double)dims);
		top = fmax(top, score[j]);
	}
	for (size_t d = 0; d < dims; d++)
		out[d] = 0;
	for (size_t j = 0; j < n; j++) {
		const float *v = t->v + j * t->shape.stride + at;
		double w = exp(score[j] - top);
		sum += w;
		for (size_t d = 0; d < dims; d++)
			out[d] += w * v[d];
	}
	for (size_t d = 0; d < dims; d++)
		out[d] /= sum;
}

/* Largest difference of the result from the formula. */
static double
text_error(const struct text *t)
{
	const size_t dims = t->shape.head_dims, width = t->shape.heads * dims;
	double want[ATTEND_HEAD_DIMS_MAX], worst = 0;

	for (size_t i = 0; i < t->shape.n; i++)
		for (size_t h = 0; h < t->shape.heads; h++) {
			plain_attend(want, t, i, h);
			for (size_t d = 0; d < dims; d++) {
				double got = t->out[i * width + h * dims + d];
				double error = fabs(got - want[d]);
				worst = error <= worst ? worst : error; /* NaN too */
			}
		}
	return worst;
}

/* Scores within about -5 .. 5 of values of about 1: their roundings are 1e-6. */
static void
test_formula(void **state)
{
	struct rng rng;
	double worst = 0;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 60; round++) {
		struct shape shape = {1 + rng_below(&rng, 90), 1 + rng_below(&rng, 3),
		    16 * (1 + rng_below(&rng, 8)), 0};
		shape.stride = shape.heads * shape.head_dims + rng_below(&rng, 40);
		struct text t = text_new(shape);
		text_fill(&t, 1, &rng);
		text_run(&t, CPU_SCALAR);
		double error = text_error(&t);
		worst = error <= worst ? worst : error;
		text_free(&t);
	}
	printf("largest error %.2g\n", worst);
	assert_true(worst <= 4e-6);
}

static void
check_levels(struct shape shape, float factor, struct rng *rng)
{
	struct text t = text_new(shape);
	float *want = malloc(t.out_bytes);

	text_fill(&t, factor, rng);
	text_run(&t, CPU_SCALAR);
	memcpy(want, t.out, t.out_bytes);
	for (size_t i = 0; i < t.out_bytes / sizeof *want; i++)
		assert_true(isfinite(want[i]));
	for (size_t l = 1; l < N_LEVELS; l++) {
		if (!softmax_find(levels_of_cpu[l]))
			continue;
		text_run(&t, levels_of_cpu[l]);
		assert_memory_equal(t.out, want, t.out_bytes);
	}
	free(want);
	text_free(&t);
}

static void
test_levels(void **state)
{
	static const size_t more[] = {128, 511, ATTEND_TOKENS_MAX};
	static const float factors[] = {1, 5, 1e15f, 1e-25f};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 2);
	for (size_t n = 1; n <= 70; n++) {
		struct shape shape = {n, 1 + n % 3, 16 * (1 + rng_below(&rng, 8)), 0};
		shape.stride = shape.heads * shape.head_dims + 5 * (n % 2);
		check_levels(shape, factors[n % 4], &rng);
		check_levels((struct shape){n, 1, 32, 32}, 1, &rng);
	}
	for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
		check_levels((struct shape){more[i], 2, 32, 96}, 2, &rng);
		check_levels((struct shape){more[i], 1, 64, 64}, 1, &rng);
	}
}

/* Change the other queries, and all of the other head: the same bits. */
static void
test_independence(void **state)
{
	const struct shape shape = {53, 2, 32, 70};
	const size_t i = 20, width = 64;
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 3);
	for (size_t l = 0; l < N_LEVELS; l++) {
		if (!softmax_find(levels_of_cpu[l]))
			continue;
		struct text t = text_new(shape);
		float want[32];
		text_fill(&t, 1, &rng);
		text_run(&t, levels_of_cpu[l]);
		memcpy(want, t.out + i * width, sizeof want);
		for (size_t j = 0; j < shape.n; j++)
			for (size_t d = 0; d < width; d++) {
				if (d >= 32)
					t.k[j * shape.stride + d] =
					    t.v[j * shape.stride + d] = NAN;
				if (j != i || d >= 32)
					t.q[j * shape.stride + d] =
					    rng_normal(&rng) * 1e20f;
			}
		text_run(&t, levels_of_cpu[l]);
		assert_memory_equal(t.out + i * width, want, sizeof want);
		text_free(&t);
	}
}

static void
test_extremes(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 4);
	for (size_t l = 0; l < N_LEVELS; l++) {
		const enum cpu_level level = levels_of_cpu[l];
		if (!softmax_find(level))
			continue;
		struct text t = text_new((struct shape){37, 1, 16, 16});
		/* Equal scores, of 0 and of denormal numbers: the mean. */
		text_fill(&t, 0, &rng);
		text_run(&t, level);
		assert_true(text_error(&t) <= 1e-6);
		text_fill(&t, 1e-41f, &rng);
		text_run(&t, level);
		assert_true(text_error(&t) <= 1e-6);
		/* Huge scores, exact, so that ties are ties: the mean of the values of
		 * the largest. */
		for (size_t i = 0; i < t.in_bytes / sizeof *t.q; i++) {
			t.q[i] = 0x1p33f * ((float)rng_below(&rng, 7) - 3);
			t.k[i] = 0x1p33f * ((float)rng_below(&rng, 7) - 3);
		}
		text_run(&t, level);
		assert_true(text_error(&t) <= 1e-6);
		/* Values that are all equal, up to rounding. */
		text_fill(&t, 1, &rng);
		for (size_t i = 0; i < t.in_bytes / sizeof *t.v; i++)
			t.v[i] = 3;
		text_run(&t, level);
		assert_true(text_error(&t) <= 2e-6);
		/* One token: its value. */
		struct text one = text_new((struct shape){1, 1, 16, 16});
		text_fill(&one, 3, &rng);
		text_run(&one, level);
		assert_memory_equal(one.out, one.v, one.out_bytes);
		text_free(&one);
		/* NaN anywhere in a query is NaN everywhere in its result. */
		t.q[5 * 16] = NAN;
		text_run(&t, level);
		for (size_t d = 0; d < 16; d++) {
			assert_true(isnan(t.out[5 * 16 + d]));
			assert_true(isfinite(t.out[6 * 16 + d]));
		}
		text_free(&t);
	}
}

static void
test_choice(void **state)
{
	(void)state;
	assert_non_null(softmax_find(CPU_SCALAR));
	assert_null(softmax_find(CPU_AMX));
	/* main() set the ceiling before the first use. */
	assert_ptr_equal(softmax_best(), softmax_find(CPU_SCALAR));
}

/* In a process of its own: the choice is made once. */
static int
best_without_ceiling(void)
{
	softmax_fn *want = NULL;

	unsetenv("SIMD");
	for (size_t l = 0; l < N_LEVELS; l++)
		if (softmax_find(levels_of_cpu[l]))
			want = softmax_find(levels_of_cpu[l]);
	return softmax_best() == want ? 0 : 1;
}

static const char *self;

static void
test_best(void **state)
{
	char command[4096];

	(void)state;
	snprintf(command, sizeof command, "'%s' best", self);
	assert_int_equal(system(command), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_formula),
	    cmocka_unit_test(test_levels),
	    cmocka_unit_test(test_independence),
	    cmocka_unit_test(test_extremes),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_best),
	};

	if (argc > 1)
		return best_without_ceiling();
	self = argv[0];
	setenv("SIMD", "scalar", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
