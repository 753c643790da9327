#ifndef SERVER_WRITER_H
#define SERVER_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/collection.h"
#include "server/db.h"
#include "server/filter.h"
#include "server/point_id.h"
#include "server/registry.h"

struct payload_change; /* server/payload.h */

/*
 * The thread that changes things: group commit.
 *
 * It takes every operation that waits, does them in order in one transaction, commits
 * (the data are on the disk then), publishes the changed stores and collections, and
 * calls every operation's on_done, in order.  While it commits, the next group
 * gathers: a hundred clients cost the same two flushes as one.
 *
 * An operation is done whole or not at all.  One that is wrong (an unknown collection,
 * a name that is taken) fails alone.  When the transaction itself fails (a full disk)
 * and the group had several operations, they are tried again one by one, so that the
 * ones that fit succeed.
 *
 * on_done is called exactly once for an operation that writer_submit took, on the
 * writer's thread: it must be quick and must not wait for the writer; it may submit.
 */
#define WRITER_QUEUE_BYTES_DEFAULT ((size_t)256 << 20)
#define WRITER_QUEUE_OPERATIONS_DEFAULT 65536
#define WRITER_GROUP_BYTES_MAX ((size_t)64 << 20)

enum writer_kind {
	WRITER_UPSERT,  /* points: the last of equal ids wins; an id that is there keeps
			   its slots, as many as it needs, and gets the new codes and
			   payload */
	WRITER_DELETE,  /* ids: those that are not there are fine; with a filter the
			   points among them that match it by now */
	WRITER_CREATE,  /* collection, from collection_new: ERR_EXISTS */
	WRITER_VERSION, /* collection, from collection_next, takes the place of the one
			   that it was made from; versions that it has no more are
			   dropped.  If another change of it came first: ERR_EXISTS, or
			   nothing to do where that was the same change */
	WRITER_DROP,    /* collection: its name is free at once; ERR_NOT_FOUND if it was
			   dropped already */
	WRITER_PAYLOAD, /* ids, and filter, as a deletion's: their payloads change,
			   their codes do not.  All do or, with ERR_TOO_LARGE or
			   ERR_INPUT of what one would become, none */
	WRITER_INDEX,   /* an index of a key of payloads: nothing to do if there is one;
			   ERR_INPUT: one of another type is there, too many */
	WRITER_UNINDEX, /* nothing to do if there is none */
	WRITER_PROGRESSIVE, /* whether plane 0 is kept by itself.  The setting is on the
			       disk at once; it is done when every chunk is so, which
			       takes turns with other work.  ERR_INPUT: codes that
			       cannot; ERR_MEMORY: the setting stands, and with the
			       next such operation or start it goes on */
};

/* A key of payloads. */
struct writer_index {
	const struct path *path;
	enum db_field_type type; /* WRITER_INDEX */
	bool wait;               /* WRITER_INDEX: it is done when every row is in it */
};

struct writer_point {
	struct point_id id;
	const uint8_t *wire; /* code_bytes of the shape of the collection's newest
				version (as the operation's struct collection has it) */
	float factor;        /* finite */
	float norm2;         /* |x|^2, finite; read for COLLECTION_EUCLID alone */
	const char *payload; /* a JSON object, or NULL with payload_len 0 */
	size_t payload_len;

	/* Of a text that was cut into passages, each with a code like the above, which
	 * are not read then. */
	size_t n_passages;                 /* .. DB_PASSAGES_MAX; 0: it was not */
	const struct db_code *codes;       /* (n_passages) */
	const struct db_passage *passages; /* (n_passages) */
};

struct writer_result {
	const struct error *err; /* NULL: it is done and on the disk; valid until
				    on_done returns */
	uint64_t operation;      /* its number, rising; 0 when it failed */
	size_t n_affected;       /* points written or deleted, collections changed */
};

struct writer_operation;
typedef void writer_on_done(
    struct writer_operation *operation, const struct writer_result *result);

/* The caller's memory, with everything it points to, until on_done is called; the
 * caller holds a reference to the collection until then. */
struct writer_operation {
	enum writer_kind kind;
	struct collection *collection;
	const struct writer_point *points;    /* WRITER_UPSERT */
	const struct point_id *ids;           /* WRITER_DELETE, _PAYLOAD */
	const struct filter *filter;          /* the same; NULL = none */
	const struct payload_change *payload; /* WRITER_PAYLOAD */
	size_t payload_bytes_max;             /* of what comes of it */
	struct writer_index index;            /* WRITER_INDEX, _UNINDEX */
	bool progressive;                     /* WRITER_PROGRESSIVE */
	size_t n;                             /* points or ids */
	writer_on_done *on_done;
	void *arg; /* the caller's */

	struct writer_operation *next; /* the writer's, as the rest */
	struct collection *current;    /* collection as it is by now */
	struct collection *made;       /* what takes its place: a reference */
	size_t size_bytes;
	struct writer_result result;
	struct error err;
};

struct writer_options {
	size_t queue_bytes_max;      /* 0 = default */
	size_t queue_operations_max; /* 0 = default */
};

struct writer;

/* Start the thread; it also goes on with deletions of dropped collections, and with
 * indexes, that an earlier process left.  db and registry outlive the writer.
 * ERR_MEMORY, ERR_IO. */
struct writer *writer_start(struct db *db, struct registry *registry,
    const struct writer_options *options, struct error *err);

/* Refuse what comes from now on (ERR_UNAVAILABLE), finish what is queued, end the
 * thread.  NULL is fine. */
void writer_stop(struct writer *writer);

/* Queue an operation.  -1, and on_done is never called: ERR_BUSY (the queue is full:
 * 429, naming the limit), ERR_UNAVAILABLE (stopping, or the disk failed earlier),
 * ERR_INPUT (a point that is not as struct writer_point says).  Any thread. */
int writer_submit(
    struct writer *writer, struct writer_operation *operation, struct error *err);

/* For /metrics.  Any thread. */
struct writer_stats {
	size_t queued_operations;
	size_t queued_bytes;
	uint64_t commits;    /* of groups, done; purges are not counted */
	uint64_t operations; /* done, also those that failed */
	uint64_t failed;
	uint64_t points_written;
	uint64_t points_deleted;
	double commit_s; /* seconds spent in transactions, purges too, all together */
};
struct writer_stats writer_stats(struct writer *writer);

#endif /* SERVER_WRITER_H */
