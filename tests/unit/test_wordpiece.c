/*
 * Claims: the ids of 24,000 golden texts are the reference's, at every cap a prefix of
 * them, wherever the text ends; a vocabulary is read or refused with the line and the
 * reason; a failing allocation is an error and leaks nothing.
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

#include "attention/wordpiece.h"
#include "base/alloc.h"
#include "tests/support/guard.h"

#define GOLDEN_FILE "tests/golden/wordpiece.tsv"
#define VOCABULARY "models/static/vocab.txt"
#define IDS_MAX 4096

static const char *
write_vocabulary(const char *bytes, size_t n)
{
	static char path[300];

	snprintf(path, sizeof path, "%s/vocab.txt", test_folder());
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	return path;
}

static struct wordpiece *
open_text(const char *lines)
{
	struct error err = {ERR_NONE, ""};
	struct wordpiece *w =
	    wordpiece_open(write_vocabulary(lines, strlen(lines)), &err);

	if (!w)
		fail_msg("%s", err.text);
	return w;
}

static void
refused(const char *bytes, size_t n, enum error_code code, const char *why)
{
	struct error err = {ERR_NONE, ""};

	assert_null(wordpiece_open(write_vocabulary(bytes, n), &err));
	if (!strstr(err.text, why))
		fail_msg("expected '%s' in '%s'", why, err.text);
	assert_int_equal(err.code, code);
}

/* Undo the golden file's escapes in place; the text's length. */
static size_t
unescape(char *text)
{
	static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
	size_t n = 0;

	for (const char *p = text; *p;) {
		if (p[0] != '\\') {
			text[n++] = *p++;
			continue;
		}
		if (p[1] == '\\') {
			text[n++] = '\\';
			p += 2;
			continue;
		}
		assert_memory_equal(p, "\\u{", 3);
		char *end;
		unsigned long c = strtoul(p + 3, &end, 16);
		assert_int_equal(*end, '}');
		p = end + 1;
		if (c < 0x80) {
			text[n++] = (char)c;
			continue;
		}
		size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
		text[n++] = (char)(lead[more] | c >> 6 * more);
		while (more-- > 0)
			text[n++] = (char)(0x80 | (c >> 6 * more & 0x3F));
	}
	return n;
}

static size_t
parse_ids(uint32_t *ids, char *text)
{
	size_t n = 0;

	for (char *p = strtok(text, " \n"); p; p = strtok(NULL, " \n")) {
		assert_true(n < IDS_MAX);
		ids[n++] = (uint32_t)strtoul(p, NULL, 10);
	}
	return n;
}

/* The text at a guard page gives these ids, and with each smaller cap their start. */
static void
check_line(const struct wordpiece *w, const char *text, size_t n, const uint32_t *want,
    size_t n_want, size_t line)
{
	uint32_t ids[IDS_MAX];
	struct error err;
	char *guarded = guard_copy(text, n);

	for (size_t cap = line % 64 == 0 ? 0 : n_want; cap <= n_want + 1; cap++) {
		struct wordpiece_ids out = {.ids = ids, .cap = cap, .n = 99};
		size_t expected = cap < n_want ? cap : n_want;
		assert_int_equal(wordpiece_encode(w, &out, guarded, n, &err), 0);
		if (out.n != expected || memcmp(ids, want, expected * sizeof *ids) != 0)
			fail_msg(
			    GOLDEN_FILE ", line %zu: not the reference's ids", line);
		assert_int_equal(out.truncated, cap < n_want);
	}
	guard_free(guarded, n);
}

static void
golden_texts_have_the_references_ids(void **state)
{
	(void)state;
	struct error err = {ERR_NONE, ""};
	struct wordpiece *w = wordpiece_open(VOCABULARY, &err);
	FILE *f = fopen(GOLDEN_FILE, "r");
	char *line = NULL;
	size_t room = 0, lines = 0;
	uint32_t want[IDS_MAX];

	if (!w)
		fail_msg("%s", err.text);
	assert_non_null(f);
	assert_int_equal(wordpiece_size(w), 30522);
	while (getline(&line, &room, f) > 0) {
		char *tab = strchr(line, '\t');
		assert_non_null(tab);
		*tab = '\0';
		size_t n_want = parse_ids(want, tab + 1);
		check_line(w, line, unescape(line), want, n_want, ++lines);
	}
	assert_true(lines >= 20000);
	free(line);
	fclose(f);
	wordpiece_close(w);
}

static void
ids_are(const struct wordpiece *w, const char *text, size_t n, const uint32_t *want)
{
	uint32_t ids[16];
	struct error err;
	struct wordpiece_ids out = {.ids = ids, .cap = 16};

	assert_int_equal(wordpiece_encode(w, &out, text, strlen(text), &err), 0);
	assert_int_equal(out.n, n);
	assert_memory_equal(ids, want, n * sizeof *ids);
	size_t unknown = 0;
	for (size_t i = 0; i < n; i++)
		unknown += want[i] == 0; /* [UNK] is the first piece in these tests */
	assert_int_equal(out.unknown, unknown);
}

