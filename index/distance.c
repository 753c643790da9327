#include "index/distance.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "index/distance_kernels.h"

/* 4 bits, the first of them the highest, as the lowest bits of 4 bytes. */
static const uint32_t spread[16] = {0x00000000, 0x01000000, 0x00010000, 0x01010000,
    0x00000100, 0x01000100, 0x00010100, 0x01010100, 0x00000001, 0x01000001, 0x00010001,
    0x01010001, 0x00000101, 0x01000101, 0x00010101, 0x01010101};

/* The reverse: the products of the 4 bits land on distinct places, so nothing
 * carries, and bits 24 .. 27 are the nibble. */
static uint32_t
gather(uint32_t word)
{
	return (word & 0x01010101u) * 0x08040201u >> 24 & 15u;
}

/* Inlined with constant bits, so that the loops over groups and planes unroll. */
static inline __attribute__((always_inline)) void
pack(uint8_t *column, const uint8_t *wire, uint32_t dims, uint32_t bits)
{
	const uint32_t field = distance_field(bits), groups = 8 / field;
	const size_t plane_bytes = dims / 8, words = (size_t)dims * field / 32;

	for (size_t w = 0; w < words; w++) {
		uint32_t word = 0;
#pragma GCC unroll 8
		for (uint32_t g = 0; g < groups; g++) {
			size_t nibble = groups * w + g;
			unsigned shift = nibble % 2 ? 0 : 4;
#pragma GCC unroll 4
			for (uint32_t p = 0; p < bits; p++) {
				unsigned byte = wire[p * plane_bytes + nibble / 2];
				word |= spread[byte >> shift & 15u]
					<< (field * g + bits - 1 - p);
			}
		}
		bytes_put32le(column + 4 * DISTANCE_ROWS * w, word);
	}
}

static inline __attribute__((always_inline)) void
unpack(uint8_t *wire, const uint8_t *column, uint32_t dims, uint32_t bits)
{
	const uint32_t field = distance_field(bits), groups = 8 / field;
	const size_t plane_bytes = dims / 8, words = (size_t)dims * field / 32;

	for (size_t w = 0; w < words; w++) {
		uint32_t word = bytes_get32le(column + 4 * DISTANCE_ROWS * w);
#pragma GCC unroll 4
		for (uint32_t g = 0; g < groups; g += 2) {
			size_t byte = (groups * w + g) / 2;
#pragma GCC unroll 4
			for (uint32_t p = 0; p < bits; p++) {
				uint32_t at = word >> (field * g + bits - 1 - p);
				uint32_t high = gather(at), low = gather(at >> field);
				wire[p * plane_bytes + byte] =
				    (uint8_t)(high << 4 | low);
			}
		}
	}
}

void
distance_pack(uint8_t *block, size_t row, const uint8_t *wire, struct code_shape shape)
{
	uint8_t *column = block + 4 * row;

	assert(row < DISTANCE_ROWS);
	switch (shape.bits) {
	case 1:
		pack(column, wire, shape.dims, 1);
		break;
	case 2:
		pack(column, wire, shape.dims, 2);
		break;
	case 3:
		pack(column, wire, shape.dims, 3);
		break;
	default:
		pack(column, wire, shape.dims, 4);
	}
}

void
distance_unpack(
    uint8_t *wire, const uint8_t *block, size_t row, struct code_shape shape)
{
	const uint8_t *column = block + 4 * row;

	assert(row < DISTANCE_ROWS);
	switch (shape.bits) {
	case 1:
		unpack(wire, column, shape.dims, 1);
		break;
	case 2:
		unpack(wire, column, shape.dims, 2);
		break;
	case 3:
		unpack(wire, column, shape.dims, 3);
		break;
	default:
		unpack(wire, column, shape.dims, 4);
	}
}

