#include <cjson/cJSON.h>
#include <string.h>
#include <utf8proc.h>

#include "base/json.h"
#include "server/collection_internal.h"

/* The JSON of the longest text, a key: every byte may be written as six. */
#define TEXT_JSON_MAX (6 * PATH_BYTES_MAX + 3)

/* ---- names of enums ---- */

struct name {
	const char *text;
	int value;
};

static const struct name distances[] = {
    {"Cosine", COLLECTION_COSINE},
    {"Dot", COLLECTION_DOT},
    {"Euclid", COLLECTION_EUCLID},
};

static const struct name code_distances[] = {
    {"hamming", DISTANCE_HAMMING},
    {"sdc", DISTANCE_SDC},
    {"int8", DISTANCE_INT8},
};

static const char *
name_of(const struct name names[3], int value)
{
	for (int i = 0; i < 3; i++)
		if (names[i].value == value)
			return names[i].text;
	return "?";
}

static bool
value_of(int *value, const struct name names[3], const char *text)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(names[i].text, text) == 0) {
			*value = names[i].value;
			return true;
		}
	}
	return false;
}

const char *
collection_distance_name(enum collection_distance distance)
{
	return name_of(distances, (int)distance);
}

int
collection_distance_parse(
    enum collection_distance *distance, const char *name, struct error *err)
{
	int value;

	if (strcmp(name, "Manhattan") == 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "the distance Manhattan cannot be estimated from codes: choose "
		    "Cosine, Dot or Euclid");
	if (!value_of(&value, distances, name))
		return error_set(err, ERR_INPUT,
		    "expected the distance Cosine, Dot or Euclid, not \"%.64s\"", name);
	*distance = (enum collection_distance)value;
	return 0;
}

const char *
collection_code_distance_name(enum distance_kind kind)
{
	return name_of(code_distances, (int)kind);
}

int
collection_code_distance_parse(
    enum distance_kind *kind, const char *name, struct error *err)
{
	int value;

	if (!value_of(&value, code_distances, name))
		return error_set(err, ERR_INPUT,
		    "expected codes.distance hamming, sdc or int8, not \"%.64s\"",
		    name);
	*kind = (enum distance_kind)value;
	return 0;
}

/* ---- checks ---- */

static int
check_name(const char *what, const char *name, size_t n, struct error *err)
{
	const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)name;
	size_t left = n;

	if (n > COLLECTION_NAME_MAX)
		return error_set(err, ERR_INPUT,
		    "expected %s of at most %d bytes, not %zu", what,
		    COLLECTION_NAME_MAX, n);
	while (left > 0) {
		utf8proc_int32_t c;
		utf8proc_ssize_t k = utf8proc_iterate(p, (utf8proc_ssize_t)left, &c);
		if (k <= 0)
			return error_set(err, ERR_INPUT,
			    "expected %s in UTF-8: byte %zu begins no character", what,
			    n - left);
		if (c < 0x20 || c == 0x7F || c == '/')
			return error_set(err, ERR_INPUT,
			    "expected %s without '/' and control characters, not one "
			    "with 0x%02X at byte %zu",
			    what, (unsigned)c, n - left);
		p += k;
		left -= (size_t)k;
	}
	return 0;
}

int
collection_name_check(const char *name, size_t n, struct error *err)
{
	if (n == 0)
		return error_set(err, ERR_INPUT,
		    "expected a collection name of 1 to %d bytes, not an empty one",
		    COLLECTION_NAME_MAX);
	return check_name("a collection name", name, n, err);
}

