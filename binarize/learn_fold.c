#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/tensors.h"
#include "binarize/learn_model.h"
#include "binarize/recurrent_model.h"

/* Of each plane W or B and R with their layers, g, and Q. */
#define TENSORS_MAX (CODE_BITS_MAX * (2 * 2 * DENSE_LAYERS_MAX + 1) + 1)

/* A learned model's tensors and their memory. */
struct folded {
	struct tensor tensors[TENSORS_MAX];
	char names[TENSORS_MAX][40];
	size_t n;
	size_t used;
	float data[]; /* as many as there are parameters: folding makes fewer */
};

/* A new tensor (rows, columns), or (rows) where columns is 0, called what is in
 * names[n]; its memory is *data. */
static const struct tensor *
add(struct folded *f, float **data, size_t rows, size_t columns)
{
	size_t size = rows * (columns ? columns : 1);
	struct tensor *t = &f->tensors[f->n];
	*data = f->data + f->used;
	*t = (struct tensor){.name = f->names[f->n],
	    .type = TENSOR_F32,
	    .n_dims = columns ? 2 : 1,
	    .shape = {rows, columns ? columns : 1, 1, 1},
	    .data = *data,
	    .size_bytes = size * sizeof(float)};
	f->n++;
	f->used += size;
	return t;
}

static void
add_block(struct folded *f, struct recurrent *model, struct recurrent_block *to,
    const char *stem, const struct dense *block, const struct dense_numbers *numbers)
{
	to->n = block->shape.layers;
	for (size_t j = 0; j < to->n; j++) {
		const struct dense_layer *l = &block->layers[j];
		float *weight, *bias;
		snprintf(f->names[f->n], sizeof *f->names, "%s.%zu.weight", stem, j);
		to->layers[j].weight = add(f, &weight, l->out, l->in);
		snprintf(f->names[f->n], sizeof *f->names, "%s.%zu.bias", stem, j);
		to->layers[j].bias = add(f, &bias, l->out, 0);
		dense_fold(block, numbers, j, weight, bias);
		if (l->out > model->width)
			model->width = l->out;
	}
}

/* The tensor called `name`, a copy of what lies at `from`. */
static const struct tensor *
add_copy(
    struct folded *f, const char *name, const float *from, size_t rows, size_t columns)
{
	float *data;
	snprintf(f->names[f->n], sizeof *f->names, "%s", name);
	const struct tensor *t = add(f, &data, rows, columns);
	for (size_t i = 0; i < rows * (columns ? columns : 1); i++)
		data[i] = from[i];
	return t;
}

static void
fold(struct folded *f, struct recurrent *model, const struct learn *learn)
{
	const struct dense_numbers *numbers = &learn->numbers;
	size_t d = learn->config.input_dims, m = learn->config.shape.dims;
	char stem[32];
	add_block(f, model, &model->base, "base", &learn->base, numbers);
	for (uint32_t p = 1; p < learn->config.shape.bits; p++) {
		snprintf(stem, sizeof stem, "reconstruct.%u", p);
		add_block(f, model, &model->reconstruct[p], stem,
		    &learn->reconstruct[p], numbers);
		snprintf(stem, sizeof stem, "reconstruct.%u.length", p);
		model->length[p] =
		    add_copy(f, stem, numbers->params + learn->length + p - 1, 1, 0);
		snprintf(stem, sizeof stem, "residual.%u", p);
		add_block(
		    f, model, &model->residual[p], stem, &learn->residual[p], numbers);
	}
	model->query =
	    add_copy(f, "query.weight", numbers->params + learn->query, m, d);
}

struct recurrent *
learn_model(const struct learn *learn, const float *mean, struct error *err)
{
	const struct learn_config *config = &learn->config;
	struct recurrent *model =
	    recurrent_base_new(config->input_dims, config->shape, mean, err);
	if (!model)
		return NULL;
	struct folded *f =
	    array_new(1, sizeof *f + learn->size.params * sizeof *f->data);
	if (!f) {
		error_set(err, ERR_MEMORY, "out of memory for a binarizer");
		recurrent_free(model);
		return NULL;
	}
	model->info.kind = RECURRENT_LEARNED;
	model->folded = f;
	fold(f, model, learn);
	return model;
}
