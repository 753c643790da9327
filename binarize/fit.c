#include "binarize/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/recurrent_model.h"
#include "binarize/refine.h"

#define BLOCK 4096 /* rows whose codes are floats at a time */
#define SLICE 48   /* rows that a thread takes at a time */

/* What is added to the diagonal, as a share of the rows: keeps a dimension that never
 * changes its sign from spoiling the others. */
#define RIDGE 1e-4

struct fit {
	struct fit_config config;
	const float *u; /* (n, d) */
	size_t n;
	int8_t *codes;   /* (n, m): v in units of 2^(1 - bits) */
	float *Q;        /* (m, d) */
	float *v;        /* (BLOCK, m) */
	float *y;        /* (BLOCK, m) */
	float *c;        /* (BLOCK, m) */
	float *squares;  /* (m, m): of codes, of a block */
	float *products; /* (d, m): of vectors with codes, of a block */
	double *left;    /* (m, m): the sums over all blocks */
	double *right;   /* (d, m) */
	bool coded;      /* whether codes hold anything */
};

/* Q of the untrained rotation: y = sqrt(m) P u is near t v, so u is near
 * t / sqrt(m) P^T v. */
static int
begin(struct fit *fit, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	const struct recurrent_rotation_config rotation = {.input_dims = (uint32_t)d,
	    .shape = fit->config.shape,
	    .seed = fit->config.seed};
	struct recurrent *model = recurrent_new(&rotation, err);
	if (!model)
		return -1;
	float *column = array_new_aligned(model->n > m ? model->n : m, sizeof *column);
	float scale = recurrent_step(fit->config.shape.bits) / sqrtf((float)m);
	if (column) {
		for (size_t j = 0; j < d; j++) {
			memset(column, 0, model->n * sizeof *column);
			column[j] = 1.0f;
			recurrent_rotation_forward(model, column);
			for (size_t i = 0; i < m; i++)
				fit->Q[i * d + j] = column[i] * scale;
		}
	}
	recurrent_free(model);
	if (!column)
		return error_set(err, ERR_MEMORY, "out of memory for fitting");
	free(column);
	return 0;
}

struct fit *
fit_new(const struct fit_config *config, const float *u, size_t n, struct error *err)
{
	size_t d = config->input_dims, m = config->shape.dims;
	struct fit *fit = array_new(1, sizeof *fit);
	if (!fit)
		goto no_memory;
	fit->config = *config;
	fit->u = u;
	fit->n = n;
	fit->codes = array_new(n, m);
	fit->Q = array_new(m * d, sizeof *fit->Q);
	fit->v = array_new_aligned(BLOCK * m, sizeof *fit->v);
	fit->y = array_new_aligned(BLOCK * m, sizeof *fit->y);
	fit->c = array_new_aligned(BLOCK * m, sizeof *fit->c);
	fit->squares = array_new_aligned(m * m, sizeof *fit->squares);
	fit->products = array_new_aligned(d * m, sizeof *fit->products);
	fit->left = array_new_aligned(m * m, sizeof *fit->left);
	fit->right = array_new_aligned(d * m, sizeof *fit->right);
	if (!fit->codes || !fit->Q || !fit->v || !fit->y || !fit->c || !fit->squares ||
	    !fit->products || !fit->left || !fit->right)
		goto no_memory;
	if (begin(fit, err) == 0)
		return fit;
	fit_free(fit);
	return NULL;
no_memory:
	fit_free(fit);
	error_set(err, ERR_MEMORY, "out of memory for fitting %zu vectors", n);
	return NULL;
}

void
fit_free(struct fit *fit)
{
	if (!fit)
		return;
	free(fit->codes);
	free(fit->Q);
	free(fit->v);
	free(fit->y);
	free(fit->c);
	free(fit->squares);
	free(fit->products);
	free(fit->left);
	free(fit->right);
	free(fit);
}

