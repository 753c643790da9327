#include "tests/support/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/tensors.h"

#define TENSORS_MAX (16 + 40 * MODELS_LAYERS_MAX)

static const char *const form_names[] = {"ternary", "four-level", "int8", "float"};
static const char *const matrix_names[] = {
    "query", "key", "value", "output", "up", "down"};

/* A file in the making. */
struct writer {
	struct rng rng;
	struct tensor list[TENSORS_MAX];
	char names[TENSORS_MAX][64];
	size_t n;
	const struct models_encoder *shape;
	size_t layer;
};

static void
check(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "models: %s\n", what);
		abort();
	}
}

/* A new tensor of zeros; shape ends with 0. */
static void *
add(struct writer *w, enum tensor_type type, const char *name, const size_t *shape)
{
	struct tensor *t = &w->list[w->n];
	size_t size = type == TENSOR_F32 ? sizeof(float) : 1;

	check(w->n < TENSORS_MAX, "too many tensors");
	snprintf(w->names[w->n], sizeof w->names[0], "%s", name);
	*t = (struct tensor){
	    .name = w->names[w->n], .type = type, .shape = {1, 1, 1, 1}};
	for (; shape[t->n_dims] > 0; t->n_dims++) {
		t->shape[t->n_dims] = shape[t->n_dims];
		size *= shape[t->n_dims];
	}
	t->size_bytes = size;
	void *data = calloc(1, size);
	check(data, "no memory");
	t->data = data;
	w->n++;
	return data;
}

/* A tensor of a layer. */
static void *
add_part(struct writer *w, enum tensor_type type, const char *part, const char *end,
    const size_t *shape)
{
	char name[64];

	snprintf(name, sizeof name, "layers.%zu.%s.%s", w->layer, part, end);
	return add(w, type, name, shape);
}

#define SHAPE(...) ((const size_t[]){__VA_ARGS__, 0})

/* n numbers around `mean`. */
static void
fill(struct writer *w, float *x, size_t n, float mean, float deviation)
{
	for (size_t i = 0; i < n; i++)
		x[i] = mean + deviation * rng_normal(&w->rng);
}

static void
fill_uniform(struct writer *w, float *x, size_t n, float low, float high)
{
	for (size_t i = 0; i < n; i++)
		x[i] = low + (high - low) * rng_uniform(&w->rng);
}

static int8_t
random_level(struct rng *rng, enum linear_form form)
{
	switch (form) {
	case LINEAR_TERNARY:
		return (int8_t)((int)rng_below(rng, 3) - 1);
	case LINEAR_FOUR_LEVEL:
		return (int8_t)(2 * (int)rng_below(rng, 4) - 3);
	default:
		return (int8_t)((int)rng_below(rng, 255) - 127);
	}
}

static void
add_linear(struct writer *w, int matrix, size_t in, size_t out)
{
	/* The levels' standard deviations. */
	static const float deviations[] = {0.8165f, 2.236f, 73.6f};
	const enum linear_form form = w->shape->layers[w->layer].forms[matrix];
	const char *part = matrix_names[matrix];
	const float wanted = 1 / sqrtf((float)in);

	if (form == LINEAR_FLOAT) {
		float *rows = calloc(in * out, sizeof *rows);
		check(rows, "no memory");
		fill(w, rows, in * out, 0, wanted);
		linear_pack_float(
		    add_part(w, TENSOR_F32, part, "weight", SHAPE(out / 16, in, 16)),
		    rows, in, out);
		free(rows);
	} else {
		int8_t *levels = malloc(in * out);
		check(levels, "no memory");
		for (size_t i = 0; i < in * out; i++)
			levels[i] = random_level(&w->rng, form);
		void *packed = form == LINEAR_INT8
				   ? add_part(w, TENSOR_I8, part, "weight",
					 SHAPE(out / 16, in / 4, 64))
				   : add_part(w, TENSOR_U8, part, "weight",
					 SHAPE(out / 64, in / 4, 64));
		linear_pack(packed, levels, form, in, out);
		free(levels);
		fill_uniform(w, add_part(w, TENSOR_F32, part, "scale", SHAPE(out)), out,
		    0.8f * wanted / deviations[form], 1.2f * wanted / deviations[form]);
	}
	fill(w, add_part(w, TENSOR_F32, part, "bias", SHAPE(out)), out, 0, 0.1f);
}

