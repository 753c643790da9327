#include "binarize/refine.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/refine_kernels.h"

#define ONE 32767         /* 1 in a rounded vector, and the longest row of a matrix */
#define SUM_MAX (1 << 29) /* of a row of the Gram matrix with a code */

#define SHIFT_MAX 30
#define BAND 64 /* rows of the Gram matrix at a time */

/* Passes a dimension on the way to a code: far more than any takes, a bound all the
 * same. */
#define PASSES_PER_DIM 4

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

struct refine {
	const struct refine_kernel *kernel;
	struct code_shape shape;
	size_t columns; /* refine_inputs(input_dims) */
	int16_t *map;   /* Q (dims, columns) in panels */
	int16_t *base;  /* W, likewise */
	int16_t *gram;  /* (dims, dims) in panels: h Q Q^T in units */
	int32_t *own;   /* (dims): its diagonal */
	double unit;
	int map_shift;  /* Q u in units is the product with map >> map_shift */
	int base_shift; /* of base: the level's number, counted from the middle */
};

static int
top_of(struct code_shape shape)
{
	return (1 << shape.bits) - 1;
}

/* The largest number of a Gram matrix, with which no sum of its rows, which are no
 * longer than their squares say, leaves SUM_MAX. */
static int
square_of(struct code_shape shape)
{
	int most = SUM_MAX / (top_of(shape) * (int)shape.dims);
	return most < INT16_MAX ? most : INT16_MAX;
}

/* What kernels make of a small decoder of random numbers. */
#define TRIAL_DIMS 64
#define TRIAL_ROWS 13
struct trial {
	int32_t y[TRIAL_ROWS * TRIAL_DIMS];
	int32_t c[TRIAL_ROWS * TRIAL_DIMS];
	int16_t v[TRIAL_ROWS * TRIAL_DIMS];
};

static void
run_trial(struct trial *t, const struct refine_kernel *kernel)
{
	_Alignas(64) int16_t panels[TRIAL_DIMS * TRIAL_DIMS];
	int16_t x[TRIAL_ROWS * TRIAL_DIMS];
	int32_t own[TRIAL_DIMS];
	const struct refine_matrix gram = {panels, TRIAL_DIMS, TRIAL_DIMS};
	const struct refine_rule rule = {
	    .gram = gram, .own = own, .passes_max = TRIAL_DIMS, .top = 3};
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < TRIAL_DIMS; i++) {
		for (size_t j = 0; j <= i; j++) {
			int16_t dot = (int16_t)((int)rng_below(&rng, 1001) - 500);
			panels[refine_at(TRIAL_DIMS, i, j)] = dot;
			panels[refine_at(TRIAL_DIMS, j, i)] = dot;
		}
		own[i] = 5000 + (int32_t)rng_below(&rng, 3000);
		panels[refine_at(TRIAL_DIMS, i, i)] = (int16_t)own[i];
	}
	for (size_t i = 0; i < TRIAL_ROWS * TRIAL_DIMS; i++) {
		x[i] = (int16_t)((int)rng_below(&rng, 8001) - 4000);
		t->v[i] = rng_below(&rng, 2) ? 1 : -3;
	}
	kernel->product(t->y, &gram, x, TRIAL_ROWS);
	for (size_t i = 0; i < TRIAL_ROWS * TRIAL_DIMS; i++)
		t->c[i] = t->y[i] / 4096;
	for (size_t r = 0; r < TRIAL_ROWS; r++)
		kernel->descend(t->v + r * TRIAL_DIMS, t->c + r * TRIAL_DIMS, &rule);
}

static enum cpu_level
level_of(size_t i)
{
	return kernels[i]->level;
}

static bool
agrees(size_t i)
{
	struct trial want, got;

	run_trial(&want, &refine_scalar);
	run_trial(&got, kernels[i]);
	return memcmp(&want, &got, sizeof want) == 0;
}

static const struct refine_kernel *best;

static void
choose_best(void)
{
	const struct cpu_kernels all = {"refine_kernel", KERNELS, level_of, agrees};

	best = kernels[cpu_choose(&all)];
}

static const struct refine_kernel *
best_kernel(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose_best);
	return best;
}

