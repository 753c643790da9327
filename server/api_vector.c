#include "server/api_vector.h"

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

int
api_coder_init(struct api_coder *coder, const struct api *api,
    const struct collection *collection, struct api_texts *texts, struct error *err)
{
	const struct collection_settings *s = collection_settings(collection);
	size_t size = s->size > ENCODER_DIMS_MAX ? s->size : ENCODER_DIMS_MAX;

	*coder =
	    (struct api_coder){.api = api, .collection = collection, .texts = texts};
	coder->vector = array_new(size, sizeof *coder->vector);
	coder->wire = array_new(code_bytes(s->shape), 1);
	coder->levels = array_new(s->shape.dims, 1);
	coder->k = array_new(s->shape.dims, 1);
	if (!coder->vector || !coder->wire || !coder->levels || !coder->k)
		return error_set(err, ERR_MEMORY, "no memory for a vector");
	coder->scratch = recurrent_scratch_new(collection_binarizer(collection), err);
	return coder->scratch ? 0 : -1;
}

void
api_coder_free(struct api_coder *coder)
{
	recurrent_scratch_free(coder->scratch);
	free(coder->vector);
	free(coder->wire);
	free(coder->levels);
	free(coder->k);
	*coder = (struct api_coder){.api = NULL};
}

/* coder->vector := a vector of length 1 for Cosine. */
static int
normalise(struct api_coder *coder, struct error *err)
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
};

static int
read_object_numbers(struct object *object, const struct api_coder *coder,
    const struct json *members, struct error *err)
{
	const char *id = collection_binarizer_id(coder->collection);
	struct json value;
	int has = api_member(&value, members, "norm", JSON_NUMBER, err);
	if (has < 0)
		return -1;
	object->norm = has ? (float)json_double(&value) : 1.0f;
	if (!(object->norm > 0) || !(object->norm < 1e18f))
		return error_set(err, ERR_INPUT,
		    "object.norm: expected a number above 0 and below 1e18");
	has = api_member(&value, members, "binarizer_id", JSON_STRING, err);
	if (has < 0)
		return -1;
	if (has && !json_equals(&value, id))
		return error_set(err, ERR_INPUT,
		    "object.binarizer_id: expected a code of binarizer %s, not of %.*s",
		    id, value.len < 60 ? (int)value.len : 60, value.text);
	return 0;
}

/* *object := {"object": {"b64": ...}, "model": "codes" or "float32"}. */
static int
read_object(struct object *object, const struct api_coder *coder,
    const struct json *value, const struct json *members, struct error *err)
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
	if (has <= 0 || read_object_numbers(object, coder, members, err))
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
	struct code_shape shape = settings(coder)->shape;
	if (base64_decode(wire, code_bytes(shape), object->text, object->text_n, err))
		return error_prefix(
		    err, "object.b64 (a code of %u x %u bits)", shape.dims, shape.bits);
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
	float norm; /* of a code */
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
		return read_numbers(coder, &v, err) || normalise(coder, err) ? -1 : 0;
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
	int rc = read_object(&object, coder, &v, &inner, err);
	if (rc == 0 && object.kind == OBJECT_FLOATS) {
		rc = read_floats(coder, &object, err) || normalise(coder, err) ? -1 : 0;
	} else if (rc == 0) {
		reading->kind = READ_CODE;
		reading->norm = object.norm;
		rc = read_wire(coder, reading->wire, &object, err);
	}
	free(object.text);
	return rc;
}

/* The expected square of the cosine between a projected vector and its code, by bits:
 * of a unit Gaussian's coordinates at the step that fits them best (base/code.h), one
 * less the mean squared error.  Nothing is known of learned codes. */
static double
cosine2(const struct api_coder *coder)
{
	static const double rotation[] = {[1] = 0.6366, 0.8812, 0.9626, 0.9885};
	struct recurrent_info info =
	    recurrent_info(collection_binarizer(coder->collection));
	return info.kind == RECURRENT_ROTATION ? rotation[info.shape.bits] : 1;
}

