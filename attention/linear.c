#include "attention/linear.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "attention/linear_kernels.h"

const char *
linear_form_name(enum linear_form form)
{
	static const char *const names[] = {"ternary", "four-level", "int8", "float"};

	return names[form];
}

static void
assert_shape(size_t in, size_t out)
{
	assert(in > 0 && in <= LINEAR_DIMS_MAX && in % LINEAR_DIMS_STEP == 0);
	assert(out > 0 && out <= LINEAR_DIMS_MAX && out % LINEAR_DIMS_STEP == 0);
}

size_t
linear_weight_bytes(enum linear_form form, size_t in, size_t out)
{
	assert_shape(in, out);
	switch (form) {
	case LINEAR_INT8:
		return in * out;
	case LINEAR_FLOAT:
		return in * out * sizeof(float);
	default:
		return in * out / 4;
	}
}

/* Where a level is: a byte of the packed weights, and the bits in it. */
struct slot {
	size_t byte;
	unsigned shift;
};

static struct slot
slot(enum linear_form form, size_t in, size_t row, size_t column)
{
	if (form == LINEAR_INT8)
		return (struct slot){(row / 16 * (in / 4) + column / 4) * 64 +
					 4 * (row % 16) + column % 4,
		    0};
	return (struct slot){
	    (row / 64 * (in / 4) + column / 4) * 64 + 4 * (row % 16) + column % 4,
	    (unsigned)(row % 64 / 16 * 2)};
}

void
linear_pack(
    void *packed, const int8_t *levels, enum linear_form form, size_t in, size_t out)
{
	uint8_t *bytes = packed;

	assert(form != LINEAR_FLOAT);
	memset(bytes, 0, linear_weight_bytes(form, in, out));
	for (size_t row = 0; row < out; row++)
		for (size_t column = 0; column < in; column++) {
			const int8_t level = levels[row * in + column];
			struct slot at = slot(form, in, row, column);
			if (form == LINEAR_INT8) {
				bytes[at.byte] = (uint8_t)level;
				continue;
			}
			int code = form == LINEAR_TERNARY ? level + 1 : (level + 3) / 2;
			assert(code >= 0 && code <= 3);
			bytes[at.byte] |= (uint8_t)(code << at.shift);
		}
}

void
linear_pack_float(float *packed, const float *weights, size_t in, size_t out)
{
	assert_shape(in, out);
	for (size_t row = 0; row < out; row++)
		for (size_t k = 0; k < in; k++)
			packed[row / 16 * 16 * in + 16 * k + row % 16] =
			    weights[row * in + k];
}

void
linear_unpack(
    int8_t *levels, const void *packed, enum linear_form form, size_t in, size_t out)
{
	const uint8_t *bytes = packed;

	assert(form != LINEAR_FLOAT);
	assert_shape(in, out);
	for (size_t row = 0; row < out; row++)
		for (size_t column = 0; column < in; column++) {
			struct slot at = slot(form, in, row, column);
			int code = bytes[at.byte] >> at.shift & 3;
			int8_t *level = levels + row * in + column;
			if (form == LINEAR_INT8)
				*level = (int8_t)bytes[at.byte];
			else
				*level =
				    (int8_t)(form == LINEAR_TERNARY ? code - 1
								    : 2 * code - 3);
		}
}

/* The first byte of a ternary layer with a code 3, or of an int8 layer with the level
 * -128; the number of bytes if there is none. */
static size_t
find_bad(const uint8_t *bytes, size_t n, enum linear_form form)
{
	for (size_t i = 0; i < n; i++)
		if (form == LINEAR_TERNARY ? bytes[i] & bytes[i] >> 1 & 0x55
					   : bytes[i] == 0x80)
			return i;
	return n;
}

static int
check_weights(const struct linear *layer, struct error *err)
{
	const uint8_t *bytes = layer->weight;
	const bool ternary = layer->form == LINEAR_TERNARY;
	const size_t n = linear_weight_bytes(layer->form, layer->in, layer->out);
	size_t i = find_bad(bytes, n, layer->form), rows = ternary ? 64 : 16;

	if (i == n)
		return 0;
	/* i = 64 (block * in / 4 + group) + 4 row + column */
	size_t line = i / 64, row = line / (layer->in / 4) * rows + i % 64 / 4;
	size_t column = line % (layer->in / 4) * 4 + i % 4;
	if (!ternary)
		return error_set(err, ERR_FORMAT,
		    "expected int8 levels -127 .. 127, not -128 (row %zu, column %zu)",
		    row, column);
	for (unsigned byte = bytes[i]; (byte & 3) != 3; byte >>= 2)
		row += 16;
	return error_set(err, ERR_FORMAT,
	    "expected ternary codes 0, 1 or 2, not 3 (row %zu, column %zu)", row,
	    column);
}

int
linear_check(const struct linear *layer, struct error *err)
{
	for (size_t i = 0; i < layer->out; i++) {
		if (layer->form != LINEAR_FLOAT &&
		    !(isfinite(layer->scale[i]) && layer->scale[i] >= 0))
			return error_set(err, ERR_FORMAT,
			    "expected finite scales >= 0, not %g (scale %zu)",
			    (double)layer->scale[i], i);
		if (!isfinite(layer->bias[i]))
			return error_set(err, ERR_FORMAT,
			    "expected finite biases, not %g (bias %zu)",
			    (double)layer->bias[i], i);
	}
	if (layer->form == LINEAR_TERNARY || layer->form == LINEAR_INT8)
		return check_weights(layer, err);
	return 0;
}

static const struct linear_kernel *const kernels[] = {
    &linear_scalar,
#if defined(__x86_64__)
    &linear_avx2,
    &linear_avx512,
    &linear_amx,
#elif defined(__aarch64__)
    &linear_neon,
#endif
};
#define KERNELS (sizeof kernels / sizeof kernels[0])

const struct linear_kernel *
linear_find(enum cpu_level level)
{
	for (size_t i = 0; i < KERNELS; i++)
		if (kernels[i]->level == level && cpu_has(level))
			return kernels[i];
	return NULL;
}

static const struct linear_kernel *best;

static enum cpu_level
level_of(size_t i)
{
	return kernels[i]->level;
}

static bool
agrees_with_scalar(size_t i)
{
	return linear_agrees(kernels[i]);
}

static void
choose(void)
{
	const struct cpu_kernels all = {
	    "linear_kernel", KERNELS, level_of, agrees_with_scalar};

	best = kernels[cpu_choose(&all)];
}

const struct linear_kernel *
linear_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return best;
}
