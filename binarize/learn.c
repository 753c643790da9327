#include "binarize/learn.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/learn_model.h"
#include "binarize/recurrent_model.h"

static int
check_config(const struct learn_config *config, struct error *err)
{
	if (code_shape_check(config->shape, err) != 0)
		return -1;
	if (config->input_dims == 0 || config->input_dims > RECURRENT_INPUT_DIMS_MAX)
		return error_set(err, ERR_INPUT,
		    "expected vectors of 1 to %d numbers, not %u",
		    RECURRENT_INPUT_DIMS_MAX, config->input_dims);
	if (config->layers == 0 || config->layers > DENSE_LAYERS_MAX)
		return error_set(err, ERR_INPUT,
		    "expected blocks of 1 to %d layers, not %zu", DENSE_LAYERS_MAX,
		    config->layers);
	if (config->layers > 1 &&
	    (config->hidden == 0 || config->hidden > RECURRENT_WIDTH_MAX))
		return error_set(err, ERR_INPUT,
		    "expected hidden layers of 1 to %d units, not %zu",
		    RECURRENT_WIDTH_MAX, config->hidden);
	return 0;
}

struct learn *
learn_new(const struct learn_config *config, struct error *err)
{
	if (check_config(config, err) != 0)
		return NULL;
	size_t d = config->input_dims, m = config->shape.dims;
	struct learn *learn = array_new(1, sizeof *learn);
	if (!learn)
		goto no_memory;
	learn->config = *config;
	struct dense_shape up = {d, m, config->layers, config->hidden, config->norm};
	struct dense_shape down = {m, d, config->layers, config->hidden, config->norm};
	dense_init(&learn->base, &up, &learn->size);
	for (uint32_t p = 1; p < config->shape.bits; p++) {
		dense_init(&learn->reconstruct[p], &down, &learn->size);
		dense_init(&learn->residual[p], &up, &learn->size);
	}
	learn->query = learn->size.params;
	learn->length = learn->query + m * d;
	learn->size.params = learn->length + config->shape.bits - 1;
	struct dense_numbers *numbers = &learn->numbers;
	numbers->params = array_new_aligned(learn->size.params, sizeof(float));
	numbers->grads = array_new_aligned(learn->size.params, sizeof(float));
	numbers->running = array_new_aligned(learn->size.running, sizeof(float));
	if (!numbers->params || !numbers->grads || !numbers->running)
		goto no_memory;
	return learn;
no_memory:
	learn_free(learn);
	error_set(err, ERR_MEMORY, "out of memory for a model of %u to %u x %u bits",
	    config->input_dims, config->shape.dims, config->shape.bits);
	return NULL;
}

void
learn_free(struct learn *learn)
{
	if (!learn)
		return;
	free(learn->numbers.params);
	free(learn->numbers.grads);
	free(learn->numbers.running);
	free(learn);
}

struct dense_numbers
learn_numbers(const struct learn *learn)
{
	return learn->numbers;
}

struct dense_size
learn_size(const struct learn *learn)
{
	return learn->size;
}

static void
follow(float *slow, const float *fast, size_t n, float momentum)
{
	for (size_t i = 0; i < n; i++)
		slow[i] = momentum * slow[i] + (1.0f - momentum) * fast[i];
}

void
learn_follow(struct learn *slow, const struct learn *fast, float momentum)
{
	assert(slow->size.params == fast->size.params);
	follow(slow->numbers.params, fast->numbers.params, fast->size.params, momentum);
	follow(
	    slow->numbers.running, fast->numbers.running, fast->size.running, momentum);
}

/* What plane p keeps of a batch; -1: out of memory. */
static int
open_plane(struct learn_pass *pass, uint32_t p, struct error *err)
{
	struct learn *learn = pass->learn;
	struct learn_plane *plane = &pass->planes[p];
	size_t rows = pass->rows_max, d = learn->config.input_dims;
	size_t m = learn->config.shape.dims;
	plane->z = array_new_aligned(rows * m, sizeof(float));
	plane->deviation = array_new(m, sizeof(float));
	plane->ds = array_new_aligned(rows * m, sizeof(float));
	if (!plane->z || !plane->deviation || !plane->ds)
		return -1;
	if (p == 0)
		return 0;
	plane->unit = array_new_aligned(rows * d, sizeof(float));
	plane->inverse = array_new(rows, sizeof(float));
	plane->rest = array_new_aligned(rows * d, sizeof(float));
	plane->reconstruct = dense_pass_new(
	    &learn->reconstruct[p], &learn->numbers, pass->blas, rows, err);
	plane->residual =
	    dense_pass_new(&learn->residual[p], &learn->numbers, pass->blas, rows, err);
	return plane->unit && plane->inverse && plane->rest && plane->reconstruct &&
		       plane->residual
		   ? 0
		   : -1;
}