/* The integer nearest to x, of halves the even one: where 1 is the least bit of a
 * double, adding rounds.  lrint would be a call. */
static inline int32_t
nearest(double x)
{
	const double whole = 0x1.8p52;
	return (int32_t)(x + whole - whole);
}

/* A matrix (dims, input_dims) of floats on its way to integers. */
struct source {
	const char *name;
	const float *data;
	size_t input_dims;
	double longest; /* of its rows */
};

static int
find_longest(struct source *source, size_t dims, bool zeros, struct error *err)
{
	for (size_t i = 0; i < dims; i++) {
		double square = 0.0;
		for (size_t k = 0; k < source->input_dims; k++) {
			double q = (double)source->data[i * source->input_dims + k];
			square += q * q;
		}
		if (!(square < INFINITY) || (square == 0.0 && !zeros))
			return error_set(err, ERR_INPUT,
			    "expected rows of a %s to have a length, not %g as row "
			    "%zu's square",
			    source->name, square, i);
		source->longest = fmax(source->longest, sqrt(square));
	}
	return 0;
}

/* The most that `per` times the matrix can be shifted left while its rows, rounded, are
 * no longer than ONE once ONE has been taken out. */
static int
find_shift(int *shift, const struct source *source, double per, struct error *err)
{
	*shift = SHIFT_MAX;
	if (source->longest > 0.0)
		*shift = ilogb((double)ONE * ONE / (per * source->longest));
	if (*shift > SHIFT_MAX)
		*shift = SHIFT_MAX;
	if (*shift >= 1)
		return 0;
	return error_set(err, ERR_INPUT,
	    "expected a %s in proportion to vectors of length 1, not rows of %g",
	    source->name, source->longest);
}

/* rows (dims, columns) := scale times the matrix, rounded; zeros where it has no
 * column. */
static void
round_rows(
    int16_t *rows, const struct refine *r, const struct source *source, double scale)
{
	size_t d = source->input_dims;

	for (size_t i = 0; i < r->shape.dims; i++)
		for (size_t k = 0; k < r->columns; k++)
			rows[i * r->columns + k] =
			    k < d ? (int16_t)nearest(
					(double)source->data[i * d + k] * scale)
				  : 0;
}

static void
to_panels(int16_t *panels, const int16_t *rows, size_t n, size_t columns)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < columns; k++)
			panels[refine_at(columns, i, k)] = rows[i * columns + k];
}

/* The largest square of a row. */
static int32_t
largest_square(const int16_t *rows, size_t n, size_t columns)
{
	int32_t most = 0;

	for (size_t i = 0; i < n; i++) {
		int32_t sum = 0;
		for (size_t k = 0; k < columns; k++)
			sum += rows[i * columns + k] * rows[i * columns + k];
		most = sum > most ? sum : most;
	}
	return most;
}

/* gram and own := of the map's rounded rows; dots (BAND, dims) is working memory. */
static void
fill_gram(struct refine *r, const int16_t *rows, int32_t *dots)
{
	size_t m = r->shape.dims;
	double share =
	    (double)square_of(r->shape) / largest_square(rows, m, r->columns);

	for (size_t first = 0; first < m; first += BAND) {
		const struct refine_matrix rest = {
		    r->map + first * r->columns, m - first, r->columns};
		r->kernel->product(dots, &rest, rows + first * r->columns, BAND);
		for (size_t i = first; i < first + BAND; i++) {
			const int32_t *row = dots + (i - first) * (m - first);
			for (size_t j = i; j < m; j++) {
				int16_t dot = (int16_t)nearest(row[j - first] * share);
				r->gram[refine_at(m, i, j)] = dot;
				r->gram[refine_at(m, j, i)] = dot;
			}
			r->own[i] = r->gram[refine_at(m, i, i)];
		}
	}
}

