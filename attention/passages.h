#ifndef ATTENTION_PASSAGES_H
#define ATTENTION_PASSAGES_H

#include <stddef.h>

#include "attention/encoder.h"
#include "base/error.h"

/*
 * A long text as overlapping passages that an encoder takes whole.
 *
 *     text       |--------------------------------------------|
 *     passages   |--------------|
 *                           |--------------|
 *                                     |----------------|
 *
 * With room for B pieces of text in an encoding (encoder_pieces_max less [CLS], [SEP]
 * and the role's prefix): a passage is as many whole words as have at most B pieces,
 * but it ends with a sentence where one ends in its last quarter.  The next one begins
 * at most B / 4 pieces before that end: with a sentence where one begins in the first
 * half of these, else with a word.  A sentence ends with a full stop, question or
 * exclamation mark (closing quotes and brackets may follow) before white space, with an
 * ideographic one, or with an empty line.
 *
 * Every word is in a passage, with the pieces that it has in the whole text.  A word of
 * more than B pieces is a passage of its own, which the encoder truncates.  A text of
 * at most B pieces is one passage.
 *
 * Nothing here allocates; linear in the text.  Any thread.
 */
struct passage {
	size_t start, end; /* bytes start .. end - 1, without white space around them */
};

/* Where the passages go. */
struct passages {
	struct passage *items; /* (cap), the caller's */
	size_t cap;            /* set by the caller, at least 1 */
	size_t n;              /* how many there are */
};

/* Cut n bytes of UTF-8.  ERR_INPUT: the text is empty, or not UTF-8 (with the byte's
 * offset); ERR_TOO_LARGE: it has more than cap passages. */
int passages_cut(const struct encoder *encoder, struct passages *out,
    enum encoder_role role, const char *text, size_t n, struct error *err);

#endif /* ATTENTION_PASSAGES_H */
