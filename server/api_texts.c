#include "server/api_texts.h"

#include <stdlib.h>

#include "base/alloc.h"

/* A text of which more than one piece in UNKNOWN_SHARE is [UNK] is told about. */
#define UNKNOWN_SHARE 4

void
api_texts_init(struct api_texts *texts, struct api *api)
{
	*texts = (struct api_texts){.api = api};
}

void
api_texts_free(struct api_texts *texts)
{
	if (texts->held > 0)
		atomic_fetch_sub(&texts->api->texts_bytes, texts->held);
	free(texts->items);
	free(texts->ids);
	free(texts->vectors);
	*texts = (struct api_texts){.api = NULL};
}

int
api_texts_model(struct api_texts *texts, const char *name, struct error *err)
{
	const struct models *models = texts->api->models;
	const struct model *model = models_find(models, name, err);
	size_t i = 0;

	if (!model)
		return -1;
	if (!model->encoder)
		return error_set(err, ERR_INPUT,
		    "model: '%.80s' is a binarizer and embeds no text", name);
	if (texts->model && texts->model != model)
		return error_set(err, ERR_INPUT,
		    "model: expected one model for all texts of a request, '%.60s', "
		    "not also '%.60s'; send a request for each",
		    texts->model->name, name);
	while (models_at(models, i) != model)
		i++;
	texts->model = model;
	texts->embedding = texts->api->embeddings[i];
	return 0;
}

/* Room for one more text and its pieces. */
static int
grow(struct api_texts *texts, struct error *err)
{
	size_t most = encoder_pieces_max(texts->model->encoder);

	if (texts->n == texts->n_cap) {
		size_t cap = texts->n_cap ? 2 * texts->n_cap : 1;
		struct encoder_item *items =
		    array_resize(texts->items, cap, sizeof *items);
		if (!items)
			goto no_memory;
		texts->items = items;
		texts->n_cap = cap;
	}
	if (texts->ids_cap - texts->n_ids < most) {
		size_t cap = 2 * texts->ids_cap + most;
		uint32_t *ids = array_resize(texts->ids, cap, sizeof *ids);
		if (!ids)
			goto no_memory;
		texts->ids = ids;
		texts->ids_cap = cap;
	}
	return 0;
no_memory:
	return error_set(err, ERR_MEMORY, "no memory for %zu texts", texts->n + 1);
}

int
api_texts_put(struct api_texts *texts, enum encoder_role role, const char *utf8,
    size_t n, struct error *err)
{
	if (grow(texts, err))
		return -1;
	struct encoder_pieces pieces = {.ids = texts->ids + texts->n_ids,
	    .cap = encoder_pieces_max(texts->model->encoder)};
	if (encoder_tokenize(texts->model->encoder, &pieces, role, utf8, n, err))
		return error_prefix(err, "text");
	texts->items[texts->n++] = (struct encoder_item){.n = pieces.n};
	texts->n_ids += pieces.n;
	texts->n_truncated += pieces.truncated;
	texts->n_unknown += pieces.unknown * UNKNOWN_SHARE > pieces.n;
	return 0;
}

char *
api_texts_utf8(size_t *n, const struct json *text, size_t max, struct error *err)
{
	if (text->type != JSON_STRING) {
		error_set(err, ERR_INPUT, "text: expected a string, not %s",
		    json_type_name(text->type));
		return NULL;
	}
	/* An escape of six bytes stands for one byte at least. */
	bool fits = text->len <= 6 * max + 2;
	char *utf8 = fits ? array_new(text->len + 1, 1) : NULL;
	if (fits && !utf8) {
		error_set(err, ERR_MEMORY, "no memory for a text");
		return NULL;
	}
	*n = utf8 ? json_string(utf8, text->len + 1, text) : text->len;
	if (*n > 0 && *n <= max)
		return utf8;
	if (*n > max)
		error_set(err, ERR_TOO_LARGE,
		    "text: expected at most %zu bytes (max_text_bytes), not %zu; in "
		    "a point, \"chunk\": true takes it whole; else cut it into "
		    "passages",
		    max, *n);
	else
		error_set(err, ERR_INPUT, "text: expected some text, not ''");
	free(utf8);
	return NULL;
}

