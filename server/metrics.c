#include "server/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* Upper bounds of the classes of a histogram of seconds; one more is unbounded. */
static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
#define N_BOUNDS (sizeof bounds / sizeof *bounds)

/* Statuses that the server sends; the last stands for any other. */
static const int statuses[] = {
    200, 204, 302, 400, 401, 404, 405, 408, 409, 413, 429, 431, 500, 501, 503, 507, 0};
#define N_STATUSES (sizeof statuses / sizeof *statuses)

static const size_t batch_bounds[] = {1, 2, 4, 8, 16, 32, 64};
#define N_BATCHES (sizeof batch_bounds / sizeof *batch_bounds)

static const char *const stage_names[METRICS_STAGES] = {
    "embed", "wait", "scan", "fetch"};

struct histogram {
	atomic_uint_fast64_t classes[N_BOUNDS + 1]; /* each value in one class */
	atomic_uint_fast64_t nanoseconds;
};

struct route {
	size_t series; /* the first route of this name: they are counted together */
	atomic_uint_fast64_t answers[N_STATUSES];
	struct histogram times;
};

struct metrics {
	const char *const *names;
	size_t n_routes; /* routes[n_routes] stands for no route */
	struct histogram stages[METRICS_STAGES];
	atomic_uint_fast64_t batches[N_BATCHES + 1];
	atomic_uint_fast64_t batched;
	atomic_uint_fast64_t truncated;
	atomic_uint_fast64_t unknown;
	atomic_uint_fast64_t passes;
	atomic_uint_fast64_t embedded;
	atomic_uint_fast64_t refused[N_STATUSES];
	struct route routes[];
};

struct metrics *
metrics_new(const char *const *names, size_t n, struct error *err)
{
	struct metrics *metrics =
	    array_new(1, sizeof *metrics + (n + 1) * sizeof metrics->routes[0]);
	if (!metrics) {
		error_set(err, ERR_MEMORY, "no memory for the counts of %zu routes", n);
		return NULL;
	}
	metrics->names = names;
	metrics->n_routes = n;
	metrics->routes[n].series = n;
	for (size_t i = 0; i < n; i++) {
		size_t first = 0;
		while (strcmp(names[first], names[i]) != 0)
			first++;
		metrics->routes[i].series = first;
	}
	return metrics;
}

void
metrics_free(struct metrics *metrics)
{
	free(metrics);
}

static size_t
status_index(int status)
{
	size_t i = 0;
	while (i < N_STATUSES - 1 && statuses[i] != status)
		i++;
	return i;
}