/* What is stored of a code that came without its vector, whose length is `norm`: the
 * factor that is to be expected. */
static struct api_row
row_of_code(const struct api_coder *coder, const uint8_t *wire, float norm)
{
	const struct collection_settings *s = settings(coder);
	if (s->distance == COLLECTION_COSINE)
		norm = 1;
	double plain = (double)recurrent_factor(
	    collection_binarizer(coder->collection), coder->scratch, wire, norm);
	return (struct api_row){.wire = wire,
	    .factor = (float)(plain / sqrt(cosine2(coder))),
	    .norm2 = norm * norm};
}

/* *code := of coder->vector. */
static int
encode(struct api_coder *coder, struct api_code *code, struct error *err)
{
	const struct recurrent *binarizer = collection_binarizer(coder->collection);
	struct recurrent_numbers numbers;

	if (recurrent_encode(
		binarizer, coder->scratch, code->wire, &numbers, coder->vector, err))
		return error_prefix(err, "vector");
	code->factor = numbers.factor;
	code->norm2 = numbers.norm2;
	return 0;
}

int
api_coder_document(struct api_coder *coder, struct api_code *code,
    const struct json *value, struct error *err)
{
	struct reading reading = {.role = ENCODER_DOCUMENT, .wire = code->wire};

	if (read_value(coder, &reading, value, err))
		return -1;
	if (reading.kind == READ_TEXT)
		return 1;
	if (reading.kind == READ_VECTOR)
		return encode(coder, code, err);
	struct api_row row = row_of_code(coder, code->wire, reading.norm);
	code->factor = row.factor;
	code->norm2 = row.norm2;
	return 0;
}

/* coder->vector := the embedding of text i. */
static int
take_embedding(struct api_coder *coder, size_t i, struct error *err)
{
	const float *vector = api_texts_vector(coder->texts, i, err);

	if (!vector)
		return -1;
	memcpy(coder->vector, vector, settings(coder)->size * sizeof *vector);
	return normalise(coder, err);
}

int
api_coder_embedded(
    struct api_coder *coder, struct api_code *code, size_t i, struct error *err)
{
	return take_embedding(coder, i, err) || encode(coder, code, err) ? -1 : 0;
}

static void
hamming_query(
    struct api_coder *coder, struct distance_query *query, const uint8_t *wire)
{
	struct code_shape shape = settings(coder)->shape;
	code_to_levels(coder->levels, wire, shape);
	distance_query_hamming(query, coder->levels, shape);
}

/* *query := coder->vector in the collection's code distance. */
static int
vector_query(struct api_coder *coder, struct distance_query *query, struct error *err)
{
	const struct recurrent *binarizer = collection_binarizer(coder->collection);
	const struct collection_settings *s = settings(coder);
	struct recurrent_query q = {.k = coder->k};
	struct distance_terms terms = {.metric = DISTANCE_DOT};
	int rc;

	switch (s->code_distance) {
	case DISTANCE_HAMMING:
		if (recurrent_query_code(
			binarizer, coder->scratch, coder->levels, coder->vector, err))
			return error_prefix(err, "query");
		distance_query_hamming(query, coder->levels, s->shape);
		return 0;
	case DISTANCE_SDC:
		rc = recurrent_query_sdc(
		    binarizer, coder->scratch, &q, coder->vector, err);
		break;
	default:
		rc = recurrent_query_int8(
		    binarizer, coder->scratch, &q, coder->vector, err);
		break;
	}
	if (rc)
		return error_prefix(err, "query");
	terms.base = q.base;
	if (s->distance == COLLECTION_EUCLID) {
		terms.metric = DISTANCE_EUCLID;
		for (uint32_t i = 0; i < s->size; i++)
			terms.norm2 += coder->vector[i] * coder->vector[i];
	}
	/* Both kinds are signed bytes that meet levels. */
	distance_query_int8(query, q.k, q.scale, s->shape, terms);
	return 0;
}

