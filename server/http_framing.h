#ifndef SERVER_HTTP_FRAMING_H
#define SERVER_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where one HTTP/1.1 request ends and the next begins, read strictly.
 *
 * evhttp accepts what two parsers may read in two ways (two Content-Length, "+5",
 * unknown Transfer-Encoding, bare LF, space before a colon, no Host), which lets one
 * request hide inside another.  A scanner of this kind sees every byte of a
 * connection before evhttp does, and refuses all of that; what it lets through has
 * one reading (RFC 9112, sections 2.2, 3.2, 5, 6).  It also holds the limits, so that
 * a refusal is JSON and names the limit, and knows whether a request is half
 * received, for the deadline.  Owner only.
 */
struct http_framing_limits {
	size_t header_bytes; /* request line and headers, with their line ends */
	uint64_t body_bytes;
};

struct http_framing {
	struct http_framing_limits limits;
	int state;  /* of http_framing.c */
	char *line; /* the line being received, without its line end */
	size_t line_n;
	size_t line_cap;
	size_t head_n; /* bytes of this request's head so far */
	uint64_t body_left;
	uint64_t body_n; /* of this request so far, if chunked */
	uint64_t bodies; /* bytes of bodies announced; the owner takes them off */
	bool has_length;
	bool has_host;
	bool chunked;
	bool version_1_1;
	bool head;   /* evhttp reads no body of a HEAD: it must have none */
	bool openai; /* the target is under /v1/: for the form of an error */
};

struct http_framing_refusal {
	int status; /* 400, 413, 431, 501, 500 (no memory) */
	char text[160];
};

void http_framing_init(struct http_framing *framing, struct http_framing_limits limits);
void http_framing_free(struct http_framing *framing);

/* Take the next n bytes of the connection.  0, or -1 with *refusal filled: then the
 * connection must be closed and nothing else of it be read. */
int http_framing_take(struct http_framing *framing, const char *bytes, size_t n,
    struct http_framing_refusal *refusal);

/* Whether a request has begun and not ended. */
bool http_framing_midway(const struct http_framing *framing);

#endif /* SERVER_HTTP_FRAMING_H */
