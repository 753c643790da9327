#include "server/term.h"

#include <string.h>
#include <utf8proc.h>

#include "base/hash.h"
#include "base/utf8.h"

/* A term while its bytes come. */
struct growing {
	struct term *term;
	uint64_t hash;
};

static struct growing
begin(struct term *term)
{
	term->n = 0;
	return (struct growing){term, HASH_START};
}

/* n counts on beyond the room. */
static void
add(struct growing *g, const void *bytes, size_t n)
{
	size_t room = g->term->n < TERM_BYTES_MAX ? TERM_BYTES_MAX - g->term->n : 0;

	g->hash = hash_bytes(g->hash, bytes, n);
	memcpy(g->term->bytes + (TERM_BYTES_MAX - room), bytes, n < room ? n : room);
	g->term->n += n;
}

static void
end(struct growing *g)
{
	static const char digits[] = "0123456789abcdef";

	if (g->term->n <= TERM_BYTES_MAX)
		return;
	g->term->n = TERM_BYTES_MAX;
	for (size_t i = TERM_HEAD_BYTES; i < TERM_BYTES_MAX; i++) {
		g->term->bytes[i] = digits[g->hash >> 60];
		g->hash <<= 4;
	}
}

void
term_of(struct term *term, const struct json *string)
{
	struct json_pieces pieces = json_pieces(string);
	struct growing g = begin(term);
	char piece[4];
	size_t n;

	while ((n = json_piece(&pieces, piece)) > 0)
		add(&g, piece, n);
	end(&g);
}

void
term_of_bytes(struct term *term, const char *bytes, size_t n)
{
	struct growing g = begin(term);

	add(&g, bytes, n);
	end(&g);
}

int
term_compare(const struct term *a, const struct term *b)
{
	int order = memcmp(a->bytes, b->bytes, a->n < b->n ? a->n : b->n);

	return order != 0 ? order : a->n < b->n ? -1 : a->n > b->n;
}

struct term_words
term_words(const struct json *string)
{
	return (struct term_words){json_pieces(string)};
}

/* *c := the next code point; false at the end. */
static bool
next_point(struct json_pieces *pieces, utf8proc_int32_t *c)
{
	unsigned char low, high;
	char bytes[8];
	size_t n = json_piece(pieces, bytes);

	if (n == 0)
		return false;
	/* Bytes of the text come one by one. */
	size_t want = n == 1 ? utf8_lead((unsigned char)bytes[0], &low, &high) : n;
	while (n < want)
		n += json_piece(pieces, bytes + n);
	return utf8proc_iterate(
		   (const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)n, c) > 0;
}

static bool
in_word(utf8proc_int32_t c)
{
	utf8proc_category_t category = utf8proc_category(c);

	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

bool
term_next(struct term_words *words, struct term *term)
{
	struct growing g = begin(term);
	utf8proc_uint8_t bytes[4];
	utf8proc_int32_t c;

	while (next_point(&words->pieces, &c)) {
		if (in_word(c)) {
			utf8proc_ssize_t n =
			    utf8proc_encode_char(utf8proc_tolower(c), bytes);
			add(&g, bytes, (size_t)n);
		} else if (term->n > 0) {
			break;
		}
	}
	end(&g);
	return term->n > 0;
}
