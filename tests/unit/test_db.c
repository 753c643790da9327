/*
 * Claims of server/db.h and how they are checked:
 *  - rows come back as they were put, for every shape, and blocks fill their pages;
 *  - walking, dropping and purging touch one collection and leave its neighbours;
 *  - a second opener, a newer format and another program's file are refused;
 *  - readers have their places, and sizes are those of the parts.
 * tests/unit/test_db_full.c has full and failing disks, test_db_damage.c truncated and
 * scrambled files.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "server/db.h"
#include "tests/support/guard.h"
#include "tests/support/rows.h"

static void
test_points(void **state)
{
	(void)state;
	struct error err;
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	struct db_record record, want = rows_record(7, "{\"a\":1}");
	struct db_rows rows = {.slots = {7}, .n = 1};
	uint32_t slot;
	bool found;

	rows_check(rows_put(db, 1, 0, 10, 3, &err), &err);
	rows_check(rows_put(db, 2, 5, 10, 5000, &err), &err);
	rows_check(rows_put(db, UINT32_MAX, 0, 3, 0, &err), &err);
	assert_int_equal(rows_count(db, 1), 10);
	assert_int_equal(rows_count(db, 2), 10);
	assert_int_equal(rows_count(db, 3), 0);
	assert_int_equal(rows_count(db, UINT32_MAX), 3);

	struct db_txn *txn = db_begin_write(db, &err);
	rows_check(db_point_put(txn, 1, &rows, NULL, &want, &err), &err);
	rows_check(db_record(txn, 1, 7, &found, &record, &err), &err);
	assert_true(found);
	assert_int_equal(record.operation, 21);
	assert_int_equal(record.payload_len, 7);
	assert_memory_equal(record.payload, "{\"a\":1}", 7);
	rows_check(db_point_delete(txn, 1, &rows, &want.id, &err), &err);
	rows_check(db_record(txn, 1, 7, &found, &record, &err), &err);
	assert_false(found);
	rows_check(db_slot(txn, 1, &want.id, &found, &slot, &err), &err);
	assert_false(found);
	rows_check(db_set_operation(txn, UINT64_MAX, &err), &err);
	db_end(txn);

	assert_int_equal(rows_count(db, 1), 10); /* nothing was committed */
	uint64_t operation;
	txn = db_begin_read(db, &err);
	rows_check(db_operation(txn, &operation, &err), &err);
	assert_int_equal(operation, 0);
	db_end(txn);
	db_close(db);
}

static void
check_passage(struct db *db, uint32_t slot, uint32_t number, const char *payload)
{
	struct error err;
	struct db_txn *txn = db_begin_read(db, &err);
	struct db_record record, want = rows_record(7, payload);
	bool found;

	rows_check(db_record(txn, 1, slot, &found, &record, &err), &err);
	assert_true(found && record.is_passage);
	assert_true(point_id_equal(&record.id, &want.id));
	assert_int_equal(record.operation, want.operation);
	assert_int_equal(record.first, 900);
	assert_int_equal(record.number, number);
	assert_int_equal(record.passage.start, 10 * number);
	assert_int_equal(record.passage.end, 10 * number + UINT32_C(0xFFFFFF00));
	assert_int_equal(record.payload_len, strlen(payload));
	assert_memory_equal(record.payload, payload, record.payload_len);
	db_end(txn);
}

static uint32_t
format_of(struct db *db)
{
	struct error err;
	struct db_txn *txn = db_begin_read(db, &err);
	uint32_t n;

	rows_check(db_format(txn, &n, &err), &err);
	db_end(txn);
	return n;
}

