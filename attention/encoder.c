#include "attention/encoder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "base/alloc.h"

/* [CLS] and [SEP] */
#define ENDS 2

/* Pieces that a pass is filled up to; a text that is longer has one of its own.
 * Measured with the shape of MiniLM and 1 MiB of second cache: 256 and 512 are 2 and 6
 * % slower. */
#define PASS_FULL 128
_Static_assert(PASS_FULL <= TRANSFORMER_PASS, "a full pass is a pass");

size_t
encoder_dims(const struct encoder *encoder)
{
	return encoder->config.dims;
}

size_t
encoder_pieces_max(const struct encoder *encoder)
{
	return encoder->config.pieces_max;
}

size_t
encoder_turn(const struct encoder *encoder)
{
	return encoder->config.kind == ENCODER_STATIC ? 16384 : 256;
}

const char *
encoder_coordinates(const struct encoder *encoder)
{
	return encoder->config.coordinates;
}

/* What only a transformer needs. */
static int
scratch_layers(
    struct encoder_scratch *s, const struct encoder *encoder, struct error *err)
{
	s->transformer = transformer_scratch_new(&encoder->transformer, err);
	if (!s->transformer)
		return -1;
	s->pass_ids = array_new(TRANSFORMER_PASS, sizeof *s->pass_ids);
	s->start = array_new(TRANSFORMER_PASS + 1, sizeof *s->start);
	s->vectors = array_new(TRANSFORMER_PASS, sizeof *s->vectors);
	s->ok = array_new(TRANSFORMER_PASS, sizeof *s->ok);
	if (!s->pass_ids || !s->start || !s->vectors || !s->ok)
		return error_set(err, ERR_MEMORY, "no memory for a pass of %d pieces",
		    TRANSFORMER_PASS);
	return 0;
}

struct encoder_scratch *
encoder_scratch_new(const struct encoder *encoder, struct error *err)
{
	const struct encoder_config *config = &encoder->config;
	struct encoder_scratch *scratch = array_new(1, sizeof *scratch);

	if (!scratch) {
		error_set(err, ERR_MEMORY, "no memory to embed texts");
		return NULL;
	}
	scratch->ids = array_new(config->pieces_max, sizeof *scratch->ids);
	scratch->sum = array_new_aligned(config->dims, sizeof *scratch->sum);
	if (!scratch->ids || !scratch->sum) {
		error_set(err, ERR_MEMORY, "no memory to embed texts of %zu pieces",
		    config->pieces_max);
		goto failed;
	}
	if (config->kind == ENCODER_LAYERS &&
	    scratch_layers(scratch, encoder, err) != 0)
		goto failed;
	return scratch;
failed:
	encoder_scratch_free(scratch);
	return NULL;
}

void
encoder_scratch_free(struct encoder_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->ok);
	free(scratch->vectors);
	free(scratch->start);
	free(scratch->pass_ids);
	transformer_scratch_free(scratch->transformer);
	free(scratch->sum);
	free(scratch->ids);
	free(scratch);
}

static const char *
prefix_of(const struct encoder *encoder, enum encoder_role role)
{
	switch (role) {
	case ENCODER_QUERY:
		return encoder->config.query_prefix;
	case ENCODER_DOCUMENT:
		return encoder->config.document_prefix;
	default: /* ENCODER_PLAIN */
		return "";
	}
}

int
encoder_tokenize(const struct encoder *encoder, struct encoder_pieces *out,
    enum encoder_role role, const char *text, size_t n, struct error *err)
{
	const size_t max = encoder->config.pieces_max;
	const bool ends = encoder->config.kind == ENCODER_LAYERS;
	struct wordpiece_ids ids = {
	    .ids = out->ids, .cap = out->cap < max ? out->cap : max};

	if (n == 0)
		return error_set(err, ERR_INPUT, "expected a text, not an empty one");
	if (ends) {
		assert(ids.cap >= ENDS);
		ids.ids++;
		ids.cap -= ENDS;
	}
	if (wordpiece_encode_after(
		encoder->wordpiece, &ids, prefix_of(encoder, role), text, n, err) != 0)
		return -1;
	out->n = ids.n;
	out->unknown = ids.unknown;
	out->truncated = ids.truncated;
	if (ends) {
		out->ids[0] = encoder->cls;
		out->ids[ids.n + 1] = encoder->sep;
		out->n += ENDS;
	}
	return 0;
}

/* Embed the first items of n in one pass; returns how many.  At least one is. */
static size_t
run_pass(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *items, size_t n)
{
	size_t k = 0, pieces = 0;

	for (; k < n && (k == 0 || pieces + items[k].n <= PASS_FULL); k++) {
		assert(items[k].n >= 1 && items[k].n <= encoder->config.pieces_max);
		memcpy(scratch->pass_ids + pieces, items[k].ids,
		    items[k].n * sizeof *items[k].ids);
		scratch->start[k] = pieces;
		scratch->vectors[k] = items[k].vector;
		pieces += items[k].n;
	}
	scratch->start[k] = pieces;
	const struct transformer_batch batch = {scratch->pass_ids, scratch->start, k};
	transformer_run(&encoder->transformer, scratch->transformer, &batch,
	    scratch->vectors, scratch->ok, NULL);
	for (size_t i = 0; i < k; i++)
		items[i].failed = !scratch->ok[i];
	return k;
}

void
encoder_run(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *items, size_t n)
{
	if (encoder->config.kind == ENCODER_STATIC)
		for (size_t i = 0; i < n; i++)
			encoder_static_run(encoder, scratch, &items[i]);
	else
		for (size_t i = 0; i < n;)
			i += run_pass(encoder, scratch, items + i, n - i);
}

int
encoder_failure(const struct encoder *encoder, size_t n, struct error *err)
{
	if (encoder->config.kind == ENCODER_LAYERS)
		return error_set(err, ERR_FORMAT,
		    "the model's numbers for this text of %zu pieces have no direction "
		    "(they are not finite, or all zero): its weights are damaged; "
		    "export or convert it again",
		    n);
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
	    .ids = scratch->ids, .cap = encoder->config.pieces_max};
	struct encoder_item item = {.ids = scratch->ids, .vector = out->vector};

	if (encoder_tokenize(encoder, &pieces, role, text, n, err) != 0)
		return -1;
	item.n = pieces.n;
	encoder_run(encoder, scratch, &item, 1);
	if (item.failed)
		return encoder_failure(encoder, pieces.n, err);
	out->pieces = pieces.n;
	out->unknown = pieces.unknown;
	out->truncated = pieces.truncated;
	return 0;
}
