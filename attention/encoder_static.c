#include "attention/encoder.h"

#include <math.h>
#include <string.h>

#include "attention/encoder_model.h"

/* Sums whose squared length is below this are noise or nothing. */
#define SQUARE_MIN 1e-30f

/* Dimensions summed at a time: one cache line of a row, and a number the compiler
 * knows, so that it takes several at once.  Each dimension's sum stays in the order of
 * the pieces whatever it does. */
#define BLOCK 64

/* sum (n_dims <= BLOCK) := dimensions first .. first + n_dims - 1 of the sum over the
 * item's pieces of scale * weight, in their order. */
static void
sum_block(float *sum, size_t first, size_t n_dims, const struct encoder *encoder,
    const struct encoder_item *item)
{
	float part[BLOCK] = {0};

	for (size_t i = 0; i < item->n; i++) {
		uint32_t id = item->ids[i];
		const int8_t *row = encoder->weight + id * encoder->config.dims + first;
		float scale = encoder->scale[id];
		if (n_dims == BLOCK)
			for (size_t d = 0; d < BLOCK; d++)
				part[d] += scale * (float)row[d];
		else
			for (size_t d = 0; d < n_dims; d++)
				part[d] += scale * (float)row[d];
	}
	memcpy(sum, part, n_dims * sizeof *sum);
}

void
encoder_static_run(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *item)
{
	float square = 0;

	for (size_t d = 0; d < encoder->config.dims; d += BLOCK) {
		size_t left = encoder->config.dims - d;
		sum_block(
		    scratch->sum + d, d, left < BLOCK ? left : BLOCK, encoder, item);
	}
	for (size_t d = 0; d < encoder->config.dims; d++)
		square += scratch->sum[d] * scratch->sum[d];
	item->failed = !(square >= SQUARE_MIN);
	if (item->failed)
		return;
	float norm = sqrtf(square);
	for (size_t d = 0; d < encoder->config.dims; d++)
		item->vector[d] = scratch->sum[d] / norm;
}
