#include "tests/support/fake_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096

struct connection {
	struct fake_server *server;
	pthread_t thread;
	int fd;
	unsigned number;
};

struct fake_server {
	int fd;
	int port;
	fake_handler *handler;
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the rest; held while the handler runs */
	struct connection connections[CONNECTIONS_MAX];
	unsigned n_connections;
	unsigned n_requests;
	bool stopping;
};

/* Read one request into buf; returns bytes of its head, 0 at the end. */
static size_t
read_request(int fd, char **buf, size_t *len, size_t *body_len)
{
	size_t cap = 1 << 16, n = 0, head = 0;
	*buf = malloc(cap + 1);
	assert(*buf != NULL);
	for (;;) {
		(*buf)[n] = '\0';
		char *end = head == 0 ? strstr(*buf, "\r\n\r\n") : NULL;
		if (end != NULL) {
			head = (size_t)(end - *buf) + 4;
			char *length = strcasestr(*buf, "content-length:");
			*body_len = length == NULL || length > end
					? 0
					: strtoul(length + 15, NULL, 10);
		}
		if (head > 0 && n >= head + *body_len) {
			*len = n;
			return head;
		}
		if (n == cap) {
			cap *= 2;
			*buf = realloc(*buf, cap + 1);
			assert(*buf != NULL);
		}
		ssize_t got = recv(fd, *buf + n, cap - n, 0);
		if (got <= 0)
			return 0;
		n += (size_t)got;
	}
}

static void
send_reply(int fd, const struct fake_reply *reply)
{
	size_t piece = reply->piece == 0 ? reply->len : reply->piece;
	for (size_t i = 0; i < reply->len; i += piece) {
		size_t n = reply->len - i < piece ? reply->len - i : piece;
		if (send(fd, reply->bytes + i, n, MSG_NOSIGNAL) <= 0)
			return;
	}
}

/* Answer one request; whether the connection goes on. */
static bool
answer(struct connection *c)
{
	struct fake_server *s = c->server;
	struct fake_reply *reply = calloc(1, sizeof *reply);
	char method[16] = "", path[1024] = "", *buf;
	size_t len, body_len = 0;
	size_t head = read_request(c->fd, &buf, &len, &body_len);
	bool go_on = false;

	assert(reply != NULL);
	if (head > 0 && sscanf(buf, "%15s %1023s", method, path) == 2) {
		char *body = malloc(body_len + 1);
		assert(body != NULL);
		memcpy(body, buf + head, body_len);
		body[body_len] = '\0';
		buf[head - 1] = '\0';
		pthread_mutex_lock(&s->lock);
		struct fake_request request = {
		    method, path, buf, body, body_len, c->number, s->n_requests++};
		s->handler(reply, &request, s->arg);
		pthread_mutex_unlock(&s->lock);
		send_reply(c->fd, reply);
		go_on = !reply->close;
		free(body);
	}
	free(buf);
	free(reply);
	return go_on;
}

static void *
serve(void *arg)
{
	struct connection *c = arg;
	int on = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	while (answer(c))
		;
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static void *
accept_all(void *arg)
{
	struct fake_server *s = arg;
	for (;;) {
		int fd = accept(s->fd, NULL, NULL);
		pthread_mutex_lock(&s->lock);
		bool stopping = s->stopping || fd == -1;
		if (!stopping) {
			assert(s->n_connections < CONNECTIONS_MAX);
			struct connection *c = &s->connections[s->n_connections];
			*c = (struct connection){
			    .server = s, .fd = fd, .number = s->n_connections};
			s->n_connections++;
			int rc = pthread_create(&c->thread, NULL, serve, c);
			assert(rc == 0);
			(void)rc;
		}
		pthread_mutex_unlock(&s->lock);
		if (stopping) {
			if (fd != -1)
				close(fd);
			return NULL;
		}
	}
}

static int
listen_on(struct fake_server *s, bool ipv6)
{
	struct sockaddr_in6 six = {
	    .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in four = {.sin_family = AF_INET};
	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t len = ipv6 ? sizeof six : sizeof four;
	struct sockaddr *address =
	    ipv6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	s->fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd == -1 || bind(s->fd, address, len) == -1 || listen(s->fd, 64) == -1)
		return -1;
	getsockname(s->fd, address, &len);
	s->port = ntohs(ipv6 ? six.sin6_port : four.sin_port);
	return 0;
}

struct fake_server *
fake_server_start(fake_handler *handler, void *arg, bool ipv6)
{
	struct fake_server *s = calloc(1, sizeof *s);
	assert(s != NULL);
	s->handler = handler;
	s->arg = arg;
	pthread_mutex_init(&s->lock, NULL);
	if (listen_on(s, ipv6) == -1) {
		if (s->fd != -1)
			close(s->fd);
		free(s);
		return NULL;
	}
	int rc = pthread_create(&s->thread, NULL, accept_all, s);
	assert(rc == 0);
	(void)rc;
	return s;
}

int
fake_server_port(const struct fake_server *s)
{
	return s->port;
}

void
fake_server_stop(struct fake_server *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (unsigned i = 0; i < s->n_connections; i++) {
		shutdown(s->connections[i].fd, SHUT_RDWR);
		pthread_join(s->connections[i].thread, NULL);
		close(s->connections[i].fd);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void
fake_reply_json(
    struct fake_reply *reply, int status, const char *headers, const char *body)
{
	reply->len = (size_t)snprintf(reply->bytes, sizeof reply->bytes,
	    "HTTP/1.1 %d Fake\r\nContent-Type: application/json\r\n%s"
	    "Content-Length: %zu\r\n\r\n%s",
	    status, headers, strlen(body), body);
	assert(reply->len < sizeof reply->bytes);
}
