#include "index/distance_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * Batches of queries on AVX2, in one of two ways.
 *
 * Tables.  A nibble of a code is one of 16 things, so what it adds to a query's sum is
 * looked up: vpshufb takes 32 rows' nibbles through the query's table of that place.
 * Sums are gathered in bytes and widened before they could overflow.  What a nibble
 * adds, less the least that any can, is an entry; where all of a query's entries are
 * below 32 one table a place holds them, else (1-bit fields, at most 4 * 128 values)
 * two do, of the lowest 5 bits and of the others.  Each is a *stream*; two streams and
 * four registers of rows are done together, so that what is loaded is used twice and
 * four times.  With 4 values to a nibble, a Hamming distance costs two instructions
 * where popcounting costs nine.
 *
 * Products.  Fields of 2 and 4 bits with large values would need more tables than
 * products: levels are unpacked to bytes once for all queries, and two queries meet
 * four registers of them by vpmaddubsw, gathered in 16 bits.
 */
#define INLINE static inline __attribute__((always_inline))

/* 32-byte registers of a place for REGS x 32 rows, in the order that the rows are in
 * after transpose(). */
#define REGS 4

/* Places, and units of products, of a step are a multiple of this, as all of a row are.
 */
#define UNROLL 4

/* Sums are added to as they come: a compiler that turns a chain of additions into a
 * tree runs out of registers.  What is used twice is loaded once. */
#define KEEP(x) __asm__("" : "+x"(x))

/* One table a place of one query. */
struct stream {
	uint32_t query;
	uint32_t shift; /* of its bits in the query's entries */
	int32_t mask;   /* of them, shifted */
	uint32_t step;  /* places until bytes may overflow */
};

struct prepared {
	size_t n_streams; /* 0: products */
	size_t places;    /* nibbles of a row */
	size_t tables_at; /* bytes from here: (n_streams, places, 16) */
	/* behind it: int32_t offsets[n], dots = 2 sum + offset; the streams, in pairs
	 * of one query or of two */
};

/* Nibbles of a row: that of half h of byte b of word w has the place 8 w + 2 b + h. */
static size_t
n_places(struct code_shape shape)
{
	return distance_words(shape) * 8;
}

static int32_t *
offsets_of(const struct distance_batch *batch)
{
	return (int32_t *)((struct prepared *)batch->prepared + 1);
}

static struct stream *
streams_of(const struct distance_batch *batch)
{
	return (struct stream *)(offsets_of(batch) + batch->n);
}

static size_t
round_up(size_t n)
{
	return (n + 63) / 64 * 64;
}

static size_t
head_bytes(size_t n)
{
	return round_up(sizeof(struct prepared) + n * sizeof(int32_t) +
			(2 * n + 1) * sizeof(struct stream));
}

/* As measured (bench_flat): unpacking is to be shared. */
size_t
distance_avx2_batch_least(const struct distance_query *like)
{
	if (like->kind == DISTANCE_HAMMING)
		return 8;
	return like->shape.bits == 1 ? 1 : 3;
}

size_t
distance_avx2_batch_bytes(const struct distance_query *like, size_t n)
{
	return head_bytes(n) + (2 * n + 1) * n_places(like->shape) * 16;
}

/* weights (4) := what each bit of the nibble at a place counts: of Hamming distances
 * whether it agrees, less what it counts as 0. */
static void
weigh(int32_t *weights, const struct distance_query *q, size_t place)
{
	const unsigned field = distance_field(q->shape.bits);
	const size_t w = place / 8, b = place / 2 % 4, h = place % 2;
	const unsigned at = (unsigned)(8 * b + 4 * h);

	for (unsigned i = 0; i < 4; i++) {
		bool counts = q->mask >> (at + i) & 1;
		size_t dim = 32 / field * w + 4 * ((4 * h + i) / field) + b;
		if (!counts)
			weights[i] = 0;
		else if (q->kind == DISTANCE_HAMMING)
			weights[i] = q->words[w] >> (at + i) & 1 ? 1 : -1;
		else
			weights[i] = q->values[dim] * (1 << i % field);
	}
}

