#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/http_internal.h"

/*
 * What evhttp lacks: a cap on connections, a deadline for a whole request, strict
 * framing, refusals in JSON.
 *
 * evhttp gets its bufferevents from us and we keep a reference to each.  A callback
 * on the input buffer sees bytes before evhttp does.  A connection that is refused is
 * answered with one send(2) on its socket, its input is thrown away from then on (so
 * evhttp never sees the rest), and it is closed when the client closes or a second
 * later.  evhttp tells nobody when it frees a connection, but it clears the
 * callbacks of the bufferevent: a sweep finds that and gives up our reference.
 */

static void
forget(struct http_connection *connection)
{
	struct http *http = connection->http;

	if (connection->prev)
		connection->prev->next = connection->next;
	else
		http->connections = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
	http->n_connections--;
	http->bodies -= connection->bodies;
	if (connection->request)
		http_reply_give_up(connection->request);
	http_framing_free(&connection->framing);
	bufferevent_decref(connection->bev);
	free(connection);
}

/* Answer with an error past evhttp, then only wait for the client to go. */
static void
refuse(struct http_connection *connection, int status, const char *message)
{
	evutil_socket_t fd = bufferevent_getfd(connection->bev);
	struct text body = {0}, head = {0};
	struct http_error_body error = {
	    .openai = connection->framing.openai, .status = status, .message = message};

	char id[HTTP_ID_TEXT_MAX];

	connection->refused_ns = clock_ns();
	http_route_new_id(connection->http, id);
	log_event(LOG_DEBUG, "refused", "id=%s status=%d", id, status);
	connection->http->bodies -= connection->bodies;
	connection->bodies = 0;
	metrics_refused(connection->http->options.metrics, status);
	http_error_text(&body, &error);
	text_printf(&head,
	    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: "
	    "%zu\r\n"
	    "x-request-id: %s\r\nConnection: close\r\n%s\r\n",
	    status, http_reply_reason(status), body.n, id,
	    status == 429 || status == 503
		? "Retry-After: 1\r\nretry-after-ms: 1000\r\n"
		: "");
	text_bytes(&head, body.bytes, body.n);
	/* It fits an empty socket buffer; where it does not, the close must do. */
	if (!head.failed && fd >= 0)
		(void)!send(fd, head.bytes, head.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (fd >= 0)
		shutdown(fd, SHUT_WR);
	text_free(&head);
	text_free(&body);
}

/* Bodies announced since the last look count against the limit of all. */
static bool
count_bodies(struct http_connection *connection)
{
	struct http *http = connection->http;
	uint64_t announced = connection->framing.bodies;
	connection->framing.bodies = 0;
	connection->bodies += announced;
	http->bodies += announced;
	return announced == 0 || http->bodies <= http->options.bodies_max_bytes;
}

static void
take(struct http_connection *connection, struct evbuffer *input, size_t from)
{
	struct http_framing_refusal refusal = {.status = 0};
	struct evbuffer_ptr at;
	size_t n = evbuffer_get_length(input) - from;

	evbuffer_ptr_set(input, &at, from, EVBUFFER_PTR_SET);
	while (n > 0 && refusal.status == 0) {
		struct evbuffer_iovec piece;
		if (evbuffer_peek(input, (ev_ssize_t)n, &at, &piece, 1) < 1)
			break;
		size_t some = piece.iov_len < n ? piece.iov_len : n;
		if (!http_framing_take(
			&connection->framing, piece.iov_base, some, &refusal))
			refusal.status = 0;
		if (!count_bodies(connection) && refusal.status == 0) {
			refusal.status = 429;
			snprintf(refusal.text, sizeof refusal.text,
			    "the bodies of all requests together are over %llu bytes "
			    "(max_bodies_bytes); try again",
			    (unsigned long long)
				connection->http->options.bodies_max_bytes);
		}
		n -= some;
		evbuffer_ptr_set(input, &at, some, EVBUFFER_PTR_ADD);
	}
	bool midway = http_framing_midway(&connection->framing);
	if (!midway)
		connection->receiving_ns = 0;
	else if (!connection->receiving_ns)
		connection->receiving_ns = clock_ns();
	if (!refusal.status)
		return;
	struct evbuffer *output = bufferevent_get_output(connection->bev);
	if (connection->request || evbuffer_get_length(output) > 0)
		connection->broken =
		    true; /* an answer is on its way: close behind it */
	else
		refuse(connection, refusal.status, refusal.text);
}

static void
refuse_surplus(struct http_connection *connection)
{
	char message[96];
	snprintf(message, sizeof message,
	    "more than %zu connections (max_connections); try again",
	    connection->http->options.connections_max);
	refuse(connection, 503, message);
}

/* Move to the front, where http_connection_of looks first. */
static void
touch(struct http_connection *connection)
{
	struct http *http = connection->http;
	if (!connection->prev)
		return;
	connection->prev->next = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
	connection->prev = NULL;
	connection->next = http->connections;
	connection->next->prev = connection;
	http->connections = connection;
}

static void
on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct http_connection *connection = arg;

	if (info->n_added == 0)
		return;
	touch(connection);
	if (connection->surplus && !connection->refused_ns)
		refuse_surplus(connection);
	if (!connection->refused_ns && !connection->broken)
		take(connection, input, evbuffer_get_length(input) - info->n_added);
	if (connection->refused_ns || connection->broken)
		evbuffer_drain(input, evbuffer_get_length(input));
}

