#ifndef BENCH_SDC_H
#define BENCH_SDC_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

/*
 * Symmetric distances of coded queries to stored codes in the two ways that the product
 * does not go: by a table in a register, after an idea of binary embedding-based
 * retrieval (arXiv:2302.08714), and bit plane against bit plane.  For bench_sdc alone.
 *
 * A code of `dims` levels c of `bits` bits stands for the odd numbers k = 2 c - top,
 * top = 2^bits - 1; what is wanted of a query and n codes is sum k_i k'_i, exactly.
 */
#define SDC_BLOCK 64 /* codes that lie together */

struct sdc_shape {
	size_t dims;   /* a multiple of 64, dims * bits at most 2048 */
	unsigned bits; /* 1, 2 or 4 */
};

/* Bytes of a block: as many as its codes have, dims * bits / 8 each, in both forms. */
static inline size_t
sdc_block_bytes(struct sdc_shape shape)
{
	return SDC_BLOCK * shape.dims * shape.bits / 8;
}

/* A prepared query. */
struct sdc_query {
	struct sdc_shape shape;
	/* Of 4 bits of a code, the n-th table: (their share of the sum + most) / 2,
	 * most being the largest share there is.  Never more than 225. */
	_Alignas(64) uint8_t tables[512][16];
	size_t n_tables;
	int most;
	/* (bits, dims / 64), coarsest plane first */
	uint64_t planes[32];
};

void sdc_query(struct sdc_query *q, const uint8_t *levels, struct sdc_shape shape);

/* blocks := n codes (n, dims) of levels, n a multiple of SDC_BLOCK.
 *
 * For tables line b of 64 bytes of a block is byte b of its 64 codes, a code being its
 * levels from the low bits of byte 0 on; for planes line w * bits + p holds word w of
 * plane p of 8 codes, and 8 such groups make a block. */
void sdc_pack_tables(
    uint8_t *blocks, const uint8_t *levels, size_t n, struct sdc_shape shape);
void sdc_pack_planes(
    uint8_t *blocks, const uint8_t *levels, size_t n, struct sdc_shape shape);

typedef void sdc_fn(
    int32_t *dots, const struct sdc_query *q, const uint8_t *blocks, size_t n_blocks);

struct sdc_kernel {
	enum cpu_level level;
	sdc_fn *tables;
	sdc_fn *planes;
};

#if defined(__x86_64__)
extern const struct sdc_kernel sdc_avx2;
extern const struct sdc_kernel sdc_avx512;
#endif

#endif /* BENCH_SDC_H */
