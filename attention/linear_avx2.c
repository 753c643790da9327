#include "attention/linear_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/*
 * A tile is a few registers of 8 columns for a few tokens.  Its loop reads weights once
 * for all its tokens, and a token's bytes by a broadcast.  The number of tokens is a
 * constant where a tile is inlined, so that the sums stay in registers.
 */
#define INLINE static inline __attribute__((always_inline))
#define COLUMNS 64 /* of a block */
#define TOKENS_MAX 6
#define TOKENS_MAX_INT8 4

/* Sums.  (In an __m256i, which to gcc 12 is 4 numbers of 64 bits, they would be copied
 * and spilled in every step.) */
typedef int16_t sums16 __attribute__((vector_size(32)));
typedef int32_t sums32 __attribute__((vector_size(32)));

/* Tiles in a block of 64 columns, one behind the other: tokens token .. end - 1. */
struct place {
	size_t column, token, end;
};

typedef void tiles_fn(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, size_t n);

/* to[i] := table[128 + to[i]] for 32 signed bytes. */
INLINE void
look_up(int8_t *to, const int8_t *table)
{
	/* Of the 16 rows of the table, the one that an index is in leaves the top bit
	 * of the index clear: vpshufb gives 0 for all others. */
	__m256i x = _mm256_xor_si256(
	    _mm256_loadu_si256((const void *)to), _mm256_set1_epi8((char)0x80));
	__m256i found = _mm256_setzero_si256();

	for (size_t row = 0; row < 256; row += 16) {
		__m256i values = _mm256_broadcastsi128_si256(
		    _mm_loadu_si128((const void *)(table + row)));
		__m256i at = _mm256_adds_epu8(x, _mm256_set1_epi8(0x70));
		found = _mm256_or_si256(found, _mm256_shuffle_epi8(values, at));
		x = _mm256_sub_epi8(x, _mm256_set1_epi8(16));
	}
	_mm256_storeu_si256((void *)to, found);
}

/* The columns outside, so that weights come from memory once; tokens in tiles of n and
 * then of n - 1. */
INLINE void
forward(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, tiles_fn *tiles, size_t tokens_max)
{
	const size_t count = (in->n + tokens_max - 1) / tokens_max;
	const size_t n = count ? (in->n + count - 1) / count : 0;
	const size_t smaller = n * count - in->n; /* tiles of n - 1 */
	const size_t middle = n * (count - smaller);

	for (size_t column = 0; column < layer->out; column += COLUMNS) {
		tiles(layer, in, out, (struct place){column, 0, middle}, n);
		tiles(layer, in, out, (struct place){column, middle, in->n}, n - 1);
		if (out->then != LINEAR_TABLE)
			continue;
		for (size_t t = 0; t < in->n; t++) {
			int8_t *q = out->q + t * layer->out + column;
			look_up(q, out->table);
			look_up(q + 32, out->table);
		}
	}
}

/* What becomes of 8 columns of a token; for LINEAR_TABLE the index into the table, less
 * 128, comes first, and forward() looks it up. */
