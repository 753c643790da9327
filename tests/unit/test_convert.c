/*
 * Claims: a converted model embeds as sentence-transformers does with the one it came
 * from (tests/golden/make_bert.py), as query, document and neither, in floats and in
 * bytes; options win over what the model says; conversions of one model share their
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
#include "base/alloc.h"
#include "base/json.h"
#include "base/tensors.h"
#include "base/text.h"
#include "tests/support/bert.h"

enum { D = 64 };

static const char *const golden[] = {"bert_mean", "bert_cls", "bert_bf16"};

static struct convert_summary
convert(enum linear_form layers)
{
	struct convert_options options = bert_options(layers);
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
	struct encoder *encoder = encoder_open(bert_output, &err);

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

	bert_copy(name);
	convert(layers);
	struct encoder *encoder = open_output();
	assert_int_equal(encoder_dims(encoder), D);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	char path[200];
	snprintf(path, sizeof path, "tests/golden/%s", name);
	char *lines = bert_read(path, "expected.jsonl", &n);
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

#define SPLITTER "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, "
#define NORMALIZER                                                             \
	"\"normalizer\": {\"type\": \"BertNormalizer\", \"lowercase\": true, " \
	"\"strip_accents\": null}, "

/* tokenizer.json in place of vocab.txt: `before` and then the pieces from the last to
 * the first, whose ids are `step` apart. */
static void
swap_vocabulary(const char *before, size_t step)
{
	size_t n, lines = 0;
	char *vocabulary = bert_read(bert_source, "vocab.txt", &n);
	struct text out = {0};

	for (size_t i = 0; i < n; i++)
		lines += vocabulary[i] == '\n';
	text_printf(&out,
	    "{%s\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
	    "\"vocab\": {",
	    before);
	for (size_t id = lines, end = n; id-- > 0;) {
		size_t start = --end; /* of the line: `end` is at its end */
		while (start > 0 && vocabulary[start - 1] != '\n')
			start--;
		text_json(&out, vocabulary + start, end - start);
		text_printf(&out, ": %zu%s", id * step, id > 0 ? ", " : "}}}");
		end = start;
	}
	assert_false(out.failed);
	bert_write(bert_source, "tokenizer.json", out.bytes, out.n);
	assert_int_equal(remove(bert_path(bert_source, "vocab.txt")), 0);
	text_free(&out);
	free(vocabulary);
}