static void
add_hash(struct writer *w, const struct models_layer *layer)
{
	const size_t heads = w->shape->heads, head_dims = w->shape->dims / heads;
	const size_t bits = layer->bits, anchors = layer->anchors;
	const bool kernel = layer->function == HASH_KERNEL;
	const size_t features = kernel ? anchors : head_dims;
	float usual = 0; /* value of a feature */

	if (kernel) {
		float *a = add_part(
		    w, TENSOR_F32, "hash", "anchors", SHAPE(heads, anchors, head_dims));
		fill(w, a, heads * anchors * head_dims, 0, 1);
		for (size_t i = 0; i < heads * anchors; i++, a += head_dims) {
			float square = 0;
			for (size_t d = 0; d < head_dims; d++)
				square += a[d] * a[d];
			for (size_t d = 0; d < head_dims; d++)
				a[d] /= sqrtf(square);
		}
		fill(w, add_part(w, TENSOR_F32, "hash", "inverse_sigma", SHAPE(heads)),
		    heads, 1.5f, 0.05f);
		usual = expf(-1.5f + 1.125f / (float)head_dims);
	}
	float *planes =
	    add_part(w, TENSOR_F32, "hash", "planes", SHAPE(heads, bits, features));
	fill(w, planes, heads * bits * features, 0, 1);
	float *threshold =
	    add_part(w, TENSOR_F32, "hash", "threshold", SHAPE(heads, bits));
	fill(w, threshold, heads * bits, 0, 0.05f);
	for (size_t i = 0; i < heads * bits * features; i++)
		threshold[i / features] += usual * planes[i];
	if (layer->similarity == HASH_GENERAL) {
		fill(w, add_part(w, TENSOR_F32, "hash", "gamma", SHAPE(heads)), heads,
		    1, 0.2f);
		fill(w, add_part(w, TENSOR_F32, "hash", "delta", SHAPE(heads)), heads,
		    0.5f, 0.2f);
		fill(w, add_part(w, TENSOR_F32, "hash", "epsilon", SHAPE(heads)), heads,
		    0.5f, 0.2f);
	} else if (layer->similarity == HASH_BUCKETS) {
		fill_uniform(w, add_part(w, TENSOR_F32, "hash", "floor", SHAPE(heads)),
		    heads, 0.05f, 0.2f);
	} else if (layer->similarity == HASH_TABLE) {
		float *table =
		    add_part(w, TENSOR_F32, "hash", "table", SHAPE(heads, bits + 1));
		for (size_t i = 0; i < heads * (bits + 1); i++)
			table[i] = expf(-5 * (float)(i % (bits + 1)) / (float)bits) *
				   (0.9f + 0.2f * rng_uniform(&w->rng));
	}
}

static void
add_gelu(struct writer *w)
{
	const float index = 1 / 16.0f, value = 8 / 127.0f;
	int8_t *table = add_part(w, TENSOR_I8, "gelu", "table", SHAPE(256));
	float *scale = add_part(w, TENSOR_F32, "gelu", "scale", SHAPE(2));

	scale[0] = index;
	scale[1] = value;
	for (int p = -128; p < 128; p++) {
		float x = (float)p * index;
		float y = x / 2 * (1 + erff(x / sqrtf(2)));
		table[128 + p] = (int8_t)rintf(y / value);
	}
}

static void
add_norm(struct writer *w, const char *name, size_t width, bool bias)
{
	char full[64];

	snprintf(full, sizeof full, "%s.weight", name);
	fill_uniform(w, add(w, TENSOR_F32, full, SHAPE(width)), width, 0.7f, 1.3f);
	if (!bias)
		return;
	snprintf(full, sizeof full, "%s.bias", name);
	fill(w, add(w, TENSOR_F32, full, SHAPE(width)), width, 0, 0.1f);
}

