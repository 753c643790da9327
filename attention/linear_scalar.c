#include <math.h>

#include "attention/linear_kernels.h"

/* The definition, a token and a block of columns at a time, as the weights lie. */

#define TWO_BIT_COLUMNS 64
#define COLUMNS 16

static void
finish(const struct linear *layer, const struct linear_output *out, size_t column,
    size_t token, float y)
{
	float *to = out->y + token * out->stride + column;

	if (out->then == LINEAR_STORE) {
		*to = y;
	} else if (out->then == LINEAR_ADD) {
		*to = *to + y;
	} else {
		/* Compared so that NaN is -128. */
		y = y * out->step;
		long v = y >= 127 ? 127 : y >= -128 ? lrintf(y) : -128;
		out->q[token * layer->out + column] = out->table[128 + v];
	}
}

static void
scale(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, size_t column, size_t token, int32_t acc)
{
	float y = (float)acc * layer->scale[column];

	y = y * in->scale[token];
	y = y + layer->bias[column];
	finish(layer, out, column, token, y);
}

static void
two_bit(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const int multiple = layer->form == LINEAR_TERNARY ? 1 : 2;
	const int32_t less = layer->form == LINEAR_TERNARY ? 1 : 3;

	for (size_t j = 0; j < layer->out; j += TWO_BIT_COLUMNS)
		for (size_t t = 0; t < in->n; t++) {
			const uint8_t *line =
			    (const uint8_t *)layer->weight + j / 4 * layer->in;
			const int8_t *q = in->q + t * layer->in;
			int32_t acc[TWO_BIT_COLUMNS] = {0};
			for (size_t k = 0; k < layer->in; k += 4, line += 64)
				for (size_t c = 0; c < TWO_BIT_COLUMNS; c++)
					for (size_t b = 0; b < 4; b++) {
						int byte = line[4 * (c % 16) + b];
						int code = byte >> c / 16 * 2 & 3;
						acc[c] += code * q[k + b];
					}
			for (size_t c = 0; c < TWO_BIT_COLUMNS; c++)
				scale(layer, in, out, j + c, t,
				    multiple * acc[c] - less * in->sum[t]);
		}
}

static void
int8(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	for (size_t j = 0; j < layer->out; j += COLUMNS)
		for (size_t t = 0; t < in->n; t++) {
			const int8_t *line =
			    (const int8_t *)layer->weight + j * layer->in;
			const int8_t *q = in->q + t * layer->in;
			int32_t acc[COLUMNS] = {0};
			for (size_t k = 0; k < layer->in; k += 4, line += 64)
				for (size_t c = 0; c < COLUMNS; c++)
					for (size_t b = 0; b < 4; b++)
						acc[c] += line[4 * c + b] * q[k + b];
			for (size_t c = 0; c < COLUMNS; c++)
				scale(layer, in, out, j + c, t, acc[c]);
		}
}

static void
real(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	for (size_t j = 0; j < layer->out; j += COLUMNS)
		for (size_t t = 0; t < in->n; t++) {
			const float *line =
			    (const float *)layer->weight + j * layer->in;
			const float *x = in->x + t * layer->in;
			float y[COLUMNS];
			for (size_t c = 0; c < COLUMNS; c++)
				y[c] = layer->bias[j + c];
			for (size_t k = 0; k < layer->in; k++, line += COLUMNS)
				for (size_t c = 0; c < COLUMNS; c++)
					y[c] = fmaf(x[k], line[c], y[c]);
			for (size_t c = 0; c < COLUMNS; c++)
				finish(layer, out, j + c, t, y[c]);
		}
}

const struct linear_kernel linear_scalar = {
    .level = CPU_SCALAR,
    .name = "scalar",
    .two_bit = two_bit,
    .int8 = int8,
    .real = real,
};
