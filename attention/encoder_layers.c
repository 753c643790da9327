#include "attention/encoder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "base/alloc.h"

#define NAME_BYTES 64

/* How far the length of an anchor may be from 1. */
#define ANCHOR_SLACK 1e-3

/* What the numbers of a tensor may be; they are always finite. */
enum bound { ANY, NOT_NEGATIVE, POSITIVE };

/* Where the tensors of one layer come from. */
struct source {
	const struct tensors *tensors;
	const char *path;
	const struct encoder_config *config;
	size_t layer; /* NO_LAYER: none */
	struct error *err;
};
#define NO_LAYER SIZE_MAX

/* name (NAME_BYTES) := "layers.3.query.weight" */
static const char *
name_of(char *name, const struct source *source, const char *part, const char *end)
{
	int n = source->layer == NO_LAYER
		    ? snprintf(name, NAME_BYTES, "%s%s", part, end)
		    : snprintf(name, NAME_BYTES, "layers.%zu.%s%s", source->layer, part,
			  end);

	assert(n > 0 && n < NAME_BYTES);
	return name;
}

/* The shape of a tensor: lengths, 0 behind the last. */
struct shape {
	size_t lengths[TENSOR_DIMS_MAX + 1];
};

static const struct tensor *
take(const struct source *source, const char *name, enum tensor_type type,
    struct shape shape)
{
	size_t n_dims = 0;

	while (shape.lengths[n_dims] > 0)
		n_dims++;
	return tensors_expect(
	    source->tensors, name, type, n_dims, shape.lengths, source->err);
}

static bool
within(float value, enum bound bound)
{
	return isfinite(value) && (bound == ANY || value >= 0) &&
	       (bound != POSITIVE || value > 0);
}

/* *values := the F32 tensor part.end, all of whose numbers are looked at. */
static int
take_floats(const float **values, const struct source *source, const char *part,
    const char *end, struct shape shape, enum bound bound)
{
	static const char *const wanted[] = {
	    "a finite number", "a finite number >= 0", "a finite number > 0"};
	char name[NAME_BYTES];
	const struct tensor *tensor =
	    take(source, name_of(name, source, part, end), TENSOR_F32, shape);

	if (!tensor)
		return -1;
	*values = tensor->data;
	for (size_t i = 0; i < tensor->size_bytes / sizeof **values; i++)
		if (!within((*values)[i], bound))
			return error_set(source->err, ERR_FORMAT,
			    "%s: expected %s[%zu] as %s, not %g", source->path, name, i,
			    wanted[bound], (double)(*values)[i]);
	return 0;
}

/* The lowest level has no place in a table: with it, q and -q would not be alike. Looks
 * at 8 bytes at a time, of which a tensor of a table has a multiple: what is left of
 * the level is 0 where it is the lowest, and only below a 0 a borrow starts. */
static int
check_levels(const struct tensor *tensor, bool nibbles, const struct source *source)
{
	const uint64_t flip = nibbles ? 0 : 0x8080808080808080u;
	const uint64_t ones = nibbles ? 0x1111111111111111u : 0x0101010101010101u;
	const uint8_t *bytes = tensor->data;

	for (size_t i = 0; i < tensor->size_bytes; i += sizeof ones) {
		uint64_t levels;
		memcpy(&levels, bytes + i, sizeof levels);
		levels ^= flip;
		if (((levels - ones) & ~levels & ones * (nibbles ? 8 : 128)) != 0)
			return error_set(source->err, ERR_FORMAT,
			    "%s: expected levels of %s in %s, not %s (bytes %zu .. "
			    "%zu)",
			    source->path, nibbles ? "-7 .. 7" : "-127 .. 127",
			    tensor->name, nibbles ? "-8" : "-128", i,
			    i + sizeof levels - 1);
	}
	return 0;
}

/* *linear := the matrix from `in` to `out`. */
static int
take_linear(struct linear *linear, const struct source *source,
    enum encoder_matrix matrix, size_t in, size_t out)
{
	const char *part = encoder_matrix_name(matrix);
	char name[NAME_BYTES];
	enum linear_form form = source->config->layers[source->layer].forms[matrix];
	enum tensor_type type = TENSOR_U8;
	struct shape shape = {{out / 64, in / 4, 64}};

