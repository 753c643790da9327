/*
 * Claim of server/writer.h: acknowledged means on the disk, and a batch is there whole
 * or not at all.  50 times a child process with 8 writing threads is killed (SIGKILL)
 * at a random moment after at least 1,000 acknowledged points; then every acknowledged
 * point must be found with its exact code, factor and payload, and no batch may be in
 * part there or of mixed versions.  One point of a batch has passages, fewer in its
 * second version or more: every one must be there, and no other row.  Batches whose
 * outcome nobody was told are counted and may be there or not.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/rig.h"

#define ROUNDS 50
#define THREADS 8
#define BATCH 64
#define ACKED_MIN 1000
#define BATCHES_MAX 4096 /* of a round */
#define WIRE 32          /* 128 dims of 2 bits */
#define CHUNKED 5        /* this point of a batch has passages */
#define PASSAGES_MAX 9

static const struct collection_settings settings = {
    .name = "c", .size = 128, .shape = {128, 2, 0}};

/* A point is a function of (batch, place in it, version), so it can be checked. */
struct content {
	uint8_t wires[PASSAGES_MAX][WIRE];
	struct db_code codes[PASSAGES_MAX];
	struct db_passage passages[PASSAGES_MAX];
	size_t n_passages;
	size_t n_rows;
	char payload[200];
	size_t payload_len;
};

static uint64_t
id_number(uint32_t batch, uint32_t i)
{
	return (uint64_t)batch << 32 | i;
}

static void
make_content(struct content *content, uint32_t batch, uint32_t i, uint32_t version)
{
	struct rng rng;

	rng_init(&rng, id_number(batch, i), version);
	content->n_passages = i == CHUNKED ? 1 + rng_below(&rng, PASSAGES_MAX) : 0;
	content->n_rows = i == CHUNKED ? content->n_passages : 1;
	for (uint32_t k = 0; k < content->n_rows; k++) {
		for (size_t b = 0; b < WIRE; b++)
			content->wires[k][b] = (uint8_t)rng_u64(&rng);
		content->codes[k] = (struct db_code){
		    .wire = content->wires[k], .factor = rng_uniform(&rng)};
		content->passages[k] =
		    (struct db_passage){100 * k + version, 100 * k + 101};
	}
	content->payload_len =
	    (size_t)snprintf(content->payload, sizeof content->payload,
		"{\"batch\":%u,\"i\":%u,\"version\":%u,\"fill\":\"%0*u\"}", batch, i,
		version, (int)(1 + rng_below(&rng, 100)), 7u);
}

/* ---- the child ---- */

struct ack {
	uint32_t batch, version;
};

struct child {
	struct rig rig;
	struct collection *collection;
	int pipe_fd;
	uint32_t first_batch; /* of this round */
	atomic_uint next;
};

static int
write_batch(struct child *child, uint32_t batch, uint32_t version)
{
	struct writer_point points[BATCH];
	struct content contents[BATCH];
	struct error err;

	for (uint32_t i = 0; i < BATCH; i++) {
		make_content(&contents[i], batch, i, version);
		points[i] = (struct writer_point){
		    .wire = contents[i].wires[0],
		    .factor = contents[i].codes[0].factor,
		    .n_passages = contents[i].n_passages,
		    .codes = contents[i].codes,
		    .passages = contents[i].passages,
		    .payload = contents[i].payload,
		    .payload_len = contents[i].payload_len,
		};
		point_id_from_number(&points[i].id, id_number(batch, i));
	}
	if (rig_upsert(&child->rig, child->collection, points, BATCH, &err) != 0)
		return -1;
	struct ack ack = {batch, version};
	return write(child->pipe_fd, &ack, sizeof ack) == (ssize_t)sizeof ack ? 0 : -1;
}

/* New batches, each then written again as version 2. */
static void *
child_thread(void *arg)
{
	struct child *child = arg;

	for (;;) {
		uint32_t k = atomic_fetch_add(&child->next, 1);
		if (k >= BATCHES_MAX)
			pause();
		for (uint32_t version = 1; version <= 2; version++)
			if (write_batch(child, child->first_batch + k, version) != 0)
				_exit(1);
	}
}

