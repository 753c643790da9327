#ifndef SERVER_API_FILTER_H
#define SERVER_API_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api.h"
#include "server/filter.h"

/*
 * The filter of a request, and the rows of a collection that match it.
 *
 * A snapshot is acquired first, then the reading transaction begins in which the filter
 * is answered; the snapshot is held as long as the rows, so that a slot is the same
 * point in every newer snapshot.  Who reads points later than that asks
 * api_filter_holds of each.
 *
 * Indexes are asked and payloads are read in steps.  Between them, and before the
 * first, the worker serves others, and a request for whose answer nobody waits any
 * more, or that has taken too long, ends there: its transaction keeps the store from
 * using pages again that are freed meanwhile.
 *
 * Part of a request's state, owner only.  Start from {0}.
 */
struct api_filter {
	struct filter *filter; /* NULL: none was asked for */
	struct json json;      /* as it came */
	struct row_set *rows;  /* that match; NULL until they are found, and without a
				  filter */
	struct store_snapshot *snapshot; /* of these rows */
	struct filter_cost cost;
	struct error err; /* of api_filter_find */
	double find_s;    /* what that took */
	double limit_s;   /* from the beginning of the request on */

	/* The rest is its own. */
	uint64_t operation;   /* the last one that the transaction has seen */
	struct row_set *live; /* of the snapshot, while the rows are looked for */
	struct db_txn *txn;
	struct filter_walk *walk;
	const struct collection *collection;
	struct http_request *request;
	void (*next)(struct pool_task *task, unsigned worker);
	struct pool_task task;
	uint64_t start_ns;
};

/* Read `filter` of a request for a collection, if it is there, and how long it may
 * take: filter_timeout_s, or the request's `timeout` if that is less.  As filter_new;
 * the error names the filter, or the timeout. */
int api_filter_read(struct api_filter *filter, const struct json *root,
    const struct http_request *request, const struct collection *collection,
    struct error *err);
void api_filter_free(struct api_filter *filter);

/* Find the rows, then go on with the request in `next`, on a worker, perhaps before
 * this returns where there is no filter; it looks at filter->err.  Without a filter
 * nothing is to be found. */
void api_filter_find(struct api_filter *filter, const struct collection *collection,
    struct http_request *request,
    void (*next)(struct pool_task *task, unsigned worker));

/* Before the transaction for api_filter_narrow begins: acquire the snapshot. */
void api_filter_hold(struct api_filter *filter, const struct collection *collection);

/* A step towards rows := what indexes leave, a superset of those that match in the
 * transaction: 1 = go on with the same, 0 = they are found, or there is no filter; -1
 * as filter_walk_new. */
int api_filter_narrow(struct api_filter *filter, const struct collection *collection,
    struct db_txn *txn, struct error *err);

/* 0 while somebody waits for what the filter is for and it has not taken too long; else
 * ERR_UNAVAILABLE, or ERR_TIMEOUT with the keys that payloads are read for. */
int api_filter_in_time(const struct api_filter *filter,
    const struct http_request *request, struct error *err);

/* Whether a point that was among the rows still matches, as this transaction sees the
 * record of one of its rows: 1, 0, -1.  Without a filter every point does. */
int api_filter_holds(const struct api_filter *filter, struct db_txn *txn,
    uint32_t collection, const struct db_record *record, struct error *err);

/* What the filters of a request have cost.  Start from {0}. */
struct api_filter_notes {
	char
	    *keys[FILTER_KEYS_MAX]; /* without an index, as many as there is room for */
	size_t n_keys;
	size_t n_payloads; /* that were read for them */
};
/* Add a filter's.  ERR_MEMORY. */
int api_filter_note(
    struct api_filter_notes *notes, const struct api_filter *filter, struct error *err);
/* Append `,"filter":{...}` for an answer's top level where payloads had to be read. */
void api_filter_notes_print(struct text *out, const struct api_filter_notes *notes);
void api_filter_notes_free(struct api_filter_notes *notes);

#endif /* SERVER_API_FILTER_H */
