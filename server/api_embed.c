#include "server/api_embed.h"

#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"

/* Text to vectors: for points and queries, and OpenAI's two routes. */

int
api_embedder_find(struct api_embedder *embedder, const struct api *api, unsigned worker,
    const char *name, struct error *err)
{
	size_t n = models_count(api->models), i = 0;
	const struct model *model = models_find(api->models, name, err);

	if (!model)
		return -1;
	if (!model->encoder)
		return error_set(err, ERR_INPUT,
		    "model: '%.80s' is a binarizer and embeds no text", name);
	while (models_at(api->models, i) != model)
		i++;
	*embedder = (struct api_embedder){.encoder = model->encoder,
	    .scratch = api->scratches[worker * n + i],
	    .dims = encoder_dims(model->encoder),
	    .text_max_bytes = api->config->max_text_bytes};
	return 0;
}

int
api_embedder_run(const struct api_embedder *embedder, struct api_embedding *embedding,
    const struct json *text, struct error *err)
{
	struct encoder_output output = {.vector = embedding->vector};
	size_t max = embedder->text_max_bytes;

	if (text->type != JSON_STRING)
		return error_set(err, ERR_INPUT, "text: expected a string, not %s",
		    json_type_name(text->type));
	/* An escape of six bytes stands for one byte at least. */
	char *utf8 = text->len <= 6 * max + 2 ? array_new(text->len + 1, 1) : NULL;
	if (!utf8 && text->len <= 6 * max + 2)
		return error_set(err, ERR_MEMORY, "no memory for a text");
	size_t n = utf8 ? json_string(utf8, text->len + 1, text) : text->len;
	int rc = 0;
	if (n > max)
		rc = error_set(err, ERR_TOO_LARGE,
		    "text: expected at most %zu bytes (max_text_bytes), not %zu; cut "
		    "it into passages",
		    max, n);
	else if (n == 0)
		rc = error_set(err, ERR_INPUT, "text: expected some text, not ''");
	else if (encoder_embed(embedder->encoder, embedder->scratch, &output,
		     ENCODER_PLAIN, utf8, n, err))
		rc = error_prefix(err, "text");
	free(utf8);
	embedding->tokens = output.pieces;
	embedding->truncated = output.truncated;
	return rc;
}

void
api_embed_truncated(struct text *out, size_t n)
{
	if (n > 0)
		text_printf(out, ",\"truncated\":%zu", n);
}

/* What an embeddings request asks for. */
struct wish {
	char model[MODELS_NAME_MAX + 1];
	struct json input; /* a string, or an array of strings */
	size_t n;
	bool base64;
	uint64_t dims; /* 0 = the model's */
};

static int
read_input(struct wish *wish, struct http_request *request, const struct json *root,
    const struct config *config, struct error *err)
{
	struct json_walk walk;

	request->error_param = "input";
	if (!json_member(root, "input", &wish->input) || wish->input.type == JSON_NULL)
		return error_set(
		    err, ERR_INPUT, "input: expected a string or an array of strings");
	wish->n = wish->input.type == JSON_ARRAY ? json_count(&wish->input) : 1;
	if (wish->n == 0 || wish->n > config->max_inputs)
		return error_set(err, ERR_INPUT,
		    "input: expected 1 to %llu texts (max_inputs), not %zu",
		    (unsigned long long)config->max_inputs, wish->n);
	if (wish->input.type != JSON_ARRAY && wish->input.type != JSON_STRING)
		return error_set(err, ERR_INPUT,
		    "input: expected a string or an array of strings, not %s",
		    json_type_name(wish->input.type));
	walk = json_walk(&wish->input);
	while (wish->input.type == JSON_ARRAY && json_next(&walk)) {
		if (walk.value.type == JSON_NUMBER || walk.value.type == JSON_ARRAY) {
			request->error_code = "unsupported_input";
			return error_set(err, ERR_INPUT,
			    "input: expected texts, not token ids: they belong to "
			    "another model's tokenizer");
		}
		if (walk.value.type != JSON_STRING)
			return error_set(err, ERR_INPUT,
			    "input: expected strings, not %s",
			    json_type_name(walk.value.type));
	}
	return 0;
}

static int
read_wish(struct wish *wish, struct http_request *request, const struct json *root,
    const struct config *config, struct error *err)
{
	struct json value;
	int has;

	*wish = (struct wish){.n = 0};
	request->error_param = "model";
	has = api_member(&value, root, "model", JSON_STRING, err);
	if (has == 0)
		error_set(err, ERR_INPUT, "model: expected the name of a text model");
	if (has <= 0 ||
	    api_string(wish->model, sizeof wish->model, &value, "model", err))
		return -1;
	request->error_param = "encoding_format";
	has = api_member(&value, root, "encoding_format", JSON_STRING, err);
	if (has < 0)
		return -1;
	wish->base64 = has && json_equals(&value, "base64");
	if (has && !wish->base64 && !json_equals(&value, "float"))
		return error_set(err, ERR_INPUT,
		    "encoding_format: expected \"float\" or \"base64\", not %.*s",
		    value.len < 40 ? (int)value.len : 40, value.text);
	request->error_param = "dimensions";
	if (json_member(root, "dimensions", &value) && value.type != JSON_NULL &&
	    api_count(&wish->dims, &value, "dimensions", 1, UINT32_MAX, err))
		return -1;
	return read_input(wish, request, root, config, err);
}

