#ifndef BENCH_SDC_LANES_H
#define BENCH_SDC_LANES_H

#include "bench/sdc.h"

/* Sums by tables in gcc's vectors of SDC_BYTES bytes.  Included by one file a level,
 * which names SDC_TABLE(t), a table in each 16 bytes, and SDC_LOOK(table, x), the
 * table's bytes at x. */
#define PARTS (SDC_BLOCK / SDC_BYTES)

typedef uint8_t bytes __attribute__((vector_size(SDC_BYTES)));
typedef uint16_t words __attribute__((vector_size(SDC_BYTES)));

/* Sums of 16 bits: of all bytes, the odd ones' 256 times, and of the odd ones. */
struct sums {
	words all, odd;
};

static inline void
widen(struct sums *sums, bytes part)
{
	sums->all += (words)part;
	sums->odd += (words)part >> 8;
}

/* Shares are added as bytes for `run` bytes of a code, of two tables each (0: not at
 * all), then as 16 bits.  Inlined with a constant run. */
static inline __attribute__((always_inline)) void
look_up(struct sums sums[PARTS], const struct sdc_query *q, const uint8_t *block,
    size_t run)
{
	const size_t n = q->n_tables / 2;

	for (size_t b = 0; b < n;) {
		size_t end = run == 0 || n - b < run ? n : b + run;
		bytes part[PARTS];
#pragma GCC unroll 2
		for (int p = 0; p < PARTS; p++)
			part[p] = (bytes){0};
		for (; b < end; b++) {
			bytes low = SDC_TABLE(q->tables[2 * b]);
			bytes high = SDC_TABLE(q->tables[2 * b + 1]);
#pragma GCC unroll 2
			for (int p = 0; p < PARTS; p++) {
				bytes x = *(const bytes *)(block + b * SDC_BLOCK +
							   p * SDC_BYTES);
				bytes y = (bytes)((words)x >> 4) & 15;
				x = SDC_LOOK(low, x & 15);
				y = SDC_LOOK(high, y);
				if (run > 0) {
					part[p] += x + y;
				} else {
					widen(&sums[p], x);
					widen(&sums[p], y);
				}
			}
		}
#pragma GCC unroll 2
		for (int p = 0; p < PARTS && run > 0; p++)
			widen(&sums[p], part[p]);
	}
}

static void
tables(int32_t *dots, const struct sdc_query *q, const uint8_t *blocks, size_t n_blocks)
{
	const int32_t bias = (int32_t)q->n_tables * q->most;
	const size_t block_bytes = sdc_block_bytes(q->shape);

	for (size_t n = 0; n < n_blocks; n++, blocks += block_bytes) {
		struct sums sums[PARTS] = {{{0}, {0}}};
		if (q->shape.bits == 1)
			look_up(sums, q, blocks, 31); /* 31 x 2 x 4 < 256 */
		else if (q->shape.bits == 2)
			look_up(sums, q, blocks, 7); /* 7 x 2 x 18 < 256 */
		else
			look_up(sums, q, blocks, 0);
		for (int p = 0; p < PARTS; p++) {
			words even = sums[p].all - (sums[p].odd << 8);
			for (int i = 0; i < SDC_BYTES / 2; i++) {
				*dots++ = 2 * even[i] - bias;
				*dots++ = 2 * sums[p].odd[i] - bias;
			}
		}
	}
}

#endif /* BENCH_SDC_LANES_H */
