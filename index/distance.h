#ifndef INDEX_DISTANCE_H
#define INDEX_DISTANCE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/cpu.h"
#include "base/heap.h"

/*
 * Distances from one prepared query to many stored codes, and the choice of the
 * rows that matter.
 *
 * Codes are scanned in *blocks* of DISTANCE_ROWS rows.  A row is its levels packed
 * into fields of 1, 2 or 4 bits (3-bit levels sit in 4-bit fields) in 32-bit words;
 * word w of row r is at block + 64 * w + 4 * r, so one 64-byte line holds word w of
 * all 16 rows and a vector lane is a row:
 *
 *     block +   0:  | row 0 word 0 | row 1 word 0 | ... | row 15 word 0 |
 *     block +  64:  | row 0 word 1 | row 1 word 1 | ... | row 15 word 1 |
 *     ...
 *
 *     a word of F-bit fields (little-endian; 32 / F dimensions, 4 to a group g):
 *     the level of dimension (32 / F) * w + 4 * g + b sits in byte b,
 *     bits F * g .. F * g + F - 1
 *
 * so (word >> F * g) & mask is 4 consecutive levels as 4 bytes, which meet 4
 * consecutive signed bytes of the query (docs/formats.md draws it).
 *
 * A result is an exact integer.  With levels c, query bytes k and top = 2^bits - 1:
 *     int8, sdc:  dot = sum_i k_i (2 c_i - top)       (of whole codes)
 *                 dot = 2^(bits-planes) sum_i k_i (2 (c_i >> (bits-planes)) -
 *                       (2^planes - 1))               (of the first planes of codes)
 *     hamming:    dot = dims - 2 * (differing bits of plane 0)
 * and the score of a row is a float computed in this order on every machine:
 *     int8, sdc, dot:     score = base + factor * (scale * (float)dot)
 *       at centres:       score = base + factor * (at + scale * (float)dot)
 *     int8, sdc, euclid:  score = 2 * (the above) - norm2
 *     hamming:            score = (float)dot / (float)dims
 * Higher is better.  Every kernel gives the same integers and the same float bits.
 *
 * Nothing here allocates or fails; a broken precondition is a bug.  Any thread may
 * call, any number at once.  No kernel reads outside the blocks it is given.
 *
 * Source: symmetric distance (SDC) of Gan et al., arXiv:2302.08714, as integers
 * (base/code.h); the blocks are the VNNI layout measured in docs/formats.md.
 */
#define DISTANCE_ROWS 16

enum distance_kind { DISTANCE_HAMMING, DISTANCE_SDC, DISTANCE_INT8 };
enum distance_metric { DISTANCE_DOT, DISTANCE_EUCLID };

/* Bits of a field in memory: 1, 2, 4, 4 for codes of 1, 2, 3, 4 bits. */
static inline uint32_t
distance_field(uint32_t bits)
{
	return bits == 3 ? 4 : bits;
}

/* 32-bit words of a row. */
static inline size_t
distance_words(struct code_shape shape)
{
	return (size_t)shape.dims * distance_field(shape.bits) / 32;
}

/* Bytes of a block of DISTANCE_ROWS rows. */
static inline size_t
distance_block_bytes(struct code_shape shape)
{
	return distance_words(shape) * 4 * DISTANCE_ROWS;
}

/* Row `row` (0 .. 15) of the block := the wire code (code_bytes, base/code.h). */
void distance_pack(
    uint8_t *block, size_t row, const uint8_t *wire, struct code_shape shape);

/* The planes of wire := row `row` of the block. */
void distance_unpack(
    uint8_t *wire, const uint8_t *block, size_t row, struct code_shape shape);

/* What turns the integer into a score, apart from the query's own scale. */
struct distance_terms {
	enum distance_metric metric;
	float base;  /* <q, mu>: zero where the binarizer has no mean */
	float norm2; /* |q|^2, for euclid alone: see distance_report */
	/* (shape.centres): <q, c>; copied when a query is made.  Not read without
	 * centres. */
	const float *bases;
};

/* A query made ready for one shape of codes: plain memory, copied freely. */
struct distance_query {
	union {
		_Alignas(64) int8_t values[CODE_DIMS_MAX]; /* int8, sdc: k */
		uint32_t words[CODE_DIMS_MAX / 8]; /* hamming: packed, plane 0 alone */
	};
	enum distance_kind kind;
	struct code_shape shape; /* of the stored codes */
	uint32_t mask; /* the bits that count, of every field: hamming: plane 0;
			  int8, sdc: the planes that are read */
	int32_t bias;  /* int8, sdc: top * sum k, so dot = 2 sum k c - bias */
	float scale;   /* score per unit of dot */
	struct distance_terms terms; /* without its bases */
	float bases[CODE_CENTRES_MAX];
};

/* *q := the query whose vector is scale * values (shape.dims signed bytes, already
 * in the coordinates of the codes). */
void distance_query_int8(struct distance_query *q, const int8_t *values, float scale,
    struct code_shape shape, struct distance_terms terms);

/* *q := the query whose vector is factor * v(levels): a code of the same shape,
 * coded without the mean. */
void distance_query_sdc(struct distance_query *q, const uint8_t *levels, float factor,
    struct code_shape shape, struct distance_terms terms);

/* Let q (int8, sdc) read the first `planes` (1 .. shape.bits) planes of the codes
 * alone: of each level its highest bits, worth what they are worth in the whole level.
 * The other bits are passed over, not skipped: it takes as long.  A hamming query reads
 * plane 0 anyway. */
