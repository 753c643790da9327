/*
 * Claims of server/writer.h and how they are checked:
 *  - operations that wait go into one commit (a gate in on_done gathers them), are done
 *    in order, numbered in order, and answered in order;
 *  - a group of creations finds room in the registry for all of them;
 *  - one that is wrong fails alone, before and after others of its group;
 *  - where a group finds no room, the operations that fit succeed one by one;
 *  - the queue is bounded, stopping finishes what is queued, a failing disk is told;
 *  - deletion of dropped collections goes on after a restart;
 *  - queries keep what they hold while it is replaced, deleted and dropped;
 *  - a deletion with a filter takes the points that match it when it is done.
 */
#include <math.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};

static const uint8_t wire[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct writer_point
point_of(uint64_t number, const char *payload, size_t payload_len)
{
	struct writer_point point = {
	    .wire = wire, .factor = 1, .payload = payload, .payload_len = payload_len};

	point_id_from_number(&point.id, number);
	return point;
}

/* Operations whose answers are written down in the order in which they come. */
#define LOG_MAX 64
static struct {
	size_t n;
	const struct writer_operation *operations[LOG_MAX];
	struct writer_result results[LOG_MAX];
	struct error errors[LOG_MAX];
} answers;

static void
on_logged(struct writer_operation *operation, const struct writer_result *result)
{
	assert_true(answers.n < LOG_MAX);
	answers.operations[answers.n] = operation;
	answers.results[answers.n] = *result;
	answers.errors[answers.n] = result->err ? *result->err : (struct error){0};
	answers.n++;
}

/* An operation that holds the writer in its on_done until the gate is opened, so that
 * what is submitted meanwhile becomes one group. */
struct gate {
	struct writer_operation operation;
	sem_t reached, open;
	struct point_id id;
};

static void
on_gate(struct writer_operation *operation, const struct writer_result *result)
{
	struct gate *gate = operation->arg;
	(void)result;

	sem_post(&gate->reached);
	while (sem_wait(&gate->open) != 0)
		continue;
}

static void
gate_close(struct gate *gate, struct rig *rig, struct collection *c)
{
	struct error err;

	sem_init(&gate->reached, 0, 0);
	sem_init(&gate->open, 0, 0);
	point_id_from_number(&gate->id, UINT64_MAX);
	gate->operation = (struct writer_operation){.kind = WRITER_DELETE,
	    .collection = c,
	    .ids = &gate->id,
	    .n = 1,
	    .on_done = on_gate,
	    .arg = gate};
	assert_int_equal(writer_submit(rig->writer, &gate->operation, &err), 0);
	while (sem_wait(&gate->reached) != 0)
		continue;
	answers.n = 0;
}

static void
submit(struct rig *rig, struct writer_operation *operation)
{
	struct error err;

	operation->on_done = on_logged;
	if (writer_submit(rig->writer, operation, &err) != 0)
		fail_msg("submit: %s", err.text);
}

static void
test_group(void **state)
{
	(void)state;
	struct rig rig;
	struct gate gate;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct collection *twin = collection_new(&settings, NULL, &err);
	struct collection_settings other_settings = settings;
	snprintf(other_settings.name, sizeof other_settings.name, "%s", "d");
	struct collection *other = collection_new(&other_settings, NULL, &err);
	struct writer_point points[] = {point_of(1, "a", 1), point_of(1, "b", 1)};
	struct writer_operation ops[] = {
	    {.kind = WRITER_UPSERT, .collection = c, .points = points, .n = 2},
	    {.kind = WRITER_CREATE, .collection = twin}, /* the name is taken */
	    {.kind = WRITER_UPSERT, .collection = twin, .points = points, .n = 1},
	    {.kind = WRITER_CREATE, .collection = other},
	    {.kind = WRITER_UPSERT, .collection = other, .points = points, .n = 1},
	    {.kind = WRITER_DELETE, .collection = c, .ids = &points[0].id, .n = 1},
	    {.kind = WRITER_DROP, .collection = other},
	    {.kind = WRITER_DELETE, .collection = other, .ids = &points[0].id, .n = 1},
	    {.kind = WRITER_DROP, .collection = other},
	    {.kind = WRITER_CREATE, .collection = other}, /* the name is free again */
	};
	static const enum error_code want[] = {ERR_NONE, ERR_EXISTS, ERR_NOT_FOUND,
	    ERR_NONE, ERR_NONE, ERR_NONE, ERR_NONE, ERR_NOT_FOUND, ERR_NOT_FOUND,
	    ERR_NONE};
	const size_t n = sizeof ops / sizeof ops[0];

	gate_close(&gate, &rig, c);
	for (size_t i = 0; i < n; i++)
		submit(&rig, &ops[i]);
	assert_int_equal(writer_stats(rig.writer).queued_operations, n);
	sem_post(&gate.open);
	while (writer_stats(rig.writer).operations < n + 2)
		usleep(1000);
	rig_close(&rig);
	assert_int_equal(answers.n, n);
	uint64_t last = 0;
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(answers.operations[i], &ops[i]);
		assert_int_equal(answers.errors[i].code, want[i]);
		if (want[i] != ERR_NONE) {
			assert_int_equal(answers.results[i].operation, 0);
			continue;
		}
		/* One number after the other, without gaps. */
		assert_true(last == 0 || answers.results[i].operation == last + 1);
		last = answers.results[i].operation;
	}
	assert_int_equal(answers.results[5].n_affected, 1);
	collection_release(c);
	collection_release(twin);
	collection_release(other);
}