/* The largest entry of a query. */
static int32_t
most_of(const struct distance_query *q)
{
	int32_t most = 0;

	for (size_t place = 0; place < n_places(q->shape); place++) {
		int32_t w[4];
		weigh(w, q, place);
		int32_t sum = abs(w[0]) + abs(w[1]) + abs(w[2]) + abs(w[3]);
		most = sum > most ? sum : most;
	}
	return most;
}

/* The largest entry of a query with a table a place, and the bits in the first of two
 * tables: the 8 places of a word fit into a byte. */
#define ONE_TABLE 31
#define LOW_BITS 5

/* Places until bytes may overflow, where an entry of each place is at most `most`
 * (places): the largest ones are seldom together. */
static uint32_t
step_of(const uint8_t *most, size_t places)
{
	for (uint32_t step = UNROLL;; step += UNROLL) {
		uint32_t sum = 0;
		for (size_t place = 0; place < places; place++) {
			sum = (place % (step + UNROLL) == 0 ? 0 : sum) + most[place];
			if (sum > UINT8_MAX)
				return step;
		}
		if (step >= places)
			return step;
	}
}

/* Write the tables of stream s, and the offset of its query. */
static void
fill_tables(const struct distance_batch *batch, size_t s)
{
	struct prepared *p = batch->prepared;
	struct stream *stream = &streams_of(batch)[s];
	const struct distance_query *q = batch->queries[stream->query];
	uint8_t *table = (uint8_t *)p + p->tables_at + s * p->places * 16;
	int32_t entries[16], least = 0;
	uint8_t most[CODE_DIMS_MAX] = {0}; /* of each place, of which are no more */

	for (size_t place = 0; place < p->places; place++, table += 16) {
		int32_t w[4];
		weigh(w, q, place);
		entries[0] = 0;
		for (unsigned i = 0; i < 4; i++)
			entries[0] -= w[i] < 0 ? w[i] : 0;
		least -= entries[0];
		for (unsigned v = 1; v < 16; v++)
			entries[v] = entries[v & (v - 1)] + w[__builtin_ctz(v)];
		for (unsigned v = 0; v < 16; v++) {
			int32_t e = entries[v] >> stream->shift & stream->mask;
			table[v] = (uint8_t)e;
			most[place] = e > most[place] ? (uint8_t)e : most[place];
		}
	}
	stream->step = step_of(most, p->places);
	offsets_of(batch)[stream->query] =
	    q->kind == DISTANCE_HAMMING ? -(int32_t)q->shape.dims : 2 * least - q->bias;
}

void
distance_avx2_batch_prepare(const struct distance_batch *batch)
{
	struct prepared *p = batch->prepared;
	struct stream *streams = streams_of(batch);
	const struct code_shape shape = batch->queries[0]->shape;
	size_t n = 0;

	*p = (struct prepared){
	    .places = n_places(shape), .tables_at = head_bytes(batch->n)};
	if (shape.bits > 2 && batch->queries[0]->kind != DISTANCE_HAMMING)
		return;
	/* Pairs of one query first, then pairs of two. */
	for (int pairs = 1; pairs >= 0; pairs--)
		for (uint32_t i = 0; i < batch->n; i++) {
			const bool small = most_of(batch->queries[i]) <= ONE_TABLE;
			if (!small && shape.bits > 1)
				return;
			if (pairs && !small) {
				streams[n++] =
				    (struct stream){i, 0, (1 << LOW_BITS) - 1, 0};
				streams[n++] = (struct stream){i, LOW_BITS, ~0, 0};
			} else if (!pairs && small) {
				streams[n++] = (struct stream){i, 0, ~0, 0};
			}
		}
	if (n % 2) { /* the last one twice */
		streams[n] = streams[n - 1];
		n++;
	}
	p->n_streams = n;
	for (size_t s = 0; s < n; s++)
		fill_tables(batch, s);
}

/* ---- tables ---- */

/* The four bytes of a word each in a register of its own, of 32 rows:
 *     low half: rows 0-3 8-11 16-19 24-27, high half: 4-7 12-15 20-23 28-31 */
