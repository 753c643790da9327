#ifndef SERVER_HTTP_INTERNAL_H
#define SERVER_HTTP_INTERNAL_H

#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "server/http.h"
#include "server/http_framing.h"

/* What http.c (loop, stop), http_connection.c (guarding), http_route.c (from evhttp to
 * a handler) and http_reply.c (back) share. */

/* Connections over the cap that are told so (503); beyond them accepting pauses. */
#define HTTP_CONNECTIONS_SPARE 64
/* How long a refused client may take to read why. */
#define HTTP_LINGER_NS UINT64_C(1000000000)
/* Answers below this are not counted: the cap on connections bounds their sum. */
#define HTTP_ANSWER_COUNTED_BYTES 16384

struct bufferevent;

struct http_connection {
	struct http *http;
	struct http_connection *prev, *next;
	struct bufferevent *bev; /* one reference is ours */
	struct http_framing framing;
	struct http_request *request; /* in flight */
	uint64_t receiving_ns;        /* since when a request is half received; 0 */
	uint64_t sending_ns;          /* since when an answer is on its way; 0 */
	uint64_t refused_ns;          /* when it was refused; 0 = fine */
	uint64_t bodies;              /* bytes counted in http->bodies */
	bool surplus;                 /* over the cap */
	bool broken; /* framing lost while a request was in flight: close behind it */
};

struct http {
	struct http_options options;
	struct event_base *base;
	struct evhttp *evhttp;
	struct evconnlistener *listener;   /* NULL once stopping */
	struct evhttp_bound_socket *bound; /* the same, as evhttp names it */
	struct event *wake, *sweep, *resume, *on_term, *on_int;
	int wake_fd;
	struct sockaddr_storage listening;
	char address[64]; /* ADDRESS_TEXT_MAX */
	struct http_connection *connections;
	size_t n_connections;
	atomic_size_t n_in_flight;
	uint64_t bodies;          /* bytes of bodies announced and not yet answered */
	_Atomic uint64_t answers; /* bytes of answers made and not yet sent */
	bool paused;
	uint64_t stop_ns; /* loop only: when stopping began */
	atomic_bool stopping;
	uint64_t id_seed;
	uint64_t n_requests;
	pthread_mutex_t lock; /* guards done */
	struct http_request *done;
};

/* http_connection.c */
struct bufferevent *http_connection_new(struct event_base *base, void *http);
void http_connection_sweep(struct http *http);
void http_connection_close_all(struct http *http);
struct http_connection *http_connection_of(
    struct http *http, struct evhttp_request *ev);
/* The answer of the connection's request, whose body had body_n bytes, is handed to
 * evhttp. */
void http_connection_answered(struct http_connection *connection, size_t body_n);

/* http_route.c: an x-request-id of ours. */
#define HTTP_ID_TEXT_MAX 17
void http_route_new_id(struct http *http, char id[HTTP_ID_TEXT_MAX]);

/* http_route.c: evhttp's callback for every request. */
void http_route_request(struct evhttp_request *ev, void *http);

/* http_reply.c: hand an answer to evhttp and free the request.  Loop only. */
void http_reply_send(struct http_request *request);
void http_reply_free(struct http_request *request);

/* The client has left: what is still to be done for the request may be left out. */
void http_reply_give_up(struct http_request *request);
const char *http_reply_reason(int status);

#endif /* SERVER_HTTP_INTERNAL_H */
