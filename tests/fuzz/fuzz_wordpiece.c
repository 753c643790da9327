/*
 * Input: a vocabulary, '\0', a prefix, '\0', a text.
 *
 * Claims: any vocabulary is refused or loaded, any text refused or cut into pieces of
 * it; a prefix and a text are one text; fewer places cut the same pieces.  Where the
 * vocabulary is refused, a small one of our own takes its place.
 */
#include <stdbool.h>

#include "attention/normalize.h"
#include "attention/wordpiece.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/guard.h"

#define CAP 4096

static struct wordpiece *
open_vocabulary(struct fuzz_part part)
{
	static const char ours[] =
	    "[UNK]\na\n##a\nb\n##b\n.\n\xC3\xA9\nthe\n##\xE4\xB8\x80";
	char path[400];
	struct error err;

	snprintf(path, sizeof path, "%s/vocab.txt", test_folder());
	fuzz_write(path, part.bytes, part.n);
	struct wordpiece *wordpiece = wordpiece_open(path, &err);
	if (!wordpiece) {
		FUZZ_CHECK(err.code == ERR_FORMAT || err.code == ERR_TOO_LARGE);
		FUZZ_CHECK(strlen(err.text) > 0);
		fuzz_write(path, ours, sizeof ours - 1);
		wordpiece = wordpiece_open(path, &err);
	}
	FUZZ_CHECK(wordpiece);
	return wordpiece;
}

/* The prefix as the text that it must be; freed by the caller. */
static char *
prefix_of(struct fuzz_part part)
{
	struct error err;
	char *prefix = calloc(part.n + 1, 1);

	FUZZ_CHECK(prefix);
	if (part.n > 0 && normalize_check(part.bytes, part.n, &err) == 0)
		memcpy(prefix, part.bytes, part.n);
	return prefix;
}

/* What came out is the start of `whole`. */
static void
check_cut(const struct wordpiece *wordpiece, const struct wordpiece_ids *whole,
    const char *prefix, const char *text, size_t n)
{
	uint32_t ids[CAP];
	struct error err;

	for (size_t cap = 0; cap <= whole->n; cap += 1 + whole->n / 3) {
		struct wordpiece_ids cut = {.ids = ids, .cap = cap};
		FUZZ_CHECK(wordpiece_encode_after(
			       wordpiece, &cut, prefix, text, n, &err) == 0);
		FUZZ_CHECK(cut.n == cap);
		FUZZ_CHECK(cut.truncated == (cap < whole->n || whole->truncated));
		FUZZ_CHECK(memcmp(ids, whole->ids, cap * sizeof *ids) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint32_t ids[CAP], joined_ids[CAP];
	struct wordpiece_ids out = {.ids = ids, .cap = CAP};
	struct wordpiece_ids joined_out = {.ids = joined_ids, .cap = CAP};
	struct error err;
	struct wordpiece *wordpiece = open_vocabulary(fuzz_part(&data, &n));
	char *prefix = prefix_of(fuzz_part(&data, &n));
	const size_t n_prefix = strlen(prefix);
	char *joined = malloc(n_prefix + n + 1);

	FUZZ_CHECK(joined);
	memcpy(joined, prefix, n_prefix);
	if (n > 0)
		memcpy(joined + n_prefix, data, n);
	const char *text = (const char *)data;
	bool good = wordpiece_encode_after(wordpiece, &out, prefix, text, n, &err) == 0;
	FUZZ_CHECK(good || err.code == ERR_INPUT);
	FUZZ_CHECK(good == (wordpiece_encode(wordpiece, &joined_out, joined,
				n_prefix + n, &err) == 0));
	if (good) {
		FUZZ_CHECK(out.n == joined_out.n && out.n <= CAP);
		FUZZ_CHECK(out.unknown == joined_out.unknown && out.unknown <= out.n);
		FUZZ_CHECK(out.truncated == joined_out.truncated);
		FUZZ_CHECK(memcmp(ids, joined_ids, out.n * sizeof *ids) == 0);
		for (size_t i = 0; i < out.n; i++)
			FUZZ_CHECK(ids[i] < wordpiece_size(wordpiece));
		check_cut(wordpiece, &out, prefix, text, n);
	}
	free(joined);
	free(prefix);
	wordpiece_close(wordpiece);
	return 0;
}