static void
observe(struct histogram *histogram, double seconds)
{
	size_t i = 0;
	while (i < N_BOUNDS && seconds > bounds[i])
		i++;
	atomic_fetch_add_explicit(&histogram->classes[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->nanoseconds,
	    seconds > 0 ? (uint64_t)(seconds * 1e9) : 0, memory_order_relaxed);
}

void
metrics_request(struct metrics *metrics, size_t route, int status, double seconds)
{
	if (route > metrics->n_routes)
		route = metrics->n_routes;
	struct route *r = &metrics->routes[metrics->routes[route].series];
	atomic_fetch_add_explicit(
	    &r->answers[status_index(status)], 1, memory_order_relaxed);
	observe(&r->times, seconds);
}

void
metrics_query(struct metrics *metrics, enum metrics_stage stage, double seconds)
{
	observe(&metrics->stages[stage], seconds);
}

void
metrics_batch(struct metrics *metrics, size_t n)
{
	size_t i = 0;
	while (i < N_BATCHES && n > batch_bounds[i])
		i++;
	atomic_fetch_add_explicit(&metrics->batches[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metrics->batched, n, memory_order_relaxed);
}

void
metrics_refused(struct metrics *metrics, int status)
{
	atomic_fetch_add_explicit(
	    &metrics->refused[status_index(status)], 1, memory_order_relaxed);
}

void
metrics_truncated(struct metrics *metrics, size_t n)
{
	atomic_fetch_add_explicit(&metrics->truncated, n, memory_order_relaxed);
}

void
metrics_unknown(struct metrics *metrics, size_t n)
{
	atomic_fetch_add_explicit(&metrics->unknown, n, memory_order_relaxed);
}

void
metrics_pass(struct metrics *metrics, size_t n)
{
	atomic_fetch_add_explicit(&metrics->passes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metrics->embedded, n, memory_order_relaxed);
}

/* name_bucket, name_sum and name_count with `labels` ("route=\"...\""). */
static void
render_histogram(
    struct text *out, struct histogram *histogram, const char *name, const char *labels)
{
	uint64_t sum = 0;
	for (size_t i = 0; i <= N_BOUNDS; i++) {
		sum +=
		    atomic_load_explicit(&histogram->classes[i], memory_order_relaxed);
		if (i < N_BOUNDS)
			text_printf(out, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name,
			    labels, bounds[i], sum);
		else
			text_printf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n",
			    name, labels, sum);
	}
	uint64_t ns =
	    atomic_load_explicit(&histogram->nanoseconds, memory_order_relaxed);
	text_printf(out, "%s_sum{%s} %.9f\n%s_count{%s} %" PRIu64 "\n", name, labels,
	    (double)ns * 1e-9, name, labels, sum);
}

static void
render_answers(struct metrics *metrics, struct text *out)
{
	text_string(out, "# TYPE halftone_http_requests_total counter\n");
	for (size_t r = 0; r <= metrics->n_routes; r++) {
		const char *name = r < metrics->n_routes ? metrics->names[r] : "none";
		for (size_t s = 0; s < N_STATUSES; s++) {
			uint64_t n = atomic_load_explicit(
			    &metrics->routes[r].answers[s], memory_order_relaxed);
			if (n)
				text_printf(out,
				    "halftone_http_requests_total{route=\"%s\",status="
				    "\"%d\"} %" PRIu64 "\n",
				    name, statuses[s], n);
		}
	}
	text_string(out, "# TYPE halftone_http_refused_total counter\n");
	for (size_t s = 0; s < N_STATUSES; s++) {
		uint64_t n =
		    atomic_load_explicit(&metrics->refused[s], memory_order_relaxed);
		if (n)
			text_printf(out,
			    "halftone_http_refused_total{status=\"%d\"} %" PRIu64 "\n",
			    statuses[s], n);
	}
}

static void
render_batches(struct metrics *metrics, struct text *out)
{
	text_string(out, "# TYPE halftone_batch_queries histogram\n");
	uint64_t sum = 0;
	for (size_t i = 0; i <= N_BATCHES; i++) {
		sum += atomic_load_explicit(&metrics->batches[i], memory_order_relaxed);
		if (i < N_BATCHES)
			text_printf(out,
			    "halftone_batch_queries_bucket{le=\"%zu\"} %" PRIu64 "\n",
			    batch_bounds[i], sum);
		else
			text_printf(out,
			    "halftone_batch_queries_bucket{le=\"+Inf\"} %" PRIu64 "\n",
			    sum);
	}
	text_printf(out,
	    "halftone_batch_queries_sum %" PRIu64
	    "\nhalftone_batch_queries_count %" PRIu64 "\n",
	    atomic_load_explicit(&metrics->batched, memory_order_relaxed), sum);
}

static void
render_counter(struct text *out, const char *name, atomic_uint_fast64_t *count)
{
	text_printf(out, "# TYPE %s counter\n%s %" PRIu64 "\n", name, name,
	    atomic_load_explicit(count, memory_order_relaxed));
}

void
metrics_render(struct metrics *metrics, struct text *out)
{
	render_answers(metrics, out);
	text_string(out, "# TYPE halftone_http_request_seconds histogram\n");
	for (size_t r = 0; r < metrics->n_routes; r++) {
		uint64_t any = 0;
		for (size_t s = 0; s < N_STATUSES; s++)
			any += atomic_load_explicit(
			    &metrics->routes[r].answers[s], memory_order_relaxed);
		char labels[128];
		snprintf(labels, sizeof labels, "route=\"%s\"", metrics->names[r]);
		if (any)
			render_histogram(out, &metrics->routes[r].times,
			    "halftone_http_request_seconds", labels);
	}
	text_string(out, "# TYPE halftone_query_stage_seconds histogram\n");
	for (size_t i = 0; i < METRICS_STAGES; i++) {
		char labels[64];
		snprintf(labels, sizeof labels, "stage=\"%s\"", stage_names[i]);
		render_histogram(
		    out, &metrics->stages[i], "halftone_query_stage_seconds", labels);
	}
	render_batches(metrics, out);
	render_counter(out, "halftone_texts_embedded_total", &metrics->embedded);
	render_counter(out, "halftone_embed_passes_total", &metrics->passes);
	render_counter(out, "halftone_texts_truncated_total", &metrics->truncated);
	render_counter(out, "halftone_texts_unknown_total", &metrics->unknown);
}
