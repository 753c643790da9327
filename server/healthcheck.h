#ifndef SERVER_HEALTHCHECK_H
#define SERVER_HEALTHCHECK_H

#include "base/error.h"

/* Ask the server at `listen` (ADDRESS:PORT as it was told; "any address" is asked on
 * loopback) for /readyz, for at most 5 s.  0 if it answers 200; ERR_IO (nobody
 * answers), ERR_UNAVAILABLE (it is not ready), ERR_INPUT (address). */
int healthcheck_run(const char *listen, struct error *err);

#endif /* SERVER_HEALTHCHECK_H */
