/*
 * Claims of server/batch.h about scans that have turns:
 * - a search of few rows does not wait for the scan of many;
 * - a scan that nobody waits for any more ends in the middle.
 */
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
#include "tests/support/guard.h"

#define K 10
#define LARGE_ROWS 300000
#define LARGE_SEARCHES 64
#define ATTEMPTS 10

/* A store whose scan takes a good part of a second, with the slowest kernel, and one of
 * a row. */
struct uneven {
	struct store *large, *small;
	struct distance_query *query;
	struct batch *batch;
	struct batch_search searches[LARGE_SEARCHES + 1]; /* the last: of the small */
	struct hit hits[LARGE_SEARCHES + 1][K];
	atomic_int n_done;
	int n_done_before_small;
	atomic_bool small_done, given_up;
};

static void
on_large(struct batch_search *search)
{
	struct uneven *u = search->arg;

	store_release(search->snapshot);
	atomic_fetch_add(&u->n_done, 1);
}

static void
on_small(struct batch_search *search)
{
	struct uneven *u = search->arg;

	store_release(search->snapshot);
	u->n_done_before_small = atomic_load(&u->n_done);
	atomic_store(&u->small_done, true);
}

static struct store *
store_of_equal(struct code_shape of, uint32_t n)
{
	static const uint8_t wire[CODE_BYTES_MAX];
	struct error err;
	struct store *store = store_new(1, of, false, &err);

	for (uint32_t slot = 0; slot < n; slot++) {
		struct store_row row = {.wire = wire, .factor = 1};
		assert_int_equal(store_put(store, slot, &row, &err), 0);
	}
	store_publish(store);
	return store;
}

static struct uneven *
uneven_new(void)
{
	static const struct code_shape of = {64, 4, 0};
	struct uneven *u = array_new(1, sizeof *u);
	int8_t k[64];
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 7);
	for (size_t i = 0; i < sizeof k; i++)
		k[i] = (int8_t)((int)rng_below(&rng, 255) - 127);
	u->query = array_new_aligned(1, sizeof *u->query);
	distance_query_int8(u->query, k, 0.01f, of, (struct distance_terms){0});
	u->large = store_of_equal(of, LARGE_ROWS);
	u->small = store_of_equal(of, 1);
	struct batch_options options = {.kernel = distance_find(CPU_SCALAR),
	    .threads = 2,
	    .batch_max = LARGE_SEARCHES};
	u->batch = batch_start(&options, &err);
	assert_non_null(u->batch);
	return u;
}

static void
uneven_free(struct uneven *u)
{
	batch_stop(u->batch);
	store_free(u->large);
	store_free(u->small);
	free(u->query);
	free(u);
}

static void
submit_uneven(struct uneven *u, size_t i, bool small)
{
	struct error err;

	u->searches[i] = (struct batch_search){.store = small ? u->small : u->large,
	    .flat = {.query = u->query, .k = K, .hits = u->hits[i]},
	    .newest = 1,
	    .given_up = &u->given_up,
	    .on_done = small ? on_small : on_large,
	    .arg = u};
	assert_int_equal(batch_submit(u->batch, &u->searches[i], &err), 0);
}

/* All searches of the large store, until the scan that takes the last of them. */
static void
submit_large(struct uneven *u)
{
	atomic_store(&u->n_done, 0);
	for (size_t i = 0; i < LARGE_SEARCHES; i++)
		submit_uneven(u, i, false);
	while (batch_stats(u->batch).waiting > 0)
		usleep(100);
}

static void
wait_large(struct uneven *u)
{
	while (atomic_load(&u->n_done) < LARGE_SEARCHES)
		usleep(100);
	while (batch_stats(u->batch).passes > 0)
		usleep(100);
}

/* If the large scan was at its end when the small search came, once more. */
static void
test_fair(void **state)
{
	struct uneven *u = uneven_new();
	int attempts = 0;
	(void)state;

	do {
		submit_large(u);
		atomic_store(&u->small_done, false);
		submit_uneven(u, LARGE_SEARCHES, true);
		wait_large(u);
		while (!atomic_load(&u->small_done))
			usleep(100);
	} while (u->n_done_before_small == LARGE_SEARCHES && ++attempts < ATTEMPTS);
	assert_true(u->n_done_before_small < LARGE_SEARCHES);
	assert_int_equal(u->searches[LARGE_SEARCHES].flat.n, 1);
	for (size_t i = 0; i < LARGE_SEARCHES; i++)
		for (size_t j = 0; j < K; j++)
			assert_int_equal(u->hits[i][j].slot, j);
	uneven_free(u);
}

/* If the large scan was at its end when nobody waited any more, once more. */
static void
test_given_up(void **state)
{
	struct uneven *u = uneven_new();
	const struct batch_search *last = &u->searches[LARGE_SEARCHES - 1];
	int attempts = 0;
	(void)state;

	do {
		atomic_store(&u->given_up, false);
		submit_large(u); /* the scan of the last has begun */
		atomic_store(&u->given_up, true);
		wait_large(u);
	} while (last->err.code != ERR_UNAVAILABLE && ++attempts < ATTEMPTS);
	assert_int_equal(last->err.code, ERR_UNAVAILABLE);
	/* The first may have had a scan of their own, before. */
	for (size_t i = 0; i < LARGE_SEARCHES; i++) {
		bool given_up = u->searches[i].err.code == ERR_UNAVAILABLE;
		assert_int_equal(u->searches[i].flat.n, given_up ? 0 : K);
		assert_int_equal(u->searches[i].snapshot == NULL, given_up);
	}
	uneven_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fair),
	    cmocka_unit_test(test_given_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
