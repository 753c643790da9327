#ifndef ATTENTION_CONVERT_H
#define ATTENTION_CONVERT_H

#include <stdbool.h>
#include <stddef.h>

#include "attention/linear.h"
#include "base/error.h"

/*
 * A Hugging Face model of the BERT family (all-MiniLM-L6-v2, bge-small-en-v1.5,
 * e5-small-v2, snowflake-arctic-embed-xs, ...) made into one that encoder_open takes.
 *
 * Read are config.json, vocab.txt (or, where there is none, the same from
 * tokenizer.json), model.safetensors (float32, float16 or bfloat16;
 * names with or without "bert."), and, where they are there, modules.json,
 * sentence_bert_config.json, 1_Pooling/config.json, config_sentence_transformers.json
 * (prompts) and tokenizer_config.json.  What the reference would do differently from
 * us (another activation, cased vocabulary, relative positions, a dense layer behind
 * the pooling, ...) is refused by name.
 */
#define CONVERT_PREFIX_MAX 1000 /* bytes of a prefix */

struct convert_options {
	const char *from;        /* the folder */
	const char *output;      /* made if it is not there; replaced file by file */
	enum linear_form layers; /* LINEAR_INT8 or LINEAR_FLOAT */
	const char *pooling;     /* "mean", "cls", or NULL: what the model says */
	const char *query_prefix, *document_prefix; /* NULL: what the model says */
};

/* What was made, for a line to the user. */
struct convert_summary {
	size_t layers, dims, vocabulary;
	size_t pieces_max; /* of a text that count, [CLS] and [SEP] among them */
	bool cls;          /* pooling of [CLS], else the mean */
	bool normalized;   /* the source too says that its embeddings have length 1 */
	char query_prefix[CONVERT_PREFIX_MAX + 1];
	char document_prefix[CONVERT_PREFIX_MAX + 1];
};

/* ERR_INPUT (an option), ERR_NOT_FOUND, ERR_IO, ERR_FULL, ERR_MEMORY, ERR_FORMAT (a
 * file is not what it should be), ERR_UNSUPPORTED (not a model of this family, naming
 * what differs). */
int convert_model(struct convert_summary *summary,
    const struct convert_options *options, struct error *err);

#endif /* ATTENTION_CONVERT_H */
