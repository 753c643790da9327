/*
 * Claims: a converted model embeds as sentence-transformers does with the one it came
 * from (tests/golden/make_bert.py), as query, document and neither, in floats and in
 * bytes; what we would do differently is refused with the file, the key and what is
 * there; options win over what the model says; conversions of one model share their
 * coordinates; float16 is read to the last subnormal; the folder of the model is never
 * written; failing allocations are errors and leak nothing.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/convert.h"
#include "attention/encoder.h"
#include "attention/file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/tensors.h"
#include "tests/support/guard.h"

enum { D = 64 };

static const char *const golden[] = {"bert_mean", "bert_cls", "bert_bf16"};
static const char *const parts[] = {"config.json", "vocab.txt", "model.safetensors",
    "modules.json", "tokenizer_config.json", "1_Pooling/config.json",
    "sentence_bert_config.json", "config_sentence_transformers.json"};
#define N_PARTS (sizeof parts / sizeof *parts)

static char source[400], output[400];

static const char *
path_of(const char *dir, const char *name)
{
	static char path[1000];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void
write_file(const char *dir, const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(path_of(dir, name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static char *
read_file(const char *dir, const char *name, size_t *n)
{
	struct error err;
	char *bytes = file_read(path_of(dir, name), 1 << 20, n, &err);

	if (!bytes)
		fail_msg("%s", err.text);
	return bytes;
}

/* `source` := a copy of a golden model, `output` := a folder that is not there. */
static void
copy_model(const char *name)
{
	static int count;
	char from[200];
	size_t n;
	struct error err;

	snprintf(from, sizeof from, "tests/golden/%s", name);
	snprintf(source, sizeof source, "%s/source-%d", test_folder(), count);
	snprintf(output, sizeof output, "%s/output-%d", test_folder(), count++);
	assert_int_equal(mkdir(source, 0700), 0);
	assert_int_equal(mkdir(path_of(source, "1_Pooling"), 0700), 0);
	for (size_t i = 0; i < N_PARTS; i++) {
		char *bytes = file_read(path_of(from, parts[i]), 1 << 20, &n, &err);
		if (bytes)
			write_file(source, parts[i], bytes, n);
		free(bytes);
	}
}

static struct convert_options
options_of(enum linear_form layers)
{
	return (struct convert_options){
	    .from = source, .output = output, .layers = layers};
}

static struct convert_summary
convert(enum linear_form layers)
{
	struct convert_options options = options_of(layers);
	struct convert_summary summary;
	struct error err;

	if (convert_model(&summary, &options, &err) != 0)
		fail_msg("%s", err.text);
	return summary;
}

static struct encoder *
open_output(void)
{
	struct error err;
	struct encoder *encoder = encoder_open(output, &err);

	if (!encoder)
		fail_msg("%s", err.text);
	return encoder;
}

/* The cosine of a row of expected.jsonl to what the encoder makes of its text. */
static double
cosine_of(const struct encoder *encoder, struct encoder_scratch *scratch,
    const struct json *row)
{
	struct json role, text, vector;
	char words[2000];
	float wanted[D], got[D];
	size_t n;
	struct error err;

	assert_true(json_member(row, "role", &role));
	assert_true(json_member(row, "text", &text) && text.len < sizeof words);
	assert_true(json_member(row, "vector", &vector));
	assert_int_equal(json_floats(wanted, D, &n, &vector, &err), 0);
	assert_int_equal(n, D);
	n = json_string(words, sizeof words, &text);
	struct encoder_output out = {.vector = got};
	if (encoder_embed(encoder, scratch, &out,
		json_equals(&role, "query")      ? ENCODER_QUERY
		: json_equals(&role, "document") ? ENCODER_DOCUMENT
						 : ENCODER_PLAIN,
		words, n, &err) != 0)
		fail_msg("%s", err.text);
	double dot = 0, square = 0;
	for (size_t i = 0; i < D; i++) {
		dot += (double)got[i] * (double)wanted[i];
		square += (double)wanted[i] * (double)wanted[i];
	}
	return dot / sqrt(square);
}