INLINE void
finish(const struct linear *layer, const struct linear_output *out, size_t column,
    size_t token, __m256 y)
{
	float *to = out->y + token * out->stride + column;

	if (out->then == LINEAR_TABLE) {
		/* What is too small, and NaN, is INT32_MIN before it is narrowed. */
		y = _mm256_mul_ps(y, _mm256_set1_ps(out->step));
		y = _mm256_min_ps(_mm256_set1_ps(127.0f), y);
		__m256i v = _mm256_cvtps_epi32(y);
		__m128i words = _mm_packs_epi32(
		    _mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
		_mm_storeu_si64(out->q + token * layer->out + column,
		    _mm_packs_epi16(words, words));
		return;
	}
	if (out->then == LINEAR_ADD)
		y = _mm256_add_ps(_mm256_loadu_ps(to), y);
	_mm256_storeu_ps(to, y);
}

/* The exact sums of 8 columns of a token as floats, and what becomes of them. */
INLINE void
scale(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, size_t column, size_t token, sums32 acc)
{
	__m256 y = _mm256_mul_ps(
	    _mm256_cvtepi32_ps((__m256i)acc), _mm256_loadu_ps(layer->scale + column));

	y = _mm256_mul_ps(y, _mm256_set1_ps(in->scale[token]));
	y = _mm256_add_ps(y, _mm256_loadu_ps(layer->bias + column));
	finish(layer, out, column, token, y);
}

/* 4 bytes in every lane. */
INLINE __m256i
broadcast(const int8_t *q)
{
	int32_t word;

	memcpy(&word, q, sizeof word);
	return _mm256_set1_epi32(word);
}

/* sum + pairs of 16-bit sums. */
INLINE sums32
widen(sums32 sum, __m256i pairs)
{
	return sum + (sums32)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/*
 * `fields` fields, from `first` on, of the half of each line that holds columns
 * half .. half + 7 of 16.  One vpmaddubsw is at most 2 * 3 * 127 = 762, or 508 for
 * ternary codes, so that 32 lines (24384) or 64 (32512) fit 16 bits.
 */
INLINE void
two_bit_fields(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n,
    const unsigned first, const unsigned fields)
{
	const bool ternary = layer->form == LINEAR_TERNARY;
	const size_t step = 4 * (ternary ? 64 : 32), half = at.column % 16;
	const int8_t *q = in->q + at.token * layer->in;
	const uint8_t *line = (const uint8_t *)layer->weight +
			      at.column / COLUMNS * 16 * layer->in + 4 * half;
	sums32 sum[2 * TOKENS_MAX];

#pragma GCC unroll 12
	for (unsigned i = 0; i < n * fields; i++)
		sum[i] = (sums32){0};
	for (size_t k = 0; k < layer->in;) {
		const size_t end = layer->in - k < step ? layer->in : k + step;
		sums16 near[2 * TOKENS_MAX];
#pragma GCC unroll 12
		for (unsigned i = 0; i < n * fields; i++)
			near[i] = (sums16){0};
		for (; k < end; k += 4, line += 64) {
#pragma GCC unroll 12
			for (unsigned i = 0; i < n * fields; i++) {
				int shift = (int)(2 * (first + i % fields));
				__m256i w = _mm256_loadu_si256((const void *)line);
				w = _mm256_srli_epi16(w, shift);
				w = _mm256_and_si256(w, _mm256_set1_epi8(3));
				near[i] += (sums16)_mm256_maddubs_epi16(
				    w, broadcast(q + i / fields * layer->in + k));
			}
		}
#pragma GCC unroll 12
		for (unsigned i = 0; i < n * fields; i++)
			sum[i] = widen(sum[i], (__m256i)near[i]);
	}
#pragma GCC unroll 12
	for (unsigned i = 0; i < n * fields; i++) {
		const size_t token = at.token + i / fields;
		const int32_t less = in->sum[token] * (ternary ? 1 : 3);
		scale(layer, in, out, at.column + 16 * (first + i % fields), token,
		    sum[i] * (ternary ? 1 : 2) - less);
	}
}

/* Few tokens take all fields at once, more of them two by two. */
INLINE void
two_bit_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	for (; at.token < at.end; at.token += n)
		for (size_t half = 0; half < 16; half += 8) {
			struct place here = {at.column + half, at.token, at.end};
			if (n <= 2) {
				two_bit_fields(layer, in, out, here, n, 0, 4);
			} else {
				two_bit_fields(layer, in, out, here, n, 0, 2);
				two_bit_fields(layer, in, out, here, n, 2, 2);
			}
		}
}

/* |w| times q with the sign of w: both within 127, so that two products fit 16 bits. */
INLINE void
int8_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	const size_t block_end = at.column + COLUMNS;

	for (; at.token < at.end; at.token += n) {
		const int8_t *q = in->q + at.token * layer->in;
		for (size_t column = at.column; column < block_end; column += 16) {
			const int8_t *line =
			    (const int8_t *)layer->weight + column * layer->in;
			sums32 sum[2 * TOKENS_MAX_INT8];
#pragma GCC unroll 8
			for (unsigned i = 0; i < 2 * n; i++)
				sum[i] = (sums32){0};
			for (size_t k = 0; k < layer->in; k += 4, line += 64) {
#pragma GCC unroll 8
				for (unsigned i = 0; i < 2 * n; i++) {
					__m256i w = _mm256_loadu_si256(
					    (const void *)(line + 32 * (i % 2)));
					__m256i x = _mm256_sign_epi8(
					    broadcast(q + i / 2 * layer->in + k), w);
					sum[i] =
					    widen(sum[i], _mm256_maddubs_epi16(
							      _mm256_abs_epi8(w), x));
				}
			}
#pragma GCC unroll 8
			for (unsigned i = 0; i < 2 * n; i++)
				scale(layer, in, out, column + 8 * (i % 2),
				    at.token + i / 2, sum[i]);
		}
	}
}

