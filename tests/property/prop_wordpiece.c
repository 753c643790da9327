/*
 * Claims: on random vocabularies and texts wordpiece_encode gives the ids of a slow
 * twin that works stage by stage on whole texts, as the reference does: expand every
 * code point, bubble marks into canonical order, drop marks, split, then try every
 * prefix of a word against every piece.  Besides: texts joined by a space give the
 * joined ids; canonically equal texts give the same ids.
 */
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
#include <utf8proc.h>

#include "attention/normalize.h"
#include "attention/wordpiece.h"
#include "base/rng.h"
#include "tests/support/guard.h"

enum {
	PIECES_MAX = 200,
	TEXT_POINTS = 400,
	TEXT_BYTES = 4 * TEXT_POINTS,
	IDS_MAX = NORMALIZE_POINTS_MAX * TEXT_POINTS
};

/* What texts and pieces are made of; marks that stay, marks that go, letters with and
 * without case or decomposition, controls, spaces, punctuation. */
static const uint32_t alphabet[] = {'a', 'b', 'B', 'c', 'A', '1', 0xE9, 0xC9, 0x130,
    0x3A3, 0x4E2D, 0xF900, 0xAC01, 0x1EAD, 0x1F600, 0x300, 0x323, 0x334, 0x902, 0x34F,
    0x94D, 0x1B44, 0x1BAA, 0x302E, 0x1D165, 0x1D16D, 0x1E944, 0x1E94A, 0x8D4, 0x11446,
    0x1DFA, 0x11938, 0x200D, 0, 7, 0xFFFD, ' ', '\n', 0x3000, '.', '#', '[', 0x3002,
    0x37E, 0x166D, 0x378, 0xE000, 0x10FFFF, 0x1C89};

struct vocabulary {
	char pieces[PIECES_MAX][32]; /* with "##" */
	size_t n;
};

