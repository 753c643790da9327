#include "attention/wordpiece.h"

#include <stdlib.h>
#include <string.h>

#include "attention/file.h"
#include "base/alloc.h"

#define FILE_BYTES_MAX ((size_t)WORDPIECE_PIECES_MAX * 64)

static const char unknown[] = "[UNK]";

/*
 * Pieces by what they match: the text without "##", and whether it continues a
 * word.  A table of open addressing, at most half full; a slot holds 32 bits of the
 * hash, so that text is compared only where it is nearly sure to be equal.
 */
struct slot {
	uint32_t hash;
	uint32_t id1; /* id + 1; 0 = empty */
};

struct piece {
	uint32_t offset; /* of its matched text in `text` */
	uint16_t n_bytes;
	bool continues;
};

struct wordpiece {
	char *text; /* the file */
	struct piece *pieces;
	size_t n_pieces;
	struct slot *slots;
	size_t mask;
	size_t longest; /* bytes of the longest matched text */
	uint32_t unknown_id;
};

/* A hash that grows byte by byte, so that one walk over a word has the hashes of all
 * its prefixes (FNV-1a); `mix` makes its bits fit for a table. */
static uint64_t
hash_start(bool continues)
{
	return continues ? 0x9E3779B97F4A7C15u : 0xCBF29CE484222325u;
}

static uint64_t
hash_step(uint64_t hash, char byte)
{
	return (hash ^ (unsigned char)byte) * 0x100000001B3u;
}

static uint32_t
hash_mix(uint64_t hash)
{
	hash ^= hash >> 32;
	return (uint32_t)((hash * 0x9E3779B97F4A7C15u) >> 32);
}

/* The id + 1 of the piece with this text and hash; 0 if there is none. */
static uint32_t
find(const struct wordpiece *w, const char *text, size_t n, bool continues,
    uint32_t hash)
{
	for (size_t i = hash & w->mask;; i = (i + 1) & w->mask) {
		struct slot slot = w->slots[i];
		if (slot.id1 == 0)
			return 0;
		if (slot.hash != hash)
			continue;
		const struct piece *piece = &w->pieces[slot.id1 - 1];
		if (piece->n_bytes == n && piece->continues == continues &&
		    memcmp(w->text + piece->offset, text, n) == 0)
			return slot.id1;
	}
}

/* Check line `number` (from 0) and make it a piece. */
static int
set_piece(
    struct wordpiece *w, size_t number, size_t offset, size_t n, struct error *err)
{
	const char *line = w->text + offset;

	if (n == 0)
		return error_set(
		    err, ERR_FORMAT, "expected a piece, not an empty line");
	if (n > WORDPIECE_PIECE_BYTES_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected a piece of at most %d bytes, not %zu",
		    WORDPIECE_PIECE_BYTES_MAX, n);
	if (normalize_check(line, n, err) != 0) {
		err->code = ERR_FORMAT;
		return -1;
	}
	bool continues = n > 2 && memcmp(line, "##", 2) == 0;
	size_t skip = continues ? 2 : 0;
	w->pieces[number] =
	    (struct piece){(uint32_t)(offset + skip), (uint16_t)(n - skip), continues};
	if (n - skip > w->longest)
		w->longest = n - skip;
	return 0;
}

static uint32_t
hash_of(const char *text, size_t n, bool continues)
{
	uint64_t hash = hash_start(continues);

	for (size_t i = 0; i < n; i++)
		hash = hash_step(hash, text[i]);
	return hash_mix(hash);
}

/* Put piece `id` into the table, in which it must be new. */
static int
insert(struct wordpiece *w, uint32_t id, struct error *err)
{
	const struct piece *piece = &w->pieces[id];
	const char *text = w->text + piece->offset;
	uint32_t hash = hash_of(text, piece->n_bytes, piece->continues);
	uint32_t old1 = find(w, text, piece->n_bytes, piece->continues, hash);

	if (old1 != 0)
		return error_set(err, ERR_FORMAT,
		    "expected a new piece, not \"%s%.*s\" again (it is line %u)",
		    piece->continues ? "##" : "", (int)piece->n_bytes, text, old1);
	size_t i = hash & w->mask;
	while (w->slots[i].id1 != 0)
		i = (i + 1) & w->mask;
	w->slots[i] = (struct slot){hash, id + 1};
	return 0;
}

/* Room for every piece of the text of n bytes. */
static int
make_room(struct wordpiece *w, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		w->n_pieces += w->text[i] == '\n' || i + 1 == n;
	if (w->n_pieces > WORDPIECE_PIECES_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "expected at most %d pieces, not %zu", WORDPIECE_PIECES_MAX,
		    w->n_pieces);
	size_t n_slots = 16;
	while (n_slots < 2 * w->n_pieces)
		n_slots *= 2;
	w->mask = n_slots - 1;
	w->pieces = array_new(w->n_pieces, sizeof *w->pieces);
	w->slots = array_new_aligned(n_slots, sizeof *w->slots);
	if (!w->pieces || !w->slots)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu pieces", w->n_pieces);
	return 0;
}

