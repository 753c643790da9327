#include "client/remote.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "client/remote_read.h"

#define CONNECT_TIMEOUT_S 10

struct remote {
	struct remote_address address;
	struct remote_reader reader; /* reader.fd is -1 while there is no connection */
	struct text head;            /* of the request */
	struct text into;            /* of the answer */
};

/* host:port of an http:// URL. */
static int
parse_url(struct remote_address *a, const char *url, struct error *err)
{
	static const char scheme[] = "http://";
	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return error_set(err, ERR_INPUT,
		    "expected a URL like http://HOST:PORT, not \"%.100s\"%s", url,
		    strncmp(url, "https://", 8) == 0 ? "; TLS is a proxy's work" : "");
	const char *host = url + strlen(scheme);
	const char *host_end, *port = REMOTE_PORT_DEFAULT;
	if (*host == '[') {
		host_end = strchr(++host, ']');
		if (host_end == NULL)
			return error_set(
			    err, ERR_INPUT, "expected a ']' in \"%.100s\"", url);
	} else {
		host_end = host + strcspn(host, ":/");
	}
	const char *rest = host_end + (*host_end == ']');
	size_t port_len = strlen(port);
	if (*rest == ':') {
		port = rest + 1;
		port_len = strspn(port, "0123456789");
		rest = port + port_len;
		if (port_len < 1 || port_len > 5 || atoi(port) < 1 ||
		    atoi(port) > 65535)
			return error_set(err, ERR_INPUT,
			    "expected a port 1 to 65535 in \"%.100s\"", url);
	}
	if (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0)
		return error_set(err, ERR_INPUT,
		    "expected nothing behind host and port in \"%.100s\"", url);
	size_t n = (size_t)(host_end - host);
	if (n < 1 || n >= sizeof a->host || strcspn(host, " \t\r\n@?#\\") < n)
		return error_set(
		    err, ERR_INPUT, "expected a host name in \"%.100s\"", url);
	memcpy(a->host, host, n);
	a->host[n] = '\0';
	memcpy(a->port, port, port_len);
	a->port[port_len] = '\0';
	return 0;
}

/* The key goes into a header: printable ASCII only. */
static int
set_key(struct remote_address *a, const char *key, size_t n, const char *from,
    struct error *err)
{
	if (n == 0)
		return error_set(err, ERR_INPUT, "expected an API key in %s", from);
	if (n >= sizeof a->api_key)
		return error_set(err, ERR_INPUT,
		    "expected an API key of at most %zu bytes in %s",
		    sizeof a->api_key - 1, from);
	for (size_t i = 0; i < n; i++) {
		if (key[i] < 0x21 || key[i] > 0x7e)
			return error_set(err, ERR_INPUT,
			    "expected an API key of printable ASCII in %s", from);
	}
	memcpy(a->api_key, key, n);
	a->api_key[n] = '\0';
	return 0;
}

static int
read_key(struct remote_address *a, const char *path, struct error *err)
{
	char line[1024];
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", path, strerror(errno));
	if (fgets(line, sizeof line, file) == NULL)
		line[0] = '\0';
	fclose(file);
	return set_key(a, line, strcspn(line, " \t\r\n"), path, err);
}

int
remote_address_read(struct remote_address *address, const char *url,
    const char *key_path, struct error *err)
{
	struct remote_address a = {.api_key = ""};
	if (parse_url(&a, url, err) == -1)
		return -1;
	const char *key = getenv("HALFTONE_API_KEY");
	if (key_path != NULL && read_key(&a, key_path, err) == -1)
		return -1;
	if (key_path == NULL && key != NULL && key[0] != '\0' &&
	    set_key(&a, key, strlen(key), "HALFTONE_API_KEY", err) == -1)
		return -1;
	*address = a;
	return 0;
}

struct remote *
remote_open(const struct remote_address *address, struct error *err)
{
	struct remote *r = array_new(1, sizeof *r);
	if (r == NULL) {
		error_set(err, ERR_MEMORY, "no memory for a connection");
		return NULL;
	}
	r->address = *address;
	r->reader.fd = -1;
	return r;
}

static void
disconnect(struct remote *r)
{
	if (r->reader.fd != -1)
		close(r->reader.fd);
	r->reader.fd = -1;
	r->reader.start = r->reader.end = 0;
}

void
remote_close(struct remote *r)
{
	if (r == NULL)
		return;
	disconnect(r);
	text_free(&r->head);
	text_free(&r->into);
	free(r);
}

