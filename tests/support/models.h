#ifndef TESTS_SUPPORT_MODELS_H
#define TESTS_SUPPORT_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/transformer.h"
#include "base/code.h"
#include "base/tensors.h"

/* Small models on the disk, under `dir` (made if it is not there). */

#define MODELS_TEXT_DIMS 4

/* dir/name: a text encoder of MODELS_TEXT_DIMS dimensions that knows "red", "green" and
 * "blue". */
void models_write_text(const char *dir, const char *name);

#define MODELS_LAYERS_MAX 8

/* A layer of models_write_encoder. */
struct models_layer {
	/* query, key, value, output, up, down */
	enum linear_form forms[6];
	bool gelu_table;
	bool softmax; /* else a hash: */
	bool shared;
	enum hash_function function;
	enum hash_similarity similarity;
	size_t bits, anchors, bucket_bits;
};

struct models_encoder {
	size_t dims, inner, heads, positions, n_layers;
	size_t vocabulary; /* at least MODELS_PIECES */
	enum transformer_table token_form;
	enum transformer_pooling pooling;
	bool sub_norm;
	const char *query_prefix, *document_prefix; /* NULL: none */
	struct models_layer layers[MODELS_LAYERS_MAX];
};

/* The pieces that every such model knows: [PAD] [UNK] [CLS] [SEP], a .. z, ##a .. ##z,
 * "query", "passage", "the", ":", "." and ",".  Those behind are "w62", ... */
#define MODELS_PIECES 62

/* A shape of two layers of 64 dimensions, every matrix in `form`, attention by softmax.
 */
struct models_encoder models_encoder(enum linear_form form);

/* dir/name: a "halftone-encoder" of this shape with random weights, such that
 * activations are about 1. */
void models_write_encoder(const char *dir, const char *name,
    const struct models_encoder *shape, uint64_t seed);

/* The same with tensors that edit() has changed, to write a bad one: their data may be
 * written to. */
void models_write_edited(const char *dir, const char *name,
    const struct models_encoder *shape, uint64_t seed,
    void (*edit)(void *context, struct tensor *list, size_t n), void *context);

/* dir/name/binarizer.safetensors: a rotation of `dims` floats whose mean is filled with
 * `mean`. */
void models_write_binarizer(
    const char *dir, const char *name, uint32_t dims, float mean);

/* dir/name/binarizer.B.safetensors, B = shape.bits: a refined binarizer of `dims`
 * floats with random maps and centres. */
void models_write_learned(
    const char *dir, const char *name, uint32_t dims, struct code_shape shape);

/* A tensor of floats (rows, columns), or (rows) where columns is 0, at `data`. */
struct tensor models_tensor(
    const char *name, const float *data, size_t rows, size_t columns);

/* A file in dir/name with this text. */
void models_write_file(
    const char *dir, const char *name, const char *file, const char *text);

#endif /* TESTS_SUPPORT_MODELS_H */
