#ifndef CLIENT_UPLOAD_H
#define CLIENT_UPLOAD_H

#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "client/remote.h"

/*
 * Batches of points on their way to a collection, a few requests at a time.
 *
 * Each of `connections` threads sends one batch after the other as
 * PUT /collections/{c}/points?wait=true.  What the server refuses for now (429 and
 * its kin) or a connection that cannot be made or breaks is tried again, after
 * Retry-After (but no less than 50 ms) or a growing pause, until patience_s have passed
 * without any batch acknowledged; a point is upserted by its id, so a batch that is
 * sent twice is stored once.  Any other refusal ends the upload; but of a batch that
 * the server cannot take as it is (400, 413) the points before the first bad one are
 * stored: parts of it are sent, half as long each time, until that point is alone.
 *
 * Batches of different threads may be applied in any order: of two points with one
 * id in different batches either may win unless connections = 1.
 * Owner only; on_tick is called on the owner's thread.
 */
#define UPLOAD_CONNECTIONS_DEFAULT 4
#define UPLOAD_CONNECTIONS_MAX 64
#define UPLOAD_PATIENCE_DEFAULT_S 60

struct upload_settings {
	const struct remote_address *address;
	const char *collection;
	uint32_t connections; /* 1 .. UPLOAD_CONNECTIONS_MAX */
	uint32_t patience_s;
	/* Called about ten times a second while upload_put or upload_finish wait;
	 * NULL = not. */
	void (*on_tick)(void *arg);
	void *arg;
};

struct upload_counts {
	uint64_t acknowledged; /* points the server has stored */
	uint64_t retries;      /* requests sent again */
	double waiting_s;      /* that upload_put and upload_finish have waited */
	char trouble[160];     /* why the last request has to be sent again, or "" */
};

struct upload;

/* Start the threads.  NULL: ERR_MEMORY, ERR_IO. */
struct upload *upload_open(const struct upload_settings *settings, struct error *err);

struct upload_point {
	uint64_t place; /* where it comes from, as its line; for messages */
	size_t end;     /* of its JSON in the batch, in bytes */
};

struct upload_batch {
	struct text *points; /* JSON objects, one comma between two */
	const struct upload_point *list;
	uint32_t n;         /* points, at least 1 */
	const char *source; /* what stands before a place in messages: "a.jsonl:" */
};

/* Send a batch; all of it is copied and *batch->points left empty.  Waits while all
 * threads are busy.  -1: the upload has ended because a batch, this or an earlier one,
 * was refused (then *err says why, after source and place), or a stop was requested
 * (then err->code is ERR_NONE). */
int upload_put(
    struct upload *upload, const struct upload_batch *batch, struct error *err);

/* Wait for all that is on its way, then say as upload_put how it ended; *counts is
 * filled either way.  After a refusal or a stop, batches that no thread has begun are
 * dropped and those on their way are waited for; those put before the refused one are
 * tried again as before, so that all points before the one that *err names (of several
 * the first) are stored unless the server cannot be reached. */
int upload_finish(
    struct upload *upload, struct upload_counts *counts, struct error *err);

/* The counts so far. */
void upload_count(struct upload *upload, struct upload_counts *counts);

/* Ends the threads (upload_finish, if it was not called) and frees; NULL is legal. */
void upload_close(struct upload *upload);

#endif /* CLIENT_UPLOAD_H */
