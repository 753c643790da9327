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
	float *W;        /* (m, d) */
	int16_t *x;      /* (BLOCK, refine_inputs(d)), and what refine.h makes of it: */
	int32_t *y;      /* (BLOCK, m) */
	int32_t *c;      /* (BLOCK, m) */
	int16_t *odd;    /* (BLOCK, m) */
	float *v;        /* (BLOCK, m) */
	float *squares;  /* (m, m): of codes, of a block */
	float *products; /* (d, m): of vectors with codes, of a block */
	double *left;    /* (m, m): the sums over all blocks */
	double *right;   /* (d, m) */
	bool coded;      /* whether codes hold anything */
};

static void
add(double *sum, const float *part, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += (double)part[i];
}

/* covariance (d, d) := U^T U / n */
static void
find_covariance(const struct fit *fit, double *covariance, float *part)
{
	size_t d = fit->config.input_dims;

	for (size_t block = 0; block < fit->n; block += BLOCK) {
		const float *u = fit->u + block * d;
		struct blas_gemm squares = {.m = d,
		    .n = d,
		    .k = fit->n - block < BLOCK ? fit->n - block : BLOCK,
		    .alpha = 1.0f / (float)fit->n,
		    .a = {.data = u, .stride = d, .transpose = true},
		    .b = {.data = u, .stride = d},
		    .c = part,
		    .c_stride = d};
		blas_gemm(fit->config.blas, &squares);
		add(covariance, part, d * d);
	}
}

/* Q := c P L^(1/4) E: rows of E (k, d) are the directions in which the vectors vary
 * most, L their variances, P (m, k) a random rotation.  A vector's coordinates under
 * the inverse, P L^(-1/4) E u, are about Gaussian and alike; c scales them to the step
 * that suits such numbers. */
static int
spread(struct fit *fit, const double *values, const double *vectors, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	size_t k = d < m ? d : m;
	const struct recurrent_rotation_config config = {.input_dims = (uint32_t)k,
	    .shape = fit->config.shape,
	    .seed = fit->config.seed};
	struct recurrent *rotation = recurrent_new(&config, err);
	if (!rotation)
		return -1;
	float *column = array_new_aligned(rotation->n, sizeof *column);
	double variance = 0.0;
	for (size_t j = 0; j < k; j++)
		variance += sqrt(fmax(values[j], 0.0)) / (double)m;
	double scale = sqrt(variance) * (double)recurrent_step(fit->config.shape.bits);
	for (size_t j = 0; column && j < k; j++) {
		float part = (float)(scale * sqrt(sqrt(fmax(values[j], 0.0))));
		memset(column, 0, rotation->n * sizeof *column);
		column[j] = part;
		recurrent_rotation_forward(rotation, column);
		for (size_t i = 0; i < m; i++)
			for (size_t l = 0; l < d; l++)
				fit->Q[i * d + l] +=
				    column[i] * (float)vectors[j * d + l];
	}
	recurrent_free(rotation);
	if (!column)
		return error_set(err, ERR_MEMORY, "out of memory for fitting");
	free(column);
	return 0;
}

/* to (columns, rows) := from (rows, columns), transposed. */
static void
transpose(float *to, const double *from, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t k = 0; k < columns; k++)
			to[k * rows + r] = (float)from[r * columns + k];
}

/* squares := Q Q^T; returns its trace. */
static double
find_gram(struct fit *fit)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	struct blas_gemm gram = {.m = m,
	    .n = m,
	    .k = d,
	    .alpha = 1.0f,
	    .a = {.data = fit->Q, .stride = d},
	    .b = {.data = fit->Q, .stride = d, .transpose = true},
	    .c = fit->squares,
	    .c_stride = m};
	double trace = 0.0;

	blas_gemm(fit->config.blas, &gram);
	for (size_t i = 0; i < m; i++)
		trace += (double)fit->squares[i * m + i];
	return trace;
}

/* W := what is to be expected of codes, (Q Q^T + ridge)^-1 Q: of numbers that are
 * alike, where the squares of rows make up what is not missed, and what is missed is
 * spread over all directions. */
static int
find_base(struct fit *fit, double missed, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	double ridge = (missed + RIDGE) * find_gram(fit) / (double)d;

	for (size_t i = 0; i < m * m; i++)
		fit->left[i] = (double)fit->squares[i];
	for (size_t i = 0; i < m; i++) {
		fit->left[i * m + i] += ridge;
		for (size_t j = 0; j < d; j++)
			fit->right[j * m + i] = (double)fit->Q[i * d + j];
	}
	if (blas_solve(fit->config.blas, fit->left, fit->right, m, d, err) != 0)
		return -1;
	transpose(fit->W, fit->right, d, m);
	return 0;
}

