#include "server/writer.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/payload.h"
#include "server/writer_internal.h"

#define TICK_S 5           /* readers that died, deletions that failed */
#define PURGE_ROWS 4096    /* of dropped collections in one transaction */
#define STEP_CHUNKS 64     /* whose plane 0 is built or left at once */
#define OVERHEAD_BYTES 128 /* of a point or id, beside code and payload */

struct queue {
	struct writer_operation *first, **end;
};

struct writer {
	struct db *db;
	struct registry *registry;
	size_t bytes_max, operations_max;
	pthread_t thread;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct queue queue;
	bool stopping;
	struct writer_stats stats; /* queued_*: until on_done */

	/* The thread's own. */
	bool purging; /* dropped collections may have rows left */
	bool filling; /* indexes may lack rows */
	struct writer_fill fill;
	struct queue waiting;  /* operations that are done when their index is full */
	struct queue building; /* those that are done when plane 0 is as wanted */
};

static void
queue_clear(struct queue *queue)
{
	queue->first = NULL;
	queue->end = &queue->first;
}

static void
queue_add(struct queue *queue, struct writer_operation *operation)
{
	operation->next = NULL;
	*queue->end = operation;
	queue->end = &operation->next;
}

/* The first of a queue that has one. */
static struct writer_operation *
queue_take(struct queue *queue)
{
	struct writer_operation *operation = queue->first;

	queue->first = operation->next;
	if (!queue->first)
		queue_clear(queue);
	return operation;
}

/* ---- a group ---- */

/* Room in the registry for every collection that the group makes: they are added after
 * the commit, when nothing may fail any more. */
static int
reserve(struct writer *writer, const struct writer_operation *first, struct error *err)
{
	size_t n = 0;

	for (const struct writer_operation *op = first; op; op = op->next)
		n += op->kind == WRITER_CREATE;
	return n ? registry_reserve(writer->registry, n, err) : 0;
}

static int
do_all(struct writer *writer, struct writer_operation *first, struct db_txn *txn,
    struct error *err)
{
	uint64_t number;

	if (reserve(writer, first, err) != 0 || db_operation(txn, &number, err) != 0)
		return -1;
	for (struct writer_operation *op = first; op; op = op->next) {
		op->result = (struct writer_result){.operation = number + 1};
		if (writer_do(op, writer->registry, txn, err) != 0)
			return -1;
		if (op->result.err)
			op->result.operation = 0;
		else
			number++;
	}
	return db_set_operation(txn, number, err);
}

/* The disk has it: now everybody may see it. */
static void
publish(struct writer *writer, struct writer_operation *op)
{
	switch (op->kind) {
	case WRITER_UPSERT:
	case WRITER_DELETE:
		store_publish(collection_store(op->collection));
		break;
	case WRITER_CREATE:
		registry_add(writer->registry, op->collection);
		break;
	case WRITER_VERSION:
		store_publish(collection_store(op->collection));
		if (op->result.n_affected > 0)
			registry_replace(writer->registry, op->collection);
		break;
	case WRITER_DROP:
		registry_remove(writer->registry, op->collection);
		writer->purging = true;
		break;
	case WRITER_PAYLOAD:
		break;
	case WRITER_PROGRESSIVE:
		store_publish(collection_store(op->collection));
		if (op->made)
			registry_replace(writer->registry, op->made);
		break;
	case WRITER_INDEX:
	case WRITER_UNINDEX:
		if (op->made)
			registry_replace(writer->registry, op->made);
		writer->filling = true;
		writer->purging = true;
		break;
	}
}

static void
count_commit(struct writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->stats.commits++;
	pthread_mutex_unlock(&writer->lock);
}

static int
commit_group(struct writer *writer, struct writer_operation *first, struct error *err)
{
	struct db_txn *txn = db_begin_write(writer->db, err);

	if (!txn)
		return -1;
	int result = do_all(writer, first, txn, err);
	if (result == 0)
		result = db_commit(txn, err);
	else
		db_end(txn);
	if (result == 0)
		count_commit(writer);
	for (struct writer_operation *op = first; op; op = op->next) {
		if (result != 0)
			store_rollback(collection_store(op->collection));
		else if (!op->result.err)
			publish(writer, op);
		collection_release(op->made);
		op->made = NULL;
	}
	return result;
}

