/*
 * The data directory against a dumb twin in memory: random batches of upserts (with
 * repeated ids, all three kinds of id, payloads from none to several pages, one row or
 * several passages), deletions
 * (also of what is not there), collections made and dropped, and the directory closed
 * and opened again.  After every few steps everything is compared: ids, records, codes
 * on the disk, codes in memory, counts, and that slots are reused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define COLLECTIONS 3
#define IDS 200
#define BATCH 60
#define PAYLOAD_MAX 9000
#define PASSAGES_MAX 40
#define STEPS 400

static const struct collection_settings settings[COLLECTIONS] = {
    {.name = "plain", .size = 100, .code_distance = DISTANCE_INT8},
    {.name = "far",
	.size = 30,
	.distance = COLLECTION_EUCLID,
	.shape = {64, 3, 0},
	.vector = "image"},
    {.name = "gr\xC3\xBC\xC3\x9F"
	     "e",
	.size = 700,
	.shape = {1024, 1, 0}},
};

struct twin_point {
	bool there;
	struct writer_point point;
	uint8_t wires[PASSAGES_MAX][CODE_BYTES_MAX];
	struct db_code codes[PASSAGES_MAX];
	struct db_passage passages[PASSAGES_MAX];
	char payload[PAYLOAD_MAX];
};

struct game {
	struct rig rig;
	struct rng rng;
	char dir[400];
	struct collection *collections[COLLECTIONS];
	struct twin_point (*twins)[IDS]; /* [COLLECTIONS] */
	size_t rows_max[COLLECTIONS];
};

static struct point_id
id_of(size_t i)
{
	struct point_id id;
	struct error err;
	char text[300];

	if (i % 3 == 0) {
		point_id_from_number(&id, i * UINT64_C(0x123456789ABCDE));
		return id;
	}
	int n = i % 3 == 1
		    ? snprintf(text, sizeof text, "%032zx", i * 7919)
		    : snprintf(text, sizeof text, "%0*zu", 1 + (int)(i % 200), i);
	assert_int_equal(point_id_from_string(&id, text, (size_t)n, &err), 0);
	return id;
}

/* Let the point point into its own twin. */
static void
point_at(struct twin_point *twin)
{
	struct writer_point *point = &twin->point;

	for (size_t k = 0; k < PASSAGES_MAX; k++)
		twin->codes[k].wire = twin->wires[k];
	point->payload = point->payload_len > 0 ? twin->payload : NULL;
	point->wire = NULL;
	if (point->n_passages == 0) {
		point->wire = twin->wires[0];
		point->factor = twin->codes[0].factor;
		point->norm2 = twin->codes[0].norm2;
	}
	point->codes = twin->codes;
	point->passages = twin->passages;
}

static size_t
rows_of(const struct twin_point *twin)
{
	size_t n = twin->point.n_passages;

	return !twin->there ? 0 : n > 0 ? n : 1;
}

static void
random_point(struct game *g, struct twin_point *twin, size_t i, struct code_shape shape)
{
	size_t n = 0;

	if (rng_below(&g->rng, 4) != 0)
		n = rng_below(&g->rng, rng_below(&g->rng, 10) == 0 ? PAYLOAD_MAX : 300);
	twin->there = true;
	for (size_t k = 0; k < n; k++)
		twin->payload[k] = (char)rng_u64(&g->rng);
	/* Mostly one plain row, and mostly few passages. */
	size_t n_passages = 0;
	if (rng_below(&g->rng, 3) == 0)
		n_passages = 1 + rng_below(&g->rng,
				     rng_below(&g->rng, 8) == 0 ? PASSAGES_MAX : 4);
	for (size_t k = 0; k < PASSAGES_MAX && (k == 0 || k < n_passages); k++) {
		for (size_t b = 0; b < code_bytes(shape); b++)
			twin->wires[k][b] = (uint8_t)rng_u64(&g->rng);
		twin->codes[k] = (struct db_code){
		    .factor = rng_uniform(&g->rng), .norm2 = rng_uniform(&g->rng)};
		twin->passages[k] = (struct db_passage){
		    (uint32_t)rng_u64(&g->rng), (uint32_t)rng_u64(&g->rng)};
	}
	twin->point = (struct writer_point){
	    .id = id_of(i),
	    .payload_len = n,
	    .n_passages = n_passages,
	};
	point_at(twin);
}

