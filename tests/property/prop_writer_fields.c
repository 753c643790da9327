/*
 * Claim of server/writer.h and server/payload.h: whatever is written, changed, deleted,
 * indexed and restarted in whatever order, a point has the payload that a naive model
 * on trees says, its codes are those of its last upsert, and rows that indexes find are
 * those whose payload matches.  With everything deleted indexes are empty.
 */
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/payload.h"
#include "tests/support/filters.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define STEPS 400
#define PASSAGES_MAX 3
#define BYTES_MAX ((size_t)1 << 20)

static const struct collection_settings settings = {
    .name = "c", .size = 64, .shape = {64, 1, 0}};

/* Keys of payloads, cut into their parts by hand: "[]" and "[0]" are parts. */
static const struct key {
	const char *text;
	const char *parts[4];
} keys[] = {
    {"a", {"a"}},
    {"c", {"c"}},
    {"o", {"o"}},
    {"o.x", {"o", "x"}},
    {"l", {"l"}},
    {"l[]", {"l", "[]"}},
    {"l[].x", {"l", "[]", "x"}},
    {"l[0].y", {"l", "[0]", "y"}},
    {"l[1]", {"l", "[1]"}},
    {"a[]", {"a", "[]"}},
    {"\"q.t\"", {"q.t"}},
    {"n.e.\"w\"", {"n", "e", "w"}},
    {"b[1].x", {"b", "[1]", "x"}},
};
#define KEYS (sizeof keys / sizeof *keys)

struct point {
	cJSON *payload; /* NULL: there is no such point */
	uint8_t wire[8];
};

struct game {
	struct rng rng;
	const char *dir;
	struct rig rig;
	struct collection *c;
	struct point points[FILTERS_IDS];
	size_t n_indexed, n_changed, n_matched, n_missed;
};

static void
check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

static bool
one_in(struct game *g, uint32_t n)
{
	return rng_below(&g->rng, n) == 0;
}

/* ---- the model ---- */

static bool
is_at(const char *part, int i)
{
	return strcmp(part, "[]") == 0 || atoi(part + 1) == i;
}

static cJSON *
model_set(cJSON *value, const char *const *parts, const cJSON *members)
{
	bool array = *parts && **parts == '[';

	if (!value || (array ? !cJSON_IsArray(value) : !cJSON_IsObject(value))) {
		cJSON_Delete(value);
		value = array ? cJSON_CreateArray() : cJSON_CreateObject();
	}
	if (!*parts) {
		for (const cJSON *m = members->child; m; m = m->next) {
			cJSON_DeleteItemFromObjectCaseSensitive(value, m->string);
			if (!cJSON_IsNull(m))
				cJSON_AddItemToObject(
				    value, m->string, cJSON_Duplicate(m, true));
		}
	} else if (array) {
		for (int i = 0, n = cJSON_GetArraySize(value); i < n; i++) {
			cJSON *item = cJSON_DetachItemFromArray(value, 0);
			if (is_at(*parts, i))
				item = model_set(item, parts + 1, members);
			cJSON_AddItemToArray(value, item);
		}
	} else {
		cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(value, *parts);
		cJSON_AddItemToObject(
		    value, *parts, model_set(item, parts + 1, members));
	}
	return value;
}

static void
model_delete(cJSON *value, const char *const *parts)
{
	const char *part = *parts;
	bool last = !parts[1];

	if (part && *part == '[') {
		for (int i = 0; cJSON_IsArray(value) && i < cJSON_GetArraySize(value);
		     i++)
			if (!last && is_at(*parts, i))
				model_delete(cJSON_GetArrayItem(value, i), parts + 1);
		while (last && strcmp(*parts, "[]") == 0 && cJSON_IsArray(value) &&
		       value->child)
			cJSON_DeleteItemFromArray(value, 0);
	} else if (cJSON_IsObject(value) && last) {
		cJSON_DeleteItemFromObjectCaseSensitive(value, *parts);
	} else if (cJSON_IsObject(value)) {
		cJSON *item = cJSON_GetObjectItemCaseSensitive(value, *parts);
		if (item)
			model_delete(item, parts + 1);
	}
}

/* ---- steps ---- */

/* Indices of a few points, of which some are not there; one may be twice. */
static size_t
some_points(struct game *g, size_t is[8], struct point_id ids[8])
{
	size_t n = 1 + rng_below(&g->rng, 8);

	for (size_t k = 0; k < n; k++) {
		is[k] = rng_below(&g->rng, FILTERS_IDS);
		ids[k] = filters_id(is[k]);
	}
	return n;
}

