/*
 * Claims of server/collection.h, server/writer.h about versions of codes and how they
 * are checked: random upserts (of points in one row and in passages), deletions, new
 * versions and restarts give what a dumb twin gives, in the file, in memory and in the
 * counts, also where a write was begun before the newest version came; versions that
 * have lost their documents go with the next change, but for those to which a write may
 * be under way (test_versions_change.c has more of them); a binarizer that
 * cannot reach the older codes is refused with what to do; what the stored settings say
 * in another order is refused; memory that fails leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/rig.h"

#define SIZE 8
#define NEW_SIZE 12

static struct models *models;
static const struct collection_settings plain = {
    .name = "c", .size = SIZE, .shape = {64, 2, 0}, .code_distance = DISTANCE_INT8};

/* dir/name: a rotation of NEW_SIZE floats that knows the codes of `plain`. */
static void
write_knowing(const char *dir, const char *name)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = NEW_SIZE, .shape = {64, 1, 0}, .seed = 5};
	static float map[64 * NEW_SIZE], mean[NEW_SIZE];
	char path[500];
	struct error err;
	struct collection *c = collection_new(&plain, NULL, &err);
	struct recurrent *model = recurrent_new(&config, &err);
	const struct recurrent_older older = {.id = collection_binarizer_id(c),
	    .shape = {64, 2, 0},
	    .mean = mean,
	    .map = map};

	for (size_t i = 0; i < sizeof map / sizeof *map; i++)
		map[i] = (float)(i % 13) - 6;
	models_write_binarizer(dir, name, NEW_SIZE, 0);
	snprintf(path, sizeof path, "%s/%s/binarizer.safetensors", dir, name);
	assert_int_equal(recurrent_add_older(model, &older, &err), 0);
	assert_int_equal(recurrent_save(model, path, &err), 0);
	recurrent_free(model);
	collection_release(c);
}

