/*
 * Claims of server/writer.h about WRITER_PROGRESSIVE and how they are checked:
 *  - plane 0 of every chunk is built between other writes, which do not wait for it,
 * and what those write meanwhile has it too; then the codes are what they were;
 *  - turned off it is gone from the newest snapshot, while a held one still has it;
 *  - the setting is on the disk: after a restart, also one in the middle of building,
 *    every chunk is as it was asked for, and who waited was told;
 *  - codes that cannot be progressive are refused, alone; what is so already is no
 * change;
 *  - a change of the binarizer, or of an index, that was begun before keeps it;
 *  - memory that fails leaves the old setting, or the new one to be gone on with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define N (130 * STORE_CHUNK_ROWS) /* points: three steps */
#define WIRE 16                    /* 64 dims of 2 bits */

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 2, 0}, .code_distance = DISTANCE_INT8};
static uint8_t (*wires)[WIRE]; /* [N] */

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static struct writer_point
point_of(uint64_t number, const uint8_t *wire)
{
	struct writer_point point = {.wire = wire, .factor = 1, .payload = ""};

	point_id_from_number(&point.id, number);
	return point;
}

static struct collection *
fill(struct rig *rig, size_t n)
{
	struct collection *c = rig_create(rig, &settings);
	struct writer_point *points = calloc(n, sizeof *points);
	struct error err;

	for (size_t i = 0; i < n; i++)
		points[i] = point_of(i, wires[i]);
	check(rig_upsert(rig, c, points, n, &err), &err);
	free(points);
	return c;
}

static struct writer_operation
turn(struct collection *c, bool on)
{
	return (struct writer_operation){
	    .kind = WRITER_PROGRESSIVE, .collection = c, .progressive = on};
}

/* Slot i of the snapshot has code i, and its chunk plane 0 by itself or not. */
static void
check_rows(const struct store_snapshot *s, size_t n, bool on)
{
	const struct store_part *part = &s->parts[s->n_parts - 1];
	const struct code_shape shape0 = store_plane0(part->shape);
	uint8_t wire[WIRE], plane[WIRE];

	assert_int_equal(s->n_live, n);
	assert_int_equal(store_has_plane0(part), on);
	assert_true(on || part->n_plane0 == 0);
	for (uint32_t slot = 0; slot < n; slot++) {
		const struct store_chunk *c = part->chunks[slot / STORE_CHUNK_ROWS];
		size_t r = slot % STORE_CHUNK_ROWS, b = r / DISTANCE_ROWS;
		assert_true(store_get(wire, NULL, NULL, s, slot));
		assert_memory_equal(wire, wires[slot], WIRE);
		if (!on)
			continue;
		distance_unpack(plane, c->plane0 + b * distance_block_bytes(shape0),
		    r % DISTANCE_ROWS, shape0);
		assert_memory_equal(plane, wire, code_bytes(shape0));
	}
}

/* The collection as everybody finds it. */
static void
check_now(struct rig *rig, size_t n, bool on)
{
	struct error err;
	struct collection *now = registry_find(rig->registry, "c", &err);

	assert_non_null(now);
	struct store_snapshot *s = store_acquire(collection_store(now));
	check_rows(s, n, on);
	store_release(s);
	assert_int_equal(collection_settings(now)->progressive, on);
	assert_int_equal(collection_progressive(now) != NULL, on);
	assert_int_equal(store_bytes(collection_store(now)).plane0 > 0, on);
	collection_release(now);
}

/* Which operations were answered, in order, and how. */
static struct {
	size_t n;
	const struct writer_operation *operations[8];
	enum error_code codes[8];
} answers;

static void
on_logged(struct writer_operation *operation, const struct writer_result *result)
{
	assert_true(answers.n < 8);
	answers.operations[answers.n] = operation;
	answers.codes[answers.n++] = result->err ? result->err->code : ERR_NONE;
}

static void
submit(struct rig *rig, struct writer_operation *operation)
{
	struct error err;

	operation->on_done = on_logged;
	check(writer_submit(rig->writer, operation, &err), &err);
}

