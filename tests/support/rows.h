#ifndef TESTS_SUPPORT_ROWS_H
#define TESTS_SUPPORT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/db.h"

/* Points in a data directory, for the tests of server/db.h.  A failure that the test
 * is not about fails the test. */
#define ROWS_MAP ((size_t)64 << 20)

/* The name of a new directory, not made yet; valid until the next call. */
const char *rows_dir(void);

struct db *rows_open(const char *dir, size_t map);

/* Fail with the error's text unless result is 0. */
void rows_check(int result, const struct error *err);

/* The record of the point with this number; payload is borrowed. */
struct db_record rows_record(uint64_t number, const char *payload);

/* Put points first .. first + n - 1 of a collection in slots of the same number, with
 * payloads of `size` bytes, in one transaction. */
int rows_put(struct db *db, uint32_t collection, uint32_t first, uint32_t n,
    size_t size, struct error *err);

/* Points of a collection, by a walk. */
uint32_t rows_count(struct db *db, uint32_t collection);

#endif /* TESTS_SUPPORT_ROWS_H */
