/*
 * Claims of binarize/refine.h and how they are checked:
 *  - every kernel gives the integers of a plain loop over rows, columns and dimensions,
 *    for random decoders of several sizes and 1 to 4 bits and any number of vectors at
 * a time, in buffers that end at an unreadable page;
 *  - a code cannot be bettered by a step of one level (in double precision, but for
 *    what rounding could take back), and misses no more than the one it began with;
 *  - y and c are Q u and Q (u - Q^T v), to the precision of what they are rounded to;
 *  - levels stay inside the code, also where the vector is far outside;
 *  - under a rotation with its inverse as W the nearest levels stay;
 *  - a decoder with a row of zeros, one that is not finite or one out of all proportion
 *    is refused;
 *  - with memory short at any point refine_new says so and leaks nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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

static double
step_of(uint32_t bits)
{
	return 2.0 / (1 << (bits - 1));
}

static int
top_of(uint32_t bits)
{
	return (1 << bits) - 1;
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

static int16_t *
random_numbers(struct rng *rng, size_t n, int most)
{
	int16_t *x = guard_new(n * sizeof *x);
	for (size_t i = 0; i < n; i++)
		x[i] = (int16_t)((int)rng_below(rng, 2 * (uint64_t)most + 1) - most);
	return x;
}

/* ---- the plain loop ---- */

static void
slow_product(
    int32_t *y, const int16_t *M, size_t rows, size_t columns, const int16_t *x)
{
	for (size_t r = 0; r < rows; r++) {
		y[r] = 0;
		for (size_t k = 0; k < columns; k++)
			y[r] += M[r * columns + k] * x[k];
	}
}

/* What a step towards c_i gains. */
static int64_t
slow_gain(const int16_t *v, const int64_t *c, size_t i, const int16_t *gram, size_t m,
    int top)
{
	int next = v[i] + (c[i] < 0 ? -2 : 2);
	int64_t gain = (c[i] < 0 ? -c[i] : c[i]) - gram[i * m + i];
	return gain > 0 && abs(next) <= top ? gain : 0;
}

/* One round of the quarters; whether anything was gained. */
static bool
slow_round(int16_t *v, int64_t *c, const int16_t *gram, size_t m, int top)
{
	int64_t gain[4] = {0};
	size_t at[4] = {0};

	for (size_t i = 0; i < m; i++) {
		int64_t g = slow_gain(v, c, i, gram, m, top);
		if (g > gain[i * 4 / m]) {
			gain[i * 4 / m] = g;
			at[i * 4 / m] = i;
		}
	}
	for (size_t q = 0; q < 4; q++) {
		if (gain[q] == 0 || slow_gain(v, c, at[q], gram, m, top) == 0)
			continue;
		int change = c[at[q]] < 0 ? -2 : 2;
		v[at[q]] = (int16_t)(v[at[q]] + change);
		for (size_t i = 0; i < m; i++)
			c[i] -= change * gram[at[q] * m + i];
	}
	return gain[0] || gain[1] || gain[2] || gain[3];
}

static int16_t *
to_panels(const int16_t *M, size_t rows, size_t columns)
{
	int16_t *panels = guard_new(rows * columns * sizeof *panels);
	for (size_t r = 0; r < rows; r++)
		for (size_t k = 0; k < columns; k++)
			panels[refine_at(columns, r, k)] = M[r * columns + k];
	return panels;
}

static void
free_numbers(int16_t *x, size_t n)
{
	guard_free(x, n * sizeof *x);
}

