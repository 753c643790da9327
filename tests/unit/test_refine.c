/*
 * Claims of binarize/refine.h and how they are checked:
 *  - every kernel gives the bits of a plain loop over rows, columns and dimensions, for
 *    random decoders of several sizes and 1 to 4 bits, in buffers that end at an
 *    unreadable page;
 *  - a code cannot be bettered by a step of one level (in double precision, but for
 * what rounding could take back), and misses no more than the one it began with;
 *  - levels stay inside the code, also where the vector is far outside;
 *  - under a rotation the nearest levels stay;
 *  - a decoder with a row of zeros, or one that is not finite, is refused;
 *  - with memory short at any point refine_new says so and leaks nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/refine_kernels.h"
#include "tests/support/guard.h"

#define ROWS 29

static const struct refine_kernel *const kernels[] = {
    &refine_scalar,
#if defined(__x86_64__)
    &refine_avx2,
    &refine_avx512,
#elif defined(__aarch64__)
    &refine_neon,
#endif
};
#define KERNELS (sizeof kernels / sizeof *kernels)

static float
step_of(uint32_t bits)
{
	return 2.0f / (float)(1 << (bits - 1));
}

static float
top_of(uint32_t bits)
{
	return 2.0f - 1.0f / (float)(1 << (bits - 1));
}

static float *
random_floats(struct rng *rng, size_t n, float scale)
{
	float *x = guard_new(n * sizeof *x);
	for (size_t i = 0; i < n; i++)
		x[i] = scale * rng_normal(rng);
	return x;
}

/* A decoder whose rows lean on one another, of about unit vectors u. */
static float *
random_map(struct rng *rng, size_t m, size_t d)
{
	float *Q = random_floats(rng, m * d, 0.7f / sqrtf((float)(m * d)));
	for (size_t i = 1; i < m; i++)
		for (size_t j = 0; j < d; j++)
			Q[i * d + j] += 0.2f * Q[(i - 1) * d + j];
	return Q;
}

static void
free_floats(float *x, size_t n)
{
	guard_free(x, n * sizeof *x);
}

/* ---- the plain loop ---- */

static void
slow_product(float *y, const float *M, size_t rows, size_t columns, const float *x)
{
	for (size_t r = 0; r < rows; r++) {
		y[r] = 0.0f;
		for (size_t k = 0; k < columns; k++)
			y[r] += M[r * columns + k] * x[k];
	}
}

static void
slow_descend(float *v, float *c, const struct refine_rule *rule)
{
	for (size_t n = 0; n < rule->changes_max; n++) {
		float best = 0.0f;
		size_t at = 0;
		for (size_t i = 0; i < rule->dims; i++) {
			float next =
			    c[i] < 0.0f ? v[i] - rule->step : v[i] + rule->step;
			float gain = fabsf(c[i]) - rule->least[i];
			if (fabsf(next) <= rule->top && gain > best) {
				best = gain;
				at = i;
			}
		}
		if (best == 0.0f)
			return;
		float change = c[at] < 0.0f ? -rule->step : rule->step;
		v[at] += change;
		for (size_t i = 0; i < rule->dims; i++)
			c[i] -= rule->gram[at * rule->dims + i] * change;
	}
}

static void
to_panels(float *panels, const float *M, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t k = 0; k < columns; k++)
			panels[(r / REFINE_PANEL * columns + k) * REFINE_PANEL +
			       r % REFINE_PANEL] = M[r * columns + k];
}

