#include "base/bytes.h"
#include "index/distance_kernels.h"

/* The definition, word by word; what every other kernel is held to. */

static uint32_t
popcount(uint32_t x)
{
	x -= x >> 1 & 0x55555555u;
	x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
	x = (x + (x >> 4)) & 0x0F0F0F0Fu;
	return x * 0x01010101u >> 24;
}

static void
hamming(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks)
{
	const size_t words = distance_words(q->shape);

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		uint32_t h[DISTANCE_ROWS] = {0};
		for (size_t w = 0; w < words; w++)
			for (size_t r = 0; r < DISTANCE_ROWS; r++, blocks += 4)
				h[r] += popcount(
				    (bytes_get32le(blocks) ^ q->words[w]) & q->mask);
		for (size_t r = 0; r < DISTANCE_ROWS; r++)
			dots[r] = (int32_t)(q->shape.dims - 2 * h[r]);
	}
}

/* Inlined with a constant field. */
static inline __attribute__((always_inline)) void
dot(int32_t *dots, const struct distance_query *q, const uint8_t *blocks,
    size_t n_blocks, unsigned field)
{
	const size_t words = distance_words(q->shape);
	const uint32_t mask = q->mask & ((1u << field) - 1);

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		int32_t sum[DISTANCE_ROWS] = {0};
		const int8_t *k = q->values;
		for (size_t w = 0; w < words; w++, k += 32 / field)
			for (size_t r = 0; r < DISTANCE_ROWS; r++, blocks += 4)
				for (unsigned i = 0; i < 32 / field; i++) {
					unsigned byte = blocks[i % 4];
					unsigned shift = field * (i / 4);
					sum[r] +=
					    k[i] * (int32_t)(byte >> shift & mask);
				}
		for (size_t r = 0; r < DISTANCE_ROWS; r++)
			dots[r] = 2 * sum[r] - q->bias;
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

static bool
reach(uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least)
{
	unsigned any = 0;

	for (size_t b = 0; b < n_blocks; b++) {
		unsigned bits = 0;
		for (size_t r = 0; r < DISTANCE_ROWS; r++)
			bits |= (unsigned)(dots[b * DISTANCE_ROWS + r] >= least) << r;
		reached[b] = (uint16_t)bits;
		any |= bits;
	}
	return any != 0;
}

bool
distance_scalar_reach_at(uint16_t *reached, const int32_t *dots, size_t n_blocks,
    const struct distance_query *q, const struct distance_rows *rows, float least)
{
	unsigned any = 0;

	for (size_t b = 0; b < n_blocks; b++) {
		unsigned bits = 0;
		for (size_t r = 0; r < DISTANCE_ROWS; r++) {
			size_t row = b * DISTANCE_ROWS + r;
			float score = distance_score(dots[row], q, rows, row);
			bits |= (unsigned)(score >= least) << r;
		}
		reached[b] = (uint16_t)bits;
		any |= bits;
	}
	return any != 0;
}

size_t
distance_scalar_batch_least(const struct distance_query *like)
{
	(void)like;
	return SIZE_MAX;
}

size_t
distance_scalar_batch_bytes(const struct distance_query *like, size_t n)
{
	(void)like;
	(void)n;
	return 0;
}

void
distance_scalar_batch_prepare(const struct distance_batch *batch)
{
	(void)batch;
}

void
distance_scalar_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work)
{
	(void)work;
	for (size_t i = 0; i < batch->n; i++, dots += stride)
		distance_dots(
		    &distance_scalar, dots, batch->queries[i], blocks, n_blocks);
}

const struct distance_kernel distance_scalar = {
    .level = CPU_SCALAR,
    .name = "scalar",
    .hamming = hamming,
    .dot1 = dot1,
    .dot2 = dot2,
    .dot4 = dot4,
    .reach = reach,
    .reach_at = distance_scalar_reach_at,
    .batch_least = distance_scalar_batch_least,
    .batch_bytes = distance_scalar_batch_bytes,
    .batch_prepare = distance_scalar_batch_prepare,
    .batch_dots = distance_scalar_batch_dots,
};