INLINE void
transpose(__m256i *out, const uint8_t *line0, const uint8_t *line1)
{
	const __m256i by_byte = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14,
	    3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m256i a = _mm256_load_si256((const void *)line0);
	__m256i b = _mm256_load_si256((const void *)(line0 + 32));
	__m256i c = _mm256_load_si256((const void *)line1);
	__m256i d = _mm256_load_si256((const void *)(line1 + 32));

	a = _mm256_shuffle_epi8(a, by_byte);
	b = _mm256_shuffle_epi8(b, by_byte);
	c = _mm256_shuffle_epi8(c, by_byte);
	d = _mm256_shuffle_epi8(d, by_byte);
	__m256i ab0 = _mm256_unpacklo_epi32(a, b), ab2 = _mm256_unpackhi_epi32(a, b);
	__m256i cd0 = _mm256_unpacklo_epi32(c, d), cd2 = _mm256_unpackhi_epi32(c, d);
	out[0] = _mm256_unpacklo_epi64(ab0, cd0);
	out[1] = _mm256_unpackhi_epi64(ab0, cd0);
	out[2] = _mm256_unpacklo_epi64(ab2, cd2);
	out[3] = _mm256_unpackhi_epi64(ab2, cd2);
}

/* nibbles (places, REGS) := those of up to 8 blocks; of blocks that are not there those
 * of the last one.  The 8 after them are asked for: they come next. */
static void
unpack_nibbles(__m256i *nibbles, const uint8_t *blocks, size_t n_blocks, size_t words)
{
	const __m256i low = _mm256_set1_epi8(15);
	const size_t next = 2 * REGS * words * 64;

	for (size_t r = 0; r < REGS; r++) {
		size_t b0 = 2 * r, b1 = 2 * r + 1;
		b0 = b0 < n_blocks ? b0 : n_blocks - 1;
		b1 = b1 < n_blocks ? b1 : n_blocks - 1;
		const uint8_t *line0 = blocks + b0 * words * 64;
		const uint8_t *line1 = blocks + b1 * words * 64;
		for (size_t w = 0; w < words; w++, line0 += 64, line1 += 64) {
			__m256i bytes[4];
			__builtin_prefetch(line0 + next);
			__builtin_prefetch(line1 + next);
			transpose(bytes, line0, line1);
#pragma GCC unroll 4
			for (size_t b = 0; b < 4; b++) {
				__m256i *at = nibbles + (8 * w + 2 * b) * REGS + r;
				__m256i high = _mm256_srli_epi16(bytes[b], 4);
				at[0] = _mm256_and_si256(bytes[b], low);
				at[REGS] = _mm256_and_si256(high, low);
			}
		}
	}
}

/* Sums of 32 rows in 16 bits: of the even and of the odd bytes. */
struct wide {
	__m256i even, odd;
};

INLINE void
widen(struct wide *sum, __m256i bytes)
{
	const __m256i low = _mm256_set1_epi16(255);

	sum->even = _mm256_add_epi16(sum->even, _mm256_and_si256(bytes, low));
	sum->odd = _mm256_add_epi16(sum->odd, _mm256_srli_epi16(bytes, 8));
}

INLINE __m256i
table_at(const uint8_t *table)
{
	return _mm256_broadcastsi128_si256(_mm_load_si128((const void *)table));
}

