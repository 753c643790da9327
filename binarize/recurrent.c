#include "binarize/recurrent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/recurrent_model.h"

/* The step t of a unit Gaussian at 1 .. 4 bits: where the quantiser's expected squared
 * error is least and, at once, its expected cosine largest (Max, "Quantizing for
 * minimum distortion", IRE Trans. 1960, table II, in units of t = step * 2^bits / 4).
 * The cosines are .7979, .9387, .9811, .9942. */
static const float steps[CODE_BITS_MAX + 1] = {
    0.0f, 0.797885f, 0.995687f, 1.172039f, 1.340802f};

float
recurrent_step(uint32_t bits)
{
	assert(bits >= 1 && bits <= CODE_BITS_MAX);
	return steps[bits];
}

/* E y v_bits / E y v_planes of a unit Gaussian y, v_p being the sum of the first p
 * signs at the step for `bits`. */
float
recurrent_prefix(uint32_t bits, uint32_t planes)
{
	static const float ratios[CODE_BITS_MAX + 1][CODE_BITS_MAX + 1] = {
	    [1] = {0, 1},
	    [2] = {0, 1.109148f, 1},
	    [3] = {0, 1.029312f, 1.026063f, 1},
	    [4] = {0, 0.923958f, 1.018668f, 1.005344f, 1},
	};
	assert(bits >= 1 && bits <= CODE_BITS_MAX && planes >= 1 && planes <= bits);
	return ratios[bits][planes];
}

double
recurrent_dot(const float *a, const float *b, size_t n)
{
	double lane[4] = {0.0, 0.0, 0.0, 0.0};
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		for (size_t j = 0; j < 4; j++)
			lane[j] += (double)a[i + j] * (double)b[i + j];
	for (; i < n; i++)
		lane[i % 4] += (double)a[i] * (double)b[i];
	return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

static int
check_mean(const float *mean, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(mean[i]))
			return error_set(err, ERR_INPUT,
			    "expected a finite mean, not %g at position %zu",
			    (double)mean[i], i);
	return 0;
}

struct recurrent *
recurrent_base_new(
    uint32_t input_dims, struct code_shape shape, const float *mean, struct error *err)
{
	if (code_shape_check(shape, err) != 0)
		return NULL;
	if (input_dims == 0 || input_dims > RECURRENT_INPUT_DIMS_MAX) {
		error_set(err, ERR_INPUT, "expected vectors of 1 to %d numbers, not %u",
		    RECURRENT_INPUT_DIMS_MAX, input_dims);
		return NULL;
	}
	if (mean && check_mean(mean, input_dims, err) != 0)
		return NULL;
	struct recurrent *model = array_new(1, sizeof *model);
	if (!model)
		goto no_memory;
	model->info.input_dims = input_dims;
	model->info.shape = shape;
	model->mean = array_new(input_dims, sizeof *model->mean);
	if (!model->mean)
		goto no_memory;
	if (mean)
		memcpy(model->mean, mean, input_dims * sizeof *model->mean);
	model->info.mean = model->mean;
	return model;
no_memory:
	error_set(err, ERR_MEMORY, "out of memory for a binarizer");
	recurrent_free(model);
	return NULL;
}

struct recurrent *
recurrent_new(const struct recurrent_rotation_config *config, struct error *err)
{
	struct code_shape shape = config->shape;
	shape.centres = 0;
	struct recurrent *model =
	    recurrent_base_new(config->input_dims, shape, config->mean, err);
	if (!model)
		return NULL;
	model->info.kind = RECURRENT_ROTATION;
	model->info.seed = config->seed;
	if (recurrent_rotation_init(model, err) != 0) {
		recurrent_free(model);
		return NULL;
	}
	recurrent_id_set(model, NULL, 0);
	return model;
}

void
recurrent_free(struct recurrent *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->n_older; i++)
		recurrent_free(model->older[i]);
	tensors_close(model->file);
	refine_free(model->refine);
	centres_free(model->centres);
	free(model->shadows);
	free(model->numbers[0]);
	free(model->numbers[1]);
	free(model->folded);
	free(model->signs);
	free(model->mean);
	free(model);
}

struct recurrent_info
recurrent_info(const struct recurrent *model)
{
	return model->info;
}

static size_t
largest(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct recurrent_scratch *
recurrent_scratch_new(const struct recurrent *model, struct error *err)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;
	struct recurrent_scratch *s = array_new(1, sizeof *s);
	if (!s)
		goto no_memory;
	s->u = array_new_aligned(d, sizeof *s->u);
	s->y = array_new_aligned(largest(model->n, m), sizeof *s->y);
	s->v = array_new_aligned(m, sizeof *s->v);
	s->r = array_new_aligned(largest(d, m), sizeof *s->r);
	s->low[0] = array_new_aligned(model->width, sizeof *s->r);
	s->low[1] = array_new_aligned(model->width, sizeof *s->r);
	s->levels = array_new_aligned(m, 1);
	s->decoded = array_new_aligned(d, sizeof *s->decoded);
	if (!s->u || !s->y || !s->v || !s->r || !s->low[0] || !s->low[1] ||
	    !s->levels || !s->decoded)
		goto no_memory;
	if ((model->refine || model->centres) &&
	    recurrent_refined_scratch(&s->refined, model, err) != 0)
		goto no_memory;
	if (model->newer && !(s->newer = recurrent_scratch_new(model->newer, err)))
		goto no_memory;
	return s;
no_memory:
	recurrent_scratch_free(s);
	error_set(err, ERR_MEMORY, "out of memory for binarizing");
	return NULL;
}

