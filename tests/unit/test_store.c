/*
 * Claims of index/store.h and how they are checked:
 *  - random puts, removes, publishes, rollbacks, acquires and releases give what a dumb
 *    twin (plain arrays, copied whole) gives, in the newest and in every held snapshot;
 *  - store_slot_new gives the lowest slot that no snapshot from before its removal can
 *    show, never one in use;
 *  - parts of other shapes come with a publish and go with a rollback, rows move
 *    between them as whole transactions say, and emptied ones are dropped while
 *    snapshots still show rows in them (the twin again); there are at most
 *    STORE_PARTS_MAX;
 *  - an allocation that fails changes nothing, at every allocation of every operation;
 *  - readers in other threads see whole transactions or nothing of them;
 *  - loading many rows before one publish copies no chunk twice, holes are reused;
 *  - memory is codes, factors and a few bits a row.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/store.h"
#include "tests/support/guard.h"

#define SLOTS 3000 /* three chunks, the last not full */
#define WIRE 24    /* 64 dims of 3 bits, and the most that any part has */
#define HELD 4
#define PARTS 4

static const struct code_shape shapes[PARTS] = {
    {64, 3, 0}, {128, 1, 0}, {64, 1, 0}, {64, 2, 0}};

struct twin_row {
	bool live;
	int part;
	uint8_t wire[WIRE];
	float factor, norm2;
};

/* A state of the whole collection. */
struct twin {
	struct twin_row rows[SLOTS];
	size_t n_parts;
	uint32_t numbers[PARTS];
	uint32_t n_extra[PARTS];
	uint64_t generation;
};

/* A part's number says its shape. */
static struct code_shape
shape_of(uint32_t number)
{
	return shapes[number % PARTS];
}

struct held {
	struct store_snapshot *snapshot;
	struct twin *twin;
};

struct game {
	struct rng rng;
	struct store *store;
	bool with_norm2, failing;
	size_t n_dropped;
	struct twin *now, *next;
	struct held held[HELD];
	uint64_t removed_at[SLOTS]; /* generation of the last removal */
	bool taken[SLOTS];          /* by this transaction */
};

static void
check_snapshot(
    struct game *g, const struct store_snapshot *snapshot, const struct twin *twin)
{
	uint32_t n_live = 0, n_extra = 0, in_part[PARTS] = {0};

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		const struct twin_row *want = &twin->rows[slot];
		uint8_t wire[WIRE];
		float factor, norm2;
		bool live = store_get(wire, &factor, &norm2, snapshot, slot);
		assert_int_equal(live, want->live);
		assert_int_equal(store_part(snapshot, slot), live ? want->part : -1);
		n_live += live;
		if (!live)
			continue;
		assert_true(slot < snapshot->n_slots);
		in_part[want->part]++;
		assert_memory_equal(
		    wire, want->wire, code_bytes(snapshot->parts[want->part].shape));
		assert_true(factor == want->factor);
		assert_true(norm2 == (g->with_norm2 ? want->norm2 : 0));
	}
	assert_int_equal(snapshot->n_live, n_live);
	assert_int_equal(snapshot->n_parts, twin->n_parts);
	for (size_t p = 0; p < snapshot->n_parts; p++) {
		assert_int_equal(snapshot->parts[p].number, twin->numbers[p]);
		assert_true(code_shape_equal(
		    snapshot->parts[p].shape, shape_of(twin->numbers[p])));
		assert_int_equal(snapshot->parts[p].n_live, in_part[p]);
		assert_int_equal(snapshot->parts[p].n_extra, twin->n_extra[p]);
		n_extra += twin->n_extra[p];
	}
	assert_int_equal(snapshot->n_extra, n_extra);
	assert_false(store_get(NULL, NULL, NULL, snapshot, UINT32_MAX));
}

static void
check_newest(struct game *g)
{
	struct store_snapshot *snapshot = store_acquire(g->store);

	check_snapshot(g, snapshot, g->now);
	store_release(snapshot);
}

/* Call `op`, in a failing game with each of its allocations failing in turn. */
#define UNTIL_IT_SUCCEEDS(g, op)                                \
	do {                                                    \
		struct error err = {0};                         \
		long k = (g)->failing ? 1 : 0;                  \
		for (;;) {                                      \
			array_fail_at(k);                       \
			int rc = (op);                          \
			array_fail_at(0);                       \
			if (rc == 0)                            \
				break;                          \
			assert_true(k > 0 && k < 50);           \
			assert_int_equal(err.code, ERR_MEMORY); \
			k++;                                    \
		}                                               \
	} while (0)