/* Take in the two matrices; rows (dims, columns) and dots are working memory. */
static int
fill(struct refine *r, struct source *map, struct source *base, int16_t *rows,
    int32_t *dots, struct error *err)
{
	size_t m = r->shape.dims;
	double h = ldexp(1.0, 1 - (int)r->shape.bits);

	if (find_longest(map, m, false, err) != 0 ||
	    find_longest(base, m, true, err) != 0)
		return -1;
	r->unit = h * map->longest * map->longest / square_of(r->shape);
	if (find_shift(&r->map_shift, map, 1.0 / r->unit, err) != 0 ||
	    find_shift(&r->base_shift, base, 0.5 / h, err) != 0)
		return -1;
	round_rows(rows, r, base, ldexp(0.5 / h, r->base_shift) / ONE);
	to_panels(r->base, rows, m, r->columns);
	round_rows(rows, r, map, ldexp(1.0 / r->unit, r->map_shift) / ONE);
	to_panels(r->map, rows, m, r->columns);
	fill_gram(r, rows, dots);
	return 0;
}

struct refine *
refine_new(const float *Q, const float *W, size_t input_dims, struct code_shape shape,
    struct error *err)
{
	struct source map = {"decoder", Q, input_dims, 0.0};
	struct source base = {"base", W, input_dims, 0.0};
	size_t m = shape.dims, columns = refine_inputs(input_dims);
	struct refine *r = array_new(1, sizeof *r);
	int16_t *rows = array_new_aligned(m * columns, sizeof *rows);
	int32_t *dots = array_new_aligned(BAND * m, sizeof *dots);
	if (!r || !rows || !dots)
		goto no_memory;
	r->kernel = best_kernel();
	r->shape = shape;
	r->columns = columns;
	r->map = array_new_aligned(m * columns, sizeof *r->map);
	r->base = array_new_aligned(m * columns, sizeof *r->base);
	r->gram = array_new_aligned(m * m, sizeof *r->gram);
	r->own = array_new_aligned(m, sizeof *r->own);
	if (!r->map || !r->base || !r->gram || !r->own)
		goto no_memory;
	if (fill(r, &map, &base, rows, dots, err) != 0)
		goto err0;
	free(rows);
	free(dots);
	return r;
no_memory:
	error_set(err, ERR_MEMORY, "out of memory for a decoder of %zu dims", m);
err0:
	refine_free(r);
	free(rows);
	free(dots);
	return NULL;
}

void
refine_free(struct refine *refine)
{
	if (!refine)
		return;
	free(refine->map);
	free(refine->base);
	free(refine->gram);
	free(refine->own);
	free(refine);
}

void
refine_round(int16_t *x, const float *u, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		x[i] = (int16_t)nearest((double)u[i] * ONE);
	if (n % 2 == 1)
		x[n] = 0;
}

double
refine_unit(const struct refine *refine)
{
	return refine->unit;
}

void
refine_project(const struct refine *refine, int32_t *y, const int16_t *x, size_t n)
{
	size_t m = refine->shape.dims;
	const struct refine_matrix map = {refine->map, m, refine->columns};
	int32_t half = 1 << (refine->map_shift - 1);

	refine->kernel->product(y, &map, x, n);
#pragma omp simd
	for (size_t i = 0; i < n * m; i++)
		y[i] = (y[i] + half) >> refine->map_shift;
}

void
refine_again(
    const struct refine *refine, int16_t *v, int32_t *c, const int32_t *y, size_t n)
{
	size_t m = refine->shape.dims;
	const struct refine_rule rule = {.gram = {refine->gram, m, m},
	    .own = refine->own,
	    .passes_max = PASSES_PER_DIM * m,
	    .top = top_of(refine->shape)};

	refine->kernel->product(c, &rule.gram, v, n);
#pragma omp simd
	for (size_t i = 0; i < n * m; i++)
		c[i] = y[i] - c[i];
	for (size_t i = 0; i < n; i++)
		refine->kernel->descend(v + i * m, c + i * m, &rule);
}

void
refine_code(const struct refine *refine, int16_t *v, int32_t *c, const int32_t *y,
    const int16_t *x, size_t n)
{
	size_t m = refine->shape.dims;
	const struct refine_matrix base = {refine->base, m, refine->columns};
	int32_t top = top_of(refine->shape);

	refine->kernel->product(c, &base, x, n);
#pragma omp simd
	for (size_t i = 0; i < n * m; i++) {
		int32_t odd = 2 * (c[i] >> refine->base_shift) + 1;
		odd = odd < top ? odd : top;
		v[i] = (int16_t)(odd > -top ? odd : -top);
	}
	refine_again(refine, v, c, y, n);
}
