#include "client/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char program[64] = "halftone"; /* "halftone import", for messages */

void
options_begin(const char *command, char **argv)
{
	snprintf(program, sizeof program, "halftone %s", command);
	argv[0] = program; /* getopt_long puts it before its own messages */
	optind = 0;        /* glibc: start from scratch */
}

int
options_hint(void)
{
	fprintf(stderr, "Try \"%s --help\".\n", program);
	return OPTIONS_USAGE;
}

int
options_usage(const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return options_hint();
}

int
options_failed(const struct error *err)
{
	fprintf(stderr, "%s: %s\n", program, err->text);
	return OPTIONS_FAILED;
}

int
options_refused(const struct error *err)
{
	return err->code == ERR_INPUT ? options_usage("%s", err->text)
				      : options_failed(err);
}

bool
options_number(
    uint32_t *out, const char *option, const char *text, uint32_t min, uint32_t max)
{
	uint64_t v = 0;
	size_t n = strspn(text, "0123456789");
	bool ok = n > 0 && n < 11 && text[n] == '\0';
	if (ok)
		v = strtoull(text, NULL, 10);
	if (!ok || v < min || v > max) {
		options_usage("expected %s to be a whole number %u to %u, not \"%s\"",
		    option, min, max, text);
		return false;
	}
	*out = (uint32_t)v;
	return true;
}

int
options_default_model(char *out, size_t cap, struct error *err)
{
	static const char *const places[] = {
	    "models/" OPTIONS_TEXT_MODEL, "../models/" OPTIONS_TEXT_MODEL};
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n == -1)
		n = 0;
	self[n] = '\0';
	char *slash = strrchr(self, '/');
	if (slash != NULL)
		slash[1] = '\0';
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		int len = snprintf(out, cap, "%s%s", self, places[i]);
		if (len > 0 && (size_t)len < cap && access(out, F_OK) == 0)
			return 0;
	}
	return error_set(err, ERR_NOT_FOUND,
	    "expected a model in models/" OPTIONS_TEXT_MODEL
	    " beside this program; name one with --model DIR");
}