/* A point with as many rows as one can have; what was before it stays readable. */
static void
test_passages(void **state)
{
	(void)state;
	struct error err;
	char dir[400];
	snprintf(dir, sizeof dir, "%s", rows_dir());
	struct db *db = rows_open(dir, ROWS_MAP);
	struct db_record record, want = rows_record(7, "{\"a\":1}");
	struct db_rows *rows = calloc(2, sizeof *rows);
	struct db_passage *passages = calloc(DB_PASSAGES_MAX, sizeof *passages);
	uint32_t slot;
	uint64_t n;
	bool found;

	const struct db_codes counted = {.collection = 1, .version = 1};
	const struct db_codes other = {.collection = 1, .version = 2};
	rows_check(rows_put(db, 1, 0, 5, 3, &err), &err);
	assert_int_equal(format_of(db), 1);
	rows->n = DB_PASSAGES_MAX;
	for (uint32_t i = 0; i < DB_PASSAGES_MAX; i++) {
		rows->slots[i] = i == 0 ? 900 : 1000 + 3 * i;
		passages[i] =
		    (struct db_passage){10 * i, 10 * i + UINT32_C(0xFFFFFF00)};
	}
	struct db_txn *txn = db_begin_write(db, &err);
	rows_check(db_point_put(txn, 1, rows, passages, &want, &err), &err);
	rows_check(db_set_extra_rows(txn, &counted, UINT64_C(1) << 40, &err), &err);
	rows_check(db_commit(txn, &err), &err);
	assert_int_equal(format_of(db), 2);
	db_close(db);

	db = rows_open(dir, ROWS_MAP);
	assert_int_equal(format_of(db), 2);
	assert_int_equal(rows_count(db, 2), 0);
	check_passage(db, 900, 0, "{\"a\":1}");
	check_passage(db, 1003, 1, "");
	check_passage(db, 1000 + 3 * (DB_PASSAGES_MAX - 1), DB_PASSAGES_MAX - 1, "");
	txn = db_begin_write(db, &err);
	rows_check(db_slot(txn, 1, &want.id, &found, &slot, &err), &err);
	assert_true(found && slot == 900);
	rows_check(db_rows(txn, 1, &want.id, &rows[1], &err), &err);
	assert_memory_equal(&rows[1], &rows[0], sizeof *rows);
	rows_check(db_extra_rows(txn, &counted, &n, &err), &err);
	assert_true(n == UINT64_C(1) << 40);
	rows_check(db_extra_rows(txn, &other, &n, &err), &err);
	assert_true(n == 0);
	rows_check(db_point_delete(txn, 1, rows, &want.id, &err), &err);
	rows_check(db_rows(txn, 1, &want.id, &rows[1], &err), &err);
	assert_int_equal(rows[1].n, 0);
	slot = 5;
	rows_check(db_record_next(txn, 1, &found, &slot, &record, &err), &err);
	assert_false(found); /* no row is left */
	db_end(txn);
	db_close(db);
	free(rows);
	free(passages);
}

static void
test_layout(void **state)
{
	(void)state;
	size_t n = 0;

	for (uint32_t dims = 64; dims <= CODE_DIMS_MAX; dims += 64) {
		for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
			for (int norm2 = 0; norm2 < 2; norm2++, n++) {
				struct db_codes codes = {
				    .shape = {dims, bits, 0}, .has_norm2 = norm2};
				uint32_t rows = db_codes_rows(&codes);
				size_t row = code_bytes(codes.shape) + (norm2 ? 8 : 4);
				size_t size = 16 + (rows + 63) / 64 * 8 + rows * row;
				assert_true(rows >= 1 && size <= 16368);
				size_t pages = (size + 16 + 4095) / 4096;
				/* At least 85 % of every page is rows. */
				assert_true(rows * row * 100 >= pages * 4096 * 85);
			}
		}
	}
	assert_int_equal(n, 64 * 4 * 2);
}

#define SLOTS 300

struct twin {
	bool there;
	float factor, norm2;
	uint8_t wire[CODE_BYTES_MAX];
};

struct walk {
	const struct twin *twins;
	const struct db_codes *codes;
	uint32_t next;
	size_t n;
};

