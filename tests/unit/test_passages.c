/*
 * Claims of attention/passages.h:
 * - passages are those of a slow twin that has all words in a list and looks for ends
 *   and starts as the header says, for texts whose words, pieces and sentences the
 *   test has made, and every room from 1 to 40 pieces and some large ones;
 * - of random text of all kinds every word is in a passage, with the same pieces as in
 *   the whole text, and only a word that is too long alone is truncated;
 * - the words of a text that is cut where a word starts are the words of the whole, for
 *   no code point becomes parts of two words;
 * - of a transformer [CLS], [SEP] and the role's prefix are in every passage's pieces:
 * the fullest passages fill the model, and none is truncated;
 * - long texts of one kind take time in proportion to their length;
 * - what is no text is refused; nothing is read behind the text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/normalize.h"
#include "attention/passages.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/tensors.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

#define TEXT_MAX 4000
#define WORDS_MAX 400
#define DIMS 4

/* Words of a and b have a piece a letter; the rest is [UNK] or one piece. */
static const char vocabulary[] = "[UNK]\na\nb\n##a\n##b\n.\n!\n)\nred\n";
enum { V = 9 };

static struct encoder *
open_model(size_t pieces_max)
{
	static const int8_t weight[V * DIMS] = {1};
	static const float scale[V] = {1};
	const struct tensor list[] = {
	    {"embedding.weight", TENSOR_I8, 2, {V, DIMS, 1, 1}, weight, sizeof weight},
	    {"embedding.scale", TENSOR_F32, 1, {V, 1, 1, 1}, scale, sizeof scale},
	};
	char config[400], path[500];
	struct error err;

	snprintf(config, sizeof config,
	    "{\"format_version\": 1, \"model_type\": \"halftone-static\","
	    " \"hidden_size\": %d, \"num_hidden_layers\": 0, \"vocab_size\": %d,"
	    " \"max_position_embeddings\": %zu, \"do_lower_case\": true,"
	    " \"pooling\": \"mean\", \"normalize\": true}",
	    DIMS, V, pieces_max);
	models_write_file(test_folder(), "m", "vocab.txt", vocabulary);
	models_write_file(test_folder(), "m", "config.json", config);
	snprintf(path, sizeof path, "%s/m/model.safetensors", test_folder());
	assert_int_equal(tensors_save(path, list, 2, NULL, 0, &err), 0);
	snprintf(path, sizeof path, "%s/m", test_folder());
	struct encoder *encoder = encoder_open(path, &err);
	if (!encoder)
		fail_msg("%s", err.text);
	return encoder;
}

/* ---- the twin ---- */

struct word {
	size_t start, end; /* bytes */
	size_t pieces;
	bool sentence; /* one begins here */
};

struct made {
	char text[TEXT_MAX + 200];
	size_t n;
	struct word words[WORDS_MAX];
	size_t n_words;
};

static void
append(struct made *made, const char *bytes)
{
	memcpy(made->text + made->n, bytes, strlen(bytes));
	made->n += strlen(bytes);
}

static void
add_word(struct made *made, const char *bytes, size_t pieces, bool sentence)
{
	struct word *word = &made->words[made->n_words++];

	*word = (struct word){made->n, 0, pieces, sentence};
	append(made, bytes);
	word->end = made->n;
}

/* A text of n words, in which sentences end about every `every` words. */
static void
make_text(struct made *made, struct rng *rng, size_t n, uint64_t every)
{
	static const char *const spaces[] = {" ", "  ", "\n", "\t ", " \r\n"};
	static const char *const stops[] = {".", "!", "?", "\xE2\x80\xA6"};
	static const char *const closers[] = {"", ")", "\xE2\x80\x9D", "')", "\"]"};
	bool sentence = false;

	made->n = made->n_words = 0;
	if (rng_below(rng, 4) == 0)
		append(made, " \n"); /* no word before it: no sentence */
	while (made->n_words < n && made->n < TEXT_MAX) {
		char letters[41];
		size_t k = 1 + rng_below(rng, rng_below(rng, 12) == 0 ? 40 : 3);
		for (size_t i = 0; i < k; i++)
			letters[i] = rng_below(rng, 2) ? 'a' : 'b';
		letters[k] = '\0';
		uint64_t kind = rng_below(rng, 10);
		if (kind == 0)
			add_word(made, "xyz", 1, sentence);
		else
			add_word(made, letters, k, sentence);
		sentence = false;
		uint64_t end = rng_below(rng, 2 * every);
		if (end == 0) {
			add_word(made, stops[rng_below(rng, 4)], 1, false);
			for (const char *c = closers[rng_below(rng, 5)]; *c;) {
				size_t bytes = (unsigned char)*c >= 0x80 ? 3 : 1;
				char closer[4] = {0};
				memcpy(closer, c, bytes);
				add_word(made, closer, 1, false);
				c += bytes;
			}
			sentence = true;
		} else if (end == 1) { /* no white space: none ends here */
			add_word(made, ".", 1, false);
			continue;
		} else if (end == 2 && every < 50) {
			append(made, " \n \n");
			sentence = true;
			continue;
		} else if (end == 3 && every < 50) {
			add_word(made, "\xE3\x80\x82", 1, false);
			sentence = true;
			continue;
		}
		append(made, spaces[rng_below(rng, 5)]);
	}
}

