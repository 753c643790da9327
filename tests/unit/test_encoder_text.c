/*
 * Claims: a text of any kind becomes [CLS], its pieces, [SEP], cut at the model's
 * length and told so; the prefix of a role is tokenised with the text as one; what is
 * not a text is refused; tokenising and running in two steps is embedding in one.
 */
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
#include "base/alloc.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

/* Ids of MODELS_PIECES. */
enum {
	UNK = 1,
	CLS,
	SEP,
	A,
	CONTINUED_A = A + 26,
	QUERY = A + 52,
	PASSAGE,
	THE,
	COLON
};

enum { N = 512 };

static struct encoder *encoder;
static struct encoder_scratch *scratch;

static int
open_model(void **state)
{
	(void)state;
	struct models_encoder shape = models_encoder(LINEAR_TERNARY);
	struct error err = {ERR_NONE, ""};
	char path[400];

	shape.positions = N;
	shape.query_prefix = "query: ";
	shape.document_prefix = "a";
	models_write_encoder(test_folder(), "text", &shape, 1);
	snprintf(path, sizeof path, "%s/text", test_folder());
	encoder = encoder_open(path, &err);
	scratch = encoder ? encoder_scratch_new(encoder, &err) : NULL;
	if (!scratch)
		fprintf(stderr, "%s\n", err.text);
	return scratch ? 0 : -1;
}

static int
close_model(void **state)
{
	(void)state;
	encoder_scratch_free(scratch);
	encoder_close(encoder);
	return 0;
}

/* The pieces of a text; what stands behind them would be seen. */
static struct encoder_pieces
pieces_of(uint32_t *ids, size_t cap, enum encoder_role role, const char *text, size_t n)
{
	struct encoder_pieces pieces = {.ids = ids, .cap = cap};
	struct error err = {ERR_NONE, ""};

	if (encoder_tokenize(encoder, &pieces, role, text, n, &err) != 0)
		fail_msg("%s", err.text);
	return pieces;
}

static void
expect(const char *text, size_t n, enum encoder_role role, const uint32_t *want,
    size_t n_want, size_t unknown)
{
	uint32_t ids[N];
	float vector[64], twin[64];
	struct error err = {ERR_NONE, ""};
	struct encoder_output out = {.vector = vector};
	struct encoder_pieces pieces = pieces_of(ids, N, role, text, n);
	struct encoder_item item = {ids, pieces.n, twin, true};

	assert_int_equal(pieces.n, n_want);
	assert_memory_equal(ids, want, n_want * sizeof *want);
	assert_int_equal(pieces.unknown, unknown);
	assert_false(pieces.truncated);
	assert_int_equal(encoder_embed(encoder, scratch, &out, role, text, n, &err), 0);
	assert_int_equal(out.pieces, n_want);
	assert_int_equal(out.unknown, unknown);
	assert_false(out.truncated);
	encoder_run(encoder, scratch, &item, 1);
	assert_false(item.failed);
	assert_memory_equal(vector, twin, sizeof vector);
}

#define EXPECT(text, role, unknown, ...)                                      \
	expect(text, sizeof(text) - 1, role, (const uint32_t[]){__VA_ARGS__}, \
	    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), unknown)

static void
ends_are_put_around_pieces(void **state)
{
	(void)state;
	assert_int_equal(encoder_dims(encoder), 64);
	assert_int_equal(encoder_pieces_max(encoder), N);
	assert_string_equal(encoder_coordinates(encoder), "test");
	EXPECT("A", ENCODER_PLAIN, 0, CLS, A, SEP);
	EXPECT("aba the", ENCODER_PLAIN, 0, CLS, A, CONTINUED_A + 1, CONTINUED_A, THE,
	    SEP);
	/* White space, control characters: the ends alone. */
	EXPECT(" \n", ENCODER_PLAIN, 0, CLS, SEP);
	EXPECT("\0\xE2\x80\x8B", ENCODER_PLAIN, 0, CLS, SEP);
	/* Emoji are words that nobody knows. */
	EXPECT("\xF0\x9F\xA6\x8A \xF0\x9F\x98\x80\xF0\x9F\x98\x80", ENCODER_PLAIN, 2,
	    CLS, UNK, UNK, SEP);
	/* Text is text. */
	EXPECT("[SEP]", ENCODER_PLAIN, 2, CLS, UNK, A + 18, CONTINUED_A + 4,
	    CONTINUED_A + 15, UNK, SEP);
}

