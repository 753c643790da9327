#include "binarize/centres.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/recurrent_model.h"
#include "binarize/refine_kernels.h"

#define BLOCK 64        /* vectors that a thread takes at a time */
#define ROWS_STEP 64    /* a matrix has a multiple of so many rows */
#define ROW_MAX 60000.0 /* the longest row: with a vector of 32767 still an int32_t */
#define LENGTH_MAX \
	16.0     /* of a centre: means of what has length 1 are not even so long */
#define TURNS 10 /* of Lloyd's algorithm */
#define APART                                                                   \
	0x1p-10f /* how far a centre that moves ends beside another, relatively \
		  */

struct centres {
	const struct refine_kernel *kernel;
	size_t n, stride, dims;
	float *rows;     /* (n, dims) */
	int16_t *panels; /* (stride, refine_inputs(dims)) in panels, scaled */
	double *squares; /* (n) */
	int64_t *halves; /* (n): half of it, in units */
	double unit;
};

/* panels := the rows, as large as sums allow. */
static int
round_rows(struct centres *c, struct error *err)
{
	size_t d = c->dims, columns = refine_inputs(d);
	double largest = 0.0, longest = 0.0, scale = 1.0;

	for (size_t i = 0; i < c->n * d; i++)
		largest = fmax(largest, fabs((double)c->rows[i]));
	for (size_t i = 0; i < c->n; i++) {
		c->squares[i] = recurrent_dot(c->rows + i * d, c->rows + i * d, d);
		longest = fmax(longest, sqrt(c->squares[i]));
	}
	if (!(longest <= LENGTH_MAX))
		return error_set(err, ERR_INPUT,
		    "expected centres among vectors of length 1, not one of length %g",
		    longest);
	if (longest > 0.0)
		scale = fmin(INT16_MAX / largest, ROW_MAX / longest);
	c->unit = 1.0 / (scale * INT16_MAX);
	for (size_t i = 0; i < c->n; i++) {
		c->halves[i] = llrint(c->squares[i] / 2 / c->unit);
		for (size_t k = 0; k < d; k++)
			c->panels[refine_at(columns, i, k)] =
			    (int16_t)lrint((double)c->rows[i * d + k] * scale);
	}
	return 0;
}

struct centres *
centres_new(const float *rows, size_t n, size_t dims, struct error *err)
{
	struct centres *c = array_new(1, sizeof *c);
	if (!c)
		goto no_memory;
	c->kernel = refine_kernel_best();
	c->n = n;
	c->stride = (n + ROWS_STEP - 1) / ROWS_STEP * ROWS_STEP;
	c->dims = dims;
	c->rows = array_new_aligned(n * dims, sizeof *c->rows);
	c->panels =
	    array_new_aligned(c->stride * refine_inputs(dims), sizeof *c->panels);
	c->squares = array_new(n, sizeof *c->squares);
	c->halves = array_new(n, sizeof *c->halves);
	if (!c->rows || !c->panels || !c->squares || !c->halves)
		goto no_memory;
	memcpy(c->rows, rows, n * dims * sizeof *rows);
	if (round_rows(c, err) == 0)
		return c;
	centres_free(c);
	return NULL;
no_memory:
	centres_free(c);
	error_set(err, ERR_MEMORY, "out of memory for %zu centres", n);
	return NULL;
}

void
centres_free(struct centres *centres)
{
	if (!centres)
		return;
	free(centres->rows);
	free(centres->panels);
	free(centres->squares);
	free(centres->halves);
	free(centres);
}

const float *
centres_row(const struct centres *centres, size_t i)
{
	return centres->rows + i * centres->dims;
}

double
centres_square(const struct centres *centres, size_t i)
{
	return centres->squares[i];
}

size_t
centres_stride(const struct centres *centres)
{
	return centres->stride;
}

void
centres_products(
    const struct centres *centres, int32_t *products, const int16_t *x, size_t n)
{
	const struct refine_matrix matrix = {
	    centres->panels, centres->stride, refine_inputs(centres->dims)};

	centres->kernel->product(products, &matrix, x, n);
}

double
centres_unit(const struct centres *centres)
{
	return centres->unit;
}

size_t
centres_nearest(const struct centres *centres, const int32_t *products)
{
	size_t best = 0;
	int64_t most = products[0] - centres->halves[0];

	for (size_t i = 1; i < centres->n; i++) {
		int64_t near = products[i] - centres->halves[i];
		if (near > most) {
			most = near;
			best = i;
		}
	}
	return best;
}