static void
step_upsert(struct game *g, size_t c)
{
	struct code_shape shape = collection_settings(g->collections[c])->shape;
	struct twin_point *batch = calloc(BATCH, sizeof *batch);
	struct writer_point points[BATCH];
	struct error err;
	size_t n = 1 + rng_below(&g->rng, BATCH);

	for (size_t k = 0; k < n; k++) {
		size_t i = rng_below(&g->rng, IDS);
		random_point(g, &batch[k], i, shape);
		/* The twin's own copy: the last of equal ids wins. */
		struct twin_point *twin = &g->twins[c][i];
		*twin = batch[k];
		point_at(twin);
	}
	for (size_t k = 0; k < n; k++) {
		point_at(&batch[k]);
		points[k] = batch[k].point;
	}
	if (rig_upsert(&g->rig, g->collections[c], points, n, &err) != 0)
		fail_msg("upsert: %s", err.text);
	free(batch);
}

static void
step_delete(struct game *g, size_t c)
{
	struct point_id ids[BATCH];
	struct error err;
	size_t n = 1 + rng_below(&g->rng, BATCH);
	long gone = 0;

	for (size_t k = 0; k < n; k++) {
		size_t i = rng_below(&g->rng, IDS);
		ids[k] = id_of(i);
		gone += g->twins[c][i].there;
		g->twins[c][i].there = false;
	}
	assert_int_equal(rig_delete(&g->rig, g->collections[c], ids, n, &err), gone);
}