void
recurrent_scratch_free(struct recurrent_scratch *scratch)
{
	if (!scratch)
		return;
	recurrent_scratch_free(scratch->newer);
	free(scratch->refined.x);
	free(scratch->refined.y);
	free(scratch->refined.c);
	free(scratch->refined.v);
	free(scratch->refined.products);
	free(scratch->u);
	free(scratch->y);
	free(scratch->v);
	free(scratch->r);
	free(scratch->low[0]);
	free(scratch->low[1]);
	free(scratch->levels);
	free(scratch->decoded);
	free(scratch);
}

int
recurrent_check(double *norm2, const float *x, size_t n, struct error *err)
{
	*norm2 = recurrent_dot(x, x, n);
	if (*norm2 > 0.0 && *norm2 <= (double)3.4e38f)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return error_set(err, ERR_INPUT,
			    "expected a finite number at position %zu of the vector, "
			    "not %g",
			    i, (double)x[i]);
	if (*norm2 == 0.0)
		return error_set(err, ERR_INPUT,
		    "expected a vector with a direction, not %zu zeros", n);
	return error_set(err, ERR_INPUT,
	    "expected a vector no longer than 1.8e19, not %g; scale it down",
	    sqrt(*norm2));
}

double
recurrent_centre(float *u, const float *x, const float *mean, size_t n)
{
	memmove(u, x, n * sizeof *u);
#pragma omp simd
	for (size_t i = 0; i < (mean ? n : 0); i++)
		u[i] -= mean[i];
	double length = sqrt(recurrent_dot(u, u, n));
	double inverse = length > 0.0 ? 1.0 / length : 0.0;
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		u[i] = (float)((double)u[i] * inverse);
	return length;
}

void
recurrent_project(const struct recurrent *model, struct recurrent_scratch *s)
{
	switch (model->info.kind) {
	case RECURRENT_LEARNED:
	case RECURRENT_OLDER:
		recurrent_blocks_linear(s->y, s->u, model->query, NULL);
		break;
	case RECURRENT_REFINED:
		recurrent_refined_project(model, s);
		break;
	case RECURRENT_ROTATION:
		memcpy(s->y, s->u, model->info.input_dims * sizeof *s->y);
		recurrent_rotation_forward(model, s->y);
		break;
	}
}

/* s->v := the code's values. */
static void
read_values(
    const struct recurrent *model, struct recurrent_scratch *s, const uint8_t *wire)
{
	struct code_shape shape = model->info.shape;

	code_to_levels(s->levels, wire, shape);
	for (size_t i = 0; i < shape.dims; i++)
		s->v[i] = code_value(s->levels[i], shape.bits);
}

float *
recurrent_values_decode(const struct recurrent *model, struct recurrent_scratch *s)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;

	if (model->info.kind == RECURRENT_ROTATION) {
		memcpy(s->y, s->v, m * sizeof *s->y);
		recurrent_rotation_backward(model, s->y);
		return s->y;
	}
	const float *q = model->query->data;
	memset(s->u, 0, d * sizeof *s->u);
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < d; j++)
			s->u[j] += s->v[i] * q[i * d + j];
	return s->u;
}

/* The same of a code, and its share of its centre. */
static const float *
decode_wire(
    const struct recurrent *model, struct recurrent_scratch *s, const uint8_t *wire)
{
	read_values(model, s, wire);
	float *x = recurrent_values_decode(model, s);
	if (!model->centres)
		return x;
	struct code_place place = code_place(wire, model->info.shape);
	const float *c = centres_row(model->centres, place.centre);
	for (size_t j = 0; j < model->info.input_dims; j++)
		x[j] += code_share_value(place.share) * c[j];
	return x;
}

float
recurrent_factor(const struct recurrent *model, struct recurrent_scratch *scratch,
    const uint8_t *wire, float norm)
{
	const float *v = scratch->v;
	size_t n = model->info.shape.dims;

	if (model->info.kind == RECURRENT_REFINED) {
		v = decode_wire(model, scratch, wire);
		n = model->info.input_dims;
	} else {
		read_values(model, scratch, wire);
	}
	double length = sqrt(recurrent_dot(v, v, n));
	return length > 0.0 ? (float)((double)norm / length) : 0.0f;
}

void
recurrent_decode(const struct recurrent *model, struct recurrent_scratch *scratch,
    float *x, const uint8_t *wire, float factor)
{
	const float *decoded = decode_wire(model, scratch, wire);
	for (size_t j = 0; j < model->info.input_dims; j++)
		x[j] = model->mean[j] + factor * decoded[j];
}