/* Newer libraries save tokenizer.json alone. */
static void
test_tokenizer_json(void **state)
{
	size_t n_want, n_got;
	struct convert_options options;
	(void)state;

	bert_copy("bert_mean");
	char *want = bert_read(bert_source, "vocab.txt", &n_want);
	swap_vocabulary(NORMALIZER SPLITTER, 1);
	convert(LINEAR_FLOAT);
	char *got = bert_read(bert_output, "vocab.txt", &n_got);
	assert_int_equal(n_got, n_want);
	assert_memory_equal(got, want, n_want);
	free(got);
	free(want);

	static const struct {
		const char *before;
		size_t step;
		enum error_code code;
		const char *word;
	} bad[] = {
	    {SPLITTER, 1, ERR_UNSUPPORTED, "\"normalizer\", which is missing"},
	    {NORMALIZER, 1, ERR_UNSUPPORTED, "\"pre_tokenizer\", which is missing"},
	    {"\"normalizer\": {\"type\": \"NFC\"}, " SPLITTER, 1, ERR_UNSUPPORTED,
		"BertNormalizer"},
	    {"\"normalizer\": {\"lowercase\": false}, " SPLITTER, 1, ERR_UNSUPPORTED,
		"\"lowercase\" as true"},
	    {NORMALIZER SPLITTER, 2, ERR_FORMAT, "each once"},
	    {NORMALIZER SPLITTER, 0, ERR_FORMAT, "each once"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		bert_copy("bert_mean");
		swap_vocabulary(bad[i].before, bad[i].step);
		options = bert_options(LINEAR_FLOAT);
		bert_refused(&options, bad[i].code, bad[i].word);
		bert_refused(&options, bad[i].code, "tokenizer.json");
	}
}

/* What the model says, and what the caller says instead. */
static void
test_options(void **state)
{
	char first[81];
	struct error err;
	(void)state;

	bert_copy("bert_bf16");
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

	struct convert_options options = bert_options(LINEAR_INT8);
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

/* Replacing fails half way: what is left is no model, and no mixture of two. */
static void
test_half_replaced(void **state)
{
	struct convert_summary made;
	char words[500], json[500];
	struct error err;
	(void)state;

	bert_copy("bert_mean");
	convert(LINEAR_FLOAT);
	snprintf(words, sizeof words, "%s/vocab.txt", bert_output);
	snprintf(json, sizeof json, "%s/config.json", bert_output);
	assert_int_equal(access(json, F_OK), 0);
	assert_int_equal(unlink(words), 0);
	assert_int_equal(mkdir(words, 0777), 0);
	struct convert_options options = bert_options(LINEAR_INT8);
	assert_int_equal(convert_model(&made, &options, &err), -1);
	assert_int_not_equal(access(json, F_OK), 0);
}

static void
test_folders(void **state)
{
	struct error err;
	(void)state;

	bert_copy("bert_mean");
	struct convert_options options = bert_options(LINEAR_FLOAT);
	options.output = bert_source;
	bert_refused(&options, ERR_INPUT, "another folder");
	options.output = bert_path(bert_source, "vocab.txt");
	bert_refused(&options, ERR_IO, "vocab.txt");
	options.output = "/nowhere/at/all";
	bert_refused(&options, ERR_NOT_FOUND, "/nowhere/at/all");
	options = bert_options(LINEAR_FLOAT);
	options.from = "/nowhere";
	bert_refused(&options, ERR_NOT_FOUND, "/nowhere/config.json");
	options.pooling = "mean";
	bert_refused(&options, ERR_NOT_FOUND, "/nowhere/config.json");
	options = bert_options(LINEAR_FLOAT);
	options.pooling = "max";
	bert_refused(&options, ERR_INPUT, "\"max\"");
	char *longest = calloc(CONVERT_PREFIX_MAX + 2, 1);
	assert_non_null(longest);
	memset(longest, 'x', CONVERT_PREFIX_MAX + 1);
	options = bert_options(LINEAR_FLOAT);
	options.query_prefix = longest;
	bert_refused(&options, ERR_INPUT, "at most 1000 bytes, not 1001");
	options.query_prefix = "a a a a a a a a a";
	bert_refused(&options, ERR_UNSUPPORTED, "query prefix of at most 10 pieces");
	options.query_prefix = NULL;
	options.document_prefix = "a a a a a a a a a";
	bert_refused(&options, ERR_UNSUPPORTED, "document prefix of at most 10 pieces");
	options.document_prefix = "a a a a a a a a";
	assert_int_equal(
	    convert_model(&(struct convert_summary){0}, &options, &(struct error){0}),
	    0);
	options = bert_options(LINEAR_FLOAT);
	options.query_prefix = longest;
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

	bert_copy("bert_mean");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(unlink(bert_path(bert_source, optional[i])), 0);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 24);
	static const char huge[] =
	    "{\"model_max_length\": 1000000000000000019884624838656}";
	bert_write(bert_source, "tokenizer_config.json", huge, sizeof huge - 1);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 24);
	static const char small[] = "{\"model_max_length\": 9}";
	bert_write(bert_source, "tokenizer_config.json", small, sizeof small - 1);
	assert_int_equal(convert(LINEAR_FLOAT).pieces_max, 9);
}

