#include "binarize/recurrent.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
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
	struct recurrent *model =
	    recurrent_base_new(config->input_dims, config->shape, config->mean, err);
	if (!model)
		return NULL;
	model->info.kind = RECURRENT_ROTATION;
	model->info.seed = config->seed;
	if (recurrent_rotation_init(model, err) != 0) {
		recurrent_free(model);
		return NULL;
	}
	return model;
}

void
recurrent_free(struct recurrent *model)
{
	if (!model)
		return;
	tensors_close(model->file);
	refine_free(model->refine);
	free(model->numbers[0]);
	free(model->numbers[1]);
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
	if (!s->u || !s->y || !s->v || !s->r || !s->low[0] || !s->low[1] || !s->levels)
		goto no_memory;
	if (model->refine && recurrent_refined_scratch(&s->refined, model, err) != 0)
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
	free(scratch->refined.x);
	free(scratch->refined.y);
	free(scratch->refined.c);
	free(scratch->refined.v);
	free(scratch->u);
	free(scratch->y);
	free(scratch->v);
	free(scratch->r);
	free(scratch->low[0]);
	free(scratch->low[1]);
	free(scratch->levels);
	free(scratch);
}

/* *norm2 := |x|^2 of a vector that can be encoded. */
static int
check_vector(double *norm2, const float *x, size_t n, struct error *err)
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

