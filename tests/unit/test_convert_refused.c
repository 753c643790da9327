/*
 * Claims: what we would do differently from the model's authors, and each file that is
 * missing or not what it should be, is refused with the file, the key and what is
 * there; nothing is then written that could be taken for a model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/convert.h"
#include "tests/support/bert.h"

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

	if (!at) {
		fail_msg("there is no %s to change", old);
		return NULL;
	}
	const size_t before = (size_t)(at - bytes);
	char *out = calloc(*n + strlen(new) + 1, 1);
	assert_non_null(out);
	memcpy(out, bytes, before);
	memcpy(out + before, new, strlen(new));
	memcpy(out + before + strlen(new), at + strlen(old), *n - before - strlen(old));
	*n = *n - strlen(old) + strlen(new);
	return out;
}

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const char *file = refusals[i].file, *new = refusals[i].new;
		size_t n = new ? strlen(new) : 0;
		bert_copy("bert_mean");
		if (refusals[i].old && new) {
			char *was = bert_read(bert_source, file, &n);
			char *is = replace(was, &n, refusals[i].old, new);
			bert_write(bert_source, file, is, n);
			free(was);
			free(is);
		} else if (new)
			bert_write(bert_source, file, new, n);
		else
			assert_int_equal(unlink(bert_path(bert_source, file)), 0);
		struct convert_options options = bert_options(LINEAR_INT8);
		for (size_t w = 0; w < 2; w++)
			bert_refused(&options, refusals[i].code, refusals[i].words[w]);
		assert_int_not_equal(
		    access(bert_path(bert_output, "config.json"), F_OK), 0);
	}
}

/* Weights that are stored otherwise are known by name. */
static void
test_other_weights(void **state)
{
	(void)state;
	bert_copy("bert_mean");
	struct convert_options options = bert_options(LINEAR_FLOAT);
	assert_int_equal(unlink(bert_path(bert_source, "model.safetensors")), 0);
	bert_write(bert_source, "model.safetensors.index.json", "{}", 2);
	bert_refused(&options, ERR_UNSUPPORTED, "model.safetensors.index.json");
	bert_write(bert_source, "pytorch_model.bin", "PK", 2);
	bert_refused(&options, ERR_UNSUPPORTED, "save_pretrained");
	bert_refused(&options, ERR_UNSUPPORTED, "pytorch_model.bin");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_other_weights),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