static void
put_into(struct game *g, uint32_t slot, size_t part)
{
	struct twin_row *row = &g->next->rows[slot];

	row->live = true;
	row->part = (int)part;
	for (size_t i = 0; i < WIRE; i++)
		row->wire[i] = (uint8_t)rng_u64(&g->rng);
	row->factor = rng_uniform(&g->rng);
	row->norm2 = rng_uniform(&g->rng);
	struct store_row r = {row->wire, row->factor, row->norm2, (size_t)row->part};
	UNTIL_IT_SUCCEEDS(g, store_put(g->store, slot, &r, &err));
	assert_int_equal(store_staged_part(g->store, slot), row->part);
}

static void
put(struct game *g, uint32_t slot)
{
	put_into(g, slot, rng_below(&g->rng, g->next->n_parts));
}

static bool
slot_may_be_new(const struct game *g, uint32_t slot)
{
	if (g->taken[slot] || g->now->rows[slot].live || g->next->rows[slot].live)
		return false;
	for (size_t i = 0; i < HELD; i++)
		if (g->held[i].twin &&
		    g->held[i].twin->generation < g->removed_at[slot])
			return false;
	return true;
}

static void
slot_new(struct game *g)
{
	uint32_t slot, want = 0;

	while (want < SLOTS && !slot_may_be_new(g, want))
		want++;
	if (want == SLOTS)
		return;
	UNTIL_IT_SUCCEEDS(g, store_slot_new(&slot, g->store, &err));
	assert_int_equal(slot, want);
	g->taken[slot] = true;
	if (rng_below(&g->rng, 16) != 0) /* now and then it is never used */
		put(g, slot);
}

/* A random slot that is live in the staged state, or SLOTS. */
static uint32_t
live_slot(struct game *g)
{
	for (int i = 0; i < 64; i++) {
		uint32_t slot = (uint32_t)rng_below(&g->rng, SLOTS);
		if (g->next->rows[slot].live)
			return slot;
	}
	return SLOTS;
}

static void
replace(struct game *g)
{
	uint32_t slot = live_slot(g);

	if (slot != SLOTS)
		put(g, slot);
}

static void
remove_one(struct game *g)
{
	uint32_t slot = live_slot(g);

	if (slot == SLOTS)
		return;
	UNTIL_IT_SUCCEEDS(g, store_remove(g->store, slot, &err));
	g->next->rows[slot].live = false;
	if (rng_below(&g->rng, 8) == 0) /* the same slot again */
		put(g, slot);
}

static void
add_extra(struct game *g)
{
	size_t part = rng_below(&g->rng, g->next->n_parts);
	uint32_t *extra = &g->next->n_extra[part];
	int64_t n = (int64_t)rng_below(&g->rng, 100) - *extra / 2;

	UNTIL_IT_SUCCEEDS(g, store_add_extra(g->store, part, n, &err));
	*extra = (uint32_t)((int64_t)*extra + n);
}

static void
add_part(struct game *g)
{
	struct twin *next = g->next;

	if (next->n_parts == PARTS)
		return;
	uint32_t number =
	    next->numbers[next->n_parts - 1] + 1 + (uint32_t)rng_below(&g->rng, 2);
	UNTIL_IT_SUCCEEDS(g, store_add_part(g->store, number, shape_of(number), &err));
	next->n_extra[next->n_parts] = 0;
	next->numbers[next->n_parts++] = number;
	assert_int_equal(store_staged_newest(g->store), number);
}

/* One part's rows move to the last, and it ends. */
static void
drop_part(struct game *g)
{
	struct twin *next = g->next;
	size_t last = next->n_parts - 1;

	if (last == 0)
		return;
	size_t part = rng_below(&g->rng, last);
	uint32_t number = next->numbers[part];
	int64_t n_extra = next->n_extra[part];
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (next->rows[slot].live && next->rows[slot].part == (int)part)
			put_into(g, slot, last);
	UNTIL_IT_SUCCEEDS(g, store_add_extra(g->store, part, -n_extra, &err));
	UNTIL_IT_SUCCEEDS(g, store_drop_part(g->store, number, &err));
	for (size_t p = part; p < last; p++) {
		next->numbers[p] = next->numbers[p + 1];
		next->n_extra[p] = next->n_extra[p + 1];
	}
	next->n_parts = last;
	for (size_t slot = 0; slot < SLOTS; slot++)
		next->rows[slot].part -= next->rows[slot].part > (int)part;
	g->n_dropped++;
}