static void
add_vector(struct text *out, const float *vector, size_t dims, bool base64)
{
	if (!base64) {
		for (size_t i = 0; i < dims; i++) {
			text_string(out, i ? "," : "[");
			text_float(out, vector[i]);
		}
		text_string(out, "]");
		return;
	}
	uint8_t bytes[4 * ENCODER_DIMS_MAX] = {0};
	for (size_t i = 0; i < dims; i++)
		bytes_putfle(bytes + 4 * i, vector[i]);
	text_string(out, "\"");
	char *room = text_room(out, base64_length(4 * dims));
	if (room) {
		base64_encode(room, bytes, 4 * dims);
		out->n += base64_length(4 * dims);
	}
	text_string(out, "\"");
}

/* Of all inputs together. */
struct usage {
	size_t tokens;
	size_t n_truncated;
};

/* Append the embeddings of all inputs. */
static int
add_embeddings(struct text *out, struct usage *usage, const struct wish *wish,
    const struct api *api, const struct api_embedder *embedder, struct error *err)
{
	float vector[ENCODER_DIMS_MAX] = {0};
	struct api_embedding embedding = {.vector = vector};
	struct json_walk walk = json_walk(&wish->input);
	struct json input = wish->input;

	*usage = (struct usage){.tokens = 0};
	for (size_t i = 0; i < wish->n; i++) {
		if (wish->input.type == JSON_ARRAY && json_next(&walk))
			input = walk.value;
		if (api_embedder_run(embedder, &embedding, &input, err))
			return wish->n > 1 ? error_prefix(err, "input[%zu]", i) : -1;
		usage->tokens += embedding.tokens;
		usage->n_truncated += embedding.truncated;
		text_printf(out,
		    "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":",
		    i ? "," : "", i);
		add_vector(out, vector, embedder->dims, wish->base64);
		text_string(out, "}");
		if (api_fits(out, api, "fewer texts, or for base64", err))
			return -1;
	}
	return 0;
}

void
api_embeddings(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct api_embedder embedder = {.dims = 0};
	struct text out = {0};
	struct json root;
	struct error err;
	struct wish wish;
	struct usage usage;

	if (api_body(&root, request, &err) ||
	    read_wish(&wish, request, &root, api->config, &err))
		goto err;
	request->error_param = "model";
	if (api_embedder_find(&embedder, api, worker, wish.model, &err)) {
		request->error_code = "model_not_found";
		goto err;
	}
	request->error_param = "dimensions";
	if (wish.dims && wish.dims != embedder.dims) {
		error_set(&err, ERR_INPUT,
		    "dimensions: model '%.60s' gives %zu, not %llu; leave it out",
		    wish.model, embedder.dims, (unsigned long long)wish.dims);
		goto err;
	}
	request->error_param = "input";
	text_string(&out, "{\"object\":\"list\",\"data\":[");
	if (add_embeddings(&out, &usage, &wish, api, &embedder, &err)) {
		if (err.code == ERR_TOO_LARGE)
			request->error_code = "context_length_exceeded";
		goto err;
	}
	text_string(&out, "],\"model\":");
	text_json(&out, wish.model, strlen(wish.model));
	text_printf(&out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}",
	    usage.tokens, usage.tokens);
	api_embed_truncated(&out, usage.n_truncated);
	text_string(&out, "}");
	metrics_truncated(api->metrics, usage.n_truncated);
	http_reply(request, 200, "application/json", &out);
	return;
err:
	text_free(&out);
	http_fail(request, &err);
}

static void
add_model(struct text *out, const struct model *model)
{
	text_string(out, "{\"id\":");
	text_json(out, model->name, strlen(model->name));
	text_printf(out,
	    ",\"object\":\"model\",\"created\":0,\"owned_by\":\"halftone\","
	    "\"dimensions\":%zu}",
	    encoder_dims(model->encoder));
}

void
api_models(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct text out = {0};
	bool first = true;
	(void)worker;

	text_string(&out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < models_count(api->models); i++) {
		const struct model *model = models_at(api->models, i);
		if (!model->encoder)
			continue;
		text_string(&out, first ? "" : ",");
		first = false;
		add_model(&out, model);
	}
	text_string(&out, "]}");
	http_reply(request, 200, "application/json", &out);
}

void
api_model(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct api_embedder embedder;
	struct text out = {0};
	struct error err;

	request->error_param = "model";
	request->error_code = "model_not_found";
	if (api_embedder_find(&embedder, api, worker, request->args[0], &err)) {
		http_fail(request, &err);
		return;
	}
	add_model(&out, models_find(api->models, request->args[0], &err));
	http_reply(request, 200, "application/json", &out);
}