static void
count(struct writer_stats *stats, const struct writer_operation *op)
{
	stats->queued_operations--;
	stats->queued_bytes -= op->size_bytes;
	stats->operations++;
	if (op->result.err)
		stats->failed++;
	else if (op->kind == WRITER_UPSERT)
		stats->points_written += op->result.n_affected;
	else if (op->kind == WRITER_DELETE)
		stats->points_deleted += op->result.n_affected;
}

static void
finish(struct writer *writer, struct writer_operation *op)
{
	struct writer_result result = op->result;

	pthread_mutex_lock(&writer->lock);
	count(&writer->stats, op);
	pthread_mutex_unlock(&writer->lock);
	op->on_done(op, &result); /* the caller's memory: may be gone now */
}

/* Whether it is to wait for an index that still lacks rows.  A failure is one of the
 * index, which goes on. */
static bool
is_waiting(struct writer *writer, const struct writer_operation *op)
{
	struct error err;
	bool full = true;

	if (op->kind != WRITER_INDEX || !op->index.wait || op->result.err)
		return false;
	if (writer_index_is_full(&full, op, writer->registry, writer->db, &err) != 0)
		log_event(LOG_WARN, "index_failed", "error=\"%s\"", err.text);
	return !full;
}

/* Its transaction is committed: finish it, or let it wait. */
static void
settle(struct writer *writer, struct writer_operation *op)
{
	if (op->kind == WRITER_PROGRESSIVE && !op->result.err)
		queue_add(&writer->building, op);
	else if (is_waiting(writer, op))
		queue_add(&writer->waiting, op);
	else
		finish(writer, op);
}

/* Finish those that have waited enough. */
static void
look_after_waiting(struct writer *writer)
{
	struct queue waiting = writer->waiting;

	queue_clear(&writer->waiting);
	for (struct writer_operation *op = waiting.first, *next; op; op = next) {
		next = op->next;
		settle(writer, op);
	}
}

static void
run_group(struct writer *writer, struct writer_operation *first)
{
	struct error err;

	if (commit_group(writer, first, &err) == 0) {
		for (struct writer_operation *op = first, *next; op; op = next) {
			next = op->next;
			settle(writer, op);
		}
		return;
	}
	bool alone = !first->next;
	for (struct writer_operation *op = first, *next; op; op = next) {
		next = op->next;
		op->next = NULL;
		if (alone || commit_group(writer, op, &err) != 0) {
			op->err = err;
			op->result = (struct writer_result){.err = &op->err};
			log_event(LOG_WARN, "write_failed", "error=\"%s\"", err.text);
		}
		finish(writer, op);
	}
}

/* ---- the thread ---- */

/* Delete some rows of dropped collections.  A failure is tried again at the next
 * tick. */
static void
purge(struct writer *writer)
{
	struct error err;
	bool more = false;
	struct db_txn *txn = db_begin_write(writer->db, &err);

	writer->purging = false;
	if (!txn)
		return;
	if (db_purge(txn, PURGE_ROWS, &more, &err) != 0) {
		db_end(txn);
		log_event(LOG_WARN, "purge_failed", "error=\"%s\"", err.text);
		return;
	}
	if (db_commit(txn, &err) != 0)
		log_event(LOG_WARN, "purge_failed", "error=\"%s\"", err.text);
	else
		writer->purging = more;
}

/* Enter some rows into an index that lacks them.  A failure is tried again at the next
 * tick. */
static void
fill(struct writer *writer)
{
	struct error err;

	if (writer_fill(&writer->fill, &writer->filling, writer->registry, writer->db,
		&err) != 0) {
		log_event(LOG_WARN, "index_failed", "error=\"%s\"", err.text);
		writer->filling = false;
	}
	if (!writer->fill.collection)
		look_after_waiting(writer);
}