static void
query_init(struct distance_query *q, enum distance_kind kind, struct code_shape shape,
    struct distance_terms terms)
{
	assert(code_shape_check(shape, &(struct error){0}) == 0);
	memset(q, 0, sizeof *q);
	q->kind = kind;
	q->shape = shape;
	q->terms = terms;
	q->terms.bases = NULL;
	if (kind == DISTANCE_HAMMING)
		return;
	for (uint32_t c = 0; c < shape.centres; c++)
		q->bases[c] = terms.bases[c];
}

void
distance_query_planes(struct distance_query *q, uint32_t planes)
{
	const uint32_t field = distance_field(q->shape.bits);
	int32_t sum = 0, top = (1 << q->shape.bits) - 1;

	assert(planes >= 1 && planes <= q->shape.bits);
	if (q->kind == DISTANCE_HAMMING)
		return;
	/* The largest level that the planes can say, in place. */
	top &= -(1 << (q->shape.bits - planes));
	q->mask = 0;
	for (uint32_t at = 0; at < 32; at += field)
		q->mask |= (uint32_t)top << at;
	for (size_t i = 0; i < q->shape.dims; i++)
		sum += q->values[i];
	q->bias = top * sum;
}

void
distance_query_int8(struct distance_query *q, const int8_t *values, float scale,
    struct code_shape shape, struct distance_terms terms)
{
	query_init(q, DISTANCE_INT8, shape, terms);
	memcpy(q->values, values, shape.dims);
	distance_query_planes(q, shape.bits);
	/* v = (2 c - top) / 2^(bits-1); the division is exact. */
	q->scale = scale / (float)(1 << (shape.bits - 1));
}

void
distance_query_sdc(struct distance_query *q, const uint8_t *levels, float factor,
    struct code_shape shape, struct distance_terms terms)
{
	int top = (1 << shape.bits) - 1;

	query_init(q, DISTANCE_SDC, shape, terms);
	for (size_t i = 0; i < shape.dims; i++)
		q->values[i] = (int8_t)(2 * levels[i] - top);
	distance_query_planes(q, shape.bits);
	q->scale = factor / (float)(1 << (2 * (shape.bits - 1)));
}

void
distance_query_hamming(
    struct distance_query *q, const uint8_t *levels, struct code_shape shape)
{
	const uint32_t field = distance_field(shape.bits);

	query_init(q, DISTANCE_HAMMING, shape, (struct distance_terms){0});
	for (uint32_t at = shape.bits - 1; at < 8; at += field)
		q->mask |= 0x01010101u << at;
	for (size_t i = 0; i < shape.dims; i++) {
		uint32_t plane0 = levels[i] >> (shape.bits - 1) & 1u;
		size_t w = i * field / 32, group = i % (32 / field) / 4;
		q->words[w] |= plane0 << (8 * (i % 4) + field * group + shape.bits - 1);
	}
	q->scale = 1.0f / (float)shape.dims;
}

float
distance_report(const struct distance_query *q, float score)
{
	if (q->kind == DISTANCE_HAMMING || q->terms.metric == DISTANCE_DOT)
		return score;
	float square = q->terms.norm2 - score;
	return square > 0 ? sqrtf(square) : 0.0f;
}

static const struct distance_kernel *const kernels[] = {
    &distance_scalar,
#if defined(__x86_64__)
    &distance_avx2,
    &distance_avx512,
    &distance_amx,
#elif defined(__aarch64__)
    &distance_neon,
#endif
};
#define KERNELS (sizeof kernels / sizeof kernels[0])

const struct distance_kernel *
distance_find(enum cpu_level level)
{
	for (size_t i = 0; i < KERNELS; i++)
		if (kernels[i]->level == level && cpu_has(level))
			return kernels[i];
	return NULL;
}

static const struct distance_kernel *best;

static enum cpu_level
level_of(size_t i)
{
	return kernels[i]->level;
}

static bool
agrees_with_scalar(size_t i)
{
	return distance_agrees(kernels[i]);
}

static void
choose(void)
{
	const struct cpu_kernels all = {
	    "distance_kernel", KERNELS, level_of, agrees_with_scalar};

	best = kernels[cpu_choose(&all)];
}

const struct distance_kernel *
distance_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return best;
}
