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
 * vocab.txt (docs/formats.md says what must be in them).  There are two kinds:
 *
 * "halftone-static" has no layers: with the pieces t_1 .. t_n of the text,
 *
 *     e = sum_i scale[t_i] * weight[t_i],    embedding = e / |e|
 *
 * in float32, the sum in the order of the pieces, the norm in the order of the
 * dimensions.  "halftone-encoder" is a transformer (attention/transformer.h) over
 * [CLS], the pieces, [SEP].  Either way the same text gives the same bits on every
 * machine, whatever is embedded beside it.
 *
 * Embedding has two steps, so that the texts of many requests can share a pass:
 * encoder_tokenize (may refuse a text), then encoder_run over any number of them.
 * encoder_embed does both for one text.
 *
 * An encoder is immutable: any thread may use it, each with its own scratch.
 */
#define ENCODER_DIMS_MAX 4096
#define ENCODER_PIECES_MAX 65536   /* the largest max_position_embeddings of a static */
#define ENCODER_SCALE_MAX 1e6f     /* of a row; keeps every sum finite */
#define ENCODER_COORDINATES_MAX 80 /* bytes */

struct encoder;
struct encoder_scratch;

/* Open the model in the folder `dir`; free with encoder_close, after the last
 * scratch.  NULL: ERR_NOT_FOUND, ERR_IO, ERR_MEMORY, ERR_FORMAT (naming file,
 * expected and found), ERR_UNSUPPORTED for a kind, form or version this program
 * lacks. */
struct encoder *encoder_open(const char *dir, struct error *err);
void encoder_close(struct encoder *encoder);

/* Length of an embedding. */
size_t encoder_dims(const struct encoder *encoder);

/* Pieces of a text that count at most, [CLS] and [SEP] among them. */
size_t encoder_pieces_max(const struct encoder *encoder);

/* Pieces that make a turn where texts of several clients or models wait: more where a
 * piece is cheaper (a static model's costs a hundredth of a transformer's at most), so
 * that turns of two models do not differ as their pieces do. */
size_t encoder_turn(const struct encoder *encoder);

/* The name of the space that the embeddings live in ("coordinates" in config.json):
 * models that share it can be mixed.  "" where the model does not say.  Valid while
 * the encoder is. */
const char *encoder_coordinates(const struct encoder *encoder);

/* What a text is: some models were trained with words put before it. */
enum encoder_role {
	ENCODER_PLAIN,    /* the text alone */
	ENCODER_QUERY,    /* after the model's query_prefix */
	ENCODER_DOCUMENT, /* after its document_prefix */
};

/* A text as pieces.  The caller sets ids and cap: encoder_pieces_max, or fewer (but 2
 * or more) to cut there. */
struct encoder_pieces {
	uint32_t *ids; /* (cap), the caller's */
	size_t cap;
	size_t n;       /* how many there are, [CLS] and [SEP] and prefix included */
	size_t unknown; /* [UNK] among them */
	bool truncated; /* the text has more */
};

/* Fill *out from n bytes of UTF-8.  ERR_INPUT: the text is empty, or not UTF-8 (with
 * the byte's offset).  Does not allocate. */
int encoder_tokenize(const struct encoder *encoder, struct encoder_pieces *out,
    enum encoder_role role, const char *text, size_t n, struct error *err);

/* Working memory for one thread and this encoder; free with encoder_scratch_free.
 * NULL: ERR_MEMORY. */
struct encoder_scratch *encoder_scratch_new(
    const struct encoder *encoder, struct error *err);
void encoder_scratch_free(struct encoder_scratch *scratch);

struct encoder_item {
	const uint32_t *ids; /* (n) from encoder_tokenize of this encoder */
	size_t n;
	float *vector; /* (dims), the caller's; its length becomes 1 */
	bool failed;   /* set: the pieces have no meaning for the model */
};

/* Embed n items: in passes over as many pieces as the caches take, in their order.
 * Where an item fails, its vector is as it was.  Does not allocate. */
void encoder_run(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_item *items, size_t n);

/* *err := why an item of n pieces failed in this encoder; returns -1.  ERR_INPUT: a
 * static model knows none of the pieces; ERR_FORMAT: the numbers of a transformer are
 * not finite, or all zero. */
int encoder_failure(const struct encoder *encoder, size_t n, struct error *err);

struct encoder_output {
	float *vector;  /* (dims), the caller's; after success its length is 1 */
	size_t pieces;  /* how many pieces of the text counted */
	size_t unknown; /* [UNK] among them */
	bool truncated; /* the text has more */
};

/* Embed n bytes of UTF-8.  As encoder_tokenize and encoder_failure.  Does not
 * allocate. */
int encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch,
    struct encoder_output *out, enum encoder_role role, const char *text, size_t n,
    struct error *err);

#endif /* ATTENTION_ENCODER_H */
