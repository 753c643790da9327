#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "attention/convert_model.h"
#include "attention/encoder.h"
#include "attention/file.h"
#include "attention/transformer.h"
#include "attention/wordpiece.h"
#include "base/text.h"

#define PIECES_MAX 512 /* of an encoder's text */
#define PIECES_MIN 3   /* [CLS], one, [SEP] */
#define HEAD_MAX 128

/* An integer that the encoder wants as a multiple. */
static int
read_multiple(size_t *value, const struct json *root, const char *key, size_t max,
    struct error *err)
{
	if (convert_json_size(value, root, key, max, err) != 0)
		return -1;
	if (*value % LINEAR_DIMS_STEP != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"%s\" as a multiple of %d, not %zu", key,
		    LINEAR_DIMS_STEP, *value);
	return 0;
}

static int
read_shape(struct convert_config *c, const struct json *root, struct error *err)
{
	if (read_multiple(&c->dims, root, "hidden_size", ENCODER_DIMS_MAX, err) != 0 ||
	    read_multiple(&c->inner, root, "intermediate_size", LINEAR_DIMS_MAX, err) !=
		0 ||
	    convert_json_size(&c->layers, root, "num_hidden_layers",
		TRANSFORMER_LAYERS_MAX, err) != 0 ||
	    convert_json_size(&c->heads, root, "num_attention_heads", 64, err) != 0 ||
	    convert_json_size(
		&c->rows, root, "vocab_size", WORDPIECE_PIECES_MAX, err) != 0 ||
	    convert_json_size(&c->positions, root, "max_position_embeddings",
		ENCODER_PIECES_MAX, err) != 0 ||
	    convert_json_size(&c->types, root, "type_vocab_size", 64, err) != 0)
		return -1;
	if (c->dims % c->heads != 0 || c->dims / c->heads % 16 != 0 ||
	    c->dims / c->heads > HEAD_MAX)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected hidden_size / num_attention_heads as 16, 32, .. %d, not "
		    "%zu / %zu",
		    HEAD_MAX, c->dims, c->heads);
	if (c->positions < PIECES_MIN)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"max_position_embeddings\" as at least %d, not %zu",
		    PIECES_MIN, c->positions);
	return 0;
}

static int
parse_config(struct convert_config *c, const struct json *root, struct error *err)
{
	static const struct convert_wish wishes[] = {
	    {"hidden_act", "\"gelu\"", NULL},
	    {"position_embedding_type", "\"absolute\"", NULL},
	    {"is_decoder", "false", NULL},
	    {"add_cross_attention", "false", NULL},
	};
	struct json value;

	/* What kind it is comes first: the rest means something only then. */
	if (!json_member(root, "model_type", &value))
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"model_type\", which is missing; \"bert\" is converted");
	if (!json_equals(&value, "bert"))
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"model_type\" as \"bert\" (all-MiniLM-L6-v2, "
		    "bge-small-en-v1.5, e5-small-v2, snowflake-arctic-embed-xs), not "
		    "%.*s",
		    value.len < 40 ? (int)value.len : 40, value.text);
	if (convert_json_check(root, wishes, sizeof wishes / sizeof *wishes, err) !=
		0 ||
	    read_shape(c, root, err) != 0)
		return -1;
	c->layer_norm_eps = 1e-12; /* BertConfig's default */
	if (convert_json_member(root, "layer_norm_eps", &value))
		c->layer_norm_eps =
		    value.type == JSON_NUMBER ? json_double(&value) : NAN;
	if (!(c->layer_norm_eps >= 1e-14 && c->layer_norm_eps <= 1e-3))
		return error_set(err, ERR_UNSUPPORTED,
		    "expected \"layer_norm_eps\" in 1e-14 .. 1e-3, not %.*s",
		    value.len < 40 ? (int)value.len : 40, value.text);
	return 0;
}

/* Lower c->pieces_max to object[key], a length of texts; *found: it is there. */
static int
limit_pieces(struct convert_config *c, bool *found, const struct json *object,
    const char *key, struct error *err)
{
	struct json value;

	*found = convert_json_member(object, key, &value);
	if (!*found)
		return 0;
	/* transformers writes 1e30 where there is no limit. */
	double length = value.type == JSON_NUMBER ? json_double(&value) : NAN;
	if (!(length >= PIECES_MIN))
		return error_set(err, ERR_FORMAT,
		    "expected \"%s\" as at least %d, not %.*s", key, PIECES_MIN,
		    value.len < 40 ? (int)value.len : 40, value.text);
	if (length < (double)c->pieces_max)
		c->pieces_max = (size_t)length;
	return 0;
}

/* How many pieces of a text count. */
static int
read_pieces_max(
    struct convert_config *c, const struct json *tokenizer, struct error *err)
{
	struct convert_json json;
	bool found = false;

