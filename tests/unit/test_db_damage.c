/*
 * Claim of server/db.h: a data file that is truncated or scrambled is refused with a
 * message, it does not kill the server.  Checked at every page boundary and at random
 * lengths, with every page in turn overwritten by zeros or random bytes, and with bits
 * flipped everywhere: opening and loading either refuses or gives every code exactly.
 * Records are checked when they are read: one that was altered is ERR_FORMAT.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define POINTS 400
#define PAGE 4096

static const struct collection_settings settings = {
    .name = "c", .size = 512, .shape = {512, 2, 0}};

static uint8_t *good; /* data.mdb */
static size_t good_size;

static void
make_wire(uint8_t wire[128], uint32_t i)
{
	struct rng rng;

	rng_init(&rng, 77, i);
	for (int k = 0; k < 128; k++)
		wire[k] = (uint8_t)rng_u64(&rng);
}

static void
read_file(const char *dir)
{
	char path[500];

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	good_size = (size_t)ftell(f);
	rewind(f);
	good = malloc(good_size);
	assert_int_equal(fread(good, 1, good_size, f), good_size);
	fclose(f);
}

static int
setup(void **state)
{
	struct rig rig;
	struct error err;
	uint8_t wire[128];
	char payload[] = "{\"text\":\"some words to find again\"}";
	(void)state;

	const char *dir = rig_new_dir();
	rig_open(&rig, dir, 0);
	struct collection *c = rig_create(&rig, &settings);
	for (uint32_t i = 0; i < POINTS; i++) {
		make_wire(wire, i);
		struct writer_point point = {.wire = wire,
		    .factor = (float)i,
		    .payload = payload,
		    .payload_len = strlen(payload)};
		point_id_from_number(&point.id, i);
		assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	}
	collection_release(c);
	rig_close(&rig);
	read_file(dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(good);
	return 0;
}

static void
put_file(const char *dir, const void *bytes, size_t n)
{
	char path[500];

	mkdir(dir, 0755);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static void
check_codes(const struct collection *c)
{
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	uint8_t want[128], wire[128];
	float factor;

	assert_int_equal(snapshot->n_live, POINTS);
	for (uint32_t i = 0; i < POINTS; i++) {
		make_wire(want, i);
		assert_true(store_get(wire, &factor, NULL, snapshot, i));
		assert_memory_equal(wire, want, sizeof wire);
		assert_true(factor == (float)i);
	}
	store_release(snapshot);
}

/* Whether it opens and loads; if so everything in memory is as it was. */
static bool
opens(const char *dir)
{
	struct error err = {ERR_NONE, ""};
	struct db *db = db_open(dir, (size_t)64 << 20, &err);
	struct registry *registry = db ? registry_open(db, &err) : NULL;

	if (!registry) {
		if (err.code != ERR_FORMAT && err.code != ERR_IO)
			fail_msg("error %d: %s", (int)err.code, err.text);
		assert_true(strlen(err.text) > 20);
		db_close(db);
		return false;
	}
	struct collection *c = registry_find(registry, "c", &err);
	if (c)
		check_codes(c);
	collection_release(c);
	registry_close(registry);
	db_close(db);
	return c != NULL;
}

static void
test_whole(void **state)
{
	(void)state;
	const char *dir = rig_new_dir();

	put_file(dir, good, good_size);
	assert_true(opens(dir));
}

/* A cut that takes free pages alone may be accepted: then all records must be there. */
static bool
opens_or_all_there(const char *dir)
{
	struct error err;
	size_t n = 0;

	if (!opens(dir))
		return false;
	struct db *db = db_open(dir, (size_t)64 << 20, &err);
	struct db_txn *txn = db_begin_read(db, &err);
	for (uint32_t slot = 0; slot < POINTS; slot++) {
		struct db_record record;
		bool found;
		assert_int_equal(db_record(txn, 1, slot, &found, &record, &err), 0);
		n += found;
	}
	assert_int_equal(n, POINTS);
	db_end(txn);
	db_close(db);
	return true;
}

static void
test_truncated(void **state)
{
	(void)state;
	char dir[400];
	struct rng rng;

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	put_file(dir, good, good_size);
	assert_true(opens(dir)); /* makes the mark that there are data */
	size_t refused = 0, n_cuts = 0;
	for (size_t n = 0; n < good_size; n += PAGE, n_cuts++) {
		put_file(dir, good, n);
		refused += !opens_or_all_there(dir);
	}
	rng_init(&rng, test_seed(), 6);
	for (int i = 0; i < 60; i++, n_cuts++) {
		put_file(dir, good, rng_below(&rng, good_size));
		refused += !opens_or_all_there(dir);
	}
	printf(
	    "%zu of %zu truncated files refused; the others lacked free pages alone\n",
	    refused, n_cuts);
	assert_true(refused * 4 >= n_cuts * 3);
}

/* A file that was never finished is no damage: there are no data yet. */
static void
test_empty(void **state)
{
	(void)state;
	struct rig rig;
	const char *dir = rig_new_dir();

	put_file(dir, "", 0);
	rig_open(&rig, dir, 0);
	rig_close(&rig);
}

static void
test_scrambled_pages(void **state)
{
	(void)state;
	char dir[400];
	uint8_t *bad = malloc(good_size);
	size_t refused = 0, pages = good_size / PAGE;
	struct rng rng;

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rng_init(&rng, test_seed(), 7);
	for (size_t page = 0; page < pages; page++) {
		for (int random = 0; random < 2; random++) {
			memcpy(bad, good, good_size);
			for (size_t k = 0; k < PAGE; k++)
				bad[page * PAGE + k] =
				    random ? (uint8_t)rng_u64(&rng) : 0;
			put_file(dir, bad, good_size);
			refused += !opens(dir);
		}
	}
	printf("%zu of %zu scrambled pages refused at the start\n", refused, 2 * pages);
	assert_true(refused >= 8); /* the meta pages, the roots, blocks of codes */
	free(bad);
}

static void
test_flipped_bits(void **state)
{
	(void)state;
	char dir[400];
	uint8_t *bad = malloc(good_size);
	struct rng rng;

	snprintf(dir, sizeof dir, "%s", rig_new_dir());
	rng_init(&rng, test_seed(), 8);
	for (int i = 0; i < 100; i++) {
		memcpy(bad, good, good_size);
		/* Half of them in the first pages, where the structure is. */
		size_t at = rng_below(&rng, i % 2 ? good_size : 8 * PAGE);
		bad[at] ^= (uint8_t)(1u << rng_below(&rng, 8));
		put_file(dir, bad, good_size);
		opens(dir);
	}
	free(bad);
}

/* A payload that changed on the disk is not given out. */
static void
test_flipped_payload(void **state)
{
	(void)state;
	static const char words[] = "some words to find again";
	const char *dir = rig_new_dir();
	uint8_t *bad = malloc(good_size);
	struct error err;
	size_t n_damaged = 0;

	memcpy(bad, good, good_size);
	for (size_t i = 0; i + sizeof words < good_size; i++)
		if (memcmp(bad + i, words, sizeof words - 1) == 0)
			bad[i] ^= 1;
	put_file(dir, bad, good_size);
	free(bad);
	struct db *db = db_open(dir, (size_t)64 << 20, &err);
	assert_non_null(db);
	struct db_txn *txn = db_begin_read(db, &err);
	for (uint32_t slot = 0; slot < POINTS; slot++) {
		struct db_record record;
		bool found;
		if (db_record(txn, 1, slot, &found, &record, &err) == 0)
			continue;
		assert_int_equal(err.code, ERR_FORMAT);
		n_damaged++;
	}
	assert_int_equal(n_damaged, POINTS);
	db_end(txn);
	db_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_scrambled_pages),
	    cmocka_unit_test(test_flipped_bits),
	    cmocka_unit_test(test_flipped_payload),
	};
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