/* sums (2, REGS) := those of two streams. */
INLINE void
look_up(struct wide sums[2][REGS], const uint8_t *tables0, const uint8_t *tables1,
    const __m256i *nibbles, size_t places, size_t step)
{
#pragma GCC unroll 4
	for (size_t r = 0; r < REGS; r++)
		sums[0][r] = sums[1][r] =
		    (struct wide){_mm256_setzero_si256(), _mm256_setzero_si256()};
	for (size_t place = 0; place < places;) {
		size_t end = step < places - place ? place + step : places;
		__m256i s0[REGS], s1[REGS];
#pragma GCC unroll 4
		for (size_t r = 0; r < REGS; r++)
			s0[r] = s1[r] = _mm256_setzero_si256();
		for (; place < end; place += UNROLL, nibbles += UNROLL * REGS) {
#pragma GCC unroll 4
			for (size_t i = 0; i < UNROLL; i++) {
				__m256i t0 = table_at(tables0 + 16 * (place + i));
				__m256i t1 = table_at(tables1 + 16 * (place + i));
#pragma GCC unroll 4
				for (size_t r = 0; r < REGS; r++) {
					__m256i v =
					    _mm256_load_si256(nibbles + REGS * i + r);
					KEEP(v);
					s0[r] = _mm256_add_epi8(
					    s0[r], _mm256_shuffle_epi8(t0, v));
					s1[r] = _mm256_add_epi8(
					    s1[r], _mm256_shuffle_epi8(t1, v));
					KEEP(s0[r]);
					KEEP(s1[r]);
				}
			}
		}
#pragma GCC unroll 4
		for (size_t r = 0; r < REGS; r++) {
			widen(&sums[0][r], s0[r]);
			widen(&sums[1][r], s1[r]);
		}
	}
}

/* sums (2) := those of rows 0-7 and 8-15 of the first block, or of the second. */
INLINE void
in_order(__m256i sums[2], const struct wide *sum, int half)
{
	/* rows 0-3 8-11 | 4-7 12-15 */
	__m256i x = half == 0 ? _mm256_unpacklo_epi16(sum->even, sum->odd)
			      : _mm256_unpackhi_epi16(sum->even, sum->odd);

	sums[0] = _mm256_unpacklo_epi16(x, _mm256_setzero_si256());
	sums[1] = _mm256_unpackhi_epi16(x, _mm256_setzero_si256());
}

/* The dots of the 32 rows of a register, of which the second block may not be there:
 * sums and, where there is a second table, `more` << shift. */
INLINE void
put_rows(int32_t *dots, bool both, const struct wide *sum, const struct wide *more,
    unsigned shift, int32_t offset)
{
	const __m256i o = _mm256_set1_epi32(offset);
	__m256i *at = (void *)dots;

	for (int half = 0; half < (both ? 2 : 1); half++, at += 2) {
		__m256i x[2], y[2];
		in_order(x, sum, half);
		if (more)
			in_order(y, more, half);
#pragma GCC unroll 2
		for (size_t i = 0; i < 2; i++) {
			if (more)
				x[i] = _mm256_add_epi32(
				    x[i], _mm256_slli_epi32(y[i], (int)shift));
			x[i] = _mm256_add_epi32(_mm256_slli_epi32(x[i], 1), o);
			_mm256_store_si256(&at[i], x[i]);
		}
	}
}

static void
tables_dots(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, __m256i *nibbles)
{
	const struct prepared *p = batch->prepared;
	const struct stream *streams = streams_of(batch);
	const uint8_t *tables = (const uint8_t *)p + p->tables_at;
	struct wide sums[2][REGS];

	unpack_nibbles(nibbles, blocks, n_blocks, p->places / 8);
	for (size_t s = 0; s < p->n_streams; s += 2, tables += 2 * 16 * p->places) {
		const struct stream *a = &streams[s], *b = &streams[s + 1];
		const bool one = b->shift > 0; /* both are of one query */
		look_up(sums, tables, tables + 16 * p->places, nibbles, p->places,
		    a->step < b->step ? a->step : b->step);
		for (size_t r = 0; 2 * r < n_blocks; r++) {
			bool both = 2 * r + 1 < n_blocks;
			size_t row = 2 * r * DISTANCE_ROWS;
			int32_t *to = dots + a->query * stride + row;
			int32_t offset = offsets_of(batch)[a->query];
			if (one) {
				put_rows(to, both, &sums[0][r], &sums[1][r], LOW_BITS,
				    offset);
				continue;
			}
			put_rows(to, both, &sums[0][r], NULL, 0, offset);
			put_rows(dots + b->query * stride + row, both, &sums[1][r],
			    NULL, 0, offsets_of(batch)[b->query]);
		}
	}
}