static void
test_turns(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = fill(&rig, N - 1);
	struct writer_point last = point_of(N - 1, wires[N - 1]);
	struct writer_operation on = turn(c, true), off = turn(c, false),
				put = {.kind = WRITER_UPSERT,
				    .collection = c,
				    .points = &last,
				    .n = 1};
	size_t affected;

	answers.n = 0;
	submit(&rig, &on);
	submit(&rig, &put);
	while (writer_stats(rig.writer).queued_operations > 0)
		usleep(1000);
	assert_int_equal(answers.n, 2);
	assert_ptr_equal(answers.operations[0], &put);
	assert_int_equal(answers.codes[0], ERR_NONE);
	assert_int_equal(answers.codes[1], ERR_NONE);
	assert_null(collection_progressive(c)); /* as it was */
	check_now(&rig, N, true);
	check(rig_run(&rig, &on, &affected, &err), &err);
	assert_int_equal(affected, 0);

	struct store_snapshot *held = store_acquire(collection_store(c));
	check(rig_run(&rig, &off, &affected, &err), &err);
	assert_int_equal(affected, 1);
	check_now(&rig, N, false);
	check_rows(held, N, true);
	store_release(held);
	check(rig_run(&rig, &on, NULL, &err), &err);
	check_now(&rig, N, true);
	collection_release(c);
	rig_close(&rig);
}

static void
test_restart(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	char dir[256];
	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rig_open(&rig, dir, 0);
	struct collection *c = fill(&rig, N);
	struct writer_operation on = turn(c, true);

	answers.n = 0;
	submit(&rig, &on);
	rig_close(&rig); /* now, with most steps to do */
	assert_int_equal(answers.n, 1);
	assert_int_equal(answers.codes[0], ERR_UNAVAILABLE);
	collection_release(c);
	rig_open(&rig, dir, 0);
	check_now(&rig, N, true);
	c = registry_find(rig.registry, "c", &err);
	struct writer_operation off = turn(c, false);
	check(rig_run(&rig, &off, NULL, &err), &err);
	collection_release(c);
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	check_now(&rig, N, false);
	rig_close(&rig);
}

static void
test_refused(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	for (int i = 0; i < 2; i++) {
		struct collection_settings s = settings;
		snprintf(s.name, sizeof s.name, "%d", i);
		if (i == 0)
			s.shape.bits = 1;
		else
			s.code_distance = DISTANCE_HAMMING;
		struct collection *c = rig_create(&rig, &s);
		struct writer_operation on = turn(c, true), off = turn(c, false);
		size_t affected = 1;
		assert_int_equal(rig_run(&rig, &on, NULL, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "2 bits or more"));
		check(rig_run(&rig, &off, &affected, &err), &err);
		assert_int_equal(affected, 0);
		collection_release(c);
	}
	rig_close(&rig);
}

static void
test_kept(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = fill(&rig, 100);
	const struct collection_settings change = {
	    .binarizer = COLLECTION_UNTRAINED, .shape = {128, 2, 0}};
	struct collection *next = collection_next(c, &change, NULL, &err);
	struct writer_operation on = turn(c, true);
	struct path *key = path_new("a", 1, &err);
	struct writer_operation index = {.kind = WRITER_INDEX,
	    .collection = c,
	    .index = {key, DB_FIELD_INTEGER, true}};

	assert_non_null(next);
	check(rig_run(&rig, &on, NULL, &err), &err);
	check(rig_change(&rig, next, &err), &err);
	check(rig_run(&rig, &index, NULL, &err), &err);
	struct collection *now = registry_find(rig.registry, "c", &err);
	assert_int_equal(collection_n_versions(now), 2);
	assert_true(collection_settings(now)->progressive);
	assert_non_null(collection_progressive(now));
	assert_non_null(collection_field(now, key));
	path_free(key);
	collection_release(now);
	collection_release(next);
	collection_release(c);
	rig_close(&rig);
}

static void
test_memory(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = fill(&rig, 3000);
	int k = 0, rc;

	for (int on = 1; on >= 0; on--) {
		struct writer_operation op = turn(c, on);
		do {
			array_fail_at(++k);
			rc = rig_run(&rig, &op, NULL, &err);
			array_fail_at(0);
		} while (rc != 0 && err.code == ERR_MEMORY);
		check(rc, &err);
		check_now(&rig, 3000, on);
		assert_true(k > 5);
		k = 0;
	}
	collection_release(c);
	rig_close(&rig);
}

static int
setup(void **state)
{
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	wires = calloc(N, sizeof *wires);
	for (size_t i = 0; wires && i < N; i++)
		for (size_t b = 0; b < WIRE; b++)
			wires[i][b] = (uint8_t)rng_u64(&rng);
	return wires ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	free(wires);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_turns),
	    cmocka_unit_test(test_restart),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_kept),
	    cmocka_unit_test(test_memory),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
