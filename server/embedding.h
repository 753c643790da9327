#ifndef SERVER_EMBEDDING_H
#define SERVER_EMBEDDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "attention/encoder.h"
#include "base/error.h"
#include "server/metrics.h"
#include "server/pool.h"

/*
 * One text model at work: the texts of concurrent requests go through it together.
 *
 * A job is the texts of one request, as pieces.  Jobs wait in two lines: small ones, of
 * at most a pass, and large ones.  A pass is what a worker embeds at once: as many
 * whole texts from one line as there are up to encoder_turn pieces and EMBEDDING_ITEMS
 * texts, of one job or several.  Nothing waits for a pass to fill: texts gather only
 * while all workers are busy.
 *
 * While both lines wait, their passes alternate: a query waits for the small jobs
 * before it and, for each pass of these and its own, for one pass of an import.  Small
 * jobs go in the order in which they came; a large job that a pass has not taken whole
 * goes to its line's end.  The passes of a large job run on several workers.
 *
 * Any thread may submit.  Job and items are the submitter's memory until on_done.
 */
#define EMBEDDING_ITEMS 1024

struct embedding;

struct embedding_job {
	struct encoder_item *items;
	size_t n; /* >= 1 */
	/* Called on a worker when every item has its vector or has failed, or the job
	 * is given up; the job is not touched after it. */
	void (*on_done)(struct embedding_job *job);
	void *arg;
	/* NULL, or: true once nobody wants the rest, which is then left out; its items
	 * are as they were. */
	const atomic_bool *given_up;

	struct embedding_job *next; /* the rest is the line's */
	size_t taken;               /* items that a pass has taken */
	size_t done;
	bool large;
};

/* The model's line; its workers are the pool's.  Free before pool and model, after the
 * pool's last task.  NULL: ERR_MEMORY. */
struct embedding *embedding_new(const struct encoder *encoder, struct pool *pool,
    struct metrics *metrics, struct error *err);
void embedding_free(struct embedding *embedding); /* NULL is fine */

void embedding_submit(struct embedding *embedding, struct embedding_job *job);

#endif /* SERVER_EMBEDDING_H */
