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

size_t
encoder_pieces_max(const struct encoder *encoder)
{
	return encoder->pieces_max;
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

/* sum (dims) := sum over the n pieces of scale * weight, in their order. */
static void
sum_pieces(float *sum, const struct encoder *encoder, const uint32_t *ids, size_t n)
{
	size_t dims = encoder->dims;

	memset(sum, 0, dims * sizeof *sum);
	for (size_t i = 0; i < n; i++) {
		const int8_t *row = encoder->weight + ids[i] * dims;
		float scale = encoder->scale[ids[i]];
		for (size_t d = 0; d < dims; d++)
			sum[d] += scale * (float)row[d];
	}
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
	sum_pieces(scratch->sum, encoder, ids.ids, ids.n);
	for (size_t d = 0; d < encoder->dims; d++)
		square += scratch->sum[d] * scratch->sum[d];
	if (!(square >= SQUARE_MIN))
		return error_set(err, ERR_INPUT,
		    "expected a text with a word that the model knows: none of its "
		    "%zu pieces has a meaning",
		    ids.n);
	float norm = sqrtf(square);
	for (size_t d = 0; d < encoder->dims; d++)
		out->vector[d] = scratch->sum[d] / norm;
	out->pieces = ids.n;
	out->truncated = ids.truncated;
	return 0;
}
