/*
 * Claims: small models of every form embed every golden text as the reference in
 * PyTorch does (tests/golden/make_encoder.py): the same pieces, every hash bit equal,
 * and every number the same: the reference takes float sums in the engine's order
 * (attention/training/ordered.py), so whoever changes one changes the other and makes
 * the golden numbers anew; also where the texts of a model share a pass; and codes that
 * are given are used.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "base/json.h"
#include "tests/support/traced.h"

#define GOLDEN_FILE "tests/golden/encoder.jsonl"

enum { TEXTS_MAX = 32, DIMS_MAX = 128 };

static const char *const models[] = {"positive", "shared", "general", "buckets",
    "table", "norms", "mixed", "plain", "smooth"};

/* The golden lines of one model, as a pass. */
struct golden {
	struct traced traced;
	char *lines[TEXTS_MAX]; /* the JSON that `codes` point into */
	struct json codes[TEXTS_MAX];
	float want[TEXTS_MAX][DIMS_MAX];
	uint32_t ids[TRANSFORMER_PASS];
	size_t start[TRANSFORMER_PASS + 1];
	size_t n;
	double largest; /* difference found */
};

static struct json
member(const struct json *object, const char *key)
{
	struct json value;

	if (!json_member(object, key, &value))
		fail_msg("%s: a line without \"%s\"", GOLDEN_FILE, key);
	return value;
}

static uint32_t
word(const struct json *value)
{
	uint64_t x = 0;

	assert_true(json_u64(&x, value));
	assert_true(x <= UINT32_MAX);
	return (uint32_t)x;
}

