#include "attention/encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "base/alloc.h"

/* Sums whose squared length is below this are noise or nothing. */
#define SQUARE_MIN 1e-30f

size_t
encoder_dims(const struct encoder *encoder)
{
	return encoder->dims;
}

struct encoder_scratch *
encoder_scratch_new(const struct encoder *encoder, struct error *err)
{
	struct encoder_scratch *scratch = array_new(1, sizeof *scratch);

	if (!scratch)
		goto failed;
	scratch->ids = array_new(encoder->pieces_max, sizeof *scratch->ids);
	scratch->sum = array_new_aligned(encoder->dims, sizeof *scratch->sum);
	if (!scratch->ids || !scratch->sum)
		goto failed;
	return scratch;
failed:
	error_set(err, ERR_MEMORY, "no memory to embed texts of %zu pieces",
	    encoder->pieces_max);
	encoder_scratch_free(scratch);
	return NULL;
}

void
encoder_scratch_free(struct encoder_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->sum);
	free(scratch->ids);
	free(scratch);
}

/* Dimensions summed at a time: one cache line of a row, and a number the compiler
 * knows, so that it takes several at once.  Each dimension's sum stays in the order of
 * the pieces whatever it does. */
#define BLOCK 64

/* sum (n_dims <= BLOCK) := dimensions first .. first + n_dims - 1 of the sum over the n
 * pieces of scale * weight, in their order. */
static void
sum_block(float *sum, size_t first, size_t n_dims, const struct encoder *encoder,
    const struct wordpiece_ids *pieces)
{
	float part[BLOCK] = {0};

	for (size_t i = 0; i < pieces->n; i++) {
		uint32_t id = pieces->ids[i];
		const int8_t *row = encoder->weight + id * encoder->dims + first;
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

int
encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_output *out, const char *text, size_t n, struct error *err)
{
	struct wordpiece_ids ids = {scratch->ids, encoder->pieces_max, 0, false};
	float square = 0;

	if (n == 0)
		return error_set(err, ERR_INPUT, "expected a text, not an empty one");
	if (wordpiece_encode(encoder->wordpiece, &ids, text, n, err) != 0)
		return -1;
	for (size_t d = 0; d < encoder->dims; d += BLOCK) {
		size_t left = encoder->dims - d;
		sum_block(
		    scratch->sum + d, d, left < BLOCK ? left : BLOCK, encoder, &ids);
	}
	for (size_t d = 0; d < encoder->dims; d++)
		square += scratch->sum[d] * scratch->sum[d];
	if (!(square >= SQUARE_MIN))
		return error_set(err, ERR_INPUT,
		    "expected a text with a word that the model knows: none of its %zu "
		    "pieces has a meaning",
		    ids.n);
	float norm = sqrtf(square);
	for (size_t d = 0; d < encoder->dims; d++)
		out->vector[d] = scratch->sum[d] / norm;
	out->pieces = ids.n;
	out->truncated = ids.truncated;
	return 0;
}