/* Bring some chunks nearer to what the first operation of those that build wants. */
static void
build(struct writer *writer)
{
	struct writer_operation *op = writer->building.first;
	struct store *store = collection_store(op->collection);
	bool done;

	if (store_step_plane0(&done, store, STEP_CHUNKS, &op->err) != 0) {
		op->result.err = &op->err;
		done = true;
	}
	store_publish(store);
	if (done)
		finish(writer, queue_take(&writer->building));
}

/* The operations that wait, up to the size of a group, or to one after which the
 * registry is to say which versions, indexes or settings a collection has. */
static struct writer_operation *
take_group(struct queue *queue)
{
	struct queue group;
	size_t bytes = 0;
	bool last = false;

	queue_clear(&group);
	while (queue->first && !last) {
		struct writer_operation *op = queue->first;
		bytes += op->size_bytes;
		if (group.first && bytes > WRITER_GROUP_BYTES_MAX)
			break;
		last = op->kind == WRITER_VERSION || op->kind == WRITER_INDEX ||
		       op->kind == WRITER_UNINDEX || op->kind == WRITER_PROGRESSIVE;
		queue_add(&group, queue_take(queue));
	}
	return group.first;
}

static void
do_work(struct writer *writer, struct writer_operation *group)
{
	uint64_t start = clock_ns();

	if (group)
		run_group(writer, group);
	if (writer->purging)
		purge(writer);
	if (writer->filling)
		fill(writer);
	if (writer->building.first)
		build(writer);
	pthread_mutex_lock(&writer->lock);
	writer->stats.commit_s += clock_since(start);
	pthread_mutex_unlock(&writer->lock);
}

static void
tick(struct writer *writer)
{
	int dead = db_check_readers(writer->db);

	if (dead > 0)
		log_event(LOG_WARN, "readers_died", "n=%d", dead);
	writer->purging = true;
	writer->filling = true;
}

/* Who waits when the writer ends. */
static void
refuse_waiting(struct writer *writer, struct queue *queue, const char *why)
{
	while (queue->first) {
		struct writer_operation *op = queue_take(queue);
		error_set(&op->err, ERR_UNAVAILABLE, "the server is stopping: %s", why);
		op->result.err = &op->err;
		finish(writer, op);
	}
}

static void *
run(void *arg)
{
	struct writer *writer = arg;
	uint64_t ticked = clock_ns();

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		if (clock_since(ticked) >= TICK_S) {
			tick(writer);
			ticked = clock_ns();
		}
		struct writer_operation *group = take_group(&writer->queue);
		if (!group && writer->stopping)
			break;
		if (group || writer->purging || writer->filling ||
		    writer->building.first) {
			pthread_mutex_unlock(&writer->lock);
			do_work(writer, group);
			pthread_mutex_lock(&writer->lock);
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TICK_S;
		pthread_cond_timedwait(&writer->changed, &writer->lock, &until);
	}
	pthread_mutex_unlock(&writer->lock);
	refuse_waiting(writer, &writer->waiting,
	    "the index is there, and rows are entered from the next start on");
	refuse_waiting(writer, &writer->building,
	    "codes.progressive is as asked for from the next start on");
	writer_fill_forget(&writer->fill);
	return NULL;
}

static void
init_lock(struct writer *writer)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&writer->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&writer->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static void
free_writer(struct writer *writer)
{
	pthread_cond_destroy(&writer->changed);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}

struct writer *
writer_start(struct db *db, struct registry *registry,
    const struct writer_options *options, struct error *err)
{
	struct writer *writer = array_new(1, sizeof *writer);

	if (!writer) {
		error_set(err, ERR_MEMORY, "out of memory for the writer");
		return NULL;
	}
	writer->db = db;
	writer->registry = registry;
	writer->bytes_max = options->queue_bytes_max ? options->queue_bytes_max
						     : WRITER_QUEUE_BYTES_DEFAULT;
	writer->operations_max = options->queue_operations_max
				     ? options->queue_operations_max
				     : WRITER_QUEUE_OPERATIONS_DEFAULT;
	writer->purging = true;
	writer->filling = true;
	queue_clear(&writer->queue);
	queue_clear(&writer->waiting);
	queue_clear(&writer->building);
	init_lock(writer);
	int rc = pthread_create(&writer->thread, NULL, run, writer);
	if (rc != 0) {
		free_writer(writer);
		error_set(err, ERR_IO, "cannot start the writer: %s", strerror(rc));
		return NULL;
	}
	return writer;
}