/* A group of creations, some of one name, finds room for all of them. */
static void
test_many_creations(void **state)
{
	(void)state;
	enum { N = 40, SAME = 10 };
	struct rig rig;
	struct gate gate;
	struct error err;
	struct collection *made[N];
	struct writer_operation ops[N];
	struct collection **list;
	size_t n;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);

	gate_close(&gate, &rig, c);
	for (size_t i = 0; i < N; i++) {
		struct collection_settings s = settings;
		snprintf(s.name, sizeof s.name, "n%zu", i % (N - SAME));
		made[i] = collection_new(&s, NULL, &err);
		assert_non_null(made[i]);
		ops[i] = (struct writer_operation){
		    .kind = WRITER_CREATE, .collection = made[i]};
		submit(&rig, &ops[i]);
	}
	sem_post(&gate.open);
	while (writer_stats(rig.writer).queued_operations > 0)
		usleep(1000);
	assert_int_equal(registry_list(&list, &n, rig.registry, &err), 0);
	assert_int_equal(n, 1 + N - SAME);
	for (size_t i = 1; i < n; i++)
		assert_true(strcmp(collection_settings(list[i - 1])->name,
				collection_settings(list[i])->name) < 0);
	registry_list_free(list, n);
	rig_close(&rig);
	assert_int_equal(answers.n, N);
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(
		    answers.errors[i].code, i < N - SAME ? ERR_NONE : ERR_EXISTS);
		collection_release(made[i]);
	}
	collection_release(c);
}

/* 64 waiting writes take far fewer commits than 64. */
static void
test_one_commit(void **state)
{
	(void)state;
	struct rig rig;
	struct gate gate;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point points[LOG_MAX];
	struct writer_operation ops[LOG_MAX];

	gate_close(&gate, &rig, c);
	for (size_t i = 0; i < LOG_MAX; i++) {
		points[i] = point_of(i, "{}", 2);
		ops[i] = (struct writer_operation){.kind = WRITER_UPSERT,
		    .collection = c,
		    .points = &points[i],
		    .n = 1};
		submit(&rig, &ops[i]);
	}
	sem_post(&gate.open);
	while (writer_stats(rig.writer).queued_operations > 0)
		usleep(1000);
	struct writer_stats stats = writer_stats(rig.writer);
	assert_int_equal(stats.commits, 3); /* creation, gate, and these: no purge */
	assert_int_equal(stats.points_written, LOG_MAX);
	assert_int_equal(stats.failed, 0);
	assert_int_equal(stats.queued_bytes, 0);
	assert_int_equal(collection_count(c), LOG_MAX);
	collection_release(c);
	rig_close(&rig);
}