int
collection_settings_check(const struct collection_settings *s, struct error *err)
{
	struct code_shape shape = s->shape;

	if (collection_name_check(s->name, strlen(s->name), err) != 0 ||
	    check_name("a vector name", s->vector, strlen(s->vector), err) != 0 ||
	    check_name("a binarizer name", s->binarizer, strlen(s->binarizer), err) !=
		0 ||
	    check_name("a model name", s->text_model, strlen(s->text_model), err) !=
		0 ||
	    check_name("a model name", s->query_model, strlen(s->query_model), err) !=
		0)
		return -1;
	if (s->query_model[0] && !s->text_model[0])
		return error_set(err, ERR_INPUT,
		    "expected a text_model beside the query_model: what do the "
		    "documents have?");
	if (s->size > COLLECTION_SIZE_MAX || (s->size == 0 && !s->text_model[0]))
		return error_set(err, ERR_INPUT,
		    "expected vectors of 1 to %d dimensions, not %u",
		    COLLECTION_SIZE_MAX, s->size);
	/* What was left out is filled in later; what was said must be right. */
	if (shape.dims == 0)
		shape.dims = CODE_DIMS_STEP;
	if (shape.bits == 0)
		shape.bits = COLLECTION_BITS_DEFAULT;
	return code_shape_check(shape, err);
}

/* ---- JSON, as it is kept ---- */

static bool
add_text(cJSON *object, const char *key, const char *text)
{
	return cJSON_AddStringToObject(object, key, text) != NULL;
}

static bool
add_number(cJSON *object, const char *key, double number)
{
	return cJSON_AddNumberToObject(object, key, number) != NULL;
}

/* What is kept of a version's codes. */
static bool
add_version(cJSON *object, const struct collection_version *v)
{
	return add_number(object, "size", v->size) &&
	       add_number(object, "dims", v->shape.dims) &&
	       add_number(object, "bits", v->shape.bits) &&
	       add_text(object, "binarizer", v->binarizer) &&
	       add_text(object, "binarizer_id", recurrent_id(v->model)) &&
	       add_number(object, "seed", RECURRENT_UNTRAINED_SEED) &&
	       add_text(object, "text_model", v->text_model) &&
	       (v->codes.version == 1 ||
		   add_number(object, "version", v->codes.version));
}

/* The versions before the newest, where there are any. */
static bool
add_older(cJSON *object, const struct collection *c)
{
	size_t n = collection_n_versions(c) - 1;
	cJSON *list = n > 0 ? cJSON_AddArrayToObject(object, "older") : NULL;

	for (size_t i = 0; i < n; i++) {
		cJSON *item = cJSON_CreateObject();
		if (!list || !item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return false;
		}
		if (!add_version(item, collection_version(c, i)))
			return false;
	}
	return true;
}

char *
collection_settings_print(const struct collection *c, struct error *err)
{
	const struct collection_settings *s = collection_settings(c);
	cJSON *object = cJSON_CreateObject();
	char *text = NULL;

	/* Numbers below 2^53: exact as doubles. */
	if (object && add_text(object, "name", s->name) &&
	    add_text(object, "distance", collection_distance_name(s->distance)) &&
	    add_text(object, "vector", s->vector) &&
	    add_text(object, "code_distance",
		collection_code_distance_name(s->code_distance)) &&
	    add_version(object, collection_newest(c)) &&
	    (!s->query_model[0] || add_text(object, "query_model", s->query_model)) &&
	    (!s->progressive || cJSON_AddTrueToObject(object, "progressive")) &&
	    add_number(object, "created", (double)s->created_s) &&
	    add_older(object, c) &&
	    collection_fields_print(object, collection_fields_of(c)))
		text = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	if (!text)
		error_set(
		    err, ERR_MEMORY, "out of memory for the settings of %s", s->name);
	return text;
}

bool
collection_get_text(char *text, size_t cap, const struct json *object, const char *key)
{
	struct json value;

	if (!json_member(object, key, &value) || value.type != JSON_STRING)
		return false;
	char copy[TEXT_JSON_MAX];
	if (value.len >= sizeof copy)
		return false;
	size_t n = json_string(copy, sizeof copy, &value);
	bool fits = n < cap;
	if (fits)
		memcpy(text, copy, n + 1);
	return fits;
}

bool
collection_get_u64(
    uint64_t *number, const struct json *object, const char *key, uint64_t max)
{
	struct json value;

	return json_member(object, key, &value) && value.type == JSON_NUMBER &&
	       json_u64(number, &value) && *number <= max;
}

static bool
get_u32(uint32_t *number, const struct json *object, const char *key)
{
	uint64_t wide;

	if (!collection_get_u64(&wide, object, key, UINT32_MAX))
		return false;
	*number = (uint32_t)wide;
	return true;
}

