#include "binarize/loss.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/loss_model.h"
#include "binarize/recurrent_model.h"

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct loss *
loss_new(const struct loss_size *size, const struct blas *blas, struct error *err)
{
	size_t rows = size->rows, half = rows / 2;
	struct loss *loss = array_new(1, sizeof *loss);
	if (!loss)
		goto no_memory;
	loss->size = *size;
	loss->blas = blas;
	loss->wanted = array_new_aligned(rows * rows, sizeof *loss->wanted);
	loss->scores = array_new_aligned(
	    larger(rows * rows, half * (half + size->queue)), sizeof *loss->scores);
	loss->slopes = array_new_aligned(rows * rows, sizeof *loss->slopes);
	loss->decoded = array_new_aligned(rows * size->input_dims, sizeof(float));
	loss->hits = array_new(half * size->hardest, sizeof *loss->hits);
	loss->chosen = array_new(half, sizeof *loss->chosen);
	loss->scale = array_new(rows, sizeof *loss->scale);
	loss->dscale = array_new(rows, sizeof *loss->dscale);
	loss->values = array_new(rows, sizeof *loss->values);
	loss->entropy = array_new(rows, sizeof *loss->entropy);
	if (!loss->wanted || !loss->scores || !loss->slopes || !loss->decoded ||
	    !loss->hits || !loss->chosen || !loss->scale || !loss->dscale ||
	    !loss->values || !loss->entropy)
		goto no_memory;
	return loss;
no_memory:
	loss_free(loss);
	error_set(err, ERR_MEMORY, "out of memory for losses over %zu rows", rows);
	return NULL;
}

void
loss_free(struct loss *loss)
{
	if (!loss)
		return;
	free(loss->wanted);
	free(loss->scores);
	free(loss->slopes);
	free(loss->decoded);
	free(loss->hits);
	free(loss->chosen);
	free(loss->scale);
	free(loss->dscale);
	free(loss->values);
	free(loss->entropy);
	free(loss);
}

/* <y, v> of a row, or 0 where the scale is 1 / |v|. */
static double
dot_of(const struct learn_codes *codes, size_t plane, size_t row, enum loss_query query)
{
	size_t m = codes->dims;
	if (query == LOSS_CODES)
		return 0.0;
	double dot = recurrent_dot(
	    codes->y + row * m, codes->v + (plane * codes->rows + row) * m, m);
	return dot > 0.0 ? dot : 0.0;
}

float
loss_scale(
    const struct learn_codes *codes, size_t plane, size_t row, enum loss_query query)
{
	const float *v = codes->v + (plane * codes->rows + row) * codes->dims;
	double dot = dot_of(codes, plane, row, query);
	return (
	    float)(1.0 / (dot > 0.0 ? dot : sqrt(recurrent_dot(v, v, codes->dims))));
}

void
loss_scale_backward(const struct learn_codes *codes, size_t plane, size_t row,
    enum loss_query query, double dscale)
{
	size_t m = codes->dims, at = (plane * codes->rows + row) * m;
	const float *v = codes->v + at, *y = codes->y + row * m;
	float *dv = codes->dv + at, *dy = codes->dy + row * m;
	double dot = dot_of(codes, plane, row, query);
	if (dot > 0.0) {
		float slope = (float)(-dscale / (dot * dot));
		for (size_t k = 0; k < m; k++) {
			dv[k] += slope * y[k];
			dy[k] += slope * v[k];
		}
	} else {
		double length2 = recurrent_dot(v, v, m);
		float slope = (float)(-dscale / (length2 * sqrt(length2)));
		for (size_t k = 0; k < m; k++)
			dv[k] += slope * v[k];
	}
}

double
loss_reconstruction(
    struct loss *loss, const struct learn_codes *codes, const float *weights)
{
	size_t rows = codes->rows, m = codes->dims, d = codes->input_dims;
	double sum = 0.0;
	assert(rows <= loss->size.rows);
	for (size_t p = 0; p < codes->planes; p++) {
		if (weights[p] == 0.0f)
			continue;
		const float *v = codes->v + p * rows * m;
		float *dv = codes->dv + p * rows * m, *g = loss->decoded;
		blas_gemm(loss->blas, &(struct blas_gemm){.m = rows,
					  .n = d,
					  .k = m,
					  .alpha = 1.0f,
					  .a = {v, m, false},
					  .b = {codes->query, d, false},
					  .c = g,
					  .c_stride = d});
		double share = (double)weights[p] / (double)rows;
		for (size_t i = 0; i < rows; i++) {
			/* With a = <u, g> and b = |g|^2:  1 - a^2 / b. */
			const float *u = codes->u + i * d;
			double a = recurrent_dot(u, g + i * d, d);
			double b = recurrent_dot(g + i * d, g + i * d, d);
			double f = b > 0.0 ? a / b : 0.0;
			sum += share * (1.0 - f * a);
			for (size_t j = 0; j < d; j++) {
				double x = (double)u[j] - f * (double)g[i * d + j];
				g[i * d + j] = (float)(-2.0 * share * f * x);
			}
		}
		blas_gemm(loss->blas, &(struct blas_gemm){.m = rows,
					  .n = m,
					  .k = d,
					  .alpha = 1.0f,
					  .a = {g, d, false},
					  .b = {codes->query, d, true},
					  .beta = 1.0f,
					  .c = dv,
					  .c_stride = m});
		blas_gemm(loss->blas, &(struct blas_gemm){.m = m,
					  .n = d,
					  .k = rows,
					  .alpha = 1.0f,
					  .a = {v, m, true},
					  .b = {g, d, false},
					  .beta = 1.0f,
					  .c = codes->dquery,
					  .c_stride = d});
	}
	return sum;
}

