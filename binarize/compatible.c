#include "binarize/compatible.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/compatible_rank.h"
#include "binarize/recurrent_model.h"

#define BLOCK 4096 /* rows that are multiplied together */

/* Of the largest square of a singular value: smaller ones are of no direction. */
#define NOTHING 1e-13

/* c (m, n) := a b, a being (m, k), or (k, m) and meant transposed. */
static void
multiply(double *c, const double *a, bool transposed, const double *b, size_t m,
    size_t n, size_t k)
{
	memset(c, 0, m * n * sizeof *c);
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < m; i++)
		for (size_t l = 0; l < k; l++) {
			double x = transposed ? a[l * m + i] : a[i * k + l];
			for (size_t j = 0; j < n; j++)
				c[i * n + j] += x * b[l * n + j];
		}
}

/* c (k, l) := A^T B of rows A (n, k) and B (n, l). */
static int
cross(double *c, const struct blas *blas, const struct blas_matrix *a,
    const struct blas_matrix *b, size_t n, struct error *err)
{
	size_t k = a->stride, l = b->stride;
	float *part = array_new_aligned(k * l, sizeof *part);

	if (!part)
		return error_set(err, ERR_MEMORY, "out of memory for a product");
	memset(c, 0, k * l * sizeof *c);
	for (size_t block = 0; block < n; block += BLOCK) {
		const struct blas_gemm product = {.m = k,
		    .n = l,
		    .k = n - block < BLOCK ? n - block : BLOCK,
		    .alpha = 1.0f,
		    .a = {.data = a->data + block * k, .stride = k, .transpose = true},
		    .b = {.data = b->data + block * l, .stride = l},
		    .c = part,
		    .c_stride = l};
		blas_gemm(blas, &product);
		for (size_t i = 0; i < k * l; i++)
			c[i] += (double)part[i];
	}
	free(part);
	return 0;
}

/* c (k, l), k <= l, := its polar factor: with c c^T = E^T L E, the rows of E being
 * eigenvectors, E^T L^(-1/2) E c. */
static int
polar(const struct blas *blas, double *c, size_t k, size_t l, struct error *err)
{
	double *square = array_new(k * k, sizeof *square);
	double *values = array_new(k, sizeof *values);
	double *turned = array_new(k * l, sizeof *turned);
	int rc = 0;

	if (!square || !values || !turned)
		rc = error_set(err, ERR_MEMORY, "out of memory for a rotation");
	for (size_t i = 0; rc == 0 && i < k; i++)
		for (size_t j = 0; j < k; j++) {
			double sum = 0.0;
			for (size_t p = 0; p < l; p++)
				sum += c[i * l + p] * c[j * l + p];
			square[i * k + j] = sum;
		}
	if (rc == 0)
		rc = blas_eigen(blas, values, square, k, err);
	if (rc == 0) {
		multiply(turned, square, false, c, k, l, k);
		for (size_t i = 0; i < k; i++) {
			double scale = values[i] > NOTHING * values[0]
					   ? 1.0 / sqrt(values[i])
					   : 0.0;
			for (size_t j = 0; j < l; j++)
				turned[i * l + j] *= scale;
		}
		multiply(c, square, true, turned, k, l, k);
	}
	free(square);
	free(values);
	free(turned);
	return rc;
}

/* R (old_dims, d) of the pairs. */
static int
find_rotation(float *R, const struct compatible_pairs *pairs, size_t d,
    const struct blas *blas, struct error *err)
{
	size_t e = pairs->old_dims;
	bool wide = e <= d;
	size_t k = wide ? e : d, l = wide ? d : e;
	const struct blas_matrix old = {.data = pairs->old, .stride = e};
	const struct blas_matrix now = {.data = pairs->now, .stride = d};
	double *c = array_new(k * l, sizeof *c);
	int rc = c ? 0 : error_set(err, ERR_MEMORY, "out of memory for a rotation");

	if (rc == 0)
		rc = cross(
		    c, blas, wide ? &old : &now, wide ? &now : &old, pairs->n, err);
	if (rc == 0)
		rc = polar(blas, c, k, l, err);
	for (size_t i = 0; rc == 0 && i < e; i++)
		for (size_t j = 0; j < d; j++)
			R[i * d + j] = (float)(wide ? c[i * l + j] : c[j * l + i]);
	free(c);
	return rc;
}

/* Q (dims, input_dims), as a matrix, of any kind of model. */
static int
write_map(float *Q, const struct recurrent *model, struct error *err)
{
	size_t m = model->info.shape.dims, e = model->info.input_dims;

	if (model->info.kind != RECURRENT_ROTATION) {
		memcpy(Q, model->query->data, m * e * sizeof *Q);
		return 0;
	}
	float *row = array_new_aligned(model->n, sizeof *row);
	if (!row)
		return error_set(err, ERR_MEMORY, "out of memory for a rotation");
	for (size_t i = 0; i < m; i++) {
		memset(row, 0, model->n * sizeof *row);
		row[i] = 1.0f;
		recurrent_rotation_backward(model, row);
		memcpy(Q + i * e, row, e * sizeof *row);
	}
	free(row);
	return 0;
}

