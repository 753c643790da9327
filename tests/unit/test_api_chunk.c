/*
 * Claims of server/api_chunk.h and of "chunk" in server/api_vector.h:
 * - a chunked text becomes the passages that passages_cut finds, each with the code
 * that it has as a text of its own, whatever points stand around it;
 * - passages without a meaning are left out, and a text of such alone is refused;
 * - a text of too many passages, or too many in a request, is refused, naming the
 * limit;
 * - "chunk" is refused in a query, without a text, and if it is no boolean;
 * - every allocation may fail: ERR_MEMORY, nothing leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "server/api_chunk.h"
#include "server/api_vector.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

struct fixture {
	struct config config;
	struct models *models;
	struct embedding *lines[4]; /* never used: NULL */
	struct api api;
	struct collection *collection;
	struct api_texts texts;
	struct api_chunks chunks;
	struct api_coder coder;
};

static void
open_fixture(struct fixture *f)
{
	const struct collection_settings settings = {.name = "c", .text_model = "text"};
	char dir[400];
	struct error err;

	memset(f, 0, sizeof *f);
	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_text(dir, "text");
	f->config.max_text_bytes = 100;
	f->config.max_body_bytes = 100000;
	f->config.max_passages = 20;
	f->config.max_points_per_request = 30;
	f->models = models_open(dir, &err);
	assert_non_null(f->models);
	f->api = (struct api){
	    .config = &f->config, .models = f->models, .embeddings = f->lines};
	f->collection = collection_new(&settings, f->models, &err);
	if (!f->collection)
		fail_msg("%s", err.text);
	api_texts_init(&f->texts, &f->api);
	assert_int_equal(
	    api_coder_init(&f->coder, &f->api, f->collection, &f->texts, &err), 0);
	f->coder.chunks = &f->chunks;
}

static void
close_fixture(struct fixture *f)
{
	api_coder_free(&f->coder);
	api_chunks_free(&f->chunks);
	api_texts_free(&f->texts);
	collection_release(f->collection);
	models_close(f->models);
}

/* Read a value where a document's vector belongs. */
static int
read_document(struct fixture *f, const char *value, struct error *err)
{
	uint8_t wire[CODE_BYTES_MAX];
	struct api_code code = {.wire = wire};
	struct json root;

	assert_int_equal(json_check(&root, value, strlen(value), err), 0);
	return api_coder_document(&f->coder, &code, &root, err);
}

/* What the model's line does. */
static void
embed(struct fixture *f)
{
	const struct encoder *encoder = f->texts.model->encoder;
	struct error err;
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	size_t dims = encoder_dims(encoder);
	const uint32_t *ids = f->texts.ids;

	f->texts.vectors = array_new(f->texts.n, dims * sizeof(float));
	for (size_t i = 0; i < f->texts.n; i++) {
		f->texts.items[i].ids = ids;
		f->texts.items[i].vector = f->texts.vectors + i * dims;
		ids += f->texts.items[i].n;
	}
	encoder_run(encoder, scratch, f->texts.items, f->texts.n);
	encoder_scratch_free(scratch);
}

/* {"text": n words of three colours, "chunk"}; words first .. first + unknown - 1 are
 * none. */
static const char *
words(size_t n, size_t first, size_t unknown, const char *chunk)
{
	static const char *const colours[] = {"red", "green", "blue"};
	static char value[8000];
	size_t at = (size_t)sprintf(value, "{\"text\":\"");

	for (size_t i = 0; i < n; i++) {
		bool none = i >= first && i < first + unknown;
		at += (size_t)sprintf(
		    value + at, "%s ", none ? "x" : colours[i * i % 7 % 3]);
	}
	sprintf(value + at - 1, "\"%s}", chunk);
	return value;
}

/* Bytes of the text itself. */
static const char *
text_of(const char *value)
{
	return value + strlen("{\"text\":\"");
}

static void
test_codes(void **state)
{
	(void)state;
	struct fixture f, g;
	struct error err;
	struct passage items[20];
	struct passages cut = {.items = items, .cap = 20};
	struct writer_point point = {.n_passages = 0};
	char value[8000], one[8000];

	open_fixture(&f);
	assert_int_equal(read_document(&f, "{\"text\":\"red blue\"}", &err), 1);
	snprintf(value, sizeof value, "%s", words(100, 0, 0, ",\"chunk\":true"));
	assert_int_equal(read_document(&f, value, &err), 1);
	size_t n = (size_t)(strchr(text_of(value), '"') - text_of(value));
	assert_true(n > f.config.max_text_bytes);
	assert_int_equal(passages_cut(f.texts.model->encoder, &cut, ENCODER_DOCUMENT,
			     text_of(value), n, &err),
	    0);
	assert_true(cut.n > 6);
	assert_int_equal(f.chunks.n, cut.n);
	assert_int_equal(f.texts.n, 1 + cut.n);
	assert_int_equal(f.texts.n_truncated, 0);
	embed(&f);
	assert_int_equal(
	    api_chunks_room(
		&f.chunks, code_bytes(collection_settings(f.collection)->shape), &err),
	    0);
	point.n_passages = f.chunks.n;
	assert_int_equal(api_chunks_code(&f.chunks, &point, &f.coder, 1, &err), 0);
	assert_int_equal(point.n_passages, cut.n);
	for (size_t i = 0; i < cut.n; i++) {
		uint8_t wire[CODE_BYTES_MAX];
		struct api_code code = {.wire = wire};
		assert_int_equal(point.passages[i].start, items[i].start);
		assert_int_equal(point.passages[i].end, items[i].end);
		open_fixture(&g);
		snprintf(one, sizeof one, "{\"text\":\"%.*s\"}",
		    (int)(items[i].end - items[i].start),
		    text_of(value) + items[i].start);
		assert_int_equal(read_document(&g, one, &err), 1);
		embed(&g);
		assert_int_equal(api_coder_embedded(&g.coder, &code, 0, &err), 0);
		assert_memory_equal(point.codes[i].wire, wire,
		    code_bytes(collection_settings(g.collection)->shape));
		assert_true(point.codes[i].factor == code.factor);
		assert_true(point.codes[i].norm2 == code.norm2);
		close_fixture(&g);
	}
	close_fixture(&f);
}