static void
prefixes_are_by_role(void **state)
{
	(void)state;
	EXPECT("a", ENCODER_QUERY, 0, CLS, QUERY, COLON, A, SEP);
	/* One word with the text, and a mark that belongs to its last letter. */
	EXPECT("a", ENCODER_DOCUMENT, 0, CLS, A, CONTINUED_A, SEP);
	EXPECT("\xCC\x81 a", ENCODER_DOCUMENT, 0, CLS, A, A, SEP);
	EXPECT(" a", ENCODER_DOCUMENT, 0, CLS, A, A, SEP);
	EXPECT(" ", ENCODER_QUERY, 0, CLS, QUERY, COLON, SEP);
}

/* The prefix and the text have the pieces of the two as one text. */
static void
prefixes_are_as_if_written(void **state)
{
	(void)state;
	static const char *const texts[] = {"b", " b", "\xCC\x81", "\xCC\xA7\xCC\x81x",
	    "\xE4\xB8\x80", ".", "\xEF\xBF\xBD", "\xF0\x9F\xA6\x8A", "\xEA\xB0\x80",
	    "\xE1\x84\x80\xE1\x85\xA1", "\t\r\n", "aaaaaaaaaa"};
	char joined[100];
	uint32_t ids[N], wanted[N];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		snprintf(joined, sizeof joined, "a%s", texts[i]);
		struct encoder_pieces want =
		    pieces_of(wanted, N, ENCODER_PLAIN, joined, strlen(joined));
		struct encoder_pieces got =
		    pieces_of(ids, N, ENCODER_DOCUMENT, texts[i], strlen(texts[i]));
		assert_int_equal(got.n, want.n);
		assert_int_equal(got.unknown, want.unknown);
		assert_memory_equal(ids, wanted, want.n * sizeof *ids);
	}
}

/* `n` characters, every `every`-th of them a space (0: none). */
static char *
letters(size_t n, size_t every)
{
	char *text = malloc(n);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = every > 0 && i % every == every - 1
			      ? ' '
			      : (char)('a' + i * 7 % 26);
	return text;
}

static void
embeds(const char *text, size_t n, size_t pieces, bool truncated)
{
	float *vector = guard_new(64 * sizeof *vector);
	struct encoder_output out = {.vector = vector};
	struct error err = {ERR_NONE, ""};

	array_fail_at(1); /* nothing is allocated */
	int result =
	    encoder_embed(encoder, scratch, &out, ENCODER_PLAIN, text, n, &err);
	array_fail_at(0);
	if (result != 0)
		fail_msg("%s", err.text);
	assert_int_equal(out.pieces, pieces);
	assert_int_equal(out.truncated, truncated);
	guard_free(vector, 64 * sizeof *vector);
}

static void
long_texts_are_cut(void **state)
{
	(void)state;
	char *text = letters(1000000, 2), *word = letters(10000, 0);

	embeds(text, 2 * (N - 2), N, false); /* 510 words: what there is room for */
	embeds(text, 2 * (N - 2) + 1, N, true);
	embeds(text, 1000000, N, true);
	embeds(word, 10000, 3, false); /* [UNK] */
	embeds(word, 100, 102, false); /* the longest word that is looked at */
	embeds(word, 101, 3, false);

	/* Cut where the caller wants, [SEP] last. */
	uint32_t *ids = guard_new(5 * sizeof *ids);
	struct encoder_pieces cut = pieces_of(ids, 5, ENCODER_PLAIN, text, 100);
	assert_int_equal(cut.n, 5);
	assert_true(cut.truncated);
	assert_true(ids[0] == CLS && ids[1] == A && ids[4] == SEP);
	cut = pieces_of(ids, 2, ENCODER_PLAIN, text, 100);
	assert_true(cut.n == 2 && cut.truncated && ids[0] == CLS && ids[1] == SEP);
	guard_free(ids, 5 * sizeof *ids);
	/* More room than the model has places is not used. */
	uint32_t more[2 * N];
	cut = pieces_of(more, 2 * N, ENCODER_PLAIN, text, 1000000);
	assert_true(cut.n == N && cut.truncated && more[N - 1] == SEP);
	free(word);
	free(text);
}

