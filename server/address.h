#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

/* *address, *length := "ADDRESS:PORT" (127.0.0.1:6333, [::1]:6333; port 0 .. 65535).
 * Numbers only, no names.  ERR_INPUT. */
int address_parse(struct sockaddr_storage *address, socklen_t *length, const char *text,
    struct error *err);

/* text := the address in the same form. */
#define ADDRESS_TEXT_MAX 64
void address_print(char text[ADDRESS_TEXT_MAX], const struct sockaddr_storage *address);

/* Whether only this machine can reach it. */
bool address_is_loopback(const struct sockaddr_storage *address);

/* Whether it is "any address". */
bool address_is_any(const struct sockaddr_storage *address);

/* Whether both are the same but for the port. */
bool address_same_host(
    const struct sockaddr_storage *a, const struct sockaddr_storage *b);

/* "Any address" becomes loopback, so that one can connect to it. */
void address_to_loopback(struct sockaddr_storage *address);

#endif /* SERVER_ADDRESS_H */
