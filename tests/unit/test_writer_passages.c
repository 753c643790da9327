/*
 * Points with passages, written and replaced (server/writer.h):
 *  - a point counts once, whatever it has rows, also after a restart;
 *  - replaced by more, fewer or no passages, also twice in one batch, it leaves no row
 *    of what it was; deleted it leaves none; freed slots are used again;
 *  - what fails in the middle (memory, a full map) has changed nothing;
 *  - bad points are refused, and a dropped collection's count goes with it.
 * Which rows there are is asked of the file and of memory, row by row.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define WIRE 8

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};

/* Passage k of text t has a code of (t, k). */
struct text {
	struct writer_point point;
	uint8_t wires[DB_PASSAGES_MAX + 1][WIRE];
	struct db_code codes[DB_PASSAGES_MAX + 1];
	struct db_passage passages[DB_PASSAGES_MAX + 1];
};

/* n = 0: a plain point; free() it. */
static struct text *
text_new(uint64_t id, uint8_t t, size_t n)
{
	struct text *text = calloc(1, sizeof *text);

	for (uint32_t k = 0; k == 0 || k < n; k++) {
		memset(text->wires[k], t, WIRE);
		text->wires[k][0] = (uint8_t)k;
		text->wires[k][1] = (uint8_t)(k >> 8);
		text->codes[k] =
		    (struct db_code){.wire = text->wires[k], .factor = (float)(k + 1)};
		text->passages[k] = (struct db_passage){10 * k, 10 * k + 15};
	}
	text->point = (struct writer_point){.wire = text->wires[0],
	    .factor = 1,
	    .payload = "{}",
	    .payload_len = 2,
	    .n_passages = n,
	    .codes = text->codes,
	    .passages = text->passages};
	point_id_from_number(&text->point.id, id);
	return text;
}

static int
put(struct rig *rig, struct collection *c, uint64_t id, uint8_t t, size_t n,
    struct error *err)
{
	struct text *text = text_new(id, t, n);
	int rc = rig_upsert(rig, c, &text->point, 1, err);

	free(text);
	return rc;
}

/* The point has exactly the rows of text t with n passages; n < 0: is not there. */
static void
check(struct rig *rig, struct collection *c, uint64_t id, uint8_t t, int n)
{
	uint32_t number = collection_codes(c)->collection;
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	struct db_rows rows;
	struct db_record record;
	struct point_id point;
	uint8_t wire[WIRE];
	bool found;

	point_id_from_number(&point, id);
	assert_int_equal(db_rows(txn, number, &point, &rows, &err), 0);
	assert_int_equal(rows.n, n < 0 ? 0 : n == 0 ? 1 : n);
	for (size_t k = 0; k < rows.n; k++) {
		assert_true(store_get(wire, NULL, NULL, snapshot, rows.slots[k]));
		assert_int_equal(wire[0] | wire[1] << 8, k);
		assert_int_equal(wire[2], t);
		assert_int_equal(
		    db_record(txn, number, rows.slots[k], &found, &record, &err), 0);
		assert_true(found && point_id_equal(&record.id, &point));
		assert_int_equal(record.is_passage, n > 0);
		assert_int_equal(record.payload_len, k == 0 ? 2 : 0);
		if (n > 0)
			assert_int_equal(record.number, k);
	}
	db_end(txn);
	store_release(snapshot);
}

/* So many points and rows are there: in memory, and records in the file. */
static void
check_counts(struct rig *rig, struct collection *c, size_t points, size_t rows)
{
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	struct db_record record;
	size_t walked = 0;
	uint64_t extra;
	bool found = true;

	for (uint32_t slot = 0; found; slot++) {
		assert_int_equal(db_record_next(txn, collection_codes(c)->collection,
				     &found, &slot, &record, &err),
		    0);
		walked += found;
	}
	assert_int_equal(walked, rows);
	assert_int_equal(db_extra_rows(txn, collection_codes(c), &extra, &err), 0);
	assert_true(extra == rows - points);
	assert_int_equal(collection_counts(c).points, points);
	assert_int_equal(collection_counts(c).rows, rows);
	db_end(txn);
}

