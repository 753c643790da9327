#ifndef ATTENTION_WORDPIECE_H
#define ATTENTION_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/normalize.h"
#include "base/error.h"

/*
 * WordPiece: words to numbers of a vocabulary.
 *
 * A vocabulary is a text file, a piece a line; the line (from 0) is its id.  A piece
 * that starts with "##" continues a word.  A word (attention/normalize.h) is cut
 * greedily: the longest piece that starts it, then the longest "##" piece at what is
 * left, and so on; a word that cannot be cut to its end, or has more than
 * NORMALIZE_WORD_CHARS_MAX characters, is the one piece [UNK].
 *
 * The ids equal those of Hugging Face `tokenizers` 0.23.3 (WordPiece with its
 * defaults behind BertNormalizer and BertPreTokenizer), without special pieces and
 * without looking for such in the text.
 *
 * Source: Schuster & Nakajima, "Japanese and Korean Voice Search", ICASSP 2012;
 * Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805 (the greedy form).
 *
 * A vocabulary is immutable; any thread may read.
 */
#define WORDPIECE_PIECES_MAX 1000000
#define WORDPIECE_PIECE_BYTES_MAX 402 /* "##" and a word's 100 characters */

struct wordpiece;

/* Read the vocabulary at `path`; free with wordpiece_close.  NULL: ERR_NOT_FOUND,
 * ERR_IO, ERR_MEMORY, ERR_TOO_LARGE, or ERR_FORMAT with the line (from 1) of an empty,
 * overlong, repeated or not UTF-8 piece, or that [UNK] is missing. */
struct wordpiece *wordpiece_open(const char *path, struct error *err);
/* The same from n bytes of such a file, which are copied. */
struct wordpiece *wordpiece_new(const char *text, size_t n, struct error *err);
void wordpiece_close(struct wordpiece *wordpiece);

/* How many pieces there are. */
size_t wordpiece_size(const struct wordpiece *wordpiece);

/* *id := the piece written so in the vocabulary ("[CLS]", "##s"); false if there is
 * none. */
bool wordpiece_find(const struct wordpiece *wordpiece, const char *piece, uint32_t *id);

/* Where the ids go. */
struct wordpiece_ids {
	uint32_t *ids;  /* (cap), the caller's */
	size_t cap;     /* set by the caller; 0 is allowed */
	size_t n;       /* how many were written */
	size_t unknown; /* [UNK] among them */
	bool truncated; /* the text has more than cap */
};

/* The ids of the first pieces of n bytes of text, of any length.  ERR_INPUT if it is
 * not UTF-8 (with the byte's offset; the whole text is looked at).  Does not
 * allocate; linear in n times the longest piece. */
int wordpiece_encode(const struct wordpiece *wordpiece, struct wordpiece_ids *out,
    const char *text, size_t n, struct error *err);

/* The same of the text `prefix` (UTF-8, ends with '\0') and the n bytes as one text.
 * Offsets in errors are those in the n bytes. */
int wordpiece_encode_after(const struct wordpiece *wordpiece, struct wordpiece_ids *out,
    const char *prefix, const char *text, size_t n, struct error *err);

/* How many pieces the word has that normalize_next found: at least 1, at most
 * NORMALIZE_WORD_CHARS_MAX. */
size_t wordpiece_count(
    const struct wordpiece *wordpiece, const struct normalize *words);

#endif /* ATTENTION_WORDPIECE_H */