static _Noreturn void
run_child(const char *dir, uint32_t round, int pipe_fd)
{
	struct child child = {.pipe_fd = pipe_fd, .first_batch = round * BATCHES_MAX};
	pthread_t threads[THREADS];
	struct error err;

	rig_open(&child.rig, dir, (size_t)1 << 30);
	child.collection = registry_find(child.rig.registry, settings.name, &err);
	if (!child.collection)
		child.collection = rig_create(&child.rig, &settings);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, child_thread, &child) != 0)
			_exit(1);
	for (;;)
		pause();
}

/* ---- the parent ---- */

struct game {
	const char *dir;
	struct rng rng;
	uint8_t (*acked)[BATCHES_MAX]; /* [ROUNDS]: version acknowledged, 0 = none */
	size_t n_acked, n_unknown_there, n_checked;
	size_t n_rows; /* of the points looked at */
};

static void
run_round(struct game *g, uint32_t round)
{
	int fds[2];
	struct ack ack;
	size_t n_acked = 0;

	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(fds[0]);
		run_child(g->dir, round, fds[1]);
	}
	close(fds[1]);
	useconds_t delay = (useconds_t)rng_below(&g->rng, 20000);
	while (read(fds[0], &ack, sizeof ack) == (ssize_t)sizeof ack) {
		uint32_t k = ack.batch - round * BATCHES_MAX;
		assert_true(k < BATCHES_MAX && ack.version == g->acked[round][k] + 1u);
		g->acked[round][k] = (uint8_t)ack.version;
		size_t before = n_acked;
		n_acked += ack.version == 1 ? BATCH : 0;
		if (before < ACKED_MIN && n_acked >= ACKED_MIN) {
			usleep(delay);
			kill(pid, SIGKILL); /* the pipe still has what it said before */
		}
	}
	close(fds[0]);
	int status;
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(n_acked >= ACKED_MIN);
	g->n_acked += n_acked;
}

/* Whether row k is that of this version of the point. */
static bool
is_version(const struct db_record *record, const struct db_code *code,
    const struct content *want, size_t k)
{
	size_t payload_len = k == 0 ? want->payload_len : 0;

	return record->payload_len == payload_len &&
	       memcmp(record->payload, want->payload, payload_len) == 0 &&
	       record->is_passage == (want->n_passages > 0) &&
	       (!record->is_passage ||
		   (record->number == k &&
		       record->passage.start == want->passages[k].start &&
		       record->passage.end == want->passages[k].end)) &&
	       code->factor == want->codes[k].factor &&
	       memcmp(code->wire, want->wires[k], WIRE) == 0;
}

/* The version, 1 or 2, whose rows are there, the same in the file and in memory; a row
 * that is torn or of another version fails. */
static uint32_t
version_of_rows(struct db_txn *txn, struct collection *c,
    const struct store_snapshot *snapshot, const struct db_rows *rows,
    const struct content want[2])
{
	const struct db_codes *codes = collection_codes(c);
	bool is[2] = {want[0].n_rows == rows->n, want[1].n_rows == rows->n};
	struct db_record record;
	struct db_code code;
	struct error err;
	uint8_t wire[WIRE];
	float factor = -1;
	bool found;

	for (size_t k = 0; k < rows->n; k++) {
		uint32_t slot = rows->slots[k];
		assert_int_equal(
		    db_record(txn, codes->collection, slot, &found, &record, &err), 0);
		assert_true(found);
		assert_int_equal(db_code(txn, codes, slot, &found, &code, &err), 0);
		assert_true(found && store_get(wire, &factor, NULL, snapshot, slot));
		assert_true(
		    memcmp(wire, code.wire, WIRE) == 0 && factor == code.factor);
		for (int v = 0; v < 2; v++)
			is[v] = is[v] && is_version(&record, &code, &want[v], k);
	}
	return is[0] ? 1 : is[1] ? 2 : 0;
}