/* Make the n bytes of w->text the vocabulary. */
static int
parse(struct wordpiece *w, size_t n, struct error *err)
{
	size_t start = 0;

	if (make_room(w, n, err) != 0)
		return -1;
	for (size_t id = 0; id < w->n_pieces; id++) {
		const char *line = w->text + start;
		const char *end = memchr(line, '\n', n - start);
		size_t length = end ? (size_t)(end - line) : n - start;
		size_t next = start + length + 1;
		if (end && length > 0 && line[length - 1] == '\r')
			length--;
		if (set_piece(w, id, start, length, err) != 0 ||
		    insert(w, (uint32_t)id, err) != 0)
			return error_prefix(err, "line %zu", id + 1);
		start = next;
	}
	uint32_t id1 = find(w, unknown, sizeof unknown - 1, false,
	    hash_of(unknown, sizeof unknown - 1, false));
	if (id1 == 0)
		return error_set(err, ERR_FORMAT,
		    "expected a piece [UNK] among the %zu pieces", w->n_pieces);
	w->unknown_id = id1 - 1;
	return 0;
}

/* The vocabulary of n bytes of text, which it owns from here on. */
static struct wordpiece *
own(char *text, size_t n, struct error *err)
{
	struct wordpiece *w = array_new(1, sizeof *w);

	if (!w) {
		free(text);
		error_set(err, ERR_MEMORY, "no memory for a vocabulary");
		return NULL;
	}
	w->text = text;
	if (parse(w, n, err) != 0) {
		wordpiece_close(w);
		return NULL;
	}
	return w;
}

struct wordpiece *
wordpiece_open(const char *path, struct error *err)
{
	size_t n;
	char *text = file_read(path, FILE_BYTES_MAX, &n, err);

	if (!text)
		return NULL;
	struct wordpiece *w = own(text, n, err);
	if (!w)
		error_prefix(err, "%s", path);
	return w;
}

struct wordpiece *
wordpiece_new(const char *text, size_t n, struct error *err)
{
	char *copy = array_copy(text, n);

	if (!copy) {
		error_set(err, ERR_MEMORY, "no memory for a vocabulary");
		return NULL;
	}
	return own(copy, n, err);
}

void
wordpiece_close(struct wordpiece *w)
{
	if (!w)
		return;
	free(w->slots);
	free(w->pieces);
	free(w->text);
	free(w);
}

size_t
wordpiece_size(const struct wordpiece *w)
{
	return w->n_pieces;
}

bool
wordpiece_find(const struct wordpiece *w, const char *piece, uint32_t *id)
{
	bool continues = strncmp(piece, "##", 2) == 0;
	const char *text = continues ? piece + 2 : piece;
	uint64_t hash = hash_start(continues);

	for (const char *c = text; *c; c++)
		hash = hash_step(hash, *c);
	uint32_t id1 = find(w, text, strlen(text), continues, hash_mix(hash));
	if (id1 == 0)
		return false;
	*id = id1 - 1;
	return true;
}

/* ids (NORMALIZE_WORD_CHARS_MAX) := the pieces of one word; how many. */
static size_t
cut(const struct wordpiece *w, uint32_t *ids, const struct normalize *words)
{
	uint64_t hashes[NORMALIZE_WORD_BYTES_MAX];
	size_t n = 0, start = 0;

	while (!words->too_long && start < words->word_bytes) {
		const char *text = words->word + start;
		size_t left = words->word_bytes - start;
		size_t reach = left < w->longest ? left : w->longest;
		uint64_t hash = hash_start(start > 0);
		for (size_t i = 0; i < reach; i++)
			hashes[i] = hash = hash_step(hash, text[i]);
		uint32_t id1 = 0;
		/* Pieces are whole characters, so a prefix that ends inside one is
		 * equal to none. */
		size_t length = reach;
		for (; length > 0; length--) {
			id1 = find(
			    w, text, length, start > 0, hash_mix(hashes[length - 1]));
			if (id1 != 0)
				break;
		}
		if (id1 == 0)
			break;
		ids[n++] = id1 - 1;
		start += length;
	}
	if (!words->too_long && start == words->word_bytes)
		return n;
	ids[0] = w->unknown_id;
	return 1;
}

int
wordpiece_encode(const struct wordpiece *w, struct wordpiece_ids *out, const char *text,
    size_t n, struct error *err)
{
	return wordpiece_encode_after(w, out, "", text, n, err);
}

int
wordpiece_encode_after(const struct wordpiece *w, struct wordpiece_ids *out,
    const char *prefix, const char *text, size_t n, struct error *err)
{
	struct normalize words;
	uint32_t ids[NORMALIZE_WORD_CHARS_MAX];

	if (normalize_check(text, n, err) != 0)
		return -1;
	out->n = out->unknown = 0;
	out->truncated = false;
	normalize_init(&words, prefix, strlen(prefix));
	normalize_then(&words, text, n);
	while (normalize_next(&words)) {
		size_t k = cut(w, ids, &words);
		size_t room = out->cap - out->n;
		if (k > room) {
			k = room;
			out->truncated = true;
		}
		if (k > 0)
			memcpy(out->ids + out->n, ids, k * sizeof *ids);
		for (size_t i = 0; i < k; i++)
			out->unknown += ids[i] == w->unknown_id;
		out->n += k;
		if (out->truncated)
			break;
	}
	return 0;
}

size_t
wordpiece_count(const struct wordpiece *w, const struct normalize *words)
{
	uint32_t ids[NORMALIZE_WORD_CHARS_MAX];

	return cut(w, ids, words);
}
