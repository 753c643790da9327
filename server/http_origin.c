#include "server/http_origin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/address.h"

/* The length of "name:port" without the port, if it is this one. */
static size_t
without_port(const char *host, const char *port)
{
	size_t n = strlen(host), m = strlen(port);
	return n > m && strcmp(host + n - m, port) == 0 ? n - m : n;
}

bool
http_origin_is_host(const char *origin, const char *host)
{
	static const struct {
		const char *scheme, *port;
	} schemes[] = {{"http://", ":80"}, {"https://", ":443"}};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		size_t n = strlen(schemes[i].scheme);
		if (strncasecmp(origin, schemes[i].scheme, n) != 0)
			continue;
		origin += n;
		n = without_port(origin, schemes[i].port);
		return n == without_port(host, schemes[i].port) &&
		       strncasecmp(origin, host, n) == 0;
	}
	return false; /* "null", or no site on the web */
}

bool
http_origin_names_us(const char *host, const struct sockaddr_storage *listening)
{
	const char *colon = strrchr(host, ':');
	bool has_port = colon && !strchr(colon, ']');
	size_t n = has_port ? (size_t)(colon - host) : strlen(host);
	char text[ADDRESS_TEXT_MAX + 2];
	struct sockaddr_storage address;
	socklen_t length;
	struct error err;

	if (has_port && colon[1 + strspn(colon + 1, "0123456789")] != '\0')
		return false;
	if (n == strlen("localhost") && strncasecmp(host, "localhost", n) == 0)
		return true;
	if (n >= ADDRESS_TEXT_MAX)
		return false;
	snprintf(text, sizeof text, "%.*s:0", (int)n, host);
	return address_parse(&address, &length, text, &err) == 0 &&
	       (address_is_loopback(&address) ||
		   address_same_host(&address, listening));
}
