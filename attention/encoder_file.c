#include "attention/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "attention/file.h"
#include "base/alloc.h"
#include "base/json.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)
#define PATH_BYTES_MAX 4096

/* What config.json says. */
struct config {
	uint64_t dims;
	uint64_t vocabulary;
	uint64_t pieces_max;
	char coordinates[ENCODER_COORDINATES_MAX + 1];
};

/* *value := config[key]; ERR_FORMAT if it is missing. */
static int
get(const struct json *config, const char *key, struct json *value, struct error *err)
{
	if (!json_member(config, key, value))
		return error_set(
		    err, ERR_FORMAT, "expected \"%s\", which is missing", key);
	return 0;
}

/* *value := an integer between 1 and max. */
static int
get_size(uint64_t *value, const struct json *config, const char *key, uint64_t max,
    struct error *err)
{
	struct json found;

	if (get(config, key, &found, err) != 0)
		return -1;
	if (!json_u64(value, &found) || *value < 1 || *value > max)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" as an integer of 1 .. %llu, not %.*s", key,
		    (unsigned long long)max, found.len < 60 ? (int)found.len : 60,
		    found.text);
	return 0;
}

/* config[key] must be the text or word `wanted`, written as JSON: "\"mean\"". */
static int
must_be(
    const struct json *config, const char *key, const char *wanted, struct error *err)
{
	struct json found;

	if (get(config, key, &found, err) != 0)
		return -1;
	if (found.len != strlen(wanted) || memcmp(found.text, wanted, found.len) != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"%s\" as %s, not %.*s", key, wanted,
		    found.len < 60 ? (int)found.len : 60, found.text);
	return 0;
}

/* *text (cap) := config[key], a string; as it is if there is none. */
static int
get_text(char *text, size_t cap, const struct json *config, const char *key,
    struct error *err)
{
	struct json found;

	if (!json_member(config, key, &found))
		return 0;
	if (found.type != JSON_STRING)
		return error_set(err, ERR_FORMAT, "expected \"%s\" as a string, not %s",
		    key, json_type_name(found.type));
	size_t n = json_string(text, cap, &found);
	if (n >= cap)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" of at most %zu bytes, not %zu", key, cap - 1, n);
	return 0;
}

static int
parse_config(struct config *config, const char *text, size_t n, struct error *err)
{
	struct json root;

	if (json_check(&root, text, n, err) != 0) {
		err->code = ERR_FORMAT;
		return -1;
	}
	if (root.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT, "expected an object, not %s",
		    json_type_name(root.type));
	/* What kind it is comes first: the rest means something only then. */
	if (must_be(&root, "model_type", "\"halftone-static\"", err) != 0 ||
	    must_be(&root, "format_version", "1", err) != 0 ||
	    must_be(&root, "num_hidden_layers", "0", err) != 0 ||
	    must_be(&root, "do_lower_case", "true", err) != 0 ||
	    must_be(&root, "pooling", "\"mean\"", err) != 0 ||
	    must_be(&root, "normalize", "true", err) != 0)
		return -1;
	if (get_size(&config->dims, &root, "hidden_size", ENCODER_DIMS_MAX, err) != 0 ||
	    get_size(&config->vocabulary, &root, "vocab_size", WORDPIECE_PIECES_MAX,
		err) != 0 ||
	    get_size(&config->pieces_max, &root, "max_position_embeddings",
		ENCODER_PIECES_MAX, err) != 0 ||
	    get_text(config->coordinates, sizeof config->coordinates, &root,
		"coordinates", err) != 0)
		return -1;
	return 0;
}

static int
read_config(struct config *config, const char *path, struct error *err)
{
	size_t n;
	char *text = file_read(path, CONFIG_BYTES_MAX, &n, err);

	if (!text)
		return -1;
	int result = parse_config(config, text, n, err);
	free(text);
	if (result != 0)
		error_prefix(err, "%s", path);
	return result;
}

static int
read_vocabulary(struct encoder *encoder, const struct config *config, const char *path,
    struct error *err)
{
	encoder->wordpiece = wordpiece_open(path, err);
	if (!encoder->wordpiece)
		return -1;
	size_t found = wordpiece_size(encoder->wordpiece);
	if (found != config->vocabulary)
		return error_set(err, ERR_FORMAT,
		    "%s: expected %llu lines (vocab_size in config.json), not %zu",
		    path, (unsigned long long)config->vocabulary, found);
	return 0;
}

static int
read_tensors(struct encoder *encoder, const struct config *config, const char *path,
    struct error *err)
{
	const size_t weight_shape[] = {config->vocabulary, config->dims};

	encoder->tensors = tensors_open(path, err);
	if (!encoder->tensors)
		return -1;
	const struct tensor *weight = tensors_expect(
	    encoder->tensors, "embedding.weight", TENSOR_I8, 2, weight_shape, err);
	if (!weight)
		return -1;
	const struct tensor *scale = tensors_expect(
	    encoder->tensors, "embedding.scale", TENSOR_F32, 1, weight_shape, err);
	if (!scale)
		return -1;
	encoder->weight = weight->data;
	encoder->scale = scale->data;
	for (size_t i = 0; i < config->vocabulary; i++) {
		float s = encoder->scale[i];
		if (!(s >= 0 && s <= ENCODER_SCALE_MAX))
			return error_set(err, ERR_FORMAT,
			    "%s: expected embedding.scale[%zu] in 0 .. %g, not %g",
			    path, i, (double)ENCODER_SCALE_MAX, (double)s);
	}
	return 0;
}

/* path (PATH_BYTES_MAX) := dir/name */
static int
join(char *path, const char *dir, const char *name, struct error *err)
{
	int n = snprintf(path, PATH_BYTES_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= PATH_BYTES_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "expected the path of a model in at most %d bytes, not %zu",
		    PATH_BYTES_MAX, strlen(dir));
	return 0;
}

struct encoder *
encoder_open(const char *dir, struct error *err)
{
	struct encoder *encoder = array_new(1, sizeof *encoder);
	struct config config = {0};
	char path[PATH_BYTES_MAX];

	if (!encoder) {
		error_set(err, ERR_MEMORY, "no memory for a model");
		return NULL;
	}
	if (join(path, dir, "config.json", err) != 0 ||
	    read_config(&config, path, err) != 0)
		goto failed;
	encoder->dims = config.dims;
	encoder->pieces_max = config.pieces_max;
	memcpy(encoder->coordinates, config.coordinates, sizeof config.coordinates);
	if (join(path, dir, "vocab.txt", err) != 0 ||
	    read_vocabulary(encoder, &config, path, err) != 0)
		goto failed;
	if (join(path, dir, "model.safetensors", err) != 0 ||
	    read_tensors(encoder, &config, path, err) != 0)
		goto failed;
	return encoder;
failed:
	encoder_close(encoder);
	return NULL;
}

void
encoder_close(struct encoder *encoder)
{
	if (!encoder)
		return;
	tensors_close(encoder->tensors);
	wordpiece_close(encoder->wordpiece);
	free(encoder);
}
