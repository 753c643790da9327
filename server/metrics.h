#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/*
 * Counts of what the server does, in Prometheus' text form.
 *
 * Counting is atomic additions: any thread, at any time.  A struct metrics lives as
 * long as the server.
 */
struct metrics;

/* Stages of a query whose times are kept. */
enum metrics_stage {
	METRICS_EMBED, /* text to vector, vector to query */
	METRICS_WAIT,  /* for the scan thread */
	METRICS_SCAN,
	METRICS_FETCH, /* ids and payloads of the hits */
	METRICS_STAGES,
};

/* names[0 .. n-1] are the routes as labels; borrowed for the life of the struct.
 * Routes of one name share one series.  NULL: ERR_MEMORY. */
struct metrics *metrics_new(const char *const *names, size_t n, struct error *err);
void metrics_free(struct metrics *metrics);

/* A request of route `route` (n or more: no route) was answered. */
void metrics_request(struct metrics *metrics, size_t route, int status, double seconds);

void metrics_query(struct metrics *metrics, enum metrics_stage stage, double seconds);

/* One scan served `n` queries. */
void metrics_batch(struct metrics *metrics, size_t n);

/* A connection or request was refused before it had a route. */
void metrics_refused(struct metrics *metrics, int status);

/* One pass of a text model embedded n texts. */
void metrics_pass(struct metrics *metrics, size_t n);

/* n texts consisted of unknown pieces for a good part (api_texts.h). */
void metrics_unknown(struct metrics *metrics, size_t n);

/* n texts had more tokens than their model takes: the rest did not count. */
void metrics_truncated(struct metrics *metrics, size_t n);

/* Append every series that has counted something. */
void metrics_render(struct metrics *metrics, struct text *out);

#endif /* SERVER_METRICS_H */
