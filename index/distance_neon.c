#include "index/distance_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

/*
 * A line is four registers of 4 rows each, and a lane is a row.  Products: 4 levels of
 * a row meet 4 bytes of the query in sdot (levels are small, so that signed is right);
 * they are doubled, and sums begin at minus the bias, so that what comes out is dots as
 * they are wanted.  Hamming distances: udot adds up the counts of a lane's 4 bytes.
 *
 * Batches: each register of codes, unpacked once, meets GROUP queries; their words are
 * loaded into all lanes from where the queries are, so nothing is prepared.
 */
#define INLINE static inline __attribute__((always_inline))
#define PARTS 4 /* registers of a line */
#define GROUP 4 /* queries */

/* dots of a block, of n queries, each `stride` from the one before: dims - 2 h. */
INLINE void
count(int32_t *dots, size_t stride, const struct distance_query *const *queries,
    const uint8_t *block, unsigned n)
{
	const size_t words = distance_words(queries[0]->shape);
	const uint8x16_t mask = vreinterpretq_u8_u32(vdupq_n_u32(queries[0]->mask));
	const int32x4_t dims = vdupq_n_s32((int32_t)queries[0]->shape.dims);
	uint32x4_t h[GROUP][PARTS];

#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			h[i][p] = vdupq_n_u32(0);
	for (size_t w = 0; w < words; w++, block += 64) {
		uint8x16_t x[PARTS];
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			x[p] = vandq_u8(vld1q_u8(block + 16 * p), mask);
#pragma GCC unroll 4
		for (unsigned i = 0; i < n; i++) {
			uint8x16_t k =
			    vreinterpretq_u8_u32(vld1q_dup_u32(&queries[i]->words[w]));
#pragma GCC unroll 4
			for (unsigned p = 0; p < PARTS; p++)
				h[i][p] = vdotq_u32(h[i][p],
				    vcntq_u8(veorq_u8(x[p], k)), vdupq_n_u8(1));
		}
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			vst1q_s32(dots + i * stride + 4 * p,
			    vsubq_s32(
				dims, vshlq_n_s32(vreinterpretq_s32_u32(h[i][p]), 1)));
}

static void
hamming(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	const size_t block_bytes = distance_block_bytes(q->shape);

	for (size_t b = 0; b < n_blocks; b++)
		count(dots + b * DISTANCE_ROWS, 0, &q, blocks + b * block_bytes, 1);
}

/* How levels are unpacked: group g of a word's bytes by a shift to the left, and a
 * mask. */
struct shifts {
	int8x16_t by[8]; /* (8 / field) */
	uint8x16_t mask;
};

static struct shifts
shifts_of(const struct distance_query *q)
{
	const unsigned field = distance_field(q->shape.bits);
	struct shifts shifts;

	for (unsigned g = 0; g < 8; g++) /* of no group: whatever */
		shifts.by[g] = vdupq_n_s8((int8_t)(1 - (int)(field * g)));
	shifts.mask = vdupq_n_u8((uint8_t)((q->mask & ((1u << field) - 1)) << 1));
	return shifts;
}

INLINE int8x16_t
levels_of(uint8x16_t x, const struct shifts *shifts, unsigned g)
{
	return vreinterpretq_s8_u8(vandq_u8(vshlq_u8(x, shifts->by[g]), shifts->mask));
}

/* Four bytes of the query in every lane. */
INLINE int8x16_t
word_of(const struct distance_query *q, size_t u)
{
	return vreinterpretq_s8_u32(vld1q_dup_u32(&q->words[u]));
}

/* One query, whose levels are used as they are unpacked. */
INLINE void
dot(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks, unsigned field)
{
	const size_t words = distance_words(q->shape);
	const struct shifts shifts = shifts_of(q);

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		int32x4_t sum[PARTS];
		size_t u = 0;
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			sum[p] = vdupq_n_s32(-q->bias);
		for (size_t w = 0; w < words; w++, blocks += 64)
#pragma GCC unroll 8
			for (unsigned g = 0; g < 8 / field; g++, u++) {
				int8x16_t k = word_of(q, u);
#pragma GCC unroll 4
				for (unsigned p = 0; p < PARTS; p++) {
					uint8x16_t x = vld1q_u8(blocks + 16 * p);
					sum[p] = vdotq_s32(
					    sum[p], levels_of(x, &shifts, g), k);
				}
			}
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			vst1q_s32(dots + 4 * p, sum[p]);
	}
}

static void
dot1(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 1);
}

static void
dot2(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 2);
}

