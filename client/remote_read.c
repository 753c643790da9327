#include "client/remote_read.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* What the headers say about the body and the connection. */
struct head {
	size_t used; /* bytes of head so far */
	bool has_length;
	uint64_t length;
	bool chunked;
	bool close;
};

/* Receive at least one byte.  1: yes; 0: the server has closed; -1: *err. */
static int
fill(struct remote_reader *r, struct remote_reading *how, struct error *err)
{
	ssize_t n;
	do
		n = recv(r->fd, r->buf, sizeof r->buf, 0);
	while (n == -1 && errno == EINTR);
	how->closed = n == 0 || (n == -1 && errno == ECONNRESET);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return error_set(err, ERR_IO, "the server sent nothing for %d seconds",
		    REMOTE_TIMEOUT_S);
	if (n == -1)
		return error_set(err, ERR_IO, "connection broke: %s", strerror(errno));
	r->start = 0;
	r->end = (size_t)n;
	how->began = how->began || n > 0;
	return n > 0;
}

static int
fill_or_fail(struct remote_reader *r, struct remote_reading *how, struct error *err)
{
	int rc = fill(r, how, err);
	if (rc == 0)
		return error_set(err, ERR_IO,
		    how->began ? "the server closed the connection within its answer"
			       : "the server closed the connection without an answer");
	return rc == 1 ? 0 : -1;
}

/* line (cap) := the next line without its CR LF. */
static int
read_line(struct remote_reader *r, char *line, size_t cap, struct remote_reading *how,
    struct error *err)
{
	size_t n = 0;
	line[0] = '\0';
	for (;;) {
		if (r->start == r->end && fill_or_fail(r, how, err) == -1)
			return -1;
		char c = r->buf[r->start++];
		if (c == '\n')
			break;
		if (n + 1 == cap)
			return error_set(err, ERR_FORMAT,
			    "expected HTTP lines of at most %zu bytes", cap - 1);
		line[n++] = c;
	}
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return 0;
}

/* A number of `base` 10 or 16 that is all of `text` up to `end`. */
static bool
parse_number(uint64_t *out, const char *text, int base)
{
	char *end;
	if (strchr("0123456789abcdefABCDEF", *text) == NULL || *text == '\0')
		return false;
	errno = 0;
	*out = strtoull(text, &end, base);
	while (*end == ' ' || *end == '\t')
		end++;
	return errno == 0 && (*end == '\0' || (base == 16 && *end == ';'));
}

/* "Name: value" -> the value if the name is `name`, else NULL. */
static const char *
header_value(const char *line, const char *name)
{
	size_t n = strlen(name);
	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " \t");
}

static int
take_header(const char *line, struct head *head, struct remote_answer *answer,
    struct error *err)
{
	const char *value;
	uint64_t number;

	if ((value = header_value(line, "Content-Length")) != NULL) {
		if (!parse_number(&number, value, 10) ||
		    (head->has_length && number != head->length))
			return error_set(err, ERR_FORMAT,
			    "expected one Content-Length with a number, not \"%.40s\"",
			    value);
		head->has_length = true;
		head->length = number;
	} else if ((value = header_value(line, "Transfer-Encoding")) != NULL) {
		if (strcasecmp(value, "chunked") != 0)
			return error_set(err, ERR_FORMAT,
			    "expected Transfer-Encoding chunked, not \"%.40s\"", value);
		head->chunked = true;
	} else if ((value = header_value(line, "Connection")) != NULL) {
		head->close = head->close || strcasecmp(value, "close") == 0;
	} else if ((value = header_value(line, "Retry-After")) != NULL) {
		if (!answer->says_when && parse_number(&number, value, 10)) {
			answer->says_when = true;
			answer->retry_after_s = (double)number;
		}
	} else if ((value = header_value(line, "retry-after-ms")) != NULL) {
		if (parse_number(&number, value, 10)) {
			answer->says_when = true;
			answer->retry_after_s = (double)number / 1e3;
		}
	}
	return 0;
}

