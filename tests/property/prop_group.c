/*
 * Hits grouped by point (server/api_group.h) against brute force: random collections of
 * plain and chunked points, whose codes come from few clusters so that neighbours and
 * equal scores abound; for random queries, limits, offsets and points to leave out, the
 * walk that asks for more rows until it has enough points gives exactly the points that
 * sorting all of them by their best row gives, in the same order, with that row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/flat.h"
#include "server/api_group.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define POINTS 120
#define PASSAGES_MAX 60
#define WIRE 8
#define GAMES 6
#define QUERIES 200
#define BATCH 24

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}, .code_distance = DISTANCE_HAMMING};

/* A point to be written. */
struct made {
	uint8_t wires[PASSAGES_MAX][WIRE];
	struct db_code codes[PASSAGES_MAX];
	struct db_passage passages[PASSAGES_MAX];
	struct writer_point point;
};

struct game {
	struct rig rig;
	struct rng rng;
	struct collection *c;
	struct flat_scratch *flat;
	struct store_snapshot *snapshot;
	struct db_txn *txn;
	size_t n_again; /* walks that asked for more rows */
};

/* Near one of four corners, so that scores repeat. */
static void
random_wire(struct game *g, uint8_t wire[WIRE])
{
	memset(wire, (int)(rng_below(&g->rng, 4) * 85), WIRE);
	for (uint64_t flips = rng_below(&g->rng, 6); flips > 0; flips--)
		wire[rng_below(&g->rng, WIRE)] ^=
		    (uint8_t)(1u << rng_below(&g->rng, 8));
}

/* Point i with n_passages (0: plain). */
static void
make_point(struct game *g, struct made *made, uint64_t i, size_t n_passages)
{
	for (uint32_t k = 0; k == 0 || k < n_passages; k++) {
		random_wire(g, made->wires[k]);
		made->codes[k] = (struct db_code){.wire = made->wires[k], .factor = 1};
		made->passages[k] = (struct db_passage){k, k + 1};
	}
	made->point = (struct writer_point){.wire = made->wires[0],
	    .factor = 1,
	    .n_passages = n_passages,
	    .codes = made->codes,
	    .passages = made->passages};
	point_id_from_number(&made->point.id, i);
}

/* Some points at random, of which `chunked` in a hundred have passages. */
static void
put_batch(struct game *g, uint64_t chunked)
{
	struct made *made = array_new(BATCH, sizeof *made);
	struct writer_point points[BATCH];
	struct error err;

	for (size_t k = 0; k < BATCH; k++) {
		bool is_chunked = rng_below(&g->rng, 100) < chunked;
		make_point(g, &made[k], rng_below(&g->rng, POINTS),
		    is_chunked ? 1 + rng_below(&g->rng, PASSAGES_MAX) : 0);
		points[k] = made[k].point;
	}
	assert_int_equal(rig_upsert(&g->rig, g->c, points, BATCH, &err), 0);
	free(made);
}

static void
delete_some(struct game *g)
{
	struct point_id ids[BATCH / 4];
	struct error err;

	for (size_t k = 0; k < BATCH / 4; k++)
		point_id_from_number(&ids[k], rng_below(&g->rng, POINTS));
	assert_true(rig_delete(&g->rig, g->c, ids, BATCH / 4, &err) >= 0);
}

/* What the answer is made of. */
struct answer {
	struct hit hits[POINTS];
	size_t n;
};

struct wish {
	const struct distance_query *query;
	size_t offset, limit;
	const struct point_id *without;
};

/* All rows in order; of each point the first one. */
static void
brute_force(struct game *g, const struct wish *wish, struct answer *answer)
{
	struct hit *hits = array_new(g->snapshot->n_live, sizeof *hits);
	struct flat_search search = {
	    .query = wish->query, .k = g->snapshot->n_live, .hits = hits};
	struct point_id seen[POINTS];
	struct db_record record;
	struct error err;
	size_t n = 0;
	bool found;

	answer->n = 0;
	assert_int_equal(flat_run(&search, 1, g->snapshot, g->flat, &err), 0);
	assert_int_equal(search.n, g->snapshot->n_live);
	for (size_t i = 0; i < search.n; i++) {
		assert_int_equal(db_record(g->txn, collection_codes(g->c)->collection,
				     hits[i].slot, &found, &record, &err),
		    0);
		assert_true(found);
		bool old = wish->without && point_id_equal(&record.id, wish->without);
		for (size_t k = 0; k < n && !old; k++)
			old = point_id_equal(&record.id, &seen[k]);
		if (old)
			continue;
		seen[n++] = record.id;
		if (n > wish->offset && answer->n < wish->limit)
			answer->hits[answer->n++] = hits[i];
	}
	free(hits);
}

