#include "attention/training/fast/linear.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "attention/rows.h"

void
fast_linear_quantize(const struct fast_linear_bytes *to, const float *x,
    const float *factors, size_t n, size_t dims)
{
	const struct rows_kernel *rows = rows_best();

	assert(dims > 0 && dims <= LINEAR_DIMS_MAX && dims % LINEAR_DIMS_STEP == 0);
#pragma omp parallel for schedule(static)
	for (size_t t = 0; t < n; t++) {
		const float *row = x + t * dims;
		float scaled[LINEAR_DIMS_MAX];
		if (factors) {
#pragma omp simd
			for (size_t i = 0; i < dims; i++)
				scaled[i] = row[i] * factors[i];
			row = scaled;
		}
		rows->quantize(
		    to->q + t * dims, to->scale + t, to->sum + t, row, 1, dims);
	}
}

/* Sums of floats are taken over so many numbers, and of those in double. */
#define PART 64

/* Levels of a row; its scale. */
static float
ternarize_row(int8_t *levels, const float *w, size_t in)
{
	double all = 0, kept = 0;
	int32_t n = 0;

	for (size_t k = 0; k < in; k += PART) {
		float sum = 0;
#pragma omp simd reduction(+ : sum)
		for (size_t i = k; i < k + PART; i++)
			sum += fabsf(w[i]);
		all += (double)sum;
	}
	const float least = 0.7f * (float)(all / (double)in);
	for (size_t k = 0; k < in; k += PART) {
		float sum = 0;
#pragma omp simd reduction(+ : sum, n)
		for (size_t i = k; i < k + PART; i++) {
			const int32_t up = w[i] > least, down = -w[i] > least;
			levels[i] = (int8_t)(up - down);
			sum += up | down ? fabsf(w[i]) : 0;
			n += up | down;
		}
		kept += (double)sum;
	}
	return n ? (float)(kept / n) : 0;
}

void
fast_linear_ternarize(
    int8_t *levels, float *scale, const float *weight, size_t in, size_t out)
{
	assert(in % PART == 0);
#pragma omp parallel for schedule(static)
	for (size_t j = 0; j < out; j++)
		scale[j] = ternarize_row(levels + j * in, weight + j * in, in);
}

/* The codes of 8 levels, byte by byte: level + 1.  (The top bit keeps what is carried
 * inside its byte.) */
static uint64_t
codes8(const int8_t *levels)
{
	const uint64_t tops = 0x8080808080808080, ones = 0x0101010101010101;
	uint64_t x;

	memcpy(&x, levels, sizeof x);
	return ((x ^ tops) + ones) ^ tops;
}

/* The codes of 8 levels each from four places, `step` apart: four in a byte. */
static uint64_t
fields8(const int8_t *levels, size_t step)
{
	return codes8(levels) | codes8(levels + step) << 2 |
	       codes8(levels + 2 * step) << 4 | codes8(levels + 3 * step) << 6;
}

/* Lines of 64 rows. */
static void
pack_rows(uint8_t *lines, const int8_t *levels, size_t in)
{
	for (size_t c = 0; c < 16; c++)
		for (size_t k = 0; k < in; k += 8) {
			uint64_t x = fields8(levels + c * in + k, 16 * in);
			memcpy(lines + k * 16 + 4 * c, &x, 4);
			x >>= 32;
			memcpy(lines + k * 16 + 64 + 4 * c, &x, 4);
		}
}

/* Lines of 64 columns, which are rows of the transpose. */
static void
pack_columns(uint8_t *lines, const int8_t *levels, size_t in, size_t out)
{
	for (size_t j = 0; j < out; j++) {
		uint8_t *to = lines + j / 4 * 64 + j % 4;
		for (size_t c = 0; c < 16; c += 8) {
			uint64_t x = fields8(levels + j * in + c, 16);
			for (size_t i = 0; i < 8; i++)
				to[4 * (c + i)] = (uint8_t)(x >> 8 * i);
		}
	}
}

void
fast_linear_pack(
    void *packed, void *turned, const int8_t *levels, size_t in, size_t out)
{
	assert(in % LINEAR_DIMS_STEP == 0 && out % LINEAR_DIMS_STEP == 0);
#pragma omp parallel
	{
#pragma omp for schedule(static) nowait
		for (size_t j = 0; j < out; j += 64)
			pack_rows((uint8_t *)packed + j * in / 4, levels + j * in, in);
#pragma omp for schedule(static)
		for (size_t k = 0; k < in; k += 64)
			pack_columns(
			    (uint8_t *)turned + k * out / 4, levels + k, in, out);
	}
}

/* Tokens that a core takes at a time: their bytes stay in its cache. */
#define TOKENS 96

void
fast_linear_forward(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct linear_kernel *kernel = linear_best();

	assert(layer->form != LINEAR_FLOAT && out->then != LINEAR_TABLE);
#pragma omp parallel for schedule(dynamic)
	for (size_t t = 0; t < in->n; t += TOKENS) {
		struct linear_input some = *in;
		struct linear_output to = *out;
		some.n = in->n - t < TOKENS ? in->n - t : TOKENS;
		some.q += t * layer->in;
		some.scale += t;
		some.sum += t;
		to.y += t * out->stride;
		linear_forward(kernel, layer, &some, &to);
	}
}
