#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048
#define FORMAT_BYTES 256

static _Atomic enum log_level lowest = LOG_INFO;

void
log_set_level(enum log_level level)
{
	atomic_store(&lowest, level);
}

/* out := the line with its end.  `twin` is the line formatted with other quotes in the
 * format: where both have a '"', a value brought it, and it must not end that value. */
static size_t
escape(char *out, size_t cap, const char *line, const char *twin)
{
	size_t n = 0;
	for (; *line && n + 3 < cap; line++, twin++) {
		bool of_value = *line == '\\' || (*line == '"' && *twin == '"');
		if (of_value)
			out[n++] = '\\';
		out[n++] = (unsigned char)*line < 0x20 || *line == 0x7F ? '?' : *line;
	}
	out[n++] = '\n';
	return n;
}

void
log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	char line[LINE_BYTES], twin[LINE_BYTES], out[LINE_BYTES],
	    twin_fmt[FORMAT_BYTES];
	struct timespec now;
	struct tm tm;
	va_list ap;

	if (level < atomic_load(&lowest))
		return;
	assert(strlen(fmt) < sizeof twin_fmt);
	for (size_t i = 0; i <= strlen(fmt); i++)
		twin_fmt[i] = fmt[i] == '"' ? '\'' : fmt[i];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s ",
	    now.tv_nsec / 1000000, names[level], event);
	memcpy(twin, line, n);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - n, fmt, ap);
	va_end(ap);
	va_start(ap, fmt);
	vsnprintf(twin + n, sizeof twin - n, twin_fmt, ap);
	va_end(ap);
	n = escape(out, sizeof out, line, twin);
	if (write(STDERR_FILENO, out, n) < 0)
		return; /* nobody is left to tell */
}
