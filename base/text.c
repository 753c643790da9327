#include "base/text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/utf8.h"

void
text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

void
text_clear(struct text *text)
{
	text->n = 0;
	text->failed = false;
}

void
text_cut(struct text *text, size_t n)
{
	if (text->n <= n)
		return;
	text->n = n;
	text->bytes[n] = '\0';
}

char *
text_room(struct text *text, size_t n)
{
	if (text->failed || n >= SIZE_MAX / 2 - text->n) {
		text->failed = true;
		return NULL;
	}
	size_t need = text->n + n + 1;
	if (need > text->cap) {
		size_t cap = text->cap ? text->cap : 256;
		while (cap < need)
			cap *= 2;
		char *bytes = array_resize(text->bytes, cap, 1);
		if (!bytes) {
			text->failed = true;
			return NULL;
		}
		text->bytes = bytes;
		text->cap = cap;
	}
	return text->bytes + text->n;
}

void
text_bytes(struct text *text, const void *bytes, size_t n)
{
	char *room = text_room(text, n);
	if (!room)
		return;
	if (n)
		memcpy(room, bytes, n);
	text->n += n;
	text->bytes[text->n] = '\0';
}

void
text_string(struct text *text, const char *string)
{
	text_bytes(text, string, strlen(string));
}

void
text_printf(struct text *text, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	char *room = n < 0 ? NULL : text_room(text, (size_t)n);
	if (!room) {
		text->failed = true;
		return;
	}
	va_start(args, fmt);
	vsnprintf(room, (size_t)n + 1, fmt, args);
	va_end(args);
	text->n += (size_t)n;
}

void
text_json(struct text *text, const char *bytes, size_t n)
{
	text_bytes(text, "\"", 1);
	size_t from = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		size_t length = utf8_length(bytes + i, n - i);
		if (length && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
			i += length - 1;
			continue;
		}
		text_bytes(text, bytes + from, i - from);
		from = i + 1;
		if (length == 0)
			text_string(text, "\xEF\xBF\xBD"); /* U+FFFD */
		else if (c == '"' || c == '\\')
			text_printf(text, "\\%c", c);
		else if (c == '\n')
			text_string(text, "\\n");
		else if (c == '\t')
			text_string(text, "\\t");
		else
			text_printf(text, "\\u%04x", c);
	}
	text_bytes(text, bytes + from, n - from);
	text_bytes(text, "\"", 1);
}

void
text_base64(struct text *text, const void *bytes, size_t n)
{
	size_t length = base64_length(n);
	char *room = text_room(text, length);
	if (!room)
		return;
	base64_encode(room, bytes, n);
	room[length] = '\0';
	text->n += length;
}

void
text_segment(struct text *text, const char *name)
{
	for (const char *c = name; *c; c++) {
		if (isalnum((unsigned char)*c) || strchr("-._~", *c))
			text_bytes(text, c, 1);
		else
			text_printf(text, "%%%02X", (unsigned char)*c);
	}
}

void
text_float(struct text *text, float value)
{
	if (!isfinite(value)) {
		text_string(text, "null");
		return;
	}
	/* Nine digits always suffice; seven often do and read better. */
	char digits[32];
	for (int precision = 7; precision <= 9; precision++) {
		snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
		if (strtof(digits, NULL) == value)
			break;
	}
	text_string(text, digits);
}

void
text_double(struct text *text, double value)
{
	if (!isfinite(value)) {
		text_string(text, "null");
		return;
	}
	char digits[32];
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(digits, sizeof digits, "%.*g", precision, value);
		if (strtod(digits, NULL) == value)
			break;
	}
	text_string(text, digits);
}
