/*
 * Claims of server/registry.h: collections are found and listed by name, in the order
 * of names; loading ends when it is told to; what was found outlives a drop; threads
 * that find, list and read while others make and drop never meet a collection that is
 * gone (the sanitizers watch).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

static struct collection *
create(struct rig *rig, const char *name)
{
	struct collection_settings s = {.size = 64, .shape = {64, 1, 0}};

	snprintf(s.name, sizeof s.name, "%s", name);
	return rig_create(rig, &s);
}

static void
test_order(void **state)
{
	(void)state;
	static const char *const names[] = {"m", "a", "z", "mm", "B"};
	static const char *const sorted[] = {"B", "a", "m", "mm", "z"};
	struct rig rig;
	struct error err;
	struct collection **list;
	size_t n;

	rig_open(&rig, rig_new_dir(), 0);
	assert_int_equal(registry_list(&list, &n, rig.registry, &err), 0);
	assert_int_equal(n, 0);
	registry_list_free(list, n);
	for (size_t i = 0; i < 5; i++)
		collection_release(create(&rig, names[i]));
	assert_int_equal(registry_list(&list, &n, rig.registry, &err), 0);
	assert_int_equal(n, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_string_equal(collection_settings(list[i])->name, sorted[i]);
		struct collection *c = registry_find(rig.registry, sorted[i], &err);
		assert_ptr_equal(c, list[i]);
		collection_release(c);
	}
	/* The list holds what is dropped. */
	assert_int_equal(rig_drop(&rig, list[2], &err), 0);
	assert_null(registry_find(rig.registry, "m", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, "no collection called m"));
	assert_int_equal(collection_count(list[2]), 0);
	registry_list_free(list, n);
	array_fail_at(1);
	int failed = registry_list(&list, &n, rig.registry, &err);
	array_fail_at(0);
	assert_int_equal(failed, -1);
	assert_int_equal(err.code, ERR_MEMORY);
	rig_close(&rig);
}

/* Reading is given up where the server stops meanwhile. */
static void
test_stop_loading(void **state)
{
	(void)state;
	struct rig rig;
	struct error err;
	struct writer_point point = {.wire = (const uint8_t *)"12345678", .factor = 1};

	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = create(&rig, "x");
	point_id_from_number(&point.id, 1);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	collection_release(c);
	struct registry *again = registry_open(rig.db, &err);
	assert_non_null(again);
	registry_close(again);
	db_stop_loading(rig.db);
	assert_null(registry_open(rig.db, &err));
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	rig_close(&rig);
}

struct shared {
	struct rig rig;
	atomic_bool stop;
	atomic_size_t n_found, n_missed;
};

static void *
reader(void *arg)
{
	struct shared *shared = arg;
	struct error err;
	struct collection **list;
	size_t n;

	while (!atomic_load(&shared->stop)) {
		struct collection *c = registry_find(shared->rig.registry, "x", &err);
		if (c)
			collection_count(c);
		atomic_fetch_add(c ? &shared->n_found : &shared->n_missed, 1);
		collection_release(c);
		if (registry_list(&list, &n, shared->rig.registry, &err) == 0)
			registry_list_free(list, n);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	(void)state;
	struct shared shared = {.stop = false};
	pthread_t threads[4];
	struct error err;
	struct writer_point point = {.wire = (const uint8_t *)"12345678", .factor = 1};

	point_id_from_number(&point.id, 1);
	rig_open(&shared.rig, rig_new_dir(), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &shared), 0);
	for (int round = 0; round < 60; round++) {
		struct collection *c = create(&shared.rig, "x");
		assert_int_equal(rig_upsert(&shared.rig, c, &point, 1, &err), 0);
		assert_int_equal(rig_drop(&shared.rig, c, &err), 0);
		collection_release(c);
	}
	atomic_store(&shared.stop, true);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(shared.n_found > 0 && shared.n_missed > 0);
	rig_close(&shared.rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_stop_loading),
	    cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
