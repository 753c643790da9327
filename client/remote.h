#ifndef CLIENT_REMOTE_H
#define CLIENT_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/*
 * One HTTP/1.1 connection to a server, kept open between requests.
 *
 * Blocking sockets with time-outs, IPv4 and IPv6, no TLS (a proxy in front does
 * that).  Bodies are JSON.  Answers may come with a length, chunked, or up to the
 * end of the connection.  A connection that the server has closed while it was idle
 * is opened again without a word: every request that our commands send can be
 * repeated (upserts by id, searches, creations of what may exist already).
 * A struct remote is its owner's; threads open one each.
 *
 * Source: RFC 9112.
 */
#define REMOTE_URL_DEFAULT "http://127.0.0.1:6333"
#define REMOTE_PORT_DEFAULT "6333"
#define REMOTE_TIMEOUT_S 60                 /* without a byte from the server */
#define REMOTE_HEAD_MAX (64 * 1024)         /* bytes of status line and headers */
#define REMOTE_BODY_MAX (256 * 1024 * 1024) /* bytes of an answer's body */

/* Where the server is and the key it asks for; copied by remote_open. */
struct remote_address {
	char host[256]; /* name or address, IPv6 without brackets */
	char port[6];
	char api_key[256]; /* "" = none */
};

/* *address := url, http://HOST[:PORT][/], and the key: the first line of the file at
 * `key_path`, or where that is NULL the environment's HALFTONE_API_KEY, or none.
 * ERR_INPUT, ERR_NOT_FOUND, ERR_IO. */
int remote_address_read(struct remote_address *address, const char *url,
    const char *key_path, struct error *err);

struct remote_answer {
	int status;
	bool says_when;       /* the answer has Retry-After */
	double retry_after_s; /* what it says */
	char *body;           /* '\0' behind it; valid until the next request */
	size_t len;
};

struct remote;

/* No connection is made yet.  NULL: ERR_MEMORY. */
struct remote *remote_open(const struct remote_address *address, struct error *err);
void remote_close(struct remote *remote);

/* Send one request and wait for its answer.  `body` is JSON and may be NULL.
 * 0: there is an answer, whatever its status.  -1: ERR_IO, the server cannot be
 * reached or the connection broke (another try may succeed); ERR_FORMAT, what came is
 * no HTTP; ERR_TOO_LARGE; ERR_MEMORY. */
int remote_request(struct remote *remote, struct remote_answer *answer,
    const char *method, const char *path, const struct text *body, struct error *err);

/* *err := what an answer of status >= 400 says; returns -1. */
int remote_refused(const struct remote_answer *answer, struct error *err);

/* Whether an answer means "again later": 408, 429, 502, 503, 504. */
bool remote_busy(int status);

/* Seconds to wait before asking again: what the answer says, or `unsaid_s`; at least
 * REMOTE_PAUSE_MIN_S, so that "at once", said again and again, keeps no processor
 * busy. */
#define REMOTE_PAUSE_MIN_S 0.05
double remote_pause(const struct remote_answer *answer, double unsaid_s);

#endif /* CLIENT_REMOTE_H */
