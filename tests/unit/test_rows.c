/*
 * Claims of attention/rows.h and how they are checked:
 *  - every kernel gives the bits of the scalar one: random rows of every size, extremes
 *    among them, in buffers that end at an unreadable page;
 *  - the scalar one is right: norms, mean and unit against double precision, quantize
 *    against its formula to the last bit, gelu against erfl over -10 .. 10 and beyond;
 *  - a row's result does not depend on the rows beside it;
 *  - $SIMD is a ceiling.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/rows.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])

#define ROWS_MAX 9
#define DIMS_MAX 1536

/* Rows, and all that a kernel makes of them, each ending at a guard page. */
struct probe {
	size_t n, dims;
	float *x, *weight, *bias;
	float *layer_norm, *rms_norm, *gelu;
	float *mean, *unit;
	float *scale;
	int32_t *sum, *byte_sum;
	int8_t *q;
	int has_unit;
};

static struct probe
probe_new(size_t n, size_t dims)
{
	struct probe p = {.n = n, .dims = dims};

	p.x = guard_new(n * dims * sizeof *p.x);
	p.weight = guard_new(dims * sizeof *p.weight);
	p.bias = guard_new(dims * sizeof *p.bias);
	p.layer_norm = guard_new(n * dims * sizeof *p.layer_norm);
	p.rms_norm = guard_new(n * dims * sizeof *p.rms_norm);
	p.gelu = guard_new(n * dims * sizeof *p.gelu);
	p.mean = guard_new(dims * sizeof *p.mean);
	p.unit = guard_new(dims * sizeof *p.unit);
	p.scale = guard_new(n * sizeof *p.scale);
	p.sum = guard_new(n * sizeof *p.sum);
	p.byte_sum = guard_new(n * sizeof *p.byte_sum);
	p.q = guard_new(n * dims);
	return p;
}

static void
probe_free(struct probe *p)
{
	guard_free(p->x, p->n * p->dims * sizeof *p->x);
	guard_free(p->weight, p->dims * sizeof *p->weight);
	guard_free(p->bias, p->dims * sizeof *p->bias);
	guard_free(p->layer_norm, p->n * p->dims * sizeof *p->layer_norm);
	guard_free(p->rms_norm, p->n * p->dims * sizeof *p->rms_norm);
	guard_free(p->gelu, p->n * p->dims * sizeof *p->gelu);
	guard_free(p->mean, p->dims * sizeof *p->mean);
	guard_free(p->unit, p->dims * sizeof *p->unit);
	guard_free(p->scale, p->n * sizeof *p->scale);
	guard_free(p->sum, p->n * sizeof *p->sum);
	guard_free(p->byte_sum, p->n * sizeof *p->byte_sum);
	guard_free(p->q, p->n * p->dims);
}

static void
probe_run(struct probe *p, const struct rows_kernel *kernel)
{
	const struct rows_norm norm = {p->weight, p->bias, 1e-12f};
	const size_t bytes = p->n * p->dims * sizeof *p->x;

	memcpy(p->layer_norm, p->x, bytes);
	kernel->layer_norm(p->layer_norm, &norm, p->n, p->dims);
	memcpy(p->rms_norm, p->x, bytes);
	kernel->rms_norm(
	    p->rms_norm, &(struct rows_norm){p->weight, NULL, 1e-6f}, p->n, p->dims);
	memcpy(p->gelu, p->x, bytes);
	kernel->gelu(p->gelu, p->n * p->dims);
	kernel->quantize(p->q, p->scale, p->sum, p->x, p->n, p->dims);
	kernel->sum(p->byte_sum, p->q, p->n, p->dims);
	kernel->mean(p->mean, p->x, p->n, p->dims);
	memset(p->unit, 0, p->dims * sizeof *p->unit);
	p->has_unit = kernel->unit(p->unit, p->x, p->dims);
}

/* Which NaN a NaN is, is not promised. */
static void
assert_same_floats(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(isnan(a[i]) && isnan(b[i])) && memcmp(a + i, b + i, 4) != 0)
			fail_msg("number %zu: %.9g, not %.9g", i, (double)a[i],
			    (double)b[i]);
}