struct learn_pass *
learn_pass_new(
    struct learn *learn, const struct blas *blas, size_t rows, struct error *err)
{
	size_t d = learn->config.input_dims, m = learn->config.shape.dims;
	uint32_t bits = learn->config.shape.bits;
	struct learn_pass *pass = array_new(1, sizeof *pass);
	if (!pass)
		goto no_memory;
	pass->learn = learn;
	pass->blas = blas;
	pass->rows_max = rows;
	pass->y = array_new_aligned(rows * m, sizeof(float));
	pass->v = array_new_aligned(rows * m * bits, sizeof(float));
	pass->codes.dy = array_new_aligned(rows * m, sizeof(float));
	pass->codes.dv = array_new_aligned(rows * m * bits, sizeof(float));
	pass->through = array_new_aligned(rows * m, sizeof(float));
	pass->back = array_new_aligned(rows * m, sizeof(float));
	pass->drest = array_new_aligned(rows * d, sizeof(float));
	pass->base = dense_pass_new(&learn->base, &learn->numbers, blas, rows, err);
	if (!pass->y || !pass->v || !pass->codes.dy || !pass->codes.dv ||
	    !pass->through || !pass->back || !pass->drest || !pass->base)
		goto no_memory;
	for (uint32_t p = 0; p < bits; p++)
		if (open_plane(pass, p, err) != 0)
			goto no_memory;
	return pass;
no_memory:
	learn_pass_free(pass);
	error_set(err, ERR_MEMORY, "out of memory for batches of %zu rows", rows);
	return NULL;
}

void
learn_pass_free(struct learn_pass *pass)
{
	if (!pass)
		return;
	for (uint32_t p = 0; p < CODE_BITS_MAX; p++) {
		struct learn_plane *plane = &pass->planes[p];
		dense_pass_free(plane->reconstruct);
		dense_pass_free(plane->residual);
		free(plane->unit);
		free(plane->inverse);
		free(plane->rest);
		free(plane->z);
		free(plane->deviation);
		free(plane->ds);
	}
	dense_pass_free(pass->base);
	free(pass->y);
	free(pass->v);
	free(pass->codes.dy);
	free(pass->codes.dv);
	free(pass->through);
	free(pass->back);
	free(pass->drest);
	free(pass);
}

/* unit, inverse := the rows of h (rows, d), which lies in unit, at length 1; their mean
 * length. */
static double
to_unit(struct learn_plane *plane, size_t rows, size_t d)
{
	double sum = 0.0;
	for (size_t i = 0; i < rows; i++) {
		float *h = plane->unit + i * d;
		double length = sqrt(recurrent_dot(h, h, d));
		plane->inverse[i] = length > 0.0 ? (float)(1.0 / length) : 0.0f;
		for (size_t j = 0; j < d; j++)
			h[j] *= plane->inverse[i];
		sum += length;
	}
	return sum / (double)rows;
}

static struct estimator_batch
estimator_batch(const struct learn_pass *pass, uint32_t p)
{
	return (struct estimator_batch){.rows = pass->codes.rows,
	    .n = pass->codes.dims,
	    .z = pass->planes[p].z,
	    .inverse = pass->planes[p].deviation};
}

/* v := v_p, from v_{p-1} before it. */
static void
forward_plane(struct learn_pass *pass, uint32_t p, float *v, enum dense_mode mode)
{
	const struct learn_codes *codes = &pass->codes;
	struct learn_plane *plane = &pass->planes[p];
	float *length = pass->learn->numbers.params + pass->learn->length + p - 1;
	size_t rows = codes->rows, d = codes->input_dims, n = rows * codes->dims;
	const float *before = v - n;
	float weight = 1.0f / (float)(1u << p);

	dense_forward(plane->reconstruct, plane->unit, before, rows, mode);
	double mean = to_unit(plane, rows, d);
	if (mode == DENSE_CALIBRATE)
		*length = (float)mean;
	for (size_t i = 0; i < rows * d; i++)
		plane->rest[i] = codes->u[i] - *length * plane->unit[i];
	dense_forward(plane->residual, v, plane->rest, rows, mode);
	struct estimator_batch batch = estimator_batch(pass, p);
	estimator_forward(&pass->estimator, &batch, v, v);
	for (size_t i = 0; i < n; i++)
		v[i] = before[i] + weight * v[i];
}

