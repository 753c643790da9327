#include "server/api_texts.h"

#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"

/* OpenAI's routes: /v1/embeddings and /v1/models. */

/* What an embeddings request asks for. */
struct wish {
	char model[MODELS_NAME_MAX + 1];
	struct json input; /* a string, or an array of strings */
	size_t n;
	enum encoder_role role; /* "input_type" */
	bool base64;
	uint64_t dims; /* 0 = the model's */
	struct api_texts texts;
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

/* What the texts are, where it matters to the model. */
static int
read_role(enum encoder_role *role, const struct json *value, struct error *err)
{
	if (json_equals(value, "query"))
		*role = ENCODER_QUERY;
	else if (json_equals(value, "document"))
		*role = ENCODER_DOCUMENT;
	else
		return error_set(err, ERR_INPUT,
		    "input_type: expected \"query\" or \"document\" (without it the "
		    "text is taken as it is), not %.*s",
		    value->len < 40 ? (int)value->len : 40, value->text);
	return 0;
}

static int
read_wish(struct wish *wish, struct http_request *request, const struct json *root,
    const struct config *config, struct error *err)
{
	struct json value;
	int has;

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
	request->error_param = "input_type";
	has = api_member(&value, root, "input_type", JSON_STRING, err);
	if (has < 0 || (has && read_role(&wish->role, &value, err)))
		return -1;
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

/* Append the embeddings of all inputs. */
static int
add_embeddings(struct text *out, const struct wish *wish, struct error *err)
{
	const struct api_texts *texts = &wish->texts;
	size_t dims = encoder_dims(texts->model->encoder);

	for (size_t i = 0; i < texts->n; i++) {
		const float *vector = api_texts_vector(texts, i, err);
		if (!vector)
			return texts->n > 1 ? error_prefix(err, "input[%zu]", i) : -1;
		text_printf(out,
		    "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":",
		    i ? "," : "", i);
		add_vector(out, vector, dims, wish->base64);
		text_string(out, "}");
		if (api_fits(out, texts->api, "fewer texts, or for base64", err))
			return -1;
	}
	return 0;
}

static void
answer_embeddings(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct wish *wish = request->state;
	struct text out = {0};
	struct error err;
	(void)worker;

	text_string(&out, "{\"object\":\"list\",\"data\":[");
	if (add_embeddings(&out, wish, &err)) {
		text_free(&out);
		http_fail(request, &err);
		return;
	}
	text_string(&out, "],\"model\":");
	text_json(&out, wish->model, strlen(wish->model));
	text_printf(&out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}",
	    wish->texts.n_ids, wish->texts.n_ids);
	api_texts_notes(&out, &wish->texts);
	text_string(&out, "}");
	http_reply(request, 200, "application/json", &out);
}

/* All inputs become pieces. */
static int
tokenize(struct wish *wish, struct error *err)
{
	struct json_walk walk = json_walk(&wish->input);
	struct json input = wish->input;

	for (size_t i = 0; i < wish->n; i++) {
		if (wish->input.type == JSON_ARRAY && json_next(&walk))
			input = walk.value;
		if (api_texts_add(&wish->texts, wish->role, &input, err))
			return wish->n > 1 ? error_prefix(err, "input[%zu]", i) : -1;
	}
	return 0;
}

static void
wish_free(void *state)
{
	struct wish *wish = state;

	api_texts_free(&wish->texts);
	free(wish);
}

void
api_embeddings(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct wish *wish = array_new(1, sizeof *wish);
	struct json root;
	struct error err;
	(void)worker;

	if (!wish) {
		error_set(&err, ERR_MEMORY, "no memory for the request");
		goto err;
	}
	request->state = wish;
	request->state_free = wish_free;
	api_texts_init(&wish->texts, api);
	if (api_body(&root, request, &err) ||
	    read_wish(wish, request, &root, api->config, &err))
		goto err;
	request->error_param = "model";
	if (api_texts_model(&wish->texts, wish->model, &err)) {
		request->error_code = "model_not_found";
		goto err;
	}
	request->error_param = "dimensions";
	size_t dims = encoder_dims(wish->texts.model->encoder);
	if (wish->dims && wish->dims != dims) {
		error_set(&err, ERR_INPUT,
		    "dimensions: model '%.60s' gives %zu, not %llu; leave it out",
		    wish->model, dims, (unsigned long long)wish->dims);
		goto err;
	}
	request->error_param = "input";
	if (tokenize(wish, &err)) {
		if (err.code == ERR_TOO_LARGE)
			request->error_code = "context_length_exceeded";
		goto err;
	}
	if (api_texts_embed(&wish->texts, request, answer_embeddings, &err) == 0)
		return;
err:
	http_fail(request, &err);
}

static void
add_model(struct text *out, const struct model *model)
{
	text_string(out, "{\"id\":");
	text_json(out, model->name, strlen(model->name));
	text_printf(out,
	    ",\"object\":\"model\",\"created\":0,\"owned_by\":\"halftone\","
	    "\"dimensions\":%zu,\"max_tokens\":%zu",
	    encoder_dims(model->encoder), encoder_pieces_max(model->encoder));
	const char *coordinates = encoder_coordinates(model->encoder);
	if (coordinates[0]) {
		text_string(out, ",\"coordinates\":");
		text_json(out, coordinates, strlen(coordinates));
	}
	text_string(out, "}");
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
	struct api_texts texts;
	struct text out = {0};
	struct error err;
	(void)worker;

	request->error_param = "model";
	request->error_code = "model_not_found";
	api_texts_init(&texts, api);
	if (api_texts_model(&texts, request->args[0], &err)) {
		http_fail(request, &err);
		return;
	}
	add_model(&out, texts.model);
	http_reply(request, 200, "application/json", &out);
}
