/*
 * Claims: lines come out whole whatever their length and ending, from pieces of any
 * size; BEIR's files give the texts, ids and judgements that are in them; what is
 * missing, doubled or no number is refused with file and line; failing allocations are
 * errors without a leak; JSON strings and path segments are escaped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"
#include "client/beir.h"
#include "client/lines.h"
#include "tests/support/guard.h"

static const char *
write_file(const char *name, const char *bytes, size_t n)
{
	static char paths[4][4096];
	static size_t next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
	return path;
}

static const char *
write_text(const char *name, const char *text)
{
	return write_file(name, text, strlen(text));
}

static void
expect_lines(const char *bytes, size_t n, const char *const *want, size_t n_want)
{
	char *text;
	size_t len;
	struct error err;
	struct lines *lines = lines_open(write_file("lines", bytes, n), &err);
	assert_non_null(lines);
	for (size_t i = 0; i < n_want; i++) {
		assert_int_equal(lines_next(lines, &text, &len, &err), 1);
		assert_int_equal(len, strlen(want[i]));
		assert_string_equal(text, want[i]);
		assert_int_equal(lines_number(lines), i + 1);
	}
	assert_int_equal(lines_next(lines, &text, &len, &err), 0);
	assert_int_equal(lines_next(lines, &text, &len, &err), 0);
	assert_int_equal(lines_read_bytes(lines), n);
	lines_close(lines);
}

static void
test_lines(void **state)
{
	(void)state;
	expect_lines("", 0, NULL, 0);
	expect_lines("a\nb", 3, (const char *const[]){"a", "b"}, 2);
	expect_lines("a\r\n\nb\r\n", 7, (const char *const[]){"a", "", "b"}, 3);
	expect_lines("\n", 1, (const char *const[]){""}, 1);
	expect_lines("\xEF\xBB\xBF"
		     "a\n",
	    5, (const char *const[]){"a"}, 1);
	expect_lines("\r", 1, (const char *const[]){""}, 1);
	struct error err;
	assert_null(lines_open("/nowhere/at/all", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	lines_close(NULL);
}

static void
test_long_lines(void **state)
{
	(void)state;
	/* Lengths around the buffer's and around its doubles, in one file. */
	static const size_t lengths[] = {
	    0, 1, 65535, 65536, 65537, 10, 131071, 200000, 3, 524288, 1};
	size_t n_lines = sizeof lengths / sizeof lengths[0], n = 0;
	char *all = malloc(1200000), *text;
	struct error err;
	size_t len;
	assert_non_null(all);
	for (size_t i = 0; i < n_lines; i++) {
		memset(all + n, 'a' + (int)i, lengths[i]);
		n += lengths[i];
		all[n++] = '\n';
	}
	struct lines *lines = lines_open(write_file("long", all, n), &err);
	assert_non_null(lines);
	size_t at = 0;
	for (size_t i = 0; i < n_lines; i++) {
		assert_int_equal(lines_next(lines, &text, &len, &err), 1);
		assert_int_equal(len, lengths[i]);
		assert_memory_equal(text, all + at, len);
		at += len + 1;
		assert_int_equal(lines_read_bytes(lines), at);
	}
	assert_int_equal(lines_next(lines, &text, &len, &err), 0);
	lines_close(lines);
	free(all);
	/* One byte more than may be. */
	n = LINES_BYTES_MAX + 1;
	all = malloc(n);
	assert_non_null(all);
	memset(all, 'x', n);
	lines = lines_open(write_file("huge", all, n), &err);
	assert_int_equal(lines_next(lines, &text, &len, &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, ":1:"));
	lines_close(lines);
	free(all);
}