/* Pieces of words first .. end - 1. */
static size_t
sum(const struct made *made, size_t first, size_t end)
{
	size_t n = 0;

	for (size_t i = first; i < end; i++)
		n += made->words[i].pieces;
	return n;
}

static size_t
twin_end(const struct made *made, size_t first, size_t room)
{
	size_t end = first + 1;

	while (end < made->n_words && sum(made, first, end + 1) <= room)
		end++;
	if (end == made->n_words)
		return end;
	for (size_t e = end; e > first; e--)
		if (made->words[e].sentence && sum(made, first, e) >= room - room / 4)
			return e;
	return end;
}

static size_t
twin_start(const struct made *made, size_t first, size_t end, size_t room)
{
	size_t next = made->words[end].pieces, most = room / 4;

	if (next + most > room)
		most = next < room ? room - next : 0;
	for (size_t w = first + 1; w < end; w++)
		if (made->words[w].sentence && sum(made, w, end) <= most &&
		    sum(made, w, end) >= (most + 1) / 2)
			return w;
	for (size_t w = first + 1; w < end; w++)
		if (sum(made, w, end) <= most)
			return w;
	return end;
}

static size_t
twin(const struct made *made, struct passage *passages, size_t room)
{
	size_t first = 0, n = 0;

	for (;;) {
		size_t end = twin_end(made, first, room);
		passages[n++] = (struct passage){
		    made->words[first].start, made->words[end - 1].end};
		if (end == made->n_words)
			return n;
		first = twin_start(made, first, end, room);
	}
}

static void
check_twin(const struct encoder *encoder, const struct made *made, size_t room)
{
	static struct passage want[WORDS_MAX], items[WORDS_MAX];
	struct passages got = {.items = items, .cap = WORDS_MAX};
	struct error err;
	char *text = guard_copy(made->text, made->n);

	size_t n = twin(made, want, room);
	if (passages_cut(encoder, &got, ENCODER_DOCUMENT, text, made->n, &err) != 0)
		fail_msg("%s", err.text);
	if (got.n != n)
		fail_msg("%zu passages, not %zu; room %zu, text '%.*s'", got.n, n, room,
		    (int)made->n, made->text);
	for (size_t i = 0; i < n; i++)
		if (items[i].start != want[i].start || items[i].end != want[i].end)
			fail_msg("passage %zu is %zu..%zu, not %zu..%zu; room %zu, "
				 "text '%.*s'",
			    i, items[i].start, items[i].end, want[i].start, want[i].end,
			    room, (int)made->n, made->text);
	got.cap = n - 1;
	if (n > 1) {
		assert_int_equal(
		    passages_cut(encoder, &got, ENCODER_DOCUMENT, text, made->n, &err),
		    -1);
		assert_int_equal(err.code, ERR_TOO_LARGE);
	}
	guard_free(text, made->n);
}

static void
test_against_twin(void **state)
{
	(void)state;
	static struct made made;
	struct rng rng;
	size_t n_sentences = 0;

	rng_init(&rng, test_seed(), 31);
	for (size_t room = 1; room <= 300; room += room < 40 ? 1 : 65) {
		struct encoder *encoder = open_model(room);
		for (int i = 0; i < 40; i++) {
			make_text(&made, &rng, 1 + rng_below(&rng, WORDS_MAX - 6),
			    i % 4 == 0 ? 1000 : 3 + rng_below(&rng, 20));
			check_twin(encoder, &made, room);
			for (size_t w = 0; w < made.n_words; w++)
				n_sentences += made.words[w].sentence;
		}
		encoder_close(encoder);
	}
	assert_true(n_sentences > 1000);
}

/* ---- any text ---- */