static void
set_payload(struct point *point, cJSON *payload)
{
	cJSON_Delete(point->payload);
	point->payload = payload;
}

static void
upsert(struct game *g)
{
	size_t i = rng_below(&g->rng, FILTERS_IDS);
	struct point *p = &g->points[i];
	cJSON *payload = one_in(g, 8) ? NULL : filters_payload(&g->rng);
	char *text = payload ? filters_print(&g->rng, payload) : NULL;
	struct db_code codes[PASSAGES_MAX];
	struct db_passage passages[PASSAGES_MAX];
	struct writer_point point = {.id = filters_id(i),
	    .wire = p->wire,
	    .factor = 1,
	    .payload = text,
	    .payload_len = text ? strlen(text) : 0,
	    .n_passages = rng_below(&g->rng, PASSAGES_MAX + 1),
	    .codes = codes,
	    .passages = passages};
	struct error err;

	for (size_t b = 0; b < sizeof p->wire; b++)
		p->wire[b] = (uint8_t)rng_u64(&g->rng);
	for (uint32_t k = 0; k < PASSAGES_MAX; k++) {
		codes[k] = (struct db_code){p->wire, 1, 0};
		passages[k] = (struct db_passage){k, k + 1};
	}
	check(rig_upsert(&g->rig, g->c, &point, 1, &err), &err);
	free(text);
	set_payload(p, payload ? payload : cJSON_CreateObject());
}

static void
delete_some(struct game *g)
{
	size_t is[8];
	struct point_id ids[8];
	struct error err;
	size_t n = some_points(g, is, ids);

	assert_true(rig_delete(&g->rig, g->c, ids, n, &err) >= 0);
	for (size_t k = 0; k < n; k++)
		set_payload(&g->points[is[k]], NULL);
}

/* An object of a few members, some of them null. */
static cJSON *
some_members(struct game *g)
{
	cJSON *members = filters_payload(&g->rng);

	for (cJSON *m = members->child, *next; m; m = next) {
		next = m->next;
		if (one_in(g, 2))
			cJSON_Delete(cJSON_DetachItemViaPointer(members, m));
	}
	if (one_in(g, 3))
		cJSON_AddItemToObject(members, "x", cJSON_CreateRaw("2.5"));
	return members;
}

struct planned {
	struct payload_change *change;
	cJSON *members;
	char *text; /* of members, or keys */
	const struct key *keys[3];
	size_t n_keys;
	int kind; /* 0 set, 1 overwrite, 2 delete, 3 clear */
};

static struct path *
path_of(const struct key *key)
{
	struct error err;
	struct path *path = path_new(key->text, strlen(key->text), &err);

	assert_non_null(path);
	return path;
}

static void
plan(struct game *g, struct planned *p)
{
	struct json json;
	struct error err;

	*p = (struct planned){.kind = (int)rng_below(&g->rng, 8)};
	p->kind = p->kind < 4 ? 0 : p->kind < 5 ? 1 : p->kind < 7 ? 2 : 3;
	p->n_keys = p->kind == 2   ? 1 + rng_below(&g->rng, 3)
		    : p->kind == 0 ? rng_below(&g->rng, 2)
				   : 0;
	cJSON *list = cJSON_CreateArray();
	for (size_t k = 0; k < p->n_keys; k++) {
		p->keys[k] = &keys[rng_below(&g->rng, KEYS)];
		cJSON_AddItemToArray(list, cJSON_CreateString(p->keys[k]->text));
	}
	if (p->kind < 2)
		p->members = some_members(g);
	p->text = filters_print(&g->rng, p->kind < 2 ? p->members : list);
	cJSON_Delete(list);
	check(json_check(&json, p->text, strlen(p->text), &err), &err);
	struct path *key = p->kind == 0 && p->n_keys ? path_of(p->keys[0]) : NULL;
	p->change = p->kind == 0   ? payload_set(&json, key, &err)
		    : p->kind == 1 ? payload_overwrite(&json, &err)
		    : p->kind == 2 ? payload_delete(&json, &err)
				   : payload_clear(&err);
	path_free(key);
	assert_non_null(p->change);
}

