#include <math.h>

#include "binarize/recurrent_model.h"

/* From queries to what meets codes. */

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

	if (recurrent_check(&norm2, q, d, err) != 0)
		return -1;
	double length = recurrent_centre(scratch->u, q, NULL, d);
	recurrent_project(model, scratch);
	round_query(model, scratch, query, length);
	query->base = (float)recurrent_dot(q, model->mean, d);
	if (model->centres)
		recurrent_refined_bases(model, scratch, query->bases, length);
	return 0;
}

/* *factor := of q's code, which is where recurrent_code leaves it. */
static int
code_query(const struct recurrent *model, struct recurrent_scratch *scratch,
    float *factor, const float *q, struct error *err)
{
	size_t d = model->info.input_dims;
	double norm2;

	if (recurrent_check(&norm2, q, d, err) != 0)
		return -1;
	double length = recurrent_centre(scratch->u, q, NULL, d);
	double code = recurrent_code(model, scratch);
	*factor = code > 0.0 ? (float)(length / code) : 0.0f;
	return 0;
}

int
recurrent_query_code(const struct recurrent *model, struct recurrent_scratch *scratch,
    uint8_t *levels, const float *q, struct error *err)
{
	uint8_t wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers;
	float factor;

	if (model->centres) {
		if (recurrent_encode(model, scratch, wire, &numbers, q, err) != 0)
			return -1;
		code_to_levels(levels, wire, model->info.shape);
		return 0;
	}
	if (code_query(model, scratch, &factor, q, err) != 0)
		return -1;
	recurrent_levels(model, scratch, levels);
	return 0;
}

/* decoded (input_dims) := what q's own code stands for. */
static int
decode_query(float *decoded, const struct recurrent *model,
    struct recurrent_scratch *scratch, const float *q, struct error *err)
{
	uint8_t wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers;
	float factor;

	if (model->centres) {
		if (recurrent_encode(model, scratch, wire, &numbers, q, err) != 0)
			return -1;
		recurrent_decode(model, scratch, decoded, wire, numbers.factor);
		return 0;
	}
	if (code_query(model, scratch, &factor, q, err) != 0)
		return -1;
	if (model->info.kind == RECURRENT_REFINED)
		recurrent_refined_values(model, scratch);
	const float *x = recurrent_values_decode(model, scratch);
	for (size_t j = 0; j < model->info.input_dims; j++)
		decoded[j] = factor * x[j];
	return 0;
}

/* recurrent_query_sdc where codes do not meet codes: the query is what its code under
 * `coder` stands for. */
static int
query_decoded(const struct recurrent *model, struct recurrent_scratch *scratch,
    const struct recurrent *coder, struct recurrent_scratch *coder_scratch,
    struct recurrent_query *query, const float *q, struct error *err)
{
	if (decode_query(scratch->decoded, coder, coder_scratch, q, err) != 0 ||
	    recurrent_query_int8(model, scratch, query, scratch->decoded, err) != 0)
		return -1;
	query->base = (float)recurrent_dot(q, model->mean, model->info.input_dims);
	return 0;
}

int
recurrent_query_sdc(const struct recurrent *model, struct recurrent_scratch *scratch,
    struct recurrent_query *query, const float *q, struct error *err)
{
	uint32_t bits = model->info.shape.bits;
	size_t m = model->info.shape.dims;
	float factor;

	if (model->info.kind == RECURRENT_OLDER)
		return query_decoded(
		    model, scratch, model->newer, scratch->newer, query, q, err);
	if (model->centres)
		return query_decoded(model, scratch, model, scratch, query, q, err);
	if (code_query(model, scratch, &factor, q, err) != 0)
		return -1;
	query->base = (float)recurrent_dot(q, model->mean, model->info.input_dims);
	if (model->info.kind == RECURRENT_REFINED) {
		recurrent_refined_decode(model, scratch);
		round_query(model, scratch, query, (double)factor);
		return 0;
	}
	for (size_t i = 0; i < m; i++)
		query->k[i] = (int8_t)recurrent_odd(scratch->v[i], bits);
	query->scale = factor / (float)(1 << (bits - 1));
	return 0;
}
