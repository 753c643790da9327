#include "server/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/address.h"
#include "server/http_internal.h"

/* Descriptors that are not connections: LMDB, models, log, events. */
#define FDS_OTHER 64

/* Workers have put answers on the done list. */
static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct http *http = arg;
	uint64_t count;
	(void)what;

	(void)!read(fd, &count, sizeof count);
	pthread_mutex_lock(&http->lock);
	struct http_request *done = http->done;
	http->done = NULL;
	pthread_mutex_unlock(&http->lock);
	/* The list is newest first; answer in the order in which they came. */
	struct http_request *first = NULL;
	while (done) {
		struct http_request *next = done->next;
		done->next = first;
		first = done;
		done = next;
	}
	while (first) {
		struct http_request *next = first->next;
		http_reply_send(first);
		first = next;
	}
}

static void
stop(struct http *http)
{
	if (http->stop_ns)
		return;
	atomic_store(&http->stopping, true);
	http->stop_ns = clock_ns();
	/* Closed, not disabled: the system would go on accepting for a disabled one. */
	evhttp_del_accept_socket(http->evhttp, http->bound);
	http->listener = NULL;
	log_event(LOG_INFO, "stopping", "in_flight=%zu connections=%zu",
	    http->n_in_flight, http->n_connections);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct http *http = arg;
	(void)fd;
	(void)what;

	if (atomic_load(&http->stopping))
		stop(http);
	http_connection_sweep(http);
	if (!http->stop_ns)
		return;
	bool sending = http->n_in_flight > 0;
	for (struct http_connection *c = http->connections; c && !sending; c = c->next)
		sending = c->sending_ns != 0;
	uint64_t limit = http->options.stop_timeout_s * UINT64_C(1000000000);
	if (!sending || clock_ns() - http->stop_ns > limit)
		event_base_loopbreak(http->base);
}

static void
on_signal(evutil_socket_t signal_number, short what, void *arg)
{
	struct http *http = arg;
	(void)what;

	log_event(LOG_INFO, "signal", "number=%d", (int)signal_number);
	stop(http);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct http *http = arg;
	(void)fd;
	(void)what;

	if (!http->stop_ns && !http->paused)
		evconnlistener_enable(http->listener);
}

/* The server that accepts: libevent gives the callback below what evhttp has put into
 * the listener, which is nothing of ours.  A process has one server. */
static struct http *accepting;

/* accept(2) failed (no descriptor, no memory): it would fail again at once. */
static void
on_accept_error(struct evconnlistener *listener, void *evhttp)
{
	struct http *http = accepting;
	struct timeval pause = {.tv_usec = 100000};
	(void)evhttp;

	log_event(LOG_WARN, "accept", "error=\"%s\"", strerror(errno));
	evconnlistener_disable(listener);
	event_add(http->resume, &pause);
}

/* The soft limit of descriptors must hold every connection. */
static int
raise_fds(const struct http_options *options, struct error *err)
{
	rlim_t need = options->connections_max + HTTP_CONNECTIONS_SPARE + FDS_OTHER;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return error_set(err, ERR_IO, "getrlimit: %s", strerror(errno));
	if (limit.rlim_cur >= need)
		return 0;
	rlim_t had = limit.rlim_cur;
	limit.rlim_cur = need;
	if (need > limit.rlim_max || setrlimit(RLIMIT_NOFILE, &limit))
		return error_set(err, ERR_IO,
		    "expected room for %llu file descriptors, not %llu; raise `ulimit "
		    "-n` or lower max_connections",
		    (unsigned long long)need, (unsigned long long)had);
	return 0;
}

static int
bind_listener(struct http *http, struct error *err)
{
	struct sockaddr_storage address;
	socklen_t n;
	if (address_parse(&address, &n, http->options.listen, err))
		return -1;
	http->listener = evconnlistener_new_bind(http->base, NULL, NULL,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, 1024,
	    (struct sockaddr *)&address, (int)n);
	if (!http->listener)
		return error_set(err, ERR_IO, "listen: %s: %s", http->options.listen,
		    strerror(errno));
	http->bound = evhttp_bind_listener(http->evhttp, http->listener);
	if (!http->bound) {
		evconnlistener_free(http->listener);
		return error_set(err, ERR_MEMORY, "no memory for a listener");
	}
	accepting = http;
	evconnlistener_set_error_cb(http->listener, on_accept_error);
	/* Sockets inherit it: an answer's last bytes do not wait for an acknowledgement
	 * that the client's kernel delays. */
	int on = 1;
	if (setsockopt(evconnlistener_get_fd(http->listener), IPPROTO_TCP, TCP_NODELAY,
		&on, sizeof on))
		return error_set(err, ERR_IO, "TCP_NODELAY: %s", strerror(errno));
	n = sizeof address;
	getsockname(
	    evconnlistener_get_fd(http->listener), (struct sockaddr *)&address, &n);
	address_print(http->address, &address);
	http->listening = address;
	return 0;
}

