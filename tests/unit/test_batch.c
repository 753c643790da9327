/*
 * Claims:
 * - the pool runs every task once, also those that tasks submit, also when it is freed
 *   with tasks waiting;
 * - concurrent searches of several stores, while a writer changes one of them, get the
 *   hits that flat_run finds in the snapshot that comes with them;
 * - one with too few queries for the parts of its store is told so, and the others of
 *   its batch are answered;
 * - no more searches wait than may;
 * - one that nobody waits for any more is ended without a scan.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "server/batch.h"
#include "server/pool.h"
#include "tests/support/guard.h"

/* ---- pool ---- */

struct chain {
	struct pool_task task;
	struct pool *pool;
	int left;
	atomic_int *runs;
};

static void
run_chain(struct pool_task *task, unsigned worker)
{
	struct chain *chain = (struct chain *)(void *)task;
	assert_true(worker < 3);
	atomic_fetch_add(chain->runs, 1);
	if (chain->left-- > 0)
		pool_submit(chain->pool, task);
}

static void
test_pool(void **state)
{
	static struct chain chains[200];
	atomic_int runs = 0;
	struct error err;
	(void)state;

	for (int round = 0; round < 20; round++) {
		struct pool *pool = pool_new(3, &err);
		assert_non_null(pool);
		assert_int_equal(pool_threads(pool), 3);
		runs = 0;
		for (int i = 0; i < 200; i++) {
			chains[i] = (struct chain){.task.run = run_chain,
			    .pool = pool,
			    .left = 4,
			    .runs = &runs};
			pool_submit(pool, &chains[i].task);
		}
		pool_free(pool);
		assert_int_equal(runs, 200 * 5);
	}
	array_fail_at(1);
	assert_null(pool_new(1, &err));
	array_fail_at(0);
	assert_int_equal(err.code, ERR_MEMORY);
	pool_free(NULL);
}

/* ---- batch ---- */

#define N_STORES 3
#define N_CLIENTS 6
#define N_SEARCHES 60
#define ROWS 300
#define ROWS_LARGE 12000 /* of the last store: interrupted by searches of others */
#define K 10

static const struct code_shape shape = {128, 2, 0};

struct bench {
	struct store *stores[N_STORES];
	struct batch *batch;
	atomic_int stop;
};

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	bool done;
};

static void
put_random(struct store *store, uint32_t slot, struct rng *rng)
{
	uint8_t wire[CODE_BYTES_MAX];
	struct error err;
	for (size_t i = 0; i < code_bytes(shape); i++)
		wire[i] = (uint8_t)rng_u64(rng);
	struct store_row row = {.wire = wire, .factor = 0.5f + rng_uniform(rng)};
	assert_int_equal(store_put(store, slot, &row, &err), 0);
}

static void
on_done(struct batch_search *search)
{
	struct waiter *waiter = search->arg;
	pthread_mutex_lock(&waiter->lock);
	waiter->done = true;
	pthread_cond_signal(&waiter->done_cond);
	pthread_mutex_unlock(&waiter->lock);
}

static void
make_query(struct distance_query *query, struct rng *rng)
{
	int8_t k[128];
	for (size_t i = 0; i < sizeof k; i++)
		k[i] = (int8_t)((int)rng_below(rng, 255) - 127);
	distance_query_int8(query, k, 0.01f, shape, (struct distance_terms){0});
}

/* Search again by ourselves in the snapshot that came back. */
static void
verify(const struct batch_search *search, struct flat_scratch *scratch)
{
	struct hit hits[K];
	struct flat_search again = {
	    .query = search->flat.query, .k = K, .hits = hits, .n = 0};
	struct error err;

	assert_int_equal(search->err.code, ERR_NONE);
	assert_non_null(search->snapshot);
	assert_int_equal(flat_run(&again, 1, search->snapshot, scratch, &err), 0);
	assert_int_equal(search->flat.n, again.n);
	for (size_t i = 0; i < again.n; i++) {
		assert_int_equal(search->flat.hits[i].slot, hits[i].slot);
		assert_true(search->flat.hits[i].score == hits[i].score);
	}
	assert_true(search->wait_s >= 0 && search->scan_s >= 0);
}