static void
test_replace(void **state)
{
	static const int sizes[] = {0, 5, 3, 1, 0, 7, 7, 40, 0, 2};
	(void)state;
	struct rig rig;
	struct error err;
	char dir[400];
	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rig_open(&rig, dir, 0);
	struct collection *c = rig_create(&rig, &settings);
	struct point_id id;
	uint8_t last = 0;

	assert_int_equal(put(&rig, c, 1, 100, 3, &err), 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = (size_t)sizes[i];
		uint8_t t = (uint8_t)i;
		assert_int_equal(put(&rig, c, 2, t, n, &err), 0);
		check(&rig, c, 2, t, sizes[i]);
		check(&rig, c, 1, 100, 3);
		check_counts(&rig, c, 2, 3 + (n ? n : 1));
		last = t;
	}
	collection_release(c);
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	c = registry_find(rig.registry, "c", &err);
	check(&rig, c, 2, last, 2);
	check_counts(&rig, c, 2, 5);
	point_id_from_number(&id, 2);
	assert_int_equal(rig_delete(&rig, c, &id, 1, &err), 1);
	check(&rig, c, 2, 0, -1);
	check_counts(&rig, c, 1, 3);
	/* What the largest of them had is used again. */
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	assert_true(snapshot->n_slots <= 60);
	store_release(snapshot);
	collection_release(c);
	rig_close(&rig);
}

/* One id several times in one batch: the last wins, and nothing is left of the rest. */
static void
test_one_batch(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	static const size_t sizes[] = {4, 0, 9, 2, 6};
	struct text *texts[5];
	struct writer_point points[5];

	for (uint8_t i = 0; i < 5; i++) {
		texts[i] = text_new(7, i, sizes[i]);
		points[i] = texts[i]->point;
	}
	for (size_t n = 1; n <= 5; n++) {
		assert_int_equal(rig_upsert(&rig, c, points, n, &err), 0);
		check(&rig, c, 7, (uint8_t)(n - 1), (int)sizes[n - 1]);
		check_counts(&rig, c, 1, sizes[n - 1] ? sizes[n - 1] : 1);
	}
	for (size_t i = 0; i < 5; i++)
		free(texts[i]);
	collection_release(c);
	rig_close(&rig);
}