/* Row i of x (n) := softmax of x / temperature without its place i, which becomes 0.
 * What was x_j has the logarithm x_j / temperature - log_sum in it; `mean` is these
 * logarithms' mean, the negative entropy. */
struct softmax {
	double log_sum, mean;
};

static struct softmax
softmax_of_others(float *x, size_t n, size_t i, float temperature)
{
	float peak = -INFINITY;
	double sum = 0.0, along = 0.0;
	for (size_t j = 0; j < n; j++)
		if (j != i && x[j] > peak)
			peak = x[j];
	for (size_t j = 0; j < n; j++) {
		float below = (x[j] - peak) / temperature;
		x[j] = j == i ? 0.0f : expf(below);
		sum += (double)x[j];
		along += (double)x[j] * (double)below;
	}
	float share = (float)(1.0 / sum);
	for (size_t j = 0; j < n; j++)
		x[j] *= share;
	return (struct softmax){
	    .log_sum = (double)peak / (double)temperature + log(sum),
	    .mean = along / sum - log(sum)};
}

/* share * row i's KL divergence, but for the wanted's own entropy; its slopes := share
 * * d KL / d <y_i, v_j>, whose f_j are in loss->scale. */
static double
rank_row(struct loss *loss, size_t n, size_t i, float temperature, double share)
{
	const float *wanted = loss->wanted + i * n, *scores = loss->scores + i * n;
	float *slopes = loss->slopes + i * n,
	      unit = (float)(share / (double)temperature);
	double along = 0.0;
	for (size_t j = 0; j < n; j++) {
		slopes[j] = scores[j] * loss->scale[j];
		along += (double)wanted[j] * (double)slopes[j];
	}
	struct softmax got = softmax_of_others(slopes, n, i, temperature);
	for (size_t j = 0; j < n; j++)
		slopes[j] = unit * (slopes[j] - wanted[j]) * loss->scale[j];
	return share * (got.log_sum - along / (double)temperature);
}

/* dscale (n) := the gradient at f_j, through every <y_i, v_j> f_j. */
static void
rank_scales(struct loss *loss, size_t n)
{
	memset(loss->dscale, 0, n * sizeof *loss->dscale);
	for (size_t i = 0; i < n * n; i += n)
		for (size_t j = 0; j < n; j++)
			loss->dscale[j] +=
			    (double)loss->slopes[i + j] * (double)loss->scores[i + j];
	for (size_t j = 0; j < n; j++)
		loss->dscale[j] /= (double)loss->scale[j];
}

double
loss_ranking(struct loss *loss, const struct learn_codes *codes, const float *weights,
    float temperature)
{
	size_t n = codes->rows, m = codes->dims, d = codes->input_dims;
	const struct blas *blas = loss->blas;
	double total = 0.0;
	assert(n >= 2 && n <= loss->size.rows);
	blas_gemm(blas, &(struct blas_gemm){.m = n,
			    .n = n,
			    .k = d,
			    .alpha = 1.0f,
			    .a = {codes->u, d, false},
			    .b = {codes->u, d, true},
			    .c = loss->wanted,
			    .c_stride = n});
#pragma omp parallel for if (n * n >= LOSS_PARALLEL_MIN)
	for (size_t i = 0; i < n; i++)
		loss->entropy[i] =
		    -softmax_of_others(loss->wanted + i * n, n, i, temperature).mean;
	for (size_t p = 0; p < codes->planes; p++) {
		if (weights[p] == 0.0f)
			continue;
		const float *v = codes->v + p * n * m;
		for (size_t j = 0; j < n; j++)
			loss->scale[j] = loss_scale(codes, p, j, LOSS_FLOATS);
		blas_gemm(blas, &(struct blas_gemm){.m = n,
				    .n = n,
				    .k = m,
				    .alpha = 1.0f,
				    .a = {codes->y, m, false},
				    .b = {v, m, true},
				    .c = loss->scores,
				    .c_stride = n});
#pragma omp parallel for if (n * n >= LOSS_PARALLEL_MIN)
		for (size_t i = 0; i < n; i++)
			loss->values[i] = rank_row(
			    loss, n, i, temperature, (double)weights[p] / (double)n);
		rank_scales(loss, n);
		for (size_t i = 0; i < n; i++)
			total += loss->values[i] -
				 (double)weights[p] / (double)n * loss->entropy[i];
		blas_gemm(blas, &(struct blas_gemm){.m = n,
				    .n = m,
				    .k = n,
				    .alpha = 1.0f,
				    .a = {loss->slopes, n, false},
				    .b = {v, m, false},
				    .beta = 1.0f,
				    .c = codes->dy,
				    .c_stride = m});
		blas_gemm(blas, &(struct blas_gemm){.m = n,
				    .n = m,
				    .k = n,
				    .alpha = 1.0f,
				    .a = {loss->slopes, n, true},
				    .b = {codes->y, m, false},
				    .beta = 1.0f,
				    .c = codes->dv + p * n * m,
				    .c_stride = m});
		for (size_t j = 0; j < n; j++)
			loss_scale_backward(codes, p, j, LOSS_FLOATS, loss->dscale[j]);
	}
	return total;
}
