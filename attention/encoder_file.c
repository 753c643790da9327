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

static int
read_tensors(struct encoder *encoder, const char *path, struct error *err)
{
	encoder->tensors = tensors_open(path, err);
	if (!encoder->tensors)
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
