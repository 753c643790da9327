/*
 * Rows that a filter leaves, found by indexes and payloads together, against asking
 * every point by itself: random points, of one row or several, come, change and go;
 * indexes of every type and key are made (before or behind the points), dropped, purged
 * and made anew; now and then the directory is opened again.  Answers must not depend
 * on which keys are indexed, but for match.text on a key with an index of text.  Also:
 * a filter whose every key is indexed reads no payload, and one that reads some says
 * which keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/filter.h"
#include "tests/support/filters.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define COLLECTION 7
#define STEPS 400
#define SLOTS 140500
#define FIELDS_MAX 14

struct stored {
	char *payload; /* NULL: not there */
	struct db_rows rows;
};

struct game {
	struct rng rng;
	struct db *db;
	struct stored points[FILTERS_IDS];
	struct db_field fields[FIELDS_MAX];
	size_t n_fields;
	uint16_t next_number;
	struct row_set *live;
	size_t answered_by_index, read_payloads, matched, missed, steps;
};

static struct db_txn *
begin(struct game *g)
{
	struct error err;
	struct db_txn *txn = db_begin_write(g->db, &err);

	assert_non_null(txn);
	return txn;
}

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static struct db_fields_rows
rows_of(const struct stored *p)
{
	return (struct db_fields_rows){
	    COLLECTION, p->rows.slots, p->rows.n, p->payload, strlen(p->payload)};
}

/* Take a point away, or out of the indexes alone. */
static void
leave(struct game *g, struct db_txn *txn, size_t i, bool points_too)
{
	struct stored *p = &g->points[i];
	struct point_id id = filters_id(i);
	struct db_fields_rows rows;
	struct error err;

	if (!p->payload)
		return;
	rows = rows_of(p);
	check(db_fields_remove(txn, g->fields, g->n_fields, &rows, &err), &err);
	if (points_too)
		check(db_point_delete(txn, COLLECTION, &p->rows, &id, &err), &err);
	for (size_t k = 0; k < p->rows.n; k++)
		row_set_remove(g->live, p->rows.slots[k]);
	free(p->payload);
	p->payload = NULL;
}

static uint32_t
free_slot(struct game *g)
{
	for (;;) {
		/* In three containers of 65,536. */
		uint32_t slot = 70000 * (uint32_t)rng_below(&g->rng, 3) +
				(uint32_t)rng_below(&g->rng, 400);
		if (!row_set_has(g->live, slot)) {
			row_set_add(g->live, slot);
			return slot;
		}
	}
}

static void
put(struct game *g, struct db_txn *txn, size_t i)
{
	struct stored *p = &g->points[i];
	struct db_passage passages[3] = {{0, 1}, {1, 2}, {2, 3}};
	size_t n = 1 + (rng_below(&g->rng, 3) == 0 ? rng_below(&g->rng, 3) : 0);
	cJSON *payload = filters_payload(&g->rng);
	struct error err;

	leave(g, txn, i, true);
	p->payload =
	    rng_below(&g->rng, 10) == 0 ? strdup("") : filters_print(&g->rng, payload);
	cJSON_Delete(payload);
	for (p->rows.n = 0; p->rows.n < n; p->rows.n++)
		p->rows.slots[p->rows.n] = free_slot(g);
	struct db_record record = {.id = filters_id(i),
	    .payload = p->payload,
	    .payload_len = strlen(p->payload)};
	check(db_point_put(
		  txn, COLLECTION, &p->rows, n > 1 ? passages : NULL, &record, &err),
	    &err);
	struct db_fields_rows rows = rows_of(p);
	check(db_fields_add(txn, g->fields, g->n_fields, &rows, &err), &err);
}

