/*
 * Claims: while points of a collection are written, replaced and deleted through the
 * writer, searches in batches by a team of threads find what a search by one thread
 * finds in the snapshot that comes with them; progressive ones, beside them, find rows
 * that are there, in order; searches of a second collection, and those that are given
 * up, are answered between.  At the end the database has what the store has.
 * With clang's ThreadSanitizer (make test-threads) no two threads touch a byte without
 * an order.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/progressive.h"
#include "server/batch.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define POINTS 12000 /* more than PROGRESSIVE_ROWS */
#define DIMS 512
#define BITS 4
#define WIRE_BYTES (DIMS / 8 * BITS)
#define K 10
#define N_SEARCHERS 6
#define N_BURSTS 30
#define BURST 4 /* searches of a client at once: a team's work */
#define N_WRITERS 2
#define GROUP 100 /* points of an operation */

struct world {
	struct rig rig;
	struct collection *large, *small;
	struct batch *batch;
	atomic_bool stop;
};

/* Cmocka's asserts jump, which only its own thread may. */
static void
must(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "test_concurrent: not so: %s\n", what);
		abort();
	}
}

static struct collection *
create(struct rig *rig, const char *name, bool progressive)
{
	struct collection_settings s = {.size = DIMS,
	    .distance = COLLECTION_DOT,
	    .shape = {DIMS, BITS, 0},
	    .code_distance = DISTANCE_INT8,
	    .binarizer = COLLECTION_UNTRAINED,
	    .progressive = progressive};

	snprintf(s.name, sizeof s.name, "%s", name);
	return rig_create(rig, &s);
}

/* Points number first, first + step, ... with random codes. */
static void
upsert(struct world *w, struct collection *c, struct rng *rng, uint64_t first,
    uint64_t step, size_t n)
{
	struct writer_point *points = array_new(n, sizeof *points);
	uint8_t *wires = array_new(n, WIRE_BYTES);
	struct error err;

	for (size_t i = 0; i < n; i++) {
		uint8_t *wire = wires + i * WIRE_BYTES;
		for (size_t j = 0; j < WIRE_BYTES; j++)
			wire[j] = (uint8_t)rng_u64(rng);
		points[i] = (struct writer_point){
		    .wire = wire, .factor = 0.5f + rng_uniform(rng)};
		point_id_from_number(&points[i].id, first + i * step);
	}
	must(rig_upsert(&w->rig, c, points, n, &err) == 0, "an upsert");
	free(points);
	free(wires);
}

/* Each writer has ids of its own: some are replaced, some deleted, some new. */
static void *
write_points(void *arg)
{
	static atomic_int numbers;
	struct world *w = arg;
	const uint64_t number = (uint64_t)atomic_fetch_add(&numbers, 1) % N_WRITERS;
	struct point_id ids[GROUP];
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 100 + number);
	while (!atomic_load(&w->stop)) {
		uint64_t first =
		    rng_below(&rng, POINTS / N_WRITERS) * N_WRITERS + number;
		upsert(w, w->large, &rng, first, N_WRITERS, GROUP);
		first = rng_below(&rng, POINTS / N_WRITERS) * N_WRITERS + number;
		for (size_t i = 0; i < GROUP; i++)
			point_id_from_number(&ids[i], first + i * N_WRITERS);
		must(rig_delete(&w->rig, w->large, ids, GROUP / 4, &err) >= 0,
		    "a deletion");
		upsert(w, w->small, &rng, number, N_WRITERS, 3);
	}
	return NULL;
}

static void
on_done(struct batch_search *search)
{
	sem_post(search->arg);
}

static void
make_query(struct distance_query *query, struct rng *rng)
{
	int8_t k[DIMS];

	for (size_t i = 0; i < sizeof k; i++)
		k[i] = (int8_t)((int)rng_below(rng, 255) - 127);
	distance_query_int8(query, k, 0.01f, (struct code_shape){DIMS, BITS, 0},
	    (struct distance_terms){0});
}

/* What a search by itself finds in the same snapshot; of a progressive one each hit is
 * among all rows' hits, with its score. */
static void
verify(const struct batch_search *search, struct flat_scratch *scratch)
{
	const struct store_snapshot *s = search->snapshot;
	const bool progressive = search->flat.progressive != NULL;
	const size_t k = progressive ? s->n_live : K;
	struct hit *hits = array_new(k, sizeof *hits);
	struct flat_search again = {.query = search->flat.query, .k = k, .hits = hits};
	struct error err;

	must(hits && flat_run(&again, 1, s, scratch, &err) == 0, "a search alone");
	must(search->flat.n == (again.n < K ? again.n : K), "as many hits");
	for (size_t i = 0, j = 0; i < search->flat.n; i++, j++) {
		const struct hit *hit = &search->flat.hits[i];
		while (progressive && j < again.n && hits[j].slot != hit->slot)
			j++;
		must(j < again.n && hits[j].slot == hit->slot &&
			 hits[j].score == hit->score,
		    "the same hits, in order");
	}
	free(hits);
}