/* The engine makes the golden pieces of the text; they become the pass's next. */
static void
check_pieces(struct golden *golden, const struct json *text, const struct json *pieces)
{
	const size_t first = golden->start[golden->n];
	struct encoder_pieces got = {
	    .ids = golden->ids + first, .cap = TRANSFORMER_PASS - first};
	struct error err = {ERR_NONE, ""};
	char *plain = malloc(text->len + 1);
	const size_t length = json_string(plain, text->len + 1, text);

	if (encoder_tokenize(
		golden->traced.encoder, &got, ENCODER_PLAIN, plain, length, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(got.n, json_count(pieces));
	struct json_walk walk = json_walk(pieces);
	for (size_t i = 0; json_next(&walk); i++)
		assert_int_equal(got.ids[i], word(&walk.value));
	golden->start[golden->n + 1] = first + got.n;
	free(plain);
}

static void
read_line(struct golden *golden, const char *line, size_t n, const char *name)
{
	struct error err = {ERR_NONE, ""};
	struct json root;
	size_t n_want;
	char *kept = malloc(n);

	assert_non_null(kept);
	memcpy(kept, line, n);
	if (json_check(&root, kept, n, &err) != 0)
		fail_msg("%s: %s", GOLDEN_FILE, err.text);
	const struct json model = member(&root, "model");
	if (!json_equals(&model, name)) {
		free(kept);
		return;
	}
	assert_true(golden->n < TEXTS_MAX);
	const struct json text = member(&root, "text"),
			  pieces = member(&root, "pieces");
	const struct json embedding = member(&root, "embedding");
	check_pieces(golden, &text, &pieces);
	assert_int_equal(
	    json_floats(golden->want[golden->n], DIMS_MAX, &n_want, &embedding, &err),
	    0);
	assert_int_equal(n_want, golden->traced.model->dims);
	golden->codes[golden->n] = member(&root, "codes");
	golden->lines[golden->n++] = kept;
}

static void
open_golden(struct golden *golden, const char *name)
{
	FILE *file = fopen(GOLDEN_FILE, "r");
	struct error err = {ERR_NONE, ""};
	char *line = NULL, dir[100];
	size_t room = 0;

	if (!file)
		fail_msg("%s: %s", GOLDEN_FILE, strerror(errno));
	memset(golden, 0, sizeof *golden);
	snprintf(dir, sizeof dir, "tests/golden/encoder_%s", name);
	if (traced_open(&golden->traced, dir, &err) != 0)
		fail_msg("%s", err.text);
	for (ssize_t n; (n = getline(&line, &room, file)) > 0;)
		read_line(golden, line, (size_t)n, name);
	assert_true(golden->n >= 10);
	free(line);
	fclose(file);
}

static void
close_golden(struct golden *golden)
{
	for (size_t i = 0; i < golden->n; i++)
		free(golden->lines[i]);
	traced_close(&golden->traced);
}

static void
check_vector(struct golden *golden, size_t text, const float *got)
{
	double dot = 0, largest = 0;

	for (size_t d = 0; d < golden->traced.model->dims; d++) {
		const double want = golden->want[text][d];
		dot += (double)got[d] * want;
		largest = fmax(largest, fabs((double)got[d] - want));
	}
	if (!(largest == 0))
		fail_msg("text %zu: cosine %.7f, off by %g", text, dot, largest);
	golden->largest = fmax(golden->largest, largest);
}

/* Codes [queries, keys] of a layer, or null, against what the pass left from piece
 * `at` on; returns how many words were compared. */
static size_t
check_layer(struct golden *golden, size_t i_layer, const struct json *layer, size_t at)
{
	const struct traced *traced = &golden->traced;
	size_t words = 0;

	assert_int_equal(
	    layer->type == JSON_NULL, traced->model->layers[i_layer].softmax);
	if (layer->type == JSON_NULL)
		return 0;
	struct json_walk kinds = json_walk(layer);
	for (size_t k = 0; json_next(&kinds); k++) {
		const uint32_t *got = traced->codes[i_layer][k];
		assert_int_equal(kinds.value.type == JSON_NULL, got == NULL);
		if (!got)
			continue;
		got += at * traced->model->heads;
		struct json_walk walk = json_walk(&kinds.value);
		for (; json_next(&walk); words++)
			if (*got++ != word(&walk.value))
				fail_msg("layer %zu, %s: another code", i_layer,
				    k ? "keys" : "queries");
	}
	return words;
}

/* Codes of text number `text`, which is in the pass from piece `at` on. */
static void
check_codes(struct golden *golden, size_t text, size_t at)
{
	const struct transformer *model = golden->traced.model;
	const size_t pieces = golden->start[text + 1] - golden->start[text];
	struct json_walk layers = json_walk(&golden->codes[text]);
	size_t words = 0, expected = 0;

	for (size_t i = 0; json_next(&layers); i++) {
		words += check_layer(golden, i, &layers.value, at);
		if (!model->layers[i].softmax)
			expected +=
			    pieces * model->heads * (model->layers[i].shared ? 1 : 2);
	}
	assert_int_equal(words, expected);
}

static void
check_alone(struct golden *golden)
{
	for (size_t i = 0; i < golden->n; i++) {
		float vector[DIMS_MAX], *vectors[] = {vector};
		size_t start[] = {0, golden->start[i + 1] - golden->start[i]};
		struct transformer_batch batch = {
		    golden->ids + golden->start[i], start, 1};
		bool ok;

		traced_run(&golden->traced, &batch, vectors, &ok, false);
		assert_true(ok);
		check_codes(golden, i, 0);
		check_vector(golden, i, vector);
	}
}

static void
check_together(struct golden *golden)
{
	static float vector[TEXTS_MAX][DIMS_MAX];
	struct transformer_batch batch = {golden->ids, golden->start, golden->n};
	float *vectors[TEXTS_MAX];
	bool ok[TEXTS_MAX];

	for (size_t i = 0; i < golden->n; i++)
		vectors[i] = vector[i];
	traced_run(&golden->traced, &batch, vectors, ok, false);
	for (size_t i = 0; i < golden->n; i++) {
		assert_true(ok[i]);
		check_codes(golden, i, golden->start[i]);
		check_vector(golden, i, vector[i]);
	}
}

static void
every_form_is_the_references(void **state)
{
	static struct golden golden;

	(void)state;
	for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
		open_golden(&golden, models[m]);
		check_alone(&golden);
		check_together(&golden);
		print_message("%s: %zu texts, off by %g at most\n", models[m], golden.n,
		    golden.largest);
		close_golden(&golden);
	}
}

/* The codes that a pass made, given to another, change nothing; other ones do. */
static void
codes_that_are_given_are_used(void **state)
{
	static struct golden golden;
	float own[DIMS_MAX], used[DIMS_MAX], *to_own[] = {own}, *to_used[] = {used};
	bool ok;

	(void)state;
	open_golden(&golden, "general");
	const size_t dims = golden.traced.model->dims, pieces = golden.start[1];
	const size_t words = pieces * golden.traced.model->heads;
	struct transformer_batch batch = {golden.ids, golden.start, 1};
	traced_run(&golden.traced, &batch, to_own, &ok, false);
	for (size_t i = 0; i < golden.traced.model->n_layers; i++)
		for (size_t k = 0; k < 2; k++)
			if (golden.traced.codes[i][k])
				memcpy(golden.traced.given[i][k],
				    golden.traced.codes[i][k],
				    words * sizeof(uint32_t));
	traced_run(&golden.traced, &batch, to_used, &ok, true);
	assert_memory_equal(own, used, dims * sizeof *own);
	golden.traced.given[0][0][1] ^= 0xFF;
	traced_run(&golden.traced, &batch, to_used, &ok, true);
	assert_memory_not_equal(own, used, dims * sizeof *own);
	close_golden(&golden);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_form_is_the_references),
	    cmocka_unit_test(codes_that_are_given_are_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
