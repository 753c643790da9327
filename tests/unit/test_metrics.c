/*
 * Claim: what was counted, from several threads, is what Prometheus reads: every line
 * is a comment or "name{labels} number", no series stands there twice, classes of a
 * histogram rise to its count.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/metrics.h"

static const char *const names[] = {"/a", "PUT /b/{c}"};

static void *
count(void *arg)
{
	struct metrics *metrics = arg;
	for (int i = 0; i < 1000; i++) {
		metrics_request(metrics, 0, 200, 0.0002);
		metrics_request(metrics, 1, i % 2 ? 404 : 599, 100);
		metrics_request(metrics, 2, 404, 0);
		metrics_query(metrics, METRICS_SCAN, 0.003);
		metrics_batch(metrics, 3);
		metrics_batch(metrics, 65);
		metrics_refused(metrics, 413);
	}
	return NULL;
}

static void
expect(const char *text, const char *line)
{
	const char *at = strstr(text, line);
	if (!at || at[strlen(line)] != '\n')
		print_error("missing: %s\n", line);
	assert_true(at && at[strlen(line)] == '\n' && (at == text || at[-1] == '\n'));
}

static void
test_counts(void **state)
{
	struct error err;
	struct metrics *metrics = metrics_new(names, 2, &err);
	struct text out = {0};
	pthread_t threads[4];
	(void)state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, metrics), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	metrics_render(metrics, &out);
	assert_false(out.failed);
	expect(out.bytes,
	    "halftone_http_requests_total{route=\"/a\",status=\"200\"} 4000");
	expect(out.bytes,
	    "halftone_http_requests_total{route=\"PUT /b/{c}\",status=\"404\"} 2000");
	expect(out.bytes,
	    "halftone_http_requests_total{route=\"PUT /b/{c}\",status=\"0\"} 2000");
	expect(out.bytes,
	    "halftone_http_requests_total{route=\"none\",status=\"404\"} 4000");
	expect(out.bytes, "halftone_http_refused_total{status=\"413\"} 4000");
	expect(out.bytes,
	    "halftone_http_request_seconds_bucket{route=\"/a\",le=\"0.0001\"} 0");
	expect(out.bytes,
	    "halftone_http_request_seconds_bucket{route=\"/a\",le=\"0.00025\"} 4000");
	expect(out.bytes,
	    "halftone_http_request_seconds_bucket{route=\"PUT /b/{c}\",le=\"10\"} 0");
	expect(out.bytes, "halftone_http_request_seconds_bucket{route=\"PUT "
			  "/b/{c}\",le=\"+Inf\"} 4000");
	expect(out.bytes, "halftone_query_stage_seconds_count{stage=\"scan\"} 4000");
	expect(out.bytes, "halftone_batch_queries_bucket{le=\"2\"} 0");
	expect(out.bytes, "halftone_batch_queries_bucket{le=\"4\"} 4000");
	expect(out.bytes, "halftone_batch_queries_bucket{le=\"+Inf\"} 8000");
	expect(out.bytes, "halftone_batch_queries_sum 272000");
	text_free(&out);
	metrics_free(metrics);
}

static void
test_form(void **state)
{
	struct error err;
	struct metrics *metrics = metrics_new(names, 2, &err);
	struct text out = {0};
	size_t n = 0;
	(void)state;

	count(metrics);
	metrics_render(metrics, &out);
	for (char *line = strtok(out.bytes, "\n"); line;
	     line = strtok(NULL, "\n"), n++) {
		char *value = strrchr(line, ' '), *end;
		if (line[0] == '#')
			continue;
		assert_int_equal(strncmp(line, "halftone_", 9), 0);
		assert_non_null(value);
		strtod(value + 1, &end);
		assert_int_equal(*end, '\0');
	}
	assert_true(n > 50);
	text_free(&out);
	metrics_free(metrics);
}

/* Two routes of one name are one series, not two that Prometheus would refuse. */
static void
test_one_name(void **state)
{
	static const char *const twice[] = {"/a", "indexes", "/b", "indexes"};
	struct error err;
	struct metrics *metrics = metrics_new(twice, 4, &err);
	struct text out = {0};
	(void)state;

	for (size_t i = 0; i < 4; i++)
		metrics_request(metrics, i, 501, 0.0002);
	metrics_render(metrics, &out);
	expect(out.bytes,
	    "halftone_http_requests_total{route=\"indexes\",status=\"501\"} 2");
	expect(out.bytes, "halftone_http_request_seconds_count{route=\"indexes\"} 2");
	expect(
	    out.bytes, "halftone_http_requests_total{route=\"/b\",status=\"501\"} 1");
	const char *first = strstr(out.bytes, "_total{route=\"indexes\"");
	assert_null(strstr(first + 1, "_total{route=\"indexes\""));
	text_free(&out);
	metrics_free(metrics);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_form),
	    cmocka_unit_test(test_one_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
