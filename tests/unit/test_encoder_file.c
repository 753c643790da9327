/*
 * Claims: a "halftone-encoder" that is not as docs/formats.md has it is refused with
 * the file, the key or tensor, what was expected and what was found: one check for each
 * thing that can be wrong, made by editing a good model.  A file that is cut off is
 * refused; failing allocations are errors and leak nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

#define MODEL "model"

/* Four layers that have, between them, every tensor but those of sub_norm. */
static struct models_encoder
good_shape(void)
{
	static const struct models_layer layers[] = {
	    {.gelu_table = true, .function = HASH_KERNEL, .similarity = HASH_BUCKETS},
	    {.shared = true, .function = HASH_LINEAR, .similarity = HASH_GENERAL},
	    {.gelu_table = true, .function = HASH_KERNEL, .similarity = HASH_TABLE},
	    {.softmax = true},
	};
	static const enum linear_form forms[] = {
	    LINEAR_TERNARY, LINEAR_INT8, LINEAR_FOUR_LEVEL, LINEAR_FLOAT};
	struct models_encoder shape = models_encoder(LINEAR_TERNARY);

	shape.n_layers = 4;
	shape.token_form = TRANSFORMER_INT8;
	for (size_t i = 0; i < 4; i++) {
		shape.layers[i] = layers[i];
		shape.layers[i].bits = 16;
		shape.layers[i].anchors = 5;
		shape.layers[i].bucket_bits = 4;
		for (size_t m = 0; m < 6; m++)
			shape.layers[i].forms[m] = forms[i];
	}
	return shape;
}

/* One with sub_norm and a table of nibbles. */
static struct models_encoder
other_shape(void)
{
	struct models_encoder shape = models_encoder(LINEAR_TERNARY);

	shape.n_layers = 1;
	shape.sub_norm = true;
	shape.token_form = TRANSFORMER_INT4;
	shape.vocabulary = MODELS_PIECES + 1; /* odd */
	return shape;
}

static const char *
model(void)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/" MODEL, test_folder());
	return path;
}

static void
opens(void)
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(model(), &err);

	if (!encoder)
		fail_msg("%s", err.text);
	encoder_close(encoder);
}

/* The model is refused with this code and all of these words. */
static void
refused(enum error_code code, const char *const words[4])
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(model(), &err);

	if (encoder)
		fail_msg("expected no model: '%s', '%s'", words[0], words[1]);
	for (size_t i = 0; i < 4 && words[i]; i++)
		if (!strstr(err.text, words[i]))
			fail_msg("expected '%s' in '%s'", words[i], err.text);
	if (err.code != code)
		fail_msg("expected code %d, not %d: %s", code, err.code, err.text);
}

/* A file of the model as text, freed by the caller. */
static char *
read_text(const char *file, size_t *n)
{
	char path[500];
	char *text = calloc(1, 1 << 20);

	snprintf(path, sizeof path, "%s/%s", model(), file);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	assert_non_null(text);
	*n = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	return text;
}