	if (form == LINEAR_INT8) {
		type = TENSOR_I8;
		shape = (struct shape){{out / 16, in / 4, 64}};
	} else if (form == LINEAR_FLOAT) {
		type = TENSOR_F32;
		shape = (struct shape){{out / 16, in, 16}};
	}
	const struct tensor *weight =
	    take(source, name_of(name, source, part, ".weight"), type, shape);
	if (!weight)
		return -1;
	*linear =
	    (struct linear){.form = form, .in = in, .out = out, .weight = weight->data};
	const struct shape row = {{out}};
	if (form != LINEAR_FLOAT &&
	    take_floats(&linear->scale, source, part, ".scale", row, NOT_NEGATIVE) != 0)
		return -1;
	if (take_floats(&linear->bias, source, part, ".bias", row, ANY) != 0)
		return -1;
	if (linear_check(linear, source->err) != 0)
		return error_prefix(source->err, "%s: %s", source->path,
		    name_of(name, source, part, ""));
	return 0;
}

static int
take_norm(struct rows_norm *norm, const struct source *source, const char *part)
{
	const struct shape shape = {{source->config->dims}};

	norm->epsilon = source->config->epsilon;
	return take_floats(&norm->weight, source, part, ".weight", shape, ANY) != 0 ||
		       take_floats(&norm->bias, source, part, ".bias", shape, ANY) != 0
		   ? -1
		   : 0;
}

static int
take_rms_norm(
    struct rows_norm *norm, const struct source *source, const char *part, size_t width)
{
	norm->epsilon = source->config->epsilon;
	return take_floats(
	    &norm->weight, source, part, ".weight", (struct shape){{width}}, ANY);
}

static int
take_gelu(struct transformer_layer *layer, const struct source *source)
{
	char name[NAME_BYTES];
	const float *scale;
	const struct tensor *table = take(source,
	    name_of(name, source, "gelu", ".table"), TENSOR_I8, (struct shape){{256}});

	if (!table || check_levels(table, false, source) != 0 ||
	    take_floats(
		&scale, source, "gelu", ".scale", (struct shape){{2}}, POSITIVE) != 0)
		return -1;
	layer->gelu_table = table->data;
	layer->gelu_scale[0] = scale[0];
	layer->gelu_scale[1] = scale[1];
	return 0;
}

static int
take_smooth(struct transformer_layer *layer, const struct source *source)
{
	const struct shape shape = {{source->config->dims}};

	if (take_floats(&layer->attention_smooth, source, "attention_smooth", "", shape,
		POSITIVE) != 0)
		return -1;
	return take_floats(&layer->feed_forward_smooth, source, "feed_forward_smooth",
	    "", shape, POSITIVE);
}

static int
take_anchors(struct hash *hash, const struct source *source)
{
	const size_t dims = hash->head_dims, n = hash->heads * hash->anchors;
	const struct shape shape = {{hash->heads, hash->anchors, dims}};
	const struct shape heads = {{hash->heads}};

	if (take_floats(&hash->anchor, source, "hash", ".anchors", shape, ANY) != 0 ||
	    take_floats(&hash->inverse_sigma, source, "hash", ".inverse_sigma", heads,
		POSITIVE) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		double square = 0;
		for (size_t d = 0; d < dims; d++) {
			double a = (double)hash->anchor[i * dims + d];
			square += a * a;
		}
		if (!(fabs(sqrt(square) - 1) <= ANCHOR_SLACK))
			return error_set(source->err, ERR_FORMAT,
			    "%s: expected layers.%zu.hash.anchors[%zu][%zu] of length "
			    "1, not %g",
			    source->path, source->layer, i / hash->anchors,
			    i % hash->anchors, sqrt(square));
	}
	return 0;
}

/* What the similarity of the codes takes. */
static int
take_similarity(struct hash *hash, const struct source *source)
{
	const struct shape heads = {{hash->heads}};
	const struct shape table = {{hash->heads, hash->bits + 1}};

	switch (hash->similarity) {
	case HASH_GENERAL:
		return take_floats(
			   &hash->gamma, source, "hash", ".gamma", heads, ANY) != 0 ||
			       take_floats(&hash->delta, source, "hash", ".delta",
				   heads, ANY) != 0 ||
			       take_floats(&hash->epsilon, source, "hash", ".epsilon",
				   heads, ANY) != 0
			   ? -1
			   : 0;
	case HASH_BUCKETS:
		return take_floats(
		    &hash->floor, source, "hash", ".floor", heads, POSITIVE);
	case HASH_TABLE:
		return take_floats(
		    &hash->table, source, "hash", ".table", table, POSITIVE);
	default: /* HASH_POSITIVE */
		return 0;
	}
}