static void
assert_products(const struct refine_kernel *kernel, struct rng *rng, size_t m, size_t d)
{
	float *Q = random_map(rng, m, d), *u = random_floats(rng, ROWS * d, 0.1f);
	float *panels = guard_new(m * d * sizeof *panels);
	float *want = guard_new(m * sizeof *want);
	float *got = guard_new(ROWS * m * sizeof *got);
	const struct refine_matrix matrix = {panels, m, d};

	to_panels(panels, Q, m, d);
	for (size_t n = 1; n <= ROWS; n += 7) {
		float *end = got + (ROWS - n) * m;
		kernel->product(end, &matrix, u + (ROWS - n) * d, n);
		for (size_t i = 0; i < n; i++) {
			slow_product(want, Q, m, d, u + (ROWS - n + i) * d);
			assert_memory_equal(want, end + i * m, m * sizeof *want);
		}
	}
	free_floats(Q, m * d);
	free_floats(u, ROWS * d);
	free_floats(panels, m * d);
	free_floats(want, m);
	free_floats(got, ROWS * m);
}

static void
assert_descents(
    const struct refine_kernel *kernel, struct rng *rng, size_t m, uint32_t bits)
{
	float *Q = random_map(rng, m, m), *least = guard_new(m * sizeof *least);
	float *gram = guard_new(m * m * sizeof *gram);
	float *v[2] = {guard_new(m * sizeof *v[0]), guard_new(m * sizeof *v[0])};
	float *c[2] = {guard_new(m * sizeof *c[0]), guard_new(m * sizeof *c[0])};
	const struct refine_rule rule = {.gram = gram,
	    .least = least,
	    .dims = m,
	    .changes_max = 4 * m,
	    .step = step_of(bits),
	    .top = top_of(bits)};

	for (size_t i = 0; i < m; i++)
		slow_product(gram + i * m, Q, m, m, Q + i * m);
	for (size_t i = 0; i < m; i++)
		least[i] = rule.step / 2 * gram[i * m + i];
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < m; i++) {
			v[0][i] = v[1][i] = 1.0f / (float)(1 << (bits - 1));
			/* some equal, so that the first one's turn is tried too */
			c[0][i] = c[1][i] = rng_below(rng, 4) == 0
						? 0.01f
						: rng_normal(rng) * 8 / (float)m;
		}
		slow_descend(v[0], c[0], &rule);
		kernel->descend(v[1], c[1], &rule);
		assert_memory_equal(v[0], v[1], m * sizeof *v[0]);
		assert_memory_equal(c[0], c[1], m * sizeof *c[0]);
	}
	free_floats(Q, m * m);
	free_floats(least, m);
	free_floats(gram, m * m);
	for (int i = 0; i < 2; i++) {
		free_floats(v[i], m);
		free_floats(c[i], m);
	}
}

static void
test_kernels_agree(void **state)
{
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	for (size_t k = 0; k < KERNELS; k++) {
		if (!cpu_has(kernels[k]->level)) {
			printf("skipped %s: not on this processor\n", kernels[k]->name);
			continue;
		}
		for (size_t m = 64; m <= 192; m += 64) {
			assert_products(kernels[k], &rng, m, 64);
			assert_products(kernels[k], &rng, m, 37);
			assert_products(kernels[k], &rng, m, 1);
			for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++)
				assert_descents(kernels[k], &rng, m, bits);
		}
	}
}

/* ---- what a code is ---- */

/* |u - Q^T v|^2 in double */
static double
missed(const float *Q, const float *u, const float *v, size_t m, size_t d)
{
	double sum = 0.0;
	for (size_t j = 0; j < d; j++) {
		double left = (double)u[j];
		for (size_t i = 0; i < m; i++)
			left -= (double)v[i] * (double)Q[i * d + j];
		sum += left * left;
	}
	return sum;
}

static void
assert_settled(
    const float *Q, const float *u, float *v, size_t m, size_t d, uint32_t bits)
{
	double now = missed(Q, u, v, m, d);
	float step = step_of(bits);

	for (size_t i = 0; i < m; i++) {
		float was = v[i];
		for (int way = -1; way <= 1; way += 2) {
			v[i] = was + (float)way * step;
			if (fabsf(v[i]) <= top_of(bits))
				assert_true(missed(Q, u, v, m, d) > now * (1 - 1e-4));
		}
		v[i] = was;
	}
}