static void *
client(void *arg)
{
	struct bench *bench = arg;
	struct distance_query *query = array_new_aligned(1, sizeof *query);
	struct waiter waiter = {
	    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	struct hit hits[K];
	struct error err;
	struct rng rng;
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);

	rng_init(&rng, test_seed(), (uint64_t)(uintptr_t)&rng);
	for (int i = 0; i < N_SEARCHES; i++) {
		make_query(query, &rng);
		waiter.done = false;
		struct batch_search search = {
		    .store = bench->stores[rng_below(&rng, N_STORES)],
		    .flat = {.query = query, .k = K, .hits = hits},
		    .newest = 1,
		    .on_done = on_done,
		    .arg = &waiter};
		assert_int_equal(batch_submit(bench->batch, &search, &err), 0);
		pthread_mutex_lock(&waiter.lock);
		while (!waiter.done)
			pthread_cond_wait(&waiter.done_cond, &waiter.lock);
		pthread_mutex_unlock(&waiter.lock);
		verify(&search, scratch);
		store_release(search.snapshot);
	}
	flat_scratch_free(scratch);
	free(query);
	return NULL;
}

static void *
writer(void *arg)
{
	struct bench *bench = arg;
	struct rng rng;
	rng_init(&rng, test_seed(), 77);
	while (!atomic_load(&bench->stop)) {
		for (int i = 0; i < 5; i++)
			put_random(
			    bench->stores[0], (uint32_t)rng_below(&rng, ROWS), &rng);
		store_publish(bench->stores[0]);
		usleep(500);
	}
	return NULL;
}

static void
test_batch(void **state)
{
	struct bench bench = {.stop = 0};
	pthread_t clients[N_CLIENTS], changing;
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 3);
	for (int s = 0; s < N_STORES; s++) {
		bench.stores[s] = store_new(1, shape, false, &err);
		uint32_t n = s + 1 < N_STORES ? ROWS : ROWS_LARGE;
		for (uint32_t slot = 0; slot < n; slot++)
			put_random(bench.stores[s], slot, &rng);
		store_publish(bench.stores[s]);
	}
	struct batch_options options = {
	    .kernel = distance_best(), .threads = 2, .batch_max = 4};
	bench.batch = batch_start(&options, &err);
	assert_non_null(bench.batch);
	assert_int_equal(pthread_create(&changing, NULL, writer, &bench), 0);
	for (int i = 0; i < N_CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, client, &bench), 0);
	for (int i = 0; i < N_CLIENTS; i++)
		pthread_join(clients[i], NULL);
	atomic_store(&bench.stop, 1);
	pthread_join(changing, NULL);
	assert_int_equal(batch_stats(bench.batch).waiting, 0);
	batch_stop(bench.batch);
	for (int s = 0; s < N_STORES; s++)
		store_free(bench.stores[s]);
}

/* Searches that wait when the thread is told to stop are answered. */
static void
on_counted(struct batch_search *search)
{
	atomic_fetch_add((atomic_int *)search->arg, 1);
	store_release(search->snapshot);
}

static void
test_stop(void **state)
{
	static struct batch_search searches[50];
	static struct hit hits[50][K];
	struct distance_query *query = array_new_aligned(1, sizeof *query);
	atomic_int answered = 0;
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 4);
	make_query(query, &rng);
	struct store *store = store_new(1, shape, false, &err);
	put_random(store, 0, &rng);
	store_publish(store);
	struct batch_options options = {
	    .kernel = distance_best(), .threads = 1, .batch_max = 64};
	struct batch *batch = batch_start(&options, &err);
	for (int i = 0; i < 50; i++) {
		searches[i] = (struct batch_search){.store = store,
		    .flat = {.query = query, .k = K, .hits = hits[i]},
		    .newest = 1,
		    .on_done = on_counted,
		    .arg = &answered};
		assert_int_equal(batch_submit(batch, &searches[i], &err), 0);
	}
	batch_stop(batch);
	assert_int_equal(answered, 50);
	for (int i = 0; i < 50; i++)
		assert_int_equal(searches[i].flat.n, 1);
	store_free(store);
	free(query);
	batch_stop(NULL);
	/* Every allocation may fail; then nothing is left behind (leaks are errors). */
	for (long k = 1; k < 30; k++) {
		array_fail_at(k);
		batch = batch_start(&options, &err);
		array_fail_at(0);
		if (batch) {
			batch_stop(batch);
			return;
		}
		assert_int_equal(err.code, ERR_MEMORY);
	}
	fail();
}

static void
on_batched(struct batch_search *search)
{
	sem_post(search->arg);
}

/* The store gets a part while one search waits that knows of it and one that does not.
 */
