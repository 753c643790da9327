#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Base64 of RFC 4648 section 4, with padding.  Any thread may call. */

/* Characters that n bytes become (without a '\0'). */
static inline size_t
base64_length(size_t n)
{
	return (n + 2) / 3 * 4;
}

/* text (base64_length(n), no '\0') := n bytes. */
void base64_encode(char *text, const uint8_t *bytes, size_t n);

/* bytes (want) := the text of n characters, which must hold exactly `want` bytes.
 * ERR_INPUT says what the text holds instead. */
int base64_decode(
    uint8_t *bytes, size_t want, const char *text, size_t n, struct error *err);

/* How many bytes a text of n characters holds by its length and padding. */
size_t base64_bytes(const char *text, size_t n);

#endif /* BASE_BASE64_H */
