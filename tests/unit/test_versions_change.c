/*
 * Claims of server/collection.h, server/writer.h about changes of the versions of codes
 * and how they are checked: of two made from one collection the first is done and the
 * other refused, or has nothing to do where it is the same; versions that have lost
 * their documents go with the next change, from memory and from the file, but not while
 * a write to them may be under way; snapshots from before still have their rows; what
 * was coded for a later version before the change, or waits behind it, goes where it
 * belongs; there are at most STORE_PARTS_MAX.
 */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "binarize/recurrent.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/rig.h"

#define SIZE 8

static struct models *models;
static const struct collection_settings plain = {
    .name = "c", .size = SIZE, .shape = {64, 2, 0}, .code_distance = DISTANCE_INT8};

static int
setup(void **state)
{
	char dir[300];
	struct error err;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_binarizer(dir, "mean", SIZE, 0.25f);
	models_write_learned(dir, "signs", SIZE, plain.shape);
	models = models_open(dir, &err);
	assert_non_null(models);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	models_close(models);
	return 0;
}

static void
test_two_changes(void **state)
{
	(void)state;
	const struct collection_settings wanted = {.binarizer = "mean"};
	const struct collection_settings other = {.binarizer = "signs"};
	const struct collection_settings same = {.binarizer = "untrained"};
	struct rig rig;
	struct error err;
	uint32_t format;

	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &plain);
	struct db_txn *txn = db_begin_read(rig.db, &err);
	assert_int_equal(db_format(txn, &format, &err), 0);
	assert_int_equal(format, DB_FORMAT_PLAIN);
	db_end(txn);
	/* What is there already is no change. */
	struct collection *again = collection_next(c, &same, models, &err);
	assert_ptr_equal(again, c);
	collection_release(again);

	struct collection *first = collection_next(c, &wanted, models, &err);
	struct collection *second = collection_next(c, &other, models, &err);
	struct collection *twin = collection_next(c, &wanted, models, &err);
	assert_int_equal(collection_n_versions(first), 2);
	assert_int_equal(rig_change(&rig, first, &err), 0);
	assert_int_equal(rig_change(&rig, second, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.text, "try again"));
	assert_int_equal(rig_change(&rig, twin, &err), 0);
	again = registry_find(rig.registry, "c", &err);
	assert_ptr_equal(again, first);
	collection_release(again);
	assert_int_equal(store_staged_newest(collection_store(c)), 2);
	txn = db_begin_read(rig.db, &err);
	assert_int_equal(db_format(txn, &format, &err), 0);
	assert_int_equal(format, DB_FORMAT_VERSIONS);
	db_end(txn);

	/* A drop begun before the change takes all away. */
	assert_int_equal(rig_drop(&rig, c, &err), 0);
	assert_null(registry_find(rig.registry, "c", &err));
	assert_int_equal(rig_change(&rig, second, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	collection_release(c);
	collection_release(first);
	collection_release(second);
	collection_release(twin);
	rig_close(&rig);
}

/* Point i, one row of bytes i, by a version that c has as its newest. */
static int
put_point(struct rig *rig, struct collection *c, uint32_t i, struct error *err)
{
	static uint8_t wire[CODE_BYTES_MAX];
	struct writer_point point = {.wire = wire, .factor = (float)i};

	memset(wire, (int)i, sizeof wire);
	point_id_from_number(&point.id, i);
	return rig_upsert(rig, c, &point, 1, err);
}

/* The collection after a change to `binarizer`; gives the reference to `c` away. */
static struct collection *
follow(struct rig *rig, struct collection *c, const char *binarizer, uint32_t dims)
{
	struct collection_settings wanted = {.shape = {dims, 2, 0}};
	struct error err;

	snprintf(wanted.binarizer, sizeof wanted.binarizer, "%s", binarizer);
	struct collection *next = collection_next(c, &wanted, models, &err);
	if (!next || rig_change(rig, next, &err) != 0)
		fail_msg("%s", err.text);
	collection_release(c);
	return next;
}

/* The collection has these versions (0 = no more), in memory and after a restart. */
static void
expect_versions(const struct collection *c, const uint32_t numbers[STORE_PARTS_MAX])
{
	struct store_snapshot *snapshot = store_acquire(collection_store(c));

	for (size_t i = 0; i < collection_n_versions(c); i++) {
		assert_int_equal(collection_version(c, i)->codes.version, numbers[i]);
		assert_int_equal(snapshot->parts[i].number, numbers[i]);
	}
	assert_int_equal(numbers[collection_n_versions(c)], 0);
	assert_int_equal(snapshot->n_parts, collection_n_versions(c));
	store_release(snapshot);
}

/* Point i is in version `number` of c and has its bytes. */
static void
expect_point(struct rig *rig, const struct collection *c, uint32_t i, uint32_t number)
{
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	struct point_id id;
	struct db_code code;
	size_t version;
	uint32_t slot;
	bool found;

	point_id_from_number(&id, i);
	assert_int_equal(
	    db_slot(txn, collection_settings(c)->id, &id, &found, &slot, &err), 0);
	assert_true(found);
	assert_int_equal(
	    collection_code(txn, c, slot, &version, &found, &code, &err), 0);
	assert_true(found);
	assert_int_equal(collection_version(c, version)->codes.version, number);
	assert_int_equal(code.wire[0], i);
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	assert_int_equal(store_part(snapshot, slot), version);
	store_release(snapshot);
	db_end(txn);
}

static size_t
binarizer_bytes(struct rig *rig, const struct collection *c, uint32_t number)
{
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	const void *bytes;
	size_t n;

	assert_int_equal(
	    db_binarizer(txn, collection_settings(c)->id, number, &bytes, &n, &err), 0);
	db_end(txn);
	return n;
}

static void
test_emptied(void **state)
{
	(void)state;
	struct collection_settings mean = plain;
	struct error err;
	struct rig rig;
	char dir[400];
	float factor;

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	snprintf(mean.binarizer, sizeof mean.binarizer, "mean");
	rig_open(&rig, dir, 0);
	struct collection *c = collection_new(&mean, models, &err);
	struct writer_operation create = {.kind = WRITER_CREATE, .collection = c};
	assert_int_equal(rig_run(&rig, &create, NULL, &err), 0);
	assert_int_equal(put_point(&rig, c, 1, &err), 0);
	struct store_snapshot *before = store_acquire(collection_store(c));
	struct collection *writing = collection_retain(c); /* a request under way */
	c = follow(&rig, c, "untrained", 128);
	assert_int_equal(put_point(&rig, c, 1, &err), 0);
	assert_int_equal(put_point(&rig, c, 2, &err), 0);
	/* Version 1 is empty, but may still be written, and is. */
	c = follow(&rig, c, "untrained", 192);
	expect_versions(c, (uint32_t[STORE_PARTS_MAX]){1, 2, 3});
	assert_int_equal(put_point(&rig, writing, 3, &err), 0);
	expect_point(&rig, c, 3, 1);
	assert_int_equal(put_point(&rig, c, 3, &err), 0);
	collection_release(writing);
	assert_true(binarizer_bytes(&rig, c, 1) > 0);
	/* Now it goes; what is coded for the next ones finds its place. */
	writing = collection_retain(c);
	c = follow(&rig, c, "untrained", 256);
	expect_versions(c, (uint32_t[STORE_PARTS_MAX]){2, 3, 4});
	assert_int_equal(binarizer_bytes(&rig, c, 1), 0);
	assert_int_equal(put_point(&rig, writing, 4, &err), 0);
	assert_int_equal(put_point(&rig, c, 5, &err), 0);
	collection_release(writing);
	/* Who searches a snapshot from before still has its row. */
	assert_true(store_get(NULL, &factor, NULL, before, 0));
	assert_true(factor == 1 && store_newest(before) == 1);
	store_release(before);
	for (int i = 0; i < 2; i++) {
		expect_point(&rig, c, 1, 2);
		expect_point(&rig, c, 2, 2);
		expect_point(&rig, c, 3, 3);
		expect_point(&rig, c, 4, 3);
		expect_point(&rig, c, 5, 4);
		collection_release(c);
		rig_close(&rig);
		rig_open(&rig, dir, 0);
		c = registry_find(rig.registry, "c", &err);
		expect_versions(c, (uint32_t[STORE_PARTS_MAX]){2, 3, 4});
	}
	collection_release(c);
	rig_close(&rig);
}

#define BEHIND 8

static void
on_written(struct writer_operation *op, const struct writer_result *result)
{
	op->err = result->err ? *result->err : (struct error){.code = ERR_NONE};
	sem_post(op->arg);
}

/* Writes that wait behind a change which drops a version go where they belong. */
static void
test_behind_change(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	sem_t done;

	sem_init(&done, 0, 0);
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &plain);
	assert_int_equal(put_point(&rig, c, 1, &err), 0);
	for (uint32_t round = 0; round < 20; round++) {
		uint8_t wires[2][CODE_BYTES_MAX] = {{1}, {2}};
		struct writer_point points[BEHIND];
		struct writer_operation ops[BEHIND];
		c = follow(&rig, c, "untrained", 128 + 128 * (round % 2));
		/* All move: the version before is emptied. */
		assert_int_equal(put_point(&rig, c, 1, &err), 0);
		assert_int_equal(put_point(&rig, c, 2, &err), 0);
		const struct collection_settings wanted = {.binarizer = "mean"};
		struct collection *next = collection_next(c, &wanted, models, &err);
		assert_int_equal(collection_n_versions(next), 2);
		for (uint32_t i = 0; i < BEHIND; i++) {
			points[i] =
			    (struct writer_point){.wire = wires[i % 2], .factor = 1};
			point_id_from_number(&points[i].id, 1 + i % 2);
			ops[i] = (struct writer_operation){.kind = WRITER_UPSERT,
			    .collection = c,
			    .points = &points[i],
			    .n = 1,
			    .on_done = on_written,
			    .arg = &done};
		}
		ops[BEHIND / 2].kind = WRITER_VERSION;
		ops[BEHIND / 2].collection = next;
		for (size_t i = 0; i < BEHIND; i++)
			assert_int_equal(writer_submit(rig.writer, &ops[i], &err), 0);
		for (size_t i = 0; i < BEHIND; i++)
			while (sem_wait(&done) != 0)
				continue;
		for (size_t i = 0; i < BEHIND; i++)
			assert_int_equal(ops[i].err.code, ERR_NONE);
		uint32_t number = collection_codes(c)->version;
		expect_point(&rig, next, 1, number);
		expect_point(&rig, next, 2, number);
		collection_release(c);
		c = next;
	}
	sem_destroy(&done);
	collection_release(c);
	rig_close(&rig);
}