static size_t
put(char *out, uint32_t c)
{
	return (size_t)utf8proc_encode_char(
	    (utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

static void
random_vocabulary(struct vocabulary *v, struct rng *rng)
{
	static const uint32_t parts[] = {'a', 'b', 'c', 'e', '1', 'i', 0x3C3, 0x4E2D,
	    0x8C48, 0x1100, 0x1161, 0x11A8, 0x1B44, 0x302E, 0x1E966, 0x1E94A, '.', '#',
	    0x11938, 0x378};
	size_t n_parts = sizeof parts / sizeof *parts;

	v->n = 1;
	snprintf(v->pieces[0], sizeof v->pieces[0], "[UNK]");
	size_t wanted = 20 + rng_below(rng, PIECES_MAX - 20);
	for (int tries = 0; v->n < wanted && tries < 2000; tries++) {
		char *piece = v->pieces[v->n];
		size_t n = 0, known = 0;
		if (rng_below(rng, 2))
			n = (size_t)sprintf(piece, "##");
		for (size_t i = 1 + rng_below(rng, 1 + rng_below(rng, 5)); i > 0; i--)
			n += put(piece + n,
			    parts[rng_below(rng, rng_below(rng, 3) ? 3 : n_parts)]);
		piece[n] = '\0';
		while (strcmp(v->pieces[known], piece) != 0)
			known++;
		v->n += known == v->n;
	}
}

static struct wordpiece *
open_vocabulary(const struct vocabulary *v)
{
	char path[300];
	struct error err = {ERR_NONE, ""};

	snprintf(path, sizeof path, "%s/vocab.txt", test_folder());
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	for (size_t i = 0; i < v->n; i++)
		fprintf(f, "%s\n", v->pieces[i]);
	assert_int_equal(fclose(f), 0);
	struct wordpiece *w = wordpiece_open(path, &err);
	if (!w)
		fail_msg("%s", err.text);
	assert_int_equal(wordpiece_size(w), v->n);
	unlink(path);
	return w;
}

/* A text (TEXT_BYTES) of random code points; now and then a word near the limit of 100
 * characters, or anything that Unicode has. */
static size_t
random_text(char *text, struct rng *rng)
{
	size_t n = 0, n_alphabet = sizeof alphabet / sizeof *alphabet;
	size_t points = rng_below(rng, 60), kind = rng_below(rng, 5);
	uint32_t only = 0;

	if (kind == 0) { /* one long word */
		points = 90 + rng_below(rng, 30);
		only = alphabet[rng_below(rng, 32)];
	}
	for (size_t i = 0; i < points; i++) {
		uint32_t c = alphabet[rng_below(rng, n_alphabet)];
		if (kind == 0 && rng_below(rng, 60))
			c = only;
		else if (kind == 1)
			c = alphabet[15 + rng_below(rng, 18)]; /* marks */
		else if (kind == 2 && rng_below(rng, 4) == 0)
			c = (uint32_t)rng_below(rng, 0x110000);
		else if (kind == 3 && rng_below(rng, 8))
			c = alphabet[rng_below(rng, 6)];
		if (c < 0xD800 || c > 0xDFFF)
			n += put(text + n, c);
	}
	return n;
}

/* The id of the piece that is this word's bytes; v->n if there is none. */
static size_t
slow_find(const struct vocabulary *v, const char *bytes, size_t n, bool continues)
{
	char piece[NORMALIZE_WORD_BYTES_MAX + 3];

	snprintf(piece, sizeof piece, "%s%.*s", continues ? "##" : "", (int)n, bytes);
	for (size_t id = 0; id < v->n; id++)
		if (strcmp(v->pieces[id], piece) == 0)
			return id;
	return v->n;
}

static size_t
slow_cut(uint32_t *ids, const struct vocabulary *v, const struct normalize_point *word,
    size_t n_chars)
{
	char bytes[NORMALIZE_WORD_BYTES_MAX];
	size_t n = 0, n_ids = 0, start = 0;

	ids[0] = 0;
	if (n_chars > NORMALIZE_WORD_CHARS_MAX)
		return 1;
	for (size_t i = 0; i < n_chars; i++)
		n += put(bytes + n, word[i].code);
	while (start < n) {
		size_t end = n, id = v->n;
		for (; end > start; end--) {
			id = slow_find(v, bytes + start, end - start, start > 0);
			if (id < v->n)
				break;
		}
		if (id == v->n) {
			ids[0] = 0;
			return 1;
		}
		ids[n_ids++] = (uint32_t)id;
		start = end;
	}
	return n_ids;
}

static size_t
slow_encode(uint32_t *ids, const struct vocabulary *v, const char *text, size_t n_text)
{
	static struct normalize_point points[NORMALIZE_POINTS_MAX * TEXT_POINTS];
	size_t n = 0, kept = 0, n_ids = 0, start = 0;

	for (size_t at = 0; at < n_text;) {
		utf8proc_int32_t c;
		at += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text + at,
		    (utf8proc_ssize_t)(n_text - at), &c);
		n += normalize_expand(points + n, (uint32_t)c);
	}
	for (bool moved = true; moved;) {
		moved = false;
		for (size_t i = 1; i < n; i++)
			if (points[i].combining > 0 &&
			    points[i - 1].combining > points[i].combining) {
				struct normalize_point swap = points[i];
				points[i] = points[i - 1];
				points[i - 1] = swap;
				moved = true;
			}
	}
	for (size_t i = 0; i < n; i++)
		if (points[i].kind != NORMALIZE_MARK)
			points[kept++] = points[i];
	for (size_t i = 0; i <= kept; i++) {
		if (i < kept && points[i].kind == NORMALIZE_LETTER)
			continue;
		if (i > start)
			n_ids += slow_cut(ids + n_ids, v, points + start, i - start);
		if (i < kept && points[i].kind == NORMALIZE_PUNCTUATION)
			n_ids += slow_cut(ids + n_ids, v, points + i, 1);
		start = i + 1;
	}
	return n_ids;
}

static size_t
encode(uint32_t *ids, const struct wordpiece *w, const char *text, size_t n)
{
	struct wordpiece_ids out = {.ids = ids, .cap = IDS_MAX, .truncated = true};
	struct error err = {ERR_NONE, ""};

	if (wordpiece_encode(w, &out, text, n, &err) != 0)
		fail_msg("%s", err.text);
	assert_false(out.truncated);
	return out.n;
}

static void
equals_the_slow_twin(void **state)
{
	(void)state;
	static uint32_t got[IDS_MAX], want[IDS_MAX];
	static struct vocabulary v;
	struct rng rng;
	char text[TEXT_BYTES];
	size_t known = 0;

	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 40; round++) {
		random_vocabulary(&v, &rng);
		struct wordpiece *w = open_vocabulary(&v);
		for (int i = 0; i < 200; i++) {
			size_t n = random_text(text, &rng);
			char *guarded = guard_copy(text, n);
			size_t n_want = slow_encode(want, &v, text, n);
			size_t n_got = encode(got, w, guarded, n);
			assert_int_equal(n_got, n_want);
			assert_memory_equal(got, want, n_want * sizeof *want);
			for (size_t k = 0; k < n_got; k++)
				known += got[k] > 0;
			guard_free(guarded, n);
		}
		wordpiece_close(w);
	}
	assert_true(known > 10000); /* not only [UNK] */
}

static void
joined_texts_give_joined_ids(void **state)
{
	(void)state;
	static uint32_t apart[2 * IDS_MAX], joined[IDS_MAX];
	static struct vocabulary v;
	struct rng rng;
	char text[2 * TEXT_BYTES + 1];

	rng_init(&rng, test_seed(), 2);
	random_vocabulary(&v, &rng);
	struct wordpiece *w = open_vocabulary(&v);
	for (int i = 0; i < 5000; i++) {
		size_t n = random_text(text, &rng);
		size_t n_apart = encode(apart, w, text, n);
		text[n++] = ' ';
		size_t more = random_text(text + n, &rng);
		n_apart += encode(apart + n_apart, w, text + n, more);
		assert_int_equal(encode(joined, w, text, n + more), n_apart);
		assert_memory_equal(joined, apart, n_apart * sizeof *joined);
	}
	wordpiece_close(w);
}

/* Below U+0600 and for Hangul no table differs, so there canonical equality is
 * utf8proc's. */
static void
canonically_equal_texts_give_equal_ids(void **state)
{
	(void)state;
	static uint32_t before[IDS_MAX], after[IDS_MAX];
	static struct vocabulary v;
	struct rng rng;
	char text[TEXT_BYTES + 1];

	rng_init(&rng, test_seed(), 3);
	random_vocabulary(&v, &rng);
	struct wordpiece *w = open_vocabulary(&v);
	for (int i = 0; i < 5000; i++) {
		size_t n = 0;
		for (size_t k = rng_below(&rng, 60); k > 0; k--)
			n += put(
			    text + n, (uint32_t)(rng_below(&rng, 9) == 0
						     ? 0xAC00 + rng_below(&rng, 11172)
						     : 1 + rng_below(&rng, 0x5FF)));
		text[n] = '\0';
		char *nfd = (char *)utf8proc_NFD((utf8proc_uint8_t *)text);
		char *nfc = (char *)utf8proc_NFC((utf8proc_uint8_t *)text);
		size_t n_before = encode(before, w, text, n);
		assert_int_equal(encode(after, w, nfd, strlen(nfd)), n_before);
		assert_memory_equal(after, before, n_before * sizeof *after);
		assert_int_equal(encode(after, w, nfc, strlen(nfc)), n_before);
		assert_memory_equal(after, before, n_before * sizeof *after);
		free(nfd);
		free(nfc);
	}
	wordpiece_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equals_the_slow_twin),
	    cmocka_unit_test(joined_texts_give_joined_ids),
	    cmocka_unit_test(canonically_equal_texts_give_equal_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