static size_t
put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3F));
	out[0] = (char)((0xF00u >> n) | code);
	return n;
}

static uint32_t
random_code(struct rng *rng)
{
	static const uint32_t blocks[][2] = {{0, 0x80}, {'a', 2}, {' ', 1},
	    {0x80, 0x180}, {0x300, 0x70}, {0x370, 0x90}, {0x590, 0x70}, {0x900, 0x80},
	    {0x1100, 0x100}, {0x1AB0, 0x50}, {0x1E00, 0x200}, {0x2000, 0x70},
	    {0x2200, 0x100}, {0x3000, 0x40}, {0x4E00, 0x40}, {0xAC00, 0x400},
	    {0xF900, 0x100}, {0xFB00, 0x50}, {0xFE00, 0x30}, {0xFF00, 0xF0},
	    {0x1D150, 0x30}, {0x1F600, 0x40}, {0x2F800, 0x20}};
	const uint32_t *block = blocks[rng_below(rng, sizeof blocks / sizeof *blocks)];

	return block[0] + (uint32_t)rng_below(rng, block[1]);
}

static size_t
tokens(const struct encoder *encoder, uint32_t *ids, const char *text, size_t n,
    bool *truncated)
{
	struct encoder_pieces pieces = {.ids = ids, .cap = encoder_pieces_max(encoder)};
	struct error err;

	pieces.n = 0;
	if (n > 0 &&
	    encoder_tokenize(encoder, &pieces, ENCODER_DOCUMENT, text, n, &err) != 0)
		fail_msg("%s", err.text);
	*truncated = n > 0 && pieces.truncated;
	return pieces.n;
}

/* Against the ids of the whole text, from an encoder that takes it whole. */
static void
check_any(const struct encoder *encoder, const struct encoder *large, const char *text,
    size_t n)
{
	static uint32_t ids[20000], some[20000];
	static struct passage items[20000];
	struct passages got = {.items = items, .cap = 20000};
	struct error err;
	size_t covered = 0;
	bool truncated;

	if (passages_cut(encoder, &got, ENCODER_DOCUMENT, text, n, &err) != 0)
		fail_msg("%s", err.text);
	size_t all = tokens(large, ids, text, n, &truncated);
	assert_false(truncated);
	for (size_t i = 0; i < got.n; i++) {
		assert_true(items[i].start < items[i].end && items[i].end <= n);
		assert_true(i == 0 || items[i].start > items[i - 1].start);
		assert_true(i == 0 || items[i].end > items[i - 1].end);
		size_t first = tokens(large, some, text, items[i].start, &truncated);
		assert_true(first <= covered);
		size_t k = tokens(large, some, text + items[i].start,
		    items[i].end - items[i].start, &truncated);
		assert_true(first + k <= all);
		assert_memory_equal(some, ids + first, k * sizeof *ids);
		assert_true(i == 0 || first + k > covered);
		covered = first + k;
		size_t taken = tokens(encoder, some, text + items[i].start,
		    items[i].end - items[i].start, &truncated);
		assert_int_equal(truncated, taken < k);
		if (truncated) { /* one word alone */
			struct normalize words;
			normalize_init(&words, text + items[i].start,
			    items[i].end - items[i].start);
			assert_true(normalize_next(&words) && !normalize_next(&words));
		}
	}
	assert_int_equal(covered, all);
}

static void
test_any_text(void **state)
{
	(void)state;
	static const size_t rooms[] = {1, 2, 5, 16, 64, 128, 256};
	static char text[4 * 1000];
	struct encoder *large = open_model(20000);
	struct rng rng;

	rng_init(&rng, test_seed(), 32);
	for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++) {
		struct encoder *encoder = open_model(rooms[r]);
		for (int i = 0; i < 60; i++) {
			size_t codes = 1 + rng_below(&rng, 1000), n = 0;
			for (size_t k = 0; k < codes; k++)
				n += put_utf8(text + n, random_code(&rng));
			char *copy = guard_copy(text, n);
			check_any(encoder, large, copy, n);
			guard_free(copy, n);
		}
		encoder_close(encoder);
	}
	encoder_close(large);
}