static void
dot4(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	dot(dots, q, blocks, n_blocks, 4);
}

/* Most often there is none: that is found out first, by the largest. */
static bool
reach(uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least)
{
	static const uint32_t bits[4] = {1, 2, 4, 8};
	const int32x4_t want = vdupq_n_s32(least);
	int32x4_t most[2] = {vld1q_s32(dots), vld1q_s32(dots + 4)};

	for (size_t row = 0; row < n_blocks * DISTANCE_ROWS; row += 8) {
		most[0] = vmaxq_s32(most[0], vld1q_s32(dots + row));
		most[1] = vmaxq_s32(most[1], vld1q_s32(dots + row + 4));
	}
	if (vmaxvq_s32(vmaxq_s32(most[0], most[1])) < least)
		return false;
	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		uint32x4_t found = vdupq_n_u32(0);
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++) {
			uint32x4_t over = vcgeq_s32(vld1q_s32(dots + 4 * p), want);
			uint32x4_t bit =
			    vshlq_u32(vld1q_u32(bits), vdupq_n_s32((int32_t)(4 * p)));
			found = vorrq_u32(found, vandq_u32(over, bit));
		}
		reached[b] = (uint16_t)vaddvq_u32(found);
	}
	return true;
}

/* ---- batches ---- */

/* levels (units, 64) := those of a block. */
static void
unpack(uint8_t *levels, const uint8_t *block, size_t words, const struct shifts *shifts,
    unsigned groups)
{
	for (size_t w = 0; w < words; w++, block += 64)
		for (unsigned g = 0; g < groups; g++, levels += 64)
			for (unsigned p = 0; p < PARTS; p++)
				vst1q_s8((int8_t *)levels + 16 * p,
				    levels_of(vld1q_u8(block + 16 * p), shifts, g));
}

/* dots of the block whose levels these are, of n queries. */
INLINE void
multiply(int32_t *dots, size_t stride, const struct distance_query *const *queries,
    const uint8_t *levels, unsigned n)
{
	const size_t units = queries[0]->shape.dims / 4;
	int32x4_t sum[GROUP][PARTS];

#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			sum[i][p] = vdupq_n_s32(-queries[i]->bias);
	for (size_t u = 0; u < units; u++, levels += 64) {
		int8x16_t c[PARTS];
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			c[p] = vld1q_s8((const int8_t *)levels + 16 * p);
#pragma GCC unroll 4
		for (unsigned i = 0; i < n; i++) {
			int8x16_t k = word_of(queries[i], u);
#pragma GCC unroll 4
			for (unsigned p = 0; p < PARTS; p++)
				sum[i][p] = vdotq_s32(sum[i][p], c[p], k);
		}
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++)
			vst1q_s32(dots + i * stride + 4 * p, sum[i][p]);
}

/* As instructions count (unmeasured): unpacking is to be shared. */
static size_t
batch_least(const struct distance_query *like)
{
	return like->kind == DISTANCE_HAMMING ? 2 : 3;
}

static void
batch_dots(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, void *work)
{
	const struct distance_query *first = batch->queries[0];
	const struct shifts shifts = shifts_of(first);
	const size_t block_bytes = distance_block_bytes(first->shape);
	const bool counts = first->kind == DISTANCE_HAMMING;

	for (size_t b = 0; b < n_blocks; b++, blocks += block_bytes) {
		if (!counts)
			unpack(work, blocks, distance_words(first->shape), &shifts,
			    8 / distance_field(first->shape.bits));
		for (size_t i = 0, n; i < batch->n; i += n) {
			const struct distance_query *const *at = batch->queries + i;
			int32_t *to = dots + i * stride + b * DISTANCE_ROWS;
			n = batch->n - i < GROUP ? 1 : GROUP;
			if (counts && n == GROUP)
				count(to, stride, at, blocks, GROUP);
			else if (counts)
				count(to, stride, at, blocks, 1);
			else if (n == GROUP)
				multiply(to, stride, at, work, GROUP);
			else
				multiply(to, stride, at, work, 1);
		}
	}
}

const struct distance_kernel distance_neon = {
    .level = CPU_NEON,
    .name = "neon",
    .hamming = hamming,
    .dot1 = dot1,
    .dot2 = dot2,
    .dot4 = dot4,
    .reach = reach,
    .reach_at = distance_scalar_reach_at,
    .batch_least = batch_least,
    .batch_bytes = distance_scalar_batch_bytes,
    .batch_prepare = distance_scalar_batch_prepare,
    .batch_dots = batch_dots,
};

#endif /* __aarch64__ */
