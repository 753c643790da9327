#include "base/base64.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(char *text, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t left = n - i < 3 ? (uint32_t)(n - i) : 3;
		uint32_t v = (uint32_t)bytes[i] << 16;
		if (left > 1)
			v |= (uint32_t)bytes[i + 1] << 8;
		if (left > 2)
			v |= bytes[i + 2];
		text[0] = alphabet[v >> 18];
		text[1] = alphabet[v >> 12 & 63];
		text[2] = left > 1 ? alphabet[v >> 6 & 63] : '=';
		text[3] = left > 2 ? alphabet[v & 63] : '=';
		text += 4;
	}
}

/* How many '=' the text ends with, of at most two. */
static size_t
padding(const char *text, size_t n)
{
	size_t pad = 0;
	while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
		pad++;
	return pad;
}

size_t
base64_bytes(const char *text, size_t n)
{
	return n / 4 * 3 - (n >= 4 ? padding(text, n) : 0);
}

/* 0 .. 63, or 64 for a character outside the alphabet. */
static uint32_t
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int
base64_decode(
    uint8_t *bytes, size_t want, const char *text, size_t n, struct error *err)
{
	size_t pad = padding(text, n);
	for (size_t i = 0; i < n - pad; i++)
		if (value_of(text[i]) == 64)
			return error_set(err, ERR_INPUT,
			    "expected base64 (A-Z a-z 0-9 + /) at character %zu", i);
	if (n % 4 != 0)
		return error_set(err, ERR_INPUT,
		    "expected base64 with padding (a multiple of 4 characters), not "
		    "%zu characters",
		    n);
	if (base64_bytes(text, n) != want)
		return error_set(err, ERR_INPUT,
		    "expected base64 of %zu bytes (%zu characters), not of %zu bytes",
		    want, base64_length(want), base64_bytes(text, n));
	size_t done = 0;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v = 0;
		size_t chars = want - done >= 3 ? 4 : want - done + 1;
		for (size_t j = 0; j < 4; j++) {
			v = v << 6 | (j < chars ? value_of(text[i + j]) : 0);
		}
		for (size_t j = 0; j + 1 < chars; j++)
			bytes[done++] = (uint8_t)(v >> (16 - 8 * j));
	}
	return 0;
}