/* c (n, d) := rows of old vectors, a (n, e), times R (e, d). */
static void
turn(float *c, const float *a, const float *R, size_t n, size_t e, size_t d,
    const struct blas *blas)
{
	const struct blas_gemm product = {.m = n,
	    .n = d,
	    .k = e,
	    .alpha = 1.0f,
	    .a = {.data = a, .stride = e},
	    .b = {.data = R, .stride = d},
	    .c = c,
	    .c_stride = d};

	blas_gemm(blas, &product);
}

/* Have `model` know the codes of `old`, whose vectors are R x (R NULL: x), by a map
 * that is better still for pairs that can be coded (NULL: none). */
static int
add(struct recurrent *model, const struct recurrent *old, const float *R,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err)
{
	size_t m = old->info.shape.dims, e = old->info.input_dims;
	size_t d = model->info.input_dims, k = old->info.shape.centres;
	const float *old_centres = k > 0 ? centres_row(old->centres, 0) : NULL;
	float *Q = array_new_aligned(m * e, sizeof *Q);
	float *map = array_new_aligned(m * d, sizeof *map);
	float *mean = array_new(d, sizeof *mean);
	float *centres = array_new(k * d, sizeof *centres);
	int rc = 0;

	if (!Q || !map || !mean || !centres)
		rc = error_set(err, ERR_MEMORY, "out of memory for an older binarizer");
	if (rc == 0)
		rc = write_map(Q, old, err);
	if (rc == 0 && R) {
		turn(map, Q, R, m, e, d, blas);
		turn(mean, old->mean, R, 1, e, d, blas);
		if (k > 0)
			turn(centres, old_centres, R, k, e, d, blas);
	}
	const struct recurrent_older older = {.id = old->id,
	    .shape = old->info.shape,
	    .mean = R ? mean : old->mean,
	    .map = R ? map : Q,
	    .centres = R ? centres : old_centres};
	struct compatible_ranked ranked = {map, mean, centres};
	if (rc == 0 && pairs)
		rc = compatible_rank(&ranked, old, pairs, blas, seed, err);
	if (rc == 0)
		rc = recurrent_add_older(model, &older, err);
	free(Q);
	free(map);
	free(mean);
	free(centres);
	return rc;
}

int
compatible_add(struct recurrent *model, const struct recurrent *old,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err)
{
	size_t d = model->info.input_dims, e = old->info.input_dims;
	float *R = NULL;
	int rc = 0;

	if (pairs ? pairs->old_dims != e || pairs->dims != d : e != d)
		return error_set(err, ERR_INPUT,
		    "expected old vectors of %zu dimensions, which the older "
		    "binarizer codes, not of %zu",
		    e, pairs ? pairs->old_dims : d);
	if (pairs) {
		R = array_new_aligned(e * d, sizeof *R);
		rc = R ? find_rotation(R, pairs, d, blas, err)
		       : error_set(err, ERR_MEMORY, "out of memory for a rotation");
	}
	if (rc == 0)
		rc = add(model, old, R, pairs, blas, seed, err);
	for (size_t i = 0; rc == 0 && i < old->n_older; i++)
		rc = add(model, old->older[i], R, NULL, blas, seed, err);
	free(R);
	return rc;
}

struct recurrent *
compatible_new(const struct recurrent *old, const struct compatible_pairs *pairs,
    const struct blas *blas, uint64_t seed, struct error *err)
{
	const struct code_shape none = {.dims = CODE_DIMS_STEP, .bits = 1};
	size_t d = pairs ? pairs->dims : old->info.input_dims;
	struct recurrent *model = recurrent_base_new((uint32_t)d, none, NULL, err);

	if (!model)
		return NULL;
	model->info.kind = RECURRENT_OLDER;
	if (compatible_add(model, old, pairs, blas, seed, err) == 0)
		return model;
	recurrent_free(model);
	return NULL;
}

int
compatible_hand_on(
    struct recurrent *model, const struct recurrent *from, struct error *err)
{
	assert(model->info.input_dims == from->info.input_dims);
	for (size_t i = 0; i < from->n_older; i++) {
		const struct recurrent *known = from->older[i];
		const struct recurrent_older older = {.id = known->id,
		    .shape = known->info.shape,
		    .mean = known->mean,
		    .map = known->query->data,
		    .centres = known->centres ? centres_row(known->centres, 0) : NULL};
		if (recurrent_add_older(model, &older, err) != 0)
			return -1;
	}
	return 0;
}