/* The first numbers of a tensor in the model in `dir` become `values` (n bytes). */
static void
patch(const char *dir, const char *name, const void *values, size_t n)
{
	struct error err;
	size_t size;
	struct tensors *t = tensors_open(bert_path(dir, "model.safetensors"), &err);
	assert_non_null(t);
	const struct tensor *tensor = tensors_find(t, name);
	assert_non_null(tensor);
	assert_true(n <= tensor->size_bytes);
	char *bytes = bert_read(dir, "model.safetensors", &size);
	char *at = memmem(bytes, size, tensor->data, tensor->size_bytes);
	assert_non_null(at);
	memcpy(at, values, n);
	tensors_close(t);
	bert_write(dir, "model.safetensors", bytes, size);
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

	bert_copy("bert_cls");
	patch(bert_source, "bert.embeddings.LayerNorm.bias", halves, sizeof halves);
	convert(LINEAR_FLOAT);
	struct tensors *t =
	    tensors_open(bert_path(bert_output, "model.safetensors"), &err);
	assert_non_null(t);
	const struct tensor *bias = tensors_find(t, "embedding_norm.bias");
	assert_non_null(bias);
	assert_memory_equal(bias->data, wanted, sizeof wanted);
	tensors_close(t);
	patch(
	    bert_source, "bert.embeddings.LayerNorm.bias", &infinite, sizeof infinite);
	struct convert_options options = bert_options(LINEAR_FLOAT);
	bert_refused(&options, ERR_FORMAT,
	    "finite numbers in 'bert.embeddings.LayerNorm.bias', not inf at 0");
}

/* A row of zeros and a scale that underflows are zeros, not a division by zero. */
static void
test_zero_row(void **state)
{
	static const float tiny[D] = {1e-44f};
	struct error err;
	(void)state;

	bert_copy("bert_mean");
	patch(bert_source, "encoder.layer.0.attention.self.value.weight", tiny,
	    sizeof tiny);
	convert(LINEAR_INT8);
	struct tensors *t =
	    tensors_open(bert_path(bert_output, "model.safetensors"), &err);
	assert_non_null(t);
	const float *scale = tensors_find(t, "layers.0.value.scale")->data;
	assert_true(scale[0] == 0 && scale[1] > 0);
	tensors_close(t);
	encoder_close(open_output());
}

/* The `n` numbers of a tensor of the bert_output, times `factor`. */
static void
scale_output(const char *name, size_t n, float factor)
{
	float values[128];
	struct error err;
	struct tensors *t =
	    tensors_open(bert_path(bert_output, "model.safetensors"), &err);
	assert_non_null(t);
	const struct tensor *tensor = tensors_find(t, name);
	assert_non_null(tensor);
	assert_int_equal(tensor->size_bytes, n * sizeof *values);
	for (size_t i = 0; i < n; i++)
		values[i] = ((const float *)tensor->data)[i] * factor;
	tensors_close(t);
	patch(bert_output, name, values, n * sizeof *values);
}

static void
embed_output(float *vector)
{
	struct error err;
	struct encoder *encoder = open_output();
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	struct encoder_output out = {.vector = vector};
	assert_non_null(scratch);
	assert_int_equal(
	    encoder_embed(encoder, scratch, &out, ENCODER_PLAIN, "a cat", 5, &err), 0);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

/* Factors are applied where they stand, to the bit; one that is 0 is refused. */
static void
test_smooth(void **state)
{
	float before[D], after[D];
	struct error err;
	(void)state;

	bert_copy("bert_mean");
	convert(LINEAR_INT8);
	embed_output(before);
	scale_output("layers.0.attention_smooth", D, 2);
	scale_output("layers.0.query.scale", D, 0.5f);
	scale_output("layers.0.key.scale", D, 0.5f);
	scale_output("layers.0.value.scale", D, 0.5f);
	scale_output("layers.0.feed_forward_smooth", D, 4);
	scale_output("layers.0.up.scale", 128, 0.25f);
	embed_output(after);
	assert_memory_equal(before, after, sizeof before);
	scale_output("layers.0.feed_forward_smooth", D, 0);
	assert_null(encoder_open(bert_output, &err));
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, "feed_forward_smooth[0]"));
}

static void
test_memory(void **state)
{
	struct error err;
	struct convert_summary summary;
	long k = 0;
	(void)state;

	bert_copy("bert_mean");
	struct convert_options options = bert_options(LINEAR_INT8);
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
	    cmocka_unit_test(test_tokenizer_json),
	    cmocka_unit_test(test_options),
	    cmocka_unit_test(test_half_replaced),
	    cmocka_unit_test(test_folders),
	    cmocka_unit_test(test_plain_folder),
	    cmocka_unit_test(test_halves),
	    cmocka_unit_test(test_zero_row),
	    cmocka_unit_test(test_smooth),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
