/*
 * Data directories that format versions 1 to 3 wrote (tests/golden/data-v1 to -v3; the
 * second has points with passages) are opened as they are by this program: settings,
 * ids of all kinds, payloads, codes, factors, deletions and search answers to the last
 * bit; it can be written further, and says the same after another start.  Vectors are
 * functions of (collection, point), so the codes are also held to what the binarizer
 * makes today.
 *
 * MAKE_GOLDEN=tests/golden/data-v3 test_db_golden writes the directory anew; do that
 * for a new format version alone, in a directory of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "index/flat.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/rig.h"

#define POINTS 50
#define PASSAGES_MAX 4
#define QUERIES 4
#define LIMIT 10

static const struct collection_settings all[] = {
    {.name = "cosine",
	.size = 100,
	.shape = {128, 2, 0},
	.code_distance = DISTANCE_INT8,
	.created_s = 1700000000},
    {.name = "euclid 3 bits",
	.size = 70,
	.shape = {64, 3, 0},
	.distance = COLLECTION_EUCLID,
	.vector = "image",
	.code_distance = DISTANCE_INT8,
	.created_s = 1700000001},
    {.name = "m\xC3\xBCnster",
	.size = 20,
	.shape = {64, 4, 0},
	.distance = COLLECTION_DOT,
	.binarizer = "mean",
	.code_distance = DISTANCE_INT8,
	.created_s = 1700000002},
};
#define COLLECTIONS (sizeof all / sizeof all[0])

static const char *const golden_dirs[] = {
    "tests/golden/data-v1", "tests/golden/data-v2", "tests/golden/data-v3"};
static uint32_t version; /* the one at work */

/* In version 3 the last collection got another binarizer, and its points from CHANGED
 * on came again. */
#define CHANGED 30
static const struct collection_settings change = {
    .binarizer = "untrained", .shape = {128, 2, 0}};

static bool
is_changed(size_t which)
{
	return version == 3 && which == COLLECTIONS - 1;
}

/* Passages of a point, of version 2: some have one, some several. */
static size_t
passages_of(uint32_t i)
{
	return version >= 2 && i % 4 == 1 ? 1 + i % PASSAGES_MAX : 0;
}

static struct db_passage
passage_of(uint32_t i, uint32_t k)
{
	return (struct db_passage){1000 * k + i, 1000 * k + i + 1200};
}

/* The first half of "cosine" was deleted, and then points 60 .. 64 were put. */
static bool
is_there(size_t c, uint32_t i)
{
	if (c == 0)
		return (i >= 25 && i < POINTS) || (i >= 60 && i < 65);
	return i < POINTS;
}

static struct point_id
id_of(uint32_t i)
{
	struct point_id id;
	struct error err;
	char text[64];
	int n;

	if (i % 3 == 0) {
		point_id_from_number(&id, UINT64_MAX - i);
		return id;
	}
	if (i % 3 == 1)
		n = snprintf(
		    text, sizeof text, "936da01f-9abd-4d9d-80c7-02af85c8%04x", i);
	else
		n = snprintf(text, sizeof text, "point \xE2\x82\xAC %u", i);
	assert_int_equal(point_id_from_string(&id, text, (size_t)n, &err), 0);
	return id;
}

static size_t
payload_of(char payload[200], uint32_t i)
{
	if (i % 5 == 0)
		return 0;
	return (size_t)snprintf(
	    payload, 200, "{\"n\":%u,\"text\":\"caf\xC3\xA9 %u\"}", i, i);
}

/* Exact floats: multiples of 2^-24, so that no library's rounding matters. */
static void
vector_of(float *x, size_t c, uint32_t i, uint32_t size)
{
	struct rng rng;

	rng_init(&rng, 1000 + c, i);
	for (uint32_t k = 0; k < size; k++)
		x[k] = rng_uniform(&rng) - 0.5f;
}

static void
encode(uint8_t *wire, struct recurrent_numbers *numbers, const struct recurrent *model,
    size_t which, uint32_t i)
{
	float x[100];
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);

	vector_of(x, which, i, recurrent_info(model).input_dims);
	assert_int_equal(recurrent_encode(model, scratch, wire, numbers, x, &err), 0);
	recurrent_scratch_free(scratch);
}