static bool
read_version(struct collection_stored_version *stored, const struct json *object)
{
	struct collection_version *v = &stored->version;
	struct json value;

	*v = (struct collection_version){.codes.version = 1};
	return get_u32(&v->size, object, "size") &&
	       get_u32(&v->shape.dims, object, "dims") &&
	       get_u32(&v->shape.bits, object, "bits") &&
	       collection_get_text(
		   v->binarizer, sizeof v->binarizer, object, "binarizer") &&
	       collection_get_text(stored->binarizer_id, sizeof stored->binarizer_id,
		   object, "binarizer_id") &&
	       collection_get_u64(&stored->seed, object, "seed", UINT64_MAX) &&
	       collection_get_text(
		   v->text_model, sizeof v->text_model, object, "text_model") &&
	       (!json_member(object, "version", &value) ||
		   (get_u32(&v->codes.version, object, "version") &&
		       v->codes.version > 1));
}

/* All versions, their numbers rising. */
static bool
read_versions(struct collection_stored *stored, const struct json *root)
{
	struct json list;

	stored->n = 0;
	if (json_member(root, "older", &list)) {
		struct json_walk walk = json_walk(&list);
		if (list.type != JSON_ARRAY)
			return false;
		while (json_next(&walk)) {
			if (stored->n == STORE_PARTS_MAX - 1 ||
			    !read_version(&stored->versions[stored->n++], &walk.value))
				return false;
		}
	}
	if (!read_version(&stored->versions[stored->n++], root))
		return false;
	for (size_t i = 1; i < stored->n; i++)
		if (stored->versions[i].version.codes.version <=
		    stored->versions[i - 1].version.codes.version)
			return false;
	return true;
}

/* Every version is one that a collection can have. */
static int
check_versions(const struct collection_settings *s,
    const struct collection_stored *stored, struct error *err)
{
	for (size_t i = 0; i < stored->n; i++) {
		const struct collection_version *v = &stored->versions[i].version;
		struct collection_settings of = *s;
		of.size = v->size;
		of.shape = v->shape;
		memcpy(of.binarizer, v->binarizer, sizeof of.binarizer);
		memcpy(of.text_model, v->text_model, sizeof of.text_model);
		if (collection_settings_check(&of, err) != 0)
			return -1;
	}
	return 0;
}

int
collection_settings_read(struct collection_settings *s,
    struct collection_stored *stored, const char *text, size_t n, struct error *err)
{
	char distance[32], code_distance[32];
	struct json root, value;

	if (json_check(&root, text, n, err) != 0) {
		err->code = ERR_FORMAT;
		return error_prefix(err, "stored settings");
	}
	*s = (struct collection_settings){0};
	bool good = collection_get_text(s->name, sizeof s->name, &root, "name") &&
		    collection_get_text(distance, sizeof distance, &root, "distance") &&
		    collection_get_text(s->vector, sizeof s->vector, &root, "vector") &&
		    collection_get_text(
			code_distance, sizeof code_distance, &root, "code_distance") &&
		    (!json_member(&root, "query_model", &value) ||
			collection_get_text(s->query_model, sizeof s->query_model,
			    &root, "query_model")) &&
		    collection_get_u64(&s->created_s, &root, "created", UINT64_MAX) &&
		    read_versions(stored, &root);
	if (!good)
		return error_set(err, ERR_FORMAT,
		    "stored settings lack a member or have one of another type: %.80s",
		    text);
	const struct collection_version *newest =
	    &stored->versions[stored->n - 1].version;
	s->size = newest->size;
	s->shape = newest->shape;
	s->progressive =
	    json_member(&root, "progressive", &value) && value.type == JSON_TRUE;
	memcpy(s->binarizer, newest->binarizer, sizeof s->binarizer);
	memcpy(s->text_model, newest->text_model, sizeof s->text_model);
	if (collection_distance_parse(&s->distance, distance, err) != 0 ||
	    collection_code_distance_parse(&s->code_distance, code_distance, err) !=
		0 ||
	    check_versions(s, stored, err) != 0) {
		err->code = ERR_FORMAT;
		return error_prefix(err, "stored settings");
	}
	return 0;
}
