/*
 * Claims of server/embedding.h: every item of every job gets the vector that it would
 * get alone, or fails alone, however jobs arrive and whatever shares their passes; a
 * small job waits for one pass of large ones that came before, and large ones get their
 * turns, a pass being what encoder_turn says; jobs that wait share a pass; memory that
 * fails leaves nothing behind.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "server/embedding.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

#define THREADS 4
#define ROUNDS 200
#define ITEMS_MAX 40
#define DIMS MODELS_TEXT_DIMS
#define PIECES_MAX 16 /* of the model */

/* Pieces of the model; 0 alone has no meaning there. */
enum { UNKNOWN, RED, GREEN, BLUE };

static struct encoder *encoder;
static struct pool *pool;
static struct metrics *metrics;

static int
open_all(void **state)
{
	static const char *const names[] = {"r"};
	char path[400];
	struct error err;
	(void)state;

	models_write_text(test_folder(), "text");
	snprintf(path, sizeof path, "%s/text", test_folder());
	encoder = encoder_open(path, &err);
	pool = pool_new(3, &err);
	metrics = metrics_new(names, 1, &err);
	return encoder && pool && metrics ? 0 : -1;
}

static int
close_all(void **state)
{
	(void)state;
	pool_free(pool);
	encoder_close(encoder);
	metrics_free(metrics);
	return 0;
}

/* One request's texts. */
struct request {
	struct embedding_job job;
	struct encoder_item items[ITEMS_MAX];
	uint32_t ids[ITEMS_MAX][PIECES_MAX];
	float vectors[ITEMS_MAX][DIMS];
	atomic_int done; /* how often on_done came */
};

static void
on_done(struct embedding_job *job)
{
	struct request *request = job->arg;
	atomic_fetch_add(&request->done, 1);
}

static void
fill(struct request *request, size_t n, struct rng *rng)
{
	memset(request, 0, sizeof *request);
	for (size_t i = 0; i < n; i++) {
		size_t pieces = 1 + rng_below(rng, PIECES_MAX);
		bool nothing = rng_below(rng, 8) == 0;
		for (size_t k = 0; k < pieces; k++)
			request->ids[i][k] =
			    nothing ? UNKNOWN : RED + (uint32_t)rng_below(rng, 3);
		request->items[i] = (struct encoder_item){
		    .ids = request->ids[i], .n = pieces, .vector = request->vectors[i]};
	}
	request->job = (struct embedding_job){
	    .items = request->items, .n = n, .on_done = on_done, .arg = request};
}

static void
wait_for(struct request *request)
{
	while (atomic_load(&request->done) == 0)
		usleep(50);
}

/* Every item has what it gets alone. */
static bool
right(const struct request *request, struct encoder_scratch *scratch)
{
	for (size_t i = 0; i < request->job.n; i++) {
		float vector[DIMS] = {0};
		struct encoder_item item = request->items[i];
		item.vector = vector;
		encoder_run(encoder, scratch, &item, 1);
		if (item.failed != request->items[i].failed ||
		    memcmp(vector, request->vectors[i], sizeof vector) != 0)
			return false;
	}
	return true;
}

struct client {
	pthread_t thread;
	struct embedding *embedding;
	unsigned number;
	size_t wrong, failed_items;
};

static void *
submit_many(void *arg)
{
	struct client *client = arg;
	struct request *request = malloc(sizeof *request);
	struct error err;
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	struct rng rng;

	rng_init(&rng, test_seed(), client->number);
	for (int round = 0; round < ROUNDS; round++) {
		fill(request, 1 + rng_below(&rng, ITEMS_MAX), &rng);
		embedding_submit(client->embedding, &request->job);
		wait_for(request);
		client->wrong += !right(request, scratch);
		for (size_t i = 0; i < request->job.n; i++)
			client->failed_items += request->items[i].failed;
	}
	encoder_scratch_free(scratch);
	free(request);
	return NULL;
}