static void
assert_products(const struct refine_kernel *kernel, struct rng *rng, size_t m, size_t d)
{
	/* rows of 2^15 meet vectors of 2^15 at most, as in use */
	int most = d < 4 ? 32767 : (int)(32767 / sqrt((double)d));
	int16_t *M = random_numbers(rng, m * d, most);
	int16_t *x = random_numbers(rng, ROWS * d, most);
	int16_t *panels = to_panels(M, m, d);
	int32_t *want = guard_new(m * sizeof *want);
	int32_t *got = guard_new(ROWS * m * sizeof *got);
	const struct refine_matrix matrix = {panels, m, d};

	for (size_t n = 0; n <= ROWS; n++) {
		int32_t *end = got + (ROWS - n) * m;
		kernel->product(end, &matrix, x + (ROWS - n) * d, n);
		for (size_t i = 0; i < n; i++) {
			slow_product(want, M, m, d, x + (ROWS - n + i) * d);
			assert_memory_equal(want, end + i * m, m * sizeof *want);
		}
	}
	free_numbers(M, m * d);
	free_numbers(x, ROWS * d);
	free_numbers(panels, m * d);
	guard_free(want, m * sizeof *want);
	guard_free(got, ROWS * m * sizeof *got);
}

/* A Gram matrix whose rows lean on one another by up to `lean`. */
static int16_t *
random_gram(struct rng *rng, size_t m, int lean)
{
	int16_t *gram = random_numbers(rng, m * m, lean);
	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < i; j++)
			gram[i * m + j] = gram[j * m + i];
		gram[i * m + i] = (int16_t)(4096 + rng_below(rng, 4097));
	}
	return gram;
}

static void
assert_descents(
    const struct refine_kernel *kernel, struct rng *rng, size_t m, uint32_t bits)
{
	int16_t *gram = random_gram(rng, m, 400), *panels = to_panels(gram, m, m);
	int32_t *own = guard_new(m * sizeof *own), *c = guard_new(m * sizeof *c);
	int16_t *v = guard_new(m * sizeof *v), *slow_v = guard_new(m * sizeof *v);
	int64_t *slow_c = guard_new(m * sizeof *slow_c);
	struct refine_rule rule = {
	    .gram = {panels, m, m}, .own = own, .top = top_of(bits)};

	for (size_t i = 0; i < m; i++)
		own[i] = gram[i * m + i];
	for (int round = 0; round < 40; round++) {
		size_t rounds = 0;
		for (size_t i = 0; i < m; i++) {
			v[i] = slow_v[i] =
			    (int16_t)(2 * (int)rng_below(rng, 1u << bits) - rule.top);
			/* some equal, so that the first one's turn is tried too; some
			 * as far away as a vector can be */
			c[i] = rng_below(rng, 4) == 0
				   ? 30000
				   : (int32_t)(rng_normal(rng) * 8192);
			if (round % 8 == 0 && rng_below(rng, 9) == 0)
				c[i] = rng_below(rng, 2) ? 1 << 29 : -(1 << 29);
			slow_c[i] = c[i];
		}
		rule.passes_max = round % 5 == 0 ? 3 : 64 * m;
		while (rounds < rule.passes_max &&
		       slow_round(slow_v, slow_c, gram, m, rule.top))
			rounds++;
		kernel->descend(v, c, &rule);
		assert_memory_equal(slow_v, v, m * sizeof *v);
		for (size_t i = 0; i < m; i++)
			assert_int_equal(slow_c[i], c[i]);
	}
	free_numbers(gram, m * m);
	free_numbers(panels, m * m);
	free_numbers(v, m);
	free_numbers(slow_v, m);
	guard_free(own, m * sizeof *own);
	guard_free(c, m * sizeof *c);
	guard_free(slow_c, m * sizeof *slow_c);
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
			assert_products(kernels[k], &rng, m, 38);
			assert_products(kernels[k], &rng, m, 2);
			for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++)
				assert_descents(kernels[k], &rng, m, bits);
		}
	}
}

/* ---- what a code is ---- */

/* left (d) := u - Q^T v, for odd numbers of v; returns its square. */
static double
missed(double *left, const float *Q, const float *u, const int16_t *v, size_t m,
    size_t d, uint32_t bits)
{
	double sum = 0.0, h = step_of(bits) / 2;
	for (size_t j = 0; j < d; j++) {
		left[j] = (double)u[j];
		for (size_t i = 0; i < m; i++)
			left[j] -= h * v[i] * (double)Q[i * d + j];
		sum += left[j] * left[j];
	}
	return sum;
}