/* Write a file of the model with the first `from` in it made `to`. */
static void
replace(const char *file, const char *from, const char *to)
{
	size_t n;
	char *text = read_text(file, &n), *at = strstr(text, from);
	char *edited = calloc(1, n + strlen(to) + 1);

	if (!at)
		fail_msg("expected '%s' in %s", from, file);
	assert_non_null(edited);
	sprintf(edited, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	models_write_file(test_folder(), MODEL, file, edited);
	free(edited);
	free(text);
}

/* In a binary file, `from` becomes as many bytes `to`. */
static void
patch(const char *file, const char *from, const char *to)
{
	char path[500];
	size_t n;
	char *bytes = read_text(file, &n), *at = memmem(bytes, n, from, strlen(from));

	if (!at) {
		fail_msg("expected '%s' in %s", from, file);
		return;
	}
	assert_int_equal(strlen(to), strlen(from));
	memcpy(at, to, strlen(to));
	snprintf(path, sizeof path, "%s/%s", model(), file);
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	free(bytes);
}

static void
other_weights_are_refused(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	opens();
	patch("model.safetensors", "\"format_version\":\"1\"",
	    "\"format_version\":\"2\"");
	refused(ERR_UNSUPPORTED, (const char *const[4]){"model.safetensors",
				     "format_version 1, not \"2\"", "newer"});
	models_write_encoder(test_folder(), MODEL, &shape, 1);
	patch("model.safetensors", "\"halftone-encoder\"", "\"halftone-uncoder\"");
	refused(ERR_UNSUPPORTED, (const char *const[4]){"model.safetensors",
				     "format halftone-encoder", "halftone-uncoder"});
}

struct config_case {
	const char *from, *to;
	enum error_code code;
	const char *words[3];
};

static void
configs_refused(
    const struct models_encoder *shape, const struct config_case *cases, size_t n)
{
	size_t length;

	models_write_encoder(test_folder(), MODEL, shape, 1);
	opens();
	char *good = read_text("config.json", &length);
	for (size_t i = 0; i < n; i++) {
		const struct config_case *c = &cases[i];
		models_write_file(test_folder(), MODEL, "config.json", good);
		replace("config.json", c->from, c->to);
		refused(c->code, (const char *const[4]){"config.json", c->words[0],
				     c->words[1], c->words[2]});
	}
	models_write_file(test_folder(), MODEL, "config.json", good);
	opens();
	free(good);
}

static const struct config_case config_cases[] = {
    /* kind and version */
    {"halftone-encoder", "bert", ERR_UNSUPPORTED,
	{"\"model_type\"", "\"halftone-encoder\"", "not \"bert\""}},
    {"\"format_version\": 1", "\"format_version\": 2", ERR_UNSUPPORTED,
	{"\"format_version\" as 1", "not 2"}},
    {"\"do_lower_case\": true", "\"do_lower_case\": false", ERR_UNSUPPORTED,
	{"\"do_lower_case\" as true", "not false"}},
    {"\"normalize\": true", "\"normalize\": false", ERR_UNSUPPORTED,
	{"\"normalize\" as true", "not false"}},
    /* sizes */
    {"\"hidden_size\": 64", "\"hidden_size\": 96", ERR_FORMAT,
	{"\"hidden_size\"", "multiple of 64", "not 96"}},
    {"\"hidden_size\": 64", "\"hidden_size\": 0", ERR_FORMAT,
	{"\"hidden_size\"", "up to 4096", "not 0"}},
    {"\"vocab_size\": 62", "\"vocab_size\": -1", ERR_FORMAT,
	{"\"vocab_size\"", "1 .. 1000000", "not -1"}},
    {"\"max_position_embeddings\": 32", "\"max_position_embeddings\": 2", ERR_FORMAT,
	{"\"max_position_embeddings\"", "3 .. 512", "not 2"}},
    {"\"max_position_embeddings\": 32", "\"max_position_embeddings\": 513", ERR_FORMAT,
	{"\"max_position_embeddings\"", "3 .. 512", "not 513"}},
    {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 65", ERR_FORMAT,
	{"\"num_hidden_layers\"", "1 .. 64", "not 65"}},
    {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3", ERR_FORMAT,
	{"\"layers\"", "3, objects", "not 4"}},
    {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5", ERR_FORMAT,
	{"\"layers\"", "5, objects", "not 4"}},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 3", ERR_FORMAT,
	{"\"num_attention_heads\"", "64 dimensions", "not 3"}},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 8", ERR_FORMAT,
	{"\"num_attention_heads\"", "multiple of 16", "not 8"}},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 65", ERR_FORMAT,
	{"\"num_attention_heads\"", "1 .. 64", "not 65"}},
    {"\"intermediate_size\": 128", "\"intermediate_size\": 100", ERR_FORMAT,
	{"\"intermediate_size\"", "multiple of 64", "not 100"}},
    {"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", ERR_FORMAT,
	{"\"layer_norm_eps\"", "1e-14 .. 0.001", "not 0"}},
    {"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": \"1e-12\"", ERR_FORMAT,
	{"\"layer_norm_eps\"", "a number", "not \"1e-12\""}},
    {"\"layer_norm_eps\": 1e-12,", "", ERR_FORMAT, {"\"layer_norm_eps\"", "missing"}},
    /* forms */
    {"\"pooling\": \"mean\"", "\"pooling\": \"max\"", ERR_UNSUPPORTED,
	{"\"pooling\" as \"mean\" or \"cls\"", "not \"max\""}},
    {"\"token_embedding\": \"int8\"", "\"token_embedding\": \"int2\"", ERR_UNSUPPORTED,
	{"\"token_embedding\"", "\"int4\"", "not \"int2\""}},
    {"\"sub_norm\": false", "\"sub_norm\": 0", ERR_FORMAT,
	{"\"sub_norm\" as true or false", "not 0"}},
    {"\"coordinates\": \"test\"", "\"coordinates\": 5", ERR_FORMAT,
	{"\"coordinates\" as a string", "not a number"}},
    {"\"layers\": [", "\"layers\": 4, \"other\": [", ERR_FORMAT,
	{"\"layers\" as an array", "not a number"}},
    {"\"query\": \"ternary\"", "\"query\": \"binary\"", ERR_UNSUPPORTED,
	{"layers[0]", "\"query\" as \"ternary\" or", "not \"binary\""}},
    {"\"key\": \"four-level\", ", "", ERR_FORMAT, {"layers[2]", "\"key\"", "missing"}},
    {"\"query\": \"int8\"", "\"query\": \"int8\", \"key\": \"int8\"", ERR_FORMAT,
	{"layers[1]", "no \"key\" where \"attention\" is shared", "\"int8\""}},
    {"\"gelu\": \"exact\"", "\"gelu\": \"tanh\"", ERR_UNSUPPORTED,
	{"layers[1]", "\"gelu\" as \"exact\" or \"table\"", "not \"tanh\""}},
    {"\"down\": \"float\", \"gelu\": \"exact\"",
	"\"down\": \"float\", \"gelu\": \"table\"", ERR_FORMAT,
	{"layers[3]", "\"down\"", "not \"float\""}},
    /* attention */
    {"\"softmax\"", "\"flash\"", ERR_UNSUPPORTED,
	{"layers[3]: \"attention\": expected \"form\"", "\"softmax\" or \"hash\"",
	    "not \"flash\""}},
    {"{\"form\": \"softmax\"}", "\"softmax\"", ERR_FORMAT,
	{"layers[3]", "\"attention\" as an object", "not a string"}},
    {"\"shared\": true", "\"shared\": \"yes\"", ERR_FORMAT,
	{"layers[1]", "\"shared\" as true or false", "not \"yes\""}},
    {"\"function\": \"linear\"", "\"function\": \"cubic\"", ERR_UNSUPPORTED,
	{"layers[1]", "\"function\"", "not \"cubic\""}},
    {"\"similarity\": \"general\"", "\"similarity\": \"special\"", ERR_UNSUPPORTED,
	{"layers[1]", "\"similarity\"", "not \"special\""}},
    {"\"bits\": 16", "\"bits\": 33", ERR_FORMAT,
	{"layers[0]", "\"bits\" as an integer of 1 .. 32", "not 33"}},
    {"\"anchors\": 5", "\"anchors\": 65", ERR_FORMAT,
	{"layers[0]", "\"anchors\" as an integer of 1 .. 64", "not 65"}},
    {", \"anchors\": 5", "", ERR_FORMAT, {"layers[0]", "\"anchors\"", "missing"}},
    {"\"bucket_bits\": 4", "\"bucket_bits\": 16", ERR_FORMAT,
	{"layers[0]", "\"bucket_bits\" as an integer of 1 .. 8", "not 16"}},
    {"\"bucket_bits\": 4", "\"bucket_bits\": 3", ERR_FORMAT,
	{"layers[0]", "\"bucket_bits\" as a divisor of \"bits\", 16", "not 3"}},
};