static void
test_codes(void **state)
{
	enum { M = 128, D = 100, N = 5 };
	struct rng rng;
	struct error err;
	(void)state;

	rng_init(&rng, test_seed(), 2);
	float *Q = random_map(&rng, M, D), *u = random_floats(&rng, N * D, 0.1f);
	float *y = guard_new(N * M * sizeof *y), *c = guard_new(N * M * sizeof *c);
	float *v = guard_new(N * M * sizeof *v), *start = guard_new(N * M * sizeof *v);
	u[D] = 40.0f; /* the second is far outside */
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
		struct code_shape shape = {M, bits, 0};
		struct refine *refine = refine_new(Q, D, shape, &err);
		assert_non_null(refine);
		refine_project(refine, y, u, N);
		refine_code(refine, v, c, y, N);
		for (size_t i = 0; i < N * M; i++) {
			float odd = v[i] * (float)(1 << (bits - 1));
			assert_true(odd == floorf(odd) && (int)odd % 2 != 0);
			assert_true(fabsf(v[i]) <= top_of(bits));
			start[i] = i % 3 ? top_of(bits) : -top_of(bits);
		}
		for (size_t i = 0; i < N; i++)
			assert_settled(Q, u + i * D, v + i * M, M, D, bits);
		memcpy(v, start, N * M * sizeof *v);
		refine_again(refine, v, c, y, N);
		for (size_t i = 0; i < N; i++) {
			double before = missed(Q, u + i * D, start + i * M, M, D);
			assert_true(missed(Q, u + i * D, v + i * M, M, D) < before);
			assert_settled(Q, u + i * D, v + i * M, M, D, bits);
		}
		refine_free(refine);
	}
	free_floats(Q, M * D);
	free_floats(u, N * D);
	free_floats(y, N * M);
	free_floats(c, N * M);
	free_floats(v, N * M);
	free_floats(start, N * M);
}

static void
test_rotation(void **state)
{
	enum { M = 64 };
	float Q[M * M] = {0}, u[M], y[M], v[M], c[M];
	struct rng rng;
	struct error err;
	(void)state;

	rng_init(&rng, test_seed(), 3);
	for (size_t i = 0; i < M; i++) {
		Q[i * M + (i * 7 + 3) % M] = i % 2 ? -0.5f : 0.5f;
		u[i] = 0.4f * rng_normal(&rng);
	}
	struct refine *refine = refine_new(Q, M, (struct code_shape){M, 2, 0}, &err);
	assert_non_null(refine);
	refine_project(refine, y, u, 1);
	refine_code(refine, v, c, y, 1);
	for (size_t i = 0; i < M; i++) {
		float x = (i % 2 ? -2.0f : 2.0f) * u[(i * 7 + 3) % M];
		float near = x < -1 ? -1.5f : x < 0 ? -0.5f : x < 1 ? 0.5f : 1.5f;
		assert_true(v[i] == near);
	}
	refine_free(refine);
}

static void
test_refused(void **state)
{
	enum { M = 64 };
	float Q[M * M];
	struct error err;
	(void)state;

	for (size_t i = 0; i < M * M; i++)
		Q[i] = i % (M + 1) == 0 ? 1.0f : 0.0f;
	Q[5 * M + 5] = 0.0f;
	assert_null(refine_new(Q, M, (struct code_shape){M, 1, 0}, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "row 5's"));
	Q[5 * M + 5] = NAN;
	assert_null(refine_new(Q, M, (struct code_shape){M, 1, 0}, &err));
	Q[5 * M + 5] = 1e30f;
	assert_null(refine_new(Q, M, (struct code_shape){M, 1, 0}, &err));
	Q[5 * M + 5] = 1.0f;
	long k = 0;
	struct refine *refine = NULL;
	while (!refine) {
		array_fail_at(++k);
		refine = refine_new(Q, M, (struct code_shape){M, 1, 0}, &err);
		array_fail_at(0);
		assert_true(refine || err.code == ERR_MEMORY);
	}
	assert_true(k > 5);
	refine_free(refine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kernels_agree),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_rotation),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
