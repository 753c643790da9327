#include "server/healthcheck.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server that listens everywhere is asked on loopback. */
static void
to_loopback(struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)address;
		if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
			in6->sin6_addr = in6addr_loopback;
	} else {
		struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)address;
		if (in4->sin_addr.s_addr == htonl(INADDR_ANY))
			in4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
}

int
healthcheck_run(const char *listen, struct error *err)
{
	static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
				      "Connection: close\r\n\r\n";
	struct sockaddr_storage address;
	struct timeval patience = {.tv_sec = 5};
	char answer[64] = "";
	int n = sizeof address;

	if (evutil_parse_sockaddr_port(listen, (struct sockaddr *)(void *)&address, &n))
		return error_set(err, ERR_INPUT,
		    "listen: expected ADDRESS:PORT, not '%.80s'", listen);
	to_loopback(&address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(err, ERR_IO, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	int rc = 0;
	size_t got = 0;
	if (connect(fd, (struct sockaddr *)(void *)&address, (socklen_t)n) ||
	    send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
		rc = error_set(err, ERR_IO, "%s: %s", listen, strerror(errno));
	while (rc == 0 && got < sizeof answer - 1) {
		ssize_t some = recv(fd, answer + got, sizeof answer - 1 - got, 0);
		if (some <= 0)
			break;
		got += (size_t)some;
	}
	close(fd);
	if (rc == 0 && strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
		return error_set(err, ERR_UNAVAILABLE, "%s answered '%.30s'", listen,
		    answer[0] ? answer : "nothing");
	return rc;
}