int
api_texts_add(struct api_texts *texts, enum encoder_role role, const struct json *text,
    struct error *err)
{
	size_t n;
	char *utf8 = api_texts_utf8(&n, text, texts->api->config->max_text_bytes, err);

	if (!utf8)
		return -1;
	int rc = api_texts_put(texts, role, utf8, n, err);
	free(utf8);
	return rc;
}

static void
on_embedded(struct embedding_job *job)
{
	struct api_texts *texts = job->arg;
	struct error err;

	/* Some texts of one that was given up may have no vector: nothing must be made
	 * of the others. */
	if (api_wanted(texts->request, &err))
		http_fail(texts->request, &err);
	else
		http_continue(texts->request, texts->next);
}

/* Count the texts against the limit of all, before they wait. */
static int
hold(struct api_texts *texts, struct error *err)
{
	_Atomic uint64_t *all = &texts->api->texts_bytes;
	unsigned long long max = texts->api->config->max_texts_bytes;
	size_t dims = encoder_dims(texts->model->encoder);
	size_t n = texts->n_cap * sizeof *texts->items +
		   texts->ids_cap * sizeof *texts->ids +
		   texts->n * dims * sizeof *texts->vectors + texts->beside;

	if (n > max)
		return error_set(err, ERR_TOO_LARGE,
		    "expected texts that take at most %llu bytes with their vectors "
		    "(max_texts_bytes), not %zu; send fewer",
		    max, n);
	if (atomic_fetch_add(all, n) + n > max) {
		atomic_fetch_sub(all, n);
		return error_set(err, ERR_BUSY,
		    "expected at most %llu bytes of texts being embedded "
		    "(max_texts_bytes), which others hold; try again later or send "
		    "fewer texts",
		    max);
	}
	texts->held = n;
	return 0;
}

int
api_texts_embed(struct api_texts *texts, struct http_request *request,
    void (*next)(struct pool_task *task, unsigned worker), struct error *err)
{
	size_t dims = encoder_dims(texts->model->encoder);
	const uint32_t *ids = texts->ids;

	if (hold(texts, err))
		return -1;
	texts->vectors = array_new(texts->n, dims * sizeof *texts->vectors);
	if (!texts->vectors)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu vectors", texts->n);
	for (size_t i = 0; i < texts->n; i++) {
		texts->items[i].ids = ids;
		texts->items[i].vector = texts->vectors + i * dims;
		ids += texts->items[i].n;
	}
	texts->job = (struct embedding_job){.items = texts->items,
	    .n = texts->n,
	    .on_done = on_embedded,
	    .arg = texts,
	    .given_up = &request->given_up};
	texts->request = request;
	texts->next = next;
	embedding_submit(texts->embedding, &texts->job);
	return 0;
}

const float *
api_texts_vector(const struct api_texts *texts, size_t i, struct error *err)
{
	if (!texts->items[i].failed)
		return texts->items[i].vector;
	encoder_failure(texts->model->encoder, texts->items[i].n, err);
	error_prefix(err, "text");
	return NULL;
}

void
api_texts_count(struct api_texts *sum, const struct api_texts *more)
{
	if (!more->model)
		return;
	sum->api = more->api;
	sum->model = more->model;
	sum->n += more->n;
	sum->n_truncated += more->n_truncated;
	sum->n_unknown += more->n_unknown;
}

void
api_texts_notes(struct text *out, const struct api_texts *texts)
{
	if (!texts->model)
		return;
	metrics_truncated(texts->api->metrics, texts->n_truncated);
	metrics_unknown(texts->api->metrics, texts->n_unknown);
	if (texts->n_truncated > 0)
		text_printf(out, ",\"truncated\":%zu", texts->n_truncated);
	if (texts->n_unknown == 0)
		return;
	struct text warning = {0};
	text_printf(&warning,
	    "%zu of %zu texts or passages: more than a quarter of the pieces are "
	    "unknown to model '%s'; is it made for their language?",
	    texts->n_unknown, texts->n, texts->model->name);
	text_string(out, ",\"warnings\":[");
	text_json(out, warning.bytes ? warning.bytes : "", warning.n);
	text_string(out, "]");
	text_free(&warning);
}