static void
publish(struct game *g)
{
	store_publish(g->store);
	g->next->generation++;
	for (size_t slot = 0; slot < SLOTS; slot++)
		if (g->now->rows[slot].live && !g->next->rows[slot].live)
			g->removed_at[slot] = g->next->generation;
	*g->now = *g->next;
	memset(g->taken, 0, sizeof g->taken);
	check_newest(g);
}

static void
rollback(struct game *g)
{
	store_rollback(g->store);
	*g->next = *g->now;
	memset(g->taken, 0, sizeof g->taken);
	check_newest(g);
}

static void
hold_or_release(struct game *g)
{
	struct held *held = &g->held[rng_below(&g->rng, HELD)];

	if (!held->snapshot) {
		held->snapshot = store_acquire(g->store);
		held->twin = malloc(sizeof *held->twin);
		*held->twin = *g->now;
		return;
	}
	check_snapshot(g, held->snapshot, held->twin);
	store_release(held->snapshot);
	free(held->twin);
	*held = (struct held){0};
}

static void
play(uint64_t stream, bool with_norm2, bool failing, int steps)
{
	struct game *g = calloc(1, sizeof *g);
	struct error err;

	rng_init(&g->rng, test_seed(), stream);
	g->with_norm2 = with_norm2;
	g->failing = failing;
	g->now = calloc(1, sizeof *g->now);
	g->next = calloc(1, sizeof *g->next);
	g->store = store_new(1, shape_of(1), with_norm2, &err);
	assert_non_null(g->store);
	g->now->n_parts = g->next->n_parts = 1;
	g->now->numbers[0] = g->next->numbers[0] = 1;
	check_newest(g);
	/* Phases: mostly growing, mostly shrinking, in between. */
	for (int step = 0; step < steps; step++) {
		uint64_t what = rng_below(&g->rng, 100);
		uint64_t grow = (uint64_t)(step / (steps / 6 + 1)) % 3 * 35 + 10;
		if (what < 1)
			publish(g);
		else if (what < 2 && rng_below(&g->rng, 2))
			rollback(g);
		else if (what < 4)
			hold_or_release(g);
		else if (what < 5)
			add_extra(g);
		else if (what < 6 && rng_below(&g->rng, 4) == 0)
			rng_below(&g->rng, 2) ? add_part(g) : drop_part(g);
		else if (what < 10)
			replace(g);
		else if (rng_below(&g->rng, 100) < 100 - grow)
			slot_new(g);
		else
			remove_one(g);
	}
	for (size_t i = 0; i < HELD; i++) {
		store_release(g->held[i].snapshot);
		free(g->held[i].twin);
	}
	store_free(g->store); /* with a transaction open */
	assert_true(g->n_dropped > 0);
	free(g->now);
	free(g->next);
	free(g);
}

static void
test_against_twin(void **state)
{
	(void)state;
	play(1, false, false, 20000);
	play(2, true, false, 20000);
}

static void
test_failing_memory(void **state)
{
	struct error err;
	struct store *store = NULL;

	(void)state;
	for (long k = 1; !store; k++) {
		array_fail_at(k);
		store = store_new(1, (struct code_shape){64, 3, 0}, true, &err);
		array_fail_at(0);
		assert_true(store || (err.code == ERR_MEMORY && k < 10));
	}
	store_free(store);
	play(3, true, true, 10000);
}