/* Row k of a point has the vector of point i + 1000 k. */
static void
put(struct rig *rig, struct collection *c, size_t which, uint32_t i)
{
	uint8_t wires[PASSAGES_MAX][CODE_BYTES_MAX];
	struct db_code codes[PASSAGES_MAX];
	struct db_passage passages[PASSAGES_MAX];
	struct recurrent_numbers numbers;
	struct error err;
	char payload[200];
	uint32_t n = (uint32_t)passages_of(i);

	for (uint32_t k = 0; k == 0 || k < n; k++) {
		encode(
		    wires[k], &numbers, collection_binarizer(c), which, i + 1000 * k);
		codes[k] = (struct db_code){wires[k], numbers.factor, numbers.norm2};
		passages[k] = passage_of(i, k);
	}
	struct writer_point point = {.id = id_of(i),
	    .wire = wires[0],
	    .factor = codes[0].factor,
	    .norm2 = codes[0].norm2,
	    .payload = payload,
	    .payload_len = payload_of(payload, i),
	    .n_passages = n,
	    .codes = codes,
	    .passages = passages};
	assert_int_equal(rig_upsert(rig, c, &point, 1, &err), 0);
}

/* ---- answers ---- */

/* *prepared := the query for one version of the codes. */
static void
prepare(struct distance_query *prepared, const struct collection *c, size_t v,
    size_t which, uint32_t query)
{
	const struct collection_settings *s = collection_settings(c);
	const struct recurrent *model = collection_version(c, v)->searching;
	struct code_shape shape = collection_version(c, v)->shape;
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	int8_t k[CODE_DIMS_MAX];
	float q[100], norm2 = 0;

	vector_of(q, which, 100000 + query, s->size);
	for (uint32_t i = 0; i < s->size; i++)
		norm2 += q[i] * q[i];
	struct recurrent_query coded = {.k = k};
	assert_int_equal(recurrent_query_int8(model, scratch, &coded, q, &err), 0);
	struct distance_terms terms = {
	    .metric = s->distance == COLLECTION_EUCLID ? DISTANCE_EUCLID : DISTANCE_DOT,
	    .base = coded.base,
	    .norm2 = norm2};
	distance_query_int8(
	    prepared, k, coded.scale / (float)(1 << (shape.bits - 1)), shape, terms);
	recurrent_scratch_free(scratch);
}

static void
answer(char **text, const struct collection *c, size_t which, uint32_t query,
    struct db *db)
{
	const struct collection_settings *s = collection_settings(c);
	struct error err;
	struct hit hits[LIMIT];
	struct distance_query *prepared =
	    array_new_aligned(STORE_PARTS_MAX, sizeof *prepared);
	struct flat_search search = {.query = prepared, .k = LIMIT, .hits = hits};
	struct flat_scratch *flat = flat_scratch_new(distance_best(), 2, &err);
	struct store_snapshot *snapshot = store_acquire(collection_store(c));

	for (size_t v = 0; v < collection_n_versions(c); v++)
		prepare(&prepared[v], c, v, which, query);
	assert_int_equal(flat_run(&search, 1, snapshot, flat, &err), 0);
	struct db_txn *txn = db_begin_read(db, &err);
	for (size_t i = 0; i < search.n; i++) {
		struct db_record record;
		char id[POINT_ID_PRINT_MAX];
		bool found;
		assert_int_equal(
		    db_record(txn, s->id, hits[i].slot, &found, &record, &err), 0);
		assert_true(found);
		point_id_print(id, &record.id);
		*text += sprintf(*text, "%zu %u %zu %s %a\n", which, query, i, id,
		    (double)distance_report(prepared, hits[i].score));
	}
	db_end(txn);
	store_release(snapshot);
	flat_scratch_free(flat);
	free(prepared);
}

/* Lines "collection query rank id score", the score in hexadecimal: every bit. */
static char *
answers(struct rig *rig)
{
	char *text = calloc(COLLECTIONS * QUERIES * LIMIT, 200), *end = text;
	struct error err;

	for (size_t which = 0; which < COLLECTIONS; which++) {
		struct collection *c =
		    registry_find(rig->registry, all[which].name, &err);
		assert_non_null(c);
		for (uint32_t query = 0; query < QUERIES; query++)
			answer(&end, c, which, query, rig->db);
		collection_release(c);
	}
	return text;
}

