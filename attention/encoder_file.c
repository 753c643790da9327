#include "attention/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "base/alloc.h"

#define PATH_BYTES_MAX 4096

static int
read_vocabulary(struct encoder *encoder, const char *path, struct error *err)
{
	const size_t wanted = encoder->config.vocabulary;

	encoder->wordpiece = wordpiece_open(path, err);
	if (!encoder->wordpiece)
		return -1;
	size_t found = wordpiece_size(encoder->wordpiece);
	if (found != wanted)
		return error_set(err, ERR_FORMAT,
		    "%s: expected %zu lines (vocab_size in config.json), not %zu", path,
		    wanted, found);
	if (encoder->config.kind == ENCODER_STATIC)
		return 0;
	const char *missing =
	    !wordpiece_find(encoder->wordpiece, "[CLS]", &encoder->cls)   ? "[CLS]"
	    : !wordpiece_find(encoder->wordpiece, "[SEP]", &encoder->sep) ? "[SEP]"
									  : NULL;
	if (missing)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a piece %s, which an encoder puts around a text; "
		    "none of the %zu pieces is",
		    path, missing, found);
	return 0;
}

int
encoder_scales_check(const struct tensor *scales, const char *path, struct error *err)
{
	const float *scale = scales->data;

	for (size_t i = 0; i < scales->shape[0]; i++)
		if (!(scale[i] >= 0 && scale[i] <= ENCODER_SCALE_MAX))
			return error_set(err, ERR_FORMAT,
			    "%s: expected %s[%zu] in 0 .. %g, not %g", path,
			    scales->name, i, (double)ENCODER_SCALE_MAX,
			    (double)scale[i]);
	return 0;
}

static int
read_static(struct encoder *encoder, const char *path, struct error *err)
{
	const size_t shape[] = {encoder->config.vocabulary, encoder->config.dims};
	const struct tensor *weight = tensors_expect(
	    encoder->tensors, "embedding.weight", TENSOR_I8, 2, shape, err);

	if (!weight)
		return -1;
	const struct tensor *scale = tensors_expect(
	    encoder->tensors, "embedding.scale", TENSOR_F32, 1, shape, err);
	if (!scale)
		return -1;
	encoder->weight = weight->data;
	encoder->scale = scale->data;
	return encoder_scales_check(scale, path, err);
}

/* The weights must be of this format and version, where they say it. */
static int
check_metadata(const struct tensors *tensors, const char *path, struct error *err)
{
	const char *format = tensors_metadata(tensors, "format");
	const char *version = tensors_metadata(tensors, "format_version");

	if (format && strcmp(format, "halftone-encoder") != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "%s: expected the format halftone-encoder, not \"%.60s\"", path,
		    format);
	if (version && strcmp(version, "1") != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "%s: expected format_version 1, not \"%.60s\": it is of a newer "
		    "release",
		    path, version);
	return 0;
}

/* A prefix must leave at least half of the pieces to the text. */
static int
check_prefix(const struct encoder *encoder, enum encoder_role role, uint32_t *ids,
    struct error *err)
{
	const struct encoder_config *config = &encoder->config;
	const bool query = role == ENCODER_QUERY;
	const char *prefix = query ? config->query_prefix : config->document_prefix;
	const size_t n = strlen(prefix), max = config->pieces_max / 2;
	struct encoder_pieces pieces = {.ids = ids, .cap = config->pieces_max};

	if (n == 0)
		return 0;
	if (encoder_tokenize(encoder, &pieces, ENCODER_PLAIN, prefix, n, err) != 0)
		return -1;
	if (!pieces.truncated && pieces.n <= max)
		return 0;
	return error_set(err, ERR_FORMAT,
	    "expected a %s of at most %zu pieces, [CLS] and [SEP] among them, not "
	    "%s%zu: "
	    "it must leave half of the %zu to the text",
	    query ? "query_prefix" : "document_prefix", max,
	    pieces.truncated ? "more than " : "", pieces.n, config->pieces_max);
}

static int
check_prefixes(const struct encoder *encoder, const char *path, struct error *err)
{
	uint32_t *ids = array_new(encoder->config.pieces_max, sizeof *ids);

	if (!ids)
		return error_set(err, ERR_MEMORY, "no memory for a model");
	int rc = check_prefix(encoder, ENCODER_QUERY, ids, err);
	if (rc == 0)
		rc = check_prefix(encoder, ENCODER_DOCUMENT, ids, err);
	free(ids);
	return rc == 0 ? 0 : error_prefix(err, "%s", path);
}

static int
read_tensors(struct encoder *encoder, const char *path, struct error *err)
{
	encoder->tensors = tensors_open(path, err);
	if (!encoder->tensors)
		return -1;
	if (encoder->config.kind == ENCODER_LAYERS &&
	    check_metadata(encoder->tensors, path, err) != 0)
		return -1;
	return encoder->config.kind == ENCODER_STATIC
		   ? read_static(encoder, path, err)
		   : encoder_layers_read(encoder, path, err);
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
	char path[PATH_BYTES_MAX];

	if (!encoder) {
		error_set(err, ERR_MEMORY, "no memory for a model");
		return NULL;
	}
	if (join(path, dir, "config.json", err) != 0 ||
	    encoder_config_read(&encoder->config, path, err) != 0)
		goto failed;
	if (join(path, dir, "vocab.txt", err) != 0 ||
	    read_vocabulary(encoder, path, err) != 0)
		goto failed;
	if (join(path, dir, "config.json", err) != 0 ||
	    check_prefixes(encoder, path, err) != 0)
		goto failed;
	if (join(path, dir, "model.safetensors", err) != 0 ||
	    read_tensors(encoder, path, err) != 0)
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
	encoder_layers_free(encoder);
	tensors_close(encoder->tensors);
	wordpiece_close(encoder->wordpiece);
	free(encoder);
}