/* sums += those of a word of 32 rows. */
INLINE void
look_up_word(struct wide *sums, const uint8_t *tables, const __m256i bytes[4])
{
	const __m256i low = _mm256_set1_epi8(15);
	__m256i s = _mm256_setzero_si256();

#pragma GCC unroll 4
	for (size_t b = 0; b < 4; b++, tables += 32) {
		__m256i v0 = _mm256_and_si256(bytes[b], low);
		__m256i v1 = _mm256_and_si256(_mm256_srli_epi16(bytes[b], 4), low);
		s = _mm256_add_epi8(s, _mm256_shuffle_epi8(table_at(tables), v0));
		s = _mm256_add_epi8(s, _mm256_shuffle_epi8(table_at(tables + 16), v1));
	}
	widen(sums, s);
}

/* Of one query nibbles are looked up at once.  Inlined with a constant number of
 * tables a place. */
INLINE void
alone_dots(int32_t *dots, const struct distance_batch *batch, const uint8_t *blocks,
    size_t n_blocks, size_t n_tables)
{
	const struct prepared *p = batch->prepared;
	const size_t words = p->places / 8;

	for (size_t b = 0; b < n_blocks; b += 2, dots += 2 * DISTANCE_ROWS) {
		const bool both = b + 1 < n_blocks;
		const uint8_t *line0 = blocks + b * words * 64;
		const uint8_t *line1 = both ? line0 + words * 64 : line0;
		const uint8_t *tables = (const uint8_t *)p + p->tables_at;
		struct wide sums[2] = {0};
		for (size_t w = 0; w < words; w++, line0 += 64, line1 += 64) {
			__m256i bytes[4];
			distance_fetch(line0);
			distance_fetch(line1);
			transpose(bytes, line0, line1);
			look_up_word(&sums[0], tables, bytes);
			if (n_tables == 2)
				look_up_word(&sums[1], tables + 16 * p->places, bytes);
			tables += 8 * 16;
		}
		put_rows(dots, both, &sums[0], n_tables == 2 ? &sums[1] : NULL,
		    LOW_BITS, *offsets_of(batch));
	}
}

/* ---- products ---- */

/* Queries that meet a block together. */
#define QUERIES 4

/* levels (units, 2) := those of a block: unit u holds dimensions 4 u .. 4 u + 3 of its
 * 16 rows, 8 rows a register. */
INLINE void
unpack_levels(__m256i *levels, const uint8_t *block, size_t words, uint32_t q_mask,
    unsigned field)
{
	const __m256i mask = _mm256_set1_epi8((char)(q_mask & ((1u << field) - 1)));
	const unsigned groups = 8 / field;

	for (size_t w = 0; w < words; w++, block += 64, levels += 2 * groups) {
		__m256i x = _mm256_load_si256((const void *)block);
		__m256i y = _mm256_load_si256((const void *)(block + 32));
#pragma GCC unroll 4
		for (unsigned g = 0; g < groups; g++) {
			int by = (int)(field * g);
			levels[2 * g] =
			    _mm256_and_si256(_mm256_srli_epi32(x, by), mask);
			levels[2 * g + 1] =
			    _mm256_and_si256(_mm256_srli_epi32(y, by), mask);
		}
	}
}

/* s (QUERIES, 2) += the queries' products with a unit. */
INLINE void
multiply_unit(
    __m256i s[QUERIES][2], const int32_t *const k[QUERIES], size_t u, const __m256i *c)
{
	__m256i c0 = _mm256_load_si256(c), c1 = _mm256_load_si256(c + 1);

#pragma GCC unroll 4
	for (size_t q = 0; q < QUERIES; q++) {
		__m256i kk = _mm256_set1_epi32(k[q][u]);
		s[q][0] = _mm256_add_epi16(s[q][0], _mm256_maddubs_epi16(c0, kk));
		s[q][1] = _mm256_add_epi16(s[q][1], _mm256_maddubs_epi16(c1, kk));
		KEEP(s[q][0]);
		KEEP(s[q][1]);
	}
}