/* As server/api_query_answer.c does it. */
static void
walk(struct game *g, const struct wish *wish, struct answer *answer)
{
	size_t end = wish->offset + wish->limit, counted = 0, n_hits = 0;
	size_t n_points = g->snapshot->n_live - g->snapshot->n_extra, n_left;
	size_t k = api_group_rows(end + (wish->without ? 1 : 0), g->c);
	struct db_record record;
	struct error err;

	for (; k > 0; k = counted < end && n_left > 0
			      ? api_group_more(n_hits, k, g->snapshot)
			      : 0) {
		assert_true(n_hits == 0 || k > n_hits);
		g->n_again += n_hits > 0;
		struct hit *hits = array_new(k, sizeof *hits);
		struct flat_search search = {
		    .query = wish->query, .k = k, .hits = hits};
		struct api_group group = {.txn = g->txn,
		    .collection = collection_codes(g->c)->collection,
		    .without = wish->without,
		    .n_without = wish->without ? 1 : 0};
		assert_int_equal(flat_run(&search, 1, g->snapshot, g->flat, &err), 0);
		n_hits = search.n;
		assert_int_equal(api_group_init(&group, n_hits, g->snapshot, &err), 0);
		counted = answer->n = 0;
		for (size_t i = 0; i < n_hits && counted < end && group.n_left > 0;
		     i++) {
			int first = api_group_next(&group, &record, &hits[i], &err);
			assert_true(first >= 0);
			if (first && counted++ >= wish->offset)
				answer->hits[answer->n++] = hits[i];
		}
		n_left = group.n_left;
		/* All but the one left out, where it is among the hits. */
		assert_true(n_points - n_left - counted <= (wish->without ? 1 : 0));
		api_group_free(&group);
		free(hits);
	}
}

static void
ask(struct game *g, struct distance_query *query)
{
	static struct answer want, got;
	uint8_t wire[WIRE], levels[64];
	struct point_id id;
	struct wish wish = {.query = query,
	    .offset = rng_below(&g->rng, 3) == 0 ? rng_below(&g->rng, POINTS) : 0,
	    .limit = 1 + rng_below(&g->rng, rng_below(&g->rng, 3) == 0 ? POINTS : 8)};

	random_wire(g, wire);
	code_to_levels(levels, wire, settings.shape);
	distance_query_hamming(query, levels, settings.shape);
	point_id_from_number(&id, rng_below(&g->rng, POINTS));
	wish.without = rng_below(&g->rng, 3) == 0 ? &id : NULL;
	brute_force(g, &wish, &want);
	walk(g, &wish, &got);
	assert_int_equal(got.n, want.n);
	for (size_t i = 0; i < got.n; i++) {
		assert_int_equal(got.hits[i].slot, want.hits[i].slot);
		assert_true(got.hits[i].score == want.hits[i].score);
	}
}

/* Rows of all points less the points. */
static size_t
extra_rows(struct game *g)
{
	struct db_rows *rows = array_new(1, sizeof *rows);
	struct point_id id;
	struct error err;
	size_t n = 0;

	for (uint64_t i = 0; i < POINTS; i++) {
		point_id_from_number(&id, i);
		assert_int_equal(db_rows(g->txn, collection_codes(g->c)->collection,
				     &id, rows, &err),
		    0);
		n += rows->n > 0 ? rows->n - 1 : 0;
	}
	free(rows);
	return n;
}

/* chunked: of 100 points, so many have passages. */
static void
play(struct game *g, uint64_t chunked)
{
	struct error err;
	struct distance_query *query = array_new_aligned(1, sizeof *query);

	rig_open(&g->rig, rig_new_dir(), 0);
	g->c = rig_create(&g->rig, &settings);
	/* Replaced and deleted, so that slots are not in order. */
	for (int i = 0; i < 4 * POINTS / BATCH; i++) {
		put_batch(g, i < 4 ? 0 : chunked);
		delete_some(g);
	}
	g->txn = db_begin_read(g->rig.db, &err);
	g->snapshot = store_acquire(collection_store(g->c));
	size_t n_extra = extra_rows(g);
	assert_int_equal(g->snapshot->n_extra, n_extra);
	/* Of few points with passages, chance may have left none with several. */
	assert_true(chunked == 0 ? n_extra == 0 : n_extra > 0 || chunked < 20);
	for (int i = 0; i < QUERIES; i++)
		ask(g, query);
	store_release(g->snapshot);
	db_end(g->txn);
	collection_release(g->c);
	rig_close(&g->rig);
	free(query);
}

static void
test_against_brute_force(void **state)
{
	static const uint64_t chunked[GAMES] = {0, 5, 20, 50, 80, 100};
	(void)state;
	struct game g = {.n_again = 0};
	struct error err;

	rng_init(&g.rng, test_seed(), 9);
	g.flat = flat_scratch_new(distance_best(), 1, &err);
	for (int i = 0; i < GAMES; i++) {
		play(&g, chunked[i]);
		assert_true(chunked[i] > 0 || g.n_again == 0);
	}
	assert_true(g.n_again > 0);
	flat_scratch_free(g.flat);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_brute_force)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