void distance_query_planes(struct distance_query *q, uint32_t planes);

/* *q := plane 0 of the code with these levels (shape.dims, each < 2^shape.bits); of a
 * shape without centres, beside which a sign says little. */
void distance_query_hamming(
    struct distance_query *q, const uint8_t *levels, struct code_shape shape);

/* The score to tell the user: the hit's own for dot and hamming; for euclid the
 * distance sqrt(max(0, norm2 - score)), of which smaller is better. */
float distance_report(const struct distance_query *q, float score);

/* What belongs to the rows of consecutive blocks. */
struct distance_rows {
	const uint16_t *live; /* one word a block: bit r set if row r is there */
	const float *factor;  /* one a row, 64-byte aligned; not read for hamming */
	const float *norm2;   /* one a row, 64-byte aligned; read for euclid alone */
	const struct code_place *place; /* one a row: at = share * bases[centre]; NULL:
					   no centres; not read for hamming */
};

/* Between what the numbers of a chunk's rows lie.  They only widen. */
struct distance_bounds {
	float factor_min, factor_max;
	float norm2_min;
};
#define DISTANCE_BOUNDS_NONE                  \
	{                                     \
		INFINITY, -INFINITY, INFINITY \
	} /* of no rows */

/* Queries that meet codes together, all of one kind, shape and mask. */
struct distance_batch {
	const struct distance_query **queries; /* (n) */
	size_t n;
	void *prepared; /* batch_bytes of the kernel, 64-byte aligned */
};
#define DISTANCE_BATCH_BLOCKS 8 /* that a batch meets at a time, at most */
#define DISTANCE_WORK_BYTES (DISTANCE_BATCH_BLOCKS * DISTANCE_ROWS * CODE_DIMS_MAX)

/* dots (16 * n_blocks, 64-byte aligned) := the integers of n_blocks consecutive
 * blocks (64-byte aligned), dead rows included. */
typedef void distance_dots_fn(int32_t *dots, const struct distance_query *q,
    const uint8_t *blocks, size_t n_blocks);

struct distance_kernel {
	enum cpu_level level;
	const char *name;
	distance_dots_fn *hamming; /* any field */
	distance_dots_fn *dot1;    /* int8 and sdc over fields of 1, 2, 4 bits */
	distance_dots_fn *dot2;
	distance_dots_fn *dot4;

	/* Whether any row of the blocks has a dot of at least `least`.  Only then
	 * reached (n_blocks): bit r := whether row r of the block does. */
	bool (*reach)(
	    uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least);

	/* The same of rows at centres (int8, sdc), and of their scores. */
	bool (*reach_at)(uint16_t *reached, const int32_t *dots, size_t n_blocks,
	    const struct distance_query *q, const struct distance_rows *rows,
	    float least);

	/* Batches: from how many queries like this one on they pay; the bytes of
	 * batch->prepared for n of them; fill it, once; and dots (batch->n,
	 * 16 * n_blocks), those of a query `stride` (a multiple of 16) behind those of
	 * the one before, 64-byte aligned, := what the functions above give of each
	 * query, n_blocks <= DISTANCE_BATCH_BLOCKS, with DISTANCE_WORK_BYTES of the
	 * thread's, 64-byte aligned. */
	size_t (*batch_least)(const struct distance_query *like);
	size_t (*batch_bytes)(const struct distance_query *like, size_t n);
	void (*batch_prepare)(const struct distance_batch *batch);
	void (*batch_dots)(int32_t *dots, size_t stride,
	    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
	    void *work);
};

/* The kernels of exactly this level; NULL if this build or this processor lacks
 * them.  Does not look at $SIMD. */
const struct distance_kernel *distance_find(enum cpu_level level);

/* The best kernels at or below cpu_ceiling() that agreed with the scalar ones in a
 * self-test at first use; never NULL.  A kernel that fails is logged and skipped. */
const struct distance_kernel *distance_best(void);

/* dots := as distance_dots_fn, with the kernel's function for q. */
static inline void
distance_dots(const struct distance_kernel *kernel, int32_t *dots,
    const struct distance_query *q, const uint8_t *blocks, size_t n_blocks)
{
	distance_dots_fn *const by_field[] = {
	    NULL, kernel->dot1, kernel->dot2, NULL, kernel->dot4};

	if (q->kind == DISTANCE_HAMMING)
		kernel->hamming(dots, q, blocks, n_blocks);
	else
		by_field[distance_field(q->shape.bits)](dots, q, blocks, n_blocks);
}

/* found (room for 16 * n_blocks) := the live rows whose score is at least `least`, rows
 * ascending, with slot = row counted from the first block; returns how many.  A score
 * that is NaN is never found.  Most rows are told apart by their integers alone, by
 * what a row within the bounds must have to reach the score, or at centres by the
 * kernel's own scores; with bounds NULL every live row is scored, which is cheaper for
 * few. */
size_t distance_select(const struct distance_kernel *kernel, struct hit *found,
    const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t n_blocks,
    const struct distance_bounds *bounds, float least);

/* What the integer of a row within the bounds and without a centre must be at least for
 * its score to reach `score`.  No row is lost, a few are let through. */
int32_t distance_least(
    const struct distance_query *q, const struct distance_bounds *bounds, float score);

#endif /* INDEX_DISTANCE_H */