static void
test_texts(void **state)
{
	(void)state;
	struct beir_texts texts;
	struct error err;
	const char *path = write_text("corpus",
	    "{\"_id\":\"b\",\"title\":\"T\",\"text\":\"x \\u00e9\"}\n\n"
	    "{\"id\":\"a\",\"text\":\"only\",\"metadata\":{}}\n"
	    "{\"id\":17,\"title\":\"only title\",\"text\":\"\"}\n"
	    "{\"id\":\"c\"}\n");
	assert_int_equal(beir_texts_load(&texts, path, &err), 0);
	assert_int_equal(texts.n, 4);
	static const char *const want[] = {"T x \xC3\xA9", "only", "only title", ""};
	static const char *const ids[] = {"b", "a", "17", "c"};
	for (uint32_t i = 0; i < 4; i++) {
		assert_string_equal(texts.items[i].text, want[i]);
		assert_int_equal(texts.items[i].len, strlen(want[i]));
		assert_string_equal(texts.items[i].id, ids[i]);
		assert_int_equal(beir_find(&texts, ids[i]), i);
	}
	assert_int_equal(beir_find(&texts, "d"), TREC_NOWHERE);
	assert_int_equal(beir_find(&texts, ""), TREC_NOWHERE);
	beir_texts_free(&texts);

	static const struct {
		const char *text, *part;
	} bad[] = {
	    {"", "found none"},
	    {"{\"id\":\"a\"}\n{\"id\":\"a\"}\n", "\"a\" comes twice"},
	    {"{\"id\":\"a\"}\n{\"title\":\"t\"}\n", ":2: expected \"id\""},
	    {"{\"id\":\"a\",\"text\":[]}\n", ":1: expected \"text\""},
	    {"[]\n", ":1: expected an object"},
	    {"{\"id\":\"a\"\n", ":1: "},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		path = write_text("bad", bad[i].text);
		assert_int_equal(beir_texts_load(&texts, path, &err), -1);
		assert_int_equal(texts.n, 0);
		if (strstr(err.text, bad[i].part) == NULL)
			fail_msg("expected \"%s\" in: %s", bad[i].part, err.text);
	}
}

static void
load_pair(struct beir_texts *corpus, struct beir_texts *queries)
{
	struct error err;
	const char *path =
	    write_text("c", "{\"id\":\"d2\"}\n{\"id\":\"d1\"}\n{\"id\":\"d3\"}\n");
	assert_int_equal(beir_texts_load(corpus, path, &err), 0);
	path = write_text("q", "{\"id\":\"q1\"}\n{\"id\":\"q2\"}\n{\"id\":\"q3\"}\n");
	assert_int_equal(beir_texts_load(queries, path, &err), 0);
}