/* ---- making it ---- */

/* The collection with another binarizer, and what is coded by it. */
static void
make_change(struct rig *rig, struct collection *before, size_t which)
{
	struct error err;
	struct collection *c = collection_next(before, &change, NULL, &err);
	struct writer_operation op = {.kind = WRITER_VERSION, .collection = c};

	assert_int_equal(rig_run(rig, &op, NULL, &err), 0);
	for (uint32_t i = CHANGED; i < POINTS; i++)
		put(rig, c, which, i);
	collection_release(c);
}

static void
make(const char *dir)
{
	struct rig rig;
	struct error err;
	char models_dir[400], path[500];
	struct point_id ids[POINTS / 2];

	snprintf(models_dir, sizeof models_dir, "%s/models", test_folder());
	models_write_binarizer(models_dir, "mean", 20, 0.125f);
	struct models *models = models_open(models_dir, &err);
	rig_open(&rig, dir, 0);
	for (size_t which = 0; which < COLLECTIONS; which++) {
		struct collection *c = collection_new(&all[which], models, &err);
		struct writer_operation op = {.kind = WRITER_CREATE, .collection = c};
		assert_int_equal(rig_run(&rig, &op, NULL, &err), 0);
		for (uint32_t i = 0; i < POINTS; i++)
			put(&rig, c, which, i);
		if (which == 0) {
			for (uint32_t i = 0; i < POINTS / 2; i++)
				ids[i] = id_of(i);
			assert_int_equal(
			    rig_delete(&rig, c, ids, POINTS / 2, &err), POINTS / 2);
			for (uint32_t i = 60; i < 65; i++)
				put(&rig, c, which, i);
		}
		if (is_changed(which))
			make_change(&rig, c, which);
		collection_release(c);
	}
	char *text = answers(&rig);
	rig_close(&rig);
	models_close(models);
	snprintf(path, sizeof path, "%s/answers.txt", dir);
	FILE *f = fopen(path, "w");
	assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
	free(text);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", dir,
		    i == 0 ? "lock.mdb" : "halftone.lock");
		remove(path);
	}
}

/* ---- checking it ---- */

static char *
read_file(const char *name, size_t *n)
{
	char path[500];

	snprintf(path, sizeof path, "%s/%s", golden_dirs[version - 1], name);
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("cannot open %s", path);
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	char *text = calloc(*n + 1, 1);
	assert_int_equal(fread(text, 1, *n, f), *n);
	fclose(f);
	return text;
}

static void
copy_golden(const char *dir)
{
	char path[500];
	size_t n;
	char *bytes = read_file("data.mdb", &n);

	assert_true(n < 200000);
	mkdir(dir, 0755);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	FILE *f = fopen(path, "wb");
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	free(bytes);
}

/* Row k of point i. */
static void
check_row(const struct collection *c, size_t which, uint32_t i, uint32_t k,
    const struct db_rows *rows, struct db_txn *txn)
{
	const struct collection_version *v = is_changed(which) && i < CHANGED
						 ? collection_version(c, 0)
						 : collection_newest(c);
	const struct db_codes *codes = &v->codes;
	struct point_id id = id_of(i);
	struct recurrent_numbers numbers;
	struct db_record record;
	struct db_code code;
	struct error err;
	uint8_t wire[CODE_BYTES_MAX];
	char payload[200];
	uint32_t slot = rows->slots[k];
	bool found;

	assert_int_equal(
	    db_record(txn, codes->collection, slot, &found, &record, &err), 0);
	assert_true(found && point_id_equal(&record.id, &id));
	size_t n = k == 0 ? payload_of(payload, i) : 0;
	assert_int_equal(record.payload_len, n);
	assert_memory_equal(record.payload, payload, n);
	assert_int_equal(record.is_passage, passages_of(i) > 0);
	if (record.is_passage) {
		assert_int_equal(record.first, rows->slots[0]);
		assert_int_equal(record.number, k);
		assert_int_equal(record.passage.start, passage_of(i, k).start);
		assert_int_equal(record.passage.end, passage_of(i, k).end);
	}
	assert_int_equal(db_code(txn, codes, slot, &found, &code, &err), 0);
	assert_true(found);
	encode(wire, &numbers, v->model, which, i + 1000 * k);
	assert_memory_equal(code.wire, wire, code_bytes(codes->shape));
	assert_true(code.factor == numbers.factor);
	assert_true(code.norm2 == (codes->has_norm2 ? numbers.norm2 : 0));
}

