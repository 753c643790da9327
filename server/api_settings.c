#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "server/api.h"

/* The bodies of PUT and PATCH /collections/{c} -> struct collection_settings. */

/* Members that steer what does not exist here: a client may send them. */
static const char *const ignored[] = {"shard_number", "replication_factor",
    "write_consistency_factor", "on_disk_payload", "hnsw_config", "optimizers_config",
    "wal_config", "strict_mode_config", "timeout"};

static const char *const ignored_in_vectors[] = {"hnsw_config", "on_disk", "datatype"};

static bool
is_one_of(const struct json *key, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (json_equals(key, names[i]))
			return true;
	}
	return false;
}

static int
unknown(
    const struct json *key, const char *where, const char *expected, struct error *err)
{
	return error_set(err, ERR_INPUT, "%s: expected %s, not %.*s", where, expected,
	    key->len < 60 ? (int)key->len : 60, key->text);
}

/* {"binary": {"encoding": ...}}: how many bits; the rest is about the memory. */
static int
read_quantization(
    struct collection_settings *s, const struct json *config, struct error *err)
{
	struct json binary, encoding;
	int has = api_member(&binary, config, "binary", JSON_OBJECT, err);
	if (has < 0)
		return -1;
	if (!has)
		return error_set(err, ERR_UNSUPPORTED,
		    "quantization_config: only 'binary' is served; every collection "
		    "keeps codes of 1 to 4 bits (\"codes\": {\"bits\": 4})");
	has = api_member(&encoding, &binary, "encoding", JSON_STRING, err);
	if (has < 0)
		return -1;
	if (!has || json_equals(&encoding, "one_bit"))
		s->shape.bits = 1;
	else if (json_equals(&encoding, "two_bits"))
		s->shape.bits = 2;
	else
		return error_set(err, ERR_UNSUPPORTED,
		    "quantization_config.binary.encoding: one_bit and two_bits are "
		    "served, not %.*s",
		    encoding.len < 40 ? (int)encoding.len : 40, encoding.text);
	return 0;
}

static int
read_vector_params(
    struct collection_settings *s, const struct json *params, struct error *err)
{
	bool has_size = false, has_distance = false;
	struct json_walk walk = json_walk(params);

	while (json_next(&walk)) {
		const struct json *value = &walk.value;
		if (value->type == JSON_NULL)
			continue;
		if (json_equals(&walk.key, "size")) {
			uint64_t size;
			if (api_count(&size, value, "vectors.size", 1,
				COLLECTION_SIZE_MAX, err))
				return -1;
			s->size = (uint32_t)size;
			has_size = true;
		} else if (json_equals(&walk.key, "distance")) {
			char name[32];
			if (api_string(
				name, sizeof name, value, "vectors.distance", err) ||
			    collection_distance_parse(&s->distance, name, err))
				return -1;
			has_distance = true;
		} else if (json_equals(&walk.key, "quantization_config")) {
			if (read_quantization(s, value, err))
				return -1;
		} else if (json_equals(&walk.key, "multivector_config")) {
			return error_set(err, ERR_UNSUPPORTED,
			    "vectors.multivector_config: multivectors are not served; "
			    "give each point one vector");
		} else if (!is_one_of(&walk.key, ignored_in_vectors,
			       sizeof ignored_in_vectors /
				   sizeof *ignored_in_vectors)) {
			return unknown(
			    &walk.key, "vectors", "'size' and 'distance'", err);
		}
	}
	/* A text model says what size its vectors have. */
	has_size |= s->text_model[0] != '\0';
	if (!has_size || !has_distance)
		return error_set(err, ERR_INPUT,
		    "vectors: expected {\"size\": N, \"distance\": "
		    "\"Cosine\"|\"Dot\"|\"Euclid\"}; '%s' is missing",
		    has_size ? "distance" : "size");
	return 0;
}

/* {"size", "distance"}, or {"NAME": {"size", "distance"}} with one name. */
static int
read_vectors(
    struct collection_settings *s, const struct json *vectors, struct error *err)
{
	struct json_walk walk = json_walk(vectors);
	bool plain = false;
	size_t n = 0;

