#include "attention/passages.h"

#include <stdbool.h>
#include <string.h>

#include "attention/encoder_model.h"
#include "attention/normalize.h"
#include "attention/wordpiece.h"

#define OVERLAP_SHARE 4    /* of the room; also the end where a sentence may end */
#define CLOSERS_MAX 4      /* quotes and brackets behind a full stop */
#define PREFIX_PIECES 2048 /* of a role, more than any has */

struct cutter {
	const struct wordpiece *wordpiece;
	const char *text;
	size_t n;
	size_t room; /* B */
};

/* The passage at work: it begins at `start`. */
struct work {
	size_t start;
	size_t end;    /* where the first word behind it begins, or n */
	size_t pieces; /* of start .. end */
	size_t next;   /* pieces of the word at `end` */
	/* A word in the middle, from where to look for the next start. */
	size_t middle, middle_pieces; /* of start .. middle */
};

/* Whether the bytes before `at` end with these; *at := where they begin. */
static bool
take_back(const char *text, size_t *at, const char *bytes)
{
	size_t n = strlen(bytes);

	if (*at < n || memcmp(text + *at - n, bytes, n) != 0)
		return false;
	*at -= n;
	return true;
}

static bool
take_back_any(const char *text, size_t *at, const char *const *list)
{
	for (; *list; list++)
		if (take_back(text, at, *list))
			return true;
	return false;
}

/* Whether a sentence begins with the word at `at`. */
static bool
is_sentence(const char *text, size_t at)
{
	/* Of ideographs, which have no spaces: U+3002, FF01, FF1F. */
	static const char *const wide[] = {
	    "\xE3\x80\x82", "\xEF\xBC\x81", "\xEF\xBC\x9F", NULL};
	/* Closing quotes are also U+2019, 201D, BB; an ellipsis is U+2026. */
	static const char *const closers[] = {
	    "\"", "'", ")", "]", "}", "\xE2\x80\x99", "\xE2\x80\x9D", "\xC2\xBB", NULL};
	static const char *const stops[] = {".", "!", "?", "\xE2\x80\xA6", NULL};
	size_t space = at, lines = 0;

	while (at > 0 && memchr(" \t\r\n", text[at - 1], 4))
		lines += text[--at] == '\n';
	if (lines >= 2 || take_back_any(text, &at, wide))
		return true;
	if (at == space)
		return false;
	for (int i = 0; i < CLOSERS_MAX && take_back_any(text, &at, closers); i++)
		continue;
	return take_back_any(text, &at, stops);
}

/* From work->start on: find the rest of *work. */
static void
find_end(const struct cutter *c, struct work *work)
{
	struct normalize words;
	size_t late = c->room - c->room / OVERLAP_SHARE;
	struct work sentence = {.end = 0};

	work->pieces = 0;
	work->middle = work->start;
	work->middle_pieces = 0;
	normalize_init(&words, c->text + work->start, c->n - work->start);
	while (normalize_next(&words)) {
		size_t at = (size_t)(words.word_start - c->text);
		size_t n = wordpiece_count(c->wordpiece, &words);
		work->end = at;
		work->next = n;
		if (work->pieces > 0 && work->pieces >= late &&
		    is_sentence(c->text, at))
			sentence = *work;
		if (work->pieces > 0 && work->pieces + n > c->room) {
			if (sentence.end > 0)
				*work = sentence;
			return;
		}
		if (work->middle_pieces == 0 && work->pieces >= c->room / 2) {
			work->middle = at;
			work->middle_pieces = work->pieces;
		}
		work->pieces += n;
	}
	work->end = c->n;
}

/* Where the passage behind *work begins. */
static size_t
find_start(const struct cutter *c, const struct work *work)
{
	struct normalize words;
	size_t most = c->room / OVERLAP_SHARE, start = work->end;
	size_t from = work->start, left = work->pieces;

	/* The next word must fit behind them, or the passage would bring nothing new.
	 */
	if (work->next > c->room - most)
		most = work->next < c->room ? c->room - work->next : 0;
	if (work->pieces - work->middle_pieces > most) {
		from = work->middle;
		left -= work->middle_pieces;
	}
	normalize_init(&words, c->text + from, work->end - from);
	while (normalize_next(&words)) {
		size_t at = (size_t)(words.word_start - c->text);
		bool fits = left <= most;
		if (fits && start == work->end)
			start = at;
		if (fits && left < (most + 1) / 2)
			break;
		if (fits && is_sentence(c->text, at))
			return at;
		left -= wordpiece_count(c->wordpiece, &words);
	}
	return start;
}

static bool
is_space(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Without white space around it, unless that is all. */
static struct passage
trim(const struct cutter *c, size_t start, size_t end)
{
	struct passage passage = {start, end};

	while (passage.start < passage.end && is_space(c->text[passage.start]))
		passage.start++;
	while (passage.end > passage.start && is_space(c->text[passage.end - 1]))
		passage.end--;
	return passage.start < passage.end ? passage : (struct passage){start, end};
}

/* *room := how many pieces of text an encoding has room for. */
static int
find_room(size_t *room, const struct encoder *encoder, enum encoder_role role,
    struct error *err)
{
	uint32_t ids[PREFIX_PIECES];
	struct encoder_pieces pieces = {.ids = ids, .cap = PREFIX_PIECES};
	size_t max = encoder_pieces_max(encoder);

	/* A letter is one piece, known or not; what else there is is always there. */
	if (encoder_tokenize(encoder, &pieces, role, "a", 1, err) != 0)
		return -1;
	*room = pieces.n < max ? max - pieces.n + 1 : 1;
	return 0;
}

int
passages_cut(const struct encoder *encoder, struct passages *out,
    enum encoder_role role, const char *text, size_t n, struct error *err)
{
	struct cutter c = {.wordpiece = encoder->wordpiece, .text = text, .n = n};
	struct work work = {.start = 0};

	if (n == 0)
		return error_set(err, ERR_INPUT, "expected a text, not an empty one");
	if (normalize_check(text, n, err) != 0 ||
	    find_room(&c.room, encoder, role, err) != 0)
		return -1;
	out->n = 0;
	for (;;) {
		if (out->n == out->cap)
			return error_set(err, ERR_TOO_LARGE,
			    "expected a text of at most %zu passages of %zu pieces, "
			    "not "
			    "one more",
			    out->cap, c.room);
		find_end(&c, &work);
		out->items[out->n++] = trim(&c, work.start, work.end);
		if (work.end == n)
			return 0;
		work.start = find_start(&c, &work);
	}
}
