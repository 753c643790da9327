#include "tests/support/bert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "attention/file.h"
#include "tests/support/guard.h"

static const char *const parts[] = {"config.json", "vocab.txt", "model.safetensors",
    "modules.json", "tokenizer_config.json", "1_Pooling/config.json",
    "sentence_bert_config.json", "config_sentence_transformers.json"};
#define N_PARTS (sizeof parts / sizeof *parts)

char bert_source[400], bert_output[400];

const char *
bert_path(const char *dir, const char *name)
{
	static char path[1000];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

void
bert_write(const char *dir, const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(bert_path(dir, name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

char *
bert_read(const char *dir, const char *name, size_t *n)
{
	struct error err;
	char *bytes = file_read(bert_path(dir, name), 1 << 20, n, &err);

	if (!bytes)
		fail_msg("%s", err.text);
	return bytes;
}

void
bert_copy(const char *name)
{
	static int count;
	char from[200];
	size_t n;
	struct error err;

	snprintf(from, sizeof from, "tests/golden/%s", name);
	snprintf(bert_source, sizeof bert_source, "%s/source-%d", test_folder(), count);
	snprintf(
	    bert_output, sizeof bert_output, "%s/output-%d", test_folder(), count++);
	assert_int_equal(mkdir(bert_source, 0700), 0);
	assert_int_equal(mkdir(bert_path(bert_source, "1_Pooling"), 0700), 0);
	for (size_t i = 0; i < N_PARTS; i++) {
		char *bytes = file_read(bert_path(from, parts[i]), 1 << 20, &n, &err);
		if (bytes)
			bert_write(bert_source, parts[i], bytes, n);
		free(bytes);
	}
}

struct convert_options
bert_options(enum linear_form layers)
{
	return (struct convert_options){
	    .from = bert_source, .output = bert_output, .layers = layers};
}

void
bert_refused(
    const struct convert_options *options, enum error_code code, const char *word)
{
	struct convert_summary summary;
	struct error err = {ERR_NONE, ""};

	assert_int_equal(convert_model(&summary, options, &err), -1);
	if (err.code != code || !strstr(err.text, word))
		fail_msg("expected code %d and \"%s\", not %d: %s", code, word,
		    err.code, err.text);
}
