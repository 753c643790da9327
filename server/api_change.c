#include "server/api_change.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "server/api_batch.h"
#include "server/payload.h"

void
api_change_free(struct api_change *change)
{
	if (!change)
		return;
	collection_release(change->collection);
	free(change->points);
	free(change->wires);
	free(change->ids);
	path_free(change->key);
	payload_change_free(change->payload);
	api_texts_free(&change->texts);
	api_chunks_free(&change->chunks);
	api_filter_free(&change->filter);
	free(change);
}

static void
free_state(void *state)
{
	struct api_change *change = state;

	api_batch_free(change->batch);
	api_change_free(change);
}

static void
on_changed(struct writer_operation *operation, const struct writer_result *result)
{
	struct api_change *change = operation->arg;
	change->err = result->err ? *result->err : (struct error){.code = ERR_NONE};
	change->number = result->operation;
	http_continue(change->request, change->answer);
}

struct api_change *
api_change_new(struct http_request *request, struct collection *collection,
    enum writer_kind kind, void (*answer)(struct pool_task *task, unsigned worker),
    struct error *err)
{
	struct api_change *change = array_new(1, sizeof *change);
	if (!change) {
		collection_release(collection);
		error_set(err, ERR_MEMORY, "no memory for the request");
		return NULL;
	}
	change->request = request;
	change->collection = collection;
	change->answer = answer;
	api_texts_init(&change->texts, request->context);
	change->operation = (struct writer_operation){.kind = kind,
	    .collection = collection,
	    .on_done = on_changed,
	    .arg = change};
	return change;
}

int
api_change_check(const struct api *api, size_t n, struct error *err)
{
	if (n > api->config->max_points_per_request)
		return error_set(err, ERR_TOO_LARGE,
		    "expected at most %llu points in a request "
		    "(max_points_per_request), not %zu; send smaller batches",
		    (unsigned long long)api->config->max_points_per_request, n);
	return 0;
}

void
api_change_answer(struct api_change *change)
{
	struct api_filter_notes notes = {.n_keys = 0};
	struct text out = {0}, extra = {0};

	if (change->err.code != ERR_NONE) {
		api_change_fail(change, &change->err);
		return;
	}
	if (change->batch) {
		api_batch_next(change->batch, change);
		return;
	}
	api_texts_notes(&extra, &change->texts);
	/* What is done is done: a note that memory is short for is left out. */
	if (api_filter_note(&notes, &change->filter, &change->err) == 0)
		api_filter_notes_print(&extra, &notes);
	api_filter_notes_free(&notes);
	api_begin(&out);
	text_printf(&out, "{\"operation_id\":%llu,\"status\":\"completed\"}",
	    (unsigned long long)change->number);
	api_end(change->request, &out, extra.bytes);
	text_free(&extra);
}

void
api_change_fail(struct api_change *change, struct error *err)
{
	if (change->batch)
		api_batch_prefix(change->batch, err);
	http_fail(change->request, err);
}

static void
answer(struct pool_task *task, unsigned worker)
{
	(void)worker;
	api_change_answer(http_of_task(task)->state);
}

struct api_change *
api_change_of_path(
    struct http_request *request, enum writer_kind kind, size_t n, struct error *err)
{
	struct collection *collection = api_collection(request, err);
	if (!collection)
		return NULL;
	struct api_change *change =
	    api_change_new(request, collection, kind, answer, err);
	if (change && api_change_room(change, n, err)) {
		api_change_free(change);
		return NULL;
	}
	return change;
}

int
api_change_room(struct api_change *change, size_t n, struct error *err)
{
	struct writer_operation *operation = &change->operation;
	bool upsert = operation->kind == WRITER_UPSERT;

	if (upsert) {
		size_t wire =
		    code_bytes(collection_settings(change->collection)->shape);
		change->points = array_new(n, sizeof *change->points);
		change->wires = array_new(n, wire);
	} else {
		change->ids = array_new(n, sizeof *change->ids);
	}
	if (upsert ? !change->points || !change->wires : !change->ids)
		return error_set(err, ERR_MEMORY, "no memory for %zu points", n);
	operation->points = change->points;
	operation->ids = change->ids;
	operation->n = n;
	return 0;
}

void
api_change_keep(struct api_change *change)
{
	change->request->state = change;
	change->request->state_free = free_state;
}

void
api_change_submit(struct api_change *change)
{
	struct http_request *request = change->request;
	struct error err;

	api_change_keep(change);
	if (api_write(request->context, &change->operation, &err))
		api_change_fail(change, &err);
}
