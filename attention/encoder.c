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

const char *
encoder_coordinates(const struct encoder *encoder)
{
	return encoder->coordinates;
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

/* sum (n_dims <= BLOCK) := dimensions first .. first + n_dims - 1 of the sum over the
 * item's pieces of scale * weight, in their order. */
static void
sum_block(float *sum, size_t first, size_t n_dims, const struct encoder *encoder,
    const struct encoder_item *item)
{
	float part[BLOCK] = {0};

	for (size_t i = 0; i < item->n; i++) {
		uint32_t id = item->ids[i];
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

/* Add up the rows of one item. */
static void
run_item(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *item)
{
	float square = 0;

	for (size_t d = 0; d < encoder->dims; d += BLOCK) {
		size_t left = encoder->dims - d;
		sum_block(
		    scratch->sum + d, d, left < BLOCK ? left : BLOCK, encoder, item);
	}
	for (size_t d = 0; d < encoder->dims; d++)
		square += scratch->sum[d] * scratch->sum[d];
	item->failed = !(square >= SQUARE_MIN);
	if (item->failed)
		return;
	float norm = sqrtf(square);
	for (size_t d = 0; d < encoder->dims; d++)
		item->vector[d] = scratch->sum[d] / norm;
}

int
encoder_tokenize(const struct encoder *encoder, struct encoder_pieces *out,
    enum encoder_role role, const char *text, size_t n, struct error *err)
{
	size_t max = encoder->pieces_max;
	struct wordpiece_ids ids = {.ids = out->ids, .cap = out->cap};

	(void)role;
	if (ids.cap > max)
		ids.cap = max;
	if (n == 0)
		return error_set(err, ERR_INPUT, "expected a text, not an empty one");
	if (wordpiece_encode(encoder->wordpiece, &ids, text, n, err) != 0)
		return -1;
	out->n = ids.n;
	out->unknown = ids.unknown;
	out->truncated = ids.truncated;
	return 0;
}

void
encoder_run(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run_item(encoder, scratch, &items[i]);
}

int
encoder_failure(size_t n, struct error *err)
{
	return error_set(err, ERR_INPUT,
	    "expected a text with a word that the model knows: none of its %zu pieces "
	    "has a meaning",
	    n);
}

int
encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_output *out, enum encoder_role role, const char *text, size_t n,
    struct error *err)
{
	struct encoder_pieces pieces = {
	    .ids = scratch->ids, .cap = encoder->pieces_max};
	struct encoder_item item = {.ids = scratch->ids, .vector = out->vector};

	if (encoder_tokenize(encoder, &pieces, role, text, n, err) != 0)
		return -1;
	item.n = pieces.n;
	encoder_run(encoder, scratch, &item, 1);
	if (item.failed)
		return encoder_failure(pieces.n, err);
	out->pieces = pieces.n;
	out->unknown = pieces.unknown;
	out->truncated = pieces.truncated;
	return 0;
}
