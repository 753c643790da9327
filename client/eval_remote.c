#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "client/eval.h"
#include "client/stop.h"
#include "client/upload.h"

#define BATCH 256
#define BATCH_BYTES (4 * 1024 * 1024)
#define QUERY_THREADS 16
#define QUERY_TRIES 100 /* of a query that the server has no time for */

/* The queries on their way: each thread takes the next. */
struct asking {
	struct eval_ranks *ranks;
	const struct eval_task *task;
	const struct eval_server *server;
	const char *path;
	atomic_size_t next;
	atomic_bool failed;
	pthread_mutex_t lock; /* guards error */
	struct error error;
};

static int
create(struct remote *remote, const char *path, const struct code_shape *shape,
    const struct eval_server *server, struct error *err)
{
	struct text body = {0};
	struct remote_answer answer;
	const char *comma = "";
	text_string(&body, "{\"text_model\":");
	text_json(&body, server->text_model, strlen(server->text_model));
	text_string(&body, ",\"codes\":{");
	if (shape->bits != 0) {
		text_printf(&body, "\"bits\":%" PRIu32, shape->bits);
		comma = ",";
	}
	if (shape->dims != 0) {
		text_printf(&body, "%s\"dims\":%" PRIu32, comma, shape->dims);
		comma = ",";
	}
	if (server->binarizer != NULL) {
		text_printf(&body, "%s\"binarizer\":", comma);
		text_json(&body, server->binarizer, strlen(server->binarizer));
	}
	text_string(&body, "}}");
	int rc = -1;
	if (body.failed)
		error_set(err, ERR_MEMORY, "no memory for a request");
	else
		rc = remote_request(remote, &answer, "PUT", path, &body, err);
	if (rc == 0 && answer.status >= 300)
		rc = remote_refused(&answer, err);
	text_free(&body);
	return rc;
}

/* *shape := that of the collection's codes. */
static int
read_shape(struct remote *remote, const char *path, struct code_shape *shape,
    struct error *err)
{
	struct remote_answer answer;
	struct json v, dims, bits, centres;
	uint64_t d, b, c;
	if (remote_request(remote, &answer, "GET", path, NULL, err) == -1)
		return -1;
	if (answer.status >= 300)
		return remote_refused(&answer, err);
	if (json_check(&v, answer.body, answer.len, err) == -1)
		return error_prefix(err, "the server's answer");
	if (!json_member(&v, "result", &v) || !json_member(&v, "config", &v) ||
	    !json_member(&v, "params", &v) || !json_member(&v, "codes", &v) ||
	    !json_member(&v, "dims", &dims) || !json_member(&v, "bits", &bits) ||
	    !json_member(&v, "centres", &centres) || !json_u64(&d, &dims) ||
	    !json_u64(&b, &bits) || !json_u64(&c, &centres) || d > CODE_DIMS_MAX ||
	    b > CODE_BITS_MAX || c > CODE_CENTRES_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected config.params.codes with dims, bits and centres in the "
		    "collection's description");
	*shape = (struct code_shape){(uint32_t)d, (uint32_t)b, (uint32_t)c};
	return 0;
}

static int
send_texts(struct upload *upload, const struct beir_texts *corpus, struct text *points,
    struct error *err)
{
	struct upload_point list[BATCH];
	uint32_t n = 0;
	for (size_t i = 0; i < corpus->n; i++) {
		const struct beir_text *item = &corpus->items[i];
		if (item->len > 0) {
			text_printf(points,
			    "%s{\"id\":%zu,\"vector\":{\"text\":", n > 0 ? "," : "", i);
			text_json(points, item->text, item->len);
			text_string(points, "}}");
			list[n++] = (struct upload_point){i + 1, points->n};
		}
		bool last = i + 1 == corpus->n;
		if (n > 0 && (n == BATCH || points->n >= BATCH_BYTES || last)) {
			struct upload_batch batch = {points, list, n, "document "};
			if (upload_put(upload, &batch, err) == -1)
				return -1;
			n = 0;
		}
	}
	return 0;
}

static int
import(const struct eval_task *task, const struct eval_server *server, const char *name,
    struct error *err)
{
	struct upload_settings settings = {
	    .address = &server->address,
	    .collection = name,
	    .connections = UPLOAD_CONNECTIONS_DEFAULT,
	    .patience_s = UPLOAD_PATIENCE_DEFAULT_S,
	};
	struct upload_counts counts;
	struct text points = {0};
	struct upload *upload = upload_open(&settings, err);
	if (upload == NULL)
		return -1;
	int rc = send_texts(upload, &task->corpus, &points, err);
	struct error end;
	if (upload_finish(upload, &counts, &end) == -1 && rc == 0) {
		*err = end;
		rc = -1;
	}
	upload_close(upload);
	text_free(&points);
	return rc;
}