/* What a row may be filled with. */
enum fill {
	FILL_NORMAL,
	FILL_ZERO,
	FILL_EQUAL,
	FILL_HUGE,     /* squares overflow */
	FILL_TINY,     /* squares vanish */
	FILL_DENORMAL, /* and zeros of both signs */
	FILL_OFFSET,   /* a mean far from 0 */
	FILL_NAN,
	FILL_INFINITE,
	FILLS
};

static void
fill_row(float *x, size_t dims, enum fill fill, struct rng *rng)
{
	static const float factor[FILLS] = {[FILL_NORMAL] = 1,
	    [FILL_HUGE] = 1e37f,
	    [FILL_TINY] = 1e-30f,
	    [FILL_DENORMAL] = 1e-41f,
	    [FILL_OFFSET] = 1,
	    [FILL_NAN] = 1,
	    [FILL_INFINITE] = 1};
	const float offset = fill == FILL_EQUAL || fill == FILL_OFFSET ? 30.3f : 0;

	for (size_t i = 0; i < dims; i++)
		x[i] = factor[fill] * rng_normal(rng) + offset;
	if (fill == FILL_DENORMAL)
		x[rng_below(rng, dims)] = -0.0f;
	if (fill == FILL_NAN)
		x[rng_below(rng, dims)] = NAN;
	if (fill == FILL_INFINITE)
		x[rng_below(rng, dims)] = -INFINITY;
}

static void
fill_norm(struct probe *p, struct rng *rng)
{
	for (size_t i = 0; i < p->dims; i++) {
		p->weight[i] = rng_normal(rng);
		p->bias[i] = rng_normal(rng);
	}
}

static void
assert_same_results(const struct probe *a, const struct probe *b)
{
	const size_t all = a->n * a->dims;

	assert_same_floats(a->layer_norm, b->layer_norm, all);
	assert_same_floats(a->rms_norm, b->rms_norm, all);
	assert_same_floats(a->gelu, b->gelu, all);
	assert_same_floats(a->mean, b->mean, a->dims);
	assert_int_equal(a->has_unit, b->has_unit);
	assert_same_floats(a->unit, b->unit, a->dims);
	assert_same_floats(a->scale, b->scale, a->n);
	assert_memory_equal(a->sum, b->sum, a->n * sizeof *a->sum);
	assert_memory_equal(a->byte_sum, b->byte_sum, a->n * sizeof *a->sum);
	assert_memory_equal(a->q, b->q, all);
}

static void
test_levels(void **state)
{
	struct rng rng;
	int compared = 0;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 400; round++) {
		const size_t n = 1 + rng_below(&rng, ROWS_MAX);
		const size_t dims =
		    round % 8 == 0 ? DIMS_MAX : 16 * (1 + rng_below(&rng, 30));
		struct probe want = probe_new(n, dims), got = probe_new(n, dims);
		for (size_t r = 0; r < n; r++)
			fill_row(want.x + r * dims, dims,
			    (enum fill)(rng_below(&rng, 2) ? FILL_NORMAL
							   : rng_below(&rng, FILLS)),
			    &rng);
		fill_norm(&want, &rng);
		memcpy(got.x, want.x, n * dims * sizeof *want.x);
		memcpy(got.weight, want.weight, dims * sizeof *want.weight);
		memcpy(got.bias, want.bias, dims * sizeof *want.bias);
		probe_run(&want, rows_find(CPU_SCALAR));
		for (size_t l = 1; l < N_LEVELS; l++) {
			if (!rows_find(levels_of_cpu[l]))
				continue;
			probe_run(&got, rows_find(levels_of_cpu[l]));
			assert_same_results(&got, &want);
			compared++;
		}
		probe_free(&want);
		probe_free(&got);
	}
	printf("%d comparisons with scalar\n", compared);
}

