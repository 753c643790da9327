#ifndef SERVER_API_BATCH_H
#define SERVER_API_BATCH_H

#include "server/api_change.h"

/*
 * POST /collections/{c}/points/batch: changes one after the other, each on the disk
 * before the next begins.  What they have in common is the request's: it is owned by
 * the change at work, and by the request between two.
 */
struct api_batch;

/* The change at work is done, and ends here: go on with the next, or answer. */
void api_batch_next(struct api_batch *batch, struct api_change *change);

/* Say in the error which operation it is of, and that those before it are done. */
void api_batch_prefix(const struct api_batch *batch, struct error *err);

void api_batch_free(struct api_batch *batch); /* NULL is fine */

#endif /* SERVER_API_BATCH_H */