static void
model(struct point *point, const struct planned *p)
{
	static const char *const none[] = {NULL};

	if (p->kind == 0)
		point->payload = model_set(
		    point->payload, p->n_keys ? p->keys[0]->parts : none, p->members);
	if (p->kind == 1)
		set_payload(point, cJSON_Duplicate(p->members, true));
	for (size_t k = 0; p->kind == 2 && k < p->n_keys; k++)
		model_delete(point->payload, p->keys[k]->parts);
	if (p->kind == 3)
		set_payload(point, cJSON_CreateObject());
}

static void
change_payloads(struct game *g)
{
	struct planned p;
	size_t is[8] = {0}, affected, there = 0;
	struct point_id ids[8];
	struct error err;

	plan(g, &p);
	struct writer_operation op = {.kind = WRITER_PAYLOAD,
	    .collection = g->c,
	    .ids = ids,
	    .n = some_points(g, is, ids),
	    .payload = p.change,
	    .payload_bytes_max = BYTES_MAX};
	check(rig_run(&g->rig, &op, &affected, &err), &err);
	for (size_t k = 0; k < op.n; k++) {
		if (!g->points[is[k]].payload)
			continue;
		model(&g->points[is[k]], &p);
		there++;
	}
	assert_int_equal(affected, there);
	g->n_changed += there;
	payload_change_free(p.change);
	cJSON_Delete(p.members);
	free(p.text);
}

/* g->c stays the collection that was there first: writes go into the newest indexes
 * all the same. */
static void
change_index(struct game *g)
{
	size_t i = rng_below(&g->rng, filters_n_keys);
	struct error err;
	struct path *key = path_new(filters_keys[i], strlen(filters_keys[i]), &err);
	struct writer_operation op = {
	    .kind = one_in(g, 3) ? WRITER_UNINDEX : WRITER_INDEX,
	    .collection = g->c,
	    .index = {key, (enum db_field_type)rng_below(&g->rng, 5), one_in(g, 2)}};

	assert_non_null(key);
	struct collection *now = registry_find(g->rig.registry, "c", &err);
	const struct db_field *is = collection_field(now, key);
	bool other = is && is->type != op.index.type && op.kind == WRITER_INDEX;
	collection_release(now);
	int rc = rig_run(&g->rig, &op, NULL, &err);
	assert_int_equal(rc, other ? -1 : 0);
	assert_true(rc == 0 || err.code == ERR_INPUT);
	path_free(key);
}

static void
reopen(struct game *g)
{
	struct error err;

	collection_release(g->c);
	rig_close(&g->rig);
	rig_open(&g->rig, g->dir, 0);
	g->c = registry_find(g->rig.registry, settings.name, &err);
	assert_non_null(g->c);
}

/* ---- what there is ---- */

/* 1 and 1.0 are one here; filters tell them apart. */
static bool
same_json(const cJSON *want, const char *text, size_t n)
{
	char *printed = cJSON_PrintUnformatted(want);
	cJSON *a = cJSON_Parse(printed);
	cJSON *b = n ? cJSON_ParseWithLength(text, n) : cJSON_CreateObject();
	bool same = a && b && cJSON_Compare(a, b, true);

	if (!same)
		print_error("expected %s, not %.*s\n", printed, (int)n, text);
	cJSON_Delete(a);
	cJSON_Delete(b);
	cJSON_free(printed);
	return same;
}

static void
check_points(struct game *g, struct db_txn *txn, const struct store_snapshot *snapshot)
{
	uint32_t number = collection_settings(g->c)->id;
	size_t n = 0;

	for (size_t i = 0; i < FILTERS_IDS; i++) {
		struct point_id id = filters_id(i);
		struct db_record record;
		struct db_rows rows;
		struct error err;
		uint8_t wire[8];
		bool found;
		check(db_rows(txn, number, &id, &rows, &err), &err);
		assert_int_equal(rows.n > 0, g->points[i].payload != NULL);
		n += rows.n;
		if (rows.n == 0)
			continue;
		check(
		    db_record(txn, number, rows.slots[0], &found, &record, &err), &err);
		assert_true(found && same_json(g->points[i].payload, record.payload,
					 record.payload_len));
		for (size_t k = 0; k < rows.n; k++) {
			assert_true(
			    store_get(wire, NULL, NULL, snapshot, rows.slots[k]));
			assert_memory_equal(wire, g->points[i].wire, sizeof wire);
		}
	}
	assert_int_equal(n, snapshot->n_live);
}