static void
refused(const char *text, size_t n, const char *why)
{
	static const enum encoder_role roles[] = {
	    ENCODER_PLAIN, ENCODER_QUERY, ENCODER_DOCUMENT};

	for (size_t i = 0; i < 3; i++) {
		float vector[64] = {7};
		uint32_t ids[N];
		struct error err = {ERR_NONE, ""};
		struct encoder_output out = {.vector = vector, .pieces = 9};
		struct encoder_pieces pieces = {.ids = ids, .cap = N, .n = 9};
		assert_int_equal(
		    encoder_embed(encoder, scratch, &out, roles[i], text, n, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		if (!strstr(err.text, why))
			fail_msg("expected '%s' in '%s'", why, err.text);
		assert_true(vector[0] == 7 && out.pieces == 9);
		assert_int_equal(
		    encoder_tokenize(encoder, &pieces, roles[i], text, n, &err), -1);
		assert_int_equal(pieces.n, 9);
	}
}

static void
what_is_no_text_is_refused(void **state)
{
	(void)state;
	char *text = letters(100000, 2);

	refused("", 0, "not an empty one");
	refused("a\xFF", 2, "not byte 0xff at offset 1");
	refused("\xC3", 1, "not byte 0xc3 at offset 0");
	/* Behind what fits, too. */
	text[99999] = (char)0xED;
	refused(text, 100000, "not byte 0xed at offset 99999");
	free(text);
}

/* Scales so large that the numbers of a text overflow. */
static void
overflow(void *context, struct tensor *list, size_t n)
{
	(void)context;
	for (struct tensor *t = list; t < list + n; t++)
		if (strcmp(t->name, "layers.0.value.scale") == 0 ||
		    strcmp(t->name, "layers.0.output.scale") == 0)
			for (size_t i = 0; i < t->size_bytes / sizeof(float); i++)
				((float *)(uintptr_t)t->data)[i] = 1e38f;
}

/* A model whose numbers overflow says so, and does not blame the text. */
static void
overflow_is_the_models_fault(void **state)
{
	(void)state;
	const struct models_encoder shape = models_encoder(LINEAR_TERNARY);
	struct error err = {ERR_NONE, ""};
	char path[400];
	float vector[64];
	struct encoder_output out = {.vector = vector};

	models_write_edited(test_folder(), "large", &shape, 1, overflow, NULL);
	snprintf(path, sizeof path, "%s/large", test_folder());
	struct encoder *large = encoder_open(path, &err);
	struct encoder_scratch *its = large ? encoder_scratch_new(large, &err) : NULL;
	assert_non_null(its);
	assert_int_equal(
	    encoder_embed(large, its, &out, ENCODER_PLAIN, "the", 3, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, "3 pieces"));
	assert_non_null(strstr(err.text, "not finite"));
	assert_non_null(strstr(err.text, "convert it again"));
	encoder_scratch_free(its);
	encoder_close(large);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ends_are_put_around_pieces),
	    cmocka_unit_test(prefixes_are_by_role),
	    cmocka_unit_test(prefixes_are_as_if_written),
	    cmocka_unit_test(long_texts_are_cut),
	    cmocka_unit_test(what_is_no_text_is_refused),
	    cmocka_unit_test(overflow_is_the_models_fault),
	};

	return cmocka_run_group_tests(tests, open_model, close_model);
}