	while (json_next(&walk)) {
		plain |= walk.value.type != JSON_OBJECT &&
			 (json_equals(&walk.key, "size") ||
			     json_equals(&walk.key, "distance"));
		n++;
	}
	if (plain || n == 0)
		return read_vector_params(s, vectors, err);
	if (n > 1)
		return error_set(err, ERR_UNSUPPORTED,
		    "vectors: several named vectors are not served; expected one");
	walk = json_walk(vectors);
	json_next(&walk);
	if (walk.value.type != JSON_OBJECT)
		return unknown(&walk.key, "vectors", "'size' and 'distance'", err);
	if (api_string(
		s->vector, sizeof s->vector, &walk.key, "vectors: the name", err))
		return -1;
	return read_vector_params(s, &walk.value, err);
}

/* s->mean := the floats of a text in base64, in place of one that was there. */
static int
read_floats(
    struct collection_settings *s, const char *text, size_t n, struct error *err)
{
	size_t n_bytes = base64_bytes(text, n);
	if (n_bytes == 0 || n_bytes % 4 || n_bytes / 4 > COLLECTION_SIZE_MAX)
		return error_set(err, ERR_INPUT,
		    "codes.mean.b64: expected 1 to %d float32, not %zu bytes",
		    COLLECTION_SIZE_MAX, n_bytes);
	uint8_t *bytes = array_new(n_bytes, 1);
	float *mean = array_new(n_bytes / 4, sizeof *mean);
	int rc = 0;
	if (!bytes || !mean)
		rc = error_set(err, ERR_MEMORY, "no memory for codes.mean");
	else if (base64_decode(bytes, n_bytes, text, n, err))
		rc = error_prefix(err, "codes.mean.b64");
	for (size_t i = 0; rc == 0 && i < n_bytes / 4; i++)
		mean[i] = bytes_getfle(bytes + 4 * i);
	free(bytes);
	if (rc) {
		free(mean);
		return -1;
	}
	api_settings_free(s);
	s->mean = mean;
	s->n_mean = n_bytes / 4;
	return 0;
}

/* "mean": {"b64": little-endian floats} */
static int
read_mean(struct collection_settings *s, const struct json *mean, struct error *err)
{
	struct json b64;
	if (mean->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "codes.mean: expected {\"b64\": \"...\"}, not %s",
		    json_type_name(mean->type));
	int has = api_member(&b64, mean, "b64", JSON_STRING, err);
	if (has < 0)
		return error_prefix(err, "codes.mean");
	if (!has)
		return error_set(err, ERR_INPUT, "codes.mean: expected a member 'b64'");
	char *text = array_new(b64.len + 1, 1);
	if (!text)
		return error_set(err, ERR_MEMORY, "no memory for codes.mean");
	int rc = read_floats(s, text, json_string(text, b64.len + 1, &b64), err);
	free(text);
	return rc;
}

static int
read_codes(struct collection_settings *s, const struct json *codes, struct error *err)
{
	struct json_walk walk = json_walk(codes);

	while (json_next(&walk)) {
		const struct json *value = &walk.value;
		uint64_t n;
		char name[32];
		if (value->type == JSON_NULL)
			continue;
		if (json_equals(&walk.key, "dims")) {
			if (api_count(&n, value, "codes.dims", CODE_DIMS_STEP,
				CODE_DIMS_MAX, err))
				return -1;
			if (n % CODE_DIMS_STEP)
				return error_set(err, ERR_INPUT,
				    "codes.dims: expected a multiple of %d from %d to "
				    "%d, not %llu",
				    CODE_DIMS_STEP, CODE_DIMS_STEP, CODE_DIMS_MAX,
				    (unsigned long long)n);
			s->shape.dims = (uint32_t)n;
		} else if (json_equals(&walk.key, "bits")) {
			if (api_count(&n, value, "codes.bits", 1, CODE_BITS_MAX, err))
				return -1;
			s->shape.bits = (uint32_t)n;
		} else if (json_equals(&walk.key, "distance")) {
			if (api_string(
				name, sizeof name, value, "codes.distance", err) ||
			    collection_code_distance_parse(
				&s->code_distance, name, err))
				return -1;
		} else if (json_equals(&walk.key, "binarizer")) {
			if (api_string(s->binarizer, sizeof s->binarizer, value,
				"codes.binarizer", err))
				return -1;
		} else if (json_equals(&walk.key, "mean")) {
			if (read_mean(s, value, err))
				return -1;
		} else if (json_equals(&walk.key, "progressive")) {
			if (value->type != JSON_TRUE && value->type != JSON_FALSE)
				return error_set(err, ERR_INPUT,
				    "codes.progressive: expected true or false, not %s",
				    json_type_name(value->type));
			s->progressive = value->type == JSON_TRUE;
		} else if (!json_equals(&walk.key, "binarizer_id") &&
			   !json_equals(&walk.key, "centres") &&
			   !json_equals(&walk.key, "packing")) {
			return unknown(&walk.key, "codes",
			    "'dims', 'bits', 'distance', 'binarizer', 'mean' and "
			    "'progressive'",
			    err);
		}
	}
	return 0;
}

