#ifndef CLIENT_BODY_H
#define CLIENT_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A text that grows: the body of a request while it is put together.
 *
 * When memory runs out `failed` is set, the rest is dropped, and the one check at
 * the end tells: callers need not look after every piece.  All zero is an empty
 * body; body_free releases it.  Owner only.
 */
struct body {
	char *text; /* '\0' behind it once something was added */
	size_t len;
	size_t cap;
	bool failed;
};

void body_free(struct body *body);

/* Start anew in the same memory. */
void body_clear(struct body *body);

/* Append n bytes, a string, or printf-formatted text. */
void body_bytes(struct body *body, const char *bytes, size_t n);
void body_text(struct body *body, const char *text);
void body_format(struct body *body, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Append n bytes of UTF-8 as a JSON string, quotes and escapes included. */
void body_json(struct body *body, const char *text, size_t n);

/* Append n bytes as base64, without quotes. */
void body_base64(struct body *body, const uint8_t *bytes, size_t n);

/* Append a name as one segment of a URL's path: all but letters, digits and "-._~"
 * as %XX. */
void body_segment(struct body *body, const char *name);

#endif /* CLIENT_BODY_H */
