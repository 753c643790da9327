#include "binarize/recurrent_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Eight partial sums in a fixed order: fast enough, and the same on every machine. */
static float
dot8(const float *a, const float *b, size_t n)
{
	float lane[8] = {0.0f};
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		for (size_t j = 0; j < 8; j++)
			lane[j] += a[i + j] * b[i + j];
	for (; i < n; i++)
		lane[i % 8] += a[i] * b[i];
	return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
	       ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

void
recurrent_blocks_linear(
    float *y, const float *x, const struct tensor *weight, const struct tensor *bias)
{
	const float *W = weight->data; // (out, in)
	const float *b = bias ? bias->data : NULL;
	size_t out = weight->shape[0], in = weight->shape[1];

	for (size_t i = 0; i < out; i++)
		y[i] = dot8(W + i * in, x, in) + (b ? b[i] : 0.0f);
}

/* The block's result for x, in one of s->low; x may not lie there. */
static const float *
forward(
    const struct recurrent_block *block, struct recurrent_scratch *s, const float *x)
{
	for (size_t j = 0; j < block->n; j++) {
		const struct recurrent_linear *layer = &block->layers[j];
		float *y = s->low[j % 2];
		recurrent_blocks_linear(y, x, layer->weight, layer->bias);
		for (size_t i = 0; j + 1 < block->n && i < layer->weight->shape[0]; i++)
			y[i] = y[i] > 0.0f ? y[i] : 0.0f;
		x = y;
	}
	return x;
}

void
recurrent_blocks_code(const struct recurrent *model, struct recurrent_scratch *s)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;
	const float *h = forward(&model->base, s, s->u);
	for (size_t i = 0; i < m; i++)
		s->v[i] = h[i] >= 0.0f ? 1.0f : -1.0f;

	float weight = 0.5f;
	for (uint32_t p = 1; p < model->info.shape.bits; p++) {
		h = forward(&model->reconstruct[p], s, s->v);
		double length = sqrt(recurrent_dot(h, h, d));
		double wish =
		    model->length[p] ? *(const float *)model->length[p]->data : 1.0;
		float inverse = length > 0.0 ? (float)(wish / length) : 0.0f;
		for (size_t j = 0; j < d; j++)
			s->r[j] = s->u[j] - h[j] * inverse;
		h = forward(&model->residual[p], s, s->r);
		for (size_t i = 0; i < m; i++)
			s->v[i] += h[i] >= 0.0f ? weight : -weight;
		weight *= 0.5f;
	}
}

const struct tensor *
recurrent_blocks_expect(struct recurrent *model, const char *name, size_t n_dims,
    const size_t shape[], struct error *err)
{
	const struct tensor *t =
	    tensors_expect(model->file, name, TENSOR_F32, n_dims, shape, err);
	if (!t)
		return NULL;
	const float *data = t->data;
	for (size_t i = 0; i < t->size_bytes / sizeof *data; i++) {
		if (!isfinite(data[i])) {
			error_set(err, ERR_FORMAT,
			    "expected finite numbers in the tensor '%s', not %g at %zu",
			    name, (double)data[i], i);
			return NULL;
		}
	}
	return t;
}

/* What a block is called and what goes through it. */
struct plan {
	const char *name;
	uint32_t plane; /* 0: the base block, which has none in its name */
	size_t layers;
	size_t in;
	size_t out;
};

static int
open_block(struct recurrent *model, struct recurrent_block *block,
    const struct plan *plan, struct error *err)
{
	char name[80], stem[40];
	size_t in = plan->in;

	snprintf(
	    stem, sizeof stem, plan->plane ? "%s.%u" : "%s", plan->name, plan->plane);
	for (size_t j = 0; j < plan->layers; j++) {
		struct recurrent_linear *layer = &block->layers[j];
		size_t out = j + 1 == plan->layers ? plan->out : 0;
		snprintf(name, sizeof name, "%s.%zu.weight", stem, j);
		layer->weight = recurrent_blocks_expect(
		    model, name, 2, (const size_t[]){out, in}, err);
		if (!layer->weight)
			return -1;
		in = layer->weight->shape[0];
		if (in > RECURRENT_WIDTH_MAX)
			return error_set(err, ERR_FORMAT,
			    "expected layers of at most %d outputs, not '%s' of %zu",
			    RECURRENT_WIDTH_MAX, name, in);
		snprintf(name, sizeof name, "%s.%zu.bias", stem, j);
		layer->bias =
		    recurrent_blocks_expect(model, name, 1, (const size_t[]){in}, err);
		if (!layer->bias)
			return -1;
		if (in > model->width)
			model->width = in;
	}
	block->n = plan->layers;
	return 0;
}

int
recurrent_blocks_open(struct recurrent *model, struct error *err)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;
	char name[40];
	const char *text = tensors_metadata(model->file, "layers");
	size_t layers = text ? strtoul(text, NULL, 10) : 0;
	if (layers == 0 || layers > RECURRENT_LAYERS_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected the metadata 'layers' as 1 to %d, not '%s'",
		    RECURRENT_LAYERS_MAX, text ? text : "");
	struct plan plan = {.name = "base", .layers = layers, .in = d, .out = m};
	if (open_block(model, &model->base, &plan, err) != 0)
		return -1;
	for (uint32_t p = 1; p < model->info.shape.bits; p++) {
		plan = (struct plan){"reconstruct", p, layers, m, d};
		if (open_block(model, &model->reconstruct[p], &plan, err) != 0)
			return -1;
		snprintf(name, sizeof name, "reconstruct.%u.length", p);
		if (tensors_find(model->file, name)) {
			model->length[p] = recurrent_blocks_expect(
			    model, name, 1, (const size_t[]){1}, err);
			if (!model->length[p])
				return -1;
		}
		plan = (struct plan){"residual", p, layers, d, m};
		if (open_block(model, &model->residual[p], &plan, err) != 0)
			return -1;
	}
	model->query = recurrent_blocks_expect(
	    model, "query.weight", 2, (const size_t[]){m, d}, err);
	return model->query ? 0 : -1;
}
