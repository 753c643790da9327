#include "client/body.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"

void
body_free(struct body *body)
{
	free(body->text);
	*body = (struct body){NULL, 0, 0, false};
}

void
body_clear(struct body *body)
{
	body->len = 0;
	body->failed = false;
}

/* Room for n more bytes and a '\0'; NULL (and failed) without memory. */
static char *
room(struct body *body, size_t n)
{
	if (body->failed)
		return NULL;
	if (n >= body->cap - body->len) {
		size_t cap;
		if (__builtin_add_overflow(body->len + 1, n, &cap)) {
			body->failed = true;
			return NULL;
		}
		cap = cap < 256 ? 256 : cap + cap / 2;
		char *text = array_resize(body->text, cap, 1);
		if (text == NULL) {
			body->failed = true;
			return NULL;
		}
		body->text = text;
		body->cap = cap;
	}
	return body->text + body->len;
}

void
body_bytes(struct body *body, const char *bytes, size_t n)
{
	char *to = room(body, n);
	if (to == NULL)
		return;
	memcpy(to, bytes, n);
	to[n] = '\0';
	body->len += n;
}

void
body_text(struct body *body, const char *text)
{
	body_bytes(body, text, strlen(text));
}

void
body_format(struct body *body, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	char *to = n < 0 ? NULL : room(body, (size_t)n);
	if (to != NULL) {
		vsnprintf(to, (size_t)n + 1, fmt, again);
		body->len += (size_t)n;
	} else {
		body->failed = true;
	}
	va_end(again);
	va_end(ap);
}

void
body_json(struct body *body, const char *text, size_t n)
{
	body_bytes(body, "\"", 1);
	size_t start = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		body_bytes(body, text + start, i - start);
		start = i + 1;
		if (c == '"' || c == '\\')
			body_format(body, "\\%c", c);
		else
			body_format(body, "\\u%04x", c);
	}
	body_bytes(body, text + start, n - start);
	body_bytes(body, "\"", 1);
}

void
body_base64(struct body *body, const uint8_t *bytes, size_t n)
{
	size_t len = base64_length(n);
	char *to = room(body, len);
	if (to == NULL)
		return;
	base64_encode(to, bytes, n);
	to[len] = '\0';
	body->len += len;
}

void
body_segment(struct body *body, const char *name)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	for (const char *c = name; *c != '\0'; c++) {
		if (strchr(plain, *c) != NULL)
			body_bytes(body, c, 1);
		else
			body_format(body, "%%%02X", (unsigned char)*c);
	}
}