static const struct config_case sub_norm_cases[] = {
    {"\"gelu\": \"exact\"", "\"gelu\": \"table\"", ERR_FORMAT,
	{"layers[0]", "\"exact\" with \"sub_norm\"", "not \"table\""}},
};

static void
configs_are_refused(void **state)
{
	(void)state;
	const struct models_encoder good = good_shape(), other = other_shape();

	configs_refused(
	    &good, config_cases, sizeof config_cases / sizeof *config_cases);
	configs_refused(
	    &other, sub_norm_cases, sizeof sub_norm_cases / sizeof *sub_norm_cases);
}

static void
long_texts_in_configs_are_refused(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();
	char text[8000];

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	memset(text, 0, sizeof text);
	strcpy(text, "\"query_prefix\": \"");
	/* As long as may be, in escapes six times that; a word too long is one piece.
	 */
	for (size_t i = 0; i < 1000; i++)
		strcat(text, "\\u0041");
	strcat(text, "\", \"coordinates\": \"test\"");
	replace("config.json", "\"coordinates\": \"test\"", text);
	opens();
	replace("config.json", "\"query_prefix\": \"", "\"query_prefix\": \"+");
	refused(ERR_FORMAT, (const char *const[4]){"config.json",
				"\"query_prefix\" of at most 1000 bytes", "not 1001"});
	models_write_encoder(test_folder(), MODEL, &shape, 1);
	memset(text, 0, sizeof text);
	strcpy(text, "\"coordinates\": \"");
	memset(text + strlen(text), 'c', 81);
	strcat(text, "\"");
	replace("config.json", "\"coordinates\": \"test\"", text);
	refused(ERR_FORMAT, (const char *const[4]){"config.json",
				"\"coordinates\" of at most 80 bytes", "not 81"});
}