static int
read_hits(struct asking *a, size_t query, const struct remote_answer *answer,
    struct error *err)
{
	struct json v, id;
	uint64_t doc;
	uint32_t n = 0;
	if (json_check(&v, answer->body, answer->len, err) == -1)
		return error_prefix(err, "the server's answer");
	if (!json_member(&v, "result", &v) || !json_member(&v, "points", &v) ||
	    v.type != JSON_ARRAY)
		return error_set(err, ERR_FORMAT,
		    "expected {\"result\": {\"points\": [...]}} from the server");
	struct json_walk w = json_walk(&v);
	while (json_next(&w) && n < EVAL_DEPTH) {
		if (!json_member(&w.value, "id", &id) || !json_u64(&doc, &id) ||
		    doc >= a->task->corpus.n)
			return error_set(err, ERR_FORMAT,
			    "expected hits with the ids that were imported");
		a->ranks->docs[query * EVAL_DEPTH + n++] = (uint32_t)doc;
	}
	a->ranks->counts[query] = n;
	return 0;
}

static int
ask(struct asking *a, struct remote *remote, struct text *body, size_t query,
    struct error *err)
{
	const struct beir_text *text =
	    &a->task->queries.items[a->task->qrels.queries[query].query];
	struct remote_answer answer;
	if (text->len == 0)
		return 0; /* it finds nothing */
	text_clear(body);
	text_string(body, "{\"query\":{\"text\":");
	text_json(body, text->text, text->len);
	text_printf(body, "},\"limit\":%d,\"with_payload\":false}", EVAL_DEPTH);
	if (body->failed)
		return error_set(err, ERR_MEMORY, "no memory for a request");
	for (int i = 0; i < QUERY_TRIES; i++) {
		if (remote_request(remote, &answer, "POST", a->path, body, err) == -1)
			return -1;
		if (!remote_busy(answer.status) || stop_requested())
			break;
		stop_sleep(remote_pause(&answer, 0.1));
	}
	if (answer.status >= 300)
		return remote_refused(&answer, err);
	return read_hits(a, query, &answer, err);
}

static void *
ask_some(void *arg)
{
	struct asking *a = arg;
	struct text body = {0};
	struct error err = {ERR_NONE, ""};
	struct remote *remote = remote_open(&a->server->address, &err);
	int rc = remote == NULL ? -1 : 0;
	while (rc == 0 && !a->failed && !stop_requested()) {
		size_t query = a->next++;
		if (query >= a->task->qrels.n_queries)
			break;
		rc = ask(a, remote, &body, query, &err);
	}
	if (rc == -1) {
		pthread_mutex_lock(&a->lock);
		if (!a->failed)
			a->error = err;
		a->failed = true;
		pthread_mutex_unlock(&a->lock);
	}
	remote_close(remote);
	text_free(&body);
	return NULL;
}

static int
ask_all(struct eval_ranks *ranks, const struct eval_task *task,
    const struct eval_server *server, const char *path, struct error *err)
{
	struct asking a = {
	    .ranks = ranks, .task = task, .server = server, .path = path};
	pthread_t threads[QUERY_THREADS];
	size_t n = 0;
	pthread_mutex_init(&a.lock, NULL);
	while (
	    n < QUERY_THREADS && pthread_create(&threads[n], NULL, ask_some, &a) == 0)
		n++;
	if (n == 0)
		ask_some(&a); /* no thread to be had: one at a time */
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&a.lock);
	if (a.failed) {
		*err = a.error;
		return -1;
	}
	return stop_requested() ? error_set(err, ERR_NONE, "stopped") : 0;
}

/* Drop the collection, whatever has happened before. */
static int
drop(struct remote *remote, const char *path, struct error *err)
{
	struct remote_answer answer;
	if (remote_request(remote, &answer, "DELETE", path, NULL, err) == -1)
		return -1;
	return answer.status >= 300 ? remote_refused(&answer, err) : 0;
}

int
eval_remote(struct eval_ranks *ranks, struct code_shape *shape,
    const struct eval_task *task, const struct eval_server *server, struct error *err)
{
	char name[64], path[128], query_path[160];
	struct error late;
	struct remote *remote = remote_open(&server->address, err);
	if (remote == NULL)
		return -1;
	snprintf(name, sizeof name, "eval-%ld-%" PRIx64, (long)getpid(),
	    clock_ns() & 0xFFFFFFFFFF);
	snprintf(path, sizeof path, "/collections/%s", name);
	snprintf(query_path, sizeof query_path, "%s/points/query", path);

	int rc = create(remote, path, shape, server, err);
	if (rc == 0) {
		uint64_t start = clock_ns();
		rc = read_shape(remote, path, shape, err);
		if (rc == 0)
			rc = import(task, server, name, err);
		if (rc == 0) {
			fprintf(stderr, "imported %zu documents in %.3f s\n",
			    task->corpus.n, clock_since(start));
			start = clock_ns();
			rc = ask_all(ranks, task, server, query_path, err);
		}
		if (rc == 0)
			fprintf(stderr, "asked %zu queries in %.3f s\n",
			    task->qrels.n_queries, clock_since(start));
		if (drop(remote, path, &late) == -1)
			fprintf(stderr, "the temporary collection \"%s\" is left: %s\n",
			    name, late.text);
	}
	remote_close(remote);
	return rc;
}