const float *
fit_map(const struct fit *fit)
{
	return fit->Q;
}

/* Codes of rows first .. first + n - 1 of a block that begins at row `block`. */
static void
code_slice(
    struct fit *fit, const struct refine *refine, size_t block, size_t first, size_t n)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	float unit = 2.0f / (float)(1 << fit->config.shape.bits);
	float *v = fit->v + first * m, *y = fit->y + first * m, *c = fit->c + first * m;
	int8_t *codes = fit->codes + (block + first) * m;

	refine_project(refine, y, fit->u + (block + first) * d, n);
	if (fit->coded) {
		for (size_t i = 0; i < n * m; i++)
			v[i] = (float)codes[i] * unit;
		refine_again(refine, v, c, y, n);
	} else {
		refine_code(refine, v, c, y, n);
	}
	for (size_t i = 0; i < n * m; i++)
		codes[i] = (int8_t)(v[i] / unit);
}

/* What u - Q^T v have missed, of the block's n rows: |u|^2 - <y + c, v>. */
static double
missed_by(const struct fit *fit, size_t n)
{
	size_t m = fit->config.shape.dims;
	double sum = (double)n;

#pragma omp parallel for schedule(static) reduction(- : sum)
	for (size_t i = 0; i < n; i++) {
		const float *v = fit->v + i * m;
		sum -= recurrent_dot(fit->y + i * m, v, m) +
		       recurrent_dot(fit->c + i * m, v, m);
	}
	return sum;
}

static void
add(double *sum, const float *part, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += (double)part[i];
}

/* left += V^T V, right += U^T V. */
static void
add_block(struct fit *fit, size_t block, size_t n)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	const struct blas_matrix v = {.data = fit->v, .stride = m};
	struct blas_gemm squares = {.m = m,
	    .n = m,
	    .k = n,
	    .alpha = 1.0f,
	    .a = {.data = fit->v, .stride = m, .transpose = true},
	    .b = v,
	    .c = fit->squares,
	    .c_stride = m};
	struct blas_gemm products = {.m = d,
	    .n = m,
	    .k = n,
	    .alpha = 1.0f,
	    .a = {.data = fit->u + block * d, .stride = d, .transpose = true},
	    .b = v,
	    .c = fit->products,
	    .c_stride = m};

	blas_gemm(fit->config.blas, &squares);
	blas_gemm(fit->config.blas, &products);
	add(fit->left, fit->squares, m * m);
	add(fit->right, fit->products, d * m);
}

/* Q := the regression of the vectors on their codes. */
static int
solve(struct fit *fit, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;

	for (size_t i = 0; i < m; i++)
		fit->left[i * m + i] += RIDGE * (double)fit->n;
	if (blas_solve(fit->config.blas, fit->left, fit->right, m, d, err) != 0)
		return -1;
	for (size_t j = 0; j < d; j++)
		for (size_t i = 0; i < m; i++)
			fit->Q[i * d + j] = (float)fit->right[j * m + i];
	return 0;
}

int
fit_turn(struct fit *fit, double *missed, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	struct refine *refine = refine_new(fit->Q, d, fit->config.shape, err);
	if (!refine)
		return -1;
	memset(fit->left, 0, m * m * sizeof *fit->left);
	memset(fit->right, 0, d * m * sizeof *fit->right);
	double sum = 0.0;
	for (size_t block = 0; block < fit->n; block += BLOCK) {
		size_t n = fit->n - block < BLOCK ? fit->n - block : BLOCK;
#pragma omp parallel for schedule(dynamic)
		for (size_t first = 0; first < n; first += SLICE)
			code_slice(fit, refine, block, first,
			    n - first < SLICE ? n - first : SLICE);
		sum += missed_by(fit, n);
		add_block(fit, block, n);
	}
	refine_free(refine);
	fit->coded = true;
	if (solve(fit, err) != 0)
		return -1;
	*missed = sum / (double)fit->n;
	return 0;
}