/* A connected socket to one address, or -1 with errno. */
static int
connect_to(const struct addrinfo *info)
{
	struct timeval connect_timeout = {.tv_sec = CONNECT_TIMEOUT_S};
	struct timeval timeout = {.tv_sec = REMOTE_TIMEOUT_S};
	int on = 1;
	int fd = socket(
	    info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
	if (fd == -1)
		return -1;
	/* Linux counts connect() against the sending time-out. */
	setsockopt(
	    fd, SOL_SOCKET, SO_SNDTIMEO, &connect_timeout, sizeof connect_timeout);
	if (connect(fd, info->ai_addr, info->ai_addrlen) == -1) {
		int saved = errno == EINPROGRESS ? ETIMEDOUT : errno;
		close(fd);
		errno = saved;
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static int
connect_any(struct remote *r, struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	int rc = getaddrinfo(r->address.host, r->address.port, &hints, &list);
	if (rc != 0)
		return error_set(err, rc == EAI_AGAIN ? ERR_IO : ERR_NOT_FOUND,
		    "%s: %s", r->address.host, gai_strerror(rc));
	int fd = -1;
	for (struct addrinfo *i = list; i != NULL && fd == -1; i = i->ai_next)
		fd = connect_to(i);
	int saved = errno;
	freeaddrinfo(list);
	if (fd == -1)
		return error_set(err, ERR_IO, "cannot connect to %s port %s: %s",
		    r->address.host, r->address.port, strerror(saved));
	r->reader.fd = fd;
	r->reader.start = r->reader.end = 0;
	return 0;
}

static int
compose_head(struct remote *r, const char *method, const char *path, size_t len,
    struct error *err)
{
	bool colon = strchr(r->address.host, ':') != NULL; /* IPv6 */
	struct text *h = &r->head;
	text_clear(h);
	text_printf(h,
	    "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\n"
	    "User-Agent: halftone/" HALFTONE_VERSION "\r\nAccept: application/json\r\n",
	    method, path, colon ? "[" : "", r->address.host, colon ? "]" : "",
	    r->address.port);
	if (r->address.api_key[0] != '\0')
		text_printf(h, "api-key: %s\r\n", r->address.api_key);
	if (len > 0)
		text_string(h, "Content-Type: application/json\r\n");
	if (len > 0 || strcmp(method, "GET") != 0)
		text_printf(h, "Content-Length: %zu\r\n", len);
	text_string(h, "\r\n");
	if (h->failed)
		return error_set(err, ERR_MEMORY, "no memory for a request");
	return 0;
}

/* Send head and body.  When the server closes before it has read all of it, its
 * answer may still say why, so that is no error yet. */
static int
send_all(struct remote *r, const struct text *body, struct error *err)
{
	struct iovec parts[2] = {
	    {r->head.bytes, r->head.n},
	    {body == NULL ? NULL : body->bytes, body == NULL ? 0 : body->n},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	while (parts[0].iov_len + parts[1].iov_len > 0) {
		ssize_t n = sendmsg(r->reader.fd, &message, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n == -1)
			return error_set(err, ERR_IO, "sending: %s",
			    errno == EAGAIN ? "the server takes nothing"
					    : strerror(errno));
		for (size_t i = 0; i < 2; i++) {
			size_t part =
			    (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;
			parts[i].iov_base = (char *)parts[i].iov_base + part;
			parts[i].iov_len -= part;
			n -= (ssize_t)part;
		}
	}
	return 0;
}

int
remote_request(struct remote *r, struct remote_answer *answer, const char *method,
    const char *path, const struct text *body, struct error *err)
{
	struct remote_reading how = {false, false, false};
	bool again;
	int rc;

	if (compose_head(r, method, path, body == NULL ? 0 : body->n, err) == -1)
		return -1;
	do {
		bool reused = r->reader.fd != -1;
		if (!reused && connect_any(r, err) == -1)
			return -1;
		rc = send_all(r, body, err);
		if (rc == 0)
			rc =
			    remote_read_answer(&r->reader, &r->into, answer, &how, err);
		if (rc == -1 || !how.keep)
			disconnect(r);
		again = rc == -1 && reused && how.closed && !how.began;
	} while (again);
	return rc;
}

int
remote_refused(const struct remote_answer *answer, struct error *err)
{
	static const enum error_code codes[][2] = {
	    {404, ERR_NOT_FOUND},
	    {409, ERR_EXISTS},
	    {413, ERR_TOO_LARGE},
	    {501, ERR_UNSUPPORTED},
	    {507, ERR_FULL},
	};
	struct error ignored;
	struct json root, value;
	enum error_code code = answer->status >= 500 ? ERR_UNAVAILABLE : ERR_INPUT;

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (answer->status == (int)codes[i][0])
			code = codes[i][1];
	}
	if (remote_busy(answer->status))
		code = ERR_BUSY;
	/* {"status":{"error":"..."}}; anything else is shown as it came. */
	if (json_check(&root, answer->body, answer->len, &ignored) == 0 &&
	    json_member(&root, "status", &value) &&
	    json_member(&value, "error", &value) && value.type == JSON_STRING) {
		char *text = array_new(value.len + 1, 1);
		if (text == NULL)
			return error_set(
			    err, ERR_MEMORY, "no memory for an error's text");
		json_string(text, value.len + 1, &value);
		error_set(
		    err, code, "the server answered %d: %s", answer->status, text);
		free(text);
		return -1;
	}
	return error_set(err, code, "the server answered %d: %.150s", answer->status,
	    answer->len == 0 ? "(no body)" : answer->body);
}

bool
remote_busy(int status)
{
	return status == 408 || status == 429 || status == 502 || status == 503 ||
	       status == 504;
}

double
remote_pause(const struct remote_answer *answer, double unsaid_s)
{
	double pause = answer->says_when ? answer->retry_after_s : unsaid_s;
	return pause < REMOTE_PAUSE_MIN_S ? REMOTE_PAUSE_MIN_S : pause;
}