static int
setup(void **state)
{
	static char dir[300];
	struct error err;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_binarizer(dir, "mean", SIZE, 0.25f);
	models_write_binarizer(dir, "large", NEW_SIZE, 0.25f);
	models_write_binarizer(dir, "text codes", MODELS_TEXT_DIMS, 0.25f);
	write_knowing(dir, "knowing");
	models_write_learned(dir, "signs", SIZE, plain.shape);
	models_write_text(dir, "text");
	models_write_text(dir, "other");
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

/* ---- against a twin ---- */

#define POINTS 60
#define HELD 6
#define PASSAGES 4

struct twin_point {
	size_t n_rows;    /* 0: is not there */
	uint32_t version; /* of its codes */
	uint8_t tag;      /* every byte of them */
};

struct game {
	struct rng rng;
	struct rig rig;
	char dir[400];
	/* The collection after each change since the start; the last is the newest. */
	struct collection *held[HELD];
	size_t n_held;
	size_t n_left_out; /* versions, by changes */
	struct twin_point points[POINTS];
};

static struct collection *
newest(const struct game *g)
{
	return g->held[g->n_held - 1];
}

static void
upsert(struct game *g)
{
	static uint8_t wire[CODE_BYTES_MAX];
	struct collection *c = g->held[rng_below(&g->rng, g->n_held)];
	uint64_t i = rng_below(&g->rng, POINTS);
	uint8_t tag = (uint8_t)rng_u64(&g->rng);
	size_t n = rng_below(&g->rng, 3) ? 0 : 1 + rng_below(&g->rng, PASSAGES);
	struct db_code codes[PASSAGES];
	static const struct db_passage passages[PASSAGES];
	struct writer_point point = {.wire = wire,
	    .factor = tag,
	    .n_passages = n,
	    .codes = codes,
	    .passages = passages};
	struct error err;

	memset(wire, tag, sizeof wire);
	for (size_t k = 0; k < n; k++)
		codes[k] = (struct db_code){wire, (float)tag, 0};
	point_id_from_number(&point.id, i);
	assert_int_equal(rig_upsert(&g->rig, c, &point, 1, &err), 0);
	g->points[i] =
	    (struct twin_point){n ? n : 1, collection_codes(c)->version, tag};
}

static void delete (struct game *g)
{
	struct collection *c = g->held[rng_below(&g->rng, g->n_held)];
	uint64_t i = rng_below(&g->rng, POINTS);
	struct point_id id;
	struct error err;

	point_id_from_number(&id, i);
	assert_int_equal(rig_delete(&g->rig, c, &id, 1, &err), g->points[i].n_rows > 0);
	g->points[i].n_rows = 0;
}

/* Whether the twin has documents of a version. */
static bool
has_documents(const struct game *g, uint32_t number)
{
	for (size_t i = 0; i < POINTS; i++)
		if (g->points[i].n_rows > 0 && g->points[i].version == number)
			return true;
	return false;
}

static void
change(struct game *g)
{
	struct collection *c = newest(g);
	struct collection_settings wanted = {
	    .shape = {
		64u << rng_below(&g->rng, 3), 1 + (uint32_t)rng_below(&g->rng, 4), 0}};
	struct error err;

	snprintf(wanted.binarizer, sizeof wanted.binarizer, "%s",
	    rng_below(&g->rng, 2) ? "untrained" : "mean");
	if (g->n_held == HELD)
		return;
	struct collection *next = collection_next(c, &wanted, models, &err);
	if (!next) {
		assert_int_equal(collection_n_versions(c), STORE_PARTS_MAX);
		return;
	}
	if (next == c) {
		collection_release(next);
		return;
	}
	/* What has no documents is left out, for certain if nobody can write it. */
	size_t n = collection_n_versions(next), kept = 0;
	for (size_t i = 0; i < collection_n_versions(c); i++) {
		uint32_t number = collection_version(c, i)->codes.version;
		bool must =
		    has_documents(g, number) || number == collection_codes(c)->version;
		bool is = collection_version(next, kept)->codes.version == number;
		assert_true(is || !must);
		assert_true(!is || must || g->n_held > 1);
		kept += is;
	}
	assert_int_equal(kept + 1, n);
	g->n_left_out += collection_n_versions(c) + 1 - n;
	assert_int_equal(rig_change(&g->rig, next, &err), 0);
	g->held[g->n_held++] = next;
}

/* Writes that were begun before the newest version came are done. */
static void
forget_older(struct game *g)
{
	for (size_t i = 0; i + 1 < g->n_held; i++)
		collection_release(g->held[i]);
	g->held[0] = newest(g);
	g->n_held = 1;
}

static void
restart(struct game *g)
{
	struct error err;

	for (size_t i = 0; i < g->n_held; i++)
		collection_release(g->held[i]);
	rig_close(&g->rig);
	rig_open(&g->rig, g->dir, 0);
	g->held[0] = registry_find(g->rig.registry, "c", &err);
	assert_non_null(g->held[0]);
	g->n_held = 1;
}

static void
check_point(struct game *g, struct db_txn *txn, const struct store_snapshot *snapshot,
    uint64_t i)
{
	const struct twin_point *want = &g->points[i];
	uint8_t tags[CODE_BYTES_MAX], wire[CODE_BYTES_MAX];
	uint32_t id = collection_settings(newest(g))->id;
	struct point_id point;
	struct db_rows rows;
	struct db_code code;
	struct error err;
	size_t version;
	bool found;

	point_id_from_number(&point, i);
	memset(tags, want->tag, sizeof tags);
	assert_int_equal(db_rows(txn, id, &point, &rows, &err), 0);
	assert_int_equal(rows.n, want->n_rows);
	for (size_t k = 0; k < rows.n; k++) {
		uint32_t slot = rows.slots[k];
		assert_int_equal(collection_code(txn, newest(g), slot, &version, &found,
				     &code, &err),
		    0);
		assert_true(found);
		const struct collection_version *v =
		    collection_version(newest(g), version);
		assert_int_equal(v->codes.version, want->version);
		assert_int_equal(store_part(snapshot, slot), version);
		assert_true(store_get(wire, NULL, NULL, snapshot, slot));
		assert_memory_equal(code.wire, tags, code_bytes(v->shape));
		assert_memory_equal(wire, tags, code_bytes(v->shape));
	}
}

static void
check(struct game *g)
{
	struct collection_counts counts[STORE_PARTS_MAX];
	struct collection *c = newest(g);
	struct error err;
	struct db_txn *txn = db_begin_read(g->rig.db, &err);
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	struct collection *there = registry_find(g->rig.registry, "c", &err);
	size_t rows = 0;

	assert_ptr_equal(there, c);
	collection_version_counts(counts, c);
	for (size_t v = 0; v < collection_n_versions(c); v++) {
		size_t points_of = 0, rows_of = 0;
		uint32_t number = collection_version(c, v)->codes.version;
		for (size_t i = 0; i < POINTS; i++) {
			const struct twin_point *p = &g->points[i];
			if (p->n_rows > 0 && p->version == number) {
				points_of++;
				rows_of += p->n_rows;
			}
		}
		assert_int_equal(counts[v].points, points_of);
		assert_int_equal(counts[v].rows, rows_of);
		rows += rows_of;
	}
	assert_int_equal(collection_counts(c).rows, rows);
	for (uint64_t i = 0; i < POINTS; i++)
		check_point(g, txn, snapshot, i);
	collection_release(there);
	store_release(snapshot);
	db_end(txn);
}

static void
test_against_twin(void **state)
{
	(void)state;
	struct game *g = calloc(1, sizeof *g);
	struct collection_counts counts[STORE_PARTS_MAX];
	size_t most = 0;

	rng_init(&g->rng, test_seed(), 0);
	snprintf(g->dir, sizeof g->dir, "%s", rig_new_dir());
	rig_open(&g->rig, g->dir, 0);
	g->held[0] = rig_create(&g->rig, &plain);
	g->n_held = 1;
	for (int step = 0; step < 1200; step++) {
		uint64_t what = rng_below(&g->rng, 100);
		if (what < 70)
			upsert(g);
		else if (what < 90)
			delete (g);
		else if (what < 94)
			change(g);
		else if (what < 95)
			forget_older(g);
		else if (what < 96 && rng_below(&g->rng, 3) == 0)
			restart(g);
		else
			check(g);
		size_t n = collection_n_versions(newest(g));
		most = n > most ? n : most;
	}
	assert_true(most >= 3);
	assert_true(g->n_left_out > 0);
	/* Versions without documents are gone after a start. */
	restart(g);
	check(g);
	collection_version_counts(counts, newest(g));
	for (size_t v = 0; v + 1 < collection_n_versions(newest(g)); v++)
		assert_true(counts[v].rows > 0);
	collection_release(g->held[0]);
	rig_close(&g->rig);
	free(g);
}

static void
test_reach(void **state)
{
	(void)state;
	struct collection_settings hamming = plain;
	const struct collection_settings text = {.name = "c",
	    .text_model = "text",
	    .binarizer = "untrained",
	    .code_distance = DISTANCE_INT8};
	hamming.code_distance = DISTANCE_HAMMING;
	const struct {
		const struct collection_settings *now;
		struct collection_settings wanted;
		const char *expected; /* in the message; NULL = fine */
	} cases[] = {
	    {&plain, {.binarizer = "mean"}, NULL},
	    {&plain, {.binarizer = "knowing"}, NULL},
	    {&plain, {.binarizer = "signs"}, NULL},
	    {&plain, {.binarizer = "large"}, "--compatible-with"},
	    {&plain, {.binarizer = "fitted"}, "expected a mean"},
	    {&plain, {.binarizer = "none"}, "no model called"},
	    {&plain, {.binarizer = "mean", .shape = {65, 1, 0}}, "65"},
	    {&plain, {.binarizer = "mean", .text_model = "text"},
		"8 dimensions, not 4"},
	    {&hamming, {.binarizer = "mean"}, NULL},
	    {&hamming, {.binarizer = "signs"}, "rotations alone"},
	    {&hamming, {.binarizer = "knowing"}, "hamming"},
	    {&text, {.binarizer = "text codes"}, NULL},
	    {&text, {.binarizer = "mean"}, "takes vectors of 8 dimensions, not 4"},
	    {&text, {.binarizer = "text codes", .text_model = "other"},
		"--compatible-with"},
	    {&text, {.binarizer = "untrained", .text_model = "other"},
		"--compatible-with"},
	    {&text,
		{.binarizer = "untrained",
		    .text_model = "text",
		    .query_model = "other"},
		"another binarizer"},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct collection *c = collection_new(cases[i].now, models, &err);
		assert_non_null(c);
		struct collection *next =
		    collection_next(c, &cases[i].wanted, models, &err);
		if ((next == NULL) != (cases[i].expected != NULL))
			fail_msg("case %zu: %s", i, next ? "taken" : err.text);
		if (cases[i].expected && !strstr(err.text, cases[i].expected))
			fail_msg("case %zu: expected '%s' in '%s'", i,
			    cases[i].expected, err.text);
		collection_release(next);
		collection_release(c);
	}
}

/* Of a binarizer that knows the older codes the collection has the new size, and keeps
 * both over a restart without models. */
static void
test_new_size(void **state)
{
	(void)state;
	const struct collection_settings wanted = {.binarizer = "knowing"};
	const struct collection_settings back = {.binarizer = "mean"};
	uint8_t wire[CODE_BYTES_MAX] = {1};
	char dir[400];
	struct rig rig;
	struct error err;
	struct writer_point point = {.wire = wire, .factor = 1};

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rig_open(&rig, dir, 0);
	struct collection *c = rig_create(&rig, &plain);
	point_id_from_number(&point.id, 1);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	struct collection *next = collection_next(c, &wanted, models, &err);
	assert_int_equal(rig_change(&rig, next, &err), 0);
	collection_release(c);
	collection_release(next);
	for (int i = 0; i < 2; i++) {
		c = registry_find(rig.registry, "c", &err);
		assert_int_equal(collection_n_versions(c), 2);
		assert_int_equal(collection_settings(c)->size, NEW_SIZE);
		assert_string_equal(collection_settings(c)->binarizer, "knowing");
		const struct collection_version *old = collection_version(c, 0);
		assert_int_equal(old->size, SIZE);
		assert_int_equal(recurrent_info(old->model).input_dims, SIZE);
		assert_int_equal(recurrent_info(old->searching).input_dims, NEW_SIZE);
		assert_int_equal(recurrent_info(old->searching).shape.bits, 2);
		/* There is no way back: "mean" knows the newer codes no more. */
		assert_null(collection_next(c, &back, models, &err));
		collection_release(c);
		rig_close(&rig);
		rig_open(&rig, dir, 0);
	}
	rig_close(&rig);
}

/* ---- what is stored ---- */

struct row {
	char settings[4000];
	size_t n;
	uint32_t id;
};

static int
take_row(void *arg, const struct db_collection *found, struct error *err)
{
	struct row *row = arg;
	(void)err;

	memcpy(row->settings, found->settings, found->settings_len);
	row->settings[found->settings_len] = '\0';
	row->n = found->settings_len;
	row->id = found->id;
	return 0;
}

static void
test_stored(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
	} changes[] = {{"\"version\":2", "\"version\":1"},
	    {"\"version\":2", "\"version\":3"}, {"\"version\":2", "\"version\":\"2\""},
	    {"\"older\":[", "\"older\":[1,"}, {"\"older\":[{", "\"older\":[[],{"},
	    {"\"older\":[{\"size\":8", "\"older\":[{\"size\":9"},
	    {"\"older\":[{\"size\":8", "\"older\":[{\"size\":0"},
	    {"\"older\":[{\"size\":8,\"dims\":64",
		"\"older\":[{\"size\":8,\"dims\":63"}};
	const struct collection_settings wanted = {.binarizer = "mean"};
	uint8_t wire[CODE_BYTES_MAX] = {1};
	struct writer_point point = {.wire = wire, .factor = 1};
	struct rig rig;
	struct row row;
	struct error err;

	rig_open(&rig, rig_new_dir(), 0);
	struct collection *c = rig_create(&rig, &plain);
	point_id_from_number(&point.id, 1);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	struct collection *next = collection_next(c, &wanted, models, &err);
	assert_int_equal(rig_change(&rig, next, &err), 0);
	struct db_txn *txn = db_begin_read(rig.db, &err);
	assert_int_equal(db_collections(txn, take_row, &row, &err), 0);
	struct db_collection stored = {
	    .name = "c", .id = row.id, .settings = row.settings, .settings_len = row.n};
	struct collection *loaded = collection_load(txn, &stored, &err);
	assert_int_equal(collection_n_versions(loaded), 2);
	collection_release(loaded);
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		char text[4100];
		const char *at = strstr(row.settings, changes[i].from);
		assert_non_null(at);
		int n =
		    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - row.settings),
			row.settings, changes[i].to, at + strlen(changes[i].from));
		stored.settings = text;
		stored.settings_len = (size_t)n;
		loaded = collection_load(txn, &stored, &err);
		if (loaded)
			fail_msg("case %zu: %s was taken", i, changes[i].to);
		assert_int_equal(err.code, ERR_FORMAT);
	}
	db_end(txn);
	collection_release(c);
	collection_release(next);
	rig_close(&rig);
}

static void
test_allocations(void **state)
{
	(void)state;
	const struct collection_settings wanted = {.binarizer = "knowing"};
	struct error err;
	struct collection *c = collection_new(&plain, models, &err), *next = NULL;
	long k = 0;

	while (!next) {
		array_fail_at(++k);
		next = collection_next(c, &wanted, models, &err);
		array_fail_at(0);
		if (!next)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 5);
	collection_release(c);
	assert_string_equal(collection_settings(next)->binarizer, "knowing");
	collection_release(next);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_twin),
	    cmocka_unit_test(test_reach),
	    cmocka_unit_test(test_new_size),
	    cmocka_unit_test(test_stored),
	    cmocka_unit_test(test_allocations),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
