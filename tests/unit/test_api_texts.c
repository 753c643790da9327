/*
 * Claims of server/api_texts.h: texts that are embedded count against max_texts_bytes,
 * with what the request holds beside them, until they are freed; where others leave no
 * room they are refused for now, where they alone are more, for good; whatever fails,
 * and every allocation may, nothing stays counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "server/api_texts.h"
#include "server/http_internal.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

struct fixture {
	struct config config;
	struct models *models;
	struct metrics *metrics;
	struct embedding *lines[1];
	struct api api;
	struct http http; /* its pool alone */
};

struct request {
	struct http_request http;
	struct api_texts texts;
};

static void
open_fixture(struct fixture *f)
{
	static const char *const names[] = {"r"};
	char dir[400];
	struct error err;

	memset(f, 0, sizeof *f);
	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_text(dir, "text");
	f->config.max_texts_bytes = 1 << 20;
	f->models = models_open(dir, &err);
	f->metrics = metrics_new(names, 1, &err);
	f->http.options.pool = pool_new(1, &err);
	assert_true(f->models && f->metrics && f->http.options.pool);
	f->lines[0] = embedding_new(
	    models_at(f->models, 0)->encoder, f->http.options.pool, f->metrics, &err);
	assert_non_null(f->lines[0]);
	f->api = (struct api){
	    .config = &f->config, .models = f->models, .embeddings = f->lines};
}

static void
close_fixture(struct fixture *f)
{
	pool_free(f->http.options.pool);
	embedding_free(f->lines[0]);
	metrics_free(f->metrics);
	models_close(f->models);
}

static void
next(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	(void)worker;
	atomic_store((atomic_bool *)request->state, true);
}

/* Embed three texts and wait for their vectors. */
static int
embed(struct request *request, struct fixture *f, size_t beside, struct error *err)
{
	atomic_bool done = false;

	memset(request, 0, sizeof *request);
	request->http.http = &f->http;
	request->http.state = &done;
	api_texts_init(&request->texts, &f->api);
	if (api_texts_model(&request->texts, "text", err))
		return -1;
	for (int i = 0; i < 3; i++) {
		if (api_texts_put(&request->texts, ENCODER_PLAIN, "red blue", 8, err))
			return -1;
	}
	request->texts.beside = beside;
	if (api_texts_embed(&request->texts, &request->http, next, err))
		return -1;
	while (!atomic_load(&done))
		usleep(50);
	return 0;
}

static void
test_bounded(void **state)
{
	struct request a, b;
	struct fixture f;
	struct error err;
	(void)state;

	open_fixture(&f);
	assert_int_equal(embed(&a, &f, 0, &err), 0);
	const uint64_t one = atomic_load(&f.api.texts_bytes);
	const size_t ids = a.texts.n_ids * sizeof *a.texts.ids;
	assert_true(one >= ids + 3 * (sizeof *a.texts.items +
					 MODELS_TEXT_DIMS * sizeof(float)));
	/* Room for two, but for one byte. */
	f.config.max_texts_bytes = 2 * one;
	assert_int_equal(embed(&b, &f, 1, &err), -1);
	assert_int_equal(err.code, ERR_BUSY);
	assert_non_null(strstr(err.text, "max_texts_bytes"));
	assert_null(b.texts.vectors);
	api_texts_free(&b.texts);
	assert_int_equal(atomic_load(&f.api.texts_bytes), one);
	assert_int_equal(embed(&b, &f, 0, &err), 0);
	assert_int_equal(atomic_load(&f.api.texts_bytes), 2 * one);
	api_texts_free(&a.texts);
	api_texts_free(&b.texts);
	assert_int_equal(atomic_load(&f.api.texts_bytes), 0);
	/* What takes more than all would never have room. */
	assert_int_equal(embed(&a, &f, one + 1, &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.text, "max_texts_bytes"));
	api_texts_free(&a.texts);
	assert_int_equal(atomic_load(&f.api.texts_bytes), 0);
	close_fixture(&f);
}

static void
test_allocations(void **state)
{
	struct request a;
	struct fixture f;
	struct error err;
	int rc = -1;
	long k = 0;
	(void)state;

	open_fixture(&f);
	while (rc < 0) {
		array_fail_at(++k);
		rc = embed(&a, &f, 0, &err);
		array_fail_at(0);
		if (rc < 0)
			assert_int_equal(err.code, ERR_MEMORY);
		api_texts_free(&a.texts);
		assert_int_equal(atomic_load(&f.api.texts_bytes), 0);
	}
	assert_true(k > 4);
	close_fixture(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bounded),
	    cmocka_unit_test(test_allocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