static void
check_golden(const char *name, enum linear_form layers, double bar)
{
	size_t n, rows = 0;
	struct error err;

	copy_model(name);
	convert(layers);
	struct encoder *encoder = open_output();
	assert_int_equal(encoder_dims(encoder), D);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	char path[200];
	snprintf(path, sizeof path, "tests/golden/%s", name);
	char *lines = read_file(path, "expected.jsonl", &n);
	for (char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1) {
		struct json row;
		assert_int_equal(json_check(&row, line, (size_t)(end - line), &err), 0);
		double cosine = cosine_of(encoder, scratch, &row);
		if (!(cosine >= bar))
			fail_msg("%s, row %zu: expected a cosine of %g, not %.6f", name,
			    rows, bar, cosine);
		rows++;
	}
	assert_true(rows >= 8);
	free(lines);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

static void
test_golden(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		check_golden(golden[i], LINEAR_FLOAT, 0.99999);
		check_golden(golden[i], LINEAR_INT8, 0.998);
	}
}

/* What the model says, and what the caller says instead. */
static void
test_options(void **state)
{
	char first[81];
	struct error err;
	(void)state;

	copy_model("bert_bf16");
	struct convert_summary made = convert(LINEAR_FLOAT);
	assert_false(made.cls);
	assert_false(made.normalized);
	assert_int_equal(made.layers, 2);
	assert_int_equal(made.dims, D);
	assert_int_equal(made.vocabulary, 124); /* of 130 rows */
	assert_int_equal(made.pieces_max, 20);
	assert_string_equal(made.query_prefix, "query: ");
	assert_string_equal(made.document_prefix, "a paper: ");
	struct encoder *encoder = open_output();
	snprintf(first, sizeof first, "%s", encoder_coordinates(encoder));
	assert_int_equal(strlen(first), 16);
	assert_int_equal(encoder_pieces_max(encoder), 20);
	encoder_close(encoder);

	convert(LINEAR_INT8); /* over the other */
	encoder = open_output();
	assert_string_equal(encoder_coordinates(encoder), first);
	encoder_close(encoder);

	struct convert_options options = options_of(LINEAR_INT8);
	options.pooling = "cls";
	options.query_prefix = "\"q\" \xc3\xa9: ";
	options.document_prefix = "";
	assert_int_equal(convert_model(&made, &options, &err), 0);
	assert_true(made.cls);
	assert_string_equal(made.query_prefix, options.query_prefix);
	assert_string_equal(made.document_prefix, "");
	encoder = open_output();
	assert_string_not_equal(encoder_coordinates(encoder), first);
	encoder_close(encoder);
}

