#ifndef ATTENTION_TRANSFORMER_H
#define ATTENTION_TRANSFORMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/hash.h"
#include "attention/linear.h"
#include "attention/rows.h"
#include "base/error.h"

/*
 * The layers of a BERT-shaped encoder over the pieces of several texts at once.
 *
 *     x = LN(token[t] + position[i])
 *     for each layer:
 *         x = LN(x + output(context_norm(attention(query x, key x, value x))))
 *         x = LN(x + down(inner_norm(gelu(up x))))
 *     embedding = unit(mean of x over the text's pieces, or x of its first piece)
 *
 * The pieces of all texts of a pass stand one after the other (a ragged batch): linear
 * layers see them as one matrix, attention sees one text at a time, and nothing is
 * padded.  A text's embedding does not depend on the texts beside it, bit for bit.
 *
 * Sources: Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805; Wang et al.,
 * "Foundation Transformers", arXiv:2210.06423 (norms inside a sub-layer).
 *
 * A struct transformer is plain memory and borrows what it points to; any thread may
 * run it, each with its own scratch.
 */
#define TRANSFORMER_LAYERS_MAX 64

enum transformer_table { TRANSFORMER_FLOAT, TRANSFORMER_INT8, TRANSFORMER_INT4 };
enum transformer_pooling { TRANSFORMER_MEAN, TRANSFORMER_CLS };

struct transformer_layer {
	struct linear query, key, value, output, up, down;
	bool softmax;           /* else hash */
	bool shared;            /* hash: no key matrix, keys are the queries */
	struct hash hash;       /* parameters, borrowed */
	struct hash_plan *plan; /* hash: owned by whoever made the transformer */
	/* (dims) what each number is multiplied by before query, key and value, or up,
	 * take it as a byte; NULL: 1.  Their columns were divided by it, so that a few
	 * dimensions of large numbers do not cost the others their bits (Xiao et al.,
	 * "SmoothQuant", ICML 2023, arXiv:2211.10438). */
	const float *attention_smooth, *feed_forward_smooth;
	struct rows_norm attention_norm, feed_forward_norm;
	struct rows_norm context_norm, inner_norm; /* weight NULL: none; RMS */
	const int8_t *gelu_table;                  /* (256), or NULL: exact GELU */
	float gelu_scale[2];                       /* of the table's index, its value */
};

struct transformer {
	size_t dims, inner, heads, vocabulary;
	size_t positions; /* rows of `position` */
	enum transformer_table token_form;
	const void *token;        /* (vocabulary, dims) floats, bytes, or nibbles */
	const float *token_scale; /* (vocabulary); int8 and int4 */
	const float *position;    /* (positions, dims), token type 0 added */
	struct rows_norm embedding_norm;
	enum transformer_pooling pooling;
	size_t n_layers;
	struct transformer_layer *layers;
};

/* Pieces in a pass at most: the longest text. */
#define TRANSFORMER_PASS 512

struct transformer_scratch;
struct transformer_scratch *transformer_scratch_new(
    const struct transformer *transformer, struct error *err);
void transformer_scratch_free(struct transformer_scratch *scratch);

/* Texts of a pass: text i has pieces ids[start[i]] .. ids[start[i + 1] - 1], at least
 * one; start[0] = 0, start[n] <= TRANSFORMER_PASS. */
struct transformer_batch {
	const uint32_t *ids;
	const size_t *start; /* (n + 1) */
	size_t n;
};

/* What is told on the way; either may be NULL. */
struct transformer_trace {
	/* Called with the hash codes of each hash layer before they are used, and free
	 * to change them; for tests.  codes (n, heads) of the pass; queries, then keys
	 * unless shared. */
	void (*codes)(
	    void *context, size_t layer, bool keys, uint32_t *codes, size_t n);

	/* Called with what query, key and value of a layer take, then with what its up
	 * takes: x (n, dims) of the pass. */
	void (*rows)(
	    void *context, size_t layer, bool feed_forward, const float *x, size_t n);
	void *context;
};

/* vectors[i] (dims) := the embedding of text i, of length 1; ok[i] := false where the
 * numbers have no direction (not finite, or all zero) and vectors[i] is as it was.
 * trace may be NULL.  Does not allocate. */
void transformer_run(const struct transformer *transformer,
    struct transformer_scratch *scratch, const struct transformer_batch *batch,
    float *const *vectors, bool *ok, const struct transformer_trace *trace);

#endif /* ATTENTION_TRANSFORMER_H */
