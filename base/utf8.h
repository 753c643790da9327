#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* What is UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing over
 * U+10FFFF).  Any thread may call. */

/* The sequence length that a lead byte over 0x7F announces, and the range of the byte
 * after it; 0 for a byte that begins none. */
static inline size_t
utf8_lead(unsigned char c, unsigned char *low, unsigned char *high)
{
	*low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
	*high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
	if (c >= 0xC2 && c <= 0xDF)
		return 2;
	if (c >= 0xE0 && c <= 0xEF)
		return 3;
	return c >= 0xF0 && c <= 0xF4 ? 4 : 0;
}

/* The length of the character at the front of n > 0 bytes; 0 if there is none. */
static inline size_t
utf8_length(const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;
	unsigned char low, high;
	if (p[0] < 0x80)
		return 1;
	size_t length = utf8_lead(p[0], &low, &high);
	if (length > n)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xBF;
	}
	return length;
}

#endif /* BASE_UTF8_H */
