#include "server/http_framing.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

enum state { REQUEST_LINE, HEADERS, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS };

void
http_framing_init(struct http_framing *framing, struct http_framing_limits limits)
{
	*framing = (struct http_framing){.limits = limits, .state = REQUEST_LINE};
}

void
http_framing_free(struct http_framing *framing)
{
	free(framing->line);
	framing->line = NULL;
	framing->line_n = framing->line_cap = 0;
}

bool
http_framing_midway(const struct http_framing *framing)
{
	return framing->state != REQUEST_LINE || framing->head_n > 0;
}

__attribute__((format(printf, 3, 4))) static int
refuse(struct http_framing_refusal *refusal, int status, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	refusal->status = status;
	vsnprintf(refusal->text, sizeof refusal->text, fmt, args);
	va_end(args);
	return -1;
}

static int
refuse_body(const struct http_framing *framing, struct http_framing_refusal *refusal)
{
	return refuse(refusal, 413,
	    "expected a body of at most %" PRIu64
	    " bytes (max_body_bytes); send smaller batches",
	    framing->limits.body_bytes);
}

static bool
is_token(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)text[i]) &&
		    !memchr("!#$%&'*+-.^_`|~", text[i], 15))
			return false;
	}
	return n > 0;
}

/* Only what RFC 3986 allows in a path and a query. */
static bool
is_target(const char *target)
{
	for (; *target; target++) {
		if (*target == '%') {
			if (!isxdigit((unsigned char)target[1]) ||
			    !isxdigit((unsigned char)target[2]))
				return false;
		} else if (!isalnum((unsigned char)*target) &&
			   !strchr("-._~!$&'()*+,;=:@/?", *target)) {
			return false;
		}
	}
	return true;
}