enum { M = 128, D = 99, N = 5 };

/* What is tried: a decoder, vectors and what becomes of them. */
struct trial {
	float *Q, *W, *u;
	int16_t *x, *v;
	int32_t *y, *c;
};

static void
trial_new(struct trial *t, struct rng *rng)
{
	t->Q = random_map(rng, M, D);
	t->W = random_floats(rng, M * D, 1.0f);
	t->u = random_floats(rng, N * D, 0.1f);
	t->x = guard_new(N * refine_inputs(D) * sizeof *t->x);
	t->v = guard_new(N * M * sizeof *t->v);
	t->y = guard_new(N * M * sizeof *t->y);
	t->c = guard_new(N * M * sizeof *t->c);
	t->u[D] = 40.0f; /* the second is a lonely direction */
	for (size_t i = 0; i < N; i++) {
		double square = 0.0;
		for (size_t j = 0; j < D; j++)
			square += (double)t->u[i * D + j] * (double)t->u[i * D + j];
		for (size_t j = 0; j < D; j++)
			t->u[i * D + j] *= (float)(1.0 / sqrt(square));
		refine_round(t->x + i * refine_inputs(D), t->u + i * D, D);
	}
	for (size_t i = 0; i < M; i++) {
		double square = 0.0;
		for (size_t j = 0; j < D; j++)
			square += (double)t->Q[i * D + j] * (double)t->Q[i * D + j];
		for (size_t j = 0; j < D; j++)
			t->W[i * D + j] = t->Q[i * D + j] / (float)square;
	}
}

static void
trial_free(struct trial *t)
{
	free_floats(t->Q, M * D);
	free_floats(t->W, M * D);
	free_floats(t->u, N * D);
	guard_free(t->x, N * refine_inputs(D) * sizeof *t->x);
	guard_free(t->v, N * M * sizeof *t->v);
	guard_free(t->y, N * M * sizeof *t->y);
	guard_free(t->c, N * M * sizeof *t->c);
}

/* Code i is one that no step betters, and y and c are what they are said to be. */
static void
assert_settled(
    const struct trial *t, const struct refine *refine, size_t i, uint32_t bits)
{
	const float *u = t->u + i * D;
	int16_t *v = t->v + i * M;
	double left[D], other[D], unit = refine_unit(refine);
	double now = missed(left, t->Q, u, v, M, D, bits);
	/* 8192 units are h times the square of the longest row */
	double longest = sqrt(8192 * unit / (step_of(bits) / 2)), near = 2e-4 * longest;

	for (size_t k = 0; k < M; k++) {
		double y = 0.0, c = 0.0;
		for (size_t j = 0; j < D; j++) {
			y += (double)t->Q[k * D + j] * (double)u[j];
			c += (double)t->Q[k * D + j] * left[j];
		}
		assert_true(fabs(y - unit * t->y[i * M + k]) < near);
		assert_true(fabs(c - unit * t->c[i * M + k]) < near + 256 * unit);
	}
	for (size_t k = 0; k < M; k++) {
		int16_t was = v[k];
		assert_true(abs(was) <= top_of(bits) && abs(was) % 2 == 1);
		for (int way = -2; way <= 2; way += 4) {
			v[k] = (int16_t)(was + way);
			if (abs(v[k]) <= top_of(bits))
				assert_true(
				    missed(other, t->Q, u, v, M, D, bits) >
				    now - 2 * (near + 256 * unit) * step_of(bits));
		}
		v[k] = was;
	}
}