const struct learn_codes *
learn_forward(struct learn_pass *pass, const float *u, size_t rows,
    enum dense_mode mode, const struct estimator *estimator)
{
	struct learn *learn = pass->learn;
	struct learn_codes *codes = &pass->codes;
	size_t d = learn->config.input_dims, m = learn->config.shape.dims;
	assert(rows >= 1 && rows <= pass->rows_max);
	pass->estimator = *estimator;
	codes->rows = rows;
	codes->planes = learn->config.shape.bits;
	codes->dims = m;
	codes->input_dims = d;
	codes->u = u;
	codes->y = pass->y;
	codes->v = pass->v;
	codes->query = learn->numbers.params + learn->query;
	codes->dquery = learn->numbers.grads + learn->query;
	memset(codes->dy, 0, rows * m * sizeof(float));
	memset(codes->dv, 0, rows * m * codes->planes * sizeof(float));

	blas_gemm(pass->blas, &(struct blas_gemm){.m = rows,
				  .n = m,
				  .k = d,
				  .alpha = 1.0f,
				  .a = {u, d, false},
				  .b = {codes->query, d, true},
				  .c = pass->y,
				  .c_stride = m});
	dense_forward(pass->base, pass->v, u, rows, mode);
	struct estimator_batch batch = estimator_batch(pass, 0);
	estimator_forward(estimator, &batch, pass->v, pass->v);
	for (uint32_t p = 1; p < codes->planes; p++)
		forward_plane(pass, p, pass->v + p * rows * m, mode);
	return codes;
}

/* From ds, the gradient at plane p's sign, to that of v_{p-1} in pass->back. */
static void
backward_plane(struct learn_pass *pass, uint32_t p)
{
	struct learn *learn = pass->learn;
	struct learn_plane *plane = &pass->planes[p];
	size_t d = pass->codes.input_dims, at = learn->length + p - 1;
	float length = learn->numbers.params[at];
	double dlength = 0.0;
	dense_backward(plane->residual, pass->drest, plane->ds);
	for (size_t i = 0; i < pass->codes.rows; i++) {
		/* A change along the reconstruction is one of its length alone. */
		float *dr = pass->drest + i * d;
		const float *unit = plane->unit + i * d;
		double along = recurrent_dot(dr, unit, d);
		dlength -= along;
		for (size_t j = 0; j < d; j++)
			dr[j] = -length * plane->inverse[i] *
				(dr[j] - (float)along * unit[j]);
	}
	learn->numbers.grads[at] += (float)dlength;
	dense_backward(plane->reconstruct, pass->back, pass->drest);
}

void
learn_backward(struct learn_pass *pass)
{
	const struct learn_codes *codes = &pass->codes;
	size_t m = codes->dims, d = codes->input_dims, n = codes->rows * m;
	memset(pass->through, 0, n * sizeof *pass->through);
	for (uint32_t p = (uint32_t)codes->planes; p-- > 0;) {
		struct learn_plane *plane = &pass->planes[p];
		struct estimator_batch batch = estimator_batch(pass, p);
		float weight = 1.0f / (float)(1u << p);
		for (size_t i = 0; i < n; i++) {
			pass->through[i] += codes->dv[p * n + i];
			plane->ds[i] = weight * pass->through[i];
		}
		estimator_backward(&pass->estimator, &batch, plane->ds, plane->ds);
		if (p == 0)
			break;
		backward_plane(pass, p);
		for (size_t i = 0; i < n; i++)
			pass->through[i] += pass->back[i];
	}
	dense_backward(pass->base, NULL, pass->planes[0].ds);
	blas_gemm(pass->blas, &(struct blas_gemm){.m = m,
				  .n = d,
				  .k = codes->rows,
				  .alpha = 1.0f,
				  .a = {codes->dy, m, true},
				  .b = {codes->u, d, false},
				  .beta = 1.0f,
				  .c = codes->dquery,
				  .c_stride = d});
}

struct estimator_indicators
learn_indicators(const struct learn_pass *pass, uint32_t plane)
{
	struct estimator_batch batch = estimator_batch(pass, plane);
	return estimator_indicators(&pass->estimator, &batch, pass->planes[plane].ds);
}
