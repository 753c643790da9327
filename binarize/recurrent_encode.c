#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "binarize/recurrent_model.h"

/* From vectors to codes. */

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

/* |Q^T v| of refined codes, else <Q u, v>; where that does not even point the same way
 * (a learned model far from home), |v|, as of a code alone. */
double
recurrent_code(const struct recurrent *model, struct recurrent_scratch *s)
{
	size_t m = model->info.shape.dims;

	assert(model->info.kind != RECURRENT_REFINED || !model->centres);
	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_take(model, s, 0);
		recurrent_refined_code(model, s, 1);
		return recurrent_refined_length(model, s, 0);
	}
	recurrent_project(model, s);
	if (model->info.kind == RECURRENT_LEARNED)
		recurrent_blocks_code(model, s);
	else
		code_rotated(model, s);
	double dot = recurrent_dot(s->y, s->v, m);
	return dot > 0.0 ? dot : sqrt(recurrent_dot(s->v, s->v, m));
}

int
recurrent_odd(float v, uint32_t bits)
{
	return (int)(v * (float)(1 << (bits - 1)));
}

void
recurrent_levels(
    const struct recurrent *model, const struct recurrent_scratch *s, uint8_t *levels)
{
	struct code_shape shape = model->info.shape;
	int top = (1 << shape.bits) - 1;

	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_levels(model, s, 0, levels);
		return;
	}
	for (size_t i = 0; i < shape.dims; i++)
		levels[i] = (uint8_t)((recurrent_odd(s->v[i], shape.bits) + top) / 2);
}

int
recurrent_encode(const struct recurrent *model, struct recurrent_scratch *scratch,
    uint8_t *wire, struct recurrent_numbers *numbers, const float *x, struct error *err)
{
	const struct recurrent_codes codes = {wire, numbers};
	double norm2;

	assert(model->info.kind != RECURRENT_OLDER);
	if (model->info.kind == RECURRENT_REFINED)
		return recurrent_refined_encode(model, scratch, &codes, x, 1, err) == 1
			   ? 0
			   : -1;
	if (recurrent_check(&norm2, x, model->info.input_dims, err) != 0)
		return -1;
	double length =
	    recurrent_centre(scratch->u, x, model->mean, model->info.input_dims);
	double code = recurrent_code(model, scratch);
	numbers->factor = code > 0.0 ? (float)(length / code) : 0.0f;
	numbers->norm2 = (float)norm2;
	recurrent_levels(model, scratch, scratch->levels);
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
			good = recurrent_refined_encode(
			    model, scratch, &part, x + i * d, some, err);
		else
			good = recurrent_encode(model, scratch, part.wire, part.numbers,
				   x + i * d, err) == 0;
		i += good;
		if (good < some)
			return i;
	}
	return n;
}