/* Returns how many rows the point has. */
static size_t
check_point(const struct collection *c, size_t which, uint32_t i, struct db_txn *txn)
{
	struct point_id id = id_of(i);
	struct db_rows rows;
	struct error err;
	size_t n = passages_of(i);

	assert_int_equal(
	    db_rows(txn, collection_codes(c)->collection, &id, &rows, &err), 0);
	assert_int_equal(rows.n, !is_there(which, i) ? 0 : n > 0 ? n : 1);
	if (rows.n > 0 && version == 1)
		assert_true(rows.slots[0] < POINTS + 5); /* freed ones used again */
	for (uint32_t k = 0; k < rows.n; k++)
		check_row(c, which, i, k, &rows, txn);
	return rows.n;
}

static void
check_settings(const struct collection_settings *s, size_t which)
{
	static const char *const binarizers[] = {"untrained", "untrained", "mean"};

	assert_int_equal(s->id, which + 1);
	assert_int_equal(s->size, all[which].size);
	assert_int_equal(s->distance, all[which].distance);
	assert_string_equal(s->vector, all[which].vector);
	const struct collection_settings *coded =
	    is_changed(which) ? &change : &all[which];
	assert_int_equal(s->shape.dims, coded->shape.dims);
	assert_int_equal(s->shape.bits, coded->shape.bits);
	assert_int_equal(s->code_distance, all[which].code_distance);
	assert_string_equal(
	    s->binarizer, is_changed(which) ? change.binarizer : binarizers[which]);
	assert_int_equal(s->created_s, all[which].created_s);
}

static void
check_all(struct rig *rig)
{
	struct error err;
	struct db_txn *txn = db_begin_read(rig->db, &err);
	uint32_t format;

	/* Without passages, or a second version of codes, a file stays what older
	 * programs read. */
	assert_int_equal(db_format(txn, &format, &err), 0);
	assert_int_equal(format, version);

	for (size_t which = 0; which < COLLECTIONS; which++) {
		struct collection *c =
		    registry_find(rig->registry, all[which].name, &err);
		assert_non_null(c);
		check_settings(collection_settings(c), which);
		size_t n = 0, n_rows = 0;
		for (uint32_t i = 0; i < 70; i++) {
			n_rows += check_point(c, which, i, txn);
			n += is_there(which, i);
		}
		assert_int_equal(collection_counts(c).points, n);
		assert_int_equal(collection_counts(c).rows, n_rows);
		collection_release(c);
	}
	db_end(txn);
	size_t n;
	char *want = read_file("answers.txt", &n), *got = answers(rig);
	assert_int_equal(n, strlen(got));
	assert_string_equal(got, want);
	free(want);
	free(got);
}

static void
check_golden(uint32_t number)
{
	version = number;
	struct rig rig;
	struct error err;
	char dir[400];

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	copy_golden(dir);
	rig_open(&rig, dir, 0);
	check_all(&rig);
	/* Written further and taken back: the same again, also after a start. */
	for (size_t which = 0; which < COLLECTIONS; which++) {
		struct collection *c =
		    registry_find(rig.registry, all[which].name, &err);
		struct point_id ids[] = {id_of(89), id_of(90)};
		put(&rig, c, which, 89);
		put(&rig, c, which, 90);
		put(&rig, c, which, 30);
		assert_int_equal(rig_delete(&rig, c, ids, 2, &err), 2);
		collection_release(c);
	}
	check_all(&rig);
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	check_all(&rig);
	rig_close(&rig);
}

static void
test_version_1(void **state)
{
	(void)state;
	check_golden(1);
}

static void
test_version_2(void **state)
{
	(void)state;
	check_golden(2);
}

static void
test_version_3(void **state)
{
	(void)state;
	check_golden(3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_version_1),
	    cmocka_unit_test(test_version_2),
	    cmocka_unit_test(test_version_3),
	};
	const char *dir = getenv("MAKE_GOLDEN");

	log_set_level(LOG_WARN);
	if (dir) {
		version = DB_FORMAT_VERSIONS;
		make(dir);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