static void
step_drop(struct game *g, size_t c)
{
	struct error err;
	struct point_id id = id_of(1);
	struct collection *old = g->collections[c];

	assert_int_equal(rig_drop(&g->rig, old, &err), 0);
	assert_null(registry_find(g->rig.registry, settings[c].name, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	g->collections[c] = rig_create(&g->rig, &settings[c]);
	/* Whoever still holds the old one can read it, and not write into the new. */
	collection_count(old);
	assert_int_equal(rig_delete(&g->rig, old, &id, 1, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_int_equal(rig_drop(&g->rig, old, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	collection_release(old);
	for (size_t i = 0; i < IDS; i++)
		g->twins[c][i].there = false;
}

static void
step_reopen(struct game *g)
{
	struct error err;

	for (size_t c = 0; c < COLLECTIONS; c++)
		collection_release(g->collections[c]);
	rig_close(&g->rig);
	rig_open(&g->rig, g->dir, 0);
	for (size_t c = 0; c < COLLECTIONS; c++) {
		g->collections[c] =
		    registry_find(g->rig.registry, settings[c].name, &err);
		assert_non_null(g->collections[c]);
	}
}

/* Row k of a point, in `slot`. */
static void
check_row(struct db_txn *txn, struct collection *c,
    const struct store_snapshot *snapshot, const struct twin_point *twin,
    const struct db_rows *rows, size_t k)
{
	const struct db_codes *codes = collection_codes(c);
	uint32_t slot = rows->slots[k];
	struct db_record record;
	struct db_code code;
	struct error err;
	uint8_t wire[CODE_BYTES_MAX];
	float factor, norm2;
	bool found;

	assert_int_equal(
	    db_record(txn, codes->collection, slot, &found, &record, &err), 0);
	assert_true(found && point_id_equal(&record.id, &twin->point.id));
	assert_int_equal(record.payload_len, k == 0 ? twin->point.payload_len : 0);
	assert_memory_equal(record.payload, twin->payload, record.payload_len);
	assert_int_equal(record.is_passage, twin->point.n_passages > 0);
	if (record.is_passage) {
		assert_int_equal(record.first, rows->slots[0]);
		assert_int_equal(record.number, k);
		assert_int_equal(record.passage.start, twin->passages[k].start);
		assert_int_equal(record.passage.end, twin->passages[k].end);
	}
	assert_int_equal(db_code(txn, codes, slot, &found, &code, &err), 0);
	assert_true(found);
	assert_memory_equal(code.wire, twin->wires[k], code_bytes(codes->shape));
	assert_true(store_get(wire, &factor, &norm2, snapshot, slot));
	assert_memory_equal(wire, twin->wires[k], code_bytes(codes->shape));
	assert_true(factor == twin->codes[k].factor && code.factor == factor);
	assert_true(norm2 == (codes->has_norm2 ? twin->codes[k].norm2 : 0));
	assert_true(code.norm2 == norm2);
}

static void
check_point(struct db_txn *txn, struct collection *c,
    const struct store_snapshot *snapshot, const struct twin_point *twin, size_t i)
{
	struct point_id id = id_of(i);
	struct db_rows rows;
	struct error err;

	assert_int_equal(
	    db_rows(txn, collection_codes(c)->collection, &id, &rows, &err), 0);
	assert_int_equal(rows.n, rows_of(twin));
	for (size_t k = 0; k < rows.n; k++)
		check_row(txn, c, snapshot, twin, &rows, k);
}

static void
check_collection(struct game *g, size_t c)
{
	struct collection *collection = g->collections[c];
	uint32_t id = collection_codes(collection)->collection;
	struct store_snapshot *snapshot = store_acquire(collection_store(collection));
	struct error err;
	struct db_record record;
	struct db_txn *txn = db_begin_read(g->rig.db, &err);
	size_t there = 0, rows = 0, walked = 0;
	uint32_t slot = 0;
	bool found;

	assert_non_null(txn);
	for (size_t i = 0; i < IDS; i++) {
		there += g->twins[c][i].there;
		rows += rows_of(&g->twins[c][i]);
		check_point(txn, collection, snapshot, &g->twins[c][i], i);
	}
	for (;; slot++, walked++) {
		assert_int_equal(
		    db_record_next(txn, id, &found, &slot, &record, &err), 0);
		if (!found)
			break;
	}
	assert_int_equal(walked, rows);
	assert_int_equal(snapshot->n_live, rows);
	assert_int_equal(collection_count(collection), there);
	assert_int_equal(collection_counts(collection).rows, rows);
	/* Freed slots are used again: never more than there were at once, those of one
	 * batch in both versions. */
	if (rows > g->rows_max[c])
		g->rows_max[c] = rows;
	assert_true(snapshot->n_slots <= 2 * (g->rows_max[c] + 2 * BATCH * 8));
	db_end(txn);
	store_release(snapshot);
}

static void
test_against_twin(void **state)
{
	(void)state;
	struct game *g = calloc(1, sizeof *g);
	size_t n_reopened = 0, n_dropped = 0;

	rng_init(&g->rng, test_seed(), 4);
	snprintf(g->dir, sizeof g->dir, "%s", rig_new_dir());
	rig_open(&g->rig, g->dir, 0);
	g->twins = calloc(COLLECTIONS, sizeof *g->twins);
	for (size_t c = 0; c < COLLECTIONS; c++)
		g->collections[c] = rig_create(&g->rig, &settings[c]);
	for (int step = 0; step < STEPS; step++) {
		size_t c = rng_below(&g->rng, COLLECTIONS);
		uint64_t what = rng_below(&g->rng, 100);
		if (what < 55) {
			step_upsert(g, c);
		} else if (what < 93) {
			step_delete(g, c);
		} else if (what < 95) {
			step_drop(g, c);
			n_dropped++;
		} else {
			step_reopen(g);
			n_reopened++;
		}
		if (step % 5 == 0 || what >= 93)
			for (c = 0; c < COLLECTIONS; c++)
				check_collection(g, c);
	}
	assert_true(n_reopened > 0 && n_dropped > 0);
	step_reopen(g);
	for (size_t c = 0; c < COLLECTIONS; c++) {
		check_collection(g, c);
		collection_release(g->collections[c]);
	}
	rig_close(&g->rig);
	free(g->twins);
	free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_twin)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
