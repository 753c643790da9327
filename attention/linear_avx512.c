#include "attention/linear_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "attention/linear_avx512.h"

/*
 * A tile is 64 columns of a few tokens: 4 registers of sums a token, a lane a column.
 * Its loop reads a line of weights once for all its tokens, and a token's bytes by a
 * broadcast.  The number of tokens is a constant where a tile is inlined, so that the
 * sums stay in registers.
 */
#define INLINE static inline __attribute__((always_inline))
#define COLUMNS 64
#define PARTS 4 /* registers of 16 columns */
#define TOKENS_MAX 6

/* 16 sums.  (In an __m512i, which to gcc 12 is 8 numbers of 64 bits, they would be
 * copied and spilled in every step.) */
typedef int32_t sums __attribute__((vector_size(64)));

/* Tiles of 64 columns, one behind the other: tokens token .. end - 1. */
struct place {
	size_t column, token, end;
};

typedef void tiles_fn(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, size_t n);

/* The columns outside, so that weights come from memory once; tokens in tiles of n and
 * then of n - 1. */
INLINE void
forward(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, tiles_fn *tiles)
{
	const size_t count = (in->n + TOKENS_MAX - 1) / TOKENS_MAX;
	const size_t n = count ? (in->n + count - 1) / count : 0;
	const size_t smaller = n * count - in->n; /* tiles of n - 1 */
	const size_t middle = n * (count - smaller);

	for (size_t column = 0; column < layer->out; column += COLUMNS) {
		tiles(layer, in, out, (struct place){column, 0, middle}, n);
		tiles(layer, in, out, (struct place){column, middle, in->n}, n - 1);
	}
}

/* What becomes of 64 columns of a token. */
INLINE void
finish(const struct linear *layer, const struct linear_output *out, size_t column,
    size_t token, __m512 *y)
{
	if (out->then == LINEAR_TABLE) {
		__m512i v = linear_avx512_look_up(
		    out->table, linear_avx512_to_bytes(y, out->step, PARTS));
		_mm512_storeu_si512(out->q + token * layer->out + column, v);
		return;
	}
	float *to = out->y + token * out->stride + column;
#pragma GCC unroll 4
	for (unsigned f = 0; f < PARTS; f++) {
		if (out->then == LINEAR_ADD)
			y[f] = _mm512_add_ps(_mm512_loadu_ps(to + 16 * f), y[f]);
		_mm512_storeu_ps(to + 16 * f, y[f]);
	}
}

/* The exact sums of 64 columns of a token as floats, and what becomes of them. */
INLINE void
scale(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, size_t column, size_t token, const sums *acc)
{
	const __m512 scale_x = _mm512_set1_ps(in->scale[token]);
	__m512 y[PARTS];

#pragma GCC unroll 4
	for (unsigned f = 0; f < PARTS; f++) {
		size_t j = column + 16 * f;
		y[f] = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)acc[f]),
		    _mm512_loadu_ps(layer->scale + j));
		y[f] = _mm512_add_ps(
		    _mm512_mul_ps(y[f], scale_x), _mm512_loadu_ps(layer->bias + j));
	}
	finish(layer, out, column, token, y);
}

/* Every lane of sum + its 4 unsigned bytes of w times the 4 signed bytes at q. */
INLINE sums
dot(sums sum, __m512i w, const int8_t *q)
{
	int32_t word;

	memcpy(&word, q, sizeof word);
	return (sums)_mm512_dpbusd_epi32((__m512i)sum, w, _mm512_set1_epi32(word));
}

/*
 * A field of a line is not shifted down: in place it is a byte c << 2 f <= 192, which
 * vpdpbusd takes as it is.  A sum is then a multiple of 4^f, at most 192 * 127 *
 * LINEAR_DIMS_MAX < 2^31 in size, and is shifted once.  One token has two sums a part,
 * which hide the latency of vpdpbusd.
 */
INLINE void
two_bit_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	const unsigned chains = n == 1 ? 2 : 1;
	const uint8_t *block =
	    (const uint8_t *)layer->weight + at.column / 4 * layer->in;
	const bool ternary = layer->form == LINEAR_TERNARY;

	for (; at.token < at.end; at.token += n) {
		const int8_t *q = in->q + at.token * layer->in;
		const uint8_t *line = block;
		sums sum[TOKENS_MAX * PARTS];
#pragma GCC unroll 24
		for (unsigned i = 0; i < n * chains * PARTS; i++)
			sum[i] = (sums){0};
		for (size_t k = 0; k < layer->in;
		     k += 4 * chains, line += 64 * chains) {
#pragma GCC unroll 24
			for (unsigned i = 0; i < n * chains * PARTS; i++) {
				const unsigned f = i % PARTS, c = i / PARTS % chains;
				const char mask = (char)(3 << 2 * f);
				__m512i w = _mm512_loadu_si512(line + 64 * c);
				w = _mm512_and_si512(w, _mm512_set1_epi8(mask));
				sum[i] = dot(sum[i], w,
				    q + i / PARTS / chains * layer->in + k + 4 * c);
			}
		}
#pragma GCC unroll 24
		for (unsigned i = 0; i < n * PARTS; i++) {
			const unsigned f = i % PARTS, t = i / PARTS;
			int32_t less = in->sum[at.token + t] * (ternary ? 1 : 3);
			if (chains == 2)
				sum[i] += sum[PARTS + i];
			sum[i] = (sum[i] >> 2 * f) * (ternary ? 1 : 2) - less;
		}
#pragma GCC unroll 6
		for (unsigned t = 0; t < n; t++)
			scale(layer, in, out, at.column, at.token + t, sum + PARTS * t);
	}
}

