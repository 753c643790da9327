#ifndef ATTENTION_NORMALIZE_H
#define ATTENTION_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Text to the words of BERT's uncased models, one after the other.
 *
 * The stages of the reference, in its order: drop control characters; white space
 * becomes a space; CJK ideographs stand alone; canonical decomposition (NFD) with
 * canonical order; nonspacing marks are dropped; lower case, one code point at a
 * time; words end at white space, and a punctuation character is a word of its own.
 *
 * The reference is Hugging Face `tokenizers` 0.23.3 (BertNormalizer, then
 * BertPreTokenizer), and the words equal its words on all input, for utf8proc with
 * Unicode 15.0, 15.1 or 17.0: its tables are of several Unicode versions (8 for
 * categories, 9 for combining classes, 17 for case), so normalize_table.c names
 * every code point for which they and utf8proc disagree.  Text is text: "[SEP]" in
 * it is three words, never the special piece.
 *
 * Nothing here allocates.  A struct normalize is its owner's; any number of threads
 * may each have one.
 */
#define NORMALIZE_WORD_CHARS_MAX 100
#define NORMALIZE_WORD_BYTES_MAX (4 * NORMALIZE_WORD_CHARS_MAX)

enum normalize_kind {
	NORMALIZE_DROP,        /* left out: a control character, U+FFFD */
	NORMALIZE_SPACE,       /* ends a word */
	NORMALIZE_PUNCTUATION, /* a word of its own */
	NORMALIZE_MARK,        /* left out after it took part in canonical order */
	NORMALIZE_LETTER,      /* everything else */
};

/* A code point on its way into a word. */
struct normalize_point {
	uint32_t code;
	enum normalize_kind kind;
	uint32_t combining; /* canonical combining class; 0 = a starter */
};

/* One code point becomes at most 4 by decomposition, and an ideograph gets a space
 * on each side. */
#define NORMALIZE_POINTS_MAX 6

struct normalize {
	/* The word that normalize_next found. */
	char word[NORMALIZE_WORD_BYTES_MAX]; /* UTF-8, no '\0' */
	size_t word_bytes;
	size_t word_chars;
	bool too_long; /* over NORMALIZE_WORD_CHARS_MAX; then `word` says nothing */
	const char
	    *word_start; /* the code point of the text that it begins with: a text
			    that is cut there has the same words on both sides */

	/* Where it stands: private. */
	const unsigned char *from; /* the code point whose points wait */
	const unsigned char *at;
	const unsigned char *end;
	const unsigned char *then; /* the text behind it */
	const unsigned char *then_end;
	size_t ordered; /* bytes of the word that no further mark is put into */
	struct normalize_point points[NORMALIZE_POINTS_MAX];
	size_t next_point;
	size_t n_points;
};

/* 0 if the n bytes are UTF-8 (no surrogates, nothing overlong, at most U+10FFFF);
 * ERR_INPUT with the offset of the first byte that is not. */
int normalize_check(const char *text, size_t n, struct error *err);

/* Start at the first of n bytes, which have passed normalize_check; the text is
 * borrowed until the last normalize_next. */
void normalize_init(struct normalize *words, const char *text, size_t n);

/* Go on behind the text of normalize_init with n more bytes, which have passed
 * normalize_check, as if the two were one text; called before the first
 * normalize_next. */
void normalize_then(struct normalize *words, const char *text, size_t n);

/* Find the next word; false at the end of the text. */
bool normalize_next(struct normalize *words);

/* points (NORMALIZE_POINTS_MAX) := what one code point becomes before canonical
 * order; returns how many, 0 for one that is dropped. */
size_t normalize_expand(struct normalize_point *points, uint32_t code);

#endif /* ATTENTION_NORMALIZE_H */
