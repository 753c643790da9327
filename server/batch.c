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

/* A turn of a pass that is not alone. */
#define TURN_NS 2000000

/* Hits that the threads of a pass keep: 32 MiB. */
#define HITS_MAX ((size_t)1 << 22)

/* One scan of a store under way: nothing else of the store is scanned meanwhile. */
struct pass {
	struct store *store; /* NULL: none */
	struct flat_scratch *scratch;
	struct batch_search **taken;  /* (batch_max); of them n */
	struct flat_search *searches; /* (batch_max), of these */
	size_t n;
	bool begun;
	uint64_t until_ns;           /* its turn's end, at the latest */
	const atomic_bool *newcomer; /* the batch's */
	uint64_t scan_ns;            /* in its turns */
};

struct batch {
	struct batch_options options;
	struct pass passes[BATCH_PASSES];
	pthread_t thread;
	pthread_mutex_t lock; /* guards passes' stores, first, last, stats, stop */
	pthread_cond_t wake;
	struct batch_search *first;
	struct batch_search **last;
	struct batch_stats stats;
	bool stop;
	atomic_bool newcomer; /* waits for its first turn, which it can have */
};

static bool
is_scanned(const struct batch *batch, const struct store *store)
{
	for (size_t i = 0; i < BATCH_PASSES; i++)
		if (batch->passes[i].store == store)
			return true;
	return false;
}

/* Take the first search of a store that is not being scanned and those of the same
 * store out of the queue, in order.  Under the lock. */
static void
take(struct batch *batch, struct pass *pass)
{
	const size_t hits_max = HITS_MAX / batch->options.threads;
	struct batch_search **link = &batch->first;
	size_t n_hits = 0;

	atomic_store(&batch->newcomer, false);
	while (*link && is_scanned(batch, (*link)->store))
		link = &(*link)->next;
	if (!*link)
		return;
	pass->store = (*link)->store;
	while (*link && pass->n < batch->options.batch_max) {
		struct batch_search *search = *link;
		if (search->store != pass->store) {
			link = &search->next;
			continue;
		}
		n_hits += search->flat.k;
		if (pass->n > 0 && n_hits > hits_max)
			break;
		pass->taken[pass->n++] = search;
		*link = search->next;
	}
	if (!*link)
		batch->last = link;
	batch->stats.waiting -= pass->n;
	batch->stats.passes++;
}

static bool
is_given_up(const struct batch_search *search)
{
	return search->given_up && atomic_load(search->given_up);
}

/* Tell its owner; from here on it may be gone. */
static void
end_search(struct pass *pass, struct batch_search *search)
{
	search->scan_s = (double)pass->scan_ns * 1e-9;
	search->wait_s = clock_since(search->submitted_ns) - search->scan_s;
	search->on_done(search);
}

/* Without hits, and without a snapshot: its owner may let the store go before it
 * searches again. */
static void
end_empty(struct pass *pass, struct batch_search *search)
{
	search->flat.n = 0;
	store_release(search->snapshot);
	search->snapshot = NULL;
	end_search(pass, search);
}

static void
end_given_up(struct batch *batch, struct pass *pass, struct batch_search *search)
{
	pthread_mutex_lock(&batch->lock);
	batch->stats.given_up++;
	pthread_mutex_unlock(&batch->lock);
	error_set(&search->err, ERR_UNAVAILABLE,
	    "given up: nobody waits for this search any more");
	end_empty(pass, search);
}

/* Give each search of the pass a reference to one and the same snapshot, the newest. */
static void
acquire(struct pass *pass)
{
	size_t same;
	do {
		same = 1;
		for (size_t i = 0; i < pass->n; i++)
			pass->taken[i]->snapshot = store_acquire(pass->store);
		while (same < pass->n &&
		       pass->taken[same]->snapshot == pass->taken[0]->snapshot)
			same++;
		/* One was published between: a commit takes far longer than this. */
		for (size_t i = 0; same < pass->n && i < pass->n; i++)
			store_release(pass->taken[i]->snapshot);
	} while (same < pass->n);
}

/* Whether the pass has work for a team. */
static bool
wants_team(const struct pass *pass, const struct store_snapshot *s)
{
	size_t all = 0, a_row = 1, bytes = 0;

	for (size_t p = 0; p < s->n_parts; p++) {
		size_t words = distance_words(s->parts[p].shape);
		all += s->parts[p].n_live * words * 4;
		a_row = words > a_row ? words : a_row;
	}
	a_row *= 64; /* of a single row, each word is in a line of its own */
	for (size_t i = 0; i < pass->n && bytes < TEAM_BYTES; i++) {
		const struct row_set *rows = pass->searches[i].rows;
		size_t few =
		    rows ? a_row * row_set_count_to(rows, all / a_row + 1) : all;
		bytes += few < all ? few : all;
	}
	return bytes >= TEAM_BYTES;
}

/* Threads for the pass. */
static size_t
choose(
    const struct batch *batch, const struct pass *pass, const struct store_snapshot *s)
{
	size_t n_hits = 0, threads = batch->options.threads;

	if (!wants_team(pass, s))
		return 1;
	for (size_t i = 0; i < pass->n; i++)
		n_hits += pass->searches[i].k;
	while (threads > 1 && threads * n_hits > HITS_MAX)
		threads--;
	return threads;
}