static void
test_bad_shape(void **state)
{
	struct error err;

	(void)state;
	assert_null(store_new(1, (struct code_shape){63, 1, 0}, false, &err));
	assert_int_equal(err.code, ERR_INPUT);
	struct store *store = store_new(1, shapes[0], false, &err);
	assert_int_equal(
	    store_add_part(store, 2, (struct code_shape){64, 5, 0}, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	uint32_t number = 1;
	while (++number <= STORE_PARTS_MAX)
		assert_int_equal(store_add_part(store, number, shapes[1], &err), 0);
	assert_int_equal(store_add_part(store, number, shapes[1], &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	store_free(store);
	store_free(NULL);
	store_release(NULL);
}

/* A restart: slots are known, come in any order and have holes. */
static void
test_bulk(void **state)
{
	enum { ROWS = 20000, CHUNKS = (2 * ROWS + 1023) / 1024 };
	struct code_shape shape = {512, 2, 0};
	struct error err;
	struct store *store = store_new(1, shape, false, &err);
	uint8_t wire[128] = {0};
	uint32_t slot;

	(void)state;
	array_fail_at(CHUNKS + 100); /* far fewer allocations than rows */
	for (uint32_t i = 0; i < ROWS; i++) {
		struct store_row row = {wire, (float)i, 0, 0};
		uint32_t at = 2 * (uint32_t)((uint64_t)i * 7919 % ROWS) + 1;
		assert_int_equal(store_put(store, at, &row, &err), 0);
	}
	array_fail_at(0);
	store_publish(store);
	struct store_snapshot *s = store_acquire(store);
	assert_int_equal(s->n_live, ROWS);
	assert_int_equal(s->n_slots, 2 * ROWS);
	store_release(s);

	/* Bytes: whole chunks of codes and factors, little else. */
	struct store_bytes bytes = store_bytes(store);
	assert_int_equal(bytes.codes, CHUNKS * 1024 * 128);
	assert_int_equal(bytes.factors, CHUNKS * 1024 * 4);
	assert_true(bytes.tables < CHUNKS * 1024);

	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(store_slot_new(&slot, store, &err), 0);
		assert_int_equal(slot, 2 * i);
	}
	store_rollback(store);
	assert_int_equal(store_slot_new(&slot, store, &err), 0);
	assert_int_equal(slot, 0);

	/* Memory comes back when a chunk empties. */
	for (uint32_t i = 1; i < 1024; i += 2)
		assert_int_equal(store_remove(store, i, &err), 0);
	store_publish(store);
	assert_int_equal(store_bytes(store).codes, (CHUNKS - 1) * 1024 * 128);
	assert_int_equal(store_slot_new(&slot, store, &err), 0);
	assert_int_equal(slot, 0);
	store_free(store);
}

/* Each transaction sets rows of several chunks to one value and moves one row. */
#define RACE_ROUNDS 2000
#define RACE_ROWS 6

struct race {
	struct store *store;
	_Atomic bool done;
};

static void
race_row(struct store *store, uint32_t slot, uint32_t value)
{
	uint8_t wire[8];
	struct error err;

	memset(wire, (int)(value & 255), sizeof wire);
	assert_int_equal(
	    store_put(store, slot, &(struct store_row){wire, (float)value, 0, 0}, &err),
	    0);
}

static void *
race_reader(void *arg)
{
	struct race *race = arg;
	uint64_t generation = 0;
	size_t bad = 0;

	while (!race->done) {
		struct store_snapshot *s = store_acquire(race->store);
		float first = 0, factor;
		bad += s->generation < generation;
		generation = s->generation;
		for (uint32_t i = 0; i < RACE_ROWS; i++) {
			uint8_t wire[8];
			if (!store_get(wire, &factor, NULL, s, i * 700)) {
				bad += s->n_live != 0;
				break;
			}
			if (i == 0)
				first = factor;
			bad += factor != first;
			for (size_t j = 0; j < sizeof wire; j++)
				bad += wire[j] != ((uint32_t)factor & 255);
		}
		bad += s->n_live != 0 && s->n_live != RACE_ROWS + 1;
		store_release(s);
	}
	return (void *)bad;
}

static void
test_readers_and_writer(void **state)
{
	struct error err;
	struct race race = {
	    store_new(1, (struct code_shape){64, 1, 0}, false, &err), false};
	pthread_t readers[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		pthread_create(&readers[i], NULL, race_reader, &race);
	uint32_t moving = 0, next;
	for (uint32_t round = 1; round <= RACE_ROUNDS; round++) {
		for (uint32_t i = 0; i < RACE_ROWS; i++)
			race_row(race.store, i * 700, round);
		assert_int_equal(store_slot_new(&next, race.store, &err), 0);
		race_row(race.store, next, round);
		if (round > 1)
			assert_int_equal(store_remove(race.store, moving, &err), 0);
		moving = next;
		store_publish(race.store);
		if (round % 7 == 0) { /* a transaction that nobody sees */
			race_row(race.store, 0, 0);
			store_rollback(race.store);
		}
	}
	race.done = true;
	for (size_t i = 0; i < 3; i++) {
		void *bad;
		pthread_join(readers[i], &bad);
		assert_null(bad);
	}
	store_free(race.store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_twin),
	    cmocka_unit_test(test_failing_memory),
	    cmocka_unit_test(test_bad_shape),
	    cmocka_unit_test(test_bulk),
	    cmocka_unit_test(test_readers_and_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
