#include "index/row_set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct row_set *
row_set_new(uint32_t n_slots, struct error *err)
{
	size_t n_chunks = ((size_t)n_slots + STORE_CHUNK_ROWS - 1) / STORE_CHUNK_ROWS;
	struct row_set *set = array_new(1, sizeof *set);

	if (!set)
		goto fail;
	set->n_slots = n_slots;
	set->n_words = n_chunks * STORE_CHUNK_BLOCKS;
	set->words = array_new_aligned(set->n_words, sizeof *set->words);
	if (!set->words)
		goto fail;
	return set;
fail:
	row_set_free(set);
	error_set(err, ERR_MEMORY, "out of memory for a set of %u rows", n_slots);
	return NULL;
}

#define AHEAD 8 /* chunks that are fetched: each lies elsewhere */

static void
fetch_live(const struct store_chunk *chunk)
{
	const uint8_t *live = (const uint8_t *)chunk->live;

	for (size_t at = 0; at < sizeof chunk->live; at += 64)
		__builtin_prefetch(live + at);
	__builtin_prefetch(live + sizeof chunk->live - 1);
}

static void
add_live(uint16_t words[STORE_CHUNK_BLOCKS], const struct store_chunk *chunk)
{
	for (size_t w = 0; w < STORE_CHUNK_BLOCKS; w++)
		words[w] |= chunk->live[w];
}

struct row_set *
row_set_live(const struct store_snapshot *snapshot, struct error *err)
{
	struct row_set *set = row_set_new(snapshot->n_slots, err);

	for (size_t p = 0; set && p < snapshot->n_parts; p++) {
		struct store_chunk *const *chunks = snapshot->parts[p].chunks;
		const size_t n = set->n_words / STORE_CHUNK_BLOCKS;
		for (size_t c = 0; c < n; c++) {
			if (c + AHEAD < n && chunks[c + AHEAD])
				fetch_live(chunks[c + AHEAD]);
			if (chunks[c])
				add_live(
				    set->words + c * STORE_CHUNK_BLOCKS, chunks[c]);
		}
	}
	return set;
}

void
row_set_free(struct row_set *set)
{
	if (!set)
		return;
	free(set->words);
	free(set);
}

void
row_set_clear(struct row_set *set)
{
	memset(set->words, 0, set->n_words * sizeof *set->words);
}

void
row_set_copy(struct row_set *set, const struct row_set *other)
{
	assert(set->n_slots == other->n_slots);
	memcpy(set->words, other->words, set->n_words * sizeof *set->words);
}

void
row_set_and(struct row_set *set, const struct row_set *other)
{
	assert(set->n_slots == other->n_slots);
#pragma omp simd
	for (size_t w = 0; w < set->n_words; w++)
		set->words[w] &= other->words[w];
}

void
row_set_or(struct row_set *set, const struct row_set *other)
{
	assert(set->n_slots == other->n_slots);
#pragma omp simd
	for (size_t w = 0; w < set->n_words; w++)
		set->words[w] |= other->words[w];
}

void
row_set_and_not(struct row_set *set, const struct row_set *other)
{
	assert(set->n_slots == other->n_slots);
#pragma omp simd
	for (size_t w = 0; w < set->n_words; w++)
		set->words[w] &= (uint16_t)~other->words[w];
}

size_t
row_set_count(const struct row_set *set)
{
	size_t n = 0;

	for (size_t w = 0; w < set->n_words; w++)
		n += (size_t)__builtin_popcount(set->words[w]);
	return n;
}

size_t
row_set_count_to(const struct row_set *set, size_t most)
{
	size_t n = 0;
	uint64_t words;

	/* Whole chunks: a multiple of four words. */
	for (size_t w = 0; w < set->n_words && n < most; w += 4) {
		memcpy(&words, set->words + w, sizeof words);
		if (words)
			n += (size_t)__builtin_popcountll(words);
	}
	return n < most ? n : most;
}

bool
row_set_next(const struct row_set *set, uint32_t *slot)
{
	size_t w = *slot / 16;
	unsigned word = w < set->n_words ? set->words[w] & 0xFFFFu << *slot % 16 : 0;

	while (word == 0 && ++w < set->n_words)
		word = set->words[w];
	if (word == 0)
		return false;
	*slot = (uint32_t)(16 * w) + (uint32_t)__builtin_ctz(word);
	return true;
}
