#include "index/distance_kernels.h"

#if defined(__x86_64__)
#include <stdbool.h>

#include "base/amx.h"
#include "index/distance_avx512.h"

/*
 * Batches of queries by tiles: registers of up to 16 rows of 64 bytes.  A product adds
 * to a tile of sums (queries, a block's 16 rows) that of 64 signed bytes of the queries
 * with 64 levels of the rows, which are 16 unpacked lines as they lie.  Sums begin at
 * minus the query's bias and levels are doubled (index/distance_avx512.h): a tile ends
 * as dots and is stored as such.  A Hamming distance is the product of signs: of a
 * query of +1 and -1 with plane 0.
 *
 * Four tiles of sums, of two tiles of queries and two blocks, so that each operand is
 * used twice: loads then take half the time of products.  While one step of 64
 * dimensions is multiplied, the lines of the step after the next are unpacked, by units
 * that the products leave idle; a tile load right behind the stores that it reads
 * would wait for them.  Only the first two tiles of queries have the lines unpacked:
 * where there are more, a ring keeps the steps of two blocks for them.
 *
 * Tiles are configured once a call (attention/linear_amx.c says why they are not
 * released).  This code has only been run with emulated tiles.
 */
#define INLINE static inline __attribute__((always_inline))
#define TILE 1024 /* bytes */
#define STEP 64   /* dimensions */
#define ROWS 16   /* queries in a tile, at most */
#define AHEAD 2   /* steps */

/* tile c += a b, of signed a and unsigned b */
#define TILE_PRODUCT(c, a, b) \
	__asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

/* The queries in an even number of tiles, of as many rows each: the last ones begin
 * early where they would otherwise go past the end, and do some queries again. */
struct tiles {
	size_t n, rows;
};

static struct tiles
tiles_of(size_t n_queries)
{
	struct tiles t = {.n = (n_queries + 2 * ROWS - 1) / (2 * ROWS) * 2};

	t.rows = (n_queries + t.n - 1) / t.n;
	return t;
}

/* The first query of tile t. */
static size_t
first_of(const struct tiles *tiles, size_t t, size_t n_queries)
{
	const size_t first = t * tiles->rows, last = n_queries - tiles->rows;

	return first < last ? first : last;
}

/* What is prepared: of each tile where its sums begin, (rows, 16) integers, and then
 * its steps, (rows, 64) bytes each. */
static size_t
tile_bytes(const struct tiles *tiles, size_t dims)
{
	return tiles->rows * 64 * (1 + dims / STEP);
}

/* As instructions count (unmeasured): of fewer, loads take longer than what they are
 * loaded for. */
static size_t
batch_least(const struct distance_query *like)
{
	(void)like;
	return 3;
}

static size_t
batch_bytes(const struct distance_query *like, size_t n)
{
	const struct tiles tiles = tiles_of(n);

	return tiles.n * tile_bytes(&tiles, like->shape.dims);
}

/* The signed byte of a dimension. */
static int8_t
value_of(const struct distance_query *q, size_t dim)
{
	const unsigned field = distance_field(q->shape.bits);
	const size_t group = dim % (32 / field) / 4;
	const size_t bit = 8 * (dim % 4) + field * group + q->shape.bits - 1;

	if (q->kind != DISTANCE_HAMMING)
		return q->values[dim];
	return q->words[dim * field / 32] >> bit & 1 ? 1 : -1;
}

static void
batch_prepare(const struct distance_batch *batch)
{
	const struct tiles tiles = tiles_of(batch->n);
	const size_t dims = batch->queries[0]->shape.dims;

	for (size_t t = 0; t < tiles.n; t++) {
		uint8_t *tile =
		    (uint8_t *)batch->prepared + t * tile_bytes(&tiles, dims);
		for (size_t r = 0; r < tiles.rows; r++) {
			const struct distance_query *q =
			    batch->queries[first_of(&tiles, t, batch->n) + r];
			int32_t *begin = (int32_t *)(tile + 64 * r);
			int8_t *k = (int8_t *)(tile + 64 * tiles.rows + 64 * r);
			int32_t sum = 0;
			for (size_t i = 0; i < dims; i++) {
				int8_t value = value_of(q, i);
				k[i / STEP * 64 * tiles.rows + i % STEP] = value;
				sum += value;
			}
			if (q->kind != DISTANCE_HAMMING)
				sum = q->bias;
			for (size_t i = 0; i < DISTANCE_ROWS; i++)
				begin[i] = -sum;
		}
	}
}

/* Tiles 0 .. 3 are of sums, 4 and 5 of queries, 6 and 7 of lines. */
static void
configure(size_t rows)
{
	uint8_t of[8];

	for (size_t t = 0; t < 8; t++)
		of[t] = (uint8_t)(t < 6 ? rows : 16);
	amx_configure(of);
}

/* The lines that are unpacked next: those of step k of two blocks. */
struct reader {
	const uint8_t *blocks;
	size_t n_blocks, block_bytes, steps;
	size_t block, k;
	struct distance_turns turns;
};

/* The lines of the step's part 0 .. 3: half of a block's, into half of a tile.  Of a
 * block that is not there, those of the one before. */
