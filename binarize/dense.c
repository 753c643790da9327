#include "binarize/dense.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define EPSILON 1e-5 /* added to variances */
#define SHARE 0.1    /* of a batch in what is kept running */

/* What one hidden layer keeps of a batch. */
struct kept {
	float *normal;  /* (rows, out) behind norm, before gain and bias */
	float *y;       /* (rows, out) the layer's result */
	float *inverse; /* (out) 1 / sqrt(variance + EPSILON) */
};

struct dense_pass {
	const struct dense *block;
	struct dense_numbers numbers;
	const struct blas *blas;
	size_t rows_max, rows;
	enum dense_mode mode;
	const float *x; /* (rows, in), borrowed */
	struct kept kept[DENSE_LAYERS_MAX];
	float *dy[2]; /* (rows, hidden) gradients between layers */
	double *sums; /* (2, hidden) sums over a batch's rows */
};

void
dense_init(
    struct dense *block, const struct dense_shape *shape, struct dense_size *taken)
{
	assert(shape->layers >= 1 && shape->layers <= DENSE_LAYERS_MAX);
	memset(block, 0, sizeof *block);
	block->shape = *shape;
	size_t in = shape->in;
	for (size_t j = 0; j < shape->layers; j++) {
		struct dense_layer *l = &block->layers[j];
		l->hidden = j + 1 < shape->layers;
		l->norm = l->hidden && shape->norm;
		l->in = in;
		l->out = l->hidden ? shape->hidden : shape->out;
		assert(l->in > 0 && l->out > 0);
		l->weight = taken->params;
		l->bias = l->weight + l->in * l->out;
		l->gain = l->bias + l->out;
		taken->params = l->gain + (l->norm ? l->out : 0);
		l->mean = taken->running;
		l->variance = l->mean + l->out;
		taken->running += l->norm ? 2 * l->out : 0;
		in = l->out;
	}
}

/* Everything but the weights of a layer as it begins. */
static void
start_layer(const struct dense_layer *l, const struct dense_numbers *numbers)
{
	for (size_t i = 0; i < l->out; i++) {
		numbers->params[l->bias + i] = 0.0f;
		if (!l->norm)
			continue;
		numbers->params[l->gain + i] = 1.0f;
		numbers->running[l->mean + i] = 0.0f;
		numbers->running[l->variance + i] = 1.0f;
	}
}

void
dense_start_random(
    const struct dense *block, const struct dense_numbers *numbers, struct rng *rng)
{
	for (size_t j = 0; j < block->shape.layers; j++) {
		const struct dense_layer *l = &block->layers[j];
		float bound = sqrtf(6.0f / (float)(l->in + l->out));
		start_layer(l, numbers);
		for (size_t i = 0; i < l->in * l->out; i++)
			numbers->params[l->weight + i] =
			    bound * (2.0f * rng_uniform(rng) - 1.0f);
	}
}

/* W := rows i and k + i of its first 2 k are the rows of map (k, in) and their
 * negatives; map NULL: of the identity. */
static void
rows_in_pairs(float *W, const float *map, size_t k, size_t in)
{
	memset(W, 0, 2 * k * in * sizeof *W);
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < in; j++) {
			float value = map ? map[i * in + j] : i == j ? 1.0f : 0.0f;
			W[i * in + j] = value;
			W[(k + i) * in + j] = -value;
		}
}

/* W (out, in) := map (out, k) of the pairs in its first 2 k inputs; map NULL: the
 * identity. */
static void
columns_in_pairs(float *W, const float *map, size_t k, size_t out, size_t in)
{
	memset(W, 0, out * in * sizeof *W);
	for (size_t i = 0; i < out; i++)
		for (size_t j = 0; j < k; j++) {
			float value = map ? map[i * k + j] : i == j ? 1.0f : 0.0f;
			W[i * in + j] = value;
			W[i * in + k + j] = -value;
		}
}