static void
prefixes_leave_room(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape(); /* 32 pieces */
	const char query[] =
	    "\"query_prefix\": \"a a a a a a a a a a a a a a\", \"coordinates\"";

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	replace("config.json", "\"coordinates\"", query);
	opens();
	replace("config.json", "\"a a", "\"a a a");
	refused(ERR_FORMAT, (const char *const[4]){"config.json",
				"query_prefix of at most 16 pieces", "not 17"});
	models_write_encoder(test_folder(), MODEL, &shape, 1);
	replace("config.json", "\"coordinates\"",
	    "\"document_prefix\": \"a b c d e f g h i j k l m n o p\", "
	    "\"coordinates\"");
	refused(ERR_FORMAT, (const char *const[4]){
				"config.json", "document_prefix of at most 16 pieces"});
}

static void
vocabularies_are_refused(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();
	size_t n;

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	char *good = read_text("vocab.txt", &n);
	replace("vocab.txt", "[CLS]", "[cls]");
	refused(ERR_FORMAT,
	    (const char *const[4]){"vocab.txt", "a piece [CLS]", "none of the 62"});
	models_write_file(test_folder(), MODEL, "vocab.txt", good);
	replace("vocab.txt", "[SEP]", "[sep]");
	refused(ERR_FORMAT,
	    (const char *const[4]){"vocab.txt", "a piece [SEP]", "none of the 62"});
	models_write_file(test_folder(), MODEL, "vocab.txt", good);
	replace("vocab.txt", "passage\n", "");
	refused(ERR_FORMAT, (const char *const[4]){"vocab.txt", "62 lines", "not 61"});
	free(good);
}

/* What is done to a tensor. */
enum edit_kind {
	REMOVE,
	OTHER_TYPE,
	FEWER_ROWS,
	PUT_FLOAT, /* number `at` becomes `value` */
	PUT_BYTE,  /* byte `at` does */
};

struct edit {
	const char *name;
	enum edit_kind kind;
	size_t at;
	double value;
	const char *words[2]; /* beside the name */
};

static void
edit_tensor(void *context, struct tensor *list, size_t n)
{
	struct edit *edit = context;
	struct tensor *t = list;

	for (; t < list + n && strcmp(t->name, edit->name) != 0; t++)
		;
	if (t == list + n)
		fail_msg("expected a tensor %s", edit->name);
	void *data = (void *)(uintptr_t)t->data;
	switch (edit->kind) {
	case REMOVE:
		t->name = "gone";
		break;
	case OTHER_TYPE:
		t->type = t->type == TENSOR_F32  ? TENSOR_I32
			  : t->type == TENSOR_I8 ? TENSOR_U8
						 : TENSOR_I8;
		break;
	case FEWER_ROWS:
		t->size_bytes -= t->size_bytes / t->shape[0];
		t->shape[0]--;
		break;
	case PUT_FLOAT:
		assert_true(t->type == TENSOR_F32 && 4 * edit->at < t->size_bytes);
		((float *)data)[edit->at] = (float)edit->value;
		break;
	case PUT_BYTE:
		assert_true(t->type != TENSOR_F32 && edit->at < t->size_bytes);
		((uint8_t *)data)[edit->at] = (uint8_t)edit->value;
		break;
	}
}

static void
tensors_refused(const struct models_encoder *shape, const struct edit *edits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct edit edit = edits[i];
		models_write_edited(test_folder(), MODEL, shape, 1, edit_tensor, &edit);
		refused(ERR_FORMAT, (const char *const[4]){"model.safetensors",
					edit.name, edit.words[0], edit.words[1]});
	}
}