/* The group does not fit into the map; its small operations do. */
static void
test_full(void **state)
{
	(void)state;
	struct rig rig;
	struct gate gate;
	struct error err;
	const char *dir = rig_new_dir();
	size_t big_len = (size_t)3 << 20;
	char *big = calloc(big_len, 1);
	rig_open(&rig, dir, (size_t)2 << 20);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point points[] = {
	    point_of(1, "x", 1), point_of(2, big, big_len), point_of(3, "y", 1)};
	struct writer_operation ops[3];

	gate_close(&gate, &rig, c);
	for (size_t i = 0; i < 3; i++) {
		ops[i] = (struct writer_operation){.kind = WRITER_UPSERT,
		    .collection = c,
		    .points = &points[i],
		    .n = 1};
		submit(&rig, &ops[i]);
	}
	sem_post(&gate.open);
	while (writer_stats(rig.writer).queued_operations > 0)
		usleep(1000);
	/* Creation, gate, two that fit: the failed group is none. */
	assert_int_equal(writer_stats(rig.writer).commits, 4);
	assert_int_equal(collection_count(c), 2);
	/* One that spans the failure is not there in part. */
	assert_int_equal(rig_upsert(&rig, c, points, 3, &err), -1);
	assert_int_equal(err.code, ERR_FULL);
	struct writer_point fresh[] = {point_of(8, "x", 1), point_of(9, big, big_len)};
	assert_int_equal(rig_upsert(&rig, c, fresh, 2, &err), -1);
	assert_int_equal(collection_count(c), 2);
	assert_int_equal(rig_upsert(&rig, c, fresh, 1, &err), 0);
	assert_int_equal(collection_count(c), 3);
	collection_release(c);
	rig_close(&rig);
	assert_int_equal(answers.n, 3);
	assert_int_equal(answers.errors[0].code, ERR_NONE);
	assert_int_equal(answers.errors[1].code, ERR_FULL);
	assert_int_equal(answers.errors[2].code, ERR_NONE);
	rig_open(&rig, dir, 0);
	c = registry_find(rig.registry, "c", &err);
	assert_int_equal(collection_count(c), 3);
	collection_release(c);
	rig_close(&rig);
	free(big);
}

