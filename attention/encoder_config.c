#include "attention/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "attention/file.h"
#include "base/alloc.h"
#include "base/json.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)
#define BUCKET_BITS_MAX 8
#define EPSILON_MIN 1e-14
#define EPSILON_MAX 1e-3

static const char *const matrix_names[ENCODER_MATRICES] = {
    "query", "key", "value", "output", "up", "down"};

const char *
encoder_matrix_name(enum encoder_matrix matrix)
{
	return matrix_names[matrix];
}

/* A value for a message: its first bytes. */
#define SHOWN(value) (value).len < 60 ? (int)(value).len : 60, (value).text

/* *value := object[key]; ERR_FORMAT if it is missing. */
static int
get(struct json *value, const struct json *object, const char *key, struct error *err)
{
	if (!json_member(object, key, value))
		return error_set(
		    err, ERR_FORMAT, "expected \"%s\", which is missing", key);
	return 0;
}

/* An integer's bounds; it is a multiple of `step`. */
struct range {
	uint64_t min, max, step;
};

static int
get_size(size_t *value, const struct json *object, const char *key, struct range range,
    struct error *err)
{
	struct json found;
	uint64_t n;

	if (get(&found, object, key, err) != 0)
		return -1;
	if (json_u64(&n, &found) && n >= range.min && n <= range.max &&
	    n % range.step == 0) {
		*value = n;
		return 0;
	}
	if (range.step == 1)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" as an integer of %llu .. %llu, not %.*s", key,
		    (unsigned long long)range.min, (unsigned long long)range.max,
		    SHOWN(found));
	return error_set(err, ERR_FORMAT,
	    "expected \"%s\" as a multiple of %llu up to %llu, not %.*s", key,
	    (unsigned long long)range.step, (unsigned long long)range.max,
	    SHOWN(found));
}

/* Words that a string can be; the place of each is its value. */
struct choice {
	const char *words[4];
	size_t n;
};

static int
get_choice(unsigned *value, const struct json *object, const char *key,
    const struct choice *choice, struct error *err)
{
	struct json found;
	char list[100];
	size_t used = 0;

	if (get(&found, object, key, err) != 0)
		return -1;
	for (unsigned i = 0; found.type == JSON_STRING && i < choice->n; i++)
		if (json_equals(&found, choice->words[i])) {
			*value = i;
			return 0;
		}
	for (size_t i = 0; i < choice->n; i++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%s\"",
		    i == 0 ? "" : " or ", choice->words[i]);
	return error_set(err, ERR_UNSUPPORTED, "expected \"%s\" as %s, not %.*s", key,
	    list, SHOWN(found));
}

static int
get_bool(bool *value, const struct json *object, const char *key, struct error *err)
{
	struct json found;

	if (get(&found, object, key, err) != 0)
		return -1;
	if (found.type != JSON_TRUE && found.type != JSON_FALSE)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" as true or false, not %.*s", key, SHOWN(found));
	*value = found.type == JSON_TRUE;
	return 0;
}

/* object[key] must be `wanted`, a number or word as JSON writes it. */
static int
must_be(
    const struct json *object, const char *key, const char *wanted, struct error *err)
{
	struct json found;

	if (get(&found, object, key, err) != 0)
		return -1;
	if (found.len != strlen(wanted) || memcmp(found.text, wanted, found.len) != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"%s\" as %s, not %.*s", key, wanted, SHOWN(found));
	return 0;
}

/* text (max + 1) := object[key], a string of at most `max` bytes; as it is if there is
 * none. */
static int
get_text(char *text, size_t max, const struct json *object, const char *key,
    struct error *err)
{
	struct json found;

	if (!json_member(object, key, &found))
		return 0;
	if (found.type != JSON_STRING)
		return error_set(err, ERR_FORMAT, "expected \"%s\" as a string, not %s",
		    key, json_type_name(found.type));
	/* Escapes make it longer here than it is. */
	char *whole = array_new(found.len, 1);
	if (!whole)
		return error_set(err, ERR_MEMORY, "no memory for \"%s\"", key);
	size_t n = json_string(whole, found.len, &found);
	if (n <= max)
		memcpy(text, whole, n + 1);
	free(whole);
	if (n > max)
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" of at most %zu bytes, not %zu", key, max, n);
	return 0;
}

/* What a hash says of itself. */
static int
parse_hash(
    struct encoder_layer_config *layer, const struct json *attention, struct error *err)
{
	static const struct choice functions = {{"kernel", "linear"}, 2};
	static const struct choice similarities = {
	    {"positive", "general", "buckets", "table"}, 4};
	unsigned function, similarity;

