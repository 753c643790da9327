#ifndef BASE_TENSORS_H
#define BASE_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Safetensors files: named arrays in one mapping.
 *
 * Reading maps the file; nothing is copied, and every offset, shape and size is
 * checked before a tensor is handed out: a truncated or altered header is refused
 * with what was expected.  The mapping is read-only; any thread may read.
 * Format: 8 bytes little-endian header length, a JSON header, raw little-endian
 * data (huggingface/safetensors, "Format").
 */
enum tensor_type {
	TENSOR_F32,
	TENSOR_F16,
	TENSOR_BF16, /* the upper half of a float32 */
	TENSOR_I8,
	TENSOR_U8,
	TENSOR_I32,
	TENSOR_I64,
};

#define TENSOR_DIMS_MAX 4

struct tensor {
	const char *name; /* valid until tensors_close */
	enum tensor_type type;
	size_t n_dims;
	size_t shape[TENSOR_DIMS_MAX]; /* row-major; unused entries are 1 */
	const void *data;              /* valid until tensors_close */
	size_t size_bytes;
};

struct tensors;

/* NULL: ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, ERR_MEMORY. */
struct tensors *tensors_open(const char *path, struct error *err);
void tensors_close(struct tensors *tensors);

/* The tensor called `name`, or NULL; valid until tensors_close. */
const struct tensor *tensors_find(const struct tensors *tensors, const char *name);

/* The tensor called `name`, which must be of this type and shape (0 = any length,
 * at least 1); NULL and ERR_FORMAT naming file, tensor, expected and found shape.
 * F32 data come back aligned to 4 bytes or are refused. */
const struct tensor *tensors_expect(const struct tensors *tensors, const char *name,
    enum tensor_type type, size_t n_dims, const size_t shape[], struct error *err);

/* The whole file as it is mapped; valid until tensors_close. */
const void *tensors_bytes(const struct tensors *tensors, size_t *size_bytes);

/* The text of `key` in __metadata__, or NULL. */
const char *tensors_metadata(const struct tensors *tensors, const char *key);

struct tensors_pair {
	const char *key;
	const char *value;
};

/* Write a file with these tensors and metadata, whole or not at all.  Data start at a
 * multiple of 64 bytes.  ERR_INPUT for a name twice; otherwise as base/replace.h. */
int tensors_save(const char *path, const struct tensor *list, size_t n,
    const struct tensors_pair *metadata, size_t n_metadata, struct error *err);

#endif /* BASE_TENSORS_H */