/* Row r of many alone. */
static void
test_neighbours(void **state)
{
	enum { DIMS = 48 };
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 2);
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct rows_kernel *kernel = rows_find(levels_of_cpu[l]);
		if (!kernel)
			continue;
		struct probe many = probe_new(ROWS_MAX, DIMS), one = probe_new(1, DIMS);
		for (size_t r = 0; r < ROWS_MAX; r++)
			fill_row(many.x + r * DIMS, DIMS, (enum fill)(r % FILLS), &rng);
		fill_norm(&many, &rng);
		memcpy(one.weight, many.weight, DIMS * sizeof *one.weight);
		memcpy(one.bias, many.bias, DIMS * sizeof *one.bias);
		probe_run(&many, kernel);
		for (size_t r = 0; r < ROWS_MAX; r++) {
			const size_t at = r * DIMS;
			memcpy(one.x, many.x + at, DIMS * sizeof *one.x);
			probe_run(&one, kernel);
			assert_same_floats(one.layer_norm, many.layer_norm + at, DIMS);
			assert_same_floats(one.rms_norm, many.rms_norm + at, DIMS);
			assert_same_floats(one.gelu, many.gelu + at, DIMS);
			assert_same_floats(one.scale, many.scale + r, 1);
			assert_memory_equal(one.q, many.q + at, DIMS);
			assert_int_equal(*one.sum, many.sum[r]);
			assert_int_equal(*one.byte_sum, many.byte_sum[r]);
		}
		probe_free(&many);
		probe_free(&one);
	}
}

/* A norm's error: of the mean and x (both within a few roundings of the largest |x|,
 * magnified by 1 / deviation) and of the rest (relative; sums of 96 roundings). */
static void
test_norms(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 3);
	for (int round = 0; round < 200; round++) {
		const size_t dims = 16 * (1 + rng_below(&rng, DIMS_MAX / 16));
		struct probe p = probe_new(1, dims);
		double mean = 0, variance = 0, square = 0, top = 0;
		fill_row(p.x, dims, round % 2 ? FILL_NORMAL : FILL_OFFSET, &rng);
		fill_norm(&p, &rng);
		probe_run(&p, rows_find(CPU_SCALAR));
		for (size_t i = 0; i < dims; i++) {
			mean += (double)p.x[i] / (double)dims;
			square += (double)p.x[i] * p.x[i] / (double)dims;
			top = fmax(top, fabs((double)p.x[i]));
		}
		for (size_t i = 0; i < dims; i++)
			variance += pow(p.x[i] - mean, 2) / (double)dims;
		for (size_t i = 0; i < dims; i++) {
			const double w = p.weight[i], b = p.bias[i], x = p.x[i];
			const double deviation = sqrt(variance + 1e-12);
			double want = (x - mean) / deviation * w + b;
			double bound = 1e-6 * (fabs(want - b) + fabs(b)) +
				       4e-7 * top / deviation * fabs(w);
			assert_true(fabs(p.layer_norm[i] - want) <= bound);
			want = x / sqrt(square + 1e-6) * w;
			assert_true(
			    fabs(p.rms_norm[i] - want) <= 1e-6 * fabs(want) + 1e-12);
		}
		probe_free(&p);
	}
}

/* The header's formula, one number after the other. */
static int8_t
plain_level(float x, float a)
{
	float y = x * (127 / a);

	return isnan(y) ? 0 : (int8_t)fmaxf(-127, fminf(127, rintf(y)));
}

static void
test_quantize(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 4);
	for (int round = 0; round < 600; round++) {
		const size_t dims = 16 * (1 + rng_below(&rng, 40));
		struct probe p = probe_new(1, dims);
		float a = 1e-5f;
		int32_t sum = 0;
		fill_row(p.x, dims, (enum fill)(round % FILLS), &rng);
		if (round % 3 == 0) /* halves, which round to even */
			for (size_t i = 0; i < dims; i++)
				p.x[i] =
				    i == 5 ? 127 : 0.5f * (float)rng_below(&rng, 255);
		probe_run(&p, rows_find(CPU_SCALAR));
		for (size_t i = 0; i < dims; i++)
			a = fabsf(p.x[i]) > a ? fabsf(p.x[i]) : a;
		for (size_t i = 0; i < dims; i++) {
			assert_int_equal(p.q[i], plain_level(p.x[i], a));
			sum += p.q[i];
		}
		float scale = a / 127;
		assert_same_floats(p.scale, &scale, 1);
		assert_int_equal(*p.sum, sum);
		assert_int_equal(*p.byte_sum, sum);
		probe_free(&p);
	}
}

static void
check_gelu(const float *x, size_t n)
{
	float y[16];

	for (size_t i = 0; i < n; i += 16) {
		memcpy(y, x + i, sizeof y);
		rows_find(CPU_SCALAR)->gelu(y, 16);
		for (size_t j = 0; j < 16; j++) {
			const long double at = x[i + j];
			long double want = at / 2 * (1 + erfl(at / sqrtl(2)));
			long double error = fabsl(y[j] - want);
			if (!(error <= 4e-7L || error <= 4e-7L * fabsl(want)))
				fail_msg("gelu(%.9g) = %.9g, not %.9Lg",
				    (double)x[i + j], (double)y[j], want);
		}
	}
}