static void
add_layer(struct writer *w)
{
	const struct models_encoder *shape = w->shape;
	const struct models_layer *layer = &shape->layers[w->layer];
	char name[64];

	for (int m = 0; m < 6; m++)
		if (m != 1 || !layer->shared)
			add_linear(w, m, m == 5 ? shape->inner : shape->dims,
			    m == 4 ? shape->inner : shape->dims);
	snprintf(name, sizeof name, "layers.%zu.attention_norm", w->layer);
	add_norm(w, name, shape->dims, true);
	snprintf(name, sizeof name, "layers.%zu.feed_forward_norm", w->layer);
	add_norm(w, name, shape->dims, true);
	if (shape->sub_norm) {
		snprintf(name, sizeof name, "layers.%zu.context_norm", w->layer);
		add_norm(w, name, shape->dims, false);
		snprintf(name, sizeof name, "layers.%zu.inner_norm", w->layer);
		add_norm(w, name, shape->inner, false);
	}
	if (layer->gelu_table)
		add_gelu(w);
	if (!layer->softmax)
		add_hash(w, layer);
}

static void
add_tables(struct writer *w)
{
	const size_t v = w->shape->vocabulary, dims = w->shape->dims;

	if (w->shape->token_form == TRANSFORMER_FLOAT) {
		fill(w, add(w, TENSOR_F32, "token.weight", SHAPE(v, dims)), v * dims, 0,
		    1);
	} else if (w->shape->token_form == TRANSFORMER_INT8) {
		int8_t *levels = add(w, TENSOR_I8, "token.weight", SHAPE(v, dims));
		for (size_t i = 0; i < v * dims; i++)
			levels[i] = random_level(&w->rng, LINEAR_INT8);
		fill_uniform(
		    w, add(w, TENSOR_F32, "token.scale", SHAPE(v)), v, 0.01f, 0.02f);
	} else {
		uint8_t *bytes = add(w, TENSOR_U8, "token.weight", SHAPE(v, dims / 2));
		for (size_t i = 0; i < v * dims / 2; i++)
			bytes[i] = (uint8_t)(1 + rng_below(&w->rng, 15) +
					     16 * (1 + rng_below(&w->rng, 15)));
		fill_uniform(
		    w, add(w, TENSOR_F32, "token.scale", SHAPE(v)), v, 0.2f, 0.3f);
	}
	fill(w, add(w, TENSOR_F32, "position.weight", SHAPE(w->shape->positions, dims)),
	    w->shape->positions * dims, 0, 0.3f);
	add_norm(w, "embedding_norm", dims, true);
}

struct models_encoder
models_encoder(enum linear_form form)
{
	struct models_encoder shape = {.dims = 64,
	    .inner = 128,
	    .heads = 4,
	    .positions = 32,
	    .n_layers = 2,
	    .vocabulary = MODELS_PIECES};

	for (size_t i = 0; i < MODELS_LAYERS_MAX; i++) {
		shape.layers[i] = (struct models_layer){
		    .softmax = true, .bits = 16, .anchors = 25, .bucket_bits = 4};
		for (size_t m = 0; m < 6; m++)
			shape.layers[i].forms[m] = form;
	}
	return shape;
}

static const char *
word(bool value)
{
	return value ? "true" : "false";
}

static void
put_layer(FILE *f, const struct models_layer *layer)
{
	static const char *const similarities[] = {
	    "positive", "general", "buckets", "table"};

	fprintf(f, "{");
	for (size_t m = 0; m < 6; m++)
		if (m != 1 || !layer->shared)
			fprintf(f, "\"%s\": \"%s\", ", matrix_names[m],
			    form_names[layer->forms[m]]);
	fprintf(f, "\"gelu\": \"%s\", \"attention\": {\"form\": ",
	    layer->gelu_table ? "table" : "exact");
	if (layer->softmax) {
		fprintf(f, "\"softmax\"}}");
		return;
	}
	fprintf(f, "\"hash\", \"shared\": %s, \"bits\": %zu, \"similarity\": \"%s\"",
	    word(layer->shared), layer->bits, similarities[layer->similarity]);
	if (layer->similarity == HASH_BUCKETS)
		fprintf(f, ", \"bucket_bits\": %zu", layer->bucket_bits);
	if (layer->function == HASH_KERNEL)
		fprintf(f, ", \"function\": \"kernel\", \"anchors\": %zu}}",
		    layer->anchors);
	else
		fprintf(f, ", \"function\": \"linear\"}}");
}