/* Status line and headers of one answer; 1xx answers before it are passed over. */
static int
read_head(struct remote_reader *r, struct remote_answer *answer, struct head *head,
    struct remote_reading *how, struct error *err)
{
	char line[8192] = "";
	do {
		*head = (struct head){.used = head->used};
		if (read_line(r, line, sizeof line, how, err) == -1)
			return -1;
		if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12 ||
		    line[8] != ' ' || strspn(line + 9, "0123456789") != 3)
			return error_set(err, ERR_FORMAT,
			    "expected an HTTP/1.1 answer, not \"%.40s\"; is it "
			    "Halftone's port?",
			    line);
		head->close = line[7] == '0';
		answer->status = atoi(line + 9);
		for (;;) {
			head->used += strlen(line) + 2;
			if (read_line(r, line, sizeof line, how, err) == -1)
				return -1;
			if (line[0] == '\0')
				break;
			if (head->used > REMOTE_HEAD_MAX)
				return error_set(err, ERR_FORMAT,
				    "expected at most %d bytes of headers",
				    REMOTE_HEAD_MAX);
			if (take_header(line, head, answer, err) == -1)
				return -1;
		}
	} while (answer->status < 200);
	return 0;
}

static int
check_body(const struct text *into, uint64_t more, struct error *err)
{
	if (into->failed)
		return error_set(err, ERR_MEMORY, "no memory for the server's answer");
	if (more > REMOTE_BODY_MAX || into->n + more > REMOTE_BODY_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "expected an answer of at most %d bytes", REMOTE_BODY_MAX);
	return 0;
}

/* Append exactly n bytes. */
static int
read_bytes(struct remote_reader *r, struct text *into, uint64_t n,
    struct remote_reading *how, struct error *err)
{
	if (check_body(into, n, err) == -1)
		return -1;
	while (n > 0) {
		if (r->start == r->end && fill_or_fail(r, how, err) == -1)
			return -1;
		size_t have = r->end - r->start;
		if (have > n)
			have = (size_t)n;
		text_bytes(into, r->buf + r->start, have);
		r->start += have;
		n -= have;
	}
	return check_body(into, 0, err);
}

static int
read_chunks(struct remote_reader *r, struct text *into, struct remote_reading *how,
    struct error *err)
{
	char line[1024];
	uint64_t n;
	do {
		if (read_line(r, line, sizeof line, how, err) == -1)
			return -1;
		if (!parse_number(&n, line, 16))
			return error_set(err, ERR_FORMAT,
			    "expected the size of a chunk, not \"%.40s\"", line);
		if (read_bytes(r, into, n, how, err) == -1)
			return -1;
		if (n == 0)
			break;
		if (read_line(r, line, sizeof line, how, err) == -1)
			return -1;
		if (line[0] != '\0')
			return error_set(
			    err, ERR_FORMAT, "expected a chunk to end here");
	} while (n > 0);
	size_t used = 0;
	do { /* trailers */
		if (read_line(r, line, sizeof line, how, err) == -1)
			return -1;
		used += strlen(line);
		if (used > REMOTE_HEAD_MAX)
			return error_set(err, ERR_FORMAT, "expected shorter trailers");
	} while (line[0] != '\0');
	return 0;
}

static int
read_to_end(struct remote_reader *r, struct text *into, struct remote_reading *how,
    struct error *err)
{
	int rc = 1;
	while (rc == 1) {
		if (check_body(into, r->end - r->start, err) == -1)
			return -1;
		text_bytes(into, r->buf + r->start, r->end - r->start);
		r->start = r->end;
		rc = fill(r, how, err);
	}
	return rc == 0 ? check_body(into, 0, err) : -1;
}

int
remote_read_answer(struct remote_reader *r, struct text *into,
    struct remote_answer *answer, struct remote_reading *how, struct error *err)
{
	struct head head = {0};
	int rc = 0;

	*how = (struct remote_reading){false, false, false};
	*answer = (struct remote_answer){0};
	text_clear(into);
	text_string(into, "");
	if (read_head(r, answer, &head, how, err) == -1)
		return -1;
	if (answer->status == 204 || answer->status == 304)
		rc = 0;
	else if (head.chunked)
		rc = read_chunks(r, into, how, err);
	else if (head.has_length)
		rc = read_bytes(r, into, head.length, how, err);
	else {
		head.close = true;
		rc = read_to_end(r, into, how, err);
	}
	if (rc == 0 && into->failed)
		rc = error_set(err, ERR_MEMORY, "no memory for the server's answer");
	if (rc == -1)
		return -1;
	answer->body = into->bytes;
	answer->len = into->n;
	how->keep = !head.close;
	return 0;
}
