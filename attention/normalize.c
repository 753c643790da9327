#include "attention/normalize.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#include "attention/normalize_table.h"

/* Bytes below 0x80: a letter's or digit's lower case, or one of these. */
enum { BYTE_DROP, BYTE_SPACE, BYTE_PUNCTUATION, BYTE_LETTER };

/* clang-format off */
#define D BYTE_DROP
#define S BYTE_SPACE
#define P BYTE_PUNCTUATION
static const unsigned char ascii[128] = {
	D, D, D, D, D, D, D, D, D, S, S, D, D, S, D, D,
	D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D,
	S, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P,
	'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', P, P, P, P, P, P,
	P, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
	'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', P, P, P, P, P,
	P, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
	'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', P, P, P, P, D,
};
#undef D
#undef S
#undef P
/* clang-format on */

/* Length of the valid sequence at p (before end), 0 if there is none. */
static size_t
sequence_length(const unsigned char *p, const unsigned char *end)
{
	size_t left = (size_t)(end - p);

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return 0;
	if (left < 2 || (p[1] & 0xC0) != 0x80)
		return 0;
	if (p[0] < 0xE0)
		return 2;
	if (left < 3 || (p[2] & 0xC0) != 0x80)
		return 0;
	if (p[0] < 0xF0) {
		bool overlong = p[0] == 0xE0 && p[1] < 0xA0;
		bool surrogate = p[0] == 0xED && p[1] > 0x9F;
		return overlong || surrogate ? 0 : 3;
	}
	if (left < 4 || (p[3] & 0xC0) != 0x80)
		return 0;
	if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
		return 0;
	return 4;
}

int
normalize_check(const char *text, size_t n, struct error *err)
{
	const unsigned char *start = (const unsigned char *)text;
	const unsigned char *p = start, *end = start + n;

	while (p < end) {
		uint64_t eight;
		if (end - p >= 8) {
			memcpy(&eight, p, sizeof eight);
			if ((eight & 0x8080808080808080u) == 0) {
				p += 8;
				continue;
			}
		}
		size_t length = sequence_length(p, end);
		if (length == 0)
			return error_set(err, ERR_INPUT,
			    "expected UTF-8, not byte 0x%02x at offset %zu", *p,
			    (size_t)(p - start));
		p += length;
	}
	return 0;
}