/* coder->vector := the best estimate of what was coded; returns its |x|. */
static double
estimate(struct api_coder *coder, const struct api_row *row)
{
	const struct collection_settings *s = settings(coder);
	const struct recurrent *binarizer = collection_binarizer(coder->collection);
	const float *mean = recurrent_info(binarizer).mean;
	double mean2 = 0, across = 0, along = 0; /* |mu|^2, <mu, f v>, |f v|^2 */
	double norm2, rest2;                     /* |x|^2, |x - mu|^2 */

	/* mu + f v is right in inner products with all but x: there f holds what the
	 * code has missed of x - mu, whose projection on v is shorter. */
	recurrent_decode(
	    binarizer, coder->scratch, coder->vector, row->wire, row->factor);
	for (uint32_t i = 0; i < s->size; i++) {
		double mu = (double)mean[i], fv = (double)coder->vector[i] - mu;
		mean2 += mu * mu;
		across += mu * fv;
		along += fv * fv;
	}
	if (s->distance == COLLECTION_DOT) {
		float one = recurrent_factor(binarizer, coder->scratch, row->wire, 1);
		double length = (double)row->factor / (double)one;
		rest2 = length * length * cosine2(coder);
		norm2 = mean2 + 2 * across + rest2;
	} else {
		norm2 = s->distance == COLLECTION_COSINE ? 1 : (double)row->norm2;
		rest2 = norm2 - mean2 - 2 * across;
	}
	double share = along > 0 ? rest2 / along : 0;
	/* Of Cosine the score against itself is known too: 1. */
	if (s->distance == COLLECTION_COSINE && across + along > 0)
		share = (rest2 + across) / (across + along);
	share = fmin(fmax(share, 0), 1);
	for (uint32_t i = 0; i < s->size; i++)
		coder->vector[i] =
		    (float)((double)mean[i] +
			    share * ((double)coder->vector[i] - (double)mean[i]));
	return sqrt(fmax(norm2, 0));
}

void
api_coder_decode(struct api_coder *coder, const struct api_row *row)
{
	double want = estimate(coder, row), sum = 0;
	uint32_t size = settings(coder)->size;

	for (uint32_t i = 0; i < size; i++)
		sum += (double)coder->vector[i] * (double)coder->vector[i];
	double scale = sum > 0 ? want / sqrt(sum) : 0;
	for (uint32_t i = 0; i < size; i++)
		coder->vector[i] = (float)((double)coder->vector[i] * scale);
}

int
api_coder_stored(struct api_coder *coder, struct distance_query *query,
    const struct api_row *row, struct error *err)
{
	if (settings(coder)->code_distance == DISTANCE_HAMMING) {
		hamming_query(coder, query, row->wire);
		return 0;
	}
	double norm = estimate(coder, row);
	if (vector_query(coder, query, err))
		return -1;
	/* The length of the vector itself is known, and is more than the estimate's. */
	query->terms.norm2 = (float)(norm * norm);
	return 0;
}

int
api_coder_query(struct api_coder *coder, struct distance_query *query,
    const struct json *value, struct error *err)
{
	struct reading reading = {.role = ENCODER_QUERY, .wire = coder->wire};

	if (read_value(coder, &reading, value, err))
		return -1;
	if (reading.kind == READ_TEXT)
		return 1;
	if (reading.kind == READ_VECTOR)
		return vector_query(coder, query, err);
	struct api_row row = row_of_code(coder, coder->wire, reading.norm);
	return api_coder_stored(coder, query, &row, err);
}

int
api_coder_embedded_query(
    struct api_coder *coder, struct distance_query *query, size_t i, struct error *err)
{
	return take_embedding(coder, i, err) || vector_query(coder, query, err) ? -1
										: 0;
}