/* A change to a file of bert_mean, and what comes of it. */
static const struct {
	const char *file;
	const char *old; /* NULL: the whole file */
	const char *new; /* NULL: no such file */
	enum error_code code;
	const char *words[2];
} refusals[] = {
    {"config.json", NULL, NULL, ERR_NOT_FOUND, {"config.json", ""}},
    {"config.json", NULL, "7", ERR_FORMAT, {"config.json", "an object"}},
    {"config.json", NULL, "{", ERR_FORMAT, {"config.json", ""}},
    {"config.json", "\"bert\"", "\"roberta\"", ERR_UNSUPPORTED,
	{"\"roberta\"", "bge-small-en-v1.5"}},
    {"config.json", "\"bert\"", "\"distilbert\"", ERR_UNSUPPORTED,
	{"\"distilbert\"", "\"model_type\" as \"bert\""}},
    {"config.json", "\"model_type\"", "\"kind\"", ERR_UNSUPPORTED,
	{"\"model_type\"", "missing"}},
    {"config.json", "\"gelu\"", "\"gelu_new\"", ERR_UNSUPPORTED,
	{"\"hidden_act\" as \"gelu\"", "\"gelu_new\""}},
    {"config.json", "\"absolute\"", "\"relative_key\"", ERR_UNSUPPORTED,
	{"position_embedding_type", "relative_key"}},
    {"config.json", "\"is_decoder\": false", "\"is_decoder\": true", ERR_UNSUPPORTED,
	{"is_decoder", "not true"}},
    {"config.json", "\"hidden_size\": 64", "\"hidden_size\": 96", ERR_UNSUPPORTED,
	{"\"hidden_size\" as a multiple of 64", "96"}},
    {"config.json", "\"hidden_size\": 64", "\"hidden_size\": 128", ERR_FORMAT,
	{"word_embeddings.weight", "[124, 128]"}},
    {"config.json", "\"hidden_size\"", "\"size\"", ERR_FORMAT,
	{"\"hidden_size\"", "missing"}},
    {"config.json", "\"intermediate_size\": 128", "\"intermediate_size\": 0",
	ERR_FORMAT, {"intermediate_size", "not 0"}},
    {"config.json", "\"num_attention_heads\": 2", "\"num_attention_heads\": 8",
	ERR_UNSUPPORTED, {"num_attention_heads", "64 / 8"}},
    {"config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2", ERR_FORMAT,
	{"encoder.layer.1.attention.self.query.weight", "there is none"}},
    {"config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 65", ERR_FORMAT,
	{"num_hidden_layers", "65"}},
    {"config.json", "\"max_position_embeddings\": 24", "\"max_position_embeddings\": 2",
	ERR_UNSUPPORTED, {"max_position_embeddings", "2"}},
    {"config.json", "1e-12", "0.1", ERR_UNSUPPORTED, {"layer_norm_eps", "0.1"}},
    {"config.json", "\"vocab_size\": 124", "\"vocab_size\": 123", ERR_FORMAT,
	{"vocab.txt", "at most 123 lines"}},
    {"tokenizer_config.json", "\"do_lower_case\": true", "\"do_lower_case\": false",
	ERR_UNSUPPORTED, {"tokenizer_config.json", "\"do_lower_case\" as true"}},
    {"tokenizer_config.json", "\"strip_accents\": null", "\"strip_accents\": false",
	ERR_UNSUPPORTED, {"strip_accents", "not false"}},
    {"tokenizer_config.json", "\"tokenize_chinese_chars\": true",
	"\"tokenize_chinese_chars\": false", ERR_UNSUPPORTED,
	{"tokenize_chinese_chars", "not false"}},
    {"tokenizer_config.json", "\"BertTokenizer\"", "\"MPNetTokenizer\"",
	ERR_UNSUPPORTED, {"\"BertTokenizer\" or \"BertTokenizerFast\"", "MPNet"}},
    {"tokenizer_config.json", "\"[UNK]\"", "{\"content\": \"<unk>\"}", ERR_UNSUPPORTED,
	{"unk_token", "<unk>"}},
    {"sentence_bert_config.json", "20", "1", ERR_FORMAT,
	{"sentence_bert_config.json", "\"max_seq_length\" as at least 3"}},
    {"vocab.txt", NULL, NULL, ERR_NOT_FOUND, {"vocab.txt", ""}},
    {"vocab.txt", "[CLS]", "[cls]", ERR_FORMAT, {"vocab.txt", "[CLS]"}},
    {"vocab.txt", "[SEP]", "[sep]", ERR_FORMAT, {"vocab.txt", "[SEP]"}},
    {"vocab.txt", "[UNK]", "[unk]", ERR_FORMAT, {"vocab.txt", "[UNK]"}},
    {"modules.json", "models.Normalize", "models.Dense", ERR_UNSUPPORTED,
	{"modules.json", "models.Dense\" as step 3"}},
    {"modules.json", "models.Pooling", "models.CNN", ERR_UNSUPPORTED,
	{"modules.json", "CNN\" as step 2"}},
    {"modules.json", "sentence_transformers.models.Transformer", "mine.Transformer",
	ERR_UNSUPPORTED, {"modules.json", "mine.Transformer"}},
    {"modules.json", NULL, "[]", ERR_FORMAT, {"modules.json", "Transformer"}},
    {"modules.json", NULL, "[{\"path\": \"\"}]", ERR_FORMAT, {"\"type\"", "missing"}},
    {"modules.json", "1_Pooling", "../x", ERR_FORMAT, {"within the model", "../x"}},
    {"1_Pooling/config.json", NULL, NULL, ERR_UNSUPPORTED,
	{"how it pools", "--pooling mean"}},
    {"1_Pooling/config.json", "\"pooling_mode_max_tokens\": false",
	"\"pooling_mode_max_tokens\": true", ERR_UNSUPPORTED,
	{"1_Pooling/config.json", "\"mean\" and \"max\""}},
    {"1_Pooling/config.json", "\"pooling_mode_mean_tokens\": true", "\"x\": true",
	ERR_UNSUPPORTED, {"pooling mode", "none"}},
    {"1_Pooling/config.json", NULL, "{\"pooling_mode\": \"weightedmean\"}",
	ERR_UNSUPPORTED, {"pooling mode", "weightedmean"}},
    {"1_Pooling/config.json", NULL,
	"{\"pooling_mode\": \"mean\", \"include_prompt\": false}", ERR_UNSUPPORTED,
	{"include_prompt", "false"}},
    {"config_sentence_transformers.json", NULL, "{\"default_prompt_name\": \"query\"}",
	ERR_UNSUPPORTED, {"default_prompt_name", "\"query\""}},
    {"config_sentence_transformers.json", NULL, "{\"prompts\": {\"query\": 7}}",
	ERR_FORMAT, {"\"query\" as a text", "a number"}},
    {"model.safetensors", NULL, NULL, ERR_NOT_FOUND, {"model.safetensors", ""}},
    {"model.safetensors", NULL, "short", ERR_FORMAT, {"model.safetensors", ""}},
    {"model.safetensors", "\"embeddings.position_embeddings.weight\"",
	"\"embeddings.position_embeddings.weighs\"", ERR_FORMAT,
	{"position_embeddings.weight", "there is none"}},
};