/* The names of text models among the members. */
static int
read_models(
    struct collection_settings *s, const struct json *members, struct error *err)
{
	struct json value;
	int has = api_member(&value, members, "text_model", JSON_STRING, err);
	if (has < 0 || (has && api_string(s->text_model, sizeof s->text_model, &value,
				   "text_model", err)))
		return -1;
	has = api_member(&value, members, "query_model", JSON_STRING, err);
	if (has < 0 || (has && api_string(s->query_model, sizeof s->query_model, &value,
				   "query_model", err)))
		return -1;
	return 0;
}

/* Qdrant's free-form metadata: "codes", "text_model" and "query_model" in it mean what
 * they mean beside it; the rest is not kept. */
static int
read_metadata(
    struct collection_settings *s, const struct json *metadata, struct error *err)
{
	struct json value;
	int has = api_member(&value, metadata, "codes", JSON_OBJECT, err);
	if (has < 0 || (has && read_codes(s, &value, err)))
		return -1;
	return read_models(s, metadata, err);
}

static int
is_empty(const struct json *value)
{
	return (value->type == JSON_OBJECT || value->type == JSON_ARRAY) &&
	       json_count(value) == 0;
}

static int
check_members(const struct json *root, struct error *err)
{
	static const char *const known[] = {"vectors", "codes", "text_model",
	    "query_model", "quantization_config", "metadata"};
	static const char *const not_served[] = {
	    "sparse_vectors", "init_from", "sharding_method"};
	struct json_walk walk = json_walk(root);

	while (json_next(&walk)) {
		if (is_one_of(&walk.key, known, sizeof known / sizeof *known) ||
		    is_one_of(&walk.key, ignored, sizeof ignored / sizeof *ignored) ||
		    walk.value.type == JSON_NULL)
			continue;
		if (!is_one_of(
			&walk.key, not_served, sizeof not_served / sizeof *not_served))
			return unknown(&walk.key, "the body",
			    "vectors, codes, text_model, query_model, "
			    "quantization_config or metadata",
			    err);
		if (!is_empty(&walk.value))
			return error_set(err, ERR_UNSUPPORTED, "%.*s is not served",
			    (int)walk.key.len, walk.key.text);
	}
	return 0;
}

/* *s := what the body says; s->mean is to be freed in any case. */
static int
read_all(struct collection_settings *s, const struct json *root, struct error *err)
{
	struct json value;
	int has;

	/* Later ones stand above earlier ones: what is said in our own words wins. */
	has = api_member(&value, root, "quantization_config", JSON_OBJECT, err);
	if (has < 0 || (has && read_quantization(s, &value, err)))
		return -1;
	has = api_member(&value, root, "metadata", JSON_OBJECT, err);
	if (has < 0 || (has && read_metadata(s, &value, err)))
		return -1;
	has = api_member(&value, root, "codes", JSON_OBJECT, err);
	if (has < 0 || (has && read_codes(s, &value, err)))
		return -1;
	if (read_models(s, root, err))
		return -1;
	/* After text_model: with one the size may be left out. */
	has = api_member(&value, root, "vectors", JSON_OBJECT, err);
	if (has < 0 || (has && !is_empty(&value) && read_vectors(s, &value, err)))
		return -1;
	if (s->size == 0 && !s->text_model[0])
		return error_set(err, ERR_INPUT,
		    "expected 'vectors': {\"size\": N, \"distance\": \"Cosine\"}, or "
		    "'text_model' with a model's name");
	return 0;
}

