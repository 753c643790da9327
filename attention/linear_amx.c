#include "attention/linear_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>

#include "attention/linear_avx512.h"
#include "base/amx.h"

/*
 * Tile registers: eight of up to 16 rows of 64 bytes.  A product adds to a tile of sums
 * (tokens, 16 columns) that of 64 bytes of the tokens' q with 64 x 16 weights, which
 * are 16 lines of 64 bytes: an int8 layer's lines are that tile as they lie in the
 * file, a line of 2-bit codes is decoded by one "and" a tile into scratch in L1.
 *
 * A field of a line is not shifted down: in place it is a byte c << 2 f <= 192, which
 * tdpbsud takes as it is.  A sum is then a multiple of 4^f, at most 192 * 127 *
 * LINEAR_DIMS_MAX < 2^31 in size, and is shifted once.
 *
 * What the order of things below is for: a tile load right behind the stores it reads
 * waits for them to leave the core's store buffer, so decoding runs two steps ahead;
 * sums are stored to a small scratch and not to the rows of y; results are computed a
 * share a step during the next block's products, which leave the vector units idle.
 * (In a trial on a processor with tiles the first took a product of 16 tokens from 88
 * cycles to 45, the second to 29.  This code has only been run with emulated tiles.)
 *
 * Tiles are configured once a call.  They are not released: Linux keeps them for the
 * thread at a switch and clears them itself before a core idles deeply.
 */
#define INLINE static inline __attribute__((always_inline))
#define TILE 1024       /* bytes */
#define STEP 64         /* columns of W, bytes of q, in a product */
#define ROWS 16         /* tokens in a tile at most, and outputs */
#define AHEAD 2         /* steps */
#define TOKENS_MIN 3    /* below, AVX-512 is faster */
#define TOKENS_MAX 256  /* of a pass: their q stays in the L2 cache */
#define PANEL_STEPS 48  /* of 32 outputs kept decoded for many tokens: in <= 3072 */
#define PANEL_TOKENS 32 /* of a pass where `in` is larger: nothing is kept */

/* tile c += a b: signed a; b of unsigned bytes for codes, else signed too */
#define TILE_PRODUCT(c, a, b)                                                         \
	do {                                                                          \
		if (two_bit)                                                          \
			__asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c \
					 :                                            \
					 :);                                          \
		else                                                                  \
			__asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c \
					 :                                            \
					 :);                                          \
	} while (0)

/* Tiles 0 .. 3 for sums of `rows` tokens, 4 .. 4 + n_q - 1 for their q, the others for
 * weights. */
static void
configure(size_t rows, size_t n_q)
{
	uint8_t of[8];

	for (size_t t = 0; t < 8; t++)
		of[t] = (uint8_t)(t < 4 + n_q ? rows : 16);
	amx_configure(of);
}

/* What a call is given. */
struct job {
	const struct linear *layer;
	const struct linear_input *in;
	const struct linear_output *out;
};

/* Sums in scratch: row i is of token first + i, and has 16 * parts outputs, the first
 * of which is output `column`.  Results are still to be made of token .. end - 1. */
struct batch {
	const int32_t *sums;
	size_t column, first, token, end;
};

/* q := the table's bytes for 16 * parts numbers. */
INLINE void
put_table(const struct linear_output *out, int8_t *q, const __m512 *y, unsigned parts)
{
	__m512i v = linear_avx512_to_bytes(y, out->step, parts);

	v = linear_avx512_look_up(out->table, v);
	if (parts == 4)
		_mm512_storeu_si512(q, v);
	else
		_mm256_storeu_si256((__m256i *)q, _mm512_castsi512_si256(v));
}