static void
test_codes(void **state)
{
	struct trial t;
	struct rng rng;
	struct error err;
	double left[D];
	int16_t start[N * M];
	(void)state;

	rng_init(&rng, test_seed(), 2);
	trial_new(&t, &rng);
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
		struct code_shape shape = {M, bits};
		struct refine *refine = refine_new(t.Q, t.W, D, shape, &err);
		assert_non_null(refine);
		refine_project(refine, t.y, t.x, N);
		refine_code(refine, t.v, t.c, t.y, t.x, N);
		for (size_t i = 0; i < N; i++)
			assert_settled(&t, refine, i, bits);
		for (size_t i = 0; i < N * M; i++) {
			int odd = i % 3 ? top_of(bits) : -top_of(bits);
			t.v[i] = start[i] = (int16_t)odd;
		}
		refine_again(refine, t.v, t.c, t.y, N);
		for (size_t i = 0; i < N; i++) {
			const float *u = t.u + i * D;
			double before = missed(left, t.Q, u, start + i * M, M, D, bits);
			assert_true(
			    missed(left, t.Q, u, t.v + i * M, M, D, bits) < before);
			assert_settled(&t, refine, i, bits);
		}
		refine_free(refine);
	}
	trial_free(&t);
}

static void
test_rotation(void **state)
{
	enum { R = 64 };
	float Q[R * R] = {0}, W[R * R] = {0}, u[R];
	int16_t x[R], v[R];
	int32_t y[R], c[R];
	double square = 0.0;
	struct rng rng;
	struct error err;
	(void)state;

	rng_init(&rng, test_seed(), 3);
	for (size_t i = 0; i < R; i++) {
		Q[i * R + (i * 7 + 3) % R] = i % 2 ? -0.125f : 0.125f;
		W[i * R + (i * 7 + 3) % R] = i % 2 ? -8.0f : 8.0f;
		u[i] = rng_normal(&rng);
		square += (double)u[i] * (double)u[i];
	}
	for (size_t i = 0; i < R; i++)
		u[i] *= (float)(1.0 / sqrt(square));
	struct refine *refine = refine_new(Q, W, R, (struct code_shape){R, 2}, &err);
	assert_non_null(refine);
	refine_round(x, u, R);
	refine_project(refine, y, x, 1);
	refine_code(refine, v, c, y, x, 1);
	for (size_t i = 0; i < R; i++) {
		float value = (i % 2 ? -8.0f : 8.0f) * u[(i * 7 + 3) % R];
		int near = value < -1 ? -3 : value < 0 ? -1 : value < 1 ? 1 : 3;
		if (fabsf(value - roundf(value)) > 0.01f) /* else either is near */
			assert_int_equal(v[i], near);
	}
	refine_free(refine);
}

static void
test_refused(void **state)
{
	enum { R = 64 };
	const struct code_shape shape = {R, 1};
	float Q[R * R];
	struct error err;
	(void)state;

	for (size_t i = 0; i < R * R; i++)
		Q[i] = i % (R + 1) == 0 ? 0.125f : 0.0f;
	Q[5 * R + 5] = 0.0f;
	assert_null(refine_new(Q, Q, R, shape, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "row 5's"));
	Q[5 * R + 5] = NAN;
	assert_null(refine_new(Q, Q, R, shape, &err));
	Q[5 * R + 5] = 1e30f;
	assert_null(refine_new(Q, Q, R, shape, &err));
	assert_non_null(strstr(err.text, "in proportion"));
	for (size_t i = 0; i < R * R; i++)
		Q[i] = i % (R + 1) == 0 ? 1e-9f : 0.0f;
	assert_null(refine_new(Q, Q, R, shape, &err));
	assert_int_equal(err.code, ERR_INPUT);
	for (size_t i = 0; i < R * R; i++)
		Q[i] = i % (R + 1) == 0 ? 0.125f : 0.0f;
	long k = 0;
	struct refine *refine = NULL;
	while (!refine) {
		array_fail_at(++k);
		refine = refine_new(Q, Q, R, shape, &err);
		array_fail_at(0);
		assert_true(refine || err.code == ERR_MEMORY);
	}
	assert_true(k > 6);
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
