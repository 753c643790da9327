#ifndef ATTENTION_ENCODER_H
#define ATTENTION_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Text to an embedding.
 *
 * A model is a folder in Hugging Face's form: config.json, model.safetensors and
 * vocab.txt (docs/formats.md says what must be in them).  Today's kind has no layers
 * ("halftone-static"): with the pieces t_1 .. t_n of the text,
 *
 *     e = sum_i scale[t_i] * weight[t_i],    embedding = e / |e|
 *
 * in float32, the sum in the order of the pieces, the norm in the order of the
 * dimensions, so the same text gives the same bits on every machine.
 *
 * An encoder is immutable: any thread may embed, each with its own scratch.
 */
#define ENCODER_DIMS_MAX 4096
#define ENCODER_PIECES_MAX 65536 /* the largest max_position_embeddings */
#define ENCODER_SCALE_MAX 1e6f   /* of a row; keeps every sum finite */

struct encoder;
struct encoder_scratch;

/* Open the model in the folder `dir`; free with encoder_close, after the last
 * scratch.  NULL: ERR_NOT_FOUND, ERR_IO, ERR_MEMORY, ERR_FORMAT (naming file,
 * expected and found), ERR_UNSUPPORTED for a kind or version this program lacks. */
struct encoder *encoder_open(const char *dir, struct error *err);
void encoder_close(struct encoder *encoder);

/* Length of an embedding. */
size_t encoder_dims(const struct encoder *encoder);

/* Working memory for one thread and this encoder; free with encoder_scratch_free.
 * NULL: ERR_MEMORY. */
struct encoder_scratch *encoder_scratch_new(
    const struct encoder *encoder, struct error *err);
void encoder_scratch_free(struct encoder_scratch *scratch);

struct encoder_output {
	float *vector;  /* (dims), the caller's; after success its length is 1 */
	size_t pieces;  /* how many pieces of the text counted */
	bool truncated; /* the text has more */
};

/* Embed n bytes of UTF-8.  ERR_INPUT: the text is empty, not UTF-8 (with the byte's
 * offset), or has no piece that this model gives a meaning.  Does not allocate. */
int encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_output *out, const char *text, size_t n, struct error *err);

#endif /* ATTENTION_ENCODER_H */
