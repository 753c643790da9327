#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <stdbool.h>

#include "base/json.h"

/* What the parts of json.h share: the smallest steps through a text.  Internal to
 * base/json*.c; any thread may call. */

/* The first byte of p .. end that is no white space. */
static inline const char *
json_text_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* 0 .. 15, or -1 for a character that is no hex digit. */
static inline int
json_text_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The type of the value that begins with this character. */
static inline enum json_type
json_text_type(char first)
{
	switch (first) {
	case 'n':
		return JSON_NULL;
	case 'f':
		return JSON_FALSE;
	case 't':
		return JSON_TRUE;
	case '"':
		return JSON_STRING;
	case '[':
		return JSON_ARRAY;
	case '{':
		return JSON_OBJECT;
	default:
		return JSON_NUMBER;
	}
}

/* Whether the number in start .. end (of the right grammar) rounds to a finite
 * double. */
bool json_text_finite(const char *start, const char *end);

#endif /* BASE_JSON_TEXT_H */
