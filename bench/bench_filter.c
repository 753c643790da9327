/*
 * What payload indexes cost and give: seconds a point while a million points with three
 * indexes (integers, all different; 100 keywords; booleans) are written, less those
 * without any; and milliseconds to find the rows that filters leave, from half of all
 * to one in a thousand, by each index, by two, and by reading payloads. usage:
 * bench_filter DIR [points]      (DIR is made and left; about 0.5 GB)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "bench/harness.h"
#include "server/filter.h"

#define NAME "bench_filter"
#define COLLECTION 1
#define BATCH 10000
#define ROUNDS 9

static void
need(bool good, const struct error *err)
{
	if (!good)
		harness_fail(NAME, err->text);
}

/* n: every number below n_points once; u: the same, and never indexed. */
static size_t
make_payload(char *payload, size_t cap, uint32_t i, uint32_t n_points, struct rng *rng)
{
	/* A power of three has no factor with a power of ten. */
	uint64_t n = i * UINT64_C(387420489) % n_points;

	return (size_t)snprintf(payload, cap,
	    "{\"title\":\"a document of ordinary length, the %uth of "
	    "them\",\"n\":%" PRIu64 ",\"k\":\"keyword %02u\",\"b\":%s,\"u\":%" PRIu64
	    "}",
	    i, n, (unsigned)rng_below(rng, 100),
	    rng_below(rng, 2) == 0 ? "true" : "false", n);
}

static struct harness_time
write_points(
    struct db *db, const struct db_field *fields, size_t n_fields, uint32_t n_points)
{
	struct db_txn *txn = NULL;
	struct error err;
	struct rng rng;
	char payload[300];

	rng_init(&rng, 1, 1);
	struct harness_watch watch = harness_start();
	for (uint32_t i = 0; i < n_points; i++) {
		struct db_rows rows = {.slots = {i}, .n = 1};
		struct db_record record = {.payload = payload};
		record.payload_len =
		    make_payload(payload, sizeof payload, i, n_points, &rng);
		struct db_fields_rows entered = {
		    COLLECTION, &i, 1, payload, record.payload_len};
		point_id_from_number(&record.id, i);
		if (i % BATCH == 0)
			need((txn = db_begin_write(db, &err)) != NULL, &err);
		need(db_point_put(txn, COLLECTION, &rows, NULL, &record, &err) == 0,
		    &err);
		need(db_fields_add(txn, fields, n_fields, &entered, &err) == 0, &err);
		if (i % BATCH == BATCH - 1 || i == n_points - 1)
			need(db_commit(txn, &err) == 0, &err);
	}
	return harness_stop(watch);
}

static void
declare(struct db *db, const struct db_field *fields, size_t n_fields)
{
	struct error err;
	struct db_txn *txn = db_begin_write(db, &err);

	need(txn != NULL, &err);
	for (size_t i = 0; i < n_fields; i++)
		need(db_fields_new(txn, COLLECTION, fields[i].number, &err) == 0 &&
			 db_fields_set_complete(
			     txn, COLLECTION, fields[i].number, &err) == 0,
		    &err);
	need(db_commit(txn, &err) == 0, &err);
}

static void
find(struct db *db, const struct db_field *fields, size_t n_fields,
    const struct row_set *live, const char *json)
{
	struct harness_time times[ROUNDS];
	struct filter_cost cost;
	struct error err;
	struct json root;

	need(json_check(&root, json, strlen(json), &err) == 0, &err);
	struct filter *filter = filter_new(&root, fields, n_fields, &err);
	need(filter != NULL, &err);
	struct row_set *rows = row_set_new(live->n_slots, &err);
	need(rows != NULL, &err);
	for (size_t i = 0; i < ROUNDS; i++) {
		struct harness_watch watch = harness_start();
		struct db_txn *txn = db_begin_read(db, &err);
		need(txn != NULL, &err);
		struct filter_place place = {txn, COLLECTION, live};
		need(filter_rows(rows, filter, &place, &cost, &err) == 0, &err);
		db_end(txn);
		times[i] = harness_stop(watch);
	}
	struct harness_time t = harness_median(times, ROUNDS);
	size_t n = row_set_count(rows);
	printf("%9.3f ms (processor %9.3f), %7zu rows, %7zu payloads read  %.60s%s\n",
	    1e3 * t.wall, 1e3 * t.cpu, n, cost.n_payloads, json,
	    strlen(json) > 60 ? ".." : "");
	row_set_free(rows);
	filter_free(filter);
}