/* "METHOD SP /target SP HTTP/1.x" */
static int
take_request_line(struct http_framing *framing, struct http_framing_refusal *refusal)
{
	static const char *const methods[] = {
	    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
	char *line = framing->line;
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;
	if (!version || !is_token(line, (size_t)(target - line)))
		return refuse(
		    refusal, 400, "expected 'METHOD /path HTTP/1.1' as the first line");
	if (strcmp(version, " HTTP/1.1") != 0 && strcmp(version, " HTTP/1.0") != 0)
		return refuse(refusal, 400,
		    "expected HTTP/1.1 or HTTP/1.0, not '%.20s'", version + 1);
	*target++ = '\0';
	*version = '\0';
	framing->openai = strncmp(target, "/v1/", 4) == 0;
	size_t i = 0, n = sizeof methods / sizeof *methods;
	while (i < n && strcmp(methods[i], line) != 0)
		i++;
	if (i == n)
		return refuse(refusal, 501,
		    "method '%.20s' is not served; use GET, HEAD, POST, PUT or DELETE",
		    line);
	if (*target != '/' && !(strcmp(target, "*") == 0 && methods[i][0] == 'O'))
		return refuse(refusal, 400,
		    "expected a target that begins with '/', not '%.40s'", target);
	if (!is_target(target))
		return refuse(refusal, 400,
		    "expected a path of ASCII letters, digits and marks, with other "
		    "bytes as %%XX");
	framing->version_1_1 = version[8] == '1';
	framing->head = strcmp(line, "HEAD") == 0;
	framing->state = HEADERS;
	return 0;
}

static int
take_length(struct http_framing *framing, const char *value,
    struct http_framing_refusal *refusal)
{
	if (framing->has_length)
		return refuse(refusal, 400, "expected one Content-Length, not two");
	size_t n = strspn(value, "0123456789");
	if (n == 0 || value[n])
		return refuse(refusal, 400,
		    "expected digits as Content-Length, not '%.40s'", value);
	framing->has_length = true;
	if (n > 18)
		return refuse_body(framing, refusal);
	framing->body_left = strtoull(value, NULL, 10);
	if (framing->body_left > framing->limits.body_bytes)
		return refuse_body(framing, refusal);
	return 0;
}

/* "Name: value" */
static int
take_header(struct http_framing *framing, struct http_framing_refusal *refusal)
{
	char *line = framing->line;
	char *colon = strchr(line, ':');
	if (!colon || !is_token(line, (size_t)(colon - line)))
		return refuse(refusal, 400,
		    "expected 'Name: value' as a header, without folding and without "
		    "white space before the colon");
	*colon = '\0';
	char *value = colon + 1;
	value += strspn(value, " \t");
	size_t n = strlen(value);
	while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		value[--n] = '\0';
	if (strcasecmp(line, "content-length") == 0)
		return take_length(framing, value, refusal);
	if (strcasecmp(line, "transfer-encoding") == 0) {
		if (strcasecmp(value, "chunked") != 0 || framing->chunked)
			return refuse(refusal, 400,
			    "expected 'chunked' once as Transfer-Encoding, not '%.40s'",
			    value);
		framing->chunked = true;
	}
	if (strcasecmp(line, "host") == 0) {
		if (framing->has_host)
			return refuse(refusal, 400, "expected one Host, not two");
		framing->has_host = true;
	}
	return 0;
}

static void
end_request(struct http_framing *framing)
{
	struct http_framing next = {.limits = framing->limits,
	    .state = REQUEST_LINE,
	    .line = framing->line,
	    .line_cap = framing->line_cap,
	    .bodies = framing->bodies};
	*framing = next;
}

/* The empty line behind the headers. */
static int
end_head(struct http_framing *framing, struct http_framing_refusal *refusal)
{
	if (framing->version_1_1 && !framing->has_host)
		return refuse(
		    refusal, 400, "expected a Host header, as HTTP/1.1 has it");
	if (framing->chunked && framing->has_length)
		return refuse(refusal, 400,
		    "expected Content-Length or Transfer-Encoding, not both");
	if (framing->chunked && !framing->version_1_1)
		return refuse(
		    refusal, 400, "expected no Transfer-Encoding in HTTP/1.0");
	if (framing->head && (framing->chunked || framing->body_left > 0))
		return refuse(refusal, 400, "expected no body with HEAD; use GET");
	if (framing->chunked) {
		framing->state = CHUNK_SIZE;
	} else if (framing->body_left == 0) {
		end_request(framing);
	} else {
		framing->bodies += framing->body_left;
		framing->state = BODY;
	}
	return 0;
}

static int
take_chunk_size(struct http_framing *framing, struct http_framing_refusal *refusal)
{
	const char *line = framing->line;
	size_t n = strspn(line, "0123456789abcdefABCDEF");
	if (n == 0 || n > 15 || line[n])
		return refuse(refusal, 400,
		    "expected hexadecimal digits alone as size of a chunk, not '%.40s'",
		    line);
	framing->body_left = strtoull(line, NULL, 16);
	framing->body_n += framing->body_left;
	framing->bodies += framing->body_left;
	if (framing->body_n > framing->limits.body_bytes)
		return refuse_body(framing, refusal);
	framing->state = framing->body_left ? CHUNK : TRAILERS;
	framing->head_n = 1; /* counts the bytes of lines again, from here */
	return 0;
}

static int
end_line(struct http_framing *framing, struct http_framing_refusal *refusal)
{
	bool empty = framing->line_n == 0;
	framing->line[framing->line_n] = '\0';
	framing->line_n = 0;
	switch (framing->state) {
	case REQUEST_LINE:
		return take_request_line(framing, refusal);
	case HEADERS:
		return empty ? end_head(framing, refusal)
			     : take_header(framing, refusal);
	case CHUNK_SIZE:
		return take_chunk_size(framing, refusal);
	case CHUNK_END:
		if (!empty)
			return refuse(
			    refusal, 400, "expected a line end behind a chunk");
		framing->state = CHUNK_SIZE;
		return 0;
	default: /* TRAILERS */
		if (!empty)
			return refuse(
			    refusal, 400, "expected no trailers behind the last chunk");
		end_request(framing);
		return 0;
	}
}

static int
keep(struct http_framing *framing, char c, struct http_framing_refusal *refusal)
{
	if (framing->line_n + 1 >= framing->line_cap) {
		size_t cap = framing->line_cap ? 2 * framing->line_cap : 256;
		char *line = array_resize(framing->line, cap, 1);
		if (!line)
			return refuse(refusal, 500, "no memory for a request");
		framing->line = line;
		framing->line_cap = cap;
	}
	framing->line[framing->line_n++] = c;
	return 0;
}

/* One byte of a line; the '\r' is kept until its '\n' has come. */
static int
take_byte(struct http_framing *framing, char c, struct http_framing_refusal *refusal)
{
	bool after_cr = framing->line_n && framing->line[framing->line_n - 1] == '\r';
	if (++framing->head_n > framing->limits.header_bytes)
		return refuse(refusal, 431,
		    "expected a request line and headers of at most %zu bytes "
		    "(max_header_bytes)",
		    framing->limits.header_bytes);
	if (after_cr != (c == '\n'))
		return refuse(refusal, 400, "expected lines that end in CR LF");
	if (after_cr) {
		framing->line_n--;
		return end_line(framing, refusal);
	}
	if (((unsigned char)c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
		return refuse(refusal, 400, "expected no control character (0x%02x)",
		    (unsigned char)c);
	return keep(framing, c, refusal);
}

int
http_framing_take(struct http_framing *framing, const char *bytes, size_t n,
    struct http_framing_refusal *refusal)
{
	for (size_t i = 0; i < n;) {
		if (framing->state != BODY && framing->state != CHUNK) {
			if (take_byte(framing, bytes[i++], refusal))
				return -1;
			continue;
		}
		size_t some = n - i < framing->body_left ? n - i : framing->body_left;
		framing->body_left -= some;
		i += some;
		if (framing->body_left == 0 && framing->state == CHUNK)
			framing->state = CHUNK_END;
		else if (framing->body_left == 0)
			end_request(framing);
	}
	return 0;
}
