/*
 * Claims: an import through a server that answers "later", drops connections before
 * and after it has stored a batch, and is slow, stores every document once under its
 * own id with its own content, and counts what was acknowledged; a bad line stops it
 * with file and line after the lines before it are stored; a refused document ends it
 * in the same way, wherever it stands in a batch; what is too much for one request is
 * sent in several; a silent server ends it after its patience; a collection made for a
 * file of vectors gets the mean of its first rows; a wrong command line exits with 2.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "client/import.h"
#include "client/import_job.h"
#include "tests/support/fake_server.h"
#include "tests/support/guard.h"

#define POINTS_MAX 5000

/* A server that keeps, for every id below POINTS_MAX, the number in its payload. */
struct store {
	int64_t value[POINTS_MAX]; /* -1: not there */
	unsigned stored;           /* points in batches that were stored, repeats too */
	unsigned acknowledged;
	unsigned faults;   /* of 100 requests so many go wrong */
	unsigned refuse;   /* a batch with this id is refused for good; 0 = none */
	unsigned most;     /* points that a request may have; 0 = any number */
	bool silent;       /* always "later" */
	const char *later; /* the header that says when */
	bool exists;
	struct rng rng;
	char created[1000]; /* the body that made the collection */
};

static struct store store;
static char path[4096], url[64];

