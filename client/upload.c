#include "client/upload.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "client/stop.h"

#define PAUSE_MAX_S 5.0
#define TICK_NS 100000000

struct batch {
	struct text points; /* {"points":[...]} */
	uint32_t n;
	char source[200];
};

struct upload {
	struct upload_settings settings;
	char *path;
	pthread_mutex_t lock;   /* guards all below but threads and n_threads */
	pthread_cond_t changed; /* broadcast when any of it changes */
	struct batch *waiting;  /* ring (capacity) */
	uint32_t capacity;
	uint32_t first;
	uint32_t n_waiting;
	uint32_t n_sending;
	bool closing; /* no more batches will come */
	bool failed;  /* `error` says why; nothing more is sent */
	struct error error;
	struct upload_counts counts;
	uint64_t progress_ns; /* when a batch was acknowledged last */
	pthread_t threads[UPLOAD_CONNECTIONS_MAX];
	uint32_t n_threads;
};

/* With the lock held: take the first failure as the upload's. */
static void
fail(struct upload *u, const struct error *err)
{
	if (!u->failed)
		u->error = *err;
	u->failed = true;
	pthread_cond_broadcast(&u->changed);
}

/* Whether a batch should be tried again after *pause seconds. */
static bool
try_again(struct upload *u, const struct remote_answer *answer, const struct error *why,
    double *pause)
{
	pthread_mutex_lock(&u->lock);
	double silent_s = clock_since(u->progress_ns);
	bool again = !u->failed && silent_s < u->settings.patience_s;
	if (again) {
		u->counts.retries++;
		snprintf(
		    u->counts.trouble, sizeof u->counts.trouble, "%.150s", why->text);
	}
	pthread_mutex_unlock(&u->lock);
	*pause = *pause == 0 ? REMOTE_PAUSE_MIN_S : *pause * 2;
	if (*pause > PAUSE_MAX_S)
		*pause = PAUSE_MAX_S;
	if (answer != NULL && answer->says_when &&
	    answer->retry_after_s <= u->settings.patience_s)
		*pause = remote_pause(answer, *pause);
	return again && !stop_requested();
}

/* Send one batch until it is stored (0) or given up (-1, *err; ERR_NONE = stopped). */
static int
send_batch(struct upload *u, struct remote *remote, const struct batch *batch,
    struct error *err)
{
	struct remote_answer answer;
	double pause = 0;
	for (;;) {
		int rc = remote_request(
		    remote, &answer, "PUT", u->path, &batch->points, err);
		if (rc == 0 && answer.status < 300)
			return 0;
		if (rc == 0)
			remote_refused(&answer, err);
		bool passing =
		    rc == 0 ? remote_busy(answer.status) : err->code == ERR_IO;
		if (!passing)
			return error_prefix(err, "%s", batch->source);
		if (!try_again(u, rc == 0 ? &answer : NULL, err, &pause)) {
			if (stop_requested())
				err->code = ERR_NONE;
			else
				error_prefix(err, "%s: gave up after %u seconds",
				    batch->source, u->settings.patience_s);
			return -1;
		}
		stop_sleep(pause);
		if (stop_requested()) {
			err->code = ERR_NONE;
			return -1;
		}
	}
}

/* Wait for a batch; false when there will be none. */
static bool
take(struct upload *u, struct batch *batch)
{
	bool got = false;
	pthread_mutex_lock(&u->lock);
	while (u->n_waiting == 0 && !u->closing && !u->failed)
		pthread_cond_wait(&u->changed, &u->lock);
	if (u->n_waiting > 0 && !u->failed && !stop_requested()) {
		*batch = u->waiting[u->first];
		u->waiting[u->first] = (struct batch){.n = 0};
		u->first = (u->first + 1) % u->capacity;
		u->n_waiting--;
		u->n_sending++;
		got = true;
		pthread_cond_broadcast(&u->changed);
	}
	pthread_mutex_unlock(&u->lock);
	return got;
}

static void *
send_batches(void *arg)
{
	struct upload *u = arg;
	struct error err = {ERR_NONE, ""};
	struct remote *remote = remote_open(u->settings.address, &err);
	struct batch batch;

	if (remote == NULL) {
		pthread_mutex_lock(&u->lock);
		fail(u, &err);
		pthread_mutex_unlock(&u->lock);
	}
	while (remote != NULL && take(u, &batch)) {
		int rc = send_batch(u, remote, &batch, &err);
		text_free(&batch.points);
		/* One step for whoever waits: a batch is on its way until its end is
		 * known. */
		pthread_mutex_lock(&u->lock);
		u->n_sending--;
		if (rc == 0) {
			u->counts.acknowledged += batch.n;
			u->progress_ns = clock_ns();
			u->counts.trouble[0] = '\0';
		} else {
			fail(u, &err);
		}
		pthread_cond_broadcast(&u->changed);
		pthread_mutex_unlock(&u->lock);
	}
	remote_close(remote);
	return NULL;
}