static void
put_config(FILE *f, const struct models_encoder *shape)
{
	static const char *const tables[] = {"float", "int8", "int4"};

	fprintf(f,
	    "{\"model_type\": \"halftone-encoder\", \"format_version\": 1,\n"
	    " \"do_lower_case\": true, \"normalize\": true, \"hidden_size\": %zu,\n"
	    " \"vocab_size\": %zu, \"max_position_embeddings\": %zu,\n"
	    " \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu,\n"
	    " \"intermediate_size\": %zu, \"layer_norm_eps\": 1e-12,\n"
	    " \"pooling\": \"%s\", \"token_embedding\": \"%s\", \"sub_norm\": %s,\n",
	    shape->dims, shape->vocabulary, shape->positions, shape->n_layers,
	    shape->heads, shape->inner,
	    shape->pooling == TRANSFORMER_MEAN ? "mean" : "cls",
	    tables[shape->token_form], word(shape->sub_norm));
	if (shape->query_prefix)
		fprintf(f, " \"query_prefix\": \"%s\",\n", shape->query_prefix);
	if (shape->document_prefix)
		fprintf(f, " \"document_prefix\": \"%s\",\n", shape->document_prefix);
	fprintf(f, " \"coordinates\": \"test\", \"layers\": [\n");
	for (size_t i = 0; i < shape->n_layers; i++) {
		put_layer(f, &shape->layers[i]);
		fprintf(f, "%s\n", i + 1 < shape->n_layers ? "," : "]}");
	}
}

static void
put_vocabulary(FILE *f, size_t n)
{
	fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", f);
	for (int c = 'a'; c <= 'z'; c++)
		fprintf(f, "%c\n", c);
	for (int c = 'a'; c <= 'z'; c++)
		fprintf(f, "##%c\n", c);
	fputs("query\npassage\nthe\n:\n.\n,\n", f);
	for (size_t i = MODELS_PIECES; i < n; i++)
		fprintf(f, "w%zu\n", i);
}

/* Write vocab.txt or config.json. */
static void
write_file(const char *dir, const char *name, const char *file,
    const struct models_encoder *shape)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	check(f, "no memory");
	if (strcmp(file, "vocab.txt") == 0)
		put_vocabulary(f, shape->vocabulary);
	else
		put_config(f, shape);
	check(fclose(f) == 0, "no memory");
	models_write_file(dir, name, file, text);
	free(text);
}

void
models_write_edited(const char *dir, const char *name,
    const struct models_encoder *shape, uint64_t seed,
    void (*edit)(void *context, struct tensor *list, size_t n), void *context)
{
	struct writer *w = calloc(1, sizeof *w);
	char path[1000];
	struct error err;

	check(w && shape->n_layers <= MODELS_LAYERS_MAX &&
		  shape->vocabulary >= MODELS_PIECES,
	    "a shape out of bounds");
	rng_init(&w->rng, seed, 0x656E67);
	w->shape = shape;
	write_file(dir, name, "vocab.txt", shape);
	write_file(dir, name, "config.json", shape);
	add_tables(w);
	for (w->layer = 0; w->layer < shape->n_layers; w->layer++)
		add_layer(w);
	const struct tensors_pair metadata[] = {
	    {"format", "halftone-encoder"}, {"format_version", "1"}};
	void *data[TENSORS_MAX];
	for (size_t i = 0; i < w->n; i++)
		data[i] = (void *)(uintptr_t)w->list[i].data;
	if (edit)
		edit(context, w->list, w->n);
	snprintf(path, sizeof path, "%s/%s/model.safetensors", dir, name);
	check(tensors_save(path, w->list, w->n, metadata, 2, &err) == 0, err.text);
	for (size_t i = 0; i < w->n; i++)
		free(data[i]);
	free(w);
}

void
models_write_encoder(const char *dir, const char *name,
    const struct models_encoder *shape, uint64_t seed)
{
	models_write_edited(dir, name, shape, seed, NULL, NULL);
}