static int
on_code(void *arg, uint32_t slot, const struct db_code *code, struct error *err)
{
	struct walk *walk = arg;
	(void)err;

	assert_true(slot >= walk->next && slot < SLOTS);
	walk->next = slot + 1;
	walk->n++;
	const struct twin *twin = &walk->twins[slot];
	assert_true(twin->there && twin->factor == code->factor);
	assert_true(code->norm2 == (walk->codes->has_norm2 ? twin->norm2 : 0));
	assert_memory_equal(twin->wire, code->wire, code_bytes(walk->codes->shape));
	return 0;
}

static void
check_codes(struct db *db, const struct db_codes *codes, const struct twin *twins)
{
	struct walk walk = {.twins = twins, .codes = codes};
	struct error err;
	struct db_txn *txn = db_begin_read(db, &err);
	size_t there = 0;

	rows_check(db_codes_each(txn, codes, on_code, &walk, &err), &err);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		struct db_code code;
		bool found;
		rows_check(db_code(txn, codes, slot, &found, &code, &err), &err);
		assert_int_equal(found, twins[slot].there);
		there += found;
		if (found) {
			walk.next = slot;
			on_code(&walk, slot, &code, &err);
			walk.n--;
		}
	}
	assert_int_equal(walk.n, there);
	db_end(txn);
}

static void
change_codes(struct db *db, const struct db_codes *codes, struct twin *twins,
    struct rng *rng, bool delete_all)
{
	struct error err;
	struct db_txn *txn = db_begin_write(db, &err);

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t slot = delete_all ? i : (uint32_t)rng_below(rng, SLOTS);
		struct twin *twin = &twins[slot];
		if (delete_all || rng_below(rng, 3) == 0) {
			rows_check(db_code_delete(txn, codes, slot, &err), &err);
			twin->there = false;
			continue;
		}
		twin->there = true;
		twin->factor = rng_uniform(rng);
		twin->norm2 = rng_uniform(rng);
		for (size_t k = 0; k < code_bytes(codes->shape); k++)
			twin->wire[k] = (uint8_t)rng_u64(rng);
		struct db_code code = {twin->wire, twin->factor, twin->norm2};
		rows_check(db_code_put(txn, codes, slot, &code, &err), &err);
	}
	rows_check(db_commit(txn, &err), &err);
}

/* Neighbours in the key space that must not be mixed up: other collections, versions,
 * names that begin alike. */
static void
test_codes(void **state)
{
	(void)state;
	static const struct code_shape shapes[] = {{64, 1, 0}, {64, 3, 0}, {512, 2, 0},
	    {1024, 4, 0}, {4032, 3, 0}, {4096, 4, 0}};
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	struct rng rng;
	struct db_codes codes[12];
	struct twin *twins[12];

	rng_init(&rng, test_seed(), 3);
	for (size_t i = 0; i < 12; i++) {
		codes[i] = (struct db_codes){
		    .collection = (uint32_t)(i / 4),
		    .version = 1 + i % 2,
		    .shape = shapes[i % 6],
		    .has_norm2 = i / 6,
		};
		snprintf(codes[i].vector, sizeof codes[i].vector, "%s",
		    (i & 2)  ? "ab"
		    : i == 8 ? "a"
			     : "");
		twins[i] = calloc(SLOTS, sizeof *twins[i]);
	}
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < 12; i++)
			change_codes(
			    db, &codes[i], twins[i], &rng, round == 3 && i % 3 == 0);
		for (size_t i = 0; i < 12; i++)
			check_codes(db, &codes[i], twins[i]);
	}
	for (size_t i = 0; i < 12; i++)
		free(twins[i]);
	db_close(db);
}

static int
count_collection(void *arg, const struct db_collection *row, struct error *err)
{
	size_t *n = arg;
	(void)err;

	assert_string_equal(row->name, *n == 0 ? "a" : "b");
	assert_int_equal(row->id, *n == 0 ? 1 : 2);
	assert_int_equal(row->settings_len, 2);
	assert_memory_equal(row->settings, "{}", 2);
	++*n;
	return 0;
}

