#include "tests/support/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "base/tensors.h"
#include "binarize/recurrent.h"

enum { PIECES = 4, DIMS = MODELS_TEXT_DIMS };

static const int8_t weight[PIECES * DIMS] = {
    0, 0, 0, 0, 100, 1, 2, 3, -4, 90, 10, 11, 20, -30, 80, 5};
static const float scale[PIECES] = {0.5f, 0.25f, 0.125f, 1.0f};

static const char *
path_of(const char *dir, const char *name, const char *file)
{
	static char path[1000];

	mkdir(dir, 0755);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	mkdir(path, 0755);
	snprintf(path, sizeof path, "%s/%s/%s", dir, name, file);
	return path;
}

static void
check(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "models: %s\n", what);
		abort();
	}
}

void
models_write_file(const char *dir, const char *name, const char *file, const char *text)
{
	FILE *f = fopen(path_of(dir, name, file), "w");

	check(f && fputs(text, f) >= 0 && fclose(f) == 0, file);
}

void
models_write_text(const char *dir, const char *name)
{
	const struct tensor list[] = {
	    {"embedding.weight", TENSOR_I8, 2, {PIECES, DIMS, 1, 1}, weight,
		sizeof weight},
	    {"embedding.scale", TENSOR_F32, 1, {PIECES, 1, 1, 1}, scale, sizeof scale},
	};
	struct error err;

	models_write_file(dir, name, "vocab.txt", "[UNK]\nred\ngreen\nblue\n");
	models_write_file(dir, name, "config.json",
	    "{\"format_version\": 1, \"model_type\": \"halftone-static\","
	    " \"hidden_size\": 4, \"num_hidden_layers\": 0, \"vocab_size\": 4,"
	    " \"max_position_embeddings\": 16, \"do_lower_case\": true,"
	    " \"pooling\": \"mean\", \"normalize\": true}");
	check(tensors_save(
		  path_of(dir, name, "model.safetensors"), list, 2, NULL, 0, &err) == 0,
	    err.text);
}

void
models_write_binarizer(const char *dir, const char *name, uint32_t dims, float mean)
{
	struct error err;
	float *means = malloc(dims * sizeof *means);

	for (uint32_t i = 0; i < dims; i++)
		means[i] = mean;
	const struct recurrent_rotation_config config = {
	    .input_dims = dims, .shape = {64, 1, 0}, .seed = 3, .mean = means};
	struct recurrent *model = recurrent_new(&config, &err);
	check(model && recurrent_save(model,
			   path_of(dir, name, "binarizer.safetensors"), &err) == 0,
	    err.text);
	recurrent_free(model);
	free(means);
}

static float *
noise(struct rng *rng, size_t n)
{
	float *x = malloc(n * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
	return x;
}

void
models_write_learned(
    const char *dir, const char *name, uint32_t dims, struct code_shape shape)
{
	struct error err;
	char file[40];
	struct rng rng;
	rng_init(&rng, shape.bits, dims);
	float *map = noise(&rng, (size_t)shape.dims * dims);
	float *centres = noise(&rng, (size_t)shape.centres * dims + 1);
	const struct recurrent_refined_config config = {.input_dims = dims,
	    .shape = shape,
	    .centres = shape.centres > 0 ? centres : NULL,
	    .map = map,
	    .base = map};
	struct recurrent *model = recurrent_new_refined(&config, &err);

	snprintf(file, sizeof file, "binarizer.%u.safetensors", shape.bits);
	check(model && recurrent_save(model, path_of(dir, name, file), &err) == 0,
	    err.text);
	recurrent_free(model);
	free(centres);
	free(map);
}

struct tensor
models_tensor(const char *name, const float *data, size_t rows, size_t columns)
{
	return (struct tensor){.name = name,
	    .type = TENSOR_F32,
	    .n_dims = columns ? 2 : 1,
	    .shape = {rows, columns ? columns : 1, 1, 1},
	    .data = data,
	    .size_bytes = rows * (columns ? columns : 1) * sizeof *data};
}
