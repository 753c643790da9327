#include "index/distance_kernels.h"

#if defined(__x86_64__)
#include <stdbool.h>

#include "index/distance_avx512.h"

/*
 * Batches of queries on AVX-512: lines that are loaded once, or unpacked once, meet up
 * to GROUP queries, whose words are broadcast from where the queries are: nothing is
 * prepared.
 *
 * Hamming distances take three instructions a line and query, on two ports.  Carry-save
 * adders (Mula, Kurz & Lemire 2018) popcount fewer lines and come to three as well.
 * Products take one vpdpbusd, with two lines to each query's word, so that there are
 * fewer loads than products: 16 sums are enough to hide their latency.
 */
#define INLINE static inline __attribute__((always_inline))
#define GROUP 8 /* queries */

/* dots of a block, of n <= GROUP queries, each `stride` from the one before:
 * dims - 2 h, as twice what is left of dims / 2. */
INLINE void
count(int32_t *dots, size_t stride, const struct distance_query *const *queries,
    const uint8_t *block, unsigned n, bool masked)
{
	const size_t words = distance_words(queries[0]->shape);
	const __m512i mask = _mm512_set1_epi32((int)queries[0]->mask);
	__m512i left[GROUP];

#pragma GCC unroll 8
	for (unsigned i = 0; i < n; i++)
		left[i] = _mm512_set1_epi32((int)queries[0]->shape.dims / 2);
	for (size_t w = 0; w < words; w++) {
		__m512i x = _mm512_load_si512(block + 64 * w);
		if (masked)
			x = _mm512_and_si512(x, mask);
#pragma GCC unroll 8
		for (unsigned i = 0; i < n; i++) {
			__m512i k = _mm512_set1_epi32((int)queries[i]->words[w]);
			__m512i differs = _mm512_xor_si512(x, k);
			left[i] =
			    _mm512_sub_epi32(left[i], _mm512_popcnt_epi32(differs));
		}
	}
#pragma GCC unroll 8
	for (unsigned i = 0; i < n; i++)
		_mm512_store_si512(
		    dots + i * stride, _mm512_add_epi32(left[i], left[i]));
}

/* levels (units, 2) := those of two blocks. */
INLINE void
unpack(uint8_t *levels, const uint8_t *block0, const uint8_t *block1, size_t words,
    const struct distance_turns *turns, unsigned field)
{
	for (size_t w = 0; w < words; w++, levels += 8 / field * 128) {
		distance_unpack_line(levels, 128, block0 + 64 * w, turns, field);
		distance_unpack_line(levels + 64, 128, block1 + 64 * w, turns, field);
	}
}

/* dots of two blocks, the second of which may not be there. */
INLINE void
multiply(int32_t *dots, size_t stride, const struct distance_query *const *queries,
    const uint8_t *levels, bool both, unsigned n)
{
	const size_t units = queries[0]->shape.dims / 4;
	__m512i sum[GROUP][2];

#pragma GCC unroll 8
	for (unsigned i = 0; i < n; i++)
		sum[i][0] = sum[i][1] = _mm512_set1_epi32(-queries[i]->bias);
	for (size_t u = 0; u < units; u++) {
		__m512i c0 = _mm512_load_si512(levels + 128 * u);
		__m512i c1 = _mm512_load_si512(levels + 128 * u + 64);
#pragma GCC unroll 8
		for (unsigned i = 0; i < n; i++) {
			__m512i k = _mm512_set1_epi32((int)queries[i]->words[u]);
			sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], c0, k);
			sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], c1, k);
		}
	}
#pragma GCC unroll 8
	for (unsigned i = 0; i < n; i++) {
		_mm512_store_si512(dots + i * stride, sum[i][0]);
		if (both)
			_mm512_store_si512(
			    dots + i * stride + DISTANCE_ROWS, sum[i][1]);
	}
}

/* How many of the next queries go together. */
static size_t
group_of(size_t left)
{
	return left >= GROUP ? GROUP : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* A block and a group, whose size is a constant where it is inlined. */
INLINE void
count_group(int32_t *dots, size_t stride, const struct distance_query *const *queries,
    const uint8_t *block, size_t n, bool masked)
{
	switch (n) {
	case GROUP:
		count(dots, stride, queries, block, GROUP, masked);
		break;
	case 4:
		count(dots, stride, queries, block, 4, masked);
		break;
	case 2:
		count(dots, stride, queries, block, 2, masked);
		break;
	default:
		count(dots, stride, queries, block, 1, masked);
	}
}

static void
hamming(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks)
{
	const struct distance_query *first = batch->queries[0];
	const size_t block_bytes = distance_block_bytes(first->shape);
	size_t n;

	for (size_t i = 0; i < batch->n; i += n) {
		n = group_of(batch->n - i);
		for (size_t b = 0; b < n_blocks; b++) {
			int32_t *to = dots + i * stride + b * DISTANCE_ROWS;
			const uint8_t *block = blocks + b * block_bytes;
			if (~first->mask)
				count_group(
				    to, stride, batch->queries + i, block, n, true);
			else
				count_group(
				    to, stride, batch->queries + i, block, n, false);
		}
	}
}

static void
multiply_group(int32_t *dots, size_t stride,
    const struct distance_query *const *queries, const uint8_t *levels, bool both,
    size_t n)
{
	switch (n) {
	case GROUP:
		multiply(dots, stride, queries, levels, both, GROUP);
		break;
	case 4:
		multiply(dots, stride, queries, levels, both, 4);
		break;
	case 2:
		multiply(dots, stride, queries, levels, both, 2);
		break;
	default:
		multiply(dots, stride, queries, levels, both, 1);
	}
}

/* Two blocks at a time, whose levels stay in the first-level cache: 16 KiB of 512
 * dimensions. */
INLINE void
products(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, uint8_t *levels, unsigned field)
{
	const struct distance_query *first = batch->queries[0];
	const struct distance_turns turns = distance_turns(first);
	const size_t block_bytes = distance_block_bytes(first->shape);

	for (size_t b = 0; b < n_blocks; b += 2) {
		const bool both = b + 1 < n_blocks;
		const uint8_t *block = blocks + b * block_bytes;
		size_t n;
		unpack(levels, block, both ? block + block_bytes : block,
		    distance_words(first->shape), &turns, field);
		for (size_t i = 0; i < batch->n; i += n) {
			n = group_of(batch->n - i);
			multiply_group(dots + i * stride + b * DISTANCE_ROWS, stride,
			    batch->queries + i, levels, both, n);
		}
	}
}

/* As instructions count (unmeasured): unpacking is to be shared. */
size_t
distance_avx512_batch_least(const struct distance_query *like)
{
	return like->kind == DISTANCE_HAMMING ? 2 : 3;
}

void
distance_avx512_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work)
{
	const struct distance_query *first = batch->queries[0];

	if (first->kind == DISTANCE_HAMMING)
		hamming(dots, stride, batch, blocks, n_blocks);
	else if (first->shape.bits == 1)
		products(dots, stride, batch, blocks, n_blocks, work, 1);
	else if (first->shape.bits == 2)
		products(dots, stride, batch, blocks, n_blocks, work, 2);
	else
		products(dots, stride, batch, blocks, n_blocks, work, 4);
}

#endif /* __x86_64__ */
