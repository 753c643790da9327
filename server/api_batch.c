#include "server/api_batch.h"

#include <stdlib.h>

#include "base/alloc.h"

struct api_batch {
	struct http_request *request;
	struct json_walk walk; /* of the operations */
	size_t number;         /* of the one at work */
	struct text out;
	struct api_texts texts; /* no texts: what there is to say of all changes' */
	struct api_filter_notes notes;
};

/* ---- operations by name ---- */

typedef struct api_change *reader(
    struct http_request *request, const struct json *body, struct error *err);

static struct api_change *
read_delete(struct http_request *request, const struct json *body, struct error *err)
{
	return api_change_of_points(request, WRITER_DELETE, body, err);
}

static struct api_change *
read_set(struct http_request *request, const struct json *body, struct error *err)
{
	return api_change_of_payloads(request, API_PAYLOAD_SET, body, err);
}

static struct api_change *
read_overwrite(struct http_request *request, const struct json *body, struct error *err)
{
	return api_change_of_payloads(request, API_PAYLOAD_OVERWRITE, body, err);
}

static struct api_change *
read_delete_keys(
    struct http_request *request, const struct json *body, struct error *err)
{
	return api_change_of_payloads(request, API_PAYLOAD_DELETE, body, err);
}

static struct api_change *
read_clear(struct http_request *request, const struct json *body, struct error *err)
{
	return api_change_of_payloads(request, API_PAYLOAD_CLEAR, body, err);
}

static const struct {
	const char *name;
	reader *read; /* NULL: not served */
} kinds[] = {
    {"upsert", api_change_of_upsert},
    {"delete", read_delete},
    {"delete_points", read_delete},
    {"set_payload", read_set},
    {"overwrite_payload", read_overwrite},
    {"delete_payload", read_delete_keys},
    {"clear_payload", read_clear},
    {"update_vectors", NULL},
    {"delete_vectors", NULL},
};

/* *body := of an operation, an object with one member, whose name says which it is. */
static int
find_reader(
    reader **read, struct json *body, const struct json *operation, struct error *err)
{
	struct json_walk walk = json_walk(operation);

	if (operation->type != JSON_OBJECT || json_count(operation) != 1 ||
	    !json_next(&walk) || walk.value.type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "expected an object with one member like \"upsert\": {...}");
	*body = walk.value;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!json_equals(&walk.key, kinds[i].name))
			continue;
		*read = kinds[i].read;
		return *read ? 0
			     : error_set(err, ERR_UNSUPPORTED,
				   "%s is not served: upsert the point", kinds[i].name);
	}
	return error_set(err, ERR_INPUT,
	    "expected upsert, delete, set_payload, overwrite_payload, delete_payload "
	    "or clear_payload, not %.*s",
	    walk.key.len < 60 ? (int)walk.key.len : 60, walk.key.text);
}

/* Nothing is begun of a batch with something that is not known. */
static int
check_all(const struct json *operations, struct error *err)
{
	struct json_walk walk = json_walk(operations);
	struct json body;
	reader *read;

	for (size_t i = 0; json_next(&walk); i++)
		if (find_reader(&read, &body, &walk.value, err) != 0)
			return error_prefix(err, "operations[%zu]", i);
	return 0;
}

/* ---- one after the other ---- */

void
api_batch_free(struct api_batch *batch)
{
	if (!batch)
		return;
	text_free(&batch->out);
	api_filter_notes_free(&batch->notes);
	free(batch);
}

static void
free_state(void *state)
{
	api_batch_free(state);
}

static void
keep(struct api_batch *batch)
{
	batch->request->state = batch;
	batch->request->state_free = free_state;
}

void
api_batch_prefix(const struct api_batch *batch, struct error *err)
{
	if (batch->number > 0)
		error_prefix(
		    err, "operations[%zu], those before it are done", batch->number);
	else
		error_prefix(err, "operations[0]");
}

static void
answer(struct api_batch *batch)
{
	struct http_request *request = batch->request;
	struct text out = batch->out, extra = {0};

	batch->out = (struct text){0};
	text_string(&out, "]");
	api_texts_notes(&extra, &batch->texts);
	api_filter_notes_print(&extra, &batch->notes);
	api_end(request, &out, extra.bytes);
	text_free(&extra);
}

static void
begin_next(struct api_batch *batch)
{
	struct http_request *request = batch->request;
	struct api_change *change = NULL;
	struct json body;
	struct error err;
	reader *read;

	if (!json_next(&batch->walk)) {
		answer(batch);
		return;
	}
	if (find_reader(&read, &body, &batch->walk.value, &err) == 0)
		change = read(request, &body, &err);
	if (change) {
		change->batch = batch;
		api_change_run(change);
	} else {
		api_batch_prefix(batch, &err);
		http_fail(request, &err);
	}
}

void
api_batch_next(struct api_batch *batch, struct api_change *change)
{
	struct error none;

	text_printf(&batch->out, "%s{\"operation_id\":%llu,\"status\":\"completed\"}",
	    batch->number++ > 0 ? "," : "", (unsigned long long)change->number);
	api_texts_count(&batch->texts, &change->texts);
	/* What is done is done: a note that memory is short for is left out. */
	api_filter_note(&batch->notes, &change->filter, &none);
	keep(batch);
	api_change_free(change);
	begin_next(batch);
}

void
api_batch_points(struct http_request *request, unsigned worker)
{
	struct json root, operations;
	struct error err;
	int has = -1;
	(void)worker;

	if (api_body(&root, request, &err) == 0)
		has = api_member(&operations, &root, "operations", JSON_ARRAY, &err);
	if (has == 0)
		error_set(&err, ERR_INPUT,
		    "expected 'operations': [{\"upsert\": {...}}, ...]");
	if (has <= 0 || check_all(&operations, &err) != 0) {
		http_fail(request, &err);
		return;
	}
	struct api_batch *batch = array_new(1, sizeof *batch);
	if (!batch) {
		error_set(&err, ERR_MEMORY, "no memory for the request");
		http_fail(request, &err);
		return;
	}
	batch->request = request;
	batch->walk = json_walk(&operations);
	api_texts_init(&batch->texts, request->context);
	api_begin(&batch->out);
	text_string(&batch->out, "[");
	keep(batch);
	begin_next(batch);
}