static void
make_field(struct game *g, struct db_txn *txn)
{
	const char *key = filters_keys[rng_below(&g->rng, filters_n_keys)];
	struct db_field *field = &g->fields[g->n_fields];
	struct error err;

	*field = (struct db_field){g->next_number++,
	    (enum db_field_type)rng_below(&g->rng, DB_FIELD_TEXT + 1),
	    path_new(key, strlen(key), &err)};
	assert_non_null(field->path);
	for (size_t i = 0; i < g->n_fields; i++) {
		if (path_equal(g->fields[i].path, field->path)) {
			path_free((struct path *)(uintptr_t)field->path);
			return;
		}
	}
	g->n_fields++;
	check(db_fields_new(txn, COLLECTION, field->number, &err), &err);
	for (size_t i = 0; i < FILTERS_IDS; i++) {
		if (!g->points[i].payload)
			continue;
		struct db_fields_rows rows = rows_of(&g->points[i]);
		check(db_fields_add(txn, field, 1, &rows, &err), &err);
	}
	if (rng_below(&g->rng, 8) != 0)
		check(
		    db_fields_set_complete(txn, COLLECTION, field->number, &err), &err);
}

static void
drop_field(struct game *g, struct db_txn *txn)
{
	struct error err;
	bool more;

	if (g->n_fields == 0)
		return;
	size_t i = rng_below(&g->rng, g->n_fields);
	check(db_fields_drop(txn, COLLECTION, g->fields[i].number, &err), &err);
	path_free((struct path *)(uintptr_t)g->fields[i].path);
	g->fields[i] = g->fields[--g->n_fields];
	if (rng_below(&g->rng, 2) == 0)
		check(db_purge(txn, 1 + rng_below(&g->rng, 500), &more, &err), &err);
}

/* Over all keys; or over those that are indexed, with nothing that reads payloads in
 * any case. */
static cJSON *
random_filter(struct game *g)
{
	const char *keys[FIELDS_MAX];

	for (size_t i = 0; i < g->n_fields; i++)
		keys[i] = path_key(g->fields[i].path);
	if (g->n_fields > 0 && rng_below(&g->rng, 3) != 0)
		return filters_filter_of(&g->rng, keys, g->n_fields);
	return filters_filter(&g->rng);
}

/* At once, or in steps of a few payloads: a step takes no more than it may, and rows
 * that match are never left out on the way. */
static void
find(struct game *g, struct row_set *rows, const struct filter *filter,
    const struct filter_place *place, struct filter_cost *cost)
{
	struct error err;
	int more = 1;

	if (rng_below(&g->rng, 2) == 0) {
		check(filter_rows(rows, filter, place, cost, &err), &err);
		return;
	}
	struct row_set *before = row_set_new(SLOTS, &err);
	struct filter_walk *walk = filter_walk_new(rows, filter, place, cost, &err);
	assert_true(before && walk);
	while (more > 0) {
		size_t n = rng_below(&g->rng, 5), read = cost->n_payloads;
		row_set_copy(before, rows);
		more = filter_walk_next(walk, n, &err);
		assert_true(more >= 0);
		assert_true(cost->n_payloads - read <= n);
		g->steps += more > 0;
		row_set_and(before, rows); /* nothing comes back */
		assert_int_equal(row_set_count(before), row_set_count(rows));
	}
	filter_walk_free(walk);
	row_set_free(before);
}

static void
ask(struct game *g, struct db_txn *txn)
{
	cJSON *wanted = random_filter(g);
	char *text = filters_print(&g->rng, wanted);
	struct filter_place place = {txn, COLLECTION, g->live};
	struct filter_cost cost;
	struct json root;
	struct error err;

	check(json_check(&root, text, strlen(text), &err), &err);
	struct filter *filter = filter_new(&root, g->fields, g->n_fields, &err);
	struct row_set *rows = row_set_new(SLOTS, &err);
	assert_true(filter && rows);
	find(g, rows, filter, &place, &cost);
	size_t n = 0;
	for (size_t i = 0; i < FILTERS_IDS; i++) {
		const struct stored *p = &g->points[i];
		struct point_id id = filters_id(i);
		if (!p->payload)
			continue;
		bool yes = filter_match(filter, &id, p->payload, strlen(p->payload));
		for (size_t k = 0; k < p->rows.n; k++)
			if (row_set_has(rows, p->rows.slots[k]) != yes)
				fail_msg("expected %d of row %u (%zu): %s on %s", yes,
				    p->rows.slots[k], k, text, p->payload);
		n += yes ? p->rows.n : 0;
		g->matched += yes;
		g->missed += !yes;
	}
	assert_int_equal(row_set_count(rows), n);
	assert_true(cost.n_payloads == 0 || cost.n_keys > 0);
	g->answered_by_index += cost.n_keys == 0 && strstr(text, "\"key\"");
	g->read_payloads += cost.n_payloads > 0;
	row_set_free(rows);
	filter_free(filter);
	free(text);
	cJSON_Delete(wanted);
}