int
dense_start_map(const struct dense *block, const struct dense_numbers *numbers,
    const float *map, struct rng *rng, struct error *err)
{
	const struct dense_shape *s = &block->shape;
	size_t k = s->in < s->out ? s->in : s->out;
	if (s->layers > 1 && s->hidden < 2 * k)
		return error_set(err, ERR_INPUT,
		    "expected at least %zu hidden units, with which a block of %zu to "
		    "%zu "
		    "can begin as a linear map, not %zu",
		    2 * k, s->in, s->out, s->hidden);
	dense_start_random(block, numbers, rng);
	float *W = numbers->params + block->layers[0].weight;
	if (s->layers == 1) {
		memcpy(W, map, s->in * s->out * sizeof *W);
		return 0;
	}
	/* The map is done where it is smaller: before the first ReLU or after the last.
	 */
	bool first = s->out < s->in;
	rows_in_pairs(W, first ? map : NULL, k, s->in);
	for (size_t j = 1; j + 1 < s->layers; j++) {
		/* Pairs are not negative: they pass a ReLU as they are. */
		W = numbers->params + block->layers[j].weight;
		memset(W, 0, 2 * k * s->hidden * sizeof *W);
		for (size_t i = 0; i < 2 * k; i++)
			W[i * s->hidden + i] = 1.0f;
	}
	W = numbers->params + block->layers[s->layers - 1].weight;
	columns_in_pairs(W, first ? NULL : map, k, s->out, s->hidden);
	return 0;
}

struct dense_pass *
dense_pass_new(const struct dense *block, const struct dense_numbers *numbers,
    const struct blas *blas, size_t rows, struct error *err)
{
	size_t size = rows * block->shape.hidden;
	struct dense_pass *p = array_new(1, sizeof *p);
	if (!p)
		goto no_memory;
	p->block = block;
	p->numbers = *numbers;
	p->blas = blas;
	p->rows_max = rows;
	for (size_t j = 0; j + 1 < block->shape.layers; j++) {
		struct kept *k = &p->kept[j];
		k->y = array_new_aligned(size, sizeof *k->y);
		if (block->layers[j].norm) {
			k->normal = array_new_aligned(size, sizeof *k->normal);
			k->inverse = array_new(block->shape.hidden, sizeof *k->inverse);
		}
		if (!k->y || (block->layers[j].norm && (!k->normal || !k->inverse)))
			goto no_memory;
	}
	p->dy[0] = array_new_aligned(size, sizeof *p->dy[0]);
	p->dy[1] = array_new_aligned(size, sizeof *p->dy[1]);
	p->sums = array_new(2 * block->shape.hidden, sizeof *p->sums);
	if (!p->dy[0] || !p->dy[1] || !p->sums)
		goto no_memory;
	return p;
no_memory:
	dense_pass_free(p);
	error_set(err, ERR_MEMORY, "out of memory for a batch of %zu rows", rows);
	return NULL;
}

void
dense_pass_free(struct dense_pass *pass)
{
	if (!pass)
		return;
	for (size_t j = 0; j < DENSE_LAYERS_MAX; j++) {
		free(pass->kept[j].normal);
		free(pass->kept[j].y);
		free(pass->kept[j].inverse);
	}
	free(pass->dy[0]);
	free(pass->dy[1]);
	free(pass->sums);
	free(pass);
}

/* sums (0, out) := the columns' sums of a, (1, out) := those of a * b. */
static void
sum_columns(double *sums, const float *a, const float *b, size_t rows, size_t out)
{
	memset(sums, 0, 2 * out * sizeof *sums);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < out; j++) {
			sums[j] += (double)a[i * out + j];
			sums[out + j] +=
			    (double)a[i * out + j] * (double)b[i * out + j];
		}
}