/* The results of the next n tokens of the batch. */
INLINE void
finish(const struct job *job, struct batch *b, size_t n, const bool two_bit,
    unsigned parts)
{
	const struct linear *layer = job->layer;
	const struct linear_output *out = job->out;
	const size_t end = n < b->end - b->token ? b->token + n : b->end;
	const bool ternary = layer->form == LINEAR_TERNARY;
	const __m128i twice = _mm_cvtsi32_si128(ternary ? 0 : 1);
	const int field = (int)(b->column % 64 / 16);

	for (; b->token < end; b->token++) {
		const size_t t = b->token;
		const int32_t *row = b->sums + (t - b->first) * 16 * parts;
		const __m512i less =
		    _mm512_set1_epi32(job->in->sum[t] * (ternary ? 1 : 3));
		const __m512 scale_x = _mm512_set1_ps(job->in->scale[t]);
		__m512 y[4];
#pragma GCC unroll 4
		for (unsigned p = 0; p < parts; p++) {
			const size_t j = b->column + 16 * p;
			__m512i acc = _mm512_load_si512(row + 16 * p);
			if (two_bit) {
				acc = _mm512_srav_epi32(
				    acc, _mm512_set1_epi32(2 * (field + (int)p)));
				acc = _mm512_sub_epi32(
				    _mm512_sll_epi32(acc, twice), less);
			}
			y[p] = _mm512_mul_ps(
			    _mm512_cvtepi32_ps(acc), _mm512_loadu_ps(layer->scale + j));
			y[p] = _mm512_add_ps(_mm512_mul_ps(y[p], scale_x),
			    _mm512_loadu_ps(layer->bias + j));
		}
		if (out->then == LINEAR_TABLE) {
			put_table(out, out->q + t * layer->out + b->column, y, parts);
			continue;
		}
		float *to = out->y + t * out->stride + b->column;
#pragma GCC unroll 4
		for (unsigned p = 0; p < parts; p++) {
			if (out->then == LINEAR_ADD)
				y[p] =
				    _mm512_add_ps(_mm512_loadu_ps(to + 16 * p), y[p]);
			_mm512_storeu_ps(to + 16 * p, y[p]);
		}
	}
}

/* A quarter of a step: lines 4 quarter .. 4 quarter + 3, into as many tiles as there
 * are masks. */
INLINE void
decode(uint8_t *tiles, const uint8_t *lines, unsigned quarter, const __m512i *mask,
    unsigned masks)
{
#pragma GCC unroll 4
	for (unsigned r = 4 * quarter; r < 4 * quarter + 4; r++) {
		const __m512i line = _mm512_loadu_si512(lines + 64 * r);
#pragma GCC unroll 4
		for (unsigned m = 0; m < masks; m++)
			_mm512_store_si512(
			    tiles + TILE * m + 64 * r, _mm512_and_si512(line, mask[m]));
	}
}

INLINE __m512i
mask_of(size_t field)
{
	return _mm512_set1_epi8((char)(3 << 2 * field));
}

/*
 * Up to 16 tokens, 64 outputs at a time: all four fields of a line are wanted at once,
 * and a ring of AHEAD + 1 steps holds them.
 */
INLINE void
narrow(const struct job *job, uint8_t *ring, const bool two_bit)
{
	const struct linear *layer = job->layer;
	const size_t in = layer->in, steps = in / STEP, n = job->in->n;
	const size_t share = (n + steps - 1) / steps;
	const __m512i mask[4] = {mask_of(0), mask_of(1), mask_of(2), mask_of(3)};
	const uint8_t *weight = layer->weight, *line = weight;
	const uint8_t *line_end = weight + layer->out * in / 4;
	_Alignas(64) int32_t sums[2][ROWS * 64];
	struct batch waiting = {0};
	size_t slot = 0, next = 0;

	configure(n, 1);
	for (; two_bit && next < AHEAD; next++) {
#pragma GCC unroll 4
		for (unsigned quarter = 0; quarter < 4; quarter++)
			decode(ring + next * 4 * TILE, line, quarter, mask, 4);
		line = line + TILE < line_end ? line + TILE : weight;
	}
	for (size_t column = 0; column < layer->out; column += 64) {
		AMX_ZERO(0);
		AMX_ZERO(1);
		AMX_ZERO(2);
		AMX_ZERO(3);
		for (size_t k = 0; k < steps; k++) {
			const uint8_t *b = two_bit ? ring + slot * 4 * TILE
						   : weight + column * in + k * TILE;
			const size_t apart = two_bit ? TILE : 16 * in;
			AMX_LOAD(4, job->in->q + k * STEP, in);
			AMX_LOAD(5, b, 64);
			TILE_PRODUCT(0, 4, 5);
			if (two_bit)
				decode(ring + next * 4 * TILE, line, 0, mask, 4);
			AMX_LOAD(6, b + apart, 64);
			TILE_PRODUCT(1, 4, 6);
			if (two_bit)
				decode(ring + next * 4 * TILE, line, 1, mask, 4);
			AMX_LOAD(7, b + 2 * apart, 64);
			TILE_PRODUCT(2, 4, 7);
			if (two_bit)
				decode(ring + next * 4 * TILE, line, 2, mask, 4);
			AMX_LOAD(5, b + 3 * apart, 64);
			TILE_PRODUCT(3, 4, 5);
			if (two_bit) {
				decode(ring + next * 4 * TILE, line, 3, mask, 4);
				/* Behind the end: lines that nobody will want. */
				line = line + TILE < line_end ? line + TILE : weight;
				slot = slot == AHEAD ? 0 : slot + 1;
				next = next == AHEAD ? 0 : next + 1;
			}
			finish(job, &waiting, share, two_bit, 4);
		}
		waiting = (struct batch){sums[column / 64 % 2], column, 0, 0, n};
		AMX_STORE(0, waiting.sums, 256);
		AMX_STORE(1, waiting.sums + 16, 256);
		AMX_STORE(2, waiting.sums + 32, 256);
		AMX_STORE(3, waiting.sums + 48, 256);
	}
	finish(job, &waiting, n, two_bit, 4);
}

