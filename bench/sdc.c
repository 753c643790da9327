#include "bench/sdc.h"

#include <string.h>

void
sdc_query(struct sdc_query *q, const uint8_t *levels, struct sdc_shape shape)
{
	int top = (1 << shape.bits) - 1;
	size_t dims = 4 / shape.bits; /* of a table */

	*q = (struct sdc_query){.shape = shape,
	    .n_tables = shape.dims / dims,
	    .most = (int)dims * top * top};
	for (size_t t = 0; t < q->n_tables; t++)
		for (int bits = 0; bits < 16; bits++) {
			int sum = 0;
			for (size_t i = 0; i < dims; i++) {
				int c = bits >> (i * shape.bits) & top;
				sum += (2 * c - top) * (2 * levels[t * dims + i] - top);
			}
			q->tables[t][bits] = (uint8_t)((sum + q->most) / 2);
		}
	for (unsigned p = 0; p < shape.bits; p++)
		for (size_t i = 0; i < shape.dims; i++)
			q->planes[p * (shape.dims / 64) + i / 64] |=
			    (uint64_t)(levels[i] >> (shape.bits - 1 - p) & 1)
			    << (i % 64);
}

void
sdc_pack_tables(
    uint8_t *blocks, const uint8_t *levels, size_t n, struct sdc_shape shape)
{
	size_t bytes = shape.dims * shape.bits / 8, dims = 8 / shape.bits;

	for (size_t r = 0; r < n; r++, levels += shape.dims) {
		uint8_t *block = blocks + r / SDC_BLOCK * sdc_block_bytes(shape);
		for (size_t b = 0; b < bytes; b++) {
			unsigned byte = 0;
			for (size_t i = 0; i < dims; i++)
				byte |= (unsigned)levels[b * dims + i]
					<< (i * shape.bits);
			block[b * SDC_BLOCK + r % SDC_BLOCK] = (uint8_t)byte;
		}
	}
}

void
sdc_pack_planes(
    uint8_t *blocks, const uint8_t *levels, size_t n, struct sdc_shape shape)
{
	size_t words = shape.dims / 64 * shape.bits;

	for (size_t r = 0; r < n; r++, levels += shape.dims) {
		uint8_t *group = blocks + r / 8 * 8 * words * 8;
		for (size_t w = 0; w < words; w++) {
			uint64_t word = 0;
			unsigned shift = shape.bits - 1 - (unsigned)(w % shape.bits);
			for (size_t i = 0; i < 64; i++)
				word |= (uint64_t)(levels[w / shape.bits * 64 + i] >>
						       shift &
						   1)
					<< i;
			memcpy(group + w * 64 + r % 8 * 8, &word, 8);
		}
	}
}
