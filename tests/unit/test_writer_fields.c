/*
 * Claims of server/writer.h about payload indexes and changes of payloads, and how they
 * are checked:
 *  - points that were there are entered between other writes, which do not wait for
 *    the last of them; what those write meanwhile is entered too;
 *  - it goes on after a restart; to make an index that is there changes nothing;
 *  - who waits for an index is answered once: when it is complete, when it is dropped,
 *    by itself or with its collection, and when the writer stops;
 *  - a change of payloads of which one is too large changes none, and fails alone;
 *  - memory that fails in the middle has changed nothing.
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
#include "server/payload.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define N 20000 /* points: several slices */

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};
static const uint8_t wire[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static struct path *key; /* "a" */

static int
setup(void **state)
{
	struct error err;
	(void)state;

	key = path_new("a", 1, &err);
	return key ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	path_free(key);
	return 0;
}

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static struct writer_point
point_of(uint64_t number, const char *payload)
{
	struct writer_point point = {.wire = wire,
	    .factor = 1,
	    .payload = payload,
	    .payload_len = strlen(payload)};

	point_id_from_number(&point.id, number);
	return point;
}

static struct collection *
fill(struct rig *rig)
{
	struct collection *c = rig_create(rig, &settings);
	struct writer_point *points = calloc(N, sizeof *points);
	struct error err;

	for (uint64_t i = 0; i < N; i++)
		points[i] = point_of(i, i % 2 ? "{\"a\":1}" : "{\"b\":1}");
	check(rig_upsert(rig, c, points, N, &err), &err);
	free(points);
	return c;
}

static struct writer_operation
index_of(struct collection *c, bool wait)
{
	return (struct writer_operation){.kind = WRITER_INDEX,
	    .collection = c,
	    .index = {key, DB_FIELD_INTEGER, wait}};
}

/* The index is complete and has so many rows; returns its number. */
static unsigned
check_index(struct rig *rig, size_t n_rows)
{
	struct error err;
	struct collection *now = registry_find(rig->registry, "c", &err);
	struct db_txn *txn = db_begin_read(rig->db, &err);
	const struct db_field *field = collection_field(now, key);
	struct db_fields_at at = {
	    txn, collection_settings(now)->id, field ? field->number : (uint16_t)0};
	bool complete;

	assert_non_null(field);
	check(db_fields_complete(&at, &complete, &err), &err);
	assert_true(complete);
	struct row_set *rows = row_set_new(2 * N, &err);
	assert_non_null(rows);
	check(db_fields_term(rows, &at, DB_FIELDS_VALUE, NULL, &err), &err);
	assert_int_equal(row_set_count(rows), n_rows);
	row_set_free(rows);
	db_end(txn);
	collection_release(now);
	return at.number;
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
wait_all(struct rig *rig)
{
	while (writer_stats(rig->writer).queued_operations > 0)
		usleep(1000);
}

static void
test_slices(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = fill(&rig);
	/* One before the slices' last and one behind, both with a value now. */
	struct writer_point points[] = {
	    point_of(N - 2, "{\"a\":2}"), point_of(N, "{\"a\":3}")};
	struct writer_operation make = index_of(c, true), again = index_of(c, true),
				put = {.kind = WRITER_UPSERT,
				    .collection = c,
				    .points = points,
				    .n = 2},
				gone = {.kind = WRITER_DELETE,
				    .collection = c,
				    .ids = &points[1].id,
				    .n = 1};

	answers.n = 0;
	submit(&rig, &make);
	submit(&rig, &put);
	wait_all(&rig);
	assert_int_equal(answers.n, 2);
	assert_ptr_equal(answers.operations[0], &put);
	assert_int_equal(answers.codes[0], ERR_NONE);
	assert_int_equal(answers.codes[1], ERR_NONE);
	unsigned number = check_index(&rig, N / 2 + 2);
	submit(&rig, &gone);
	submit(&rig, &again);
	wait_all(&rig);
	assert_int_equal(answers.n, 4);
	assert_int_equal(check_index(&rig, N / 2 + 1), number);
	collection_release(c);
	rig_close(&rig);
}

static void
test_restart(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	const char *dir = rig_new_dir();
	rig_open(&rig, dir, 0);
	struct collection *c = fill(&rig);
	struct writer_operation make = index_of(c, false);

	check(rig_run(&rig, &make, NULL, &err), &err);
	collection_release(c);
	rig_close(&rig); /* now, with most slices to do */
	rig_open(&rig, dir, 0);
	c = registry_find(rig.registry, "c", &err);
	assert_non_null(c);
	size_t affected = 1;
	make = index_of(c, true);
	check(rig_run(&rig, &make, &affected, &err), &err);
	assert_int_equal(affected, 0);
	assert_int_equal(check_index(&rig, N / 2), 1);
	collection_release(c);
	rig_close(&rig);
}

static void
test_waiting(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		struct rig rig;
		rig_open(&rig, rig_new_dir(), 0);
		struct collection *c = fill(&rig);
		struct writer_operation make = index_of(c, true), end = make;
		answers.n = 0;
		submit(&rig, &make);
		end.kind = what == 0 ? WRITER_UNINDEX : WRITER_DROP;
		if (what < 2) {
			submit(&rig, &end);
			wait_all(&rig);
		}
		rig_close(&rig);
		assert_int_equal(answers.n, what < 2 ? 2 : 1);
		/* It had slices to do when it was dropped, so it came last. */
		assert_ptr_equal(answers.operations[answers.n - 1], &make);
		enum error_code code = answers.codes[answers.n - 1];
		assert_true(code == ERR_NONE || (what == 2 && code == ERR_UNAVAILABLE));
		collection_release(c);
	}
}

static void
check_payload(struct rig *rig, struct collection *c, uint64_t number, const char *want)
{
	uint32_t id = collection_settings(c)->id, slot;
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	struct db_record record;
	struct point_id point;
	bool found;

	point_id_from_number(&point, number);
	check(db_slot(txn, id, &point, &found, &slot, &err), &err);
	assert_true(found);
	check(db_record(txn, id, slot, &found, &record, &err), &err);
	assert_int_equal(record.payload_len, strlen(want));
	assert_memory_equal(record.payload, want, strlen(want));
	db_end(txn);
}

static void
test_too_large(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	struct json json;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point points[] = {point_of(1, "{\"a\":1}"),
	    point_of(2, "{\"b\":\"123456789\"}"), point_of(3, "{}")};
	struct point_id ids[] = {points[0].id, points[1].id, points[2].id};

	check(rig_upsert(&rig, c, points, 3, &err), &err);
	check(json_check(&json, "{\"c\":1}", 7, &err), &err);
	struct payload_change *change = payload_set(&json, NULL, &err);
	struct writer_operation all = {.kind = WRITER_PAYLOAD,
				    .collection = c,
				    .ids = ids,
				    .n = 3,
				    .payload = change,
				    .payload_bytes_max = 20},
				one = all;
	one.n = 1;
	answers.n = 0;
	submit(&rig, &all);
	submit(&rig, &one);
	wait_all(&rig);
	assert_int_equal(answers.codes[0], ERR_TOO_LARGE);
	assert_non_null(strstr(all.err.text, "point 2"));
	assert_int_equal(answers.codes[1], ERR_NONE);
	check_payload(&rig, c, 1, "{\"a\":1,\"c\":1}");
	check_payload(&rig, c, 2, "{\"b\":\"123456789\"}");
	check_payload(&rig, c, 3, "{}");
	payload_change_free(change);
	collection_release(c);
	rig_close(&rig);
}

static void
test_memory(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	struct json json;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point points[] = {
	    point_of(1, "{\"a\":1}"), point_of(2, "{\"a\":2}")};
	struct point_id ids[] = {points[0].id, points[1].id};
	int k = 0, rc;

	check(rig_upsert(&rig, c, points, 2, &err), &err);
	struct writer_operation make = index_of(c, true);
	do {
		array_fail_at(++k);
		rc = rig_run(&rig, &make, NULL, &err);
		array_fail_at(0);
	} while (rc != 0 && err.code == ERR_MEMORY);
	check(rc, &err);
	assert_true(k > 5);
	check(rig_run(&rig, &make, NULL, &err), &err);
	assert_int_equal(check_index(&rig, 2), 1);
	check(json_check(&json, "{\"a\":null}", 10, &err), &err);
	struct payload_change *change = payload_set(&json, NULL, &err);
	struct writer_operation set = {.kind = WRITER_PAYLOAD,
	    .collection = c,
	    .ids = ids,
	    .n = 2,
	    .payload = change,
	    .payload_bytes_max = 100};
	k = 0;
	do {
		array_fail_at(++k);
		rc = rig_run(&rig, &set, NULL, &err);
		array_fail_at(0);
		assert_true(rc == 0 || err.code == ERR_MEMORY);
		if (rc == 0)
			break;
		check_payload(&rig, c, 1, "{\"a\":1}");
		check_payload(&rig, c, 2, "{\"a\":2}");
		check_index(&rig, 2);
	} while (true);
	assert_true(k > 5);
	check_index(&rig, 0);
	check_payload(&rig, c, 2, "{}");
	payload_change_free(change);
	collection_release(c);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_slices),
	    cmocka_unit_test(test_restart),
	    cmocka_unit_test(test_waiting),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_memory),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
