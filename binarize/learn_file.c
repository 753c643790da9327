#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/tensors.h"
#include "binarize/learn_model.h"
#include "binarize/recurrent_model.h"

/* Of each plane W or B and R with their layers, g, and Q. */
#define TENSORS_MAX (CODE_BITS_MAX * (2 * 2 * DENSE_LAYERS_MAX + 1) + 1)

/* A model as recurrent.h has it, with its tensors and their memory. */
struct folded {
	struct recurrent model;
	struct tensor tensors[TENSORS_MAX];
	char names[TENSORS_MAX][40];
	size_t n;
	float *data; /* as many as there are parameters: folding makes fewer */
	size_t used;
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
add_block(struct folded *f, struct recurrent_block *to, const char *stem,
    const struct dense *block, const struct dense_numbers *numbers)
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
fold(struct folded *f, const struct learn *learn)
{
	const struct dense_numbers *numbers = &learn->numbers;
	size_t d = learn->config.input_dims, m = learn->config.shape.dims;
	struct recurrent *model = &f->model;
	char stem[32];
	add_block(f, &model->base, "base", &learn->base, numbers);
	for (uint32_t p = 1; p < learn->config.shape.bits; p++) {
		snprintf(stem, sizeof stem, "reconstruct.%u", p);
		add_block(
		    f, &model->reconstruct[p], stem, &learn->reconstruct[p], numbers);
		snprintf(stem, sizeof stem, "reconstruct.%u.length", p);
		model->length[p] =
		    add_copy(f, stem, numbers->params + learn->length + p - 1, 1, 0);
		snprintf(stem, sizeof stem, "residual.%u", p);
		add_block(f, &model->residual[p], stem, &learn->residual[p], numbers);
	}
	model->query =
	    add_copy(f, "query.weight", numbers->params + learn->query, m, d);
}

int
learn_save(
    const struct learn *learn, const float *mean, const char *path, struct error *err)
{
	int rc = -1;
	struct folded *f = array_new(1, sizeof *f);
	size_t d = learn->config.input_dims;
	if (!f)
		return error_set(err, ERR_MEMORY, "out of memory to save a model");
	f->data = array_new_aligned(learn->size.params, sizeof *f->data);
	f->model.mean = array_new(d, sizeof *f->model.mean);
	if (!f->data || !f->model.mean) {
		error_set(err, ERR_MEMORY, "out of memory to save a model");
		goto done;
	}
	for (size_t i = 0; i < d; i++)
		f->model.mean[i] = mean[i];
	f->model.info = (struct recurrent_info){.kind = RECURRENT_LEARNED,
	    .input_dims = learn->config.input_dims,
	    .shape = learn->config.shape};
	fold(f, learn);
	rc = recurrent_save(&f->model, path, err);
done:
	free(f->model.mean);
	free(f->data);
	free(f);
	return rc;
}