/* sums (QUERIES, 2) := of a block's rows.  They are 16 bits over `step` units, at most
 * 2 * 15 * 128 = 3840 a unit (4 bits) and 768 (2 bits), then 32 bits. */
INLINE void
multiply(__m256i sums[QUERIES][2], const int32_t *const k[QUERIES],
    const __m256i *levels, size_t units, size_t step)
{
	const __m256i one = _mm256_set1_epi16(1);

#pragma GCC unroll 4
	for (size_t q = 0; q < QUERIES; q++)
		sums[q][0] = sums[q][1] = _mm256_setzero_si256();
	for (size_t u = 0; u < units;) {
		size_t end = step < units - u ? u + step : units;
		__m256i s[QUERIES][2];
#pragma GCC unroll 4
		for (size_t q = 0; q < QUERIES; q++)
			s[q][0] = s[q][1] = _mm256_setzero_si256();
		for (; u < end; u += UNROLL) {
#pragma GCC unroll 4
			for (size_t i = 0; i < UNROLL; i++)
				multiply_unit(s, k, u + i, levels + 2 * (u + i));
		}
#pragma GCC unroll 4
		for (size_t q = 0; q < QUERIES; q++) {
			__m256i w0 = _mm256_madd_epi16(s[q][0], one);
			__m256i w1 = _mm256_madd_epi16(s[q][1], one);
			sums[q][0] = _mm256_add_epi32(sums[q][0], w0);
			sums[q][1] = _mm256_add_epi32(sums[q][1], w1);
		}
	}
}

/* A block of every query; dots of query i begin at i * stride. */
INLINE void
multiply_block(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *block, __m256i *levels, unsigned field)
{
	const struct distance_query *const *queries = batch->queries;
	const struct code_shape shape = queries[0]->shape;
	__m256i sums[QUERIES][2];

	unpack_levels(levels, block, distance_words(shape), queries[0]->mask, field);
	for (size_t i = 0; i < batch->n; i += QUERIES) {
		const size_t n = batch->n - i < QUERIES ? batch->n - i : QUERIES;
		const int32_t *k[QUERIES]; /* the last one again for those missing */
		for (size_t q = 0; q < QUERIES; q++)
			k[q] = (const int32_t *)queries[i + (q < n ? q : n - 1)]->words;
		multiply(sums, k, levels, shape.dims / 4, field == 2 ? 40 : 8);
		for (size_t q = 0; q < n; q++) {
			const __m256i bias = _mm256_set1_epi32(queries[i + q]->bias);
			int32_t *at = dots + (i + q) * stride;
			__m256i x = _mm256_slli_epi32(sums[q][0], 1);
			__m256i y = _mm256_slli_epi32(sums[q][1], 1);
			_mm256_store_si256((void *)at, _mm256_sub_epi32(x, bias));
			_mm256_store_si256((void *)(at + 8), _mm256_sub_epi32(y, bias));
		}
	}
}

static void
products_dots(int32_t *dots, size_t stride, const struct distance_batch *batch,
    const uint8_t *blocks, size_t n_blocks, __m256i *levels)
{
	const struct code_shape shape = batch->queries[0]->shape;

	for (size_t b = 0; b < n_blocks; b++, dots += DISTANCE_ROWS) {
		if (shape.bits == 2)
			multiply_block(dots, stride, batch, blocks, levels, 2);
		else
			multiply_block(dots, stride, batch, blocks, levels, 4);
		blocks += distance_block_bytes(shape);
	}
}

void
distance_avx2_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work)
{
	const struct prepared *p = batch->prepared;

	if (p->n_streams > 0 && batch->n == 1) {
		if (streams_of(batch)[1].shift > 0)
			alone_dots(dots, batch, blocks, n_blocks, 2);
		else
			alone_dots(dots, batch, blocks, n_blocks, 1);
	} else if (p->n_streams > 0)
		tables_dots(dots, stride, batch, blocks, n_blocks, work);
	else
		products_dots(dots, stride, batch, blocks, n_blocks, work);
}

#endif /* __x86_64__ */