	c->pieces_max = c->positions < PIECES_MAX ? c->positions : PIECES_MAX;
	int rc =
	    convert_json_open(&json, c->folder, "sentence_bert_config.json", true, err);
	if (rc == 0 && limit_pieces(c, &found, &json.root, "max_seq_length", err) != 0)
		rc = error_prefix(err, "%s", json.path);
	convert_json_close(&json);
	if (rc != 0 || found)
		return rc;
	return limit_pieces(c, &found, tokenizer, "model_max_length", err);
}

static int
read_tokenizer(struct convert_config *c, struct error *err)
{
	/* Where a key is missing, transformers takes what is written here. */
	static const struct convert_wish wishes[] = {
	    {"tokenizer_class", "\"BertTokenizer\"", "\"BertTokenizerFast\""},
	    {"do_lower_case", "true", NULL},
	    {"strip_accents", "true", NULL},
	    {"tokenize_chinese_chars", "true", NULL},
	    {"do_basic_tokenize", "true", NULL},
	    {"unk_token", "\"[UNK]\"", NULL},
	    {"cls_token", "\"[CLS]\"", NULL},
	    {"sep_token", "\"[SEP]\"", NULL},
	};
	struct convert_json json;

	int rc =
	    convert_json_open(&json, c->folder, "tokenizer_config.json", true, err);
	if (rc == 0 && convert_json_check(&json.root, wishes,
			   sizeof wishes / sizeof *wishes, err) != 0)
		rc = error_prefix(err, "%s", json.path);
	if (rc == 0)
		rc = read_pieces_max(c, &json.root, err);
	convert_json_close(&json);
	return rc;
}

int
convert_config_read(struct convert_config *config, struct error *err)
{
	struct convert_json json;

	int rc = convert_json_open(&json, config->folder, "config.json", false, err);
	if (rc == 0 && parse_config(config, &json.root, err) != 0)
		rc = error_prefix(err, "%s", json.path);
	convert_json_close(&json);
	return rc != 0 ? -1 : read_tokenizer(config, err);
}

static void
put_prefix(struct text *text, const char *key, const char *prefix)
{
	if (!prefix[0])
		return;
	text_printf(text, "  \"%s\": ", key);
	text_json(text, prefix, strlen(prefix));
	text_string(text, ",\n");
}

static void
put_layers(struct text *text, size_t n, enum linear_form form)
{
	static const char *const matrices[] = {
	    "query", "key", "value", "output", "up", "down"};

	text_string(text, "  \"layers\": [");
	for (size_t i = 0; i < n; i++) {
		text_printf(text, "%s\n    {", i > 0 ? "," : "");
		for (size_t m = 0; m < sizeof matrices / sizeof *matrices; m++)
			text_printf(text, "\"%s\": \"%s\", ", matrices[m],
			    linear_form_name(form));
		if (form == LINEAR_INT8)
			text_string(text, "\"smooth\": true, ");
		text_string(text,
		    "\"gelu\": \"exact\", \"attention\": {\"form\": \"softmax\"}}");
	}
	text_string(text, "\n  ]\n");
}

int
convert_config_write(const char *path, const struct convert_config *config,
    enum linear_form layers, struct error *err)
{
	struct text text = {0};
	int rc = -1;

	text_string(&text, "{\n  \"model_type\": \"halftone-encoder\",\n"
			   "  \"format_version\": 1,\n  \"do_lower_case\": true,\n"
			   "  \"normalize\": true,\n  \"sub_norm\": false,\n");
	text_printf(&text,
	    "  \"hidden_size\": %zu,\n  \"vocab_size\": %zu,\n"
	    "  \"max_position_embeddings\": %zu,\n  \"num_hidden_layers\": %zu,\n"
	    "  \"num_attention_heads\": %zu,\n  \"intermediate_size\": %zu,\n",
	    config->dims, config->vocabulary, config->pieces_max, config->layers,
	    config->heads, config->inner);
	text_printf(&text,
	    "  \"layer_norm_eps\": %.9g,\n  \"pooling\": \"%s\",\n"
	    "  \"token_embedding\": \"%s\",\n"
	    "  \"coordinates\": \"%016" PRIx64 "\",\n",
	    config->layer_norm_eps, config->cls ? "cls" : "mean",
	    linear_form_name(layers), config->coordinates);
	put_prefix(&text, "query_prefix", config->query_prefix);
	put_prefix(&text, "document_prefix", config->document_prefix);
	put_layers(&text, config->layers, layers);
	text_string(&text, "}\n");
	if (text.failed)
		error_set(err, ERR_MEMORY, "no memory for %s", path);
	else
		rc = file_write(path, text.bytes, text.n, err);
	text_free(&text);
	return rc;
}