/* The first `old` in n bytes becomes `new`. */
static char *
replace(const char *bytes, size_t *n, const char *old, const char *new)
{
	const char *at = memmem(bytes, *n, old, strlen(old));
	size_t before = at ? (size_t)(at - bytes) : 0;

	if (!at)
		fail_msg("there is no %s to change", old);
	char *out = calloc(*n + strlen(new) + 1, 1);
	assert_non_null(out);
	memcpy(out, bytes, before);
	memcpy(out + before, new, strlen(new));
	memcpy(out + before + strlen(new), at + strlen(old), *n - before - strlen(old));
	*n = *n - strlen(old) + strlen(new);
	return out;
}

static void
expect_refused(
    const struct convert_options *options, enum error_code code, const char *word)
{
	struct convert_summary summary;
	struct error err = {ERR_NONE, ""};

	assert_int_equal(convert_model(&summary, options, &err), -1);
	if (err.code != code || !strstr(err.text, word))
		fail_msg("expected code %d and \"%s\", not %d: %s", code, word,
		    err.code, err.text);
}

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const char *file = refusals[i].file, *new = refusals[i].new;
		size_t n = new ? strlen(new) : 0;
		copy_model("bert_mean");
		if (refusals[i].old) {
			char *was = read_file(source, file, &n);
			char *is = replace(was, &n, refusals[i].old, new);
			write_file(source, file, is, n);
			free(was);
			free(is);
		} else if (new)
			write_file(source, file, new, n);
		else
			assert_int_equal(unlink(path_of(source, file)), 0);
		struct convert_options options = options_of(LINEAR_INT8);
		for (size_t w = 0; w < 2; w++)
			expect_refused(
			    &options, refusals[i].code, refusals[i].words[w]);
		assert_int_not_equal(access(path_of(output, "config.json"), F_OK), 0);
	}
}

/* Weights that are stored otherwise are known by name. */
static void
test_other_weights(void **state)
{
	(void)state;
	copy_model("bert_mean");
	struct convert_options options = options_of(LINEAR_FLOAT);
	assert_int_equal(unlink(path_of(source, "model.safetensors")), 0);
	write_file(source, "model.safetensors.index.json", "{}", 2);
	expect_refused(&options, ERR_UNSUPPORTED, "model.safetensors.index.json");
	write_file(source, "pytorch_model.bin", "PK", 2);
	expect_refused(&options, ERR_UNSUPPORTED, "save_pretrained");
	expect_refused(&options, ERR_UNSUPPORTED, "pytorch_model.bin");
}

static void
test_folders(void **state)
{
	struct error err;
	(void)state;

	copy_model("bert_mean");
	struct convert_options options = options_of(LINEAR_FLOAT);
	options.output = source;
	expect_refused(&options, ERR_INPUT, "another folder");
	options.output = path_of(source, "vocab.txt");
	expect_refused(&options, ERR_IO, "vocab.txt");
	options.output = "/nowhere/at/all";
	expect_refused(&options, ERR_NOT_FOUND, "/nowhere/at/all");
	options = options_of(LINEAR_FLOAT);
	options.from = "/nowhere";
	expect_refused(&options, ERR_UNSUPPORTED, "how it pools");
	options.pooling = "mean";
	expect_refused(&options, ERR_NOT_FOUND, "/nowhere/config.json");
	options.pooling = "max";
	expect_refused(&options, ERR_INPUT, "\"max\"");
	char *longest = calloc(CONVERT_PREFIX_MAX + 2, 1);
	assert_non_null(longest);
	memset(longest, 'x', CONVERT_PREFIX_MAX + 1);
	options = options_of(LINEAR_FLOAT);
	options.query_prefix = longest;
	expect_refused(&options, ERR_INPUT, "at most 1000 bytes, not 1001");
	longest[CONVERT_PREFIX_MAX] = '\0';
	struct convert_summary summary;
	assert_int_equal(convert_model(&summary, &options, &err), 0);
	encoder_close(open_output());
	free(longest);
}

