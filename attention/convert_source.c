#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attention/convert_model.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/tensors.h"

#define NAME_BYTES 128

static float
from_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 31, fraction = half & 0x3FF;
	float value;

	if (exponent == 0) {
		value = ldexpf((float)fraction, -24);
		return sign ? -value : value;
	}
	uint32_t bits =
	    sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static float
number_at(const struct tensor *tensor, size_t i)
{
	uint16_t half;
	float value;

	if (tensor->type == TENSOR_F32)
		return ((const float *)tensor->data)[i];
	memcpy(&half, (const char *)tensor->data + 2 * i, sizeof half);
	if (tensor->type == TENSOR_F16)
		return from_half(half);
	uint32_t bits = (uint32_t)half << 16;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* *err, after `folder` turned out to have no model.safetensors: say what it has. */
static int
explain_missing(const char *folder, struct error *err)
{
	static const char *const others[] = {
	    "pytorch_model.bin", "model.safetensors.index.json"};
	char path[CONVERT_PATH_MAX];
	struct error ignored;

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		if (convert_path(path, folder, others[i], &ignored) != 0 ||
		    access(path, F_OK) != 0)
			continue;
		return error_set(err, ERR_UNSUPPORTED,
		    "expected one model.safetensors beside %s; make it in Python: "
		    "transformers.AutoModel.from_pretrained(DIR)."
		    "save_pretrained(NEW, max_shard_size=\"99GB\")",
		    path);
	}
	return -1;
}

int
convert_source_open(
    struct convert_source *source, const char *folder, struct error *err)
{
	source->tensors = NULL;
	source->before = "";
	if (convert_path(source->path, folder, "model.safetensors", err) != 0)
		return -1;
	source->tensors = tensors_open(source->path, err);
	if (!source->tensors)
		return err->code == ERR_NOT_FOUND ? explain_missing(folder, err) : -1;
	if (tensors_find(source->tensors, "bert.embeddings.word_embeddings.weight"))
		source->before = "bert.";
	return 0;
}

void
convert_source_close(struct convert_source *source)
{
	tensors_close(source->tensors);
	source->tensors = NULL;
}

float *
convert_source_read(const struct convert_source *source, const char *name,
    size_t n_dims, const size_t shape[], size_t take, struct error *err)
{
	char full[NAME_BYTES];

	snprintf(full, sizeof full, "%s%s", source->before, name);
	const struct tensor *tensor = tensors_find(source->tensors, full);
	enum tensor_type type = TENSOR_F32;
	if (tensor && (tensor->type == TENSOR_F16 || tensor->type == TENSOR_BF16))
		type = tensor->type;
	tensor = tensors_expect(source->tensors, full, type, n_dims, shape, err);
	if (!tensor)
		return NULL;
	float *values = array_new(take, sizeof *values);
	if (!values) {
		error_set(
		    err, ERR_MEMORY, "%s: no memory for '%s'", source->path, full);
		return NULL;
	}
	for (size_t i = 0; i < take; i++) {
		values[i] = number_at(tensor, i);
		if (isfinite(values[i]))
			continue;
		error_set(err, ERR_FORMAT,
		    "%s: expected finite numbers in '%s', not %g at %zu", source->path,
		    full, (double)values[i], i);
		free(values);
		return NULL;
	}
	return values;
}

int
convert_source_hash(
    uint64_t *hash, const struct convert_config *config, struct error *err)
{
	unsigned char bytes[1 << 14];
	char path[CONVERT_PATH_MAX];
	ssize_t n;

	if (convert_path(path, config->folder, "model.safetensors", err) != 0)
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		enum error_code code = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
		error_set(err, code, "%s: %s", path, strerror(errno));
		return code == ERR_NOT_FOUND ? explain_missing(config->folder, err)
					     : -1;
	}
	uint64_t h = HASH_START;
	while ((n = read(fd, bytes, sizeof bytes)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		h = hash_bytes(h, bytes, (size_t)n);
	}
	int why = errno;
	close(fd);
	if (n < 0)
		return error_set(err, ERR_IO, "%s: %s", path, strerror(why));
	*hash = config->cls ? hash_bytes(h, "cls", 3) : h;
	return 0;
}