static inline size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* i < 2 n in a ring of n. */
INLINE size_t
around(size_t i, size_t n)
{
	return i < n ? i : i - n;
}

/* The lines that are decoded next: step k of a panel of 32 outputs, which are the lower
 * or the upper two fields of its lines. */
struct reader {
	const uint8_t *lines;
	size_t panel, k;
};

INLINE void
advance(struct reader *reader, const struct linear *layer)
{
	reader->lines += TILE;
	if (++reader->k < layer->in / STEP)
		return;
	/* Behind the end: lines that nobody will want. */
	reader->k = 0;
	reader->panel = (reader->panel + 1) % (layer->out / 32);
	reader->lines =
	    (const uint8_t *)layer->weight + reader->panel / 2 * 16 * layer->in;
}

/* That step into two tiles. */
INLINE void
read_step(uint8_t *tiles, const struct reader *reader, unsigned quarter)
{
	const size_t field = reader->panel % 2 * 2;
	const __m512i mask[2] = {mask_of(field), mask_of(field + 1)};

	decode(tiles, reader->lines, quarter, mask, 2);
}

/* Where a step's operands lie: the q of two tiles of tokens, the weights of two times
 * 16 outputs, and the place to decode into. */
struct operands {
	const int8_t *q[2];
	const uint8_t *b[2];
	uint8_t *ahead;
};

/* One step of (32 tokens, 32 outputs), and the decoding of another one. */
INLINE void
step(const struct operands *at, size_t in, const struct reader *reader,
    const bool two_bit, const bool decoding)
{
	AMX_LOAD(4, at->q[0], in);
	AMX_LOAD(6, at->b[0], 64);
	TILE_PRODUCT(0, 4, 6);
	if (decoding)
		read_step(at->ahead, reader, 0);
	AMX_LOAD(7, at->b[1], 64);
	TILE_PRODUCT(1, 4, 7);
	if (decoding)
		read_step(at->ahead, reader, 1);
	AMX_LOAD(5, at->q[1], in);
	TILE_PRODUCT(2, 5, 6);
	if (decoding)
		read_step(at->ahead, reader, 2);
	TILE_PRODUCT(3, 5, 7);
	if (decoding)
		read_step(at->ahead, reader, 3);
}

/* Tokens in pairs of tiles of as many rows each; the last pair, and its second tile,
 * begin early where they would otherwise go past the end, and do some tokens again. */
struct pairs {
	size_t n, rows, apart; /* `apart` tokens from a pair's tile to its other one */
};

static struct pairs
pairs_of(size_t tokens)
{
	struct pairs p = {.n = (tokens + 2 * ROWS - 1) / (2 * ROWS)};

	p.rows = (tokens + 2 * p.n - 1) / (2 * p.n);
	p.apart = 2 * p.rows <= tokens ? p.rows : tokens - p.rows;
	return p;
}

/* More than 16 tokens, 32 at a time.  The first of them have the weights decoded, two
 * steps ahead in a ring; where there are more, the ring is large enough to keep a panel
 * of 32 outputs for them, and the first AHEAD steps of the next panel. */
