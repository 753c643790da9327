/*
 * Claims of server/api_filter.h and how they are checked:
 *  - the rows of a filter are found on a worker, in steps, and stay those of the moment
 *    when they were found; each point is asked again once it has been written: one that
 *    was changed holds if it still matches, one that was not holds unasked;
 *  - of a point with passages its first row's payload counts, whichever row was hit;
 *  - a request that nobody waits for ends between two steps, and a failed allocation
 *    ends it wherever it is, with nothing left behind;
 *  - it ends after filter_timeout_s, or the request's own timeout, too;
 *  - what filters have cost is told once a key, only where payloads had to be read.
 */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/api_filter.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define POINTS 3000
#define CONDITIONS 300

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};
static const uint8_t wire[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A server with one worker, as far as it is asked here; and a request. */
static struct rig rig;
static struct config config;
static struct api api;
static struct collection *c;
static struct http_request request;
static char no_query[] = "";
static struct api_filter filter;
static sem_t done;

static int
setup(void **state)
{
	struct error err;
	(void)state;

	rig_open(&rig, rig_new_dir(), 0);
	c = rig_create(&rig, &settings);
	config = (struct config){.filter_timeout_s = 60};
	api = (struct api){.config = &config, .db = rig.db, .pool = pool_new(1, &err)};
	assert_non_null(api.pool);
	request = (struct http_request){
	    .context = &api, .query = no_query, .start_ns = clock_ns()};
	sem_init(&done, 0, 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;

	pool_free(api.pool);
	collection_release(c);
	rig_close(&rig);
	return 0;
}

static void
put(uint64_t number, const char *payload, size_t n_passages)
{
	static const struct db_code codes[] = {
	    {wire, 1, 1}, {wire, 1, 1}, {wire, 1, 1}};
	static const struct db_passage passages[] = {{0, 1}, {1, 2}, {2, 3}};
	struct writer_point point = {.wire = wire,
	    .factor = 1,
	    .payload = payload,
	    .payload_len = strlen(payload),
	    .n_passages = n_passages,
	    .codes = codes,
	    .passages = passages};
	struct error err;

	point_id_from_number(&point.id, number);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
}

/* Read {"filter": ...}; the text lives until api_filter_free. */
static void
read_filter(const char *text)
{
	struct json root;
	struct error err;

	assert_int_equal(json_check(&root, text, strlen(text), &err), 0);
	assert_int_equal(api_filter_read(&filter, &root, &request, c, &err), 0);
}

static void
on_found(struct pool_task *task, unsigned worker)
{
	(void)worker;
	assert_ptr_equal(task, &request.task);
	sem_post(&done);
}

static void
find(void)
{
	api_filter_find(&filter, c, &request, on_found);
	while (sem_wait(&done) != 0)
		continue;
}

/* Whether row `number` of a point holds; -1: it is not there. */
static int
holds(uint64_t number, size_t row)
{
	uint32_t id = collection_codes(c)->collection;
	struct error err;
	struct db_txn *txn = db_begin_read(rig.db, &err);
	struct db_record record;
	struct db_rows rows;
	struct point_id point;
	bool found = false;
	int result = -1;

	point_id_from_number(&point, number);
	assert_int_equal(db_rows(txn, id, &point, &rows, &err), 0);
	if (rows.n > row)
		assert_int_equal(
		    db_record(txn, id, rows.slots[row], &found, &record, &err), 0);
	if (found)
		result = api_filter_holds(&filter, txn, id, &record, &err);
	db_end(txn);
	return result;
}

static const char by_a[] =
    "{\"filter\":{\"must\":{\"key\":\"a\",\"match\":{\"value\":1}}}}";

static void
test_changed(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 6; i++)
		put(i, i < 5 ? "{\"a\":1}" : "{\"a\":2}", i == 4 ? 3 : 0);
	read_filter(by_a);
	find();
	assert_int_equal(filter.err.code, ERR_NONE);
	assert_int_equal(row_set_count(filter.rows), 7);
	assert_true(filter.cost.n_payloads == 8 && filter.cost.n_keys == 1);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(holds(i, 0), 1);
	/* What was not written since is not asked. */
	assert_int_equal(holds(5, 0), 1);
	assert_int_equal(holds(4, 2), 1);

	put(1, "{\"a\":2}", 0);
	put(2, "{\"a\":1,\"b\":0}", 0);
	put(4, "{\"a\":3}", 3);
	put(5, "{\"a\":2}", 0);
	struct point_id id;
	struct error err;
	point_id_from_number(&id, 3);
	assert_int_equal(rig_delete(&rig, c, &id, 1, &err), 1);
	assert_int_equal(holds(0, 0), 1);
	assert_int_equal(holds(1, 0), 0);
	assert_int_equal(holds(2, 0), 1);
	assert_int_equal(holds(3, 0), -1);
	assert_int_equal(holds(4, 0), 0);
	assert_int_equal(holds(4, 2), 0);
	assert_int_equal(holds(5, 0), 0);
	/* The slot of the point that is gone is not given away meanwhile. */
	put(7, "{\"a\":1}", 0);
	assert_int_equal(row_set_count(filter.rows), 7);
	struct store_snapshot *now = store_acquire(collection_store(c));
	uint32_t slot = filter.snapshot->n_slots;
	assert_true(store_get(NULL, NULL, NULL, now, slot));
	store_release(now);
	api_filter_free(&filter);

	/* Nothing was asked for. */
	read_filter("{\"filter\":null}");
	assert_null(filter.filter);
	find();
	assert_int_equal(filter.err.code, ERR_NONE);
	assert_null(filter.rows);
	assert_int_equal(holds(1, 0), 1);
	api_filter_free(&filter);
}

/* A filter that takes long over long payloads. */
static char *
slow_filter(void)
{
	char *text = malloc(CONDITIONS * 60 + 100);
	size_t n = (size_t)sprintf(text, "{\"filter\":{\"should\":[");

	for (int i = 0; i < CONDITIONS; i++)
		n += (size_t)sprintf(text + n,
		    "%s{\"key\":\"t\",\"match\":{\"text\":\"y%d\"}}", i ? "," : "", i);
	sprintf(text + n, "]}}");
	return text;
}

static void
put_long_payloads(void)
{
	char payload[500];
	memset(payload, 'x', sizeof payload);
	memcpy(payload, "{\"t\":\"", 6);
	memcpy(payload + sizeof payload - 3, "\"}", 3);
	struct writer_point *points = calloc(POINTS, sizeof *points);
	struct error err;

	for (uint64_t i = 0; i < POINTS; i++) {
		points[i] = (struct writer_point){.wire = wire,
		    .factor = 1,
		    .payload = payload,
		    .payload_len = strlen(payload)};
		point_id_from_number(&points[i].id, i);
	}
	assert_int_equal(rig_upsert(&rig, c, points, POINTS, &err), 0);
	free(points);
}

static void
test_given_up(void **state)
{
	char *text = slow_filter();
	(void)state;

	put_long_payloads();
	read_filter(text);
	find();
	assert_int_equal(filter.err.code, ERR_NONE);
	assert_int_equal(row_set_count(filter.rows), 0);
	assert_int_equal(filter.cost.n_payloads, POINTS);
	assert_true(filter.find_s > 2 * API_STEP_S); /* else it had no steps */
	api_filter_free(&filter);

	read_filter(text);
	api_filter_find(&filter, c, &request, on_found);
	atomic_store(&request.given_up, true);
	while (sem_wait(&done) != 0)
		continue;
	assert_int_equal(filter.err.code, ERR_UNAVAILABLE);
	assert_true(filter.cost.n_payloads < POINTS);
	assert_null(filter.txn);
	api_filter_free(&filter);
	free(text);
}

/* Of the filter, where no payload is read. */
static size_t
count_steps(void)
{
	struct error err;
	struct filter_cost cost = {.n_keys = 0};
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	struct row_set *live = row_set_live(snapshot, &err);
	struct row_set *rows = row_set_new(live->n_slots, &err);
	struct filter_place place = {.txn = db_begin_read(rig.db, &err),
	    .collection = collection_codes(c)->collection,
	    .live = live};
	struct filter_walk *walk =
	    filter_walk_new(rows, filter.filter, &place, &cost, &err);
	size_t n = 1;

	assert_true(live && rows && place.txn && walk);
	while (filter_walk_next(walk, 1, &err) > 0)
		n++;
	filter_walk_free(walk);
	db_end(place.txn);
	row_set_free(rows);
	row_set_free(live);
	store_release(snapshot);
	return n;
}

/* What indexes answer gives its worker back, too: here 1,000 lists of ids. */
static void
test_given_up_among_indexes(void **state)
{
	(void)state;
	enum { LISTS = 1000, IDS = 200 };
	char *text = malloc(LISTS * (IDS * 4 + 20) + 100);
	size_t n = (size_t)sprintf(text, "{\"filter\":{\"should\":[");

	put(1, "{}", 0);
	for (int i = 0; i < LISTS; i++) {
		n += (size_t)sprintf(text + n, "%s{\"has_id\":[1", i ? "," : "");
		for (int k = 1; k < IDS; k++)
			n += (size_t)sprintf(text + n, ",%d", k + 1);
		n += (size_t)sprintf(text + n, "]}");
	}
	sprintf(text + n, "]}}");
	read_filter(text);
	assert_true(count_steps() >= LISTS);
	find();
	assert_int_equal(filter.err.code, ERR_NONE);
	assert_int_equal(row_set_count(filter.rows), 1);
	assert_int_equal(filter.cost.n_payloads, 0);
	api_filter_free(&filter);

	read_filter(text);
	atomic_store(&request.given_up, true);
	find();
	assert_int_equal(filter.err.code, ERR_UNAVAILABLE);
	assert_null(filter.txn);
	api_filter_free(&filter);
	free(text);
}

/* The filter by_a of a request that began so many seconds ago. */
static void
find_late(uint64_t seconds, const char *query)
{
	char text[40];

	snprintf(text, sizeof text, "%s", query);
	request.query = text;
	request.start_ns = clock_ns() - seconds * UINT64_C(1000000000);
	read_filter(by_a);
	find();
	assert_null(filter.txn);
}

/* Time is over in the middle of a walk, which began a step and a half before that;
 * where the machine was busy then it has not begun: again. */
static void
test_too_late_between_steps(void **state)
{
	char *text = slow_filter();
	(void)state;

	put_long_payloads();
	for (int attempt = 0;; attempt++) {
		assert_true(attempt < 100);
		request.start_ns = clock_ns() - UINT64_C(60000000000) +
				   (uint64_t)(1.5 * API_STEP_S * 1e9);
		read_filter(text);
		find();
		assert_null(filter.txn);
		assert_null(filter.walk);
		assert_null(filter.live);
		assert_true(filter.cost.n_payloads < POINTS);
		assert_int_equal(filter.err.code, ERR_TIMEOUT);
		bool began = filter.cost.n_payloads > 0;
		assert_true(!began || strstr(filter.err.text, "an index of t"));
		api_filter_free(&filter);
		if (began)
			break;
	}
	free(text);
}

static void
test_too_late(void **state)
{
	(void)state;
	struct json root;
	struct error err;

	put(1, "{\"a\":1}", 0);
	find_late(50, "");
	assert_int_equal(filter.err.code, ERR_NONE);
	api_filter_free(&filter);
	find_late(61, "timeout=70");
	assert_int_equal(filter.err.code, ERR_TIMEOUT);
	assert_non_null(strstr(filter.err.text, " 60 s (filter_timeout_s"));
	api_filter_free(&filter);
	find_late(8, "wait=true&timeout=7");
	assert_int_equal(filter.err.code, ERR_TIMEOUT);
	assert_non_null(strstr(filter.err.text, " 7 s "));
	api_filter_free(&filter);

	char query[] = "timeout=1.5&wait=true";
	request.query = query;
	assert_int_equal(json_check(&root, by_a, strlen(by_a), &err), 0);
	assert_int_equal(api_filter_read(&filter, &root, &request, c, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "not 1.5"));
	assert_null(strstr(err.text, "wait"));
	api_filter_free(&filter);
}

static void
test_allocations(void **state)
{
	(void)state;
	struct json root;
	struct error err;

	put(1, "{\"a\":1}", 0);
	assert_int_equal(json_check(&root, by_a, strlen(by_a), &err), 0);
	for (long k = 1;; k++) {
		assert_true(k < 100);
		array_fail_at(k);
		int rc = api_filter_read(&filter, &root, &request, c, &err);
		if (rc == 0) {
			find();
			rc = filter.err.code == ERR_NONE ? 0 : -1;
			err = filter.err;
		}
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
		api_filter_free(&filter);
	}
	assert_int_equal(row_set_count(filter.rows), 1);
	api_filter_free(&filter);
}

static void
test_notes(void **state)
{
	(void)state;
	struct api_filter_notes notes = {.n_keys = 0};
	struct api_filter one = {.cost = {.n_payloads = 0}};
	struct text out = {0};
	struct error err;

	assert_int_equal(api_filter_note(&notes, &one, &err), 0);
	api_filter_notes_print(&out, &notes);
	assert_int_equal(out.n, 0);
	one.cost = (struct filter_cost){{"a", "b\"\n"}, 2, 5};
	assert_int_equal(api_filter_note(&notes, &one, &err), 0);
	one.cost = (struct filter_cost){{"c", "a"}, 2, 6};
	assert_int_equal(api_filter_note(&notes, &one, &err), 0);
	api_filter_notes_print(&out, &notes);
	assert_string_equal(out.bytes,
	    ",\"filter\":{\"unindexed\":[\"a\",\"b\\\"\\n\",\"c\"],"
	    "\"payloads_read\":11}");
	one.cost = (struct filter_cost){
	    {"1", "2", "3", "4", "5", "6", "7", "8"}, FILTER_KEYS_MAX, 1};
	assert_int_equal(api_filter_note(&notes, &one, &err), 0);
	assert_int_equal(notes.n_keys, FILTER_KEYS_MAX);
	text_free(&out);
	api_filter_notes_free(&notes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_given_up_among_indexes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_late, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_too_late_between_steps, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_allocations, setup, teardown),
	    cmocka_unit_test(test_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
