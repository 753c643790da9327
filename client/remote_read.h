#ifndef CLIENT_REMOTE_READ_H
#define CLIENT_REMOTE_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "client/remote.h"

/* The reading half of a connection, for remote.c alone (and its tests). */
struct remote_reader {
	int fd;
	size_t start; /* buf[start .. end - 1] is received and not yet used */
	size_t end;
	char buf[16 * 1024];
};

struct remote_reading {
	bool keep;   /* the connection may carry another request */
	bool began;  /* at least one byte of the answer has come */
	bool closed; /* the other end closed the connection */
};

/* Read one answer; its body goes to *into, and answer->body points there.  Errors as
 * remote_request.  `how` is filled on failure, too. */
int remote_read_answer(struct remote_reader *reader, struct text *into,
    struct remote_answer *answer, struct remote_reading *how, struct error *err);

#endif /* CLIENT_REMOTE_READ_H */