/* u := x - mean (NULL: none) at unit length; its length before, 0 if there is none. */
static double
centre(float *u, const float *x, const float *mean, size_t n)
{
	memcpy(u, x, n * sizeof *u);
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

/* y := Q u. */
static void
project(const struct recurrent *model, struct recurrent_scratch *s)
{
	switch (model->info.kind) {
	case RECURRENT_LEARNED:
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

/* v := the values of u's code, from its rotation y: sign by sign what is left of y at
 * length sqrt(dims). */
static void
code_rotated(const struct recurrent *model, struct recurrent_scratch *s)
{
	size_t m = model->info.shape.dims;
	double length2 = recurrent_dot(s->y, s->y, m);
	float scale = length2 > 0.0 ? (float)sqrt((double)m / length2) : 0.0f;

	for (size_t i = 0; i < m; i++) {
		s->r[i] = s->y[i] * scale;
		s->v[i] = 0.0f;
	}
	float weight = 1.0f, step = recurrent_step(model->info.shape.bits);
	for (uint32_t p = 0; p < model->info.shape.bits; p++) {
#pragma omp simd
		for (size_t i = 0; i < m; i++) {
			float sign = s->r[i] >= 0.0f ? 1.0f : -1.0f;
			s->v[i] += weight * sign;
			s->r[i] -= step * weight * sign;
		}
		weight *= 0.5f;
	}
}

/* f of a vector of this length whose code comes to so much. */
static float
factor_of(double length, double code)
{
	return code > 0.0 ? (float)(length / code) : 0.0f;
}

/* What the code of s->u comes to: |Q^T v| of refined ones, else <Q u, v>; where that
 * does not even point the same way (a learned model far from home), |v|, as of a code
 * alone.  The code is in s->refined or s->v. */
static double
code(const struct recurrent *model, struct recurrent_scratch *s)
{
	size_t m = model->info.shape.dims;

	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_take(model, s, 0);
		recurrent_refined_code(model, s, 1);
		return recurrent_refined_length(model, s, 0);
	}
	project(model, s);
	if (model->info.kind == RECURRENT_LEARNED)
		recurrent_blocks_code(model, s);
	else
		code_rotated(model, s);
	double dot = recurrent_dot(s->y, s->v, m);
	return dot > 0.0 ? dot : sqrt(recurrent_dot(s->v, s->v, m));
}

/* 2^(bits - 1), what makes an integer of a code's value. */
static int
unit_of(uint32_t bits)
{
	assert(bits >= 1 && bits <= CODE_BITS_MAX);
	return 1 << (bits - 1);
}

/* 2 c_i - (2^bits - 1), exact: v is a sum of halves. */
static int
odd_number(float v, uint32_t bits)
{
	return (int)(v * (float)unit_of(bits));
}

/* levels (dims) := of what code() has found. */
static void
write_levels(
    const struct recurrent *model, const struct recurrent_scratch *s, uint8_t *levels)
{
	struct code_shape shape = model->info.shape;
	int top = (1 << shape.bits) - 1;

	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_levels(model, s, 0, levels);
		return;
	}
	for (size_t i = 0; i < shape.dims; i++)
		levels[i] = (uint8_t)((odd_number(s->v[i], shape.bits) + top) / 2);
}

/* The first of these n <= RECURRENT_BATCH that cannot be encoded, or n. */
static size_t
encode_refined(const struct recurrent *model, struct recurrent_scratch *s,
    const struct recurrent_codes *codes, const float *x, size_t n, struct error *err)
{
	size_t d = model->info.input_dims, bytes = code_bytes(model->info.shape), good;
	double lengths[RECURRENT_BATCH], norm2;

	for (good = 0; good < n; good++) {
		if (check_vector(&norm2, x + good * d, d, err) != 0)
			break;
		lengths[good] = centre(s->u, x + good * d, model->mean, d);
		recurrent_refined_take(model, s, good);
		codes->numbers[good].norm2 = (float)norm2;
	}
	recurrent_refined_code(model, s, good);
	for (size_t i = 0; i < good; i++) {
		recurrent_refined_levels(model, s, i, s->levels);
		code_from_levels(codes->wire + i * bytes, s->levels, model->info.shape);
		codes->numbers[i].factor =
		    factor_of(lengths[i], recurrent_refined_length(model, s, i));
	}
	return good;
}

int
recurrent_encode(const struct recurrent *model, struct recurrent_scratch *scratch,
    uint8_t *wire, struct recurrent_numbers *numbers, const float *x, struct error *err)
{
	const struct recurrent_codes codes = {wire, numbers};
	double norm2;

	if (model->info.kind == RECURRENT_REFINED)
		return encode_refined(model, scratch, &codes, x, 1, err) == 1 ? 0 : -1;
	if (check_vector(&norm2, x, model->info.input_dims, err) != 0)
		return -1;
	double length = centre(scratch->u, x, model->mean, model->info.input_dims);
	numbers->factor = factor_of(length, code(model, scratch));
	numbers->norm2 = (float)norm2;
	write_levels(model, scratch, scratch->levels);
	code_from_levels(wire, scratch->levels, model->info.shape);
	return 0;
}

size_t
recurrent_encode_many(const struct recurrent *model, struct recurrent_scratch *scratch,
    const struct recurrent_codes *codes, const float *x, size_t n, struct error *err)
{
	size_t d = model->info.input_dims, bytes = code_bytes(model->info.shape);
	bool refined = model->info.kind == RECURRENT_REFINED;

	for (size_t i = 0; i < n;) {
		struct recurrent_codes part = {
		    codes->wire + i * bytes, codes->numbers + i};
		size_t good, some = refined ? RECURRENT_BATCH : 1;
		if (some > n - i)
			some = n - i;
		if (refined)
			good =
			    encode_refined(model, scratch, &part, x + i * d, some, err);
		else
			good = recurrent_encode(model, scratch, part.wire, part.numbers,
				   x + i * d, err) == 0;
		i += good;
		if (good < some)
			return i;
	}
	return n;
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

/* x (input_dims) := Q^T v */
static void
decode_values(const struct recurrent *model, float *x, const float *v)
{
	size_t d = model->info.input_dims;
	const float *q = model->query->data;

	memset(x, 0, d * sizeof *x);
	for (size_t i = 0; i < model->info.shape.dims; i++)
		for (size_t j = 0; j < d; j++)
			x[j] += v[i] * q[i * d + j];
}

float
recurrent_factor(const struct recurrent *model, struct recurrent_scratch *scratch,
    const uint8_t *wire, float norm)
{
	const float *v = scratch->v;
	size_t n = model->info.shape.dims;

	read_values(model, scratch, wire);
	if (model->info.kind == RECURRENT_REFINED) {
		decode_values(model, scratch->u, v);
		v = scratch->u;
		n = model->info.input_dims;
	}
	double length = sqrt(recurrent_dot(v, v, n));
	return length > 0.0 ? (float)((double)norm / length) : 0.0f;
}

void
recurrent_decode(const struct recurrent *model, struct recurrent_scratch *scratch,
    float *x, const uint8_t *wire, float factor)
{
	size_t d = model->info.input_dims;

	read_values(model, scratch, wire);
	if (model->info.kind == RECURRENT_ROTATION) {
		memcpy(scratch->y, scratch->v,
		    model->info.shape.dims * sizeof *scratch->y);
		recurrent_rotation_backward(model, scratch->y);
		for (size_t j = 0; j < d; j++)
			x[j] = model->mean[j] + factor * scratch->y[j];
		return;
	}
	decode_values(model, scratch->u, scratch->v);
	for (size_t j = 0; j < d; j++)
		x[j] = model->mean[j] + factor * scratch->u[j];
}

/* query->k := scratch->y, which belongs to a vector of this length, in 8 bits. */
static void
round_query(const struct recurrent *model, const struct recurrent_scratch *scratch,
    struct recurrent_query *query, double length)
{
	size_t m = model->info.shape.dims;
	float peak = 0.0f;

	for (size_t i = 0; i < m; i++)
		peak = fmaxf(peak, fabsf(scratch->y[i]));
	float inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
	for (size_t i = 0; i < m; i++)
		query->k[i] = (int8_t)lrintf(scratch->y[i] * inverse);
	query->scale = (float)(length * (double)peak / 127.0);
}

int
recurrent_query_int8(const struct recurrent *model, struct recurrent_scratch *scratch,
    struct recurrent_query *query, const float *q, struct error *err)
{
	size_t d = model->info.input_dims;
	double norm2;

	if (check_vector(&norm2, q, d, err) != 0)
		return -1;
	double length = centre(scratch->u, q, NULL, d);
	project(model, scratch);
	round_query(model, scratch, query, length);
	query->base = (float)recurrent_dot(q, model->mean, d);
	return 0;
}

/* *factor := of q's code, which is where code() leaves it. */
static int
code_query(const struct recurrent *model, struct recurrent_scratch *scratch,
    float *factor, const float *q, struct error *err)
{
	size_t d = model->info.input_dims;
	double norm2;

	if (check_vector(&norm2, q, d, err) != 0)
		return -1;
	double length = centre(scratch->u, q, NULL, d);
	*factor = factor_of(length, code(model, scratch));
	return 0;
}

int
recurrent_query_code(const struct recurrent *model, struct recurrent_scratch *scratch,
    uint8_t *levels, const float *q, struct error *err)
{
	float factor;

	if (code_query(model, scratch, &factor, q, err) != 0)
		return -1;
	write_levels(model, scratch, levels);
	return 0;
}

int
recurrent_query_sdc(const struct recurrent *model, struct recurrent_scratch *scratch,
    struct recurrent_query *query, const float *q, struct error *err)
{
	uint32_t bits = model->info.shape.bits;
	size_t m = model->info.shape.dims;
	float factor;

	if (code_query(model, scratch, &factor, q, err) != 0)
		return -1;
	query->base = (float)recurrent_dot(q, model->mean, model->info.input_dims);
	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_decode(model, scratch);
		round_query(model, scratch, query, (double)factor);
		return 0;
	}
	for (size_t i = 0; i < m; i++)
		query->k[i] = (int8_t)odd_number(scratch->v[i], bits);
	query->scale = factor / (float)unit_of(bits);
	return 0;
}
