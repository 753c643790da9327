#include "server/healthcheck.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/address.h"

int
healthcheck_run(const char *listen, struct error *err)
{
	static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
				      "Connection: close\r\n\r\n";
	struct sockaddr_storage address;
	struct timeval patience = {.tv_sec = 5};
	char answer[64] = "";
	socklen_t n;

	if (address_parse(&address, &n, listen, err))
		return -1;
	address_to_loopback(&address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(err, ERR_IO, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	int rc = 0;
	size_t got = 0;
	if (connect(fd, (struct sockaddr *)(void *)&address, n) ||
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