struct bufferevent *
http_connection_new(struct event_base *base, void *arg)
{
	struct http *http = arg;
	size_t cap = http->options.connections_max;
	if (http->n_connections >= cap)
		http_connection_sweep(http); /* some may be gone */
	struct http_connection *connection = array_new(1, sizeof *connection);
	struct bufferevent *bev =
	    bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (!connection || !bev ||
	    !evbuffer_add_cb(bufferevent_get_input(bev), on_input, connection)) {
		if (bev)
			bufferevent_free(bev);
		free(connection);
		return NULL; /* evhttp then takes a plain one: slower to close, no more
			      */
	}
	connection->http = http;
	connection->bev = bev;
	http_framing_init(&connection->framing,
	    (struct http_framing_limits){.header_bytes = http->options.header_max_bytes,
		.body_bytes = http->options.body_max_bytes});
	connection->next = http->connections;
	if (connection->next)
		connection->next->prev = connection;
	http->connections = connection;
	bufferevent_incref(bev);
	http->n_connections++;
	if (http->n_connections > cap) {
		connection->surplus = true;
		event_active(http->sweep, EV_TIMEOUT, 0);
	}
	if (http->n_connections >= cap + HTTP_CONNECTIONS_SPARE && !http->paused) {
		http->paused = true;
		evconnlistener_disable(http->listener);
	}
	return bev;
}

/* Whether evhttp has freed its side. */
static bool
is_free(const struct http_connection *connection)
{
	bufferevent_data_cb on_read = NULL, on_write = NULL;
	bufferevent_event_cb on_event = NULL;
	bufferevent_getcb(connection->bev, &on_read, &on_write, &on_event, NULL);
	return !on_read && !on_write && !on_event;
}

/* Whether the client has closed, or says no more, with its request in flight: evhttp
 * does not read then.  Where it has sent more before, the end stands behind that and is
 * seen when that is read. */
static bool
has_left(const struct http_connection *connection)
{
	char byte;
	ssize_t n =
	    recv(bufferevent_getfd(connection->bev), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void
sweep_one(struct http_connection *connection, uint64_t now)
{
	const struct http_options *options = &connection->http->options;
	uint64_t limit = options->request_timeout_s * UINT64_C(1000000000);
	evutil_socket_t fd = bufferevent_getfd(connection->bev);

	if (connection->refused_ns) {
		if (fd >= 0 && now - connection->refused_ns > HTTP_LINGER_NS)
			shutdown(fd, SHUT_RDWR);
		return;
	}
	if (connection->surplus) {
		refuse_surplus(connection);
		return;
	}
	if (connection->request) {
		if (has_left(connection))
			atomic_store(&connection->request->given_up, true);
		return;
	}
	if (evbuffer_get_length(bufferevent_get_output(connection->bev)) == 0)
		connection->sending_ns = 0;
	if (connection->broken && !connection->sending_ns && fd >= 0)
		shutdown(fd, SHUT_RDWR);
	if (connection->sending_ns) {
		if (fd >= 0 && now - connection->sending_ns > limit)
			shutdown(fd, SHUT_RDWR);
		return;
	}
	if (connection->receiving_ns && now - connection->receiving_ns > limit) {
		char message[96];
		snprintf(message, sizeof message,
		    "expected the whole request within %u s (request_timeout_s)",
		    options->request_timeout_s);
		refuse(connection, 408, message);
	} else if (connection->http->stop_ns && fd >= 0) {
		shutdown(fd, SHUT_RDWR); /* idle, or not whole: it will not be served */
	}
}

void
http_connection_sweep(struct http *http)
{
	uint64_t now = clock_ns();
	struct http_connection *next;

	for (struct http_connection *c = http->connections; c; c = next) {
		next = c->next;
		if (is_free(c))
			forget(c);
		else
			sweep_one(c, now);
	}
	size_t cap = http->options.connections_max;
	if (http->paused && http->n_connections < cap + HTTP_CONNECTIONS_SPARE &&
	    !http->stop_ns) {
		http->paused = false;
		evconnlistener_enable(http->listener);
	}
}

void
http_connection_close_all(struct http *http)
{
	struct http_connection *next;
	for (struct http_connection *c = http->connections; c; c = next) {
		next = c->next;
		forget(c);
	}
}

struct http_connection *
http_connection_of(struct http *http, struct evhttp_request *ev)
{
	struct bufferevent *bev =
	    evhttp_connection_get_bufferevent(evhttp_request_get_connection(ev));
	struct http_connection *connection = http->connections;
	while (connection && connection->bev != bev)
		connection = connection->next;
	return connection;
}

void
http_connection_answered(struct http_connection *connection, size_t body_n)
{
	struct http *http = connection->http;
	uint64_t n = body_n < connection->bodies ? body_n : connection->bodies;

	connection->bodies -= n;
	http->bodies -= n;
	connection->request = NULL;
	connection->sending_ns = clock_ns();
	if (connection->receiving_ns)
		connection->receiving_ns = clock_ns(); /* it had to wait for us */
}
