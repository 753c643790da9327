#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/learn_model.h"
#include "binarize/recurrent_model.h"

/* The stream of rng.h that random starts come from. */
#define STREAM 0x4C4E53 /* "LNS" */

/* The rotation of recurrent.h as matrices. */
struct maps {
	float *forward;  /* (dims, input_dims) P */
	float *backward; /* (input_dims, dims) what takes v to t v's part of u */
};

static void
maps_free(struct maps *maps)
{
	free(maps->forward);
	free(maps->backward);
}

/* P is the rotation of unit vectors; where P P^T = (n / dims) I is no identity, P^T
 * makes that factor good. */
static int
maps_init(struct maps *maps, const struct learn_config *config, uint64_t seed,
    struct error *err)
{
	size_t d = config->input_dims, m = config->shape.dims;
	struct recurrent_rotation_config rotation = {
	    .input_dims = config->input_dims, .shape = config->shape, .seed = seed};
	struct recurrent *model = recurrent_new(&rotation, err);
	if (!model)
		return -1;
	float *column = array_new_aligned(model->n, sizeof *column);
	maps->forward = array_new_aligned(m * d, sizeof *maps->forward);
	maps->backward = array_new_aligned(m * d, sizeof *maps->backward);
	if (!column || !maps->forward || !maps->backward) {
		maps_free(maps);
		free(column);
		recurrent_free(model);
		return error_set(err, ERR_MEMORY, "out of memory for a rotation");
	}
	float scale =
	    recurrent_step(config->shape.bits) * sqrtf((float)m) / (float)model->n;
	for (size_t j = 0; j < d; j++) {
		memset(column, 0, d * sizeof *column);
		column[j] = 1.0f;
		recurrent_rotation_forward(model, column);
		for (size_t i = 0; i < m; i++) {
			maps->forward[i * d + j] = column[i];
			maps->backward[j * m + i] = scale * column[i];
		}
	}
	free(column);
	recurrent_free(model);
	return 0;
}

static int
start_blocks(
    struct learn *learn, const struct maps *maps, struct rng *rng, struct error *err)
{
	const struct dense_numbers *numbers = &learn->numbers;
	if (dense_start_map(&learn->base, numbers, maps->forward, rng, err) != 0)
		return -1;
	for (uint32_t p = 1; p < learn->config.shape.bits; p++)
		if (dense_start_map(&learn->reconstruct[p], numbers, maps->backward,
			rng, err) != 0 ||
		    dense_start_map(
			&learn->residual[p], numbers, maps->forward, rng, err) != 0)
			return -1;
	return 0;
}

int
learn_start_rotation(struct learn_pass *pass, uint64_t seed, const float *u,
    size_t rows, struct error *err)
{
	struct learn *learn = pass->learn;
	struct maps maps;
	struct rng rng;
	if (rows < 2 || rows > pass->rows_max)
		return error_set(err, ERR_INPUT,
		    "expected a sample of 2 to %zu rows, not %zu", pass->rows_max,
		    rows);
	if (maps_init(&maps, &learn->config, seed, err) != 0)
		return -1;
	rng_init(&rng, seed, STREAM);
	int rc = start_blocks(learn, &maps, &rng, err);
	if (rc == 0) {
		size_t size =
		    (size_t)learn->config.shape.dims * learn->config.input_dims;
		memcpy(learn->numbers.params + learn->query, maps.forward,
		    size * sizeof *maps.forward);
		learn_forward(pass, u, rows, DENSE_CALIBRATE,
		    &(struct estimator){.kind = ESTIMATOR_STE});
	}
	maps_free(&maps);
	return rc;
}

void
learn_start_random(struct learn *learn, uint64_t seed)
{
	const struct dense_numbers *numbers = &learn->numbers;
	size_t d = learn->config.input_dims, m = learn->config.shape.dims;
	struct rng rng;
	rng_init(&rng, seed, STREAM);
	dense_start_random(&learn->base, numbers, &rng);
	for (uint32_t p = 1; p < learn->config.shape.bits; p++) {
		dense_start_random(&learn->reconstruct[p], numbers, &rng);
		dense_start_random(&learn->residual[p], numbers, &rng);
		numbers->params[learn->length + p - 1] = 1.0f;
	}
	float bound = sqrtf(6.0f / (float)(m + d));
	for (size_t i = 0; i < m * d; i++)
		numbers->params[learn->query + i] =
		    bound * (2.0f * rng_uniform(&rng) - 1.0f);
}
