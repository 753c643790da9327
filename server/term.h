#ifndef SERVER_TERM_H
#define SERVER_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

/*
 * What payload indexes know a string by: its bytes; of more than TERM_BYTES_MAX the
 * first TERM_HEAD_BYTES and a hash of all as hexadecimal digits, because keys in LMDB
 * are short.  (The hash is 64-bit FNV-1a, base/hash.h: it guards against accident, not
 * malice.)
 *
 * Nothing allocates; any thread.
 */
#define TERM_BYTES_MAX 400
#define TERM_HEAD_BYTES 384

struct term {
	size_t n;
	char bytes[TERM_BYTES_MAX]; /* no '\0' is in them or behind them */
};

/* The term of a JSON_STRING, and of n bytes of UTF-8. */
void term_of(struct term *term, const struct json *string);
void term_of_bytes(struct term *term, const char *bytes, size_t n);

/* < 0, 0, > 0 as the bytes of a stand to those of b in the order of memcmp. */
int term_compare(const struct term *a, const struct term *b);

/*
 * The words of a JSON_STRING: runs of letters, marks and digits (Unicode categories L,
 * M and N), each code point in lower case, one after the other:
 *     struct term_words words = term_words(&string);
 *     while (term_next(&words, &term)) use(&term);
 */
struct term_words {
	struct json_pieces pieces;
};
struct term_words term_words(const struct json *string);
bool term_next(struct term_words *words, struct term *term);

#endif /* SERVER_TERM_H */
