#include "attention/linear_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

/*
 * A register is 4 columns: sums of sdot, whose operands are 4 x 4 weights, and 4 bytes
 * of a token that a lane of its q gives to all columns.  Codes 0 .. 3 are signed bytes
 * too.  A tile is 4 registers of columns and up to 4 tokens: the four fields of a
 * quarter of a line, or an int8 line.  The number of tokens is a constant where a tile
 * is inlined, so that the sums stay in registers.
 */
#define INLINE static inline __attribute__((always_inline))
#define PARTS 4
#define TOKENS_MAX 4

/* Part p of a tile is columns column + apart p .. + 3. */
struct place {
	size_t column, apart, token;
};

struct job {
	const struct linear *layer;
	const struct linear_input *in;
	const struct linear_output *out;
};

/* What becomes of 4 columns of a token. */
INLINE void
finish(const struct job *job, size_t token, size_t column, float32x4_t y)
{
	const struct linear_output *out = job->out;

	if (out->then == LINEAR_TABLE) {
		int8_t *q = out->q + token * job->layer->out + column;
		int32_t index[4];
		/* The larger of NaN and a number is the number: -128. */
		y = vmaxnmq_f32(vmulq_n_f32(y, out->step), vdupq_n_f32(-128));
		y = vminnmq_f32(y, vdupq_n_f32(127));
		vst1q_s32(index, vcvtnq_s32_f32(y));
		for (size_t i = 0; i < 4; i++)
			q[i] = out->table[128 + index[i]];
		return;
	}
	float *to = out->y + token * out->stride + column;
	if (out->then == LINEAR_ADD)
		y = vaddq_f32(vld1q_f32(to), y);
	vst1q_f32(to, y);
}

/* The exact sums of a tile as floats, and what becomes of them. */
INLINE void
scale(const struct job *job, const struct place *at, const int32x4_t *sum,
    const bool two_bit, const unsigned n)
{
	const bool ternary = job->layer->form == LINEAR_TERNARY;
	const int32x4_t twice = vdupq_n_s32(ternary ? 0 : 1);

#pragma GCC unroll 4
	for (unsigned t = 0; t < n; t++) {
		const size_t token = at->token + t;
		const int32_t less = job->in->sum[token] * (ternary ? 1 : 3);
#pragma GCC unroll 4
		for (unsigned p = 0; p < PARTS; p++) {
			const size_t column = at->column + at->apart * p;
			int32x4_t acc = sum[PARTS * t + p];
			if (two_bit)
				acc =
				    vsubq_s32(vshlq_s32(acc, twice), vdupq_n_s32(less));
			float32x4_t y = vmulq_f32(
			    vcvtq_f32_s32(acc), vld1q_f32(job->layer->scale + column));
			y = vmulq_n_f32(y, job->in->scale[token]);
			y = vaddq_f32(y, vld1q_f32(job->layer->bias + column));
			finish(job, token, column, y);
		}
	}
}

/* 16 x 4 weights, a column's 4 to a lane. */
INLINE void
load(int8x16_t *w, const uint8_t *line, const bool two_bit)
{
	const uint8x16_t mask = vdupq_n_u8(3), x = vld1q_u8(line);

	w[0] = vreinterpretq_s8_u8(two_bit ? vandq_u8(x, mask) : x);
	if (two_bit) {
		w[1] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(x, 2), mask));
		w[2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(x, 4), mask));
		w[3] = vreinterpretq_s8_u8(vshrq_n_u8(x, 6));
	} else {
		w[1] = vreinterpretq_s8_u8(vld1q_u8(line + 16));
		w[2] = vreinterpretq_s8_u8(vld1q_u8(line + 32));
		w[3] = vreinterpretq_s8_u8(vld1q_u8(line + 48));
	}
}

/* Line g of four, and lane g of the tokens' 16 bytes; a lane must be a literal. */
#define DOT_LINE(g)                                                                  \
	do {                                                                         \
		load(w, line + 64 * (g), two_bit);                                   \
		_Pragma("GCC unroll 16") for (unsigned i = 0; i < n * PARTS; i++)    \
		    sum[i] = vdotq_laneq_s32(sum[i], w[i % PARTS], q[i / PARTS], g); \
	} while (0)