/* The map to begin with. */
static int
begin(struct fit *fit, struct error *err)
{
	size_t d = fit->config.input_dims;
	double *covariance = array_new(d * d, sizeof *covariance);
	double *values = array_new(d, sizeof *values);
	float *part = array_new_aligned(d * d, sizeof *part);
	int rc = 0;

	if (!covariance || !values || !part)
		rc = error_set(err, ERR_MEMORY, "out of memory for fitting");
	if (rc == 0) {
		find_covariance(fit, covariance, part);
		rc = blas_eigen(fit->config.blas, values, covariance, d, err);
	}
	if (rc == 0)
		rc = spread(fit, values, covariance, err);
	free(covariance);
	free(values);
	free(part);
	return rc;
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
	fit->W = array_new(m * d, sizeof *fit->W);
	fit->x = array_new_aligned(BLOCK * refine_inputs(d), sizeof *fit->x);
	fit->y = array_new_aligned(BLOCK * m, sizeof *fit->y);
	fit->c = array_new_aligned(BLOCK * m, sizeof *fit->c);
	fit->odd = array_new_aligned(BLOCK * m, sizeof *fit->odd);
	fit->v = array_new_aligned(BLOCK * m, sizeof *fit->v);
	fit->squares = array_new_aligned(m * m, sizeof *fit->squares);
	fit->products = array_new_aligned(d * m, sizeof *fit->products);
	fit->left = array_new_aligned(m * m, sizeof *fit->left);
	fit->right = array_new_aligned(d * m, sizeof *fit->right);
	if (!fit->codes || !fit->Q || !fit->W || !fit->x || !fit->y || !fit->c ||
	    !fit->odd || !fit->v || !fit->squares || !fit->products || !fit->left ||
	    !fit->right)
		goto no_memory;
	/* As if all were missed, while nothing is known. */
	if (begin(fit, err) == 0 && find_base(fit, 1.0, err) == 0)
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
	free(fit->W);
	free(fit->x);
	free(fit->y);
	free(fit->c);
	free(fit->odd);
	free(fit->v);
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

const float *
fit_base(const struct fit *fit)
{
	return fit->W;
}

/* Codes of rows first .. first + n - 1 of a block that begins at row `block`. */
static void
code_slice(
    struct fit *fit, const struct refine *refine, size_t block, size_t first, size_t n)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	size_t columns = refine_inputs(d);
	float h = 2.0f / (float)(1 << fit->config.shape.bits);
	int16_t *x = fit->x + first * columns, *odd = fit->odd + first * m;
	int32_t *y = fit->y + first * m, *c = fit->c + first * m;
	int8_t *codes = fit->codes + (block + first) * m;

	for (size_t i = 0; i < n; i++)
		refine_round(x + i * columns, fit->u + (block + first + i) * d, d);
	refine_project(refine, y, x, n);
	if (fit->coded) {
		for (size_t i = 0; i < n * m; i++)
			odd[i] = (int16_t)codes[i];
		refine_again(refine, odd, c, y, n);
	} else {
		refine_code(refine, odd, c, y, x, n);
	}
	for (size_t i = 0; i < n * m; i++) {
		codes[i] = (int8_t)odd[i];
		fit->v[first * m + i] = h * (float)odd[i];
	}
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

/* The mean of |u - Q^T v|^2 = |u|^2 - 2 <Q u, v> + <Q Q^T v, v> over all rows. */
static double
find_missed(struct fit *fit)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	double sum = (double)fit->n;

	find_gram(fit);
	for (size_t i = 0; i < m * m; i++)
		sum += fit->left[i] * (double)fit->squares[i];
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < d; j++)
			sum -= 2.0 * fit->right[j * m + i] * (double)fit->Q[i * d + j];
	return fmax(sum / (double)fit->n, 0.0);
}

/* Q := the regression of the vectors on their codes, and W. */
static int
solve(struct fit *fit, double missed, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;

	for (size_t i = 0; i < m; i++)
		fit->left[i * m + i] += RIDGE * (double)fit->n;
	if (blas_solve(fit->config.blas, fit->left, fit->right, m, d, err) != 0)
		return -1;
	transpose(fit->Q, fit->right, d, m);
	return find_base(fit, missed, err);
}

int
fit_turn(struct fit *fit, double *missed, struct error *err)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	struct refine *refine = refine_new(fit->Q, fit->W, d, fit->config.shape, err);
	if (!refine)
		return -1;
	memset(fit->left, 0, m * m * sizeof *fit->left);
	memset(fit->right, 0, d * m * sizeof *fit->right);
	for (size_t block = 0; block < fit->n; block += BLOCK) {
		size_t n = fit->n - block < BLOCK ? fit->n - block : BLOCK;
#pragma omp parallel for schedule(dynamic)
		for (size_t first = 0; first < n; first += SLICE)
			code_slice(fit, refine, block, first,
			    n - first < SLICE ? n - first : SLICE);
		add_block(fit, block, n);
	}
	refine_free(refine);
	fit->coded = true;
	*missed = find_missed(fit);
	return solve(fit, *missed, err);
}

void
fit_parts(struct fit *fit, struct checkpoint *checkpoint)
{
	size_t d = fit->config.input_dims, m = fit->config.shape.dims;
	checkpoint_add(checkpoint, "map", TENSOR_F32, fit->Q, m * d);
	checkpoint_add(checkpoint, "base", TENSOR_F32, fit->W, m * d);
	checkpoint_add(checkpoint, "codes", TENSOR_I8, fit->codes, fit->n * m);
	checkpoint_add(checkpoint, "coded", TENSOR_U8, &fit->coded, sizeof fit->coded);
}