INLINE void
read_part(uint8_t *tiles, const struct reader *reader, unsigned part, unsigned field)
{
	const unsigned second = part / 2, half = part % 2;
	const size_t block =
	    reader->block + (reader->block + 1 < reader->n_blocks ? second : 0);
	const uint8_t *lines = reader->blocks + block * reader->block_bytes +
			       (2 * reader->k + half) * field * 64;

	tiles += second * TILE + half * TILE / 2;
#pragma GCC unroll 4
	for (unsigned l = 0; l < field; l++)
		distance_unpack_line(tiles + l * (8 / field) * 64, 64, lines + l * 64,
		    &reader->turns, field);
}

INLINE void
advance(struct reader *reader)
{
	if (++reader->k == reader->steps) {
		reader->k = 0;
		reader->block += 2;
	}
}

/* One step of two tiles of queries (from one to the other `apart` bytes) and of two
 * blocks, and the unpacking of another one where `ahead` is given. */
INLINE void
step(const uint8_t *queries, size_t apart, const uint8_t *lines, uint8_t *ahead,
    const struct reader *reader, unsigned field, const bool unpacking)
{
	AMX_LOAD(4, queries, 64);
	AMX_LOAD(6, lines, 64);
	TILE_PRODUCT(0, 4, 6);
	if (unpacking)
		read_part(ahead, reader, 0, field);
	AMX_LOAD(7, lines + TILE, 64);
	TILE_PRODUCT(1, 4, 7);
	if (unpacking)
		read_part(ahead, reader, 1, field);
	AMX_LOAD(5, queries + apart, 64);
	TILE_PRODUCT(2, 5, 6);
	if (unpacking)
		read_part(ahead, reader, 2, field);
	TILE_PRODUCT(3, 5, 7);
	if (unpacking)
		read_part(ahead, reader, 3, field);
}

/* Where two tiles of queries begin among the dots. */
INLINE void
store_sums(int32_t *dots0, int32_t *dots1, size_t stride, bool both)
{
	AMX_STORE(0, dots0, stride * sizeof *dots0);
	AMX_STORE(2, dots1, stride * sizeof *dots1);
	if (both) {
		AMX_STORE(1, dots0 + DISTANCE_ROWS, stride * sizeof *dots0);
		AMX_STORE(3, dots1 + DISTANCE_ROWS, stride * sizeof *dots1);
	}
}

/* The next of the ring's slots. */
INLINE size_t
next_of(size_t slot, size_t slots)
{
	return slot + 1 < slots ? slot + 1 : 0;
}

INLINE void
products(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, uint8_t *ring, unsigned field)
{
	const struct distance_query *q = batch->queries[0];
	const struct tiles tiles = tiles_of(batch->n);
	const size_t steps = q->shape.dims / STEP;
	const size_t apart = tile_bytes(&tiles, q->shape.dims);
	const size_t slots = tiles.n > 2 ? steps + AHEAD : AHEAD + 1;
	struct reader reader = {blocks, n_blocks, distance_block_bytes(q->shape), steps,
	    0, 0, distance_turns(q)};
	size_t base = 0, write = 0;

	configure(tiles.rows);
	for (; write < AHEAD && reader.block < n_blocks; write++) {
#pragma GCC unroll 4
		for (unsigned part = 0; part < 4; part++)
			read_part(ring + write * 2 * TILE, &reader, part, field);
		advance(&reader);
	}
	for (size_t b = 0; b < n_blocks; b += 2) {
		size_t slot = base;
		for (size_t t = 0; t < tiles.n; t += 2) {
			const uint8_t *at = (uint8_t *)batch->prepared + t * apart;
			slot = base;
			AMX_LOAD(0, at, 64);
			AMX_LOAD(1, at, 64);
			AMX_LOAD(2, at + apart, 64);
			AMX_LOAD(3, at + apart, 64);
			at += 64 * tiles.rows;
			for (size_t k = 0; k < steps; k++, at += 64 * tiles.rows) {
				const uint8_t *lines = ring + slot * 2 * TILE;
				uint8_t *ahead = ring + write * 2 * TILE;
				slot = next_of(slot, slots);
				if (t > 0 || reader.block >= n_blocks) {
					step(at, apart, lines, ahead, &reader, field,
					    false);
					continue;
				}
				step(at, apart, lines, ahead, &reader, field, true);
				advance(&reader);
				write = next_of(write, slots);
			}
			store_sums(dots + first_of(&tiles, t, batch->n) * stride +
				       b * DISTANCE_ROWS,
			    dots + first_of(&tiles, t + 1, batch->n) * stride +
				b * DISTANCE_ROWS,
			    stride, b + 1 < n_blocks);
		}
		base = slot;
	}
}

static void
batch_dots(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, void *work)
{
	const uint32_t field = distance_field(batch->queries[0]->shape.bits);

	if (field == 1)
		products(dots, stride, batch, blocks, n_blocks, work, 1);
	else if (field == 2)
		products(dots, stride, batch, blocks, n_blocks, work, 2);
	else
		products(dots, stride, batch, blocks, n_blocks, work, 4);
}

const struct distance_kernel distance_amx = {
    .level = CPU_AMX,
    .name = "amx",
    .hamming = distance_avx512_hamming,
    .dot1 = distance_avx512_dot1,
    .dot2 = distance_avx512_dot2,
    .dot4 = distance_avx512_dot4,
    .reach = distance_avx512_reach,
    .reach_at = distance_avx2_reach_at,
    .batch_least = batch_least,
    .batch_bytes = batch_bytes,
    .batch_prepare = batch_prepare,
    .batch_dots = batch_dots,
};

#endif /* __x86_64__ */
