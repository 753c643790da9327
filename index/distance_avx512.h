#ifndef INDEX_DISTANCE_AVX512_H
#define INDEX_DISTANCE_AVX512_H

#include <immintrin.h>

#include "index/distance_kernels.h"

/*
 * Levels unpacked for a batch on AVX-512 and AMX: a line of 64 bytes is a unit, 4
 * dimensions of each of a block's 16 rows, which lie as in the packed line.  They are
 * kept doubled, 2 c <= 30, and sums of them begin at minus the query's bias: what comes
 * out is dots as they are wanted, 2 sum k c - bias.
 *
 * The dims of one block are `groups` units of each of its lines, in order.
 */

/* How lines are unpacked: group g by turning the words right, `turn[g]` bits, and a
 * mask.  What comes over from a neighbouring byte is masked away. */
struct distance_turns {
	__m512i turn[8]; /* (8 / field) */
	__m512i mask;
};

/* For int8 and sdc the levels of the planes that are read, for hamming plane 0. */
static inline struct distance_turns
distance_turns(const struct distance_query *q)
{
	const unsigned field = distance_field(q->shape.bits);
	const unsigned down = q->kind == DISTANCE_HAMMING ? q->shape.bits - 1 : 0;
	const uint32_t mask = (q->mask & ((1u << field) - 1)) >> down << 1;
	struct distance_turns turns;

	for (unsigned g = 0; g < 8; g++)
		turns.turn[g] = _mm512_set1_epi32((int)((field * g + down + 31) % 32));
	turns.mask = _mm512_set1_epi8((char)mask);
	return turns;
}

/* levels (8 / field lines, `apart` bytes from one to the next) := those of a line. */
static inline __attribute__((always_inline)) void
distance_unpack_line(uint8_t *levels, size_t apart, const uint8_t *line,
    const struct distance_turns *turns, unsigned field)
{
	const __m512i x = _mm512_load_si512(line);

#pragma GCC unroll 8
	for (unsigned g = 0; g < 8 / field; g++) {
		__m512i c = _mm512_rorv_epi32(x, turns->turn[g]);
		_mm512_store_si512(
		    levels + g * apart, _mm512_and_si512(c, turns->mask));
	}
}

#endif /* INDEX_DISTANCE_AVX512_H */