static void
tensors_are_refused(void **state)
{
	(void)state;
	static const struct edit edits[] = {
	    /* types and shapes */
	    {"token.weight", OTHER_TYPE, 0, 0, {"I8 [62, 64]", "not U8"}},
	    {"token.weight", FEWER_ROWS, 0, 0, {"I8 [62, 64]", "not I8 [61, 64]"}},
	    {"position.weight", FEWER_ROWS, 0, 0, {"[32, 64]", "not F32 [31, 64]"}},
	    {"embedding_norm.weight", OTHER_TYPE, 0, 0, {"F32 [64]", "not I32 [64]"}},
	    {"layers.0.up.weight", OTHER_TYPE, 0, 0, {"U8 [2, 16, 64]", "not I8"}},
	    {"layers.1.up.weight", FEWER_ROWS, 0, 0, {"I8 [8, 16, 64]", "not I8 [7"}},
	    {"layers.3.down.weight", FEWER_ROWS, 0, 0,
		{"F32 [4, 128, 16]", "not F32 [3"}},
	    {"layers.1.up.scale", FEWER_ROWS, 0, 0, {"F32 [128]", "not F32 [127]"}},
	    {"layers.0.hash.anchors", FEWER_ROWS, 0, 0, {"[4, 5, 16]", "[3, 5, 16]"}},
	    {"layers.0.hash.planes", FEWER_ROWS, 0, 0, {"[4, 16, 5]", "[3, 16, 5]"}},
	    {"layers.1.hash.planes", FEWER_ROWS, 0, 0, {"[4, 16, 16]", "[3, 16, 16]"}},
	    {"layers.2.hash.table", FEWER_ROWS, 0, 0, {"[4, 17]", "[3, 17]"}},
	    {"layers.0.gelu.table", FEWER_ROWS, 0, 0, {"I8 [256]", "not I8 [255]"}},
	    {"layers.0.gelu.scale", FEWER_ROWS, 0, 0, {"F32 [2]", "not F32 [1]"}},
	    /* missing */
	    {"token.scale", REMOVE, 0, 0, {"F32 [62]", "there is none"}},
	    {"layers.0.key.weight", REMOVE, 0, 0, {"U8 [1, 16, 64]", "there is none"}},
	    {"layers.3.value.bias", REMOVE, 0, 0, {"F32 [64]", "there is none"}},
	    {"layers.2.hash.threshold", REMOVE, 0, 0, {"[4, 16]", "there is none"}},
	    {"layers.0.hash.floor", REMOVE, 0, 0, {"F32 [4]", "there is none"}},
	    {"layers.1.hash.epsilon", REMOVE, 0, 0, {"F32 [4]", "there is none"}},
	    {"layers.1.attention_norm.bias", REMOVE, 0, 0, {"F32 [64]", "none"}},
	    /* numbers */
	    {"token.scale", PUT_FLOAT, 3, NAN, {"[3] in 0 .. 1e+06", "not nan"}},
	    {"token.scale", PUT_FLOAT, 3, -1, {"[3] in 0 .. 1e+06", "not -1"}},
	    {"token.weight", PUT_BYTE, 62 * 64 - 1, 0x80, {"-127 .. 127", "not -128"}},
	    {"position.weight", PUT_FLOAT, 9, INFINITY, {"[9]", "not inf"}},
	    {"embedding_norm.bias", PUT_FLOAT, 9, NAN, {"[9] as a finite", "not nan"}},
	    {"layers.0.query.scale", PUT_FLOAT, 5, NAN, {"[5] as a finite", "not nan"}},
	    {"layers.1.query.scale", PUT_FLOAT, 5, -2, {"number >= 0", "not -2"}},
	    {"layers.2.query.bias", PUT_FLOAT, 5, -INFINITY, {"[5]", "not -inf"}},
	    {"layers.0.gelu.table", PUT_BYTE, 255, 0x80, {"-127 .. 127", "not -128"}},
	    {"layers.0.gelu.scale", PUT_FLOAT, 0, 0, {"[0] as a finite", "not 0"}},
	    {"layers.0.gelu.scale", PUT_FLOAT, 1, -1, {"number > 0", "not -1"}},
	    {"layers.0.hash.inverse_sigma", PUT_FLOAT, 3, 0, {"number > 0", "not 0"}},
	    {"layers.0.hash.planes", PUT_FLOAT, 3, NAN, {"[3]", "not nan"}},
	    {"layers.0.hash.floor", PUT_FLOAT, 3, 0, {"[3]", "not 0"}},
	    {"layers.2.hash.table", PUT_FLOAT, 67, 0, {"[67]", "not 0"}},
	    {"layers.2.hash.table", PUT_FLOAT, 67, -1, {"number > 0", "not -1"}},
	    {"layers.1.hash.gamma", PUT_FLOAT, 1, NAN, {"[1]", "not nan"}},
	};
	static const struct edit others[] = {
	    {"layers.0.context_norm.weight", REMOVE, 0, 0, {"F32 [64]", "none"}},
	    {"layers.0.inner_norm.weight", FEWER_ROWS, 0, 0, {"[128]", "[127]"}},
	    {"layers.0.inner_norm.weight", PUT_FLOAT, 127, NAN, {"[127]", "not nan"}},
	    {"token.weight", OTHER_TYPE, 0, 0, {"U8 [63, 32]", "not I8"}},
	    {"token.weight", PUT_BYTE, 63 * 32 - 1, 0x0F, {"-7 .. 7", "not -8"}},
	    {"token.weight", PUT_BYTE, 63 * 32 - 8, 0xF0, {"-7 .. 7", "not -8"}},
	};
	const struct models_encoder good = good_shape(), other = other_shape();

	tensors_refused(&good, edits, sizeof edits / sizeof *edits);
	tensors_refused(&other, others, sizeof others / sizeof *others);
}