INLINE void
levels_tile(const struct job *job, const struct place *at, const uint8_t *line,
    const bool two_bit, const unsigned n)
{
	const size_t in = job->layer->in;
	const int8_t *from = job->in->q + at->token * in;
	int32x4_t sum[TOKENS_MAX * PARTS];

#pragma GCC unroll 16
	for (unsigned i = 0; i < n * PARTS; i++)
		sum[i] = vdupq_n_s32(0);
	for (size_t k = 0; k < in; k += 16, line += 256) {
		int8x16_t w[PARTS], q[TOKENS_MAX];
#pragma GCC unroll 4
		for (unsigned t = 0; t < n; t++)
			q[t] = vld1q_s8(from + t * in + k);
		DOT_LINE(0);
		DOT_LINE(1);
		DOT_LINE(2);
		DOT_LINE(3);
	}
	scale(job, at, sum, two_bit, n);
}

INLINE void
real_tile(const struct job *job, const struct place *at, const unsigned n)
{
	const size_t in = job->layer->in;
	const float *x = job->in->x + at->token * in;
	const float *line = (const float *)job->layer->weight + at->column * in;
	float32x4_t y[TOKENS_MAX * PARTS];

#pragma GCC unroll 16
	for (unsigned i = 0; i < n * PARTS; i++)
		y[i] = vld1q_f32(job->layer->bias + at->column + 4 * (i % PARTS));
	for (size_t k = 0; k < in; k++, line += 16) {
#pragma GCC unroll 16
		for (unsigned i = 0; i < n * PARTS; i++)
			y[i] = vfmaq_n_f32(y[i], vld1q_f32(line + 4 * (i % PARTS)),
			    x[i / PARTS * in + k]);
	}
#pragma GCC unroll 16
	for (unsigned i = 0; i < n * PARTS; i++)
		finish(job, at->token + i / PARTS, at->column + 4 * (i % PARTS), y[i]);
}

enum kind { TWO_BIT, INT8, REAL };

INLINE void
tile(const struct job *job, const struct place *at, const uint8_t *line,
    const enum kind kind, const unsigned n)
{
	if (kind == REAL)
		real_tile(job, at, n);
	else
		levels_tile(job, at, line, kind == TWO_BIT, n);
}

/* All tokens, for the columns of `at`, whose weights begin at `line`. */
INLINE void
tiles(const struct job *job, struct place at, const uint8_t *line, const enum kind kind)
{
	const size_t n = job->in->n;

	for (; n - at.token >= TOKENS_MAX; at.token += TOKENS_MAX)
		tile(job, &at, line, kind, TOKENS_MAX);
	switch (n - at.token) {
	case 3:
		tile(job, &at, line, kind, 3);
		break;
	case 2:
		tile(job, &at, line, kind, 2);
		break;
	case 1:
		tile(job, &at, line, kind, 1);
		break;
	default:
		break;
	}
}

static void
two_bit(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct job job = {layer, in, out};

	for (size_t i = 0; i < layer->out / 16; i++) {
		const size_t column = i / 4 * 64, quarter = i % 4;
		const uint8_t *line = (const uint8_t *)layer->weight +
				      column / 4 * layer->in + 16 * quarter;
		const struct place at = {column + 4 * quarter, 16, 0};
		tiles(&job, at, line, TWO_BIT);
	}
}

static void
int8(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct job job = {layer, in, out};

	for (size_t column = 0; column < layer->out; column += 16) {
		const uint8_t *line =
		    (const uint8_t *)layer->weight + column * layer->in;
		tiles(&job, (struct place){column, 4, 0}, line, INT8);
	}
}

static void
real(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	const struct job job = {layer, in, out};

	for (size_t column = 0; column < layer->out; column += 16)
		tiles(&job, (struct place){column, 4, 0}, NULL, REAL);
}

const struct linear_kernel linear_neon = {
    .level = CPU_NEON,
    .name = "neon",
    .two_bit = two_bit,
    .int8 = int8,
    .real = real,
};

#endif