/* The code point of the valid sequence at *p; moves *p behind it. */
static uint32_t
decode(const unsigned char **p)
{
	const unsigned char *s = *p;

	if (s[0] < 0x80) {
		*p += 1;
		return s[0];
	}
	if (s[0] < 0xE0) {
		*p += 2;
		return (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu);
	}
	if (s[0] < 0xF0) {
		*p += 3;
		return (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
	}
	*p += 4;
	return (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 |
	       (s[3] & 0x3Fu);
}

static bool
is_ascii_punctuation(uint32_t code)
{
	return code < 128 && ascii[code] == BYTE_PUNCTUATION;
}

/* The CJK ideographs as BERT's first code has them: these blocks, no later ones. */
static bool
is_ideograph(uint32_t code)
{
	return (code >= 0x3400 && code <= 0x4DBF) ||
	       (code >= 0x4E00 && code <= 0x9FFF) ||
	       (code >= 0xF900 && code <= 0xFAFF) ||
	       (code >= 0x20000 && code <= 0x2A6DF) ||
	       (code >= 0x2A700 && code <= 0x2B81F) ||
	       (code >= 0x2B920 && code <= 0x2CEAF) ||
	       (code >= 0x2F800 && code <= 0x2FA1F);
}

static enum normalize_kind
kind_of(uint32_t code, utf8proc_category_t category)
{
	if (code == '\t' || code == '\n' || code == '\r')
		return NORMALIZE_SPACE;
	if (is_ascii_punctuation(code))
		return NORMALIZE_PUNCTUATION;
	switch (category) {
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return NORMALIZE_SPACE;
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CO:
		return NORMALIZE_DROP;
	case UTF8PROC_CATEGORY_PC:
	case UTF8PROC_CATEGORY_PD:
	case UTF8PROC_CATEGORY_PS:
	case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI:
	case UTF8PROC_CATEGORY_PF:
	case UTF8PROC_CATEGORY_PO:
		return NORMALIZE_PUNCTUATION;
	case UTF8PROC_CATEGORY_MN:
		return NORMALIZE_MARK;
	default: /* unassigned ones (CN) are letters to the reference */
		return code == 0xFFFD ? NORMALIZE_DROP : NORMALIZE_LETTER;
	}
}

/* What a code point that has no (further) decomposition is. */
static struct normalize_point
point_of(uint32_t code, const struct normalize_exception *exception)
{
	const utf8proc_property_t *property =
	    utf8proc_get_property((utf8proc_int32_t)code);
	struct normalize_point point = {
	    code, NORMALIZE_LETTER, (uint32_t)property->combining_class};

	if (exception) {
		point.kind = exception->kind;
		if (exception->starter)
			point.combining = 0;
	} else {
		point.kind = kind_of(code, (utf8proc_category_t)property->category);
	}
	return point;
}

size_t
normalize_expand(struct normalize_point *points, uint32_t code)
{
	const struct normalize_exception *exception = normalize_exception(code);
	const struct normalize_point space = {' ', NORMALIZE_SPACE, 0};
	struct normalize_point whole = point_of(code, exception);
	utf8proc_int32_t parts[NORMALIZE_POINTS_MAX - 2] = {(utf8proc_int32_t)code};
	utf8proc_ssize_t n_parts = 1;
	size_t n = 0;

	if (whole.kind == NORMALIZE_DROP)
		return 0;
	if (whole.kind == NORMALIZE_SPACE) {
		points[0] = space;
		return 1;
	}
	if (!exception) {
		int boundary_class = 0; /* asked for, not used */
		n_parts = utf8proc_decompose_char((utf8proc_int32_t)code, parts,
		    NORMALIZE_POINTS_MAX - 2, UTF8PROC_DECOMPOSE, &boundary_class);
		assert(n_parts >= 1 && n_parts <= NORMALIZE_POINTS_MAX - 2);
	}
	bool alone = is_ideograph(code);
	if (alone)
		points[n++] = space;
	for (utf8proc_ssize_t i = 0; i < n_parts; i++) {
		uint32_t part = (uint32_t)parts[i];
		points[n] =
		    part == code ? whole : point_of(part, normalize_exception(part));
		if (points[n].kind == NORMALIZE_LETTER)
			points[n].code = normalize_lower(part);
		n++;
	}
	if (alone)
		points[n++] = space;
	return n;
}

void
normalize_init(struct normalize *words, const char *text, size_t n)
{
	words->word_bytes = 0;
	words->word_chars = 0;
	words->too_long = false;
	words->word_start = text;
	words->from = words->at = (const unsigned char *)text;
	words->end = words->at + n;
	words->then = words->then_end = words->end;
	words->ordered = 0;
	words->next_point = 0;
	words->n_points = 0;
}

void
normalize_then(struct normalize *words, const char *text, size_t n)
{
	words->then = (const unsigned char *)text;
	words->then_end = words->then + n;
}

/* Canonical order: a mark goes before the marks right before it that have a higher
 * class; a starter, class 0, stops it.  Returns the byte of the word where it belongs.
 */
static size_t
place_of(const struct normalize *words, uint32_t combining)
{
	size_t place = words->word_bytes;

	while (place > words->ordered) {
		size_t before = place - 1;
		while (((unsigned char)words->word[before] & 0xC0) == 0x80)
			before--;
		const unsigned char *p = (const unsigned char *)words->word + before;
		uint32_t code = decode(&p);
		if (point_of(code, normalize_exception(code)).combining <= combining)
			break;
		place = before;
	}
	return place;
}

/* Add a letter, punctuation or a mark that is kept to the word. */
static void
add(struct normalize *words, struct normalize_point point)
{
	if (words->word_chars == NORMALIZE_WORD_CHARS_MAX) {
		words->too_long = true;
		return;
	}
	if (words->word_chars == 0)
		words->word_start = (const char *)words->from;
	unsigned char bytes[4];
	size_t n = (size_t)utf8proc_encode_char((utf8proc_int32_t)point.code, bytes);
	size_t place = words->word_bytes;
	if (point.combining > 0)
		place = place_of(words, point.combining);
	memmove(
	    words->word + place + n, words->word + place, words->word_bytes - place);
	memcpy(words->word + place, bytes, n);
	words->word_bytes += n;
	words->word_chars++;
}

/* Take the waiting points; true when the word is complete (a point that belongs to
 * the next one still waits). */
static bool
take_points(struct normalize *words)
{
	while (words->next_point < words->n_points) {
		struct normalize_point point = words->points[words->next_point];
		bool in_word = words->word_chars > 0;
		if (point.kind == NORMALIZE_PUNCTUATION && in_word)
			return true;
		words->next_point++;
		if (point.kind == NORMALIZE_MARK) {
			/* Left out, but no mark after it may pass it. */
			if (point.combining == 0)
				words->ordered = words->word_bytes;
			continue;
		}
		if (point.kind != NORMALIZE_SPACE)
			add(words, point);
		else if (in_word)
			return true;
		if (point.kind == NORMALIZE_PUNCTUATION)
			return true;
	}
	return false;
}

/* Take a run of ASCII, the same as above without its detours; true when the word is
 * complete. */
static bool
take_ascii(struct normalize *words)
{
	const unsigned char *p = words->at;
	size_t n = words->word_bytes, chars = words->word_chars;
	bool complete = false;

	for (; p < words->end && *p < 0x80; p++) {
		unsigned char c = ascii[*p];
		if (chars == 0)
			words->word_start = (const char *)p;
		if (c >= BYTE_LETTER) {
			if (chars < NORMALIZE_WORD_CHARS_MAX) {
				words->word[n++] = (char)c;
				chars++;
			} else {
				words->too_long = true;
			}
		} else if (c == BYTE_SPACE && chars > 0) {
			p++;
			complete = true;
			break;
		} else if (c == BYTE_PUNCTUATION) {
			complete = true;
			if (chars > 0)
				break;
			words->word[n++] = (char)*p++;
			chars++;
			break;
		}
	}
	words->at = p;
	words->word_bytes = n;
	words->word_chars = chars;
	return complete;
}

bool
normalize_next(struct normalize *words)
{
	words->word_bytes = 0;
	words->word_chars = 0;
	words->too_long = false;
	words->ordered = 0;
	for (;;) {
		if (take_points(words) || take_ascii(words))
			return true;
		if (words->at == words->end) {
			if (words->then == words->then_end)
				return words->word_chars > 0;
			words->at = words->then;
			words->end = words->then = words->then_end;
			continue;
		}
		words->from = words->at;
		words->n_points = normalize_expand(words->points, decode(&words->at));
		words->next_point = 0;
	}
}
