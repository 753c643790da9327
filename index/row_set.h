#ifndef INDEX_ROW_SET_H
#define INDEX_ROW_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/store.h"

/*
 * A set of rows: a bit a slot, 16 to a word as the live bits of a chunk
 * (index/store.h), so that a scan takes both together: words STORE_CHUNK_BLOCKS * c
 * and those behind it are of chunk c.
 *
 * Sets that meet in one call are of as many slots.  A set belongs to its owner; many
 * may read.
 */
struct row_set {
	uint32_t n_slots;
	size_t n_words;  /* of whole chunks */
	uint16_t *words; /* 64-byte aligned; bits from n_slots on are 0 */
};

/* An empty set for slots 0 .. n_slots - 1.  ERR_MEMORY. */
struct row_set *row_set_new(uint32_t n_slots, struct error *err);

/* The live rows of a snapshot.  ERR_MEMORY. */
struct row_set *row_set_live(const struct store_snapshot *snapshot, struct error *err);

/* NULL is fine. */
void row_set_free(struct row_set *set);

/* Slots from n_slots on are ignored: who looks at newer data than the set is of knows
 * rows that it does not. */
static inline void
row_set_add(struct row_set *set, uint32_t slot)
{
	if (slot < set->n_slots)
		set->words[slot / 16] |= (uint16_t)(1u << slot % 16);
}

static inline void
row_set_remove(struct row_set *set, uint32_t slot)
{
	if (slot < set->n_slots)
		set->words[slot / 16] &= (uint16_t) ~(1u << slot % 16);
}

static inline bool
row_set_has(const struct row_set *set, uint32_t slot)
{
	return slot < set->n_slots && set->words[slot / 16] >> slot % 16 & 1;
}

/* set := nothing, other, what both have, what either has, what other has not. */
void row_set_clear(struct row_set *set);
void row_set_copy(struct row_set *set, const struct row_set *other);
void row_set_and(struct row_set *set, const struct row_set *other);
void row_set_or(struct row_set *set, const struct row_set *other);
void row_set_and_not(struct row_set *set, const struct row_set *other);

size_t row_set_count(const struct row_set *set);

/* The same, but `most` when that is reached: soon done for few rows or for many. */
size_t row_set_count_to(const struct row_set *set, size_t most);

/* *slot := the first row of the set at or behind *slot; false if there is none.  To
 * walk a set: slot = 0, then while true: slot + 1. */
bool row_set_next(const struct row_set *set, uint32_t *slot);

#endif /* INDEX_ROW_SET_H */