/* What lets a text be cut where a word starts: a code point is in one word. */
static void
test_code_points(void **state)
{
	(void)state;
	for (uint32_t code = 0; code <= 0x10FFFF; code++) {
		struct normalize_point points[NORMALIZE_POINTS_MAX];
		size_t n = normalize_expand(points, code), kept = 0, last = 0;
		for (size_t i = 0; i < n; i++) {
			if (points[i].kind == NORMALIZE_DROP ||
			    points[i].kind == NORMALIZE_MARK ||
			    points[i].kind == NORMALIZE_SPACE)
				continue;
			/* Nothing stands between what is kept, and punctuation is kept
			 * alone. */
			assert_true(kept == 0 || last == i - 1 ||
				    points[i - 1].kind == NORMALIZE_MARK);
			kept++;
			last = i;
			if (kept > 1)
				assert_true(points[i].kind == NORMALIZE_LETTER);
			if (kept > 1)
				assert_true(points[0].kind != NORMALIZE_PUNCTUATION);
		}
	}
}

/* The most pieces that a passage of a text of one-piece words has. */
static size_t
fullest(const struct encoder *encoder, enum encoder_role role)
{
	static const char text[] =
	    "a b c d e f g h i j k l m n o p q r s t u v w x y z "
	    "a b c d e f g h i j k l m n o p q r s t u v w x y z";
	struct passage items[50];
	struct passages got = {.items = items, .cap = 50};
	struct error err;
	uint32_t ids[64];
	size_t most = 0;

	if (passages_cut(encoder, &got, role, text, sizeof text - 1, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(got.n > 2);
	for (size_t i = 0; i < got.n; i++) {
		struct encoder_pieces pieces = {.ids = ids, .cap = 64};
		assert_int_equal(
		    encoder_tokenize(encoder, &pieces, role, text + items[i].start,
			items[i].end - items[i].start, &err),
		    0);
		assert_false(pieces.truncated);
		most = pieces.n > most ? pieces.n : most;
	}
	return most;
}

static void
test_transformer(void **state)
{
	(void)state;
	struct models_encoder shape = models_encoder(LINEAR_FLOAT);
	char path[500];
	struct error err;

	shape.positions = 16;
	shape.document_prefix = "passage: the ";
	models_write_encoder(test_folder(), "layers", &shape, 1);
	snprintf(path, sizeof path, "%s/layers", test_folder());
	struct encoder *encoder = encoder_open(path, &err);
	if (!encoder)
		fail_msg("%s", err.text);
	assert_int_equal(fullest(encoder, ENCODER_DOCUMENT), 16);
	assert_int_equal(fullest(encoder, ENCODER_PLAIN), 16);
	encoder_close(encoder);
}

/* ---- length ---- */

static void
test_linear(void **state)
{
	static const char *const kinds[] = {"a", " ", ")", ") ", ".", ". ", "a ", "ab ",
	    "\n", "\xCC\x81", "a\xCC\x81", "\xE4\xB8\x80", "\xE3\x80\x82", "\"\n",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "};
	const size_t n = (size_t)1 << 20, cap = n;
	(void)state;
	char *text = malloc(n);
	struct passages got = {.items = calloc(cap, sizeof *got.items), .cap = cap};
	struct encoder *encoder = open_model(64);
	struct error err;

	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		size_t bytes = strlen(kinds[k]), length = n / bytes * bytes;
		for (size_t i = 0; i < length; i += bytes)
			memcpy(text + i, kinds[k], bytes);
		uint64_t start = clock_ns();
		assert_int_equal(
		    passages_cut(encoder, &got, ENCODER_DOCUMENT, text, length, &err),
		    0);
		/* Quadratic would be hours; a busy machine is not. */
		assert_true(clock_since(start) < 20);
		assert_int_equal(got.items[got.n - 1].end <= length, 1);
	}
	free(got.items);
	free(text);
	encoder_close(encoder);
}

static void
test_bad(void **state)
{
	(void)state;
	struct encoder *encoder = open_model(8);
	struct passage items[3];
	struct passages got = {.items = items, .cap = 3};
	struct error err;

	assert_int_equal(passages_cut(encoder, &got, ENCODER_PLAIN, "", 0, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(
	    passages_cut(encoder, &got, ENCODER_PLAIN, "a \xFF b", 5, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "2"));
	/* White space alone is one passage, for the encoder to refuse. */
	assert_int_equal(
	    passages_cut(encoder, &got, ENCODER_PLAIN, " \n ", 3, &err), 0);
	assert_int_equal(got.n, 1);
	assert_int_equal(items[0].start, 0);
	assert_int_equal(items[0].end, 3);
	encoder_close(encoder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_twin),
	    cmocka_unit_test(test_any_text),
	    cmocka_unit_test(test_code_points),
	    cmocka_unit_test(test_transformer),
	    cmocka_unit_test(test_linear),
	    cmocka_unit_test(test_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
