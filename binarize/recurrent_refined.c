#include "binarize/recurrent_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* The model's own copy of tensor i. */
static int
keep(struct recurrent *model, size_t i, const char *name, const float *data,
    struct error *err)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;
	float *numbers = array_new(m * d, sizeof *numbers);

	if (!numbers)
		return error_set(err, ERR_MEMORY, "out of memory for a binarizer");
	memcpy(numbers, data, m * d * sizeof *numbers);
	model->numbers[i] = numbers;
	model->tensors[i] = (struct tensor){.name = name,
	    .type = TENSOR_F32,
	    .n_dims = 2,
	    .shape = {m, d},
	    .data = numbers,
	    .size_bytes = m * d * sizeof *numbers};
	return 0;
}

static int
prepare(struct recurrent *model, struct error *err)
{
	model->refine = refine_new(model->query->data, model->start->data,
	    model->info.input_dims, model->info.shape, err);
	return model->refine ? 0 : -1;
}

struct recurrent *
recurrent_new_refined(const struct recurrent_refined_config *config, struct error *err)
{
	struct recurrent *model =
	    recurrent_base_new(config->input_dims, config->shape, config->mean, err);
	if (!model)
		return NULL;
	model->info.kind = RECURRENT_REFINED;
	model->query = &model->tensors[0];
	model->start = &model->tensors[1];
	if (keep(model, 0, "query.weight", config->map, err) == 0 &&
	    keep(model, 1, "base.weight", config->base, err) == 0 &&
	    prepare(model, err) == 0)
		return model;
	recurrent_free(model);
	return NULL;
}

int
recurrent_refined_open(struct recurrent *model, struct error *err)
{
	const size_t shape[] = {model->info.shape.dims, model->info.input_dims};

	model->query = recurrent_blocks_expect(model, "query.weight", 2, shape, err);
	if (!model->query)
		return -1;
	model->start = recurrent_blocks_expect(model, "base.weight", 2, shape, err);
	if (!model->start)
		return -1;
	if (prepare(model, err) == 0)
		return 0;
	if (err->code == ERR_INPUT)
		err->code = ERR_FORMAT;
	return -1;
}

int
recurrent_refined_scratch(
    struct recurrent_refined *r, const struct recurrent *model, struct error *err)
{
	size_t columns = refine_inputs(model->info.input_dims);
	size_t numbers = RECURRENT_BATCH * model->info.shape.dims;

	r->x = array_new_aligned(RECURRENT_BATCH * columns, sizeof *r->x);
	r->y = array_new_aligned(numbers, sizeof *r->y);
	r->c = array_new_aligned(numbers, sizeof *r->c);
	r->v = array_new_aligned(numbers, sizeof *r->v);
	if (r->x && r->y && r->c && r->v)
		return 0;
	return error_set(err, ERR_MEMORY, "out of memory for binarizing");
}

void
recurrent_refined_take(
    const struct recurrent *model, struct recurrent_scratch *s, size_t i)
{
	size_t d = model->info.input_dims;

	refine_round(s->refined.x + i * refine_inputs(d), s->u, d);
}

void
recurrent_refined_code(
    const struct recurrent *model, struct recurrent_scratch *s, size_t n)
{
	const struct recurrent_refined *r = &s->refined;

	refine_project(model->refine, r->y, r->x, n);
	refine_code(model->refine, r->v, r->c, r->y, r->x, n);
}

double
recurrent_refined_length(
    const struct recurrent *model, const struct recurrent_scratch *s, size_t i)
{
	size_t m = model->info.shape.dims;
	const int32_t *y = s->refined.y + i * m, *c = s->refined.c + i * m;
	const int16_t *v = s->refined.v + i * m;
	double h = ldexp(1.0, 1 - (int)model->info.shape.bits);
	double sum = 0.0; /* <Q Q^T v, v>: of integers, below 2^53 and so exact */

#pragma omp simd reduction(+ : sum)
	for (size_t j = 0; j < m; j++)
		sum += (double)(y[j] - c[j]) * v[j];
	return sqrt(fmax(sum * h * refine_unit(model->refine), 0.0));
}

void
recurrent_refined_project(const struct recurrent *model, struct recurrent_scratch *s)
{
	float unit = (float)refine_unit(model->refine);

	recurrent_refined_take(model, s, 0);
	refine_project(model->refine, s->refined.y, s->refined.x, 1);
	for (size_t i = 0; i < model->info.shape.dims; i++)
		s->y[i] = (float)s->refined.y[i] * unit;
}

void
recurrent_refined_decode(const struct recurrent *model, struct recurrent_scratch *s)
{
	float unit = (float)refine_unit(model->refine);

	for (size_t i = 0; i < model->info.shape.dims; i++)
		s->y[i] = (float)(s->refined.y[i] - s->refined.c[i]) * unit;
}

void
recurrent_refined_levels(const struct recurrent *model,
    const struct recurrent_scratch *s, size_t i, uint8_t *levels)
{
	struct code_shape shape = model->info.shape;
	const int16_t *v = s->refined.v + i * shape.dims;
	int top = (1 << shape.bits) - 1;

#pragma omp simd
	for (size_t j = 0; j < shape.dims; j++)
		levels[j] = (uint8_t)((v[j] + top) / 2);
}
