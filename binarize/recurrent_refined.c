#include "binarize/recurrent_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

int
recurrent_keep(struct recurrent *model, size_t i, const char *name, const float *data,
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
	    .shape = {m, d, 1, 1},
	    .data = numbers,
	    .size_bytes = m * d * sizeof *numbers};
	return 0;
}

/* Everything that follows from the matrices and the centres. */
static int
prepare(struct recurrent *model, const float *centres, struct error *err)
{
	struct code_shape shape = model->info.shape;
	size_t d = model->info.input_dims, m = shape.dims;
	const float *map = model->query->data;

	model->refine = refine_new(map, model->start->data, d, shape, err);
	if (!model->refine)
		return -1;
	if (shape.centres == 0)
		return 0;
	if (recurrent_dot(model->mean, model->mean, d) != 0.0)
		return error_set(err, ERR_INPUT,
		    "expected no mean, or zeros, where there are centres");
	model->centres = centres_new(centres, shape.centres, d, err);
	if (!model->centres)
		return -1;
	model->shadows =
	    array_new_aligned((size_t)shape.centres * m, sizeof *model->shadows);
	if (!model->shadows)
		return error_set(err, ERR_MEMORY, "out of memory for a binarizer");
	for (size_t i = 0; i < shape.centres; i++)
		for (size_t j = 0; j < m; j++)
			model->shadows[i * m + j] =
			    (float)recurrent_dot(centres + i * d, map + j * d, d);
	return 0;
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
	if (recurrent_keep(model, 0, "query.weight", config->map, err) == 0 &&
	    recurrent_keep(model, 1, "base.weight", config->base, err) == 0 &&
	    prepare(model, config->centres, err) == 0)
		return model;
	recurrent_free(model);
	return NULL;
}