INLINE void
real_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	const size_t block_end = at.column + COLUMNS;

	for (; at.token < at.end; at.token += n) {
		const float *x = in->x + at.token * layer->in;
		for (size_t column = at.column; column < block_end; column += 16) {
			const float *line =
			    (const float *)layer->weight + column * layer->in;
			__m256 y[2 * TOKENS_MAX];
#pragma GCC unroll 12
			for (unsigned i = 0; i < 2 * n; i++)
				y[i] =
				    _mm256_loadu_ps(layer->bias + column + 8 * (i % 2));
			for (size_t k = 0; k < layer->in; k++, line += 16) {
#pragma GCC unroll 12
				for (unsigned i = 0; i < 2 * n; i++)
					y[i] = _mm256_fmadd_ps(
					    _mm256_set1_ps(x[i / 2 * layer->in + k]),
					    _mm256_loadu_ps(line + 8 * (i % 2)), y[i]);
			}
#pragma GCC unroll 12
			for (unsigned i = 0; i < 2 * n; i++)
				finish(layer, out, column + 8 * (i % 2),
				    at.token + i / 2, y[i]);
		}
	}
}

/* name: a tiles_fn that calls tiles with a constant number of tokens. */
#define BY_TOKENS(name, tiles, tokens_max)                                            \
	static void name(const struct linear *layer, const struct linear_input *in,   \
	    const struct linear_output *out, struct place at, size_t n)               \
	{                                                                             \
		switch (n) {                                                          \
		case 0:                                                               \
			break;                                                        \
		case 1:                                                               \
			tiles(layer, in, out, at, 1);                                 \
			break;                                                        \
		case 2:                                                               \
			tiles(layer, in, out, at, 2);                                 \
			break;                                                        \
		case 3:                                                               \
			tiles(layer, in, out, at, 3);                                 \
			break;                                                        \
		case 4:                                                               \
			tiles(layer, in, out, at, 4);                                 \
			break;                                                        \
		case 5:                                                               \
			tiles(                                                        \
			    layer, in, out, at, (tokens_max) < 5 ? (tokens_max) : 5); \
			break;                                                        \
		default:                                                              \
			tiles(layer, in, out, at, tokens_max);                        \
		}                                                                     \
	}
BY_TOKENS(two_bit_tokens, two_bit_tiles, TOKENS_MAX)
BY_TOKENS(int8_tokens, int8_tiles, TOKENS_MAX_INT8)
BY_TOKENS(real_tokens, real_tiles, TOKENS_MAX)

static void
two_bit(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, two_bit_tokens, TOKENS_MAX);
}

static void
int8(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, int8_tokens, TOKENS_MAX_INT8);
}

static void
real(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, real_tokens, TOKENS_MAX);
}

const struct linear_kernel linear_avx2 = {
    .level = CPU_AVX2,
    .name = "avx2",
    .two_bit = two_bit,
    .int8 = int8,
    .real = real,
};

#endif