/* y := y - the batch's mean; sums (0, out) := that mean, (1, out) := the variance. */
static void
centre(struct dense_pass *p, float *y, size_t out)
{
	size_t rows = p->rows;
	double *mean = p->sums, *variance = p->sums + out;
	sum_columns(p->sums, y, y, rows, out);
	memset(variance, 0, out * sizeof *variance);
	for (size_t j = 0; j < out; j++)
		mean[j] /= (double)rows;
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < out; j++) {
			double x = (double)y[i * out + j] - mean[j];
			variance[j] += x * x;
			y[i * out + j] = (float)x;
		}
	for (size_t j = 0; j < out; j++)
		variance[j] /= (double)rows;
}

/* What is kept running, and at a calibration gain and bias, after a batch with these
 * means and variances. */
static void
keep_running(struct dense_pass *p, const struct dense_layer *l)
{
	float *mean = p->numbers.running + l->mean;
	float *variance = p->numbers.running + l->variance;
	double unbiased = (double)p->rows / (double)(p->rows - 1);
	for (size_t i = 0; i < l->out; i++) {
		double m = p->sums[i], v = p->sums[l->out + i];
		if (p->mode == DENSE_CALIBRATE) {
			mean[i] = (float)m;
			variance[i] = (float)v;
			p->numbers.params[l->gain + i] = (float)sqrt(v + EPSILON);
			p->numbers.params[l->bias + i] = (float)m;
		} else {
			mean[i] += (float)(SHARE * (m - (double)mean[i]));
			variance[i] +=
			    (float)(SHARE * (unbiased * v - (double)variance[i]));
		}
	}
}

/* kept->normal (rows, out), which holds W x, := the normalised; and its inverse. */
static void
normalise(struct dense_pass *p, const struct dense_layer *l, struct kept *kept)
{
	const float *mean = p->numbers.running + l->mean;
	const float *variance = p->numbers.running + l->variance;
	float *x = kept->normal;
	if (p->mode == DENSE_EVALUATE) {
		for (size_t i = 0; i < p->rows; i++)
			for (size_t j = 0; j < l->out; j++)
				x[i * l->out + j] -= mean[j];
	} else {
		assert(p->rows >= 2);
		centre(p, x, l->out);
		keep_running(p, l);
	}
	for (size_t j = 0; j < l->out; j++) {
		double v = p->mode == DENSE_EVALUATE ? (double)variance[j]
						     : p->sums[l->out + j];
		kept->inverse[j] = (float)(1.0 / sqrt(v + EPSILON));
	}
	for (size_t i = 0; i < p->rows; i++)
		for (size_t j = 0; j < l->out; j++)
			x[i * l->out + j] *= kept->inverse[j];
}

/* y (rows, out) := relu(g * normal + b), normal being y itself where there is no norm.
 */
static void
activate(const struct dense_pass *p, const struct dense_layer *l, float *y,
    const float *normal)
{
	const float *gain = p->numbers.params + l->gain;
	const float *bias = p->numbers.params + l->bias;
	for (size_t i = 0; i < p->rows; i++)
		for (size_t j = 0; j < l->out; j++) {
			float x = normal[i * l->out + j];
			x = (l->norm ? gain[j] * x : x) + bias[j];
			y[i * l->out + j] = x > 0.0f ? x : 0.0f;
		}
}

void
dense_forward(struct dense_pass *pass, float *y, const float *x, size_t rows,
    enum dense_mode mode)
{
	assert(rows >= 1 && rows <= pass->rows_max);
	pass->rows = rows;
	pass->mode = mode;
	pass->x = x;
	for (size_t j = 0; j < pass->block->shape.layers; j++) {
		const struct dense_layer *l = &pass->block->layers[j];
		struct kept *kept = &pass->kept[j];
		const float *bias = pass->numbers.params + l->bias;
		float *out = l->norm ? kept->normal : l->hidden ? kept->y : y;
		assert(l->out > 0);
		blas_gemm(pass->blas,
		    &(struct blas_gemm){.m = rows,
			.n = l->out,
			.k = l->in,
			.alpha = 1.0f,
			.a = {x, l->in, false},
			.b = {pass->numbers.params + l->weight, l->in, true},
			.c = out,
			.c_stride = l->out});
		if (l->norm)
			normalise(pass, l, kept);
		if (l->hidden)
			activate(pass, l, kept->y, out);
		for (size_t i = 0; !l->hidden && i < rows * l->out; i++)
			y[i] += bias[i % l->out];
		x = kept->y;
	}
}

