#include "index/distance.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/rng.h"
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
	if (shape.centres > 0 && kind != DISTANCE_HAMMING)
		memcpy(q->bases, terms.bases, shape.centres * sizeof *q->bases);
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

void
distance_at(float *at, const struct distance_query *q, const struct code_place *places,
    size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = code_share_value(places[i].share) * q->bases[places[i].centre];
}

float
distance_report(const struct distance_query *q, float score)
{
	if (q->kind == DISTANCE_HAMMING || q->terms.metric == DISTANCE_DOT)
		return score;
	float square = q->terms.norm2 - score;
	return square > 0 ? sqrtf(square) : 0.0f;
}

int32_t
distance_hamming_floor(uint32_t dims, float threshold)
{
	int32_t top = (int32_t)dims, dot;

	if (!(threshold <= 1.0f))
		return top + 1;
	if (threshold <= -1.0f)
		return -top;
	/* The product is off by less than one: step to the exact place. */
	dot = (int32_t)(threshold * (float)dims);
	while (dot > -top && (float)(dot - 1) / (float)dims >= threshold)
		dot--;
	while ((float)dot / (float)dims < threshold)
		dot++;
	return dot;
}

static const struct distance_kernel *const kernels[] = {
    &distance_scalar,
#if defined(__x86_64__)
    &distance_avx2,
    &distance_avx512,
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

/* The self-test: a few small shapes with every field, kind, metric and tail. */
#define TRIAL_DIMS_MAX 320
#define TRIAL_BLOCKS_MAX 5

struct trial {
	_Alignas(
	    64) uint8_t blocks[TRIAL_BLOCKS_MAX * TRIAL_DIMS_MAX / 2 * DISTANCE_ROWS];
	_Alignas(64) float factor[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	_Alignas(64) float norm2[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	_Alignas(64) float at[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	_Alignas(64) int32_t want[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	_Alignas(64) int32_t dots[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	struct hit want_found[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	struct hit found[TRIAL_BLOCKS_MAX * DISTANCE_ROWS];
	uint16_t live[TRIAL_BLOCKS_MAX];
	struct distance_query query;
};

static void
trial_fill(struct trial *t, struct rng *rng, struct code_shape shape,
    enum distance_kind kind, enum distance_metric metric)
{
	struct distance_terms terms = {metric, rng_uniform(rng), 1.0f, NULL};
	uint8_t levels[TRIAL_DIMS_MAX];
	int8_t values[TRIAL_DIMS_MAX];

	for (size_t i = 0; i < sizeof t->blocks; i++) {
		/* A 3-bit level leaves the top bit of its field clear. */
		unsigned keep = shape.bits == 3 ? 0x77 : 0xFF;
		t->blocks[i] = (uint8_t)(rng_u64(rng) & keep);
	}
	for (size_t r = 0; r < TRIAL_BLOCKS_MAX * DISTANCE_ROWS; r++) {
		t->factor[r] = rng_uniform(rng);
		t->norm2[r] = rng_uniform(rng);
		t->at[r] = rng_uniform(rng);
	}
	for (size_t b = 0; b < TRIAL_BLOCKS_MAX; b++)
		t->live[b] = (uint16_t)rng_u64(rng);
	for (size_t i = 0; i < shape.dims; i++) {
		levels[i] = (uint8_t)rng_below(rng, 1u << shape.bits);
		values[i] = (int8_t)((int)rng_below(rng, 256) - 128);
	}
	if (kind == DISTANCE_HAMMING)
		distance_query_hamming(&t->query, levels, shape);
	else if (kind == DISTANCE_SDC)
		distance_query_sdc(&t->query, levels, 0.7f, shape, terms);
	else
		distance_query_int8(&t->query, values, 0.01f, shape, terms);
	if (rng_below(rng, 2))
		distance_query_planes(
		    &t->query, 1 + (uint32_t)rng_below(rng, shape.bits));
}

static bool
trial_agrees(struct trial *t, const struct distance_kernel *kernel, size_t n_blocks)
{
	/* Every other trial has its rows at centres. */
	const struct distance_rows rows = {
	    t->live, t->factor, t->norm2, n_blocks % 2 ? t->at : NULL};
	const size_t n = n_blocks * DISTANCE_ROWS;

	distance_dots(&distance_scalar, t->want, &t->query, t->blocks, n_blocks);
	distance_dots(kernel, t->dots, &t->query, t->blocks, n_blocks);
	if (memcmp(t->want, t->dots, n * sizeof *t->dots) != 0)
		return false;

	float threshold = -INFINITY;
	for (int round = 0; round < 2; round++) {
		size_t want = distance_scalar.select(
		    t->want_found, t->want, &t->query, &rows, n_blocks, threshold);
		size_t got = kernel->select(
		    t->found, t->dots, &t->query, &rows, n_blocks, threshold);
		if (got != want ||
		    memcmp(t->found, t->want_found, got * sizeof *t->found) != 0)
			return false;
		if (got > 0) /* the next threshold ties with a row */
			threshold = t->found[got / 2].score;
	}
	return true;
}

static bool
agrees(const struct distance_kernel *kernel)
{
	static const uint32_t dims[] = {64, 128, 192, TRIAL_DIMS_MAX};
	struct trial t;
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++)
		for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++)
			for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
				size_t n_blocks = 1 + (d + bits) % TRIAL_BLOCKS_MAX;
				trial_fill(&t, &rng,
				    (struct code_shape){dims[d], bits, 0},
				    (enum distance_kind)kind,
				    d % 2 ? DISTANCE_EUCLID : DISTANCE_DOT);
				if (!trial_agrees(&t, kernel, n_blocks))
					return false;
			}
	return true;
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
	return agrees(kernels[i]);
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