	if (get_bool(&layer->shared, attention, "shared", err) != 0 ||
	    get_choice(&function, attention, "function", &functions, err) != 0 ||
	    get_size(&layer->bits, attention, "bits",
		(struct range){1, HASH_BITS_MAX, 1}, err) != 0 ||
	    get_choice(&similarity, attention, "similarity", &similarities, err) != 0)
		return -1;
	layer->function = (enum hash_function)function;
	layer->similarity = (enum hash_similarity)similarity;
	if (layer->function == HASH_KERNEL &&
	    get_size(&layer->anchors, attention, "anchors",
		(struct range){1, HASH_ANCHORS_MAX, 1}, err) != 0)
		return -1;
	if (layer->similarity != HASH_BUCKETS)
		return 0;
	if (get_size(&layer->bucket_bits, attention, "bucket_bits",
		(struct range){1, BUCKET_BITS_MAX, 1}, err) != 0)
		return -1;
	if (layer->bits % layer->bucket_bits != 0)
		return error_set(err, ERR_FORMAT,
		    "expected \"bucket_bits\" as a divisor of \"bits\", %zu, not %zu",
		    layer->bits, layer->bucket_bits);
	return 0;
}

static int
parse_attention(
    struct encoder_layer_config *layer, const struct json *object, struct error *err)
{
	static const struct choice forms = {{"softmax", "hash"}, 2};
	struct json attention;
	unsigned form;

	if (get(&attention, object, "attention", err) != 0)
		return -1;
	if (attention.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT,
		    "expected \"attention\" as an object, not %s",
		    json_type_name(attention.type));
	if (get_choice(&form, &attention, "form", &forms, err) == 0) {
		layer->softmax = form == 0;
		if (layer->softmax || parse_hash(layer, &attention, err) == 0)
			return 0;
	}
	return error_prefix(err, "\"attention\"");
}

static int
parse_layer(struct encoder_layer_config *layer, const struct json *object,
    bool sub_norm, struct error *err)
{
	static const struct choice forms = {
	    {"ternary", "four-level", "int8", "float"}, 4};
	static const struct choice gelus = {{"exact", "table"}, 2};
	struct json key, value;
	unsigned form, gelu;

	if (object->type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT, "expected an object, not %s",
		    json_type_name(object->type));
	if (parse_attention(layer, object, err) != 0)
		return -1;
	if (layer->shared && json_member(object, "key", &key))
		return error_set(err, ERR_FORMAT,
		    "expected no \"key\" where \"attention\" is shared, not %.*s",
		    SHOWN(key));
	for (int m = 0; m < ENCODER_MATRICES; m++) {
		if (m == ENCODER_KEY_MATRIX && layer->shared)
			continue;
		if (get_choice(&form, object, matrix_names[m], &forms, err) != 0)
			return -1;
		layer->forms[m] = (enum linear_form)form;
	}
	if (get_choice(&gelu, object, "gelu", &gelus, err) != 0)
		return -1;
	layer->gelu_table = gelu == 1;
	if (json_member(object, "smooth", &value) &&
	    get_bool(&layer->smooth, object, "smooth", err) != 0)
		return -1;
	if (layer->gelu_table && layer->forms[ENCODER_DOWN_MATRIX] == LINEAR_FLOAT)
		return error_set(err, ERR_FORMAT,
		    "expected \"down\" in a form that takes bytes with a \"gelu\" of "
		    "\"table\", not \"float\"");
	if (layer->gelu_table && sub_norm)
		return error_set(err, ERR_FORMAT,
		    "expected a \"gelu\" of \"exact\" with \"sub_norm\", not "
		    "\"table\"");
	return 0;
}

static int
parse_list(struct encoder_config *config, const struct json *root, struct error *err)
{
	struct json list;
	size_t i = 0;

	if (get(&list, root, "layers", err) != 0)
		return -1;
	if (list.type != JSON_ARRAY)
		return error_set(err, ERR_FORMAT,
		    "expected \"layers\" as an array, not %s",
		    json_type_name(list.type));
	if (json_count(&list) != config->n_layers)
		return error_set(err, ERR_FORMAT,
		    "expected \"layers\" of num_hidden_layers, %zu, objects, not %zu",
		    config->n_layers, json_count(&list));
	struct json_walk walk = json_walk(&list);
	for (; json_next(&walk); i++)
		if (parse_layer(
			&config->layers[i], &walk.value, config->sub_norm, err) != 0)
			return error_prefix(err, "layers[%zu]", i);
	return 0;
}

static int
parse_epsilon(float *epsilon, const struct json *root, struct error *err)
{
	struct json found;

	if (get(&found, root, "layer_norm_eps", err) != 0)
		return -1;
	double value = found.type == JSON_NUMBER ? json_double(&found) : 0;
	if (!(value >= EPSILON_MIN && value <= EPSILON_MAX))
		return error_set(err, ERR_FORMAT,
		    "expected \"layer_norm_eps\" as a number of %g .. %g, not %.*s",
		    EPSILON_MIN, EPSILON_MAX, SHOWN(found));
	*epsilon = (float)value;
	return 0;
}