/* A level or an anchor that is wrong: the tensor's name is not all that is in the
 * message. */
static void
levels_and_anchors_are_refused(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();
	struct edit ternary = {"layers.0.down.weight", PUT_BYTE, 17, 0xC0, {NULL}};
	struct edit level = {"layers.1.value.weight", PUT_BYTE, 70, 0x80, {NULL}};
	struct edit anchor = {"layers.2.hash.anchors", PUT_FLOAT, 33, 9, {NULL}};

	models_write_edited(test_folder(), MODEL, &shape, 1, edit_tensor, &ternary);
	refused(ERR_FORMAT, (const char *const[4]){"model.safetensors: layers.0.down",
				"codes 0, 1 or 2", "not 3"});
	models_write_edited(test_folder(), MODEL, &shape, 1, edit_tensor, &level);
	refused(ERR_FORMAT, (const char *const[4]){"model.safetensors: layers.1.value",
				"-127 .. 127", "not -128"});
	models_write_edited(test_folder(), MODEL, &shape, 1, edit_tensor, &anchor);
	refused(ERR_FORMAT, (const char *const[4]){
				"layers.2.hash.anchors[0][2]", "of length 1", "not 9"});
}

static void
cut_files_are_refused(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();
	char path[500];
	struct rng rng;
	size_t n;

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	snprintf(path, sizeof path, "%s/model.safetensors", model());
	char *whole = read_text("model.safetensors", &n);
	rng_init(&rng, test_seed(), 1);
	assert_true(n > 100000);
	for (size_t i = 0; i < 100; i++) {
		size_t length = i < 10 ? i : i < 20 ? n - i + 9 : rng_below(&rng, n);
		FILE *f = fopen(path, "wb");
		assert_int_equal(fwrite(whole, 1, length, f), length);
		fclose(f);
		refused(ERR_FORMAT, (const char *const[4]){"model.safetensors"});
	}
	free(whole);
}

static void
allocation_failures_are_errors(void **state)
{
	(void)state;
	const struct models_encoder shape = good_shape();
	struct encoder *encoder = NULL;
	struct encoder_scratch *scratch = NULL;
	struct error err = {ERR_NONE, ""};
	long k;

	models_write_encoder(test_folder(), MODEL, &shape, 1);
	for (k = 1; !scratch; k++) {
		array_fail_at(k);
		encoder = encoder_open(model(), &err);
		if (encoder)
			scratch = encoder_scratch_new(encoder, &err);
		array_fail_at(0);
		if (!scratch) {
			assert_int_equal(err.code, ERR_MEMORY);
			encoder_close(encoder);
		}
	}
	assert_true(k > 20);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(configs_are_refused),
	    cmocka_unit_test(long_texts_in_configs_are_refused),
	    cmocka_unit_test(other_weights_are_refused),
	    cmocka_unit_test(prefixes_leave_room),
	    cmocka_unit_test(vocabularies_are_refused),
	    cmocka_unit_test(tensors_are_refused),
	    cmocka_unit_test(levels_and_anchors_are_refused),
	    cmocka_unit_test(cut_files_are_refused),
	    cmocka_unit_test(allocation_failures_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
