/*
 * Claims: the term of a string is its bytes, whatever escapes it is written with, and
 * for long ones the first bytes and FNV-1a of all (so any byte that differs makes
 * another term); words are runs of letters, marks and digits in lower case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "server/term.h"
#include "tests/support/guard.h"

static struct json
json_of(const char *text, size_t n)
{
	struct json root;
	struct error err;

	assert_int_equal(json_check(&root, text, n, &err), 0);
	return root;
}

static struct term
term(const char *text)
{
	struct json string = json_of(text, strlen(text));
	struct term term;

	memset(&term, 'x', sizeof term);
	term_of(&term, &string);
	return term;
}

static void
a_term_is_its_bytes(void **state)
{
	struct term a = term("\"caf\\u00e9\\n\\\"\\ud83d\\ude00\""), b;
	static const char bytes[] = "caf\xC3\xA9\n\"\xF0\x9F\x98\x80";
	(void)state;

	assert_int_equal(a.n, sizeof bytes - 1);
	assert_memory_equal(a.bytes, bytes, a.n);
	term_of_bytes(&b, bytes, sizeof bytes - 1);
	assert_int_equal(term_compare(&a, &b), 0);
	a = term("\"\"");
	assert_int_equal(a.n, 0);
	assert_true(term_compare(&a, &b) < 0 && term_compare(&b, &a) > 0);
	a = term("\"caf\"");
	assert_true(term_compare(&a, &b) < 0 && term_compare(&b, &a) > 0);
}

static void
long_strings_are_cut(void **state)
{
	char text[1000], hash[17];
	struct term whole, other;
	(void)state;

	for (size_t n = TERM_BYTES_MAX - 2; n < TERM_BYTES_MAX + 300; n += 1 + n / 40) {
		for (size_t i = 0; i < n; i++)
			text[i] = (char)('a' + i % 23);
		char *copy = guard_copy(text, n);
		term_of_bytes(&whole, copy, n);
		guard_free(copy, n);
		if (n <= TERM_BYTES_MAX) {
			assert_int_equal(whole.n, n);
			assert_memory_equal(whole.bytes, text, n);
			continue;
		}
		assert_int_equal(whole.n, TERM_BYTES_MAX);
		assert_memory_equal(whole.bytes, text, TERM_HEAD_BYTES);
		snprintf(hash, sizeof hash, "%016llx",
		    (unsigned long long)hash_bytes(HASH_START, text, n));
		assert_memory_equal(whole.bytes + TERM_HEAD_BYTES, hash, 16);
		text[n - 1] = '!';
		term_of_bytes(&other, text, n);
		assert_int_not_equal(term_compare(&whole, &other), 0);
		assert_int_equal(
		    term_compare(&whole, &other), -term_compare(&other, &whole));
	}
}

static void
words_are_runs_of_letters(void **state)
{
	static const struct {
		const char *text, *words; /* with a bar behind each */
	} texts[] = {
	    {"\"\"", ""},
	    {"\" .,\\n\"", ""},
	    {"\"one\"", "one|"},
	    {"\"One, TWO;three3 4\"", "one|two|three3|4|"},
	    {"\"\\u00c9t\xC3\xA9 \\u4f60\xE5\xA5\xBD\xE3\x80\x82\"",
		"\xC3\xA9t\xC3\xA9|\xE4\xBD\xA0\xE5\xA5\xBD|"},
	    {"\"e\\u0301x\"", "e\xCC\x81x|"}, /* a mark */
	    {"\"\\u023a\"", "\xE2\xB1\xA5|"}, /* grows */
	    {"\"\\ud835\\udc00\\ud83d\\ude00b\"",
		"\xF0\x9D\x90\x80|b|"}, /* an emoji parts */
	    {"\"don't_stop\"", "don|t|stop|"},
	};
	char text[1200], words_found[1000];
	struct term word;
	(void)state;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		size_t n = strlen(texts[i].text), k = 0;
		char *copy = guard_copy(texts[i].text, n);
		struct json string = json_of(copy, n);
		struct term_words words = term_words(&string);
		while (term_next(&words, &word)) {
			memcpy(words_found + k, word.bytes, word.n);
			k += word.n;
			words_found[k++] = '|';
		}
		words_found[k] = '\0';
		assert_string_equal(words_found, texts[i].words);
		assert_false(term_next(&words, &word));
		guard_free(copy, n);
	}
	/* A word may be long too. */
	snprintf(text, sizeof text, "\"%0500d %0500d1\"", 0, 0);
	struct json string = json_of(text, strlen(text));
	struct term_words words = term_words(&string);
	struct term first;
	assert_true(term_next(&words, &first) && term_next(&words, &word));
	assert_int_equal(first.n, TERM_BYTES_MAX);
	assert_int_equal(word.n, TERM_BYTES_MAX);
	assert_int_not_equal(term_compare(&first, &word), 0);
	assert_memory_equal(first.bytes, word.bytes, TERM_HEAD_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_term_is_its_bytes),
	    cmocka_unit_test(long_strings_are_cut),
	    cmocka_unit_test(words_are_runs_of_letters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