int
centres_assign(uint32_t *near, const struct centres *centres, const float *x, size_t n,
    bool (*stop)(void), struct error *err)
{
	size_t d = centres->dims, stride = centres->stride;
	size_t columns = refine_inputs(d);
	bool failed = false;
#pragma omp parallel
	{
		int32_t *products = array_new_aligned(BLOCK * stride, sizeof *products);
		int16_t *rounded = array_new_aligned(BLOCK * columns, sizeof *rounded);
		if (!products || !rounded) {
#pragma omp atomic write
			failed = true;
		}
#pragma omp for schedule(static)
		for (size_t start = 0; start < n; start += BLOCK) {
			size_t some = n - start < BLOCK ? n - start : BLOCK;
			if (!products || !rounded || (stop && stop()))
				continue;
			for (size_t i = 0; i < some; i++)
				refine_round(
				    rounded + i * columns, x + (start + i) * d, d);
			centres_products(centres, products, rounded, some);
			for (size_t i = 0; i < some; i++)
				near[start + i] = (uint32_t)centres_nearest(
				    centres, products + i * stride);
		}
		free(products);
		free(rounded);
	}
	if (failed)
		return error_set(err, ERR_MEMORY, "out of memory for centres");
	return stop && stop() ? error_set(err, ERR_NONE, "stopped") : 0;
}

/* What k-means works on. */
struct learning {
	const float *x; /* (n, dims) */
	size_t n, dims, k;
	float *rows;    /* (k, dims) */
	uint32_t *near; /* (n): the centre of each */
	double *sums;   /* (k, dims) */
	size_t *counts; /* (k) */
};

/* rows := k of x that differ in their number, at random. */
static void
choose_rows(struct learning *l, uint64_t seed)
{
	struct rng rng;
	size_t chosen = 0;

	rng_init(&rng, seed, 0);
	for (size_t i = 0; chosen < l->k; i++)
		if (rng_below(&rng, l->n - i) < l->k - chosen)
			memcpy(l->rows + chosen++ * l->dims, l->x + i * l->dims,
			    l->dims * sizeof *l->rows);
}

/* A centre that nobody is near goes beside the one that most are near, which the two
 * then share. */
static void
move_empty(struct learning *l)
{
	for (size_t i = 0; i < l->k; i++) {
		if (l->counts[i] > 0)
			continue;
		size_t most = 0;
		for (size_t j = 1; j < l->k; j++)
			if (l->counts[j] > l->counts[most])
				most = j;
		for (size_t j = 0; j < l->dims; j++) {
			float *from = l->rows + most * l->dims + j;
			float apart = *from * (j % 2 ? APART : -APART);
			l->rows[i * l->dims + j] = *from + apart;
			*from -= apart;
		}
		l->counts[i] = l->counts[most] / 2;
		l->counts[most] -= l->counts[i];
	}
}

/* rows := the means of those that are near. */
static void
update(struct learning *l)
{
	memset(l->sums, 0, l->k * l->dims * sizeof *l->sums);
	memset(l->counts, 0, l->k * sizeof *l->counts);
	for (size_t i = 0; i < l->n; i++) {
		double *sum = l->sums + l->near[i] * l->dims;
		for (size_t j = 0; j < l->dims; j++)
			sum[j] += (double)l->x[i * l->dims + j];
		l->counts[l->near[i]]++;
	}
	for (size_t i = 0; i < l->k; i++)
		for (size_t j = 0; j < l->dims && l->counts[i] > 0; j++)
			l->rows[i * l->dims + j] =
			    (float)(l->sums[i * l->dims + j] / (double)l->counts[i]);
	move_empty(l);
}

int
centres_learn(float *rows, size_t k, const float *x, size_t n, size_t dims,
    uint64_t seed, bool (*stop)(void), struct error *err)
{
	struct learning l = {.x = x,
	    .n = n,
	    .dims = dims,
	    .k = k,
	    .rows = rows,
	    .near = array_new(n, sizeof *l.near),
	    .sums = array_new(k * dims, sizeof *l.sums),
	    .counts = array_new(k, sizeof *l.counts)};
	int rc = 0;

	if (!l.near || !l.sums || !l.counts)
		rc = error_set(err, ERR_MEMORY, "out of memory for k-means");
	if (rc == 0)
		choose_rows(&l, seed);
	for (int turn = 0; rc == 0 && turn < TURNS; turn++) {
		struct centres *centres = centres_new(rows, k, dims, err);
		rc = centres ? centres_assign(l.near, centres, x, n, stop, err) : -1;
		centres_free(centres);
		if (rc == 0)
			update(&l);
	}
	free(l.near);
	free(l.sums);
	free(l.counts);
	return rc;
}