static void
test_queue_limits(void **state)
{
	(void)state;
	struct rig rig;
	struct gate gate;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point point = point_of(1, "{}", 2);
	struct writer_operation op = {
	    .kind = WRITER_UPSERT, .collection = c, .points = &point, .n = 1};

	writer_stop(rig.writer);
	static const struct writer_options limits[] = {
	    {.queue_operations_max = 4}, {.queue_bytes_max = 1000}};
	for (size_t k = 0; k < 2; k++) {
		struct writer_operation ops[8];
		size_t n = 0;
		rig.writer = writer_start(rig.db, rig.registry, &limits[k], &err);
		gate_close(&gate, &rig, c);
		for (; n < 8; n++) {
			ops[n] = op;
			ops[n].on_done = on_logged;
			if (writer_submit(rig.writer, &ops[n], &err) != 0)
				break;
		}
		/* The gate's operation counts until its on_done returns, or not. */
		assert_true(n >= 2 && n <= 4);
		assert_int_equal(err.code, ERR_BUSY);
		assert_non_null(strstr(
		    err.text, k == 0 ? "max_queued_writes" : "max_queued_bytes"));
		sem_post(&gate.open);
		writer_stop(rig.writer); /* finishes what is queued */
		assert_int_equal(answers.n, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(answers.errors[i].code, ERR_NONE);
	}
	/* Larger than the whole queue, but alone. */
	rig.writer = writer_start(rig.db, rig.registry, &limits[1], &err);
	char *big = calloc(5000, 1);
	point = point_of(2, big, 5000);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	free(big);
	collection_release(c);
	rig_close(&rig);
}

static void
test_refused_points(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point bad[4];

	for (size_t i = 0; i < 4; i++)
		bad[i] = point_of(i, NULL, 0);
	bad[0].factor = NAN;
	bad[1].norm2 = INFINITY;
	bad[2].wire = NULL;
	bad[3].id.len = 0;
	for (size_t i = 0; i < 4; i++) {
		struct writer_point batch[] = {point_of(9, NULL, 0), bad[i]};
		assert_int_equal(rig_upsert(&rig, c, batch, 2, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "point 1 of the batch"));
	}
	assert_int_equal(collection_count(c), 0);
	collection_release(c);
	rig_close(&rig);
}

/* What an allocation that fails in the middle of a batch leaves: nothing. */
static void
test_allocations(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point points[3];
	int result = -1;
	long k = 0;

	for (size_t i = 0; i < 3; i++)
		points[i] = point_of(i, "{\"a\":1}", 7);
	while (result != 0) {
		array_fail_at(++k);
		result = rig_upsert(&rig, c, points, 3, &err);
		array_fail_at(0);
		if (result != 0)
			assert_int_equal(err.code, ERR_MEMORY);
		assert_int_equal(collection_count(c), result == 0 ? 3 : 0);
	}
	assert_true(k > 4);
	struct collection_settings other = settings;
	snprintf(other.name, sizeof other.name, "%s", "d");
	result = -1;
	for (k = 1; result != 0; k++) {
		struct collection *d = collection_new(&other, NULL, &err);
		struct writer_operation op = {.kind = WRITER_CREATE, .collection = d};
		array_fail_at(k);
		result = rig_run(&rig, &op, NULL, &err);
		array_fail_at(0);
		collection_release(d);
		struct collection *found = registry_find(rig.registry, "d", &err);
		assert_int_equal(found != NULL, result == 0);
		collection_release(found);
	}
	assert_true(k > 2);
	collection_release(c);
	rig_close(&rig);
}

static size_t
rows_left(struct rig *rig)
{
	struct error err;
	struct db_sizes sizes;

	assert_int_equal(db_sizes(rig->db, &sizes, &err), 0);
	return sizes.n_rows;
}

/* Dropping is at once; the rows go in slices, also after a restart. */
static void
test_purge(void **state)
{
	(void)state;
	enum { N = 10000 };
	struct rig rig;
	struct error err;
	const char *dir = rig_new_dir();
	rig_open(&rig, dir, 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point *points = calloc(N, sizeof *points);

	for (size_t i = 0; i < N; i++)
		points[i] = point_of(i, "{}", 2);
	assert_int_equal(rig_upsert(&rig, c, points, N, &err), 0);
	struct store_snapshot *held = store_acquire(collection_store(c));
	assert_int_equal(rig_drop(&rig, c, &err), 0);
	assert_null(registry_find(rig.registry, "c", &err));
	writer_stop(rig.writer);
	rig.writer = NULL;
	assert_true(rows_left(&rig) > 0); /* it stopped in the middle */
	assert_int_equal(held->n_live, N);
	assert_true(store_get(NULL, NULL, NULL, held, N - 1));
	store_release(held);
	collection_release(c);
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	assert_null(registry_find(rig.registry, "c", &err));
	c = rig_create(&rig, &settings);
	assert_int_equal(rig_upsert(&rig, c, points, 5, &err), 0);
	for (int i = 0; i < 1000 && rows_left(&rig) > 5; i++)
		usleep(10000);
	assert_int_equal(rows_left(&rig), 5);
	assert_int_equal(collection_count(c), 5);
	collection_release(c);
	rig_close(&rig);
	free(points);
}

/* A reader holds a snapshot while its slot is freed: the slot is not given away. */
static void
test_snapshots(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct writer_point one = point_of(1, NULL, 0), two = point_of(2, NULL, 0);
	uint8_t got[8];

	assert_int_equal(rig_upsert(&rig, c, &one, 1, &err), 0);
	struct store_snapshot *held = store_acquire(collection_store(c));
	assert_int_equal(rig_delete(&rig, c, &one.id, 1, &err), 1);
	assert_int_equal(rig_delete(&rig, c, &one.id, 1, &err), 0);
	assert_int_equal(rig_upsert(&rig, c, &two, 1, &err), 0);
	assert_true(store_get(got, NULL, NULL, held, 0));
	struct store_snapshot *now = store_acquire(collection_store(c));
	assert_false(store_get(got, NULL, NULL, now, 0));
	assert_true(store_get(got, NULL, NULL, now, 1));
	store_release(now);
	store_release(held);
	assert_int_equal(rig_upsert(&rig, c, &one, 1, &err), 0);
	now = store_acquire(collection_store(c));
	assert_true(store_get(got, NULL, NULL, now, 0)); /* used again */
	store_release(now);
	collection_release(c);
	rig_close(&rig);
}

/* The ids were found before others changed a payload: what is there by now counts. */
static void
test_delete_filter(void **state)
{
	(void)state;
	static const char text[] = "{\"must\":{\"key\":\"a\",\"match\":{\"value\":1}}}";
	struct writer_point points[] = {point_of(1, "{\"a\":1}", 7),
	    point_of(2, "{\"a\":2}", 7), point_of(3, NULL, 0),
	    point_of(4, "{\"a\":1}", 7)};
	struct point_id ids[5];
	struct rig rig;
	struct error err;
	struct json root;
	size_t affected;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);

	assert_int_equal(json_check(&root, text, strlen(text), &err), 0);
	struct filter *filter = filter_new(&root, NULL, 0, &err);
	assert_non_null(filter);
	for (uint64_t i = 0; i < 5; i++)
		point_id_from_number(&ids[i], i + 1);
	assert_int_equal(rig_upsert(&rig, c, points, 4, &err), 0);
	struct writer_operation operation = {.kind = WRITER_DELETE,
	    .collection = c,
	    .ids = ids,
	    .filter = filter,
	    .n = 5};
	assert_int_equal(rig_run(&rig, &operation, &affected, &err), 0);
	assert_int_equal(affected, 2);
	assert_int_equal(collection_count(c), 2);
	assert_int_equal(rig_delete(&rig, c, ids, 5, &err), 2); /* 2 and 3 */
	filter_free(filter);
	collection_release(c);
	rig_close(&rig);
}

static void
on_submit_more(struct writer_operation *operation, const struct writer_result *result)
{
	struct rig *rig = operation->arg;
	struct error err;
	(void)result;

	operation->on_done = on_logged;
	assert_int_equal(writer_submit(rig->writer, operation, &err), 0);
}

static void
test_submit_from_on_done(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &settings);
	struct point_id id;
	struct writer_operation op = {.kind = WRITER_DELETE,
	    .collection = c,
	    .ids = &id,
	    .n = 1,
	    .on_done = on_submit_more,
	    .arg = &rig};

	point_id_from_number(&id, 5);
	answers.n = 0;
	assert_int_equal(writer_submit(rig.writer, &op, &err), 0);
	while (writer_stats(rig.writer).operations < 3)
		usleep(1000);
	rig_close(&rig);
	assert_int_equal(answers.n, 1);
	collection_release(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_group),
	    cmocka_unit_test(test_many_creations),
	    cmocka_unit_test(test_one_commit),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_queue_limits),
	    cmocka_unit_test(test_refused_points),
	    cmocka_unit_test(test_allocations),
	    cmocka_unit_test(test_purge),
	    cmocka_unit_test(test_snapshots),
	    cmocka_unit_test(test_delete_filter),
	    cmocka_unit_test(test_submit_from_on_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