/* Rows that the filter finds are those whose payload matches. */
static void
check_filter(struct game *g, const struct collection *now, struct db_txn *txn,
    const struct row_set *live)
{
	cJSON *wanted = filters_filter(&g->rng);
	char *text = filters_print(&g->rng, wanted);
	struct filter_place place = {txn, collection_settings(g->c)->id, live};
	struct filter_cost cost = {.n_keys = 0};
	struct db_record record;
	struct json root;
	struct error err;
	bool found = true;
	size_t n;
	const struct db_field *fields = collection_fields(now, &n);

	check(json_check(&root, text, strlen(text), &err), &err);
	struct filter *filter = filter_new(&root, fields, n, &err);
	struct row_set *rows = row_set_new(live->n_slots, &err);
	assert_true(filter && rows);
	check(filter_rows(rows, filter, &place, &cost, &err), &err);
	g->n_indexed += cost.n_keys == 0 && strstr(text, "\"key\"");
	for (uint32_t slot = 0;; slot++) {
		struct db_record first;
		check(
		    db_record_next(txn, place.collection, &found, &slot, &record, &err),
		    &err);
		if (!found)
			break;
		first = record;
		if (record.is_passage)
			check(db_record(txn, place.collection, record.first, &found,
				  &first, &err),
			    &err);
		bool yes =
		    filter_match(filter, &first.id, first.payload, first.payload_len);
		if (row_set_has(rows, slot) != yes)
			fail_msg("expected %d of row %u: %s on %.*s", yes, slot, text,
			    (int)first.payload_len, first.payload);
		g->n_matched += yes;
		g->n_missed += !yes;
	}
	row_set_free(rows);
	filter_free(filter);
	free(text);
	cJSON_Delete(wanted);
}

static void
look(struct game *g)
{
	struct error err;
	struct store_snapshot *snapshot = store_acquire(collection_store(g->c));
	struct db_txn *txn = db_begin_read(g->rig.db, &err);
	struct collection *now = registry_find(g->rig.registry, "c", &err);
	struct row_set *live = row_set_live(snapshot, &err);

	assert_true(txn && now && live);
	check_points(g, txn, snapshot);
	for (int i = 0; i < 10; i++)
		check_filter(g, now, txn, live);
	row_set_free(live);
	collection_release(now);
	db_end(txn);
	store_release(snapshot);
}

/* Without points nothing is entered anywhere. */
static void
check_empty(struct game *g)
{
	static const char kinds[] = "ftvno";
	struct point_id ids[FILTERS_IDS];
	struct error err;
	size_t n;

	for (size_t i = 0; i < FILTERS_IDS; i++)
		ids[i] = filters_id(i);
	assert_true(rig_delete(&g->rig, g->c, ids, FILTERS_IDS, &err) >= 0);
	struct collection *now = registry_find(g->rig.registry, "c", &err);
	struct db_txn *txn = db_begin_read(g->rig.db, &err);
	const struct db_field *fields = collection_fields(now, &n);
	assert_true(n > 0);
	for (size_t i = 0; i < n; i++) {
		struct db_fields_at at = {
		    txn, collection_settings(g->c)->id, fields[i].number};
		struct row_set *rows = row_set_new(1000, &err);
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
	}
	db_end(txn);
	collection_release(now);
}

static void
test_all(void **state)
{
	struct game *g = calloc(1, sizeof *g);
	(void)state;

	rng_init(&g->rng, test_seed(), 0);
	g->dir = strdup(rig_new_dir());
	rig_open(&g->rig, g->dir, 0);
	g->c = rig_create(&g->rig, &settings);
	for (int i = 0; i < STEPS; i++) {
		uint32_t what = (uint32_t)rng_below(&g->rng, 20);
		if (what < 7)
			upsert(g);
		else if (what < 9)
			delete_some(g);
		else if (what < 16)
			change_payloads(g);
		else if (what < 19)
			change_index(g);
		else
			reopen(g);
		look(g);
	}
	print_message("%zu payloads changed; of filters indexes answered %zu alone; "
		      "%zu rows matched, %zu did not\n",
	    g->n_changed, g->n_indexed, g->n_matched, g->n_missed);
	assert_true(g->n_changed > 100 && g->n_indexed > 20 && g->n_matched > 1000 &&
		    g->n_missed > 1000);
	check_empty(g);
	collection_release(g->c);
	rig_close(&g->rig);
	for (size_t i = 0; i < FILTERS_IDS; i++)
		cJSON_Delete(g->points[i].payload);
	free((void *)(uintptr_t)g->dir);
	free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
