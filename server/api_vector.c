#include "server/api_vector.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "binarize/recurrent.h"

static const struct collection_settings *
settings(const struct api_coder *coder)
{
	return collection_settings(coder->collection);
}

static int
init_scratches(struct api_coder *coder, struct error *err)
{
	for (size_t i = 0; i < collection_n_versions(coder->collection); i++) {
		const struct collection_version *v =
		    collection_version(coder->collection, i);
		coder->searching[i] = recurrent_scratch_new(v->searching, err);
		if (!coder->searching[i])
			return -1;
		if (v->model == v->searching)
			continue;
		coder->own[i] = recurrent_scratch_new(v->model, err);
		if (!coder->own[i])
			return -1;
	}
	return 0;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

int
api_coder_init(struct api_coder *coder, const struct api *api,
    const struct collection *collection, struct api_texts *texts, struct error *err)
{
	size_t size = ENCODER_DIMS_MAX, dims = 0, bytes = 0;

	*coder =
	    (struct api_coder){.api = api, .collection = collection, .texts = texts};
	for (size_t i = 0; i < collection_n_versions(collection); i++) {
		const struct collection_version *v = collection_version(collection, i);
		size = larger(size, v->size);
		dims = larger(dims, v->shape.dims);
		bytes = larger(bytes, code_bytes(v->shape));
	}
	coder->vector = array_new(size, sizeof *coder->vector);
	coder->wire = array_new(bytes, 1);
	coder->levels = array_new(dims, 1);
	coder->k = array_new(dims, 1);
	if (!coder->vector || !coder->wire || !coder->levels || !coder->k)
		return error_set(err, ERR_MEMORY, "no memory for a vector");
	return init_scratches(coder, err);
}

void
api_coder_free(struct api_coder *coder)
{
	for (size_t i = 0; i < STORE_PARTS_MAX; i++) {
		recurrent_scratch_free(coder->searching[i]);
		recurrent_scratch_free(coder->own[i]);
	}
	free(coder->vector);
	free(coder->waiting);
	free(coder->wire);
	free(coder->levels);
	free(coder->k);
	*coder = (struct api_coder){.api = NULL};
}

int
api_coder_normalise(struct api_coder *coder, struct error *err)
{
	const struct collection_settings *s = settings(coder);
	double sum = 0;

	for (uint32_t i = 0; i < s->size; i++)
		sum += (double)coder->vector[i] * (double)coder->vector[i];
	if (sum == 0)
		return error_set(err, ERR_INPUT,
		    "vector: expected one that is not zero; zero has no direction to "
		    "code");
	if (s->distance != COLLECTION_COSINE)
		return 0;
	double norm = sqrt(sum);
	for (uint32_t i = 0; i < s->size; i++)
		coder->vector[i] = (float)((double)coder->vector[i] / norm);
	return 0;
}

static int
read_numbers(struct api_coder *coder, const struct json *array, struct error *err)
{
	uint32_t size = settings(coder)->size;
	struct json_walk walk = json_walk(array);
	size_t n;

	if (json_next(&walk) && walk.value.type == JSON_ARRAY)
		return error_set(err, ERR_UNSUPPORTED,
		    "vector: several vectors a point are not served; expected one "
		    "array of %u numbers",
		    size);
	n = json_count(array);
	if (n != size)
		return error_set(err, ERR_INPUT,
		    "vector: expected %u dimensions, as the collection has, not %zu",
		    size, n);
	if (json_floats(coder->vector, size, &n, array, err))
		return error_prefix(err, "vector");
	return 0;
}

/* *chunk := whether a text, or what stands in its place, is to be cut. */
static int
read_chunk(bool *chunk, const struct json *value, struct error *err)
{
	struct json member;

	*chunk = false;
	if (!json_member(value, "chunk", &member) || member.type == JSON_NULL)
		return 0;
	if (member.type != JSON_TRUE && member.type != JSON_FALSE)
		return error_set(err, ERR_INPUT,
		    "chunk: expected true or false, not %s",
		    json_type_name(member.type));
	*chunk = member.type == JSON_TRUE;
	return 0;
}

/* The model of a text, called `name`, embeds into the space of the collection's. */
static int
check_coordinates(const struct api_coder *coder, const char *name, struct error *err)
{
	const char *own = settings(coder)->text_model;
	struct error unknown;
	const struct model *model =
	    own[0] ? models_find(coder->api->models, own, &unknown) : NULL;

	if (!model || !model->encoder)
		return 0;
	const char *want = encoder_coordinates(model->encoder);
	const char *got = encoder_coordinates(coder->texts->model->encoder);
	if (want[0] && got[0] && strcmp(want, got) != 0)
		return error_set(err, ERR_INPUT,
		    "model: expected one of the coordinates \"%s\", as the "
		    "collection's text model has, not '%.60s' of \"%s\"",
		    want, name, got);
	return 0;
}

/* Take the text as the last of coder->texts, or its passages. */
static int
read_text(struct api_coder *coder, enum encoder_role role, const struct json *value,
    const struct json *text, struct error *err)
{
	const struct collection_settings *s = settings(coder);
	const char *own =
	    role == ENCODER_QUERY && s->query_model[0] ? s->query_model : s->text_model;
	char name[MODELS_NAME_MAX + 1] = "";
	struct json model;
	bool chunk;

	if (read_chunk(&chunk, value, err))
		return -1;
	if (chunk && !coder->chunks)
		return error_set(err, ERR_INPUT,
		    "chunk: a query's text is embedded whole; leave 'chunk' out");
	if (json_member(value, "model", &model) && model.type != JSON_NULL &&
	    api_string(name, sizeof name, &model, "model", err))
		return -1;
	if (!name[0])
		memcpy(name, own, sizeof name);
	if (!name[0])
		return error_set(err, ERR_INPUT,
		    "text: expected a 'model' beside it; this collection has no "
		    "text_model");
	if (api_texts_model(coder->texts, name, err))
		return -1;
	size_t dims = encoder_dims(coder->texts->model->encoder);
	if (dims != s->size)
		return error_set(err, ERR_INPUT,
		    "model: '%.60s' gives %zu dimensions, the collection has %u", name,
		    dims, s->size);
	if (check_coordinates(coder, name, err))
		return -1;
	return chunk ? api_chunks_add(coder->chunks, coder->texts, text, err)
		     : api_texts_add(coder->texts, role, text, err);
}

/* What an {"object", "model"} holds. */
enum object_kind { OBJECT_CODE, OBJECT_FLOATS };

struct object {
	enum object_kind kind;
	char *text; /* base64, to be freed */
	size_t text_n;
	float norm;
	size_t version; /* of a code */
};

/* object->version := that of the binarizer whose id comes along.  Documents are coded
 * by the newest alone. */
static int
read_version(struct object *object, const struct api_coder *coder,
    enum encoder_role role, const struct json *members, struct error *err)
{
	const struct collection *c = coder->collection;
	size_t n = collection_n_versions(c), i = n;
	const char *newest = collection_binarizer_id(c);
	struct json value;
	int has = api_member(&value, members, "binarizer_id", JSON_STRING, err);

	object->version = n - 1;
	if (has < 0)
		return -1;
	if (!has && n > 1 && object->kind == OBJECT_CODE)
		return error_set(err, ERR_INPUT,
		    "object.binarizer_id: expected one with a code, as the collection "
		    "has codes of %zu binarizers; the newest is %s",
		    n, newest);
	if (!has)
		return 0;
	while (i > 0 &&
	       !json_equals(&value, recurrent_id(collection_version(c, i - 1)->model)))
		i--;
	if (i == 0)
		return error_set(err, ERR_INPUT,
		    "object.binarizer_id: expected a code of binarizer %s, not of %.*s",
		    newest, value.len < 60 ? (int)value.len : 60, value.text);
	if (i < n && role == ENCODER_DOCUMENT)
		return error_set(err, ERR_INPUT,
		    "object.binarizer_id: documents are coded by binarizer %s now, not "
		    "by %.*s, whose codes are kept and not added to",
		    newest, (int)value.len, value.text);
	object->version = i - 1;
	return 0;
}

static int
read_norm(struct object *object, const struct json *members, struct error *err)
{
	struct json value;
	int has = api_member(&value, members, "norm", JSON_NUMBER, err);
	if (has < 0)
		return -1;
	object->norm = has ? (float)json_double(&value) : 1.0f;
	if (!(object->norm > 0) || !(object->norm < 1e18f))
		return error_set(err, ERR_INPUT,
		    "object.norm: expected a number above 0 and below 1e18");
	return 0;
}

/* *object := {"object": {"b64": ...}, "model": "codes" or "float32"}. */
static int
read_object(struct object *object, const struct api_coder *coder,
    enum encoder_role role, const struct json *value, const struct json *members,
    struct error *err)
{
	struct json model, b64;
	bool chunk;
	*object = (struct object){.text = NULL};
	if (read_chunk(&chunk, value, err))
		return -1;
	if (chunk)
		return error_set(err, ERR_INPUT,
		    "chunk: expected a 'text' beside it, not an object");
	if (members->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "object: expected {\"b64\": \"...\"}, not %s",
		    json_type_name(members->type));
	int has = api_member(&model, value, "model", JSON_STRING, err);
	if (has < 0)
		return -1;
	if (has && json_equals(&model, "codes"))
		object->kind = OBJECT_CODE;
	else if (has && json_equals(&model, "float32"))
		object->kind = OBJECT_FLOATS;
	else
		return error_set(err, ERR_INPUT,
		    "model: expected \"codes\" or \"float32\" beside an object");
	has = api_member(&b64, members, "b64", JSON_STRING, err);
	if (has == 0)
		error_set(err, ERR_INPUT, "object: expected a member 'b64'");
	if (has <= 0 || read_norm(object, members, err) ||
	    read_version(object, coder, role, members, err))
		return -1;
	object->text = array_new(b64.len + 1, 1);
	if (!object->text)
		return error_set(err, ERR_MEMORY, "no memory for an object");
	object->text_n = json_string(object->text, b64.len + 1, &b64);
	return 0;
}

/* coder->vector := the floats of an object. */
static int
read_floats(struct api_coder *coder, const struct object *object, struct error *err)
{
	uint32_t size = settings(coder)->size;
	uint8_t *bytes = array_new(size, 4);
	int rc = 0;
	if (!bytes)
		return error_set(err, ERR_MEMORY, "no memory for a vector");
	if (base64_decode(bytes, (size_t)size * 4, object->text, object->text_n, err))
		rc = error_prefix(err, "object.b64 (%u float32)", size);
	for (uint32_t i = 0; i < size && rc == 0; i++) {
		coder->vector[i] = bytes_getfle(bytes + 4 * (size_t)i);
		if (!isfinite(coder->vector[i]))
			rc = error_set(err, ERR_INPUT,
			    "object.b64: expected finite numbers; number %u is not", i);
	}
	free(bytes);
	return rc;
}

static int
read_wire(const struct api_coder *coder, uint8_t *wire, const struct object *object,
    struct error *err)
{
	struct code_shape shape =
	    collection_version(coder->collection, object->version)->shape;
	if (base64_decode(wire, code_bytes(shape), object->text, object->text_n, err))
		return error_prefix(
		    err, "object.b64 (a code of %u x %u bits)", shape.dims, shape.bits);
	if (code_check(wire, shape, err))
		return error_prefix(err, "object.b64");
	return 0;
}

/* Take a vector's name off: {"NAME": value} -> value.  *value is replaced. */
static int
unwrap(const struct api_coder *coder, struct json *value, struct error *err)
{
	static const char *const not_served[] = {"indices", "image", "values"};
	const char *name = settings(coder)->vector;
	struct json inner;

	if (value->type != JSON_OBJECT)
		return 0;
	if ((json_member(value, "text", &inner) && inner.type == JSON_STRING) ||
	    (json_member(value, "object", &inner) &&
		json_member(value, "model", &inner)))
		return 0;
	if (json_count(value) == 1 && json_member(value, name, &inner)) {
		*value = inner;
		return 0;
	}
	for (size_t i = 0; i < sizeof not_served / sizeof *not_served; i++) {
		if (json_member(value, not_served[i], &inner))
			return error_set(err, ERR_UNSUPPORTED,
			    "vector: '%s' (sparse vectors, images) is not served",
			    not_served[i]);
	}
	if (json_member(value, "chunk", &inner) && inner.type == JSON_TRUE)
		return error_set(
		    err, ERR_INPUT, "chunk: expected a string 'text' beside it");
	return error_set(err, ERR_INPUT,
	    "vector: expected numbers, {\"text\"}, {\"object\", \"model\"} or the "
	    "vector named '%.60s'; not %.*s",
	    name, value->len < 60 ? (int)value->len : 60, value->text);
}

/* What a value is: a vector, now in coder->vector; a code, now in `wire`; a text, now
 * the last of coder->texts. */
enum reading_kind { READ_VECTOR, READ_CODE, READ_TEXT };

struct reading {
	enum encoder_role role; /* in: of a text */
	uint8_t *wire;          /* in */
	enum reading_kind kind;
	float norm;     /* of a code */
	size_t version; /* of a code */
};

static int
read_value(struct api_coder *coder, struct reading *reading, const struct json *value,
    struct error *err)
{
	struct json inner, v = *value;
	struct object object;
	reading->kind = READ_VECTOR;
	if (unwrap(coder, &v, err))
		return -1;
	if (v.type == JSON_ARRAY)
		return read_numbers(coder, &v, err) || api_coder_normalise(coder, err)
			   ? -1
			   : 0;
	if (v.type != JSON_OBJECT || unwrap(coder, &v, err))
		return v.type == JSON_OBJECT ? -1
					     : error_set(err, ERR_INPUT,
						   "vector: expected an array of "
						   "numbers or an object, not %s",
						   json_type_name(v.type));
	if (json_member(&v, "text", &inner) && inner.type == JSON_STRING) {
		reading->kind = READ_TEXT;
		return read_text(coder, reading->role, &v, &inner, err);
	}
	if (!json_member(&v, "object", &inner))
		return error_set(err, ERR_INPUT,
		    "vector: expected {\"text\"} or {\"object\", \"model\"}");
	int rc = read_object(&object, coder, reading->role, &v, &inner, err);
	if (rc == 0 && object.kind == OBJECT_FLOATS) {
		rc = read_floats(coder, &object, err) || api_coder_normalise(coder, err)
			 ? -1
			 : 0;
	} else if (rc == 0) {
		reading->kind = READ_CODE;
		reading->norm = object.norm;
		reading->version = object.version;
		rc = read_wire(coder, reading->wire, &object, err);
	}
	free(object.text);
	return rc;
}

/* *code := of coder->vector. */
static int
encode(struct api_coder *coder, struct api_code *code, struct error *err)
{
	size_t newest = collection_n_versions(coder->collection) - 1;
	struct recurrent_numbers numbers;

	if (recurrent_encode(collection_binarizer(coder->collection),
		coder->searching[newest], code->wire, &numbers, coder->vector, err))
		return error_prefix(err, "vector");
	code->factor = numbers.factor;
	code->norm2 = numbers.norm2;
	return 0;
}

/* coder->vector waits. */
static int
join_waiting(struct api_coder *coder, struct error *err)
{
	size_t size = settings(coder)->size;

	if (!coder->waiting)
		coder->waiting =
		    array_new(API_CODER_WAITING_MAX, size * sizeof *coder->waiting);
	if (!coder->waiting)
		return error_set(err, ERR_MEMORY, "no memory for vectors");
	assert(coder->n_waiting < API_CODER_WAITING_MAX);
	memcpy(coder->waiting + coder->n_waiting++ * size, coder->vector,
	    size * sizeof *coder->waiting);
	return 0;
}

size_t
api_coder_code(struct api_coder *coder, uint8_t *wires,
    struct recurrent_numbers *numbers, struct error *err)
{
	size_t newest = collection_n_versions(coder->collection) - 1;
	size_t n = coder->n_waiting;
	const struct recurrent_codes codes = {wires, numbers};

	size_t coded = recurrent_encode_many(collection_binarizer(coder->collection),
	    coder->searching[newest], &codes, coder->waiting, n, err);
	coder->n_waiting = 0;
	if (coded < n)
		error_prefix(err, "vector");
	return coded;
}

int
api_coder_document(struct api_coder *coder, struct api_code *code,
    const struct json *value, struct error *err)
{
	struct reading reading = {.role = ENCODER_DOCUMENT, .wire = code->wire};

	if (read_value(coder, &reading, value, err))
		return -1;
	if (reading.kind == READ_TEXT)
		return API_DOCUMENT_TEXT;
	if (reading.kind == READ_VECTOR)
		return join_waiting(coder, err) == 0 ? API_DOCUMENT_VECTOR : -1;
	struct api_row row = {.wire = code->wire, .version = reading.version};
	api_coder_expect(coder, &row, reading.norm);
	code->factor = row.factor;
	code->norm2 = row.norm2;
	return API_DOCUMENT_CODE;
}

/* coder->vector := the embedding of text i. */
static int
take_embedding(struct api_coder *coder, size_t i, struct error *err)
{
	const float *vector = api_texts_vector(coder->texts, i, err);

	if (!vector)
		return -1;
	memcpy(coder->vector, vector, settings(coder)->size * sizeof *vector);
	return api_coder_normalise(coder, err);
}

int
api_coder_embedded(
    struct api_coder *coder, struct api_code *code, size_t i, struct error *err)
{
	return take_embedding(coder, i, err) || encode(coder, code, err) ? -1 : 0;
}

int
api_coder_embedded_waits(struct api_coder *coder, size_t i, struct error *err)
{
	return take_embedding(coder, i, err) || join_waiting(coder, err) ? -1 : 0;
}

int
api_coder_query(struct api_coder *coder, struct distance_query *queries,
    const struct json *value, struct error *err)
{
	struct reading reading = {.role = ENCODER_QUERY, .wire = coder->wire};

	if (read_value(coder, &reading, value, err))
		return -1;
	if (reading.kind == READ_TEXT)
		return 1;
	if (reading.kind == READ_VECTOR)
		return api_coder_vector(coder, queries, err);
	struct api_row row = {.wire = coder->wire, .version = reading.version};
	api_coder_expect(coder, &row, reading.norm);
	return api_coder_stored(coder, queries, &row, err);
}

int
api_coder_embedded_query(struct api_coder *coder, struct distance_query *queries,
    size_t i, struct error *err)
{
	return take_embedding(coder, i, err) || api_coder_vector(coder, queries, err)
		   ? -1
		   : 0;
}