static unsigned
put_points(const struct fake_request *request, unsigned *first)
{
	struct json root, points, id, value;
	struct error err;
	unsigned n = 0;
	uint64_t i = POINTS_MAX, v;
	if (json_check(&root, request->body, request->body_len, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(json_member(&root, "points", &points));
	struct json_walk w = json_walk(&points);
	while (json_next(&w)) {
		assert_true(json_member(&w.value, "id", &id) && json_u64(&i, &id));
		assert_true(i < POINTS_MAX);
		if (n++ == 0)
			*first = (unsigned)i;
		if (!json_member(&w.value, "payload", &value) ||
		    !json_member(&value, "n", &value) || !json_u64(&v, &value))
			v = i;
		store.value[i] = (int64_t)v;
	}
	return n;
}

static size_t
count_points(const struct fake_request *request)
{
	struct json root, points;
	struct error err;
	assert_int_equal(json_check(&root, request->body, request->body_len, &err), 0);
	assert_true(json_member(&root, "points", &points));
	return json_count(&points);
}

static void
answer_points(struct fake_reply *reply, const struct fake_request *request)
{
	unsigned first = 0,
		 fault = store.faults == 0 ? 100 : (unsigned)rng_below(&store.rng, 100);
	bool wrong = fault < store.faults;
	assert_string_equal(request->method, "PUT");
	if (store.silent || (wrong && fault % 4 == 0)) {
		fake_reply_json(reply, store.silent ? 503 : 429, store.later,
		    "{\"status\":{\"error\":\"too much\"}}");
		return;
	}
	if (wrong && fault % 4 == 1) { /* not stored, no answer */
		reply->close = true;
		return;
	}
	char wanted[32];
	snprintf(wanted, sizeof wanted, "{\"id\":%u,", store.refuse);
	if (store.refuse != 0 && strstr(request->body, wanted) != NULL) {
		fake_reply_json(
		    reply, 400, "", "{\"status\":{\"error\":\"point 0: it is bad\"}}");
		return;
	}
	if (store.most != 0 && count_points(request) > store.most) {
		fake_reply_json(
		    reply, 413, "", "{\"status\":{\"error\":\"too many\"}}");
		return;
	}
	unsigned n = put_points(request, &first);
	store.stored += n;
	if (wrong && fault % 4 == 2) { /* stored, but nobody hears of it */
		reply->close = true;
		return;
	}
	store.acknowledged += n;
	fake_reply_json(reply, 200, "", "{\"result\":{\"status\":\"completed\"}}");
	if (wrong)
		reply->piece = 7;
}

static void
on_request(struct fake_reply *reply, const struct fake_request *request, void *arg)
{
	(void)arg;
	if (strcmp(request->path, "/collections/c%20%2F1/points?wait=true") == 0) {
		answer_points(reply, request);
		return;
	}
	assert_string_equal(request->path, "/collections/c%20%2F1");
	if (strcmp(request->method, "PUT") == 0) {
		snprintf(store.created, sizeof store.created, "%s", request->body);
		store.exists = true;
		fake_reply_json(reply, 200, "", "{\"result\":true}");
	} else if (store.exists) {
		fake_reply_json(reply, 200, "",
		    "{\"result\":{\"config\":{\"params\":{\"codes\":{\"dims\":64,"
		    "\"bits\":2}}}}"
		    "}");
	} else {
		fake_reply_json(
		    reply, 404, "", "{\"status\":{\"error\":\"Not found\"}}");
	}
}

static void
reset(unsigned faults)
{
	store = (struct store){.faults = faults, .later = "retry-after-ms: 5\r\n"};
	for (size_t i = 0; i < POINTS_MAX; i++)
		store.value[i] = -1;
	rng_init(&store.rng, test_seed(), 3);
}

/* import_main with these options (NULL ends them) for `path`. */
static int
run(const char *const *options)
{
	char *argv[40] = {"import", "--collection", "c /1", "--url", url};
	int n = 5;
	for (; *options != NULL; options++)
		argv[n++] = (char *)(uintptr_t)*options;
	argv[n++] = path;
	argv[n] = NULL;
	return import_main(n, argv);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static struct fake_server *
start(unsigned faults)
{
	reset(faults);
	struct fake_server *server = fake_server_start(on_request, NULL, false);
	assert_non_null(server);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", fake_server_port(server));
	return server;
}

static void
write_lines(size_t n, size_t bad)
{
	snprintf(path, sizeof path, "%s/lines.jsonl", test_folder());
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (size_t i = 1; i <= n; i++) {
		if (i == bad)
			fputs("{\"id\": 1, \"text\": 5}\n", file);
		else
			fprintf(file, "{\"id\": %zu, \"text\": \"t\", \"n\": %zu}\n", i,
			    (i * 7919) % 10007);
	}
	assert_int_equal(fclose(file), 0);
}

static void
expect_stored(size_t first, size_t last)
{
	for (size_t i = 0; i < POINTS_MAX; i++) {
		int64_t want =
		    i >= first && i <= last ? (int64_t)((i * 7919) % 10007) : -1;
		if (store.value[i] != want)
			fail_msg("point %zu has %lld, not %lld", i,
			    (long long)store.value[i], (long long)want);
	}
}

static void
test_nothing_lost(void **state)
{
	(void)state;
	write_lines(3000, 0);
	for (unsigned faults = 0; faults <= 60; faults += 30) {
		struct fake_server *server = start(faults);
		assert_int_equal(RUN("--batch", "20", "--connections", "3"), 0);
		fake_server_stop(server);
		expect_stored(1, 3000);
		assert_int_equal(store.acknowledged, 3000);
		assert_true(
		    store.stored >= 3000 && (faults < 60 || store.stored > 3000));
		assert_string_equal(
		    store.created, "{\"text_model\":\"halftone-mini\",\"codes\":{}}");
	}
}

static void
test_bad_line(void **state)
{
	(void)state;
	write_lines(1000, 777);
	struct fake_server *server = start(20);
	assert_int_equal(RUN("--batch", "10"), 1);
	fake_server_stop(server);
	expect_stored(1, 776);
}

static void
test_refused(void **state)
{
	(void)state;
	static const unsigned bad[] = {1, 2, 146, 150, 300};
	struct fake_server *server;
	write_lines(300, 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		/* Batches before the refused one wait for their next try when it is
		 * refused: they are stored all the same. */
		server = start(40);
		store.refuse = bad[i];
		assert_int_equal(RUN("--batch", "10", "--connections", "3"), 1);
		fake_server_stop(server);
		for (size_t j = 1; j < bad[i]; j++)
			assert_int_equal(store.value[j], (j * 7919) % 10007);
		assert_int_equal(store.value[bad[i]], -1);
	}
	/* What is there already is not made again, and must be what was asked for. */
	server = start(0);
	store.exists = true;
	assert_int_equal(RUN("--bits", "2", "--dims", "64"), 0);
	assert_string_equal(store.created, "");
	assert_int_equal(RUN("--bits", "4"), 1);
	assert_int_equal(RUN("--dims", "128"), 1);
	fake_server_stop(server);
	/* Nobody there. */
	assert_int_equal(RUN("--batch", "10"), 1);
}

static void
test_split(void **state)
{
	(void)state;
	write_lines(1000, 0);
	struct fake_server *server = start(10);
	store.most = 7;
	assert_int_equal(RUN("--batch", "100"), 0);
	expect_stored(1, 1000);
	assert_int_equal(store.acknowledged, 1000);
	/* The bad line by its number in the file, also with blank ones between. */
	reset(0);
	struct remote_address address;
	struct error err;
	assert_int_equal(remote_address_read(&address, url, NULL, &err), 0);
	for (unsigned bad = 1; bad <= 5; bad++) {
		struct upload_settings settings = {
		    .address = &address, .collection = "c /1", .connections = 1};
		struct upload *upload = upload_open(&settings, &err);
		struct upload_counts counts;
		struct upload_point list[5];
		struct text points = {0};
		char want[100];
		reset(0);
		store.refuse = bad;
		assert_non_null(upload);
		for (unsigned i = 0; i < 5; i++) {
			text_printf(&points, "%s{\"id\":%u,\"a\":\"},{\"}",
			    i > 0 ? "," : "", i + 1);
			list[i] = (struct upload_point){100 * i + 7, points.n};
		}
		struct upload_batch batch = {&points, list, 5, "file:"};
		assert_int_equal(upload_put(upload, &batch, &err), 0);
		assert_int_equal(upload_finish(upload, &counts, &err), -1);
		snprintf(want, sizeof want,
		    "file:%u: the server answered 400: it is bad", 100 * bad - 93);
		assert_string_equal(err.text, want);
		assert_int_equal(counts.acknowledged, bad - 1);
		for (unsigned i = 1; i <= 5; i++)
			assert_int_equal(store.value[i], i < bad ? (int)i : -1);
		upload_close(upload);
		text_free(&points);
	}
	fake_server_stop(server);
}

static void
test_patience(void **state)
{
	(void)state;
	struct fake_server *server = start(0);
	store.silent = true;
	store.later = "Retry-After: 0\r\n";
	struct remote_address address;
	struct error err;
	assert_int_equal(remote_address_read(&address, url, NULL, &err), 0);
	struct upload_settings settings = {.address = &address,
	    .collection = "c /1",
	    .connections = 2,
	    .patience_s = 1};
	struct upload_counts counts;
	struct text points = {NULL, 0, 0, false};
	struct upload *upload = upload_open(&settings, &err);
	assert_non_null(upload);
	uint64_t begin = clock_ns();
	text_string(&points, "{\"id\":1}");
	struct upload_point at = {1, points.n};
	struct upload_batch batch = {&points, &at, 1, "the source "};
	assert_int_equal(upload_put(upload, &batch, &err), 0);
	assert_int_equal(points.n, 0);
	assert_int_equal(upload_finish(upload, &counts, &err), -1);
	assert_true(clock_since(begin) >= 1 && clock_since(begin) < 10);
	assert_int_equal(counts.acknowledged, 0);
	/* "At once" is no reason to ask without a pause. */
	assert_true(counts.retries > 2 && counts.retries <= 20);
	assert_non_null(strstr(err.text, "the source"));
	assert_non_null(strstr(err.text, "too much"));
	assert_int_equal(err.code, ERR_BUSY);
	text_string(&points, "{\"id\":1}");
	assert_int_equal(upload_put(upload, &batch, &err), -1);
	upload_close(upload);
	upload_close(NULL);
	text_free(&points);
	fake_server_stop(server);

	long k = 1;
	for (upload = NULL; upload == NULL; k++) {
		array_fail_at(k);
		upload = upload_open(&settings, &err);
		array_fail_at(0);
	}
	assert_true(k > 3);
	upload_close(upload);
}

static void
test_vectors(void **state)
{
	(void)state;
	uint8_t file[3 * 12];
	snprintf(path, sizeof path, "%s/rows.fvecs", test_folder());
	for (size_t i = 0; i < 3; i++) {
		bytes_put32le(file + 12 * i, 2);
		bytes_putfle(file + 12 * i + 4, (float)i + 1);
		bytes_putfle(file + 12 * i + 8, 1);
	}
	FILE *out = fopen(path, "wb");
	assert_non_null(out);
	assert_int_equal(fwrite(file, 1, sizeof file, out), sizeof file);
	assert_int_equal(fclose(out), 0);
	struct fake_server *server = start(0);
	assert_int_equal(RUN("--bits", "2", "--dims", "128", "--distance", "dot"), 0);
	assert_string_equal(store.created,
	    "{\"vectors\":{\"size\":2,\"distance\":\"Dot\"},\"codes\":{\"dims\":128,"
	    "\"bits\":2}}");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(store.value[i], i);
	assert_int_equal(store.value[3], -1);
	assert_int_equal(RUN("--format", "jsonl"), 1);
	assert_int_equal(RUN("--format", "npy"), 1);
	fake_server_stop(server);
}

/* rows.fvecs := n rows of 2 dimensions, each `more` after the first `steady` ones. */
static void
write_rows(size_t n, size_t steady, float more)
{
	snprintf(path, sizeof path, "%s/rows.fvecs", test_folder());
	FILE *out = fopen(path, "wb");
	assert_non_null(out);
	for (size_t i = 0; i < n; i++) {
		uint8_t row[12];
		bytes_put32le(row, 2);
		bytes_putfle(row + 4, i < steady ? (float)(i % 2) * 6 : more);
		bytes_putfle(row + 8, i < steady ? (float)(i % 2) * 8 : more);
		assert_int_equal(fwrite(row, 1, sizeof row, out), sizeof row);
	}
	assert_int_equal(fclose(out), 0);
}

/* A collection that an import of vectors makes gets their mean, at length 1 for Cosine;
 * of a few rows, or for one that is there, there is none. */
static void
test_mean(void **state)
{
	(void)state;
	struct fake_server *server = start(0);
	write_rows(200, 200, 0);
	assert_int_equal(RUN("--bits", "2", "--distance", "Euclid"), 0);
	assert_string_equal(store.created,
	    "{\"vectors\":{\"size\":2,\"distance\":\"Euclid\"},\"codes\":{\"bits\":2,"
	    "\"mean\":{\"b64\":\"AABAQAAAgEA=\"}}}"); /* 3, 4 */
	store.exists = false;
	assert_int_equal(RUN("--batch", "100"), 0);
	assert_string_equal(store.created,
	    "{\"vectors\":{\"size\":2,\"distance\":\"Cosine\"},\"codes\":{"
	    "\"mean\":{\"b64\":\"mpkZP83MTD8=\"}}}"); /* 0.6, 0.8: not the zeros */
	store.created[0] = '\0';
	assert_int_equal(RUN("--bits", "2"), 0);
	assert_string_equal(store.created, "");
	store.exists = false;
	write_rows(IMPORT_MEAN_ROWS_MIN - 1, 200, 0);
	assert_int_equal(RUN("--distance", "Dot"), 0);
	assert_null(strstr(store.created, "mean"));
	fake_server_stop(server);
}

static void
test_mean_rows(void **state)
{
	(void)state;
	struct import_sample sample = {path, VECTORS_FVECS};
	struct error err;
	float *mean = guard_new(2 * sizeof *mean);
	write_rows(IMPORT_MEAN_ROWS + 5, IMPORT_MEAN_ROWS, 1e30f);
	assert_int_equal(import_mean(mean, &sample, false, &err), 1);
	assert_true(mean[0] == 3 && mean[1] == 4);
	/* Up to a row that is bad. */
	write_rows(300, 200, INFINITY);
	assert_int_equal(import_mean(mean, &sample, false, &err), 1);
	assert_true(mean[0] == 3 && mean[1] == 4);
	write_rows(300, 60, INFINITY);
	assert_int_equal(import_mean(mean, &sample, false, &err), 0);
	write_rows(200, 200, 0);
	int rc = -1;
	for (long k = 1; rc == -1; k++) {
		array_fail_at(k);
		rc = import_mean(mean, &sample, true, &err);
		array_fail_at(0);
		assert_true(rc == 1 || err.code == ERR_MEMORY);
	}
	sample.path = "/nowhere/at/all";
	assert_int_equal(import_mean(mean, &sample, true, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	guard_free(mean, 2 * sizeof *mean);
}

static void
test_usage(void **state)
{
	(void)state;
	write_lines(1, 0);
	snprintf(url, sizeof url, "http://127.0.0.1:1");
	assert_int_equal(RUN("--batch", "0"), 2);
	assert_int_equal(RUN("--batch", "10001"), 2);
	assert_int_equal(RUN("--batch", "x"), 2);
	assert_int_equal(RUN("--batch", "-1"), 2);
	assert_int_equal(RUN("--batch", "99999999999"), 2);
	assert_int_equal(RUN("--bits", "5"), 2);
	assert_int_equal(RUN("--dims", "100"), 2);
	assert_int_equal(RUN("--dims", "4160"), 2);
	assert_int_equal(RUN("--distance", "near"), 2);
	assert_int_equal(RUN("--format", "csv"), 2);
	assert_int_equal(RUN("--url", "https://a"), 2);
	assert_int_equal(RUN("--collection", ""), 2);
	assert_int_equal(RUN("--nonsense"), 2);
	char *none[] = {"import", "--collection", "c", NULL};
	assert_int_equal(import_main(3, none), 2);
	char *help[] = {"import", "--help", NULL};
	assert_int_equal(import_main(2, help), 0);
	snprintf(path, sizeof path, "/nowhere/at/all.jsonl");
	assert_int_equal(RUN("--batch", "1"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_nothing_lost),
	    cmocka_unit_test(test_bad_line),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_split),
	    cmocka_unit_test(test_patience),
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_mean),
	    cmocka_unit_test(test_mean_rows),
	};
	unsetenv("HALFTONE_API_KEY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
