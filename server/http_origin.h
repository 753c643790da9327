#ifndef SERVER_HTTP_ORIGIN_H
#define SERVER_HTTP_ORIGIN_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * Whether a web page may have sent a request.
 *
 * A browser sends a page's POST to any server, whatever the page's site (only reading
 * the answer is forbidden to it), and a site can let its own name point to this
 * machine.  The first shows in the header Origin, the second in Host.  Clients that are
 * no browser send no Origin.
 */

/* Whether Origin ("http://name:port") is the site that Host ("name:port") names; the
 * ports 80 of http and 443 of https may be left out of either. */
bool http_origin_is_host(const char *origin, const char *host);

/* Whether Host (with any port: there are tunnels) is localhost, a loopback address or
 * the address that is listened on. */
bool http_origin_names_us(const char *host, const struct sockaddr_storage *listening);

#endif /* SERVER_HTTP_ORIGIN_H */
