#include "tests/support/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/guard.h"

const char *
rows_dir(void)
{
	static char path[400];
	static int n;

	snprintf(path, sizeof path, "%s/%d", test_folder(), n++);
	return path;
}

struct db *
rows_open(const char *dir, size_t map)
{
	struct error err;
	struct db *db = db_open(dir, map, &err);

	if (!db)
		fail_msg("db_open: %s", err.text);
	return db;
}

void
rows_check(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("%s", err->text);
}

struct db_record
rows_record(uint64_t number, const char *payload)
{
	struct db_record record = {.operation = number * 3,
	    .payload = payload,
	    .payload_len = strlen(payload)};

	point_id_from_number(&record.id, number);
	return record;
}

int
rows_put(struct db *db, uint32_t collection, uint32_t first, uint32_t n, size_t size,
    struct error *err)
{
	struct db_txn *txn = db_begin_write(db, err);
	char *payload = malloc(size + 1);
	int result = txn ? 0 : -1;

	memset(payload, 'p', size);
	payload[size] = '\0';
	for (uint32_t i = first; result == 0 && i < first + n; i++) {
		struct db_record record = rows_record(i, payload);
		struct db_rows rows = {.slots = {i}, .n = 1};
		result = db_point_put(txn, collection, &rows, NULL, &record, err);
	}
	free(payload);
	if (result != 0) {
		db_end(txn);
		return -1;
	}
	return db_commit(txn, err);
}

uint32_t
rows_count(struct db *db, uint32_t collection)
{
	struct error err;
	struct db_txn *txn = db_begin_read(db, &err);
	struct db_record record;
	uint32_t n = 0, slot = 0;
	bool found;

	assert_non_null(txn);
	for (;;) {
		rows_check(
		    db_record_next(txn, collection, &found, &slot, &record, &err),
		    &err);
		if (!found)
			break;
		struct db_record want = rows_record(slot, "");
		assert_true(point_id_equal(&record.id, &want.id));
		uint32_t at;
		rows_check(
		    db_slot(txn, collection, &record.id, &found, &at, &err), &err);
		assert_true(found && at == slot);
		n++;
		slot++;
	}
	db_end(txn);
	return n;
}