/* 0 = not there, else 1 or 2; fails on anything else.  Adds up the rows. */
static uint32_t
version_of(struct game *g, struct db_txn *txn, struct collection *c,
    const struct store_snapshot *snapshot, uint32_t batch, uint32_t i)
{
	struct content want[2];
	struct db_rows rows;
	struct point_id id;
	struct error err;

	point_id_from_number(&id, id_number(batch, i));
	assert_int_equal(
	    db_rows(txn, collection_codes(c)->collection, &id, &rows, &err), 0);
	g->n_rows += rows.n;
	if (rows.n == 0)
		return 0;
	for (uint32_t v = 0; v < 2; v++)
		make_content(&want[v], batch, i, v + 1);
	uint32_t version = version_of_rows(txn, c, snapshot, &rows, want);
	if (version == 0)
		fail_msg("point %u of batch %u is torn", i, batch);
	return version;
}

/* Returns points found. */
static size_t
check_round(struct game *g, uint32_t round, struct db_txn *txn, struct collection *c,
    const struct store_snapshot *snapshot, bool counts)
{
	size_t found = 0;

	for (uint32_t k = 0; k < BATCHES_MAX; k++) {
		uint32_t acked = g->acked[round][k], batch = round * BATCHES_MAX + k;
		uint32_t there = version_of(g, txn, c, snapshot, batch, 0);
		for (uint32_t i = 1; i < BATCH && (there || acked); i++)
			assert_int_equal(
			    version_of(g, txn, c, snapshot, batch, i), there);
		if (there < acked || there > acked + 1)
			fail_msg("batch %u: version %u acknowledged, %u found", batch,
			    acked, there);
		found += there ? BATCH : 0;
		g->n_checked += acked ? BATCH : 0;
		/* A thread's last batch may have been on its way. */
		if (counts && there > acked)
			g->n_unknown_there += BATCH;
	}
	return found;
}

static size_t
count_records(struct db_txn *txn, struct collection *c)
{
	struct db_record record;
	struct error err;
	size_t n = 0;
	bool found;

	for (uint32_t slot = 0;; slot++, n++) {
		assert_int_equal(db_record_next(txn, collection_codes(c)->collection,
				     &found, &slot, &record, &err),
		    0);
		if (!found)
			return n;
	}
}

static void
check_rounds(struct game *g, uint32_t first, uint32_t end)
{
	struct rig rig;
	struct error err;
	size_t found = 0;

	rig_open(&rig, g->dir, (size_t)1 << 30);
	struct collection *c = registry_find(rig.registry, settings.name, &err);
	assert_non_null(c);
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	struct db_txn *txn = db_begin_read(rig.db, &err);
	g->n_rows = 0;
	for (uint32_t round = first; round < end; round++)
		found += check_round(g, round, txn, c, snapshot, end - first == 1);
	if (first == 0) {
		assert_int_equal(found, collection_count(c));
		assert_int_equal(g->n_rows, snapshot->n_live);
		assert_int_equal(g->n_rows, count_records(txn, c));
	}
	db_end(txn);
	store_release(snapshot);
	collection_release(c);
	rig_close(&rig);
}

static void
test_kill(void **state)
{
	(void)state;
	struct game g = {.dir = rig_new_dir()};
	uint64_t start = clock_ns();

	rng_init(&g.rng, test_seed(), 5);
	g.acked = calloc(ROUNDS, sizeof *g.acked);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		run_round(&g, round);
		check_rounds(&g, round, round + 1);
	}
	g.n_checked = 0;
	check_rounds(&g, 0, ROUNDS);
	assert_int_equal(g.n_checked, g.n_acked);
	free(g.acked);
	printf(
	    "%d kills: %zu points acknowledged, 0 lost, 0 torn; %zu points were there "
	    "that nobody had been told of; %.1f s\n",
	    ROUNDS, g.n_acked, g.n_unknown_there, clock_since(start));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