static void
test_most_versions(void **state)
{
	(void)state;
	struct collection_settings wanted = {.binarizer = "untrained"};
	uint8_t wire[CODE_BYTES_MAX] = {1};
	struct writer_point point = {.wire = wire, .factor = 1};
	struct rig rig;
	struct error err;

	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &plain);
	for (uint32_t i = 1; i <= STORE_PARTS_MAX; i++) {
		point_id_from_number(&point.id, i);
		assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
		wanted.shape = (struct code_shape){64 * (1 + i), 1, 0};
		struct collection *next = collection_next(c, &wanted, models, &err);
		assert_int_equal(next != NULL, i < STORE_PARTS_MAX);
		if (!next)
			break;
		assert_int_equal(rig_change(&rig, next, &err), 0);
		collection_release(c);
		c = next;
	}
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "at most 8 versions"));
	/* One that is emptied makes room, whichever it is. */
	point_id_from_number(&point.id, 3);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	struct collection *next = collection_next(c, &wanted, models, &err);
	assert_int_equal(rig_change(&rig, next, &err), 0);
	assert_int_equal(collection_n_versions(next), STORE_PARTS_MAX);
	collection_release(next);
	collection_release(c);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_changes),
	    cmocka_unit_test(test_emptied),
	    cmocka_unit_test(test_behind_change),
	    cmocka_unit_test(test_most_versions),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
