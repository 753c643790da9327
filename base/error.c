#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drop a UTF-8 sequence that the end of the buffer has cut. */
static void
trim_cut_sequence(char *text)
{
	size_t n = strlen(text);
	size_t start = n;
	while (start > 0 && n - start < 4 &&
	       ((unsigned char)text[start - 1] & 0xC0) == 0x80)
		start--;
	if (start == 0)
		return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
	if (want > n - start + 1)
		text[start - 1] = '\0';
}

int
error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list ap;

	err->code = code;
	va_start(ap, fmt);
	int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof err->text)
		trim_cut_sequence(err->text);
	return -1;
}

int
error_prefix(struct error *err, const char *fmt, ...)
{
	char text[sizeof err->text];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char whole[2 * sizeof text + 2];
	snprintf(whole, sizeof whole, "%s: %s", text, err->text);
	return error_set(err, err->code, "%s", whole);
}