static void
jobs_from_everywhere_are_right(void **state)
{
	struct client clients[THREADS];
	size_t failed = 0;
	struct error err;
	(void)state;

	struct embedding *embedding = embedding_new(encoder, pool, metrics, &err);
	assert_non_null(embedding);
	for (unsigned i = 0; i < THREADS; i++) {
		clients[i] = (struct client){.embedding = embedding, .number = i};
		assert_int_equal(
		    pthread_create(&clients[i].thread, NULL, submit_many, &clients[i]),
		    0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(clients[i].thread, NULL);
		assert_int_equal(clients[i].wrong, 0);
		failed += clients[i].failed_items;
	}
	assert_true(failed > 0); /* some had no meaning */
	embedding_free(embedding);
}

/* When each job ended, in passes of one worker. */
struct order {
	struct embedding_job job;
	atomic_int *clock;
	int ended;
};

static void
note_end(struct embedding_job *job)
{
	struct order *order = job->arg;
	order->ended = 1 + atomic_fetch_add(order->clock, 1);
}

/* Holds the only worker until everything is in line. */
struct gate {
	struct pool_task task;
	pthread_mutex_t lock;
};

static void
hold(struct pool_task *task, unsigned worker)
{
	struct gate *gate = (struct gate *)(void *)task;
	(void)worker;
	pthread_mutex_lock(&gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static void
a_small_job_overtakes_a_large_one(void **state)
{
	enum { LARGE = 3 * EMBEDDING_ITEMS };
	static struct encoder_item items[LARGE + 1];
	static float vectors[LARGE + 1][DIMS];
	static const uint32_t ids[PIECES_MAX] = {RED, GREEN, BLUE, RED, RED, RED, RED,
	    RED, RED, RED, RED, RED, RED, RED, RED, RED};
	atomic_int clock = 0;
	struct gate gate = {.task = {.run = hold}, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct error err;
	(void)state;

	struct pool *one = pool_new(1, &err);
	struct embedding *embedding = embedding_new(encoder, one, metrics, &err);
	assert_non_null(embedding);
	for (size_t i = 0; i <= LARGE; i++)
		items[i] = (struct encoder_item){
		    .ids = ids, .n = PIECES_MAX, .vector = vectors[i]};
	struct order large = {
	    .job = {.items = items, .n = LARGE, .on_done = note_end}, .clock = &clock};
	struct order small = {
	    .job = {.items = items + LARGE, .n = 1, .on_done = note_end},
	    .clock = &clock};
	large.job.arg = &large;
	small.job.arg = &small;
	/* More than one pass, or there is nothing to overtake. */
	assert_true(LARGE * PIECES_MAX > 2 * encoder_turn(encoder));
	pthread_mutex_lock(&gate.lock);
	pool_submit(one, &gate.task);
	embedding_submit(embedding, &large.job);
	embedding_submit(embedding, &small.job);
	pthread_mutex_unlock(&gate.lock);
	pool_free(one);
	assert_int_equal(small.ended, 1);
	assert_int_equal(large.ended, 2);
	embedding_free(embedding);
}

static long passes(struct metrics *counts);

/* A job, and how many passes there had been when it ended. */
struct turn {
	struct embedding_job job;
	long passes;
};

static void
note_passes(struct embedding_job *job)
{
	struct turn *turn = job->arg;
	turn->passes = passes(metrics);
}

/* Two jobs of three passes each, then four that fill one each, for one worker. */
static void
check_turns(const struct encoder *model)
{
	enum { LARGE = 2, SMALL = 4, TURNS = 3 * LARGE + SMALL };
	static const uint32_t ids[PIECES_MAX] = {RED, GREEN};
	struct gate gate = {.task = {.run = hold}, .lock = PTHREAD_MUTEX_INITIALIZER};
	const size_t n = encoder_turn(model) / PIECES_MAX, dims = encoder_dims(model);
	struct encoder_item *items = array_new(TURNS * n, sizeof *items);
	float *vectors = array_new(TURNS * n, dims * sizeof *vectors);
	struct turn turns[LARGE + SMALL];
	struct error err;

	struct pool *one = pool_new(1, &err);
	struct embedding *embedding = embedding_new(model, one, metrics, &err);
	assert_true(items && vectors && embedding);
	for (size_t i = 0; i < TURNS * n; i++)
		items[i] = (struct encoder_item){
		    .ids = ids, .n = PIECES_MAX, .vector = vectors + i * dims};
	long before = passes(metrics);
	pthread_mutex_lock(&gate.lock);
	pool_submit(one, &gate.task);
	for (size_t i = 0, at = 0; i < LARGE + SMALL; i++) {
		size_t some = i < LARGE ? 3 * n : n;
		turns[i] = (struct turn){.job = {.items = items + at,
					     .n = some,
					     .on_done = note_passes,
					     .arg = &turns[i]}};
		embedding_submit(embedding, &turns[i].job);
		at += some;
	}
	pthread_mutex_unlock(&gate.lock);
	pool_free(one);
	for (size_t i = 0; i < SMALL; i++)
		assert_int_equal(turns[LARGE + i].passes - before, 2 * i + 1);
	assert_int_equal(turns[0].passes - before, TURNS - 1);
	assert_int_equal(turns[1].passes - before, TURNS);
	embedding_free(embedding);
	free(vectors);
	free(items);
}

static void
small_and_large_jobs_take_turns(void **state)
{
	const struct models_encoder shape = models_encoder(LINEAR_INT8);
	char path[400];
	struct error err;
	(void)state;

	models_write_encoder(test_folder(), "layers", &shape, 1);
	snprintf(path, sizeof path, "%s/layers", test_folder());
	struct encoder *transformer = encoder_open(path, &err);
	assert_non_null(transformer);
	check_turns(transformer);
	check_turns(encoder);
	/* Of what is cheap more is done at a time. */
	assert_true(encoder_turn(encoder) > 10 * encoder_turn(transformer));
	encoder_close(transformer);
}

/* What nobody wants leaves the line without a pass, and its owner hears of it once. */
static void
jobs_that_are_given_up_end_at_once(void **state)
{
	enum { MANY = 400 };
	static struct encoder_item items[MANY];
	static float vectors[MANY][DIMS];
	static const uint32_t ids[PIECES_MAX] = {RED};
	atomic_int clock = 0;
	atomic_bool given_up = true;
	struct gate gate = {.task = {.run = hold}, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct error err;
	(void)state;

	struct pool *one = pool_new(1, &err);
	struct embedding *embedding = embedding_new(encoder, one, metrics, &err);
	assert_non_null(embedding);
	for (size_t i = 0; i < MANY; i++)
		items[i] = (struct encoder_item){
		    .ids = ids, .n = PIECES_MAX, .vector = vectors[i]};
	struct order left = {.job = {.items = items,
				 .n = MANY - 1,
				 .on_done = note_end,
				 .given_up = &given_up},
	    .clock = &clock};
	struct order wanted = {
	    .job = {.items = items + MANY - 1, .n = 1, .on_done = note_end},
	    .clock = &clock};
	left.job.arg = &left;
	wanted.job.arg = &wanted;
	long before = passes(metrics);
	pthread_mutex_lock(&gate.lock);
	pool_submit(one, &gate.task);
	embedding_submit(embedding, &left.job);
	embedding_submit(embedding, &wanted.job);
	pthread_mutex_unlock(&gate.lock);
	pool_free(one);
	assert_int_equal(atomic_load(&clock), 2);
	assert_true(left.ended > 0 && wanted.ended > 0);
	assert_int_equal(passes(metrics) - before, 1);
	embedding_free(embedding);
}

static long
passes(struct metrics *counts)
{
	static const char name[] = "\nhalftone_embed_passes_total ";
	struct text out = {0};

	metrics_render(counts, &out);
	const char *found = strstr(out.bytes, name);
	assert_non_null(found);
	long n = strtol(found + sizeof name - 1, NULL, 10);
	text_free(&out);
	return n;
}

static void
waiting_jobs_share_a_pass(void **state)
{
	enum { JOBS = 20 };
	static const uint32_t ids[] = {RED, GREEN, BLUE};
	struct encoder_item items[JOBS];
	float vectors[JOBS][DIMS];
	struct order orders[JOBS];
	atomic_int clock = 0;
	struct gate gate = {.task = {.run = hold}, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct error err;
	(void)state;

	struct pool *one = pool_new(1, &err);
	struct embedding *embedding = embedding_new(encoder, one, metrics, &err);
	long before = passes(metrics);
	pthread_mutex_lock(&gate.lock);
	pool_submit(one, &gate.task);
	for (int i = 0; i < JOBS; i++) {
		items[i] =
		    (struct encoder_item){.ids = ids, .n = 3, .vector = vectors[i]};
		orders[i] = (struct order){
		    .job = {.items = &items[i], .n = 1, .on_done = note_end},
		    .clock = &clock};
		orders[i].job.arg = &orders[i];
		embedding_submit(embedding, &orders[i].job);
	}
	pthread_mutex_unlock(&gate.lock);
	pool_free(one);
	assert_int_equal(atomic_load(&clock), JOBS);
	assert_int_equal(passes(metrics) - before, 1);
	embedding_free(embedding);
}

static void
allocation_failures_are_errors(void **state)
{
	struct embedding *embedding = NULL;
	struct error err;
	long k = 0;
	(void)state;

	while (!embedding) {
		array_fail_at(++k);
		embedding = embedding_new(encoder, pool, metrics, &err);
		array_fail_at(0);
		if (!embedding)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 4);
	embedding_free(embedding);
	embedding_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(jobs_from_everywhere_are_right),
	    cmocka_unit_test(a_small_job_overtakes_a_large_one),
	    cmocka_unit_test(small_and_large_jobs_take_turns),
	    cmocka_unit_test(jobs_that_are_given_up_end_at_once),
	    cmocka_unit_test(waiting_jobs_share_a_pass),
	    cmocka_unit_test(allocation_failures_are_errors),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