void
writer_stop(struct writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->stopping = true;
	pthread_cond_signal(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	free_writer(writer);
}

/* ---- submitting ---- */

/* The codes of point i. */
static int
check_codes(const struct writer_point *point, size_t i, struct error *err)
{
	for (size_t k = 0; k < writer_n_rows(point); k++) {
		struct db_code code = writer_code(point, k);
		if (!code.wire)
			return error_set(err, ERR_INPUT,
			    "expected an id and a code with point %zu of the batch", i);
		if (!isfinite(code.factor) || !isfinite(code.norm2))
			return error_set(err, ERR_INPUT,
			    "expected finite numbers with point %zu of the batch", i);
	}
	return 0;
}

static int
check_points(struct writer_operation *op, struct error *err)
{
	size_t wire = code_bytes(collection_settings(op->collection)->shape);

	for (size_t i = 0; i < op->n; i++) {
		const struct writer_point *point = &op->points[i];
		size_t n_rows = writer_n_rows(point);
		if (point->id.len == 0)
			return error_set(err, ERR_INPUT,
			    "expected an id and a code with point %zu of the batch", i);
		if (n_rows > DB_PASSAGES_MAX)
			return error_set(err, ERR_INPUT,
			    "expected at most %d passages of point %zu, not %zu",
			    DB_PASSAGES_MAX, i, n_rows);
		if (check_codes(point, i, err) != 0)
			return -1;
		op->size_bytes +=
		    point->payload_len + n_rows * wire + (n_rows - 1) * OVERHEAD_BYTES;
	}
	return 0;
}

/* Under the lock. */
static int
enqueue(struct writer *writer, struct writer_operation *op, struct error *err)
{
	struct writer_stats *stats = &writer->stats;

	if (writer->stopping)
		return error_set(err, ERR_UNAVAILABLE,
		    "the server is stopping: try another or later");
	/* An empty queue takes anything, so that no operation is too large for ever. */
	if (stats->queued_operations >= writer->operations_max)
		return error_set(err, ERR_BUSY,
		    "%zu writes wait already, the most that may (max_queued_writes): "
		    "try again in a moment",
		    stats->queued_operations);
	if (stats->queued_operations > 0 &&
	    op->size_bytes + stats->queued_bytes > writer->bytes_max)
		return error_set(err, ERR_BUSY,
		    "writes of %zu bytes wait already, and with %zu more would be over "
		    "%zu (max_queued_bytes): try again in a moment",
		    stats->queued_bytes, op->size_bytes, writer->bytes_max);
	stats->queued_operations++;
	stats->queued_bytes += op->size_bytes;
	queue_add(&writer->queue, op);
	pthread_cond_signal(&writer->changed);
	return 0;
}

int
writer_submit(struct writer *writer, struct writer_operation *op, struct error *err)
{
	if (db_broken(writer->db))
		return error_set(err, ERR_UNAVAILABLE,
		    "the disk failed earlier: nothing is written any more; check the "
		    "disk and restart the server");
	op->size_bytes = (op->n + 1) * OVERHEAD_BYTES;
	op->result = (struct writer_result){0};
	if (op->kind == WRITER_PAYLOAD)
		op->size_bytes += payload_change_bytes(op->payload);
	if (op->kind == WRITER_UPSERT && check_points(op, err) != 0)
		return -1;
	pthread_mutex_lock(&writer->lock);
	int result = enqueue(writer, op, err);
	pthread_mutex_unlock(&writer->lock);
	return result;
}

struct writer_stats
writer_stats(struct writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	struct writer_stats stats = writer->stats;
	pthread_mutex_unlock(&writer->lock);
	return stats;
}