static void
test_collections(void **state)
{
	(void)state;
	struct error err;
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	static const char *const names[] = {"a", "b"};
	const void *bytes;
	size_t n, n_slices = 0;
	uint32_t id;
	bool found, more = true;

	struct db_txn *txn = db_begin_write(db, &err);
	for (uint32_t i = 0; i < 2; i++) {
		rows_check(db_collection_new_id(txn, &id, &err), &err);
		assert_int_equal(id, i + 1);
		struct db_collection row = {
		    names[i], id, "{}", 2, 1, "xyz", i == 0 ? 3 : 0};
		rows_check(db_collection_put(txn, &row, &err), &err);
	}
	rows_check(db_commit(txn, &err), &err);
	rows_check(rows_put(db, 1, 0, 100, 10, &err), &err);
	rows_check(rows_put(db, 2, 0, 100, 10, &err), &err);

	txn = db_begin_read(db, &err);
	n = 0;
	rows_check(db_collections(txn, count_collection, &n, &err), &err);
	assert_int_equal(n, 2);
	rows_check(db_binarizer(txn, 1, 1, &bytes, &n, &err), &err);
	assert_int_equal(n, 3);
	rows_check(db_binarizer(txn, 2, 1, &bytes, &n, &err), &err);
	assert_int_equal(n, 0);
	db_end(txn);

	txn = db_begin_write(db, &err);
	rows_check(db_collection_drop(txn, "a", 1, &err), &err);
	rows_check(db_commit(txn, &err), &err);
	while (more) {
		txn = db_begin_write(db, &err);
		rows_check(db_collection_find(txn, "a", &found, &id, &err), &err);
		assert_false(found);
		rows_check(db_purge(txn, 30, &more, &err), &err);
		rows_check(db_commit(txn, &err), &err);
		assert_int_equal(rows_count(db, 2), 100);
		n_slices++;
	}
	assert_int_equal(n_slices, 201 / 30 + 1); /* ids, points, one binarizer */
	assert_int_equal(rows_count(db, 1), 0);
	txn = db_begin_write(db, &err);
	rows_check(db_collection_new_id(txn, &id, &err), &err);
	assert_int_equal(id, 3);
	db_end(txn);
	db_close(db);
}

static void
test_second_opener(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;
	struct db *db = rows_open(dir, ROWS_MAP);

	assert_null(db_open(dir, ROWS_MAP, &err));
	assert_int_equal(err.code, ERR_BUSY);
	assert_non_null(strstr(err.text, "in use by another server"));
	pid_t pid = fork();
	if (pid == 0)
		_exit(db_open(dir, ROWS_MAP, &err) == NULL && err.code == ERR_BUSY ? 0
										   : 1);
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	rows_check(rows_put(db, 1, 0, 1, 1, &err), &err);
	db_close(db);
	db_close(rows_open(dir, ROWS_MAP));
}

/* Overwrite what follows every `text` in data.mdb by n bytes. */
static void
patch_behind(const char *dir, const char *text, const char *bytes, size_t n)
{
	char path[500];
	static char file[1 << 20];
	size_t len = strlen(text), n_patched = 0;

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	FILE *f = fopen(path, "r+b");
	assert_non_null(f);
	size_t size = fread(file, 1, sizeof file, f);
	for (size_t i = 0; i + len + n <= size; i++) {
		if (memcmp(file + i, text, len) != 0)
			continue;
		memcpy(file + i + len, bytes, n);
		n_patched++;
	}
	assert_true(n_patched > 0);
	rewind(f);
	assert_int_equal(fwrite(file, 1, size, f), size);
	fclose(f);
}

static void
test_versions(void **state)
{
	(void)state;
	struct error err;
	const char *dir = rows_dir();

	db_close(rows_open(dir, ROWS_MAP));
	patch_behind(
	    dir, "format_version", (char[]){DB_FORMAT_VERSION + 1, 0, 0, 0}, 4);
	assert_null(db_open(dir, ROWS_MAP, &err));
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, "newer release"));
	patch_behind(dir, "format_version", "\0\0\0\0", 4);
	assert_null(db_open(dir, ROWS_MAP, &err));
	assert_int_equal(err.code, ERR_FORMAT);
	patch_behind(dir, "format_version", "\1\0\0\0", 4);
	db_close(rows_open(dir, ROWS_MAP));

	patch_behind(dir, "met", "e", 1); /* its database "meta" has another name */
	assert_null(db_open(dir, ROWS_MAP, &err));
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, "another program"));
}