/* dy (rows, out), the gradient behind a hidden layer's ReLU, := that of W x; those of
 * bias and gain are added. */
static void
backward_hidden(struct dense_pass *p, const struct dense_layer *l,
    const struct kept *kept, float *dy)
{
	size_t rows = p->rows, out = l->out;
	assert(rows > 0);
	float *dbias = p->numbers.grads + l->bias, *dgain = p->numbers.grads + l->gain;
	const float *gain = p->numbers.params + l->gain;
	for (size_t i = 0; i < rows * out; i++)
		dy[i] = kept->y[i] > 0.0f ? dy[i] : 0.0f;
	sum_columns(p->sums, dy, l->norm ? kept->normal : dy, rows, out);
	for (size_t j = 0; j < out; j++)
		dbias[j] += (float)p->sums[j];
	if (!l->norm)
		return;
	for (size_t j = 0; j < out; j++) {
		dgain[j] += (float)p->sums[out + j];
		p->sums[j] /= (double)rows;
		p->sums[out + j] /= (double)rows;
	}
	/* The batch's mean and variance move with each of its rows. */
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < out; j++) {
			size_t at = i * out + j;
			double x = (double)dy[at] - p->sums[j] -
				   (double)kept->normal[at] * p->sums[out + j];
			dy[at] = gain[j] * kept->inverse[j] * (float)x;
		}
}

void
dense_backward(struct dense_pass *pass, float *dx, const float *dy)
{
	const struct blas *blas = pass->blas;
	float *params = pass->numbers.params, *grads = pass->numbers.grads;
	size_t rows = pass->rows;
	assert(pass->mode == DENSE_TRAIN && dy);
	for (size_t j = pass->block->shape.layers; j-- > 0;) {
		const struct dense_layer *l = &pass->block->layers[j];
		const float *x = j > 0 ? pass->kept[j - 1].y : pass->x;
		float *below = j > 0 ? pass->dy[j % 2] : dx;
		assert(below || j == 0);
		for (size_t i = 0; !l->hidden && i < rows * l->out; i++)
			grads[l->bias + i % l->out] += dy[i];
		blas_gemm(blas, &(struct blas_gemm){.m = l->out,
				    .n = l->in,
				    .k = rows,
				    .alpha = 1.0f,
				    .a = {dy, l->out, true},
				    .b = {x, l->in, false},
				    .beta = 1.0f,
				    .c = grads + l->weight,
				    .c_stride = l->in});
		if (below)
			blas_gemm(blas, &(struct blas_gemm){.m = rows,
					    .n = l->in,
					    .k = l->out,
					    .alpha = 1.0f,
					    .a = {dy, l->out, false},
					    .b = {params + l->weight, l->in, false},
					    .c = below,
					    .c_stride = l->in});
		if (j > 0)
			backward_hidden(pass, &pass->block->layers[j - 1],
			    &pass->kept[j - 1], below);
		dy = below;
	}
}

void
dense_fold(const struct dense *block, const struct dense_numbers *numbers, size_t j,
    float *weight, float *bias)
{
	const struct dense_layer *l = &block->layers[j];
	const float *params = numbers->params, *running = numbers->running;
	memcpy(weight, params + l->weight, l->in * l->out * sizeof *weight);
	memcpy(bias, params + l->bias, l->out * sizeof *bias);
	for (size_t i = 0; l->norm && i < l->out; i++) {
		double inverse = 1.0 / sqrt((double)running[l->variance + i] + EPSILON);
		float scale = (float)((double)params[l->gain + i] * inverse);
		bias[i] -= scale * running[l->mean + i];
		for (size_t k = 0; k < l->in; k++)
			weight[i * l->in + k] *= scale;
	}
}