int
recurrent_refined_open(struct recurrent *model, struct error *err)
{
	size_t d = model->info.input_dims, k = model->info.shape.centres;
	const size_t shape[] = {model->info.shape.dims, d}, places[] = {k, d};
	const struct tensor *centres = NULL;

	model->query = recurrent_blocks_expect(model, "query.weight", 2, shape, err);
	if (!model->query)
		return -1;
	model->start = recurrent_blocks_expect(model, "base.weight", 2, shape, err);
	if (!model->start)
		return -1;
	if (k == 0 && tensors_find(model->file, "centres"))
		return error_set(err, ERR_FORMAT,
		    "expected the metadata 'centres' with the tensor 'centres'");
	if (k > 0 &&
	    !(centres = recurrent_blocks_expect(model, "centres", 2, places, err)))
		return -1;
	if (prepare(model, centres ? centres->data : NULL, err) == 0)
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
	size_t stride = model->centres ? centres_stride(model->centres) : 0;

	r->x = array_new_aligned(RECURRENT_BATCH * columns, sizeof *r->x);
	r->y = array_new_aligned(numbers, sizeof *r->y);
	r->c = array_new_aligned(numbers, sizeof *r->c);
	r->v = array_new_aligned(numbers, sizeof *r->v);
	r->products = array_new_aligned(RECURRENT_BATCH * stride, sizeof *r->products);
	if (r->x && r->y && r->c && r->v && r->products)
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

void
recurrent_refined_values(const struct recurrent *model, struct recurrent_scratch *s)
{
	float h = 2.0f / (float)(1 << model->info.shape.bits);

	for (size_t i = 0; i < model->info.shape.dims; i++)
		s->v[i] = h * (float)s->refined.v[i];
}

void
recurrent_refined_bases(const struct recurrent *model, struct recurrent_scratch *s,
    float *bases, double length)
{
	const struct centres *centres = model->centres;
	double unit = centres_unit(centres) * length;

	recurrent_refined_take(model, s, 0);
	centres_products(centres, s->refined.products, s->refined.x, 1);
	for (size_t i = 0; i < model->info.shape.centres; i++)
		bases[i] = (float)(s->refined.products[i] * unit);
}

/* One of a batch on its way. */
struct waiting {
	double norm;   /* |x| */
	double length; /* of what is coded, before it got length 1 */
	size_t centre; /* that is nearest */
	double along;  /* <c, x / |x|> */
};

/* Put what is coded of x in the batch's place i, where x / |x| and its products are. */
static void
take_from_centre(const struct recurrent *model, struct recurrent_scratch *s,
    struct waiting *waiting, const float *x, size_t i)
{
	const struct centres *centres = model->centres;
	size_t d = model->info.input_dims;
	const int32_t *products = s->refined.products + i * centres_stride(centres);

	waiting->centre = centres_nearest(centres, products);
	waiting->along = products[waiting->centre] * centres_unit(centres);
	recurrent_centre(s->u, x, NULL, d);
	waiting->length =
	    recurrent_centre(s->u, s->u, centres_row(centres, waiting->centre), d);
	recurrent_refined_take(model, s, i);
}

/* The place of what stands in the batch's place i, and its factor at length 1. */
static struct code_place
place_of(const struct recurrent *model, const struct recurrent_scratch *s,
    const struct waiting *waiting, size_t i, double *factor)
{
	size_t m = model->info.shape.dims;
	const float *shadow = model->shadows + waiting->centre * m;
	const int16_t *v = s->refined.v + i * m;
	double h = ldexp(1.0, 1 - (int)model->info.shape.bits);
	double square = centres_square(model->centres, waiting->centre);
	double code = 0.0, share = 1.0; /* code: <c, Q^T v> */

	for (size_t j = 0; j < m; j++)
		code += (double)shadow[j] * v[j];
	if (square > 0.0)
		share = fmax((waiting->along - *factor * h * code) / square, 0.0);
	/* The centre itself, or almost: no share would be large enough for f = 0. */
	*factor = fmax(*factor, share / (double)CODE_SHARE_MAX);
	return (struct code_place){(uint16_t)waiting->centre,
	    code_share(*factor > 0.0 ? (float)(share / *factor) : 0.0f)};
}

/* wire, *factor := of what stands in the batch's place i. */
static void
write_code(const struct recurrent *model, struct recurrent_scratch *s,
    const struct waiting *waiting, size_t i, uint8_t *wire, float *factor)
{
	double code = recurrent_refined_length(model, s, i);
	double f = code > 0.0 ? waiting->length / code : 0.0;

	recurrent_refined_levels(model, s, i, s->levels);
	code_from_levels(wire, s->levels, model->info.shape);
	if (model->centres) {
		code_place_put(
		    wire, place_of(model, s, waiting, i, &f), model->info.shape);
		f *= waiting->norm;
	}
	*factor = (float)f;
}

size_t
recurrent_refined_encode(const struct recurrent *model, struct recurrent_scratch *s,
    const struct recurrent_codes *codes, const float *x, size_t n, struct error *err)
{
	size_t d = model->info.input_dims, bytes = code_bytes(model->info.shape), good;
	struct waiting waiting[RECURRENT_BATCH];
	double norm2;

	for (good = 0; good < n; good++) {
		if (recurrent_check(&norm2, x + good * d, d, err) != 0)
			break;
		waiting[good].norm = sqrt(norm2);
		waiting[good].length = recurrent_centre(
		    s->u, x + good * d, model->centres ? NULL : model->mean, d);
		recurrent_refined_take(model, s, good);
		codes->numbers[good].norm2 = (float)norm2;
	}
	if (model->centres) {
		centres_products(
		    model->centres, s->refined.products, s->refined.x, good);
		for (size_t i = 0; i < good; i++)
			take_from_centre(model, s, &waiting[i], x + i * d, i);
	}
	recurrent_refined_code(model, s, good);
	for (size_t i = 0; i < good; i++)
		write_code(model, s, &waiting[i], i, codes->wire + i * bytes,
		    &codes->numbers[i].factor);
	return good;
}