static void
test_qrels(void **state)
{
	(void)state;
	static const char *const good[] = {
	    ("query-id\tcorpus-id\tscore\nq3\td1\t2\nq1\td3\t0\nq3\td2\t-1\nq3\tzz\t1\n"
	     "qq\td1\t1\n"),
	    "q3\t0\td1\t2\nq1\t0\td3\t0\nq3\t0\td2\t-1\nq3\t0\tzz\t1\nqq\t0\td1\t1\n",
	    "q3 d1 2\nq1 d3 0\n\nq3 d2 -1\nq3 zz 1\nqq d1 1",
	};
	struct beir_texts corpus, queries;
	struct beir_qrels qrels;
	struct error err;
	load_pair(&corpus, &queries);
	for (size_t i = 0; i < 3; i++) {
		const char *path = write_text("qrels", good[i]);
		if (beir_qrels_load(&qrels, path, &corpus, &queries, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(qrels.n, 4);
		assert_int_equal(qrels.n_queries, 2);
		assert_int_equal(qrels.n_unknown_docs, 1);
		assert_int_equal(qrels.n_unknown_queries, 1);
		assert_int_equal(qrels.queries[0].query, 0);
		assert_int_equal(qrels.queries[0].n, 1);
		assert_int_equal(qrels.queries[1].query, 2);
		assert_int_equal(qrels.queries[1].first, 1);
		assert_int_equal(qrels.queries[1].n, 3);
		static const struct trec_judgement want[] = {
		    {2, 0}, {0, -1}, {1, 2}, {TREC_NOWHERE, 1}};
		assert_memory_equal(qrels.list, want, sizeof want);
		beir_qrels_free(&qrels);
	}
	static const struct {
		const char *text, *part;
	} bad[] = {
	    {"", "found none"},
	    {"query-id\tcorpus-id\tscore\n", "found none"},
	    {"zz\td1\t1\n", "found none"},
	    {"q1\td1\t1\nq1\td2\tx\n", ":2: expected"},
	    {"q1\td1\t1\nq1\td2\n", ":2: expected"},
	    {"q1\td1\t1\nq1\td2\t99999999999\n", ":2: expected"},
	    {"q1\td1\t1\nq1\td2\t1\nq1\td1\t0\n", ":3: expected a document"},
	    {"a\tb\tc\td\te\n", ":1: expected"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const char *path = write_text("bad", bad[i].text);
		assert_int_equal(
		    beir_qrels_load(&qrels, path, &corpus, &queries, &err), -1);
		assert_null(qrels.list);
		if (strstr(err.text, bad[i].part) == NULL)
			fail_msg("expected \"%s\" in: %s", bad[i].part, err.text);
	}
	beir_texts_free(&corpus);
	beir_texts_free(&queries);
}

static void
test_memory(void **state)
{
	(void)state;
	struct beir_texts corpus, queries;
	struct beir_qrels qrels;
	struct error err;
	load_pair(&corpus, &queries);
	const char *path = write_text("qrels", "q3\td1\t2\nq1\td3\t0\n");
	int rc = -1;
	long k = 1;
	for (; rc == -1; k++) {
		array_fail_at(k);
		rc = beir_qrels_load(&qrels, path, &corpus, &queries, &err);
		array_fail_at(0);
		if (rc == -1)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 5);
	beir_qrels_free(&qrels);
	beir_texts_free(&corpus);
	beir_texts_free(&queries);
	path = write_text("c", "{\"id\":\"d2\",\"title\":\"a\",\"text\":\"b\"}\n");
	for (rc = -1, k = 1; rc == -1; k++) {
		array_fail_at(k);
		rc = beir_texts_load(&corpus, path, &err);
		array_fail_at(0);
		if (rc == -1)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 7);
	beir_texts_free(&corpus);
}

static void
test_body(void **state)
{
	(void)state;
	struct text body = {NULL, 0, 0, false};
	struct rng rng;
	rng_init(&rng, test_seed(), 9);
	/* A JSON string reads back as what went in. */
	for (int round = 0; round < 200; round++) {
		char text[64], back[512];
		size_t n = rng_below(&rng, sizeof text);
		for (size_t i = 0; i < n; i++)
			text[i] = (char)(1 + rng_below(&rng, 127));
		text_clear(&body);
		text_json(&body, text, n);
		assert_false(body.failed);
		struct json value;
		struct error err;
		if (json_check(&value, body.bytes, body.n, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(json_string(back, sizeof back, &value), n);
		assert_memory_equal(back, text, n);
	}
	text_clear(&body);
	text_segment(&body, "a/b c\xC3\xA9%._~-Z9");
	assert_string_equal(body.bytes, "a%2Fb%20c%C3%A9%25._~-Z9");
	text_clear(&body);
	text_base64(&body, (const uint8_t *)"hello", 5);
	text_printf(&body, "%d%s", 12, "x");
	assert_string_equal(body.bytes, "aGVsbG8=12x");
	/* Out of memory is remembered until the body is cleared. */
	char big[10000];
	memset(big, 'b', sizeof big);
	array_fail_at(1);
	text_bytes(&body, big, sizeof big);
	array_fail_at(0);
	assert_true(body.failed);
	text_string(&body, "more");
	assert_int_equal(body.n, 11);
	text_clear(&body);
	assert_false(body.failed);
	text_free(&body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_long_lines),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_qrels),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_body),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