static void
test_outdated(void **state)
{
	static struct hit hits[2][K];
	struct distance_query *queries = array_new_aligned(2, sizeof *queries);
	struct batch_search searches[2];
	struct error err;
	struct rng rng;
	sem_t done;
	(void)state;

	rng_init(&rng, test_seed(), 5);
	make_query(&queries[0], &rng);
	queries[1] = queries[0];
	sem_init(&done, 0, 0);
	struct store *store = store_new(1, shape, false, &err);
	put_random(store, 0, &rng);
	assert_int_equal(store_add_part(store, 2, shape, &err), 0);
	store_publish(store);
	struct batch_options options = {
	    .kernel = distance_best(), .threads = 1, .batch_max = 64};
	for (int first = 0; first < 2; first++) {
		struct batch *batch = batch_start(&options, &err);
		for (int k = 0; k < 2; k++) {
			int i = k ^ first;
			searches[i] = (struct batch_search){.store = store,
			    .flat = {.query = queries, .k = K, .hits = hits[i]},
			    .newest = 1 + (uint32_t)i,
			    .on_done = on_batched,
			    .arg = &done};
			assert_int_equal(batch_submit(batch, &searches[i], &err), 0);
		}
		for (int k = 0; k < 2; k++)
			while (sem_wait(&done) != 0)
				continue;
		batch_stop(batch);
		assert_true(searches[0].outdated);
		assert_int_equal(searches[0].flat.n, 0);
		assert_false(searches[1].outdated);
		assert_int_equal(searches[1].flat.n, 1);
		assert_null(searches[0].snapshot); /* it does not hold the store */
		store_release(searches[1].snapshot);
	}
	sem_destroy(&done);
	store_free(store);
	free(queries);
}

/* The scan thread is held in the first search's end, while others queue. */
struct held {
	sem_t entered, go;
};

static void
on_held(struct batch_search *search)
{
	struct held *held = search->arg;

	store_release(search->snapshot);
	sem_post(&held->entered);
	while (sem_wait(&held->go) != 0)
		continue;
}

#define N_WAITING 5

static void
test_bounded(void **state)
{
	static struct hit hits[N_WAITING + 2][K];
	static struct batch_search searches[N_WAITING + 2];
	struct distance_query *query = array_new_aligned(1, sizeof *query);
	atomic_bool left = true;
	atomic_int answered = 0;
	struct held held;
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 6);
	make_query(query, &rng);
	sem_init(&held.entered, 0, 0);
	sem_init(&held.go, 0, 0);
	struct store *store = store_new(1, shape, false, &err);
	put_random(store, 0, &rng);
	store_publish(store);
	struct batch_options options = {.kernel = distance_best(),
	    .threads = 1,
	    .batch_max = 64,
	    .waiting_max = N_WAITING};
	struct batch *batch = batch_start(&options, &err);
	for (int i = 0; i < N_WAITING + 2; i++) {
		searches[i] = (struct batch_search){.store = store,
		    .flat = {.query = query, .k = K, .hits = hits[i], .n = 77},
		    .newest = 1,
		    .given_up = i % 2 ? &left : NULL,
		    .on_done = i == 0 ? on_held : on_counted,
		    .arg = i == 0 ? (void *)&held : &answered};
		int rc = batch_submit(batch, &searches[i], &err);
		assert_int_equal(rc, i <= N_WAITING ? 0 : -1);
		while (i == 0 && sem_wait(&held.entered) != 0)
			continue;
	}
	assert_int_equal(err.code, ERR_BUSY);
	assert_non_null(strstr(err.text, "max_queued_searches"));
	assert_int_equal(batch_stats(batch).waiting, N_WAITING);
	assert_int_equal(batch_stats(batch).refused, 1);
	sem_post(&held.go);
	while (atomic_load(&answered) < N_WAITING)
		usleep(1000);
	assert_int_equal(batch_stats(batch).given_up, (N_WAITING + 1) / 2);
	batch_stop(batch);
	for (int i = 1; i <= N_WAITING; i++) {
		assert_int_equal(
		    searches[i].err.code, i % 2 ? ERR_UNAVAILABLE : ERR_NONE);
		assert_int_equal(searches[i].flat.n, i % 2 ? 0 : 1);
		assert_int_equal(searches[i].snapshot == NULL, i % 2);
	}
	sem_destroy(&held.entered);
	sem_destroy(&held.go);
	store_free(store);
	free(query);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pool),
	    cmocka_unit_test(test_batch),
	    cmocka_unit_test(test_stop),
	    cmocka_unit_test(test_outdated),
	    cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