static void
test_limits(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);

	assert_int_equal(put(&rig, c, 1, 1, DB_PASSAGES_MAX, &err), 0);
	check(&rig, c, 1, 1, DB_PASSAGES_MAX);
	check_counts(&rig, c, 1, DB_PASSAGES_MAX);
	assert_int_equal(put(&rig, c, 1, 1, DB_PASSAGES_MAX + 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "expected at most 4096 passages"));
	struct text *text = text_new(2, 2, 3);
	text->codes[2].wire = NULL;
	assert_int_equal(rig_upsert(&rig, c, &text->point, 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	text->codes[2].wire = text->wires[2];
	text->codes[2].factor = NAN;
	assert_int_equal(rig_upsert(&rig, c, &text->point, 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	text->codes[2].factor = 1;
	assert_int_equal(rig_upsert(&rig, c, &text->point, 1, &err), 0);
	free(text);
	check_counts(&rig, c, 2, DB_PASSAGES_MAX + 3);
	collection_release(c);
	rig_close(&rig);
}

/* What fails in the middle of a replacement leaves the old point whole. */
static void
test_failures(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), (size_t)2 << 20);
	struct collection *c = rig_create(&rig, &settings);
	int result = -1;
	long k = 0;

	assert_int_equal(put(&rig, c, 1, 1, 4, &err), 0);
	for (size_t n = 2; n <= 9; n += 7, result = -1, k = 0) {
		struct text *text = text_new(1, (uint8_t)n, n);
		struct text *other = text_new(2, 1, 3);
		struct writer_point points[] = {text->point, other->point};
		while (result != 0) {
			size_t before = collection_counts(c).rows;
			array_fail_at(++k);
			result = rig_upsert(&rig, c, points, 2, &err);
			array_fail_at(0);
			if (result == 0)
				break;
			assert_int_equal(err.code, ERR_MEMORY);
			check_counts(&rig, c, n == 2 ? 1 : 2, before);
			check(&rig, c, 1, n == 2 ? 1 : 2, n == 2 ? 4 : 2);
		}
		assert_true(k > 4);
		check(&rig, c, 1, (uint8_t)n, (int)n);
		check_counts(&rig, c, 2, n + 3);
		free(text);
		free(other);
	}
	/* A map that is full: first of points, then for the passages. */
	char *big = calloc(1, (size_t)3 << 20);
	struct text *text = text_new(1, 3, 1000), *last = text_new(3, 3, 0);
	last->point.payload = big;
	last->point.payload_len = (size_t)3 << 20;
	struct writer_point points[] = {text->point, last->point};
	assert_int_equal(rig_upsert(&rig, c, points, 2, &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	check(&rig, c, 1, 9, 9);
	check_counts(&rig, c, 2, 12);
	free(text);
	free(last);
	free(big);
	collection_release(c);
	rig_close(&rig);
}

static void
test_drop(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	uint64_t extra = 1;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct db_codes codes = *collection_codes(c);

	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(put(&rig, c, i, 1, 1000, &err), 0);
	check_counts(&rig, c, 10, 10000);
	assert_int_equal(rig_drop(&rig, c, &err), 0);
	collection_release(c);
	for (int i = 0; i < 1000 && extra > 0; i++) {
		usleep(10000);
		struct db_txn *txn = db_begin_read(rig.db, &err);
		assert_int_equal(db_extra_rows(txn, &codes, &extra, &err), 0);
		db_end(txn);
	}
	assert_true(extra == 0);
	struct db_sizes sizes;
	assert_int_equal(db_sizes(rig.db, &sizes, &err), 0);
	assert_int_equal(sizes.n_rows, 0);
	rig_close(&rig);
}

/* A count that cannot be right is damage, found at the start. */
static void
test_damaged_count(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	char dir[400];
	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rig_open(&rig, dir, 0);
	struct collection *c = rig_create(&rig, &settings);
	struct db_codes codes = *collection_codes(c);

	assert_int_equal(put(&rig, c, 1, 1, 3, &err), 0);
	collection_release(c);
	rig_close(&rig);
	for (uint64_t n = 3; n >= 2; n--) {
		struct db *db = db_open(dir, (size_t)64 << 20, &err);
		struct db_txn *txn = db_begin_write(db, &err);
		assert_int_equal(db_set_extra_rows(txn, &codes, n, &err), 0);
		assert_int_equal(db_commit(txn, &err), 0);
		struct registry *registry = registry_open(db, &err);
		assert_int_equal(registry != NULL, n == 2);
		if (!registry)
			assert_int_equal(err.code, ERR_FORMAT);
		else
			registry_close(registry);
		db_close(db);
	}
	/* One that is too low is found when it would go below zero. */
	struct db *db = db_open(dir, (size_t)64 << 20, &err);
	struct db_txn *txn = db_begin_write(db, &err);
	assert_int_equal(db_set_extra_rows(txn, &codes, 1, &err), 0);
	assert_int_equal(db_commit(txn, &err), 0);
	db_close(db);
	rig_open(&rig, dir, 0);
	c = registry_find(rig.registry, "c", &err);
	assert_int_equal(put(&rig, c, 1, 2, 0, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	check(&rig, c, 1, 1, 3);
	collection_release(c);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_replace),
	    cmocka_unit_test(test_one_batch),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_drop),
	    cmocka_unit_test(test_damaged_count),
	};
	log_set_level(LOG_ERROR); /* what fails here is meant to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