int
api_settings(
    struct collection_settings *settings, const struct json *root, struct error *err)
{
	struct collection_settings s = {.code_distance = DISTANCE_INT8};

	if (check_members(root, err) || read_all(&s, root, err)) {
		api_settings_free(&s);
		return -1;
	}
	*settings = s;
	return 0;
}

/* Whether the body has a member of ours at all: of others PATCH serves none. */
static int
check_change(const struct json *root, struct error *err)
{
	static const char *const ours[] = {
	    "codes", "text_model", "query_model", "metadata"};
	struct json_walk walk = json_walk(root);
	bool any = false;

	while (json_next(&walk)) {
		bool known = is_one_of(&walk.key, ours, sizeof ours / sizeof *ours);
		any |= known && walk.value.type != JSON_NULL;
		if (known || is_empty(&walk.value))
			continue;
		return error_set(err, ERR_UNSUPPORTED,
		    "update collection: %.*s is not served: expected \"codes\", "
		    "\"text_model\" and \"query_model\" alone",
		    walk.key.len < 80 ? (int)walk.key.len : 80, walk.key.text);
	}
	return any ? 0
		   : error_set(err, ERR_UNSUPPORTED,
			 "update collection: only {\"codes\": {\"binarizer\": NAME}}, "
			 "perhaps with \"text_model\", or {\"codes\": "
			 "{\"progressive\": true}} is served");
}

/* Whether an object's "codes" say if they are progressive. */
static bool
says_progressive(const struct json *object)
{
	struct json codes, value;

	return json_member(object, "codes", &codes) && codes.type == JSON_OBJECT &&
	       json_member(&codes, "progressive", &value) && value.type != JSON_NULL;
}

/* Whether what is said without a binarizer is only whether the codes are progressive,
 * beside what they are. */
static bool
is_progressive_alone(
    const struct collection_settings *s, const struct collection_settings *now)
{
	return !s->text_model[0] &&
	       (s->shape.dims == 0 || s->shape.dims == now->shape.dims) &&
	       (s->shape.bits == 0 || s->shape.bits == now->shape.bits);
}

int
api_settings_change(struct collection_settings *settings, bool *progressive,
    const struct collection_settings *now, const struct json *root, struct error *err)
{
	struct collection_settings s = {
	    .code_distance = now->code_distance, .progressive = now->progressive};
	struct json value;

	if (check_change(root, err))
		return -1;
	*progressive = says_progressive(root);
	int has = api_member(&value, root, "metadata", JSON_OBJECT, err);
	if (has < 0 || (has && read_metadata(&s, &value, err)))
		goto fail;
	*progressive |= has && says_progressive(&value);
	has = api_member(&value, root, "codes", JSON_OBJECT, err);
	if (has < 0 || (has && read_codes(&s, &value, err)) ||
	    read_models(&s, root, err))
		goto fail;
	if (s.mean) {
		error_set(err, ERR_INPUT,
		    "codes.mean: expected the name of a binarizer instead; a mean is "
		    "for a new collection");
		goto fail;
	}
	if (s.code_distance != now->code_distance) {
		error_set(err, ERR_INPUT,
		    "codes.distance: expected \"%s\", which stays, or nothing",
		    collection_code_distance_name(now->code_distance));
		goto fail;
	}
	if (s.query_model[0] && !s.text_model[0]) {
		error_set(err, ERR_INPUT,
		    "query_model: expected text_model beside it, as both change "
		    "together");
		goto fail;
	}
	if (!s.binarizer[0] && !(*progressive && is_progressive_alone(&s, now))) {
		error_set(err, ERR_INPUT,
		    "codes: expected 'binarizer': the name of the one that makes the "
		    "codes from now on, or 'progressive' alone");
		goto fail;
	}
	*settings = s;
	return 0;
fail:
	api_settings_free(&s);
	return -1;
}

void
api_settings_free(struct collection_settings *settings)
{
	free((void *)settings->mean); /* const for collection_new, ours here */
	settings->mean = NULL;
	settings->n_mean = 0;
}
