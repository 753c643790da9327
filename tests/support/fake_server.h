#ifndef TESTS_SUPPORT_FAKE_SERVER_H
#define TESTS_SUPPORT_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * An HTTP server that does what a test tells it, right or wrong.
 *
 * It reads whole requests (Content-Length only) on any number of connections, hands
 * them one at a time to the test's function, and sends the bytes that come back.
 */
struct fake_request {
	const char *method;
	const char *path;
	const char *head; /* all of it, '\0' behind */
	const char *body; /* '\0' behind */
	size_t body_len;
	unsigned connection; /* counts from 0 */
	unsigned number;     /* of the request, over all connections, from 0 */
};

struct fake_reply {
	char bytes[65536]; /* status line, headers and body, as they go out */
	size_t len;
	size_t piece; /* send so many bytes at a time; 0 = all at once */
	bool close;   /* then close the connection */
};

typedef void fake_handler(
    struct fake_reply *reply, const struct fake_request *request, void *arg);

struct fake_server;

/* Listen on a free port of 127.0.0.1, or of ::1 if `ipv6` (NULL if there is none). */
struct fake_server *fake_server_start(fake_handler *handler, void *arg, bool ipv6);
int fake_server_port(const struct fake_server *server);

/* Close all connections and wait for all threads. */
void fake_server_stop(struct fake_server *server);

/* reply := a JSON body with this status and extra header lines ("" or "A: b\r\n"). */
void fake_reply_json(
    struct fake_reply *reply, int status, const char *headers, const char *body);

#endif /* TESTS_SUPPORT_FAKE_SERVER_H */
