#include "server/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
address_parse(struct sockaddr_storage *address, socklen_t *length, const char *text,
    struct error *err)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char host[ADDRESS_TEXT_MAX] = "";
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	char *end = NULL;
	unsigned long port = 0;
	bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';

	if (n >= sizeof host)
		n = 0;
	if (bracketed)
		memcpy(host, text + 1, n - 2);
	else
		memcpy(host, text, n);
	if (colon && colon[1] >= '0' && colon[1] <= '9')
		port = strtoul(colon + 1, &end, 10);
	if (!end || *end || port > 65535 ||
	    inet_pton(bracketed ? AF_INET6 : AF_INET, host,
		bracketed ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr) != 1)
		return error_set(err, ERR_INPUT,
		    "listen: expected ADDRESS:PORT such as 127.0.0.1:6333 or "
		    "[::1]:6333, not '%.80s'",
		    text);
	in4.sin_port = in6.sin6_port = htons((uint16_t)port);
	memset(address, 0, sizeof *address);
	if (bracketed)
		memcpy(address, &in6, sizeof in6);
	else
		memcpy(address, &in4, sizeof in4);
	*length = bracketed ? sizeof in6 : sizeof in4;
	return 0;
}

void
address_print(char text[ADDRESS_TEXT_MAX], const struct sockaddr_storage *address)
{
	char host[INET6_ADDRSTRLEN] = "";
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)address;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		snprintf(
		    text, ADDRESS_TEXT_MAX, "[%s]:%d", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in4 = (const void *)address;
		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
		snprintf(text, ADDRESS_TEXT_MAX, "%s:%d", host, ntohs(in4->sin_port));
	}
}

bool
address_is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)address;
		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	}
	const struct sockaddr_in *in4 = (const void *)address;
	return ntohl(in4->sin_addr.s_addr) >> 24 == 127;
}

bool
address_is_any(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)address;
		return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
	}
	const struct sockaddr_in *in4 = (const void *)address;
	return in4->sin_addr.s_addr == htonl(INADDR_ANY);
}

bool
address_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
		return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
	}
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

void
address_to_loopback(struct sockaddr_storage *address)
{
	if (!address_is_any(address))
		return;
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)address)->sin6_addr = in6addr_loopback;
	else
		((struct sockaddr_in *)(void *)address)->sin_addr.s_addr =
		    htonl(INADDR_LOOPBACK);
}
