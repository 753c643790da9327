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

static float
score_of(int32_t dots, const struct distance_query *q, const struct distance_rows *rows,
    size_t row)
{
	if (q->kind == DISTANCE_HAMMING)
		return (float)dots / (float)q->shape.dims;
	float score = q->scale * (float)dots;
	if (rows->at)
		score = rows->at[row] + score;
	score = q->terms.base + rows->factor[row] * score;
	if (q->terms.metric == DISTANCE_EUCLID)
		score = 2.0f * score - rows->norm2[row];
	return score;
}

static size_t
select_rows(struct hit *found, const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t n_blocks, float threshold)
{
	size_t n = 0;

	for (size_t row = 0; row < n_blocks * DISTANCE_ROWS; row++) {
		if (!(rows->live[row / DISTANCE_ROWS] >> row % DISTANCE_ROWS & 1))
			continue;
		float score = score_of(dots[row], q, rows, row);
		if (score >= threshold)
			found[n++] = (struct hit){score, (uint32_t)row};
	}
	return n;
}

const struct distance_kernel distance_scalar = {
    .level = CPU_SCALAR,
    .name = "scalar",
    .hamming = hamming,
    .dot1 = dot1,
    .dot2 = dot2,
    .dot4 = dot4,
    .select = select_rows,
};
