#include "server/batch.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* Bytes of codes, times queries, from which on a team of threads is quicker than the
 * one that is awake: below, waking and awaiting the team costs more than it saves, a
 * hundred times more where other programs want the processors too. */
#define TEAM_BYTES ((size_t)8 << 20)

struct batch {
	struct batch_options options;
	struct flat_scratch *alone;   /* one thread */
	struct flat_scratch *team;    /* all */
	struct batch_search **taken;  /* (batch_max) */
	struct flat_search *searches; /* (batch_max) */
	pthread_t thread;
	pthread_mutex_t lock; /* guards first, last, stats, stop */
	pthread_cond_t wake;
	struct batch_search *first;
	struct batch_search **last;
	struct batch_stats stats;
	bool stop;
};

/* Take the first search and those of the same store out of the queue, in order;
 * returns how many.  Under the lock. */
static size_t
take(struct batch *batch)
{
	size_t n = 0;
	struct batch_search **link = &batch->first;
	struct store *store = batch->first->store;

	while (*link && n < batch->options.batch_max) {
		if ((*link)->store == store) {
			batch->taken[n++] = *link;
			*link = (*link)->next;
		} else {
			link = &(*link)->next;
		}
	}
	if (!*link)
		batch->last = link;
	batch->stats.waiting -= n;
	return n;
}

static bool
is_given_up(const struct batch_search *search)
{
	return search->given_up && atomic_load(search->given_up);
}

/* End those of taken[0 .. n-1] that nobody waits for; returns how many are left. */
static size_t
drop_given_up(struct batch *batch, size_t n)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		struct batch_search *search = batch->taken[i];
		if (!is_given_up(search)) {
			batch->taken[left++] = search;
			continue;
		}
		search->flat.n = 0;
		error_set(&search->err, ERR_UNAVAILABLE,
		    "given up: nobody waits for this search any more");
		search->on_done(search); /* from here it may be gone */
	}
	pthread_mutex_lock(&batch->lock);
	batch->stats.given_up += n - left;
	pthread_mutex_unlock(&batch->lock);
	return left;
}

/* Give each of taken[0 .. n-1] a reference to one and the same snapshot, the newest. */
static void
acquire(struct batch *batch, size_t n)
{
	struct store *store = batch->taken[0]->store;
	size_t same;
	do {
		same = 1;
		for (size_t i = 0; i < n; i++)
			batch->taken[i]->snapshot = store_acquire(store);
		while (same < n &&
		       batch->taken[same]->snapshot == batch->taken[0]->snapshot)
			same++;
		/* One was published between: a commit takes far longer than this. */
		for (size_t i = 0; same < n && i < n; i++)
			store_release(batch->taken[i]->snapshot);
	} while (same < n);
}

static struct flat_scratch *
choose(const struct batch *batch, const struct store_snapshot *snapshot, size_t n)
{
	size_t bytes = 0;

	for (size_t p = 0; p < snapshot->n_parts; p++)
		bytes += snapshot->parts[p].n_live *
			 distance_words(snapshot->parts[p].shape) * 4;
	return bytes * n < TEAM_BYTES ? batch->alone : batch->team;
}

/* Search for taken[0 .. n-1] and tell their owners. */
static void
answer(struct batch *batch, size_t n)
{
	struct error err = {.code = ERR_NONE};
	uint64_t start_ns = clock_ns();
	size_t n_run = 0;

	n = drop_given_up(batch, n);
	if (n == 0)
		return;
	acquire(batch, n);
	const struct store_snapshot *snapshot = batch->taken[0]->snapshot;
	for (size_t i = 0; i < n; i++) {
		struct batch_search *search = batch->taken[i];
		search->wait_s = (double)(start_ns - search->submitted_ns) * 1e-9;
		search->outdated = search->newest != store_newest(snapshot);
		if (!search->outdated)
			batch->searches[n_run++] = search->flat;
	}
	if (n_run > 0)
		flat_run(batch->searches, n_run, snapshot,
		    choose(batch, snapshot, n_run), &err);
	double scan_s = clock_since(start_ns);
	if (batch->options.metrics)
		metrics_batch(batch->options.metrics, n);
	const struct flat_search *run = batch->searches;
	for (size_t i = 0; i < n; i++) {
		struct batch_search *search = batch->taken[i];
		search->flat.n = search->outdated ? 0 : run++->n;
		search->scan_s = scan_s;
		search->err = err;
		/* Its owner may let the store go before it searches again. */
		if (search->outdated) {
			store_release(search->snapshot);
			search->snapshot = NULL;
		}
		search->on_done(search); /* from here it may be gone */
	}
}

