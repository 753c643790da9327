#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A text that grows: a body, a header or a line while it is written.
 *
 * Start from {0}.  A failed allocation is remembered in `failed` and everything
 * after it does nothing, so a writer checks once, at the end.  Owner only.
 */
struct text {
	char *bytes; /* n bytes and a '\0'; NULL while empty */
	size_t n;
	size_t cap;
	bool failed;
};

/* Free the bytes and start from {0} again. */
void text_free(struct text *text);

/* Start anew in the same memory. */
void text_clear(struct text *text);

/* Take off what is behind the first n bytes. */
void text_cut(struct text *text, size_t n);

/* Append n bytes, a C string, a printf-formatted text. */
void text_bytes(struct text *text, const void *bytes, size_t n);
void text_string(struct text *text, const char *string);
void text_printf(struct text *text, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Append n bytes of UTF-8 as a JSON string with its quotes; what is no UTF-8 becomes
 * U+FFFD, so that the string is JSON whatever came. */
void text_json(struct text *text, const char *bytes, size_t n);

/* Append n bytes as base64, without quotes. */
void text_base64(struct text *text, const void *bytes, size_t n);

/* Append a name as one segment of a URL's path: all but letters, digits and "-._~"
 * as %XX. */
void text_segment(struct text *text, const char *name);

/* Append a number that reads back as exactly this one; null unless finite. */
void text_float(struct text *text, float value);
void text_double(struct text *text, double value);

/* n bytes of room at the end, to be filled by the caller, who must then add what it
 * filled to text->n; NULL if memory is short. */
char *text_room(struct text *text, size_t n);

#endif /* BASE_TEXT_H */