/* Two chunked texts: of the first the middle has no meaning, of the second nothing. */
static void
test_without_meaning(void **state)
{
	(void)state;
	struct fixture f;
	struct error err;
	struct writer_point points[2] = {{.n_passages = 0}};

	open_fixture(&f);
	assert_int_equal(
	    read_document(&f, words(100, 20, 40, ",\"chunk\":true"), &err), 1);
	size_t n = points[0].n_passages = f.chunks.n;
	assert_int_equal(
	    read_document(&f, words(40, 0, 40, ",\"chunk\":true"), &err), 1);
	points[1].n_passages = f.chunks.n - n;
	assert_true(points[1].n_passages > 1);
	embed(&f);
	assert_int_equal(
	    api_chunks_room(
		&f.chunks, code_bytes(collection_settings(f.collection)->shape), &err),
	    0);
	assert_int_equal(api_chunks_code(&f.chunks, &points[0], &f.coder, 0, &err), 0);
	assert_true(points[0].n_passages < n && points[0].n_passages >= 5);
	for (size_t i = 1; i < points[0].n_passages; i++) {
		assert_true(
		    points[0].passages[i].start > points[0].passages[i - 1].start);
		assert_true(points[0].codes[i].wire > points[0].codes[i - 1].wire);
		assert_true(points[0].codes[i].factor > 0);
	}
	assert_int_equal(api_chunks_code(&f.chunks, &points[1], &f.coder, n, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "expected a text with a word"));
	close_fixture(&f);
}

static void
test_limits(void **state)
{
	(void)state;
	struct fixture f;
	struct error err;

	open_fixture(&f);
	assert_int_equal(
	    read_document(&f, words(300, 0, 0, ",\"chunk\":true"), &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, "at most 20 passages (max_passages)"));
	assert_int_equal(f.texts.n, 0);
	/* Each is fine alone; together they are too many. */
	assert_int_equal(
	    read_document(&f, words(200, 0, 0, ",\"chunk\":true"), &err), 1);
	assert_int_equal(
	    read_document(&f, words(200, 0, 0, ",\"chunk\":true"), &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, "max_points_per_request"));
	/* Whole texts have their own limit. */
	assert_int_equal(
	    read_document(&f, words(200, 0, 0, ",\"chunk\":false"), &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, "max_text_bytes"));
	assert_non_null(strstr(err.text, "in a point, \"chunk\": true"));
	close_fixture(&f);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *value, *part;
		int as_document;
	} cases[] = {
	    {"{\"text\":\"red\",\"chunk\":true}", "query's text is embedded whole", 1},
	    {"{\"text\":\"red\",\"chunk\":1}", "true or false", -1},
	    {"{\"text\":\"red\",\"chunk\":\"true\"}", "true or false", -1},
	    {"{\"chunk\":true}", "'text'", -1},
	    {"{\"chunk\":true,\"text\":7}", "'text'", -1},
	    {"{\"\":{\"chunk\":true}}", "'text'", -1},
	    {"{\"chunk\":true,\"model\":\"codes\",\"object\":{\"b64\":\"\"}}", "'text'",
		-1},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fixture f;
		struct error err;
		struct json root;
		struct distance_query *query = array_new_aligned(1, sizeof *query);
		open_fixture(&f);
		int rc = read_document(&f, cases[i].value, &err);
		assert_int_equal(rc, cases[i].as_document);
		if (rc < 0)
			assert_non_null(strstr(err.text, cases[i].part));
		f.coder.chunks = NULL; /* as for a query */
		assert_int_equal(
		    json_check(&root, cases[i].value, strlen(cases[i].value), &err), 0);
		assert_int_equal(api_coder_query(&f.coder, query, &root, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		if (!strstr(err.text, cases[i].part))
			fail_msg("%s: %s", cases[i].value, err.text);
		free(query);
		close_fixture(&f);
	}
}

static void
test_allocations(void **state)
{
	(void)state;
	struct error err;
	char value[8000];
	int rc = -1;
	long k = 0;

	snprintf(value, sizeof value, "%s", words(100, 0, 0, ",\"chunk\":true"));
	while (rc < 0) {
		struct fixture f;
		open_fixture(&f);
		array_fail_at(++k);
		rc = read_document(&f, value, &err);
		array_fail_at(0);
		if (rc < 0)
			assert_int_equal(err.code, ERR_MEMORY);
		close_fixture(&f);
	}
	assert_true(k > 4);
	for (rc = -1, k = 0; rc < 0;) {
		struct fixture f;
		open_fixture(&f);
		assert_int_equal(read_document(&f, value, &err), 1);
		array_fail_at(++k);
		rc = api_chunks_room(&f.chunks, 64, &err);
		array_fail_at(0);
		if (rc < 0)
			assert_int_equal(err.code, ERR_MEMORY);
		close_fixture(&f);
	}
	assert_int_equal(k, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_without_meaning),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_allocations),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