static void
pieces_are_found_by_name(void **state)
{
	(void)state;
	struct wordpiece *w = open_text("[UNK]\n[CLS]\nab\n##b\nb\n");
	uint32_t id = 77;

	assert_true(wordpiece_find(w, "[CLS]", &id));
	assert_int_equal(id, 1);
	assert_true(wordpiece_find(w, "##b", &id));
	assert_int_equal(id, 3);
	assert_true(wordpiece_find(w, "b", &id));
	assert_int_equal(id, 4);
	assert_false(wordpiece_find(w, "[SEP]", &id));
	assert_false(wordpiece_find(w, "##ab", &id));
	assert_int_equal(id, 4);
	wordpiece_close(w);
}

static void
cuts_greedily(void **state)
{
	(void)state;
	/* "abd" has no cut by the longest match, though a ##b ##d would be one. */
	struct wordpiece *w =
	    open_text("[UNK]\r\nab\na\n##b\n##c\n##d\n##\n#\n\xC3\xA6\n##\xC3\xA6");

	assert_int_equal(wordpiece_size(w), 10);
	ids_are(w, "ab abc abe a ac", 7, (uint32_t[]){1, 1, 4, 0, 2, 2, 4});
	ids_are(w, "abb AB b", 4, (uint32_t[]){1, 3, 1, 0});
	ids_are(w, "##b", 3, (uint32_t[]){7, 7, 0});
	ids_are(w, "\xC3\xA6\xC3\x86 a\xC3\xA6", 4, (uint32_t[]){8, 9, 2, 9});
	ids_are(w, "[UNK]", 3, (uint32_t[]){0, 0, 0});
	wordpiece_close(w);
}

static void
bad_text_is_refused(void **state)
{
	(void)state;
	struct wordpiece *w = open_text("[UNK]\na\n");
	uint32_t ids[2] = {7, 7};
	struct wordpiece_ids out = {.ids = ids, .cap = 1, .n = 5};
	struct error err;

	/* Also behind the cap. */
	assert_int_equal(wordpiece_encode(w, &out, "a a a \xC3", 7, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "offset 6"));
	assert_int_equal(out.n, 5);
	assert_int_equal(ids[0], 7);
	wordpiece_close(w);
}

static void
bad_vocabularies_are_refused(void **state)
{
	(void)state;
	struct error err;
	char line[600];

	refused("", 0, ERR_FORMAT, "expected a piece [UNK] among the 0 pieces");
	refused("a\nb\n", 4, ERR_FORMAT, "[UNK] among the 2 pieces");
	refused("##[UNK]\n", 8, ERR_FORMAT, "[UNK] among");
	refused("[UNK]\na\n\nb\n", 11, ERR_FORMAT,
	    "line 3: expected a piece, not an empty");
	refused("[UNK]\na\nb\na\n", 12, ERR_FORMAT,
	    "line 4: expected a new piece, not \"a\" again (it is line 2)");
	refused(
	    "[UNK]\n##a\na\n##a\n", 16, ERR_FORMAT, "not \"##a\" again (it is line 2)");
	refused(
	    "[UNK]\n\xFF\n", 8, ERR_FORMAT, "line 2: expected UTF-8, not byte 0xff");
	memset(line, 'x', sizeof line);
	memcpy(line, "[UNK]\n", 6);
	refused(
	    line, 6 + 403, ERR_FORMAT, "line 2: expected a piece of at most 402 bytes");
	struct wordpiece *w = wordpiece_open(write_vocabulary(line, 6 + 402), &err);
	assert_non_null(w);
	wordpiece_close(w);
	assert_null(wordpiece_open("/nonexistent/vocab.txt", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(wordpiece_open(test_folder(), &err));
	assert_int_equal(err.code, ERR_IO);
}

static void
too_many_pieces_are_refused(void **state)
{
	(void)state;
	size_t n = 0;
	char *text = malloc((WORDPIECE_PIECES_MAX + 1) * 8);

	for (unsigned i = 0; i <= WORDPIECE_PIECES_MAX; i++)
		n += (size_t)sprintf(text + n, "%x\n", i);
	refused(text, n, ERR_TOO_LARGE, "expected at most 1000000 pieces, not 1000001");
	free(text);
}

static void
allocation_failures_are_errors(void **state)
{
	(void)state;
	const char *path = write_vocabulary("[UNK]\na\n", 8);
	struct wordpiece *w = NULL;
	struct error err = {ERR_NONE, ""};
	long k = 0;

	while (!w) {
		array_fail_at(++k);
		w = wordpiece_open(path, &err);
		array_fail_at(0);
		if (!w)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 4); /* object, text, pieces, slots */
	wordpiece_close(w);
	wordpiece_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(golden_texts_have_the_references_ids),
	    cmocka_unit_test(cuts_greedily),
	    cmocka_unit_test(pieces_are_found_by_name),
	    cmocka_unit_test(bad_text_is_refused),
	    cmocka_unit_test(bad_vocabularies_are_refused),
	    cmocka_unit_test(too_many_pieces_are_refused),
	    cmocka_unit_test(allocation_failures_are_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
