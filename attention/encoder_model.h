#ifndef ATTENTION_ENCODER_MODEL_H
#define ATTENTION_ENCODER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/encoder.h"
#include "attention/transformer.h"
#include "attention/wordpiece.h"
#include "base/json.h"
#include "base/tensors.h"

/*
 * What an encoder is made of, shared by attention/encoder*.c: encoder_file.c opens a
 * folder with what encoder_config.c (config.json) and encoder_layers.c (the tensors of
 * a transformer) read; encoder.c and encoder_static.c use it.  Owner only while it is
 * made; then any thread may read.
 */
#define ENCODER_PREFIX_MAX 1000 /* bytes */

enum encoder_kind { ENCODER_STATIC, ENCODER_LAYERS };

enum encoder_matrix {
	ENCODER_QUERY_MATRIX,
	ENCODER_KEY_MATRIX,
	ENCODER_VALUE_MATRIX,
	ENCODER_OUTPUT_MATRIX,
	ENCODER_UP_MATRIX,
	ENCODER_DOWN_MATRIX,
	ENCODER_MATRICES,
};

/* "query", "key", ... */
const char *encoder_matrix_name(enum encoder_matrix matrix);

/* What config.json says of a layer. */
struct encoder_layer_config {
	enum linear_form forms[ENCODER_MATRICES]; /* of a shared key: not used */
	bool gelu_table;
	bool smooth; /* false where it is not said */
	bool softmax;
	bool shared;
	enum hash_function function;
	enum hash_similarity similarity;
	size_t anchors, bits, bucket_bits;
};

/* What config.json says. */
struct encoder_config {
	enum encoder_kind kind;
	size_t dims;       /* D */
	size_t vocabulary; /* V */
	size_t pieces_max; /* N */
	char coordinates[ENCODER_COORDINATES_MAX + 1];
	char query_prefix[ENCODER_PREFIX_MAX + 1]; /* "": none */
	char document_prefix[ENCODER_PREFIX_MAX + 1];

	/* ENCODER_LAYERS alone. */
	size_t n_layers, heads, inner;
	float epsilon;
	enum transformer_pooling pooling;
	enum transformer_table token_form;
	bool sub_norm;
	struct encoder_layer_config layers[TRANSFORMER_LAYERS_MAX];
};

/* Read the config.json at `path`.  ERR_NOT_FOUND, ERR_IO, ERR_MEMORY, ERR_TOO_LARGE,
 * ERR_FORMAT, ERR_UNSUPPORTED, naming file and key. */
int encoder_config_read(
    struct encoder_config *config, const char *path, struct error *err);

struct encoder {
	struct encoder_config config;
	struct wordpiece *wordpiece;
	struct tensors *tensors; /* owns what the below points to */

	/* ENCODER_STATIC */
	const int8_t *weight; /* (V, D) */
	const float *scale;   /* (V) finite, 0 .. ENCODER_SCALE_MAX */

	/* ENCODER_LAYERS */
	uint32_t cls, sep;
	struct transformer transformer; /* layers and their plans are ours */
};

/* Fill encoder->transformer from encoder->tensors, the file at `path`, as
 * encoder->config has it.  ERR_FORMAT, naming file and tensor, or ERR_MEMORY; what was
 * made by then is in the transformer. */
int encoder_layers_read(struct encoder *encoder, const char *path, struct error *err);
void encoder_layers_free(struct encoder *encoder);

/* 0 if the scales of a table's rows are finite, 0 .. ENCODER_SCALE_MAX; ERR_FORMAT. */
int encoder_scales_check(
    const struct tensor *scales, const char *path, struct error *err);

struct encoder_scratch {
	uint32_t *ids; /* (pieces_max): of encoder_embed */
	float *sum;    /* (dims): ENCODER_STATIC */

	/* ENCODER_LAYERS: a pass. */
	struct transformer_scratch *transformer;
	uint32_t *pass_ids; /* (TRANSFORMER_PASS) */
	size_t *start;      /* (TRANSFORMER_PASS + 1) */
	float **vectors;    /* (TRANSFORMER_PASS) */
	bool *ok;           /* (TRANSFORMER_PASS) */
};

/* Embed an item of ENCODER_STATIC. */
void encoder_static_run(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *item);

#endif /* ATTENTION_ENCODER_MODEL_H */
