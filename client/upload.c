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

#define BEFORE "{\"points\":["
#define BEHIND "]}"

struct batch {
	struct text request;       /* BEFORE, the points, BEHIND */
	struct upload_point *list; /* n of them */
	uint32_t n;
	uint64_t number; /* batches are counted from 1 */
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
	bool failed;  /* `error` says why; no batch is begun any more */
	struct error error;
	uint64_t failed_number; /* of the batch that failed; 0 = it was none */
	uint64_t n_put;
	struct upload_counts counts;
	uint64_t progress_ns; /* when a batch was acknowledged last */
	pthread_t threads[UPLOAD_CONNECTIONS_MAX];
	uint32_t n_threads;
};

/* With the lock held: take the failure of the first batch as the upload's. */
static void
fail(struct upload *u, uint64_t number, const struct error *err)
{
	if (!u->failed || number < u->failed_number) {
		u->error = *err;
		u->failed_number = number;
	}
	u->failed = true;
	pthread_cond_broadcast(&u->changed);
}

static void
release_batch(struct batch *batch)
{
	text_free(&batch->request);
	free(batch->list);
	batch->list = NULL;
}

/* Whether a batch should be tried again after *pause seconds. */
static bool
try_again(struct upload *u, uint64_t number, const struct remote_answer *answer,
    const struct error *why, double *pause)
{
	pthread_mutex_lock(&u->lock);
	double silent_s = clock_since(u->progress_ns);
	bool again = (!u->failed || number < u->failed_number) &&
		     silent_s < u->settings.patience_s;
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

/* Send a request with points of a batch until they are stored (0), the server cannot
 * take them as they are (1, *err) or they are given up (-1, *err; ERR_NONE =
 * stopped). */
static int
send_request(struct upload *u, struct remote *remote, uint64_t number,
    const struct text *request, struct error *err)
{
	struct remote_answer answer;
	double pause = 0;
	for (;;) {
		int rc = remote_request(remote, &answer, "PUT", u->path, request, err);
		if (rc == 0 && answer.status < 300)
			return 0;
		if (rc == 0)
			remote_refused(&answer, err);
		bool passing =
		    rc == 0 ? remote_busy(answer.status) : err->code == ERR_IO;
		if (!passing)
			return rc == 0 && (answer.status == 400 || answer.status == 413)
				   ? 1
				   : -1;
		if (!try_again(u, number, rc == 0 ? &answer : NULL, err, &pause)) {
			if (stop_requested())
				err->code = ERR_NONE;
			return error_prefix(
			    err, "gave up after %u seconds", u->settings.patience_s);
		}
		stop_sleep(pause);
		if (stop_requested()) {
			err->code = ERR_NONE;
			return -1;
		}
	}
}

/* As send_request, for the points first .. end - 1 of a batch. */
static int
send_part(struct upload *u, struct remote *remote, const struct batch *batch,
    uint32_t first, uint32_t end, struct error *err)
{
	if (first == 0 && end == batch->n)
		return send_request(u, remote, batch->number, &batch->request, err);
	struct text part = {0};
	size_t from = first == 0 ? 0 : batch->list[first - 1].end + 1;
	text_string(&part, BEFORE);
	text_bytes(&part, batch->request.bytes + strlen(BEFORE) + from,
	    batch->list[end - 1].end - from);
	text_string(&part, BEHIND);
	int rc = part.failed ? error_set(err, ERR_MEMORY, "no memory for a request")
			     : send_request(u, remote, batch->number, &part, err);
	text_free(&part);
	return rc;
}

static void
count_stored(struct upload *u, uint32_t n)
{
	pthread_mutex_lock(&u->lock);
	u->counts.acknowledged += n;
	u->progress_ns = clock_ns();
	u->counts.trouble[0] = '\0';
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

/* Say which points an error is about.  The server counts within a request: of one
 * point alone that tells nothing. */
static void
name_places(struct error *err, const struct batch *batch, uint32_t first, uint32_t end)
{
	static const char counted[] = "point 0: ";
	char *at = strstr(err->text, counted);
	unsigned long long from = batch->list[first].place;
	if (end - first == 1) {
		if (at != NULL) {
			char *rest = at + strlen(counted);
			memmove(at, rest, strlen(rest) + 1);
		}
		error_prefix(err, "%s%llu", batch->source, from);
		return;
	}
	error_prefix(err, "%s%llu to %llu", batch->source, from,
	    (unsigned long long)batch->list[end - 1].place);
}

/* Send one batch, whole if the server takes it, else up to the first point that it
 * does not.  0: all is stored. */
static int
send_batch(struct upload *u, struct remote *remote, const struct batch *batch,
    struct error *err)
{
	uint32_t first = 0, end = batch->n;
	while (first < batch->n) {
		int rc = send_part(u, remote, batch, first, end, err);
		if (rc == 0) {
			count_stored(u, end - first);
			first = end;
			end = batch->n;
		} else if (rc == 1 && end - first > 1) {
			end = first + (end - first) / 2;
		} else {
			name_places(err, batch, first, end);
			return -1;
		}
	}
	return 0;
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
		fail(u, 0, &err);
		pthread_mutex_unlock(&u->lock);
	}
	while (remote != NULL && take(u, &batch)) {
		int rc = send_batch(u, remote, &batch, &err);
		uint64_t number = batch.number;
		release_batch(&batch);
		/* One step for whoever waits: a batch is on its way until its end is
		 * known. */
		pthread_mutex_lock(&u->lock);
		u->n_sending--;
		if (rc == -1)
			fail(u, number, &err);
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
		release_batch(&u->waiting[i]);
	free(u->waiting);
	free(u->path);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static char *
points_path(const char *collection)
{
	struct text path = {0};
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

/* *batch := a copy of `from`, whose points are then empty. */
static int
copy_batch(struct batch *batch, const struct upload_batch *from, struct error *err)
{
	*batch = (struct batch){.n = from->n};
	text_string(&batch->request, BEFORE);
	text_bytes(&batch->request, from->points->bytes, from->points->n);
	text_string(&batch->request, BEHIND);
	batch->list = array_new(from->n, sizeof *batch->list);
	bool whole =
	    batch->list != NULL && !batch->request.failed && !from->points->failed;
	text_clear(from->points);
	if (!whole) {
		release_batch(batch);
		return error_set(err, ERR_MEMORY, "no memory for a batch");
	}
	memcpy(batch->list, from->list, from->n * sizeof *batch->list);
	snprintf(batch->source, sizeof batch->source, "%.199s", from->source);
	return 0;
}

int
upload_put(struct upload *u, const struct upload_batch *from, struct error *err)
{
	struct batch batch;
	assert(from->n > 0 && from->list[from->n - 1].end == from->points->n);
	if (copy_batch(&batch, from, err) == -1)
		return -1;
	pthread_mutex_lock(&u->lock);
	while (u->n_waiting == u->capacity && !u->failed && !stop_requested())
		wait_tick(u);
	int rc = check_ended(u, err);
	if (rc == 0) {
		batch.number = ++u->n_put;
		u->waiting[(u->first + u->n_waiting) % u->capacity] = batch;
		u->n_waiting++;
		pthread_cond_broadcast(&u->changed);
	}
	pthread_mutex_unlock(&u->lock);
	if (rc == -1)
		release_batch(&batch);
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
