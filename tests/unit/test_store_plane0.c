/*
 * Claims of index/store.h about plane 0 kept by itself:
 *  - in every snapshot, new or held, a chunk's plane 0 is the first plane of its rows'
 *    codes, whatever was put, removed, moved between parts or rolled back;
 *  - after store_step_plane0 said "done" exactly the chunks of codes of several bits
 *    have one, or none has; a step copies no more chunks than it was allowed;
 *  - an allocation that fails changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/store.h"
#include "tests/support/guard.h"

#define SLOTS 4000 /* four chunks, the last not full */
#define WIRE_MAX 64
#define HELD 3

static const struct code_shape shapes[] = {
    {128, 4, 0}, {64, 2, 7}, {64, 1, 0}, {64, 3, 0}};

/* Every plane 0 that is there is right; returns how many chunks of several bits have
 * one (`with`) or have none. */
static size_t
check(const struct store_snapshot *s, bool with)
{
	uint8_t wire[WIRE_MAX], plane[WIRE_MAX];
	size_t n = 0;

	for (size_t p = 0; p < s->n_parts; p++) {
		const struct store_part *part = &s->parts[p];
		const struct code_shape shape0 = store_plane0(part->shape);
		size_t present = 0, have = 0;
		for (size_t i = 0; i < s->n_chunks; i++) {
			present += part->chunks[i] != NULL;
			have += part->chunks[i] && part->chunks[i]->plane0;
		}
		assert_int_equal(part->n_present, present);
		assert_int_equal(part->n_plane0, have);
		for (uint32_t slot = 0; slot < s->n_slots; slot++) {
			struct store_chunk *c = part->chunks[slot / STORE_CHUNK_ROWS];
			if (slot % STORE_CHUNK_ROWS == 0 && c && part->shape.bits > 1)
				n += with == (c->plane0 != NULL);
			if (store_part(s, slot) != (int)p || !c || !c->plane0)
				continue;
			size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
			assert_true(part->shape.bits > 1);
			assert_true(store_get(wire, NULL, NULL, s, slot));
			distance_unpack(plane,
			    c->plane0 + b * distance_block_bytes(shape0),
			    r % DISTANCE_ROWS, shape0);
			assert_memory_equal(plane, wire, code_bytes(shape0));
		}
	}
	return n;
}

struct game {
	struct rng rng;
	struct store *store;
	bool want;
};

static size_t
staged_parts(const struct game *g)
{
	return store_staged_newest(g->store);
}

static void
put(struct game *g)
{
	uint32_t slot = (uint32_t)rng_below(&g->rng, SLOTS);
	uint8_t wire[WIRE_MAX];
	size_t part = rng_below(&g->rng, staged_parts(g));
	struct code_shape shape = shapes[part];
	struct store_row row = {wire, 1, 0, part};
	struct error err;

	for (size_t i = 0; i < sizeof wire; i++)
		wire[i] = (uint8_t)rng_u64(&g->rng);
	if (shape.centres > 0)
		code_place_put(wire, (struct code_place){3, 0}, shape);
	assert_int_equal(store_put(g->store, slot, &row, &err), 0);
}

/* Something of what a writer does. */
static void
act(struct game *g)
{
	struct error err;
	uint32_t slot = (uint32_t)rng_below(&g->rng, SLOTS);
	size_t n = staged_parts(g);

	switch (rng_below(&g->rng, 8)) {
	case 0:
		if (store_staged_part(g->store, slot) >= 0)
			assert_int_equal(store_remove(g->store, slot, &err), 0);
		return;
	case 1:
		if (n < sizeof shapes / sizeof *shapes)
			assert_int_equal(
			    store_add_part(g->store, (uint32_t)n + 1, shapes[n], &err),
			    0);
		return;
	case 2: { /* rolled back or published whole */
		bool want = rng_below(&g->rng, 2);
		store_publish(g->store);
		assert_int_equal(store_want_plane0(g->store, want, &err), 0);
		if (rng_below(&g->rng, 2)) {
			store_publish(g->store);
			g->want = want;
		} else {
			store_rollback(g->store);
		}
		return;
	}
	default:
		for (int i = 0; i < 50; i++)
			put(g);
	}
}

/* Until all chunks are as wanted. */
static void
settle(struct game *g)
{
	struct error err;
	bool done = false;

	store_publish(g->store);
	while (!done) {
		size_t allowed = 1 + rng_below(&g->rng, 3);
		struct store_snapshot *before = store_acquire(g->store);
		assert_int_equal(store_step_plane0(&done, g->store, allowed, &err), 0);
		store_publish(g->store);
		struct store_snapshot *after = store_acquire(g->store);
		size_t left = check(before, !g->want);
		size_t want = left > allowed ? left - allowed : 0;
		assert_int_equal(check(after, !g->want), want);
		assert_int_equal(done, left <= allowed);
		store_release(before);
		store_release(after);
	}
}

static void
test_random(void **state)
{
	struct game g = {.want = false};
	struct store_snapshot *held[HELD] = {NULL};
	struct error err;

	(void)state;
	rng_init(&g.rng, test_seed(), 0);
	g.store = store_new(1, shapes[0], false, &err);
	assert_non_null(g.store);
	for (int round = 0; round < 60; round++) {
		size_t h = rng_below(&g.rng, HELD);
		for (uint64_t n = rng_below(&g.rng, 10); n > 0; n--)
			act(&g);
		store_publish(g.store);
		store_release(held[h]);
		held[h] = store_acquire(g.store);
		if (rng_below(&g.rng, 4) == 0)
			settle(&g);
		for (h = 0; h < HELD; h++)
			if (held[h])
				check(held[h], true);
	}
	settle(&g);
	struct store_bytes bytes = store_bytes(g.store);
	assert_int_equal(bytes.plane0 > 0, g.want);
	for (size_t h = 0; h < HELD; h++)
		store_release(held[h]);
	store_free(g.store);
}

static void
test_failing_memory(void **state)
{
	struct game g = {.want = true};
	struct error err;
	bool done;
	long k;

	(void)state;
	rng_init(&g.rng, test_seed(), 1);
	g.store = store_new(1, shapes[0], false, &err);
	assert_non_null(g.store);
	for (int i = 0; i < 2000; i++)
		put(&g);
	store_publish(g.store);
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = store_want_plane0(g.store, true, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_true(err.code == ERR_MEMORY && k < 10);
	}
	assert_true(k > 1);
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = store_step_plane0(&done, g.store, 100, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_true(err.code == ERR_MEMORY && k < 50);
	}
	assert_true(k > 1 && done);
	store_publish(g.store);
	struct store_snapshot *s = store_acquire(g.store);
	assert_int_equal(check(s, false), 0);
	assert_int_equal(check(s, true), 4);
	store_release(s);
	store_free(g.store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_failing_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