static int
take_hash(struct transformer_layer *layer, const struct source *source)
{
	const struct encoder_config *config = source->config;
	const struct encoder_layer_config *wish = &config->layers[source->layer];
	struct hash *hash = &layer->hash;

	*hash = (struct hash){.function = wish->function,
	    .similarity = wish->similarity,
	    .heads = config->heads,
	    .head_dims = config->dims / config->heads,
	    .bits = wish->bits,
	    .anchors = wish->anchors,
	    .bucket_bits = wish->bucket_bits};
	size_t features =
	    hash->function == HASH_KERNEL ? hash->anchors : hash->head_dims;
	const struct shape planes = {{hash->heads, hash->bits, features}};
	const struct shape threshold = {{hash->heads, hash->bits}};
	if ((hash->function == HASH_KERNEL && take_anchors(hash, source) != 0) ||
	    take_floats(&hash->planes, source, "hash", ".planes", planes, ANY) != 0 ||
	    take_floats(
		&hash->threshold, source, "hash", ".threshold", threshold, ANY) != 0 ||
	    take_similarity(hash, source) != 0)
		return -1;
	layer->plan = hash_plan_new(hash, source->err);
	return layer->plan ? 0 : -1;
}

static int
take_layer(struct transformer_layer *layer, const struct source *source)
{
	const struct encoder_config *config = source->config;
	const struct encoder_layer_config *wish = &config->layers[source->layer];
	const size_t dims = config->dims, inner = config->inner;
	struct linear *const square[] = {
	    &layer->query, &layer->key, &layer->value, &layer->output};

	layer->softmax = wish->softmax;
	layer->shared = wish->shared;
	for (unsigned m = ENCODER_QUERY_MATRIX; m <= ENCODER_OUTPUT_MATRIX; m++)
		if ((m != ENCODER_KEY_MATRIX || !layer->shared) &&
		    take_linear(
			square[m], source, (enum encoder_matrix)m, dims, dims) != 0)
			return -1;
	if (take_linear(&layer->up, source, ENCODER_UP_MATRIX, dims, inner) != 0 ||
	    take_linear(&layer->down, source, ENCODER_DOWN_MATRIX, inner, dims) != 0 ||
	    take_norm(&layer->attention_norm, source, "attention_norm") != 0 ||
	    take_norm(&layer->feed_forward_norm, source, "feed_forward_norm") != 0)
		return -1;
	if (config->sub_norm &&
	    (take_rms_norm(&layer->context_norm, source, "context_norm", dims) != 0 ||
		take_rms_norm(&layer->inner_norm, source, "inner_norm", inner) != 0))
		return -1;
	if (wish->smooth && take_smooth(layer, source) != 0)
		return -1;
	if (wish->gelu_table && take_gelu(layer, source) != 0)
		return -1;
	return layer->softmax ? 0 : take_hash(layer, source);
}

static int
take_tables(struct transformer *model, const struct source *source)
{
	const struct encoder_config *config = source->config;
	const size_t rows = config->vocabulary, dims = config->dims;
	const bool nibbles = config->token_form == TRANSFORMER_INT4;
	static const enum tensor_type types[] = {TENSOR_F32, TENSOR_I8, TENSOR_U8};
	const struct tensor *token =
	    take(source, "token.weight", types[config->token_form],
		(struct shape){{rows, nibbles ? dims / 2 : dims}});

	if (!token)
		return -1;
	model->token = token->data;
	if (config->token_form != TRANSFORMER_FLOAT) {
		const struct tensor *scale =
		    take(source, "token.scale", TENSOR_F32, (struct shape){{rows}});
		if (!scale || check_levels(token, nibbles, source) != 0 ||
		    encoder_scales_check(scale, source->path, source->err) != 0)
			return -1;
		model->token_scale = scale->data;
	}
	return take_floats(&model->position, source, "position", ".weight",
	    (struct shape){{config->pieces_max, dims}}, ANY);
}

int
encoder_layers_read(struct encoder *encoder, const char *path, struct error *err)
{
	const struct encoder_config *config = &encoder->config;
	struct transformer *model = &encoder->transformer;
	struct source source = {encoder->tensors, path, config, NO_LAYER, err};

	*model = (struct transformer){.dims = config->dims,
	    .inner = config->inner,
	    .heads = config->heads,
	    .vocabulary = config->vocabulary,
	    .positions = config->pieces_max,
	    .token_form = config->token_form,
	    .pooling = config->pooling};
	model->layers = array_new(config->n_layers, sizeof *model->layers);
	if (!model->layers)
		return error_set(err, ERR_MEMORY, "%s: no memory for the layers", path);
	model->n_layers = config->n_layers;
	if (take_tables(model, &source) != 0 ||
	    take_norm(&model->embedding_norm, &source, "embedding_norm") != 0)
		return -1;
	for (source.layer = 0; source.layer < model->n_layers; source.layer++)
		if (take_layer(&model->layers[source.layer], &source) != 0)
			return -1;
	return 0;
}

void
encoder_layers_free(struct encoder *encoder)
{
	struct transformer *model = &encoder->transformer;

	for (size_t i = 0; i < model->n_layers; i++)
		hash_plan_free(model->layers[i].plan);
	free(model->layers);
}