/* {"key": "k", "match": {"any": ["keyword 00", ..]}} */
static void
keywords(struct text *text, size_t n)
{
	text_clear(text);
	text_string(text, "{\"must\":{\"key\":\"k\",\"match\":{\"any\":[");
	for (size_t i = 0; i < n; i++)
		text_printf(text, "%s\"keyword %02zu\"", i > 0 ? "," : "", i);
	text_string(text, "]}}}");
}

static void
find_all(struct db *db, const struct db_field *fields, const struct row_set *live)
{
	static const char *const others[] = {
	    "{\"must\":{\"key\":\"b\",\"match\":{\"value\":true}}}",
	    "{\"must_not\":{\"key\":\"b\",\"match\":{\"value\":true}}}",
	    "{\"must\":{\"is_empty\":{\"key\":\"n\"}}}",
	    ("{\"must\":[{\"key\":\"k\",\"match\":{\"value\":\"keyword 07\"}},"
	     "{\"key\":\"n\",\"range\":{\"lt\":100000}}]}"),
	    "{\"must\":{\"key\":\"k\",\"match\":{\"except\":[\"keyword 07\"]}}}",
	};
	static const double shares[] = {0.5, 0.1, 0.01, 0.001};
	struct text text = {0};

	for (size_t i = 0; i < 4; i++) {
		text_clear(&text);
		text_printf(&text, "{\"must\":{\"key\":\"n\",\"range\":{\"lt\":%.0f}}}",
		    shares[i] * live->n_slots);
		find(db, fields, 3, live, text.bytes);
	}
	for (size_t i = 0; i < 3; i++) {
		keywords(&text, (size_t)(100 * shares[i]));
		find(db, fields, 3, live, text.bytes);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		find(db, fields, 3, live, others[i]);
	for (size_t i = 0; i < 4; i++) {
		text_clear(&text);
		text_printf(&text,
		    "{\"must\":[{\"key\":\"u\",\"range\":{\"gte\":0}},{\"key\":\"n\","
		    "\"range\":{\"lt\":%.0f}}]}",
		    (i == 0 ? 1 : shares[i]) * live->n_slots);
		find(db, fields, 3, live, text.bytes);
	}
	text_free(&text);
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = {"n", "k", "b"};
	static const enum db_field_type types[] = {
	    DB_FIELD_INTEGER, DB_FIELD_KEYWORD, DB_FIELD_BOOL};
	uint32_t n_points = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
	struct db_field fields[3];
	struct harness_time times[2];
	struct db_sizes sizes;
	struct error err;
	char dir[4096];

	if (argc < 2) {
		fprintf(stderr, "usage: " NAME " DIR [points]\n");
		return 2;
	}
	for (uint16_t i = 0; i < 3; i++)
		fields[i] = (struct db_field){i, types[i], path_new(keys[i], 1, &err)};
	snprintf(dir, sizeof dir, "%s", argv[1]);
	for (size_t with = 0; with < 2; with++) {
		if (with)
			snprintf(dir, sizeof dir, "%s/indexed", argv[1]);
		struct db *db = db_open(dir, 0, &err);
		need(db != NULL, &err);
		declare(db, fields, 3 * with);
		times[with] = write_points(db, fields, 3 * with, n_points);
		need(db_sizes(db, &sizes, &err) == 0, &err);
		printf("%u points in batches of %d, %s: %.2f us a point (processor "
		       "%.2f), %.0f MB of points, %.1f MB of indexes\n",
		    n_points, BATCH, with ? "three indexes" : "no index",
		    1e6 * times[with].wall / n_points, 1e6 * times[with].cpu / n_points,
		    (double)sizes.points_bytes / 1e6, (double)sizes.other_bytes / 1e6);
		if (with) {
			struct row_set *live = row_set_new(n_points, &err);
			need(live != NULL, &err);
			for (uint32_t i = 0; i < n_points; i++)
				row_set_add(live, i);
			find_all(db, fields, live);
			row_set_free(live);
		}
		db_close(db);
	}
	printf("maintaining three indexes: %.2f us a point (processor %.2f)\n",
	    1e6 * (times[1].wall - times[0].wall) / n_points,
	    1e6 * (times[1].cpu - times[0].cpu) / n_points);
	for (size_t i = 0; i < 3; i++)
		path_free((struct path *)(uintptr_t)fields[i].path);
	return 0;
}
