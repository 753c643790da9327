#include "binarize/recurrent_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

int
recurrent_map_set(struct recurrent *model, const float *map, struct error *err)
{
	size_t d = model->info.input_dims, m = model->info.shape.dims;

	model->map = array_new(m * d, sizeof *model->map);
	if (!model->map)
		return error_set(err, ERR_MEMORY, "out of memory for a binarizer");
	memcpy(model->map, map, m * d * sizeof *model->map);
	model->map_tensor = (struct tensor){.name = "query.weight",
	    .type = TENSOR_F32,
	    .n_dims = 2,
	    .shape = {m, d, 1, 1},
	    .data = model->map,
	    .size_bytes = m * d * sizeof *model->map};
	model->query = &model->map_tensor;
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
	if (recurrent_map_set(model, config->map, err) != 0)
		goto err0;
	model->refine = refine_new(model->map, config->input_dims, config->shape, err);
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