/* Begin to scan for those that can be answered and somebody waits for. */
static int
begin(struct batch *batch, struct pass *pass, struct error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < pass->n; i++) {
		if (is_given_up(pass->taken[i]))
			end_given_up(batch, pass, pass->taken[i]);
		else
			pass->taken[n++] = pass->taken[i];
	}
	pass->n = n;
	if (n == 0)
		return 0;
	acquire(pass);
	const struct store_snapshot *snapshot = pass->taken[0]->snapshot;
	n = 0;
	for (size_t i = 0; i < pass->n; i++) {
		struct batch_search *search = pass->taken[i];
		search->outdated = search->newest != store_newest(snapshot);
		if (search->outdated) {
			end_empty(pass, search);
		} else {
			pass->searches[n] = search->flat;
			pass->taken[n++] = search;
		}
	}
	pass->n = n;
	return n == 0 ? 0
		      : flat_begin(pass->scratch, pass->searches, n, snapshot,
			    choose(batch, pass, snapshot), err);
}

static bool
is_wanted(const struct pass *pass)
{
	for (size_t i = 0; i < pass->n; i++)
		if (!is_given_up(pass->taken[i]))
			return true;
	return false;
}

/* The pass is over: tell the owners of its searches. */
static void
finish(struct batch *batch, struct pass *pass, const struct error *err)
{
	const bool wanted = is_wanted(pass);
	const size_t n = pass->n;

	if (wanted && err->code == ERR_NONE)
		flat_end(pass->scratch);
	if (n > 0 && batch->options.metrics)
		metrics_batch(batch->options.metrics, n);
	pthread_mutex_lock(&batch->lock);
	pass->store = NULL;
	batch->stats.passes--;
	pthread_mutex_unlock(&batch->lock);
	for (size_t i = 0; i < n; i++) {
		struct batch_search *search = pass->taken[i];
		search->flat.n = pass->searches[i].n;
		search->err = *err;
		if (wanted)
			end_search(pass, search);
		else
			end_given_up(batch, pass, search);
	}
	pass->n = 0;
	pass->begun = false;
	pass->scan_ns = 0;
}

/* Whether a turn is over before the scan is; any thread of the pass. */
static bool
is_over(void *arg)
{
	const struct pass *pass = arg;

	return atomic_load(pass->newcomer) || !is_wanted(pass) ||
	       (pass->until_ns < UINT64_MAX && clock_ns() >= pass->until_ns);
}

/* Scan for a while; one that is alone until a search of another store comes. */
static void
turn(struct batch *batch, struct pass *pass, bool alone)
{
	uint64_t start_ns = clock_ns();
	struct error err = {.code = ERR_NONE};
	bool more = pass->begun || begin(batch, pass, &err) == 0;

	pass->begun = true;
	pass->until_ns = alone ? UINT64_MAX : start_ns + TURN_NS;
	if (more)
		more = is_wanted(pass) && flat_step(pass->scratch, is_over, pass);
	pass->scan_ns += clock_ns() - start_ns;
	if (!more)
		finish(batch, pass, &err);
}

/* Passes have turns one after the other; one that is not used takes what waits. */
static void *
scan(void *arg)
{
	struct batch *batch = arg;

	for (size_t i = 0;; i = (i + 1) % BATCH_PASSES) {
		struct pass *pass = &batch->passes[i];
		pthread_mutex_lock(&batch->lock);
		while (!batch->first && batch->stats.passes == 0 && !batch->stop)
			pthread_cond_wait(&batch->wake, &batch->lock);
		bool over = !batch->first && batch->stats.passes == 0;
		if (!pass->store)
			take(batch, pass);
		bool alone = batch->stats.passes == 1;
		pthread_mutex_unlock(&batch->lock);
		if (over)
			return NULL;
		if (pass->store)
			turn(batch, pass, alone);
	}
}

static void
batch_free(struct batch *batch)
{
	/* The first last: the others' threads work in its memory. */
	for (size_t i = BATCH_PASSES; i-- > 0;) {
		flat_scratch_free(batch->passes[i].scratch);
		free(batch->passes[i].taken);
		free(batch->passes[i].searches);
	}
	pthread_cond_destroy(&batch->wake);
	pthread_mutex_destroy(&batch->lock);
	free(batch);
}

static int
passes_init(struct batch *batch, struct error *err)
{
	const struct batch_options *options = &batch->options;

	for (size_t i = 0; i < BATCH_PASSES; i++) {
		struct pass *pass = &batch->passes[i];
		pass->newcomer = &batch->newcomer;
		pass->scratch =
		    i == 0 ? flat_scratch_new(options->kernel, options->threads, err)
			   : flat_scratch_beside(batch->passes[0].scratch, err);
		if (!pass->scratch)
			return -1;
		pass->taken =
		    array_new(options->batch_max, sizeof(struct batch_search *));
		pass->searches = array_new(options->batch_max, sizeof *pass->searches);
		if (!pass->taken || !pass->searches)
			return error_set(err, ERR_MEMORY,
			    "no memory for batches of %zu searches",
			    options->batch_max);
	}
	return 0;
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
	atomic_init(&batch->newcomer, false);
	pthread_mutex_init(&batch->lock, NULL);
	pthread_cond_init(&batch->wake, NULL);
	if (passes_init(batch, err))
		goto err;
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
		if (batch->stats.passes < BATCH_PASSES &&
		    !is_scanned(batch, search->store))
			atomic_store(&batch->newcomer, true);
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
