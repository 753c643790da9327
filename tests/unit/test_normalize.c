/*
 * Claims: the words of normalize_next are the reference's for every code point, alone,
 * between letters and among marks (tests/golden/wordpiece_points.tsv, a hash a page of
 * 256); normalize_check takes exactly UTF-8; the ASCII path does what five lines of
 * ctype do; no byte outside the text is read.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/normalize.h"
#include "base/rng.h"
#include "tests/support/guard.h"

#define POINTS_FILE "tests/golden/wordpiece_points.tsv"

static size_t
encode(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

static uint64_t
fnv(uint64_t hash, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3u;
	return hash;
}

/* The words of the text, as the golden file hashes them. */
static uint64_t
hash_words(uint64_t hash, const char *text, size_t n)
{
	struct normalize words;

	normalize_init(&words, text, n);
	while (normalize_next(&words)) {
		if (words.too_long)
			hash = fnv(hash, "\2", 1);
		else
			hash = fnv(hash, words.word, words.word_bytes);
		hash = fnv(hash, "\1", 1);
	}
	return hash;
}

/* out := the parts with the code point c between each two; its length. */
static size_t
put_between(char *out, const char *const parts[], size_t n_parts, uint32_t c)
{
	size_t n = 0;

	for (size_t i = 0; i < n_parts; i++) {
		size_t length = strlen(parts[i]);
		memcpy(out + n, parts[i], length);
		n += length;
		if (i + 1 < n_parts)
			n += encode(out + n, c);
	}
	return n;
}

static uint64_t
hash_page(uint32_t page)
{
	static const char *const alone[] = {"", ""};
	static const char *const between[] = {"a", "b"};
	static const char *const marks[] = {"A\xCC\x81\xE1\xAD\x84",
	    "\xE3\x80\xAE\xCC\xB4", "\xE1\xAE\xAA\x42", "", ""};
	uint64_t hash = 0xCBF29CE484222325u;
	char text[64];
	struct error err;

	for (uint32_t c = page << 8; c < (page + 1) << 8; c++) {
		if (c >= 0xD800 && c < 0xE000)
			continue;
		hash = hash_words(hash, text, put_between(text, alone, 2, c));
		hash = hash_words(hash, text, put_between(text, between, 2, c));
		size_t n = put_between(text, marks, 5, c);
		assert_int_equal(normalize_check(text, n, &err), 0);
		hash = hash_words(hash, text, n);
	}
	return hash;
}

static void
every_code_point_is_the_references(void **state)
{
	(void)state;
	FILE *f = fopen(POINTS_FILE, "r");
	unsigned page;
	unsigned long long want;
	size_t n = 0, wrong = 0;

	assert_non_null(f);
	while (fscanf(f, "%x\t%llx\n", &page, &want) == 2) {
		n++;
		if (hash_page(page) != want) {
			wrong++;
			fprintf(stderr, "U+%04X..U+%04X differ from the reference\n",
			    page << 8, (page << 8) + 255);
		}
	}
	fclose(f);
	assert_int_equal(n, 0x1100 - 8); /* all planes without surrogates */
	assert_int_equal(wrong, 0);
}

/* UTF-8 as RFC 3629 draws it: the code point, if it encodes to these very bytes. */
static bool
is_utf8(const unsigned char *p, size_t n)
{
	static const uint32_t low[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = p[0] < 0x80 ? 1 : p[0] < 0xC0 ? 9 : p[0] < 0xE0 ? 2 : 3;
	length += p[0] >= 0xF0;
	if (length > n || p[0] >= 0xF8)
		return false;
	uint32_t c = length == 1 ? p[0] : p[0] & (0x7Fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (p[i] < 0x80 || p[i] > 0xBF)
			return false;
		c = c << 6 | (p[i] & 0x3Fu);
	}
	return c >= low[length] && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF) &&
	       (length == n || is_utf8(p + length, n - length));
}

static void
check_takes_exactly_utf8(void **state)
{
	(void)state;
	static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
	    0xA0, 0xBF, 0xC0, 0xC2, 0xED, 0xF4, 0xFF};
	struct error err;
	unsigned char *guarded = guard_new(4);

	for (unsigned lead = 0; lead < 256; lead++)
		for (size_t i = 0; i < 14 * 14 * 14; i++) {
			const unsigned char bytes[] = {(unsigned char)lead,
			    edges[i % 14], edges[i / 14 % 14], edges[i / 196]};
			for (size_t n = 1; n <= 4; n++) {
				unsigned char *p = guarded + 4 - n;
				memcpy(p, bytes, n);
				int rc = normalize_check((char *)p, n, &err);
				assert_int_equal(rc, is_utf8(p, n) ? 0 : -1);
			}
		}
	guard_free(guarded, 4);
}

static void
check_names_the_first_bad_byte(void **state)
{
	(void)state;
	char text[40];
	struct error err;

	for (size_t at = 0; at < sizeof text; at++) {
		memset(text, 'a', sizeof text);
		text[at] = (char)0xFF;
		assert_int_equal(normalize_check(text, sizeof text, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		char want[80];
		snprintf(want, sizeof want,
		    "expected UTF-8, not byte 0xff at offset %zu", at);
		assert_string_equal(err.text, want);
	}
	/* A sequence cut by the end starts at its lead. */
	assert_int_equal(normalize_check("ab\xE4\xB8", 4, &err), -1);
	assert_non_null(strstr(err.text, "0xe4 at offset 2"));
	assert_int_equal(normalize_check(NULL, 0, &err), 0);
}

/* The next word of ASCII text by ctype; its length, 0 at the end. */
static size_t
slow_ascii_word(char *word, const char *text, size_t n, size_t *at)
{
	size_t length = 0;

	for (; *at < n; (*at)++) {
		unsigned char c = (unsigned char)text[*at];
		bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
		if (iscntrl(c) && !space)
			continue;
		if (length > 0 && (space || ispunct(c)))
			return length;
		if (!space)
			word[length++] = (char)tolower(c);
		if (ispunct(c)) {
			(*at)++;
			return length;
		}
	}
	return length;
}

static void
ascii_is_what_ctype_says(void **state)
{
	(void)state;
	struct rng rng;
	char word[400];

	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 20000; round++) {
		size_t n = rng_below(&rng, 300), at = 0;
		uint64_t words_mostly = rng_below(&rng, 2);
		char *text = guard_new(n);
		for (size_t i = 0; i < n; i++)
			text[i] = words_mostly && rng_below(&rng, 40)
				      ? (char)('A' + rng_below(&rng, 26))
				      : (char)rng_below(&rng, 128);
		struct normalize words;
		normalize_init(&words, text, n);
		size_t length;
		while ((length = slow_ascii_word(word, text, n, &at)) > 0) {
			assert_true(normalize_next(&words));
			assert_int_equal(words.too_long, length > 100);
			if (length > 100)
				continue;
			assert_int_equal(words.word_bytes, length);
			assert_int_equal(words.word_chars, length);
			assert_memory_equal(words.word, word, length);
		}
		assert_false(normalize_next(&words));
		assert_false(normalize_next(&words));
		guard_free(text, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_point_is_the_references),
	    cmocka_unit_test(check_takes_exactly_utf8),
	    cmocka_unit_test(check_names_the_first_bad_byte),
	    cmocka_unit_test(ascii_is_what_ctype_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
