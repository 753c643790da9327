#ifndef ATTENTION_CONVERT_MODEL_H
#define ATTENTION_CONVERT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/convert.h"
#include "base/json.h"
#include "base/tensors.h"

/* What the files convert*.c share.  Any thread may call. */
#define CONVERT_PATH_MAX 4096

/* out (CONVERT_PATH_MAX) := dir/name; ERR_TOO_LARGE. */
int convert_path(char *out, const char *dir, const char *name, struct error *err);

/* A file of JSON. */
struct convert_json {
	char path[CONVERT_PATH_MAX];
	char *bytes; /* NULL: there is no such file */
	struct json root;
};

/* Read dir/name, an object or an array; with optional set, a file that is not there is
 * an empty object.  Free with convert_json_close, also after failure.  ERR_NOT_FOUND,
 * ERR_IO, ERR_MEMORY, ERR_TOO_LARGE, ERR_FORMAT. */
int convert_json_open(struct convert_json *json, const char *dir, const char *name,
    bool optional, struct error *err);
void convert_json_close(struct convert_json *json);

/* *value := object[key]; false if it is missing or null. */
bool convert_json_member(
    const struct json *object, const char *key, struct json *value);

/* *value := the integer object[key], of 1 .. max; ERR_FORMAT. */
int convert_json_size(size_t *value, const struct json *object, const char *key,
    size_t max, struct error *err);

/* out (cap) := a string of at most cap - 1 bytes; ERR_FORMAT. */
int convert_json_text(char *out, size_t cap, const struct json *value, const char *key,
    struct error *err);

/* A member that has one value (or one of two) in every model that we can serve. */
struct convert_wish {
	const char *key;
	const char *wanted;  /* as JSON */
	const char *instead; /* as JSON, as good as `wanted`; NULL: there is none */
};

/* Members that are missing or null are as they should be.  ERR_UNSUPPORTED, naming the
 * first that is not. */
int convert_json_check(const struct json *object, const struct convert_wish *wishes,
    size_t n, struct error *err);

/* What the model's small files say. */
struct convert_config {
	char folder[CONVERT_PATH_MAX]; /* of config.json, vocab.txt, the weights */
	size_t dims, layers, heads, inner;
	size_t rows;        /* of the token table */
	size_t vocabulary;  /* pieces, at most rows */
	const char *pieces; /* convert_vocabulary_read's, borrowed */
	uint32_t cls_id, sep_id;
	size_t positions;  /* rows of the position table */
	size_t types;      /* rows of the token type table */
	size_t pieces_max; /* of a text, at most positions */
	double layer_norm_eps;
	uint64_t coordinates; /* convert_source_hash */
	bool cls;             /* pooling of [CLS], else the mean */
	bool normalized;      /* the model says that its embeddings have length 1 */
	char query_prefix[CONVERT_PREFIX_MAX + 1];
	char document_prefix[CONVERT_PREFIX_MAX + 1];
};

/* modules.json, config.json and tokenizer_config.json (convert_config_read), 1_Pooling
 * and the prompts: fills all but what the vocabulary says. */
int convert_modules_read(struct convert_config *config,
    const struct convert_options *options, struct error *err);

/* The rest, from config->folder. */
int convert_config_read(struct convert_config *config, struct error *err);

/* The text of vocab.txt, *n bytes of it: the folder's own, or made from tokenizer.json
 * where there is none.  Fills vocabulary, pieces, cls_id and sep_id.  The caller frees
 * it; NULL: ERR_NOT_FOUND, ERR_FORMAT, ERR_UNSUPPORTED, ERR_IO, ERR_MEMORY,
 * ERR_TOO_LARGE. */
char *convert_vocabulary_read(
    struct convert_config *config, size_t *n, struct error *err);

/* The converted config.json at `path`. */
int convert_config_write(const char *path, const struct convert_config *config,
    enum linear_form layers, struct error *err);

/* The converted model.safetensors at `path`, from the one in config->folder. */
int convert_weights_write(const char *path, const struct convert_config *config,
    enum linear_form layers, struct error *err);

/* The weights of the model that is converted. */
struct convert_source {
	char path[CONVERT_PATH_MAX];
	struct tensors *tensors;
	const char *before; /* what the names begin with: "" or "bert." */
};

/* Open the weights in `folder`; close with convert_source_close.  Errors as
 * tensors_open; ERR_UNSUPPORTED, saying what to do, if they are stored otherwise. */
int convert_source_open(
    struct convert_source *source, const char *folder, struct error *err);
void convert_source_close(struct convert_source *source);

/* The first `take` numbers of the tensor `name` (without "bert."), which must have this
 * shape and be float32, float16 or bfloat16; the caller frees them.  NULL: ERR_FORMAT
 * (also for a number that is not finite), ERR_MEMORY. */
float *convert_source_read(const struct convert_source *source, const char *name,
    size_t n_dims, const size_t shape[], size_t take, struct error *err);

/* The largest |x| that the matrices of a float model take. */
struct convert_largest {
	float *attention;    /* (layers, dims): before query, key and value */
	float *feed_forward; /* (layers, dims): before up */
};

/* Run the float model whose n converted tensors are `list` over words of its own
 * vocabulary, drawn by a fixed seed, and note what is largest.  Free with
 * convert_largest_free.  ERR_MEMORY. */
int convert_largest_new(struct convert_largest *largest,
    const struct convert_config *config, const struct tensor *list, size_t n,
    struct error *err);
void convert_largest_free(struct convert_largest *largest);

/* *hash := FNV-1a of the bytes of the weights file in config->folder and of the
 * pooling: models of one hash have the same coordinates.  ERR_NOT_FOUND, ERR_IO,
 * ERR_UNSUPPORTED as convert_source_open. */
int convert_source_hash(
    uint64_t *hash, const struct convert_config *config, struct error *err);

#endif /* ATTENTION_CONVERT_MODEL_H */
