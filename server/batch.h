#ifndef SERVER_BATCH_H
#define SERVER_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/flat.h"
#include "server/metrics.h"

/*
 * The scan thread: concurrent queries become batches.
 *
 * It takes the search that waits longest and with it every waiting search of the same
 * store, up to batch_max, and answers them in one pass over the newest snapshot
 * (index/flat.h).  While it scans, the next batch gathers.  It is the only thread of
 * the server that opens OpenMP regions.
 *
 * Up to BATCH_PASSES passes, of different stores, are under way at once and have turns
 * of some milliseconds, so that a search of few rows waits for turns and not for the
 * scan of a large store.  A pass that is alone is cut short only by a search of another
 * store.
 *
 * A search whose client has left is not begun, and a pass ends of which that is true of
 * all.
 */
#define BATCH_PASSES 4
#define BATCH_WAITING_DEFAULT 4096

struct batch_search;
typedef void batch_on_done(struct batch_search *search);

/* The caller's memory, with what it points to, until on_done is called; the caller
 * keeps the store alive until then. */
struct batch_search {
	struct store *store;
	struct flat_search flat; /* query, k, hits: filled by the caller; n: out */
	uint32_t newest;         /* number of the store's last part when flat.query was
				    made for all of them */
	const atomic_bool *given_up; /* true: nobody waits for it; may be NULL */
	batch_on_done *on_done; /* on the scan thread, exactly once; must be quick */
	void *arg;              /* the caller's */

	/* Out.  The snapshot that was searched: the caller releases it when it has
	 * read what the hits' slots hold (until then no slot is reused).  NULL of an
	 * outdated search and of one given up. */
	struct store_snapshot *snapshot;
	struct error err; /* code ERR_NONE: the hits are there; ERR_UNAVAILABLE: it was
			     given up */
	bool outdated;    /* nothing was searched: the store has other parts by now */
	double wait_s;    /* for the pass, and in it for turns of others */
	double scan_s;

	struct batch_search *next; /* the batch's, as the rest */
	uint64_t submitted_ns;
};

struct batch_options {
	const struct distance_kernel *kernel;
	size_t threads;          /* of OpenMP */
	size_t batch_max;        /* searches of one pass */
	size_t waiting_max;      /* searches that may wait; 0 = default */
	struct metrics *metrics; /* NULL: nothing is counted */
};

struct batch;

/* Start the thread.  NULL: ERR_MEMORY, ERR_IO. */
struct batch *batch_start(const struct batch_options *options, struct error *err);

/* Answer what waits, then end the thread.  Nothing is submitted any more.  NULL is
 * fine. */
void batch_stop(struct batch *batch);

/* Queue a search.  ERR_BUSY, and on_done is never called: as many wait as may.  Any
 * thread. */
int batch_submit(struct batch *batch, struct batch_search *search, struct error *err);

/* For /metrics.  Any thread. */
struct batch_stats {
	size_t waiting;    /* searches, now */
	size_t passes;     /* under way, now */
	uint64_t refused;  /* ERR_BUSY */
	uint64_t given_up; /* not begun, or not finished */
};
struct batch_stats batch_stats(struct batch *batch);

#endif /* SERVER_BATCH_H */