static int
add_events(struct http *http, struct error *err)
{
	struct timeval period = {.tv_usec = 50000};

	http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (http->wake_fd < 0)
		return error_set(err, ERR_IO, "eventfd: %s", strerror(errno));
	http->wake =
	    event_new(http->base, http->wake_fd, EV_READ | EV_PERSIST, on_wake, http);
	http->sweep = event_new(http->base, -1, EV_PERSIST, on_sweep, http);
	http->resume = evtimer_new(http->base, on_resume, http);
	http->on_term = evsignal_new(http->base, SIGTERM, on_signal, http);
	http->on_int = evsignal_new(http->base, SIGINT, on_signal, http);
	if (!http->wake || !http->sweep || !http->resume || !http->on_term ||
	    !http->on_int || event_add(http->wake, NULL) ||
	    event_add(http->sweep, &period) || event_add(http->on_term, NULL) ||
	    event_add(http->on_int, NULL))
		return error_set(err, ERR_MEMORY, "no memory for the event loop");
	return 0;
}

struct http *
http_new(const struct http_options *options, struct error *err)
{
	struct http *http = array_new(1, sizeof *http);
	if (!http) {
		error_set(err, ERR_MEMORY, "no memory for the HTTP server");
		return NULL;
	}
	http->options = *options;
	http->wake_fd = -1;
	http->id_seed = clock_ns() ^ (uint64_t)getpid() << 40;
	pthread_mutex_init(&http->lock, NULL);
	if (raise_fds(options, err))
		goto err;
	http->base = event_base_new();
	http->evhttp = http->base ? evhttp_new(http->base) : NULL;
	if (!http->evhttp) {
		error_set(err, ERR_MEMORY, "no memory for the event loop");
		goto err;
	}
	/* The framing refuses first, in JSON; these stand behind it. */
	evhttp_set_max_headers_size(
	    http->evhttp, (ev_ssize_t)(2 * options->header_max_bytes));
	evhttp_set_max_body_size(http->evhttp, (ev_ssize_t)options->body_max_bytes);
	evhttp_set_allowed_methods(http->evhttp,
	    EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
		EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS);
	evhttp_set_timeout(http->evhttp, (int)options->idle_timeout_s);
	evhttp_set_default_content_type(http->evhttp, NULL);
	evhttp_set_bevcb(http->evhttp, http_connection_new, http);
	evhttp_set_gencb(http->evhttp, http_route_request, http);
	if (add_events(http, err) || bind_listener(http, err))
		goto err;
	return http;
err:
	http_free(http);
	return NULL;
}

void
http_free(struct http *http)
{
	if (!http)
		return;
	struct event *events[] = {
	    http->wake, http->sweep, http->resume, http->on_term, http->on_int};
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		if (events[i])
			event_free(events[i]);
	}
	if (http->evhttp)
		evhttp_free(http->evhttp); /* frees the connections and the listener */
	http_connection_close_all(http);
	while (http->done) {
		struct http_request *next = http->done->next;
		http_reply_free(http->done);
		http->done = next;
	}
	if (http->base) {
		event_base_loop(http->base, EVLOOP_NONBLOCK); /* finalizers */
		event_base_free(http->base);
	}
	if (http->wake_fd >= 0)
		close(http->wake_fd);
	pthread_mutex_destroy(&http->lock);
	free(http);
}

const char *
http_address(const struct http *http)
{
	return http->address;
}

size_t
http_run(struct http *http)
{
	event_base_dispatch(http->base);
	for (struct http_connection *c = http->connections; c; c = c->next)
		if (c->request)
			atomic_store(&c->request->given_up, true);
	return http->n_in_flight;
}

void
http_stop(struct http *http)
{
	atomic_store(&http->stopping, true); /* the next sweep sees it */
}

size_t
http_in_flight(const struct http *http)
{
	return atomic_load(&http->n_in_flight);
}

bool
http_stopping(struct http *http)
{
	return atomic_load(&http->stopping);
}