/* Free what upload_open has made, when no thread runs. */
static void
release(struct upload *u)
{
	for (uint32_t i = 0; u->waiting != NULL && i < u->capacity; i++)
		text_free(&u->waiting[i].points);
	free(u->waiting);
	free(u->path);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static char *
points_path(const char *collection)
{
	struct text path = {NULL, 0, 0, false};
	text_string(&path, "/collections/");
	text_segment(&path, collection);
	text_string(&path, "/points?wait=true");
	if (path.failed)
		text_free(&path);
	return path.bytes;
}

struct upload *
upload_open(const struct upload_settings *settings, struct error *err)
{
	assert(settings->connections >= 1 &&
	       settings->connections <= UPLOAD_CONNECTIONS_MAX);
	struct upload *u = array_new(1, sizeof *u);
	if (u == NULL) {
		error_set(err, ERR_MEMORY, "no memory to send points");
		return NULL;
	}
	u->settings = *settings;
	u->progress_ns = clock_ns();
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&u->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	u->capacity = settings->connections;
	u->path = points_path(settings->collection);
	u->waiting = array_new(u->capacity, sizeof *u->waiting);
	if (u->path == NULL || u->waiting == NULL) {
		error_set(err, ERR_MEMORY, "no memory to send points");
		release(u);
		return NULL;
	}
	for (; u->n_threads < settings->connections; u->n_threads++) {
		pthread_t *thread = &u->threads[u->n_threads];
		if (pthread_create(thread, NULL, send_batches, u) != 0) {
			error_set(err, ERR_IO, "cannot start a thread");
			upload_close(u);
			return NULL;
		}
	}
	return u;
}

/* Hold the lock and wait until something changes, at most one tick. */
static void
wait_tick(struct upload *u)
{
	struct timespec until;
	uint64_t start = clock_ns();
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&u->changed, &u->lock, &until);
	u->counts.waiting_s += clock_since(start);
	if (u->settings.on_tick != NULL) {
		pthread_mutex_unlock(&u->lock);
		u->settings.on_tick(u->settings.arg);
		pthread_mutex_lock(&u->lock);
	}
}

/* With the lock held: 0, or -1 and *err if the upload has ended early. */
static int
check_ended(const struct upload *u, struct error *err)
{
	if (u->failed)
		*err = u->error;
	else if (stop_requested())
		error_set(err, ERR_NONE, "stopped");
	else
		return 0;
	return -1;
}

int
upload_put(struct upload *u, struct text *points, uint32_t n, const char *source,
    struct error *err)
{
	struct batch batch = {.n = n};
	text_string(&batch.points, "{\"points\":[");
	text_bytes(&batch.points, points->bytes, points->n);
	text_string(&batch.points, "]}");
	text_clear(points);
	if (batch.points.failed) {
		text_free(&batch.points);
		return error_set(err, ERR_MEMORY, "no memory for a batch");
	}
	memcpy(batch.source, source, strnlen(source, sizeof batch.source - 1));

	pthread_mutex_lock(&u->lock);
	while (u->n_waiting == u->capacity && !u->failed && !stop_requested())
		wait_tick(u);
	int rc = check_ended(u, err);
	if (rc == 0) {
		u->waiting[(u->first + u->n_waiting) % u->capacity] = batch;
		u->n_waiting++;
		pthread_cond_broadcast(&u->changed);
	}
	pthread_mutex_unlock(&u->lock);
	if (rc == -1)
		text_free(&batch.points);
	return rc;
}

/* Wait until nothing is on its way. */
static void
drain(struct upload *u)
{
	pthread_mutex_lock(&u->lock);
	while (
	    u->n_sending > 0 || (u->n_waiting > 0 && !u->failed && !stop_requested()))
		wait_tick(u);
	pthread_mutex_unlock(&u->lock);
}

int
upload_finish(struct upload *u, struct upload_counts *counts, struct error *err)
{
	drain(u);
	pthread_mutex_lock(&u->lock);
	*counts = u->counts;
	int rc = check_ended(u, err);
	pthread_mutex_unlock(&u->lock);
	return rc;
}

void
upload_count(struct upload *u, struct upload_counts *counts)
{
	pthread_mutex_lock(&u->lock);
	*counts = u->counts;
	pthread_mutex_unlock(&u->lock);
}

void
upload_close(struct upload *u)
{
	if (u == NULL)
		return;
	pthread_mutex_lock(&u->lock);
	u->closing = true;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	for (uint32_t i = 0; i < u->n_threads; i++)
		pthread_join(u->threads[i], NULL);
	release(u);
}