/*
 * Levels are made unsigned by adding 128, which is to flip the top bit: a sum is
 * 128 * (sum of q) too large then, and at most 255 * 127 * LINEAR_DIMS_MAX < 2^31.
 */
INLINE void
int8_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	const unsigned chains = n == 1 ? 2 : 1;
	const size_t stride = 16 * layer->in; /* from a part to the next */
	const uint8_t *block = (const uint8_t *)layer->weight + at.column * layer->in;
	const __m512i flip = _mm512_set1_epi8((char)0x80);

	for (; at.token < at.end; at.token += n) {
		const int8_t *q = in->q + at.token * layer->in;
		const uint8_t *line = block;
		sums sum[TOKENS_MAX * PARTS];
#pragma GCC unroll 24
		for (unsigned i = 0; i < n * chains * PARTS; i++)
			sum[i] = (sums){0};
		for (size_t k = 0; k < layer->in;
		     k += 4 * chains, line += 64 * chains) {
#pragma GCC unroll 24
			for (unsigned i = 0; i < n * chains * PARTS; i++) {
				const unsigned f = i % PARTS, c = i / PARTS % chains;
				__m512i w =
				    _mm512_loadu_si512(line + f * stride + 64 * c);
				sum[i] = dot(sum[i], _mm512_xor_si512(w, flip),
				    q + i / PARTS / chains * layer->in + k + 4 * c);
			}
		}
#pragma GCC unroll 24
		for (unsigned i = 0; i < n * PARTS; i++) {
			int32_t less = in->sum[at.token + i / PARTS] * 128;
			if (chains == 2)
				sum[i] += sum[PARTS + i];
			sum[i] -= less;
		}
#pragma GCC unroll 6
		for (unsigned t = 0; t < n; t++)
			scale(layer, in, out, at.column, at.token + t, sum + PARTS * t);
	}
}

INLINE void
real_tiles(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out, struct place at, const unsigned n)
{
	const size_t stride = 16 * layer->in; /* from a part to the next */
	const float *block = (const float *)layer->weight + at.column * layer->in;
	const float *bias = layer->bias + at.column;

	for (; at.token < at.end; at.token += n) {
		const float *x = in->x + at.token * layer->in, *line = block;
		__m512 y[TOKENS_MAX * PARTS];
#pragma GCC unroll 24
		for (unsigned i = 0; i < n * PARTS; i++)
			y[i] = _mm512_loadu_ps(bias + 16 * (i % PARTS));
		for (size_t k = 0; k < layer->in; k++, line += 16) {
#pragma GCC unroll 24
			for (unsigned i = 0; i < n * PARTS; i++)
				y[i] = _mm512_fmadd_ps(
				    _mm512_set1_ps(x[i / PARTS * layer->in + k]),
				    _mm512_loadu_ps(line + i % PARTS * stride), y[i]);
		}
#pragma GCC unroll 6
		for (unsigned t = 0; t < n; t++)
			finish(layer, out, at.column, at.token + t, y + PARTS * t);
	}
}

/* name: a tiles_fn that calls tiles with a constant number of tokens. */
#define BY_TOKENS(name, tiles)                                                      \
	static void name(const struct linear *layer, const struct linear_input *in, \
	    const struct linear_output *out, struct place at, size_t n)             \
	{                                                                           \
		switch (n) {                                                        \
		case 0:                                                             \
			break;                                                      \
		case 1:                                                             \
			tiles(layer, in, out, at, 1);                               \
			break;                                                      \
		case 2:                                                             \
			tiles(layer, in, out, at, 2);                               \
			break;                                                      \
		case 3:                                                             \
			tiles(layer, in, out, at, 3);                               \
			break;                                                      \
		case 4:                                                             \
			tiles(layer, in, out, at, 4);                               \
			break;                                                      \
		case 5:                                                             \
			tiles(layer, in, out, at, 5);                               \
			break;                                                      \
		default:                                                            \
			tiles(layer, in, out, at, TOKENS_MAX);                      \
		}                                                                   \
	}
BY_TOKENS(two_bit_tokens, two_bit_tiles)
BY_TOKENS(int8_tokens, int8_tiles)
BY_TOKENS(real_tokens, real_tiles)

static void
two_bit(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, two_bit_tokens);
}

static void
int8(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, int8_tokens);
}

static void
real(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	forward(layer, in, out, real_tokens);
}

const struct linear_kernel linear_avx512 = {
    .level = CPU_AVX512,
    .name = "avx512",
    .two_bit = two_bit,
    .int8 = int8,
    .real = real,
};

#endif
