#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "server/metrics.h"
#include "server/pool.h"

/*
 * HTTP on one event loop (libevent's evhttp), and the way from there to the workers
 * and back.
 *
 *     loop: connection -> framing (http_framing.h) -> evhttp -> route, key, admission
 *       -> struct http_request -> pool: handler(request) ... -> http_reply
 *       -> done list, one wake-up -> loop: evhttp_send_reply
 *
 * evhttp's objects are touched on the loop's thread alone.  A request belongs to its
 * handler, on whatever thread it goes on, until http_reply or http_fail, which are
 * called exactly once; after that it must not be touched.  It outlives its
 * connection: the answer to a client that has left is dropped.
 *
 * A connection has one request in flight; pipelined ones wait, and are answered in
 * order.  Every refusal is JSON and names the limit that it is about.
 */
enum http_method {
	HTTP_GET = 1,
	HTTP_POST = 2,
	HTTP_PUT = 4,
	HTTP_DELETE = 8,
	HTTP_PATCH = 16,
};

struct http_request;

/* Runs on a worker (or, for a route that says so, on the loop). */
typedef void http_handler(struct http_request *request, unsigned worker);

struct http_route {
	const char *pattern;   /* "/collections/{c}/points": {x} takes one segment */
	http_handler *handler; /* NULL: a known route that is not served (501) */
	const char *name;      /* label in metrics */
	unsigned methods;      /* enum http_method, or'ed */
	bool on_loop;          /* answers at once, in microseconds, without a worker */
	bool open;             /* needs no API key, is never shed */
};

#define HTTP_ARGS_MAX 2
#define HTTP_SEGMENT_MAX 1024

struct http;
struct http_connection;
struct evhttp_request;

struct http_request {
	const struct http_route *route;
	void *context; /* of struct http_options */
	enum http_method method;
	bool head;                 /* HEAD: the handler sees a GET */
	bool openai;               /* /v1/: how errors look */
	bool wants_html;           /* a browser: Accept prefers text/html */
	char *args[HTTP_ARGS_MAX]; /* what the {x} of the pattern took, decoded */
	char *query;               /* what stood behind the '?', as it came */
	char *body;                /* body_n bytes and a '\0'; NULL: refused unread */
	size_t body_n;
	uint64_t start_ns;
	char id[65]; /* x-request-id */

	/* Nobody waits for the answer: the client has closed its side (seen every 50
	 * ms), or the time to stop in is over.  Any thread may look, and end with any
	 * http_fail. */
	atomic_bool given_up;

	struct pool_task task;                /* for the handler's next step */
	void *state;                          /* the handler's */
	void (*state_free)(void *);           /* called with state at the end */
	const char *error_param, *error_code; /* static; for OpenAI's error object */
	const char *filename; /* static; for who keeps the answer, if it is a 200 */

	/* The rest is http's own. */
	struct http *http;
	struct http_connection *connection; /* loop only; NULL: the client has left */
	struct evhttp_request *evhttp;      /* loop only */
	struct http_request *next;
	size_t route_index;
	int status;
	const char *type;
	const char *location;
	char allow[64];
	struct text reply;
	uint64_t counted; /* bytes of the reply in http's sum of answers */
};

struct http_options {
	const char *listen; /* ADDRESS:PORT */
	const struct http_route *routes;
	size_t n_routes;
	void *context;
	const char *api_key; /* NULL = none is asked for */
	/* Called on the loop for routes that are not open: NULL, or why there is
	 * nothing to be had now (503). */
	const char *(*unavailable)(void *context);
	struct pool *pool;
	struct metrics *metrics;
	uint64_t body_max_bytes;
	uint64_t bodies_max_bytes;  /* all requests in flight */
	uint64_t answers_max_bytes; /* all answers that are not sent yet */
	size_t header_max_bytes;
	size_t connections_max;
	size_t in_flight_max;
	unsigned request_timeout_s; /* first byte to last, and the answer's sending */
	unsigned idle_timeout_s;
	unsigned stop_timeout_s;
};

/* Bind and listen.  NULL: ERR_INPUT (address), ERR_IO (port taken, too few file
 * descriptors), ERR_MEMORY. */
struct http *http_new(const struct http_options *options, struct error *err);

/* After http_run; every request has been answered or given up. */
void http_free(struct http *http);

/* "127.0.0.1:6333" with the port that was bound; valid as long as http. */
const char *http_address(const struct http *http);

/* Serve until SIGTERM, SIGINT or http_stop: then stop accepting, let requests in
 * flight end (at most stop_timeout_s), and return how many had not ended. */
size_t http_run(struct http *http);

/* Ask http_run to end.  Any thread. */
void http_stop(struct http *http);

/* From a signal or http_stop on.  Any thread. */
bool http_stopping(struct http *http);

/* Requests that are being answered.  Any thread. */
size_t http_in_flight(const struct http *http);

/* Answer; takes the bytes of *body and leaves it {0}.  `type` is static.  Where this
 * would bring the answers that are not sent yet over answers_max_bytes, 429 is sent in
 * its place.  Any thread. */
void http_reply(
    struct http_request *request, int status, const char *type, struct text *body);

/* Answer with the error in the form of the route's family.  Any thread. */
void http_fail(struct http_request *request, const struct error *err);

/* The value that the query has for `name`, *n bytes as they came; NULL: none. */
const char *http_query(const struct http_request *request, const char *name, size_t *n);

/* Send the client to another path (302; static).  Any thread. */
void http_redirect(struct http_request *request, const char *location);

/* Go on in `run`, on a worker.  Any thread. */
void http_continue(
    struct http_request *request, void (*run)(struct pool_task *task, unsigned worker));

/* The request whose `task` this is. */
struct http_request *http_of_task(struct pool_task *task);

/* Error code -> status: the one table. */
int http_status(enum error_code code);

/* Append an error body: Qdrant's {"status":{"error"},"time"} or OpenAI's
 * {"error":{"message","type","param","code"}} (param, code may be NULL). */
struct http_error_body {
	bool openai;
	int status;
	const char *message;
	const char *param;
	const char *code;
	double seconds;
};
void http_error_text(struct text *out, const struct http_error_body *body);

#endif /* SERVER_HTTP_H */
