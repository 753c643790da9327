#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attention/convert_model.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/tensors.h"

#define NAME_BYTES 96
#define TENSORS_MAX(layers) (5 + 22 * (layers))
#define TINY 1e-30f /* a row of smaller numbers becomes zeros */

/* The tensors of the new model while they are made. */
struct build {
	const char *path; /* of the source */
	const struct tensors *source;
	const char *before; /* the names there: "" or "bert." */
	enum linear_form form;
	struct tensor *list;
	char (*names)[NAME_BYTES];
	size_t n;
};

static float
from_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 31, fraction = half & 0x3FF;
	uint32_t bits;
	float value;

	if (exponent == 0) {
		value = ldexpf((float)fraction, -24);
		return sign ? -value : value;
	}
	bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static float
number_at(const struct tensor *tensor, size_t i)
{
	uint16_t half;
	uint32_t bits;
	float value;

	if (tensor->type == TENSOR_F32)
		return ((const float *)tensor->data)[i];
	memcpy(&half, (const char *)tensor->data + 2 * i, sizeof half);
	if (tensor->type == TENSOR_F16)
		return from_half(half);
	bits = (uint32_t)half << 16;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* The first `rows` rows of a (of, columns) tensor, or of a vector (columns = 0), in
 * memory that the caller frees. */
struct wanted {
	size_t rows, of, columns;
};

static float *
read_floats(const struct build *b, const struct wanted *want, struct error *err,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static float *
read_floats(const struct build *b, const struct wanted *want, struct error *err,
    const char *fmt, ...)
{
	char name[NAME_BYTES];
	size_t shape[2] = {want->of, want->columns};
	size_t n = want->rows * (want->columns ? want->columns : 1);
	va_list args;

	int at = snprintf(name, sizeof name, "%s", b->before);
	va_start(args, fmt);
	vsnprintf(name + at, sizeof name - (size_t)at, fmt, args);
	va_end(args);
	const struct tensor *tensor = tensors_find(b->source, name);
	enum tensor_type type = tensor ? tensor->type : TENSOR_F32;
	if (type != TENSOR_F16 && type != TENSOR_BF16)
		type = TENSOR_F32;
	tensor = tensors_expect(
	    b->source, name, type, want->columns ? 2 : 1, shape, err);
	if (!tensor)
		return NULL;
	float *values = array_new(n, sizeof *values);
	if (!values) {
		error_set(err, ERR_MEMORY, "%s: no memory for '%s'", b->path, name);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		values[i] = number_at(tensor, i);
		if (!isfinite(values[i])) {
			error_set(err, ERR_FORMAT,
			    "%s: expected finite numbers in '%s', not %g at %zu",
			    b->path, name, (double)values[i], i);
			free(values);
			return NULL;
		}
	}
	return values;
}

/* The next tensor of the new model; its data are freed with the build. */
static struct tensor *
add(struct build *b, enum tensor_type type, void *data, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static struct tensor *
add(struct build *b, enum tensor_type type, void *data, const char *fmt, ...)
{
	struct tensor *tensor = &b->list[b->n];
	va_list args;

	va_start(args, fmt);
	vsnprintf(b->names[b->n], NAME_BYTES, fmt, args);
	va_end(args);
	*tensor = (struct tensor){.name = b->names[b->n++],
	    .type = type,
	    .data = data,
	    .shape = {1, 1, 1, 1}};
	return tensor;
}

static void
shape_of(struct tensor *tensor, size_t n_dims, size_t a, size_t b, size_t c)
{
	size_t element = tensor->type == TENSOR_F32 ? 4 : 1;

	tensor->n_dims = n_dims;
	tensor->shape[0] = a;
	tensor->shape[1] = b;
	tensor->shape[2] = c;
	tensor->size_bytes = a * b * c * element;
}

/* levels (n) := row (n) / *scale, where the largest becomes 127. */
static void
quantize_row(int8_t *levels, float *scale, const float *row, size_t n)
{
	float largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(row[i]));
	*scale = largest < TINY ? 0 : largest / 127;
	for (size_t i = 0; i < n; i++) {
		float level = *scale > 0 ? rintf(row[i] / *scale) : 0;
		levels[i] = (int8_t)fminf(fmaxf(level, -127), 127);
	}
}

/* A float vector as it is. */
static int
add_vector(struct build *b, size_t n, const char *to, size_t layer, const char *from,
    struct error *err)
{
	struct wanted want = {n, n, 0};
	return 0;
}