/* What one client asks at once. */
struct burst {
	struct batch_search searches[BURST];
	struct distance_query *queries; /* (BURST) */
	struct hit hits[BURST][K];
	atomic_bool given_up;
	sem_t done;
};

static void
submit(struct world *w, struct burst *b, size_t i, struct rng *rng)
{
	struct collection *c = rng_below(rng, 8) ? w->large : w->small;
	struct error err;

	make_query(&b->queries[i], rng);
	b->searches[i] = (struct batch_search){.store = collection_store(c),
	    .flat = {.query = &b->queries[i],
		.k = K,
		.hits = b->hits[i],
		.progressive = rng_below(rng, 2) ? collection_progressive(c) : NULL},
	    .newest = collection_codes(c)->version,
	    .given_up = &b->given_up,
	    .on_done = on_done,
	    .arg = &b->done};
	must(batch_submit(w->batch, &b->searches[i], &err) == 0, "room for a search");
}

static void *
search_points(void *arg)
{
	static atomic_int numbers;
	struct world *w = arg;
	struct burst *b = array_new(1, sizeof *b);
	struct error err;
	struct rng rng;
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);

	b->queries = array_new_aligned(BURST, sizeof *b->queries);
	sem_init(&b->done, 0, 0);
	rng_init(&rng, test_seed(), 200 + (uint64_t)atomic_fetch_add(&numbers, 1));
	for (int round = 0; round < N_BURSTS; round++) {
		bool leaves = rng_below(&rng, 8) == 0;
		atomic_store(&b->given_up, false);
		for (size_t i = 0; i < BURST; i++)
			submit(w, b, i, &rng);
		atomic_store(&b->given_up, leaves);
		for (size_t i = 0; i < BURST; i++)
			while (sem_wait(&b->done) != 0)
				continue;
		for (size_t i = 0; i < BURST; i++) {
			const struct batch_search *search = &b->searches[i];
			must(search->err.code == ERR_NONE || leaves, "an answer");
			if (search->err.code == ERR_NONE)
				verify(search, scratch);
			store_release(search->snapshot);
		}
	}
	sem_destroy(&b->done);
	flat_scratch_free(scratch);
	free(b->queries);
	free(b);
	return NULL;
}

/* Every live row of the collection, in one number (FNV-1a). */
static uint64_t
digest(const struct collection *c)
{
	struct store_snapshot *s = store_acquire(collection_store(c));
	uint64_t hash = 0xcbf29ce484222325;
	struct {
		uint8_t wire[WIRE_BYTES];
		float factor;
		uint32_t slot;
	} row;

	for (row.slot = 0; row.slot < s->n_slots; row.slot++) {
		if (!store_get(row.wire, &row.factor, NULL, s, row.slot))
			continue;
		for (size_t i = 0; i < sizeof row; i++)
			hash = (hash ^ ((uint8_t *)&row)[i]) * 0x100000001b3;
	}
	store_release(s);
	return hash;
}

static void
test_concurrent(void **state)
{
	struct world w = {.stop = false};
	pthread_t searchers[N_SEARCHERS], writers[N_WRITERS];
	struct error err;
	struct rng rng;
	char dir[512];
	(void)state;

	rng_init(&rng, test_seed(), 1);
	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rig_open(&w.rig, dir, 0);
	w.large = create(&w.rig, "large", true);
	w.small = create(&w.rig, "small", false);
	upsert(&w, w.large, &rng, 0, 1, POINTS);
	upsert(&w, w.small, &rng, 0, 1, 10);
	struct batch_options options = {
	    .kernel = distance_best(), .threads = 3, .batch_max = 64};
	w.batch = batch_start(&options, &err);
	assert_non_null(w.batch);
	for (size_t i = 0; i < N_WRITERS; i++)
		pthread_create(&writers[i], NULL, write_points, &w);
	for (size_t i = 0; i < N_SEARCHERS; i++)
		pthread_create(&searchers[i], NULL, search_points, &w);
	for (size_t i = 0; i < N_SEARCHERS; i++)
		pthread_join(searchers[i], NULL);
	atomic_store(&w.stop, true);
	for (size_t i = 0; i < N_WRITERS; i++)
		pthread_join(writers[i], NULL);
	batch_stop(w.batch);
	const uint32_t version = collection_codes(w.large)->version;
	assert_int_equal(
	    progressive_info(collection_progressive(w.large), version).n_samples,
	    PROGRESSIVE_SAMPLES);
	const uint64_t before = digest(w.large);
	collection_release(w.large);
	collection_release(w.small);
	rig_close(&w.rig);
	rig_open(&w.rig, dir, 0);
	w.large = registry_find(w.rig.registry, "large", &err);
	assert_non_null(w.large);
	assert_true(digest(w.large) == before);
	collection_release(w.large);
	rig_close(&w.rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_concurrent)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