/* How the dimensions are shared out among the heads. */
static int
check_heads(const struct encoder_config *config, struct error *err)
{
	size_t head_dims = config->dims / config->heads;

	if (config->dims % config->heads != 0 || head_dims % 16 != 0 ||
	    head_dims > ATTEND_HEAD_DIMS_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected \"num_attention_heads\" that leave each a multiple of 16 "
		    "up to %d of the %zu dimensions of \"hidden_size\", not %zu",
		    ATTEND_HEAD_DIMS_MAX, config->dims, config->heads);
	return 0;
}

static int
parse_layers(struct encoder_config *config, const struct json *root, struct error *err)
{
	static const struct choice poolings = {{"mean", "cls"}, 2};
	static const struct choice tables = {{"float", "int8", "int4"}, 3};
	unsigned pooling, table;

	if (get_size(&config->dims, root, "hidden_size",
		(struct range){LINEAR_DIMS_STEP, ENCODER_DIMS_MAX, LINEAR_DIMS_STEP},
		err) != 0 ||
	    get_size(&config->pieces_max, root, "max_position_embeddings",
		(struct range){3, ATTEND_TOKENS_MAX, 1}, err) != 0 ||
	    get_size(&config->n_layers, root, "num_hidden_layers",
		(struct range){1, TRANSFORMER_LAYERS_MAX, 1}, err) != 0 ||
	    get_size(&config->heads, root, "num_attention_heads",
		(struct range){1, ATTEND_HEADS_MAX, 1}, err) != 0 ||
	    check_heads(config, err) != 0 ||
	    get_size(&config->inner, root, "intermediate_size",
		(struct range){LINEAR_DIMS_STEP, LINEAR_DIMS_MAX, LINEAR_DIMS_STEP},
		err) != 0 ||
	    parse_epsilon(&config->epsilon, root, err) != 0 ||
	    get_choice(&pooling, root, "pooling", &poolings, err) != 0 ||
	    get_choice(&table, root, "token_embedding", &tables, err) != 0 ||
	    get_bool(&config->sub_norm, root, "sub_norm", err) != 0)
		return -1;
	config->pooling = (enum transformer_pooling)pooling;
	config->token_form = (enum transformer_table)table;
	return parse_list(config, root, err);
}

static int
parse_static(struct encoder_config *config, const struct json *root, struct error *err)
{
	if (must_be(root, "num_hidden_layers", "0", err) != 0 ||
	    must_be(root, "pooling", "\"mean\"", err) != 0 ||
	    get_size(&config->dims, root, "hidden_size",
		(struct range){1, ENCODER_DIMS_MAX, 1}, err) != 0 ||
	    get_size(&config->pieces_max, root, "max_position_embeddings",
		(struct range){1, ENCODER_PIECES_MAX, 1}, err) != 0)
		return -1;
	return 0;
}

static int
parse_config(
    struct encoder_config *config, const char *text, size_t n, struct error *err)
{
	static const struct choice kinds = {{"halftone-static", "halftone-encoder"}, 2};
	struct json root;
	unsigned kind;

	if (json_check(&root, text, n, err) != 0) {
		err->code = ERR_FORMAT;
		return -1;
	}
	if (root.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT, "expected an object, not %s",
		    json_type_name(root.type));
	/* What kind it is comes first: the rest means something only then. */
	if (get_choice(&kind, &root, "model_type", &kinds, err) != 0 ||
	    must_be(&root, "format_version", "1", err) != 0 ||
	    must_be(&root, "do_lower_case", "true", err) != 0 ||
	    must_be(&root, "normalize", "true", err) != 0 ||
	    get_size(&config->vocabulary, &root, "vocab_size",
		(struct range){1, WORDPIECE_PIECES_MAX, 1}, err) != 0 ||
	    get_text(config->coordinates, ENCODER_COORDINATES_MAX, &root, "coordinates",
		err) != 0 ||
	    get_text(config->query_prefix, ENCODER_PREFIX_MAX, &root, "query_prefix",
		err) != 0 ||
	    get_text(config->document_prefix, ENCODER_PREFIX_MAX, &root,
		"document_prefix", err) != 0)
		return -1;
	config->kind = kind == 0 ? ENCODER_STATIC : ENCODER_LAYERS;
	return config->kind == ENCODER_STATIC ? parse_static(config, &root, err)
					      : parse_layers(config, &root, err);
}

int
encoder_config_read(struct encoder_config *config, const char *path, struct error *err)
{
	size_t n;
	char *text = file_read(path, CONFIG_BYTES_MAX, &n, err);

	if (!text)
		return -1;
	int result = parse_config(config, text, n, err);
	free(text);
	if (result != 0)
		error_prefix(err, "%s", path);
	return result;
}
