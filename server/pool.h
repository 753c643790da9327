#ifndef SERVER_POOL_H
#define SERVER_POOL_H

#include <stddef.h>

#include "base/error.h"

/*
 * Worker threads that run tasks in the order in which they came.
 *
 * A task is memory of its owner (most are inside a request), so handing one over
 * cannot fail.  The queue is bounded by its givers: every task belongs to a request,
 * and http.h admits no more requests than its `in_flight_max`.  Workers never wait
 * for one another: what has to wait for the disk or a scan ends its task and goes on
 * in a new one.
 */
struct pool_task {
	/* Runs on worker 0 .. n - 1; from its first line on the pool does not touch
	 * the task any more, so it may be freed or submitted again. */
	void (*run)(struct pool_task *task, unsigned worker);
	struct pool_task *next; /* the pool's, while queued */
};

struct pool;

/* n_threads (>= 1) workers.  NULL: ERR_MEMORY, ERR_IO (the system has no more
 * threads). */
struct pool *pool_new(unsigned n_threads, struct error *err);

/* Let the queued tasks run, also those that they submit, then end the workers. */
void pool_free(struct pool *pool);

/* Queue a task.  Any thread, workers too. */
void pool_submit(struct pool *pool, struct pool_task *task);

/* Tasks waiting for a worker now.  Any thread. */
size_t pool_waiting(struct pool *pool);

unsigned pool_threads(const struct pool *pool);

#endif /* SERVER_POOL_H */