static void *
scan(void *arg)
{
	struct batch *batch = arg;

	pthread_mutex_lock(&batch->lock);
	for (;;) {
		while (!batch->first && !batch->stop)
			pthread_cond_wait(&batch->wake, &batch->lock);
		if (!batch->first)
			break;
		size_t n = take(batch);
		pthread_mutex_unlock(&batch->lock);
		answer(batch, n);
		pthread_mutex_lock(&batch->lock);
	}
	pthread_mutex_unlock(&batch->lock);
	return NULL;
}

static void
batch_free(struct batch *batch)
{
	flat_scratch_free(batch->alone);
	flat_scratch_free(batch->team);
	free(batch->taken);
	free(batch->searches);
	pthread_cond_destroy(&batch->wake);
	pthread_mutex_destroy(&batch->lock);
	free(batch);
}

struct batch *
batch_start(const struct batch_options *options, struct error *err)
{
	struct batch *batch = array_new(1, sizeof *batch);
	if (!batch) {
		error_set(err, ERR_MEMORY, "no memory for the scan thread");
		return NULL;
	}
	batch->options = *options;
	if (batch->options.waiting_max == 0)
		batch->options.waiting_max = BATCH_WAITING_DEFAULT;
	batch->last = &batch->first;
	pthread_mutex_init(&batch->lock, NULL);
	pthread_cond_init(&batch->wake, NULL);
	batch->taken = array_new(options->batch_max, sizeof(struct batch_search *));
	batch->searches = array_new(options->batch_max, sizeof *batch->searches);
	batch->alone = flat_scratch_new(options->kernel, 1, err);
	batch->team = flat_scratch_new(options->kernel, options->threads, err);
	if (!batch->alone || !batch->team)
		goto err;
	if (!batch->taken || !batch->searches) {
		error_set(err, ERR_MEMORY, "no memory for batches of %zu searches",
		    options->batch_max);
		goto err;
	}
	int rc = pthread_create(&batch->thread, NULL, scan, batch);
	if (rc) {
		error_set(err, ERR_IO, "scan thread: %s", strerror(rc));
		goto err;
	}
	return batch;
err:
	batch_free(batch);
	return NULL;
}

void
batch_stop(struct batch *batch)
{
	if (!batch)
		return;
	pthread_mutex_lock(&batch->lock);
	batch->stop = true;
	pthread_cond_signal(&batch->wake);
	pthread_mutex_unlock(&batch->lock);
	pthread_join(batch->thread, NULL);
	batch_free(batch);
}

int
batch_submit(struct batch *batch, struct batch_search *search, struct error *err)
{
	int rc = 0;

	search->next = NULL;
	search->snapshot = NULL;
	search->submitted_ns = clock_ns();
	pthread_mutex_lock(&batch->lock);
	if (batch->stats.waiting >= batch->options.waiting_max) {
		batch->stats.refused++;
		rc = error_set(err, ERR_BUSY,
		    "%zu searches wait already, the most that may "
		    "(max_queued_searches): try again in a moment",
		    batch->stats.waiting);
	} else {
		*batch->last = search;
		batch->last = &search->next;
		batch->stats.waiting++;
		pthread_cond_signal(&batch->wake);
	}
	pthread_mutex_unlock(&batch->lock);
	return rc;
}

struct batch_stats
batch_stats(struct batch *batch)
{
	pthread_mutex_lock(&batch->lock);
	struct batch_stats stats = batch->stats;
	pthread_mutex_unlock(&batch->lock);
	return stats;
}