/* Without the optional files, the model's length is that of its positions. */
static void
test_plain_folder(void **state)
{
	static const char *const optional[] = {
	    "modules.json", "sentence_bert_config.json", "tokenizer_config.json"};
	(void)state;

	copy_model("bert_mean");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(unlink(path_of(source, optional[i])), 0);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 24);
	static const char huge[] =
	    "{\"model_max_length\": 1000000000000000019884624838656}";
	write_file(source, "tokenizer_config.json", huge, sizeof huge - 1);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 24);
	static const char small[] = "{\"model_max_length\": 9}";
	write_file(source, "tokenizer_config.json", small, sizeof small - 1);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 9);
}

/* The numbers of a tensor in the source become `values` (n bytes). */
static void
patch(const char *name, const void *values, size_t n)
{
	struct error err;
	size_t size;
	struct tensors *t = tensors_open(path_of(source, "model.safetensors"), &err);
	assert_non_null(t);
	const struct tensor *tensor = tensors_find(t, name);
	assert_non_null(tensor);
	assert_true(n <= tensor->size_bytes);
	char *bytes = read_file(source, "model.safetensors", &size);
	char *at = memmem(bytes, size, tensor->data, tensor->size_bytes);
	assert_non_null(at);
	memcpy(at, values, n);
	tensors_close(t);
	write_file(source, "model.safetensors", bytes, size);
	free(bytes);
}

static void
test_halves(void **state)
{
	static const uint16_t halves[] = {
	    0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xC500, 0x7BFF, 0x0000};
	static const float wanted[] = {
	    0x1p-24f, -0x1p-24f, 0x3FFp-24f, 0x1p-14f, 1, -5, 65504, 0};
	static const uint16_t infinite = 0x7C00;
	struct error err;
	(void)state;

	copy_model("bert_cls");
	patch("bert.embeddings.LayerNorm.bias", halves, sizeof halves);
	convert(LINEAR_FLOAT);
	struct tensors *t = tensors_open(path_of(output, "model.safetensors"), &err);
	assert_non_null(t);
	const struct tensor *bias = tensors_find(t, "embedding_norm.bias");
	assert_non_null(bias);
	assert_memory_equal(bias->data, wanted, sizeof wanted);
	tensors_close(t);
	patch("bert.embeddings.LayerNorm.bias", &infinite, sizeof infinite);
	struct convert_options options = options_of(LINEAR_FLOAT);
	expect_refused(&options, ERR_FORMAT,
	    "finite numbers in 'bert.embeddings.LayerNorm.bias', not inf at 0");
}

/* A row of zeros and a scale that underflows are zeros, not a division by zero. */
static void
test_zero_row(void **state)
{
	static const float tiny[D] = {1e-44f};
	struct error err;
	(void)state;

	copy_model("bert_mean");
	patch("encoder.layer.0.attention.self.value.weight", tiny, sizeof tiny);
	convert(LINEAR_INT8);
	struct tensors *t = tensors_open(path_of(output, "model.safetensors"), &err);
	assert_non_null(t);
	const float *scale = tensors_find(t, "layers.0.value.scale")->data;
	assert_true(scale[0] == 0 && scale[1] > 0);
	tensors_close(t);
	encoder_close(open_output());
}

static void
test_memory(void **state)
{
	struct error err;
	struct convert_summary summary;
	long k = 0;
	(void)state;

	copy_model("bert_mean");
	struct convert_options options = options_of(LINEAR_INT8);
	for (int rc = -1; rc != 0;) {
		array_fail_at(++k);
		rc = convert_model(&summary, &options, &err);
		array_fail_at(0);
		if (rc != 0 && err.code != ERR_MEMORY)
			fail_msg("allocation %ld: %s", k, err.text);
	}
	assert_true(k > 50);
	encoder_close(open_output());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_options),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_other_weights),
	    cmocka_unit_test(test_folders),
	    cmocka_unit_test(test_plain_folder),
	    cmocka_unit_test(test_halves),
	    cmocka_unit_test(test_zero_row),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
