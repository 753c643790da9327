#include "binarize/recurrent_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct recurrent *
recurrent_new_refined(const struct recurrent_refined_config *config, struct error *err)
{
	size_t d = config->input_dims, m = config->shape.dims;
	struct recurrent *model =
	    recurrent_base_new(config->input_dims, config->shape, config->mean, err);
	if (!model)
		return NULL;
	model->info.kind = RECURRENT_REFINED;
	model->map = array_new(m * d, sizeof *model->map);
	if (!model->map) {
		error_set(err, ERR_MEMORY, "out of memory for a binarizer");
		goto err0;
	}
	memcpy(model->map, config->map, m * d * sizeof *model->map);
	model->map_tensor = (struct tensor){.name = "query.weight",
	    .type = TENSOR_F32,
	    .n_dims = 2,
	    .shape = {m, d},
	    .data = model->map,
	    .size_bytes = m * d * sizeof *model->map};
	model->query = &model->map_tensor;
	model->refine = refine_new(model->map, d, config->shape, err);
	if (!model->refine)
		goto err0;
	return model;
err0:
	recurrent_free(model);
	return NULL;
}

int
recurrent_refined_open(struct recurrent *model, struct error *err)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;

	model->query = recurrent_blocks_expect(
	    model, "query.weight", 2, (const size_t[]){m, d}, err);
	if (!model->query)
		return -1;
	model->refine = refine_new(model->query->data, d, model->info.shape, err);
	if (model->refine)
		return 0;
	if (err->code == ERR_INPUT)
		err->code = ERR_FORMAT;
	return -1;
}