static void
step(struct game *g, const char *dir)
{
	struct error err;
	struct db_txn *txn = begin(g);

	for (size_t n = rng_below(&g->rng, 20); n > 0; n--) {
		size_t i = rng_below(&g->rng, FILTERS_IDS);
		if (rng_below(&g->rng, 4) == 0)
			leave(g, txn, i, true);
		else
			put(g, txn, i);
		/* Reading sees what the transaction itself has changed. */
		if (rng_below(&g->rng, 8) == 0)
			ask(g, txn);
	}
	if (g->n_fields < FIELDS_MAX && rng_below(&g->rng, 2) == 0)
		make_field(g, txn);
	if (rng_below(&g->rng, 12) == 0)
		drop_field(g, txn);
	check(db_commit(txn, &err), &err);
	if (rng_below(&g->rng, 40) == 0) {
		db_close(g->db);
		g->db = db_open(dir, 64 << 20, &err);
		assert_non_null(g->db);
	}
	txn = db_begin_read(g->db, &err);
	assert_non_null(txn);
	for (int i = 0; i < 20; i++)
		ask(g, txn);
	db_end(txn);
}

/* With everything gone the tables are empty again, but for what says that the fields
 * are there. */
static void
end(struct game *g)
{
	struct error err;
	struct db_txn *txn = begin(g);
	bool more = true;

	for (size_t i = 0; i < FILTERS_IDS; i++)
		leave(g, txn, i, true);
	for (size_t i = 0; i < g->n_fields; i++) {
		struct db_fields_at at = {txn, COLLECTION, g->fields[i].number};
		struct row_set *rows = row_set_new(SLOTS, &err);
		static const char kinds[] = "ftvno";
		for (const char *k = kinds; *k; k++)
			check(db_fields_term(
				  rows, &at, (enum db_fields_kind) * k, NULL, &err),
			    &err);
		for (int k = 0; k < 2; k++)
			check(db_fields_numbers(rows, &at,
				  k ? DB_FIELDS_INTEGER : DB_FIELDS_DOUBLE, 0,
				  UINT64_MAX, &err),
			    &err);
		assert_int_equal(row_set_count(rows), 0);
		row_set_free(rows);
		path_free((struct path *)(uintptr_t)g->fields[i].path);
	}
	while (more)
		check(db_purge(txn, 100, &more, &err), &err);
	db_end(txn);
}

static void
rows_are_those_that_match(void **state)
{
	struct game *g = calloc(1, sizeof *g);
	const char *dir = strdup(rig_new_dir());
	struct error err;
	(void)state;

	rng_init(&g->rng, test_seed(), 1);
	g->db = db_open(dir, 64 << 20, &err);
	g->live = row_set_new(SLOTS, &err);
	assert_true(g->db && g->live);
	for (int i = 0; i < STEPS; i++)
		step(g, dir);
	end(g);
	printf("%zu answered by indexes, %zu read payloads; %zu matched, %zu did not\n",
	    g->answered_by_index, g->read_payloads, g->matched, g->missed);
	assert_true(g->answered_by_index > STEPS && g->read_payloads > STEPS);
	assert_true(g->steps > STEPS);
	assert_true(g->matched > 10 * STEPS && g->missed > 10 * STEPS);
	db_close(g->db);
	row_set_free(g->live);
	free((char *)(uintptr_t)dir);
	free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_are_those_that_match),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
