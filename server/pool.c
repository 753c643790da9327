#include "server/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct worker {
	struct pool *pool;
	pthread_t thread;
	unsigned index;
};

struct pool {
	pthread_mutex_t lock; /* guards first, last, n_waiting, n_running, stop */
	pthread_cond_t wake;
	struct pool_task *first;
	struct pool_task **last;
	size_t n_waiting;
	size_t n_running;
	bool stop;
	unsigned n_threads;
	struct worker workers[];
};

/* The next task; NULL when the pool stops and no task can come any more. */
static struct pool_task *
take(struct pool *pool)
{
	while (!pool->first && !(pool->stop && pool->n_running == 0))
		pthread_cond_wait(&pool->wake, &pool->lock);
	struct pool_task *task = pool->first;
	if (!task)
		return NULL;
	pool->first = task->next;
	if (!pool->first)
		pool->last = &pool->first;
	pool->n_waiting--;
	pool->n_running++;
	return task;
}

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct pool *pool = worker->pool;

	pthread_mutex_lock(&pool->lock);
	for (struct pool_task *task; (task = take(pool));) {
		pthread_mutex_unlock(&pool->lock);
		task->run(task, worker->index);
		pthread_mutex_lock(&pool->lock);
		pool->n_running--;
	}
	/* The others wait for the last running task too. */
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

struct pool *
pool_new(unsigned n_threads, struct error *err)
{
	size_t bytes = sizeof(struct pool) + n_threads * sizeof(struct worker);
	struct pool *pool = array_new(bytes, 1);
	if (!pool) {
		error_set(err, ERR_MEMORY, "no memory for %u workers", n_threads);
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->last = &pool->first;
	for (unsigned i = 0; i < n_threads; i++) {
		struct worker *worker = &pool->workers[i];
		*worker = (struct worker){.pool = pool, .index = i};
		int rc = pthread_create(&worker->thread, NULL, work, worker);
		if (rc != 0) {
			error_set(err, ERR_IO, "worker thread %u of %u: %s", i + 1,
			    n_threads, strerror(rc));
			pool_free(pool);
			return NULL;
		}
		pool->n_threads++;
	}
	return pool;
}

void
pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->workers[i].thread, NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void
pool_submit(struct pool *pool, struct pool_task *task)
{
	task->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*pool->last = task;
	pool->last = &task->next;
	pool->n_waiting++;
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

size_t
pool_waiting(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	size_t n = pool->n_waiting;
	pthread_mutex_unlock(&pool->lock);
	return n;
}

unsigned
pool_threads(const struct pool *pool)
{
	return pool->n_threads;
}