static void
test_gelu(void **state)
{
	enum { N = 320000 };
	float *x = malloc(N * sizeof *x);

	(void)state;
	for (size_t i = 0; i < N; i++)
		x[i] = -10 + 20 * (float)i / (N - 1);
	check_gelu(x, N);
	/* Every magnitude, both signs. */
	for (size_t i = 0; i < 512; i++)
		x[i] = ldexpf(i % 2 ? -1.37f : 1.37f, (int)(i / 2) - 130);
	check_gelu(x, 512);
	free(x);

	float special[16] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX};
	rows_find(CPU_SCALAR)->gelu(special, 16);
	assert_true(special[0] == 0 && !signbit(special[0]));
	assert_true(special[1] == 0 && signbit(special[1]));
	assert_true(special[2] == INFINITY);
	assert_true(fabsf(special[3]) < 4e-7f);
	assert_true(isnan(special[4]));
	assert_true(special[5] == FLT_MAX);
	assert_true(fabsf(special[6]) < 4e-7f);
}

static void
test_mean_and_unit(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 5);
	for (int round = 0; round < 100; round++) {
		const size_t n = 1 + rng_below(&rng, 100);
		const size_t dims = 16 * (1 + rng_below(&rng, 30));
		struct probe p = probe_new(n, dims);
		double square = 0;
		for (size_t r = 0; r < n; r++)
			fill_row(p.x + r * dims, dims, FILL_NORMAL, &rng);
		probe_run(&p, rows_find(CPU_SCALAR));
		for (size_t i = 0; i < dims; i++) {
			double sum = 0, size = 0;
			for (size_t r = 0; r < n; r++) {
				sum += (double)p.x[r * dims + i];
				size += fabs((double)p.x[r * dims + i]);
			}
			assert_true(fabs(p.mean[i] - sum / (double)n) <=
				    1e-6 * size / (double)n);
			square += (double)p.x[i] * p.x[i];
		}
		assert_int_equal(p.has_unit, 1);
		for (size_t i = 0; i < dims; i++)
			assert_true(fabs(p.unit[i] - p.x[i] / sqrt(square)) <= 1e-6);
		probe_free(&p);
	}
}

static void
test_no_direction(void **state)
{
	static const float bad[] = {0, 1e-17f, 1e38f, INFINITY, NAN};

	(void)state;
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct rows_kernel *kernel = rows_find(levels_of_cpu[l]);
		for (size_t b = 0; kernel && b < sizeof bad / sizeof bad[0]; b++) {
			float x[16] = {0, bad[b]}, out[16] = {7, 8, 9};
			assert_int_equal(kernel->unit(out, x, 16), 0);
			assert_true(out[0] == 7 && out[1] == 8 && out[2] == 9);
		}
	}
}

static void
test_choice(void **state)
{
	(void)state;
	assert_non_null(rows_find(CPU_SCALAR));
	assert_null(rows_find(CPU_AMX));
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct rows_kernel *kernel = rows_find(levels_of_cpu[l]);
		if (kernel)
			assert_string_equal(
			    kernel->name, cpu_level_name(levels_of_cpu[l]));
	}
	/* main() set the ceiling before the first use. */
	assert_string_equal(rows_best()->name, "scalar");
}

/* In a process of its own: the choice is made once. */
static int
best_without_ceiling(void)
{
	const struct rows_kernel *want = NULL;

	unsetenv("SIMD");
	for (size_t l = 0; l < N_LEVELS; l++)
		if (rows_find(levels_of_cpu[l]))
			want = rows_find(levels_of_cpu[l]);
	return rows_best() == want ? 0 : 1;
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
	    cmocka_unit_test(test_levels),
	    cmocka_unit_test(test_neighbours),
	    cmocka_unit_test(test_norms),
	    cmocka_unit_test(test_quantize),
	    cmocka_unit_test(test_gelu),
	    cmocka_unit_test(test_mean_and_unit),
	    cmocka_unit_test(test_no_direction),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_best),
	};

	if (argc > 1)
		return best_without_ceiling();
	self = argv[0];
	setenv("SIMD", "scalar", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
