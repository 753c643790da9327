#ifndef SERVER_API_VECTOR_H
#define SERVER_API_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "index/distance.h"
#include "server/api.h"
#include "server/api_chunk.h"
#include "server/api_texts.h"

/*
 * What stands where a vector belongs, turned into a code or a query.
 *
 *     [0.1, ...]                                  numbers, of the collection's size
 *     {"text": "...", "model": "static"}          embedded here; model is optional
 *                                                 where the collection has one; of a
 *                                                 document also "chunk": true
 *     {"object": {"b64": "..."}, "model": "codes"}    a code in the wire form; the
 *                                                 object may have "binarizer_id" (the
 *                                                 collection's; needed where it has
 *                                                 several, of which documents are of
 *                                                 the newest) and "norm" (of the
 * vector; else 1)
 *     {"object": {"b64": "..."}, "model": "float32"}  little-endian floats
 *     {"NAME": any of these}                      the collection's one vector by name
 *
 * Vectors of a Cosine collection are normalised first.  A vector that is zero has no
 * direction and is refused.
 *
 * A text takes two steps: it joins the request's texts, and when those are embedded it
 * is coded (api_coder_embedded, api_coder_embedded_query).  Vectors of documents wait
 * in the coder, to be coded together, which is faster (api_coder_code).
 *
 * A struct api_coder is one request's working memory for one collection: owner only.
 */
struct recurrent_numbers;
struct recurrent_scratch;

#define API_CODER_WAITING_MAX 24

struct api_coder {
	const struct api *api;
	const struct collection *collection;
	struct api_texts *texts;
	struct api_chunks *chunks; /* NULL: no text may be cut; the caller's to set */
	uint32_t planes;           /* of codes that queries read, 0 = all; likewise */
	float *vector;             /* the collection's size, or more */
	float *waiting;            /* (n_waiting, the collection's size) */
	size_t n_waiting;          /* .. API_CODER_WAITING_MAX */
	uint8_t *wire;             /* (code_bytes), of any version */
	uint8_t *levels;           /* (dims), of any version */
	int8_t *k;                 /* (dims), of any version */

	/* For each version of the collection's codes: of the model by which they are
	 * searched, and, where that is another, of the one that made them. */
	struct recurrent_scratch *searching[STORE_PARTS_MAX];
	struct recurrent_scratch *own[STORE_PARTS_MAX];
};

/* Texts join `texts`, which lives as long; NULL where none can come.  ERR_MEMORY.  Free
 * in any case. */
int api_coder_init(struct api_coder *coder, const struct api *api,
    const struct collection *collection, struct api_texts *texts, struct error *err);
void api_coder_free(struct api_coder *coder);

/* What is stored of a document. */
struct api_code {
	uint8_t *wire; /* (code_bytes), the caller's */
	float factor;
	float norm2;
};

/* What became of a document. */
enum api_document {
	API_DOCUMENT_CODE,   /* it was a code: in code->wire's memory, factor, norm2 */
	API_DOCUMENT_TEXT,   /* the last of coder->texts; chunked: its passages are, and
				of chunks */
	API_DOCUMENT_VECTOR, /* the last of those that wait */
};

/* One of these.  -1: ERR_INPUT, ERR_NOT_FOUND (no such model), ERR_TOO_LARGE (a text),
 * ERR_UNSUPPORTED (sparse, several vectors), ERR_MEMORY. */
int api_coder_document(struct api_coder *coder, struct api_code *code,
    const struct json *value, struct error *err);

/* Fill *code from the embedded text i. */
int api_coder_embedded(
    struct api_coder *coder, struct api_code *code, size_t i, struct error *err);

/* The same text's vector joins those that wait. */
int api_coder_embedded_waits(struct api_coder *coder, size_t i, struct error *err);

/* wires (n_waiting, code_bytes), numbers (n_waiting) := the codes of the vectors that
 * wait, of which none is left.  The number of those that were coded; if that is not
 * all, the next cannot be: ERR_INPUT. */
size_t api_coder_code(struct api_coder *coder, uint8_t *wires,
    struct recurrent_numbers *numbers, struct error *err);

/* queries (one for each version of the collection's codes) := what is looked for, in
 * the collection's code distance.  As above: 1 for a text. */
int api_coder_query(struct api_coder *coder, struct distance_query *queries,
    const struct json *value, struct error *err);
int api_coder_embedded_query(struct api_coder *coder, struct distance_query *queries,
    size_t i, struct error *err);

/* Make coder->vector as vectors of the collection are: of length 1 for Cosine.
 * ERR_INPUT: it is zero. */
int api_coder_normalise(struct api_coder *coder, struct error *err);

/* queries := coder->vector, which is so. */
int api_coder_vector(
    struct api_coder *coder, struct distance_query *queries, struct error *err);

/* A document as it is stored; borrowed. */
struct api_row {
	const uint8_t *wire; /* (code_bytes of its version) */
	float factor;
	float norm2;    /* |x|^2, of a Euclid collection */
	size_t version; /* of the collection's codes */
};

/* row->factor, norm2 := what is to be expected of a code that came without its vector,
 * whose length is `norm`. */
void api_coder_expect(struct api_coder *coder, struct api_row *row, float norm);

/* queries := a stored document as query (of a Hamming collection: beside codes of its
 * own version the code itself).  It is the best estimate of x that the code allows,
 *     q = mu + g Q^T v,   g = |x - mu|^2 / (f |Q^T v|^2)
 * in the terms of binarize/recurrent.h: not f, with which x would score against itself
 * by 1 / cos^2(x - mu, code) too much.  A document scores against its own code |x|^2;
 * exactly so of Cosine, where g is chosen for that.  Of Dot |x - mu| is not stored and
 * is taken as f |v| times the expected cosine.  Of an older version whose vectors were
 * others q is what its code decodes to, as long as x. */
int api_coder_stored(struct api_coder *coder, struct distance_query *queries,
    const struct api_row *row, struct error *err);

/* coder->vector := what a code says the vector was: that estimate, made as long as x
 * (Cosine: 1, Euclid: stored, Dot: estimated as above). */
void api_coder_decode(struct api_coder *coder, const struct api_row *row);

#endif /* SERVER_API_VECTOR_H */
