#include "tests/support/traced.h"

#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "base/alloc.h"

int
traced_open(struct traced *traced, const char *dir, struct error *err)
{
	memset(traced, 0, sizeof *traced);
	traced->encoder = encoder_open(dir, err);
	if (!traced->encoder)
		return -1;
	if (traced->encoder->config.kind != ENCODER_LAYERS)
		return error_set(err, ERR_UNSUPPORTED,
		    "%s: expected a model with layers, not a static one", dir);
	traced->model = &traced->encoder->transformer;
	traced->scratch = transformer_scratch_new(traced->model, err);
	if (!traced->scratch)
		return -1;
	for (size_t i = 0; i < traced->model->n_layers; i++) {
		const struct transformer_layer *layer = &traced->model->layers[i];
		const size_t kinds = layer->softmax ? 0 : layer->shared ? 1 : 2;
		for (size_t k = 0; k < kinds; k++) {
			const size_t n = TRANSFORMER_PASS * traced->model->heads;
			traced->codes[i][k] = array_new(n, sizeof(uint32_t));
			traced->given[i][k] = array_new(n, sizeof(uint32_t));
			if (!traced->codes[i][k] || !traced->given[i][k])
				return error_set(
				    err, ERR_MEMORY, "no memory for codes");
		}
	}
	return 0;
}

void
traced_close(struct traced *traced)
{
	for (size_t i = 0; i < TRANSFORMER_LAYERS_MAX; i++)
		for (size_t k = 0; k < 2; k++) {
			free(traced->codes[i][k]);
			free(traced->given[i][k]);
		}
	transformer_scratch_free(traced->scratch);
	encoder_close(traced->encoder);
	memset(traced, 0, sizeof *traced);
}

struct seen {
	struct traced *traced;
	bool inject;
};

static void
on_codes(void *context, size_t layer, bool keys, uint32_t *codes, size_t n)
{
	const struct seen *seen = context;
	struct traced *traced = seen->traced;
	const size_t size = n * traced->model->heads * sizeof *codes;

	memcpy(traced->codes[layer][keys], codes, size);
	if (seen->inject)
		memcpy(codes, traced->given[layer][keys], size);
}

void
traced_run(struct traced *traced, const struct transformer_batch *batch,
    float *const *vectors, bool *ok, bool inject)
{
	struct seen seen = {traced, inject};
	const struct transformer_trace trace = {.codes = on_codes, .context = &seen};

	transformer_run(traced->model, traced->scratch, batch, vectors, ok, &trace);
}