/* Both are mapped with the default size: of a new file, and by the check. */
static void
test_default_map(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;

	for (uint32_t i = 0; i < 2; i++) {
		struct db *db = rows_open(dir, 0);
		rows_check(rows_put(db, 1, i, 1, 1, &err), &err);
		assert_int_equal(rows_count(db, 1), i + 1);
		db_close(db);
	}
}

static void
test_bad_places(void **state)
{
	(void)state;
	char path[500];
	struct error err;

	snprintf(path, sizeof path, "%s/none/none", test_folder());
	assert_null(db_open(path, ROWS_MAP, &err));
	assert_int_equal(err.code, ERR_IO);
	assert_null(db_open(rows_dir(), 4096, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_null(db_open(rows_dir(), (size_t)1 << 60, &err));
	assert_int_equal(err.code, ERR_MEMORY);
	assert_non_null(strstr(err.text, "map size"));
}

static void
test_allocations(void **state)
{
	(void)state;
	const char *dir = rows_dir();
	struct error err;
	struct db *db = NULL;
	long k = 0;

	while (!db) {
		array_fail_at(++k);
		db = db_open(dir, ROWS_MAP, &err);
		array_fail_at(0);
		if (!db)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 2);
	for (int writes = 0; writes < 2; writes++) {
		struct db_txn *txn = NULL;
		for (k = 1; !txn; k++) {
			array_fail_at(k);
			txn =
			    writes ? db_begin_write(db, &err) : db_begin_read(db, &err);
			array_fail_at(0);
		}
		assert_true(k > 2);
		db_end(txn);
	}
	db_close(db);
}

static void
test_readers(void **state)
{
	(void)state;
	struct error err;
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	static struct db_txn *txns[DB_READERS_MAX];

	for (int i = 0; i < DB_READERS_MAX; i++)
		assert_non_null(txns[i] = db_begin_read(db, &err));
	assert_null(db_begin_read(db, &err));
	assert_int_equal(err.code, ERR_BUSY);
	for (int i = 0; i < DB_READERS_MAX; i++)
		db_end(txns[i]);
	db_end(db_begin_read(db, &err));
	assert_int_equal(db_check_readers(db), 0);
	db_close(db);
}

static void
test_sizes(void **state)
{
	(void)state;
	struct error err;
	struct db *db = rows_open(rows_dir(), ROWS_MAP);
	struct db_sizes before, after;
	uint64_t resident;

	rows_check(db_sizes(db, &before, &err), &err);
	rows_check(rows_put(db, 1, 0, 1000, 1000, &err), &err);
	rows_check(db_sizes(db, &after, &err), &err);
	assert_true(after.points_bytes >= 1000 * 1000);
	assert_true(after.points_bytes <= 2500 * 1000);
	assert_true(after.ids_bytes >= 1000 * 17 && after.ids_bytes <= 100000);
	assert_int_equal(after.codes_bytes, 0);
	assert_true(after.file_bytes >= after.points_bytes);
	assert_true(before.other_bytes > 0 && before.file_bytes < 200000);
	/* What was just written is in memory, whole pages of it. */
	rows_check(db_resident(db, &resident, &err), &err);
	assert_true(resident >= after.points_bytes / 2);
	assert_true(resident <= after.file_bytes + 2000000);
	db_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_points),
	    cmocka_unit_test(test_passages),
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_collections),
	    cmocka_unit_test(test_second_opener),
	    cmocka_unit_test(test_versions),
	    cmocka_unit_test(test_default_map),
	    cmocka_unit_test(test_bad_places),
	    cmocka_unit_test(test_allocations),
	    cmocka_unit_test(test_readers),
	    cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