INLINE void
wide(const struct job *job, uint8_t *ring, const bool two_bit)
{
	const struct linear *layer = job->layer;
	const size_t in = layer->in, steps = in / STEP, n = job->in->n;
	const struct pairs pairs = pairs_of(n);
	const size_t slots = pairs.n > 1 ? steps + AHEAD : AHEAD + 1;
	const size_t share = (2 * pairs.rows + steps - 1) / steps;
	_Alignas(64) int32_t sums[2][2 * ROWS * 32];
	const uint8_t *weight = layer->weight;
	struct reader reader = {weight, 0, 0};
	struct batch waiting = {0};
	size_t base = 0, turn = 0;

	configure(pairs.rows, 2);
	for (size_t i = 0; two_bit && i < AHEAD; i++) {
#pragma GCC unroll 4
		for (unsigned quarter = 0; quarter < 4; quarter++)
			read_step(ring + i * 2 * TILE, &reader, quarter);
		advance(&reader, layer);
	}
	for (size_t column = 0; column < layer->out; column += 32) {
		size_t slot = base;
		for (size_t pair = 0; pair < pairs.n; pair++) {
			const size_t token = 2 * pair * pairs.rows;
			const size_t first = least(token, n - pairs.apart - pairs.rows);
			const int8_t *q = job->in->q + first * in;
			slot = base;
			AMX_ZERO(0);
			AMX_ZERO(1);
			AMX_ZERO(2);
			AMX_ZERO(3);
			for (size_t k = 0; k < steps; k++, q += STEP) {
				struct operands at = {.q = {q, q + pairs.apart * in}};
				if (two_bit) {
					size_t ahead = around(slot + AHEAD, slots);
					at.ahead = ring + ahead * 2 * TILE;
					at.b[0] = ring + slot * 2 * TILE;
					at.b[1] = at.b[0] + TILE;
					slot = around(slot + 1, slots);
				} else {
					at.b[0] = weight + column * in + k * TILE;
					at.b[1] = at.b[0] + 16 * in;
				}
				if (two_bit && pair == 0) {
					step(&at, in, &reader, two_bit, true);
					advance(&reader, layer);
				} else {
					step(&at, in, &reader, two_bit, false);
				}
				finish(job, &waiting, share, two_bit, 2);
			}
			turn = !turn;
			waiting = (struct batch){sums[turn], column, first, token,
			    least(token + 2 * pairs.rows, n)};
			AMX_STORE(0, waiting.sums, 128);
			AMX_STORE(1, waiting.sums + 16, 128);
			AMX_STORE(2, waiting.sums + 32 * pairs.apart, 128);
			AMX_STORE(3, waiting.sums + 32 * pairs.apart + 16, 128);
		}
		base = slot;
	}
	finish(job, &waiting, n, two_bit, 2);
}

/* job, for tokens first .. first + n - 1 of it. */
static void
part(struct linear_input *in, struct linear_output *out, const struct job *job,
    size_t first, size_t n)
{
	*in = (struct linear_input){
	    .n = n,
	    .q = job->in->q + first * job->layer->in,
	    .scale = job->in->scale + first,
	    .sum = job->in->sum + first,
	};
	*out = *job->out;
	if (out->then == LINEAR_TABLE)
		out->q += first * job->layer->out;
	else
		out->y += first * out->stride;
}

static void
two_bit(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct job job = {layer, in, out};
	const size_t most = layer->in > PANEL_STEPS * STEP ? PANEL_TOKENS : TOKENS_MAX;
	_Alignas(64) uint8_t ring[(PANEL_STEPS + AHEAD) * 2 * TILE];

	for (size_t first = 0; first < in->n; first += most) {
		struct linear_input in1;
		struct linear_output out1;
		const struct job job1 = {layer, &in1, &out1};
		part(&in1, &out1, &job, first, least(in->n - first, most));
		if (in1.n < TOKENS_MIN)
			linear_avx512.two_bit(layer, &in1, &out1);
		else if (in1.n <= ROWS)
			narrow(&job1, ring, true);
		else
			wide(&job1, ring, true);
	}
}

static void
int8(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct job job = {layer, in, out};

	for (size_t first = 0; first < in->n; first += TOKENS_MAX) {
		struct linear_input in1;
		struct linear_output out1;
		const struct job job1 = {layer, &in1, &out1};
		part(&in1, &out1, &job, first, least(in->n - first, TOKENS_MAX));
		if (in1.n < TOKENS_MIN)
			linear_avx512.int8(layer, &in1, &out1);
		else if (in1.n <= ROWS)
			narrow(&job1, NULL, false);
		else
			wide(&job1, NULL, false);
	}
}

static void
real(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	linear_avx512.real(layer, in, out);
}

const struct linear_kernel linear_amx = {
    .level = CPU_AMX,
    .name = "amx",
    .two_bit = two_bit,
    .int8 = int8,
    .real = real,
};

#endif
