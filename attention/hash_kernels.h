#ifndef ATTENTION_HASH_KERNELS_H
#define ATTENTION_HASH_KERNELS_H

/*
 * The code of hash attention, one source for every instruction set: hash_<level>.c
 * includes it behind what differs between them,
 *
 *     HASH_TOKENS   tokens whose codes are made side by side
 *     HASH_QUERIES  queries that share a load of a value
 *     HASH_SPAN     vectors of 16 dimensions that are summed side by side
 *     struct words, words_load      16 codes
 *     struct lookup, lookup_load    a table of HASH_WEIGHTS floats
 *     weigh         16 weights of one key
 *
 * None of the numbers changes a result.  What is INLINE unrolls where its arguments are
 * constants.  Sums over keys go in the order of the keys.
 */
#include <stdbool.h>
#include <string.h>

#include "attention/hash_codes.h"
#include "attention/hash_plan.h"
#include "attention/lanes.h"

enum {
	QUERIES = LANES, /* whose weights are made at once: a lane is a query */
	KEYS = HASH_KEYS,
	PACKED = 32 /* keys from which values are worth copying together */
};

/* --- Both orders --- */

/* One head of a text. */
struct head {
	const struct hash_plan *plan;
	size_t h, n, dims;
	const uint32_t *q, *k; /* of this head: a token's is `plan->heads` further on */
	const float *v;
	size_t v_stride;
	float *out;
	size_t out_stride;
	float scale, uniform, own; /* general: gamma / (b n), delta / n, epsilon */
};

INLINE bool
divides(const struct hash_plan *plan)
{
	return plan->similarity != HASH_GENERAL;
}

/* --- Quadratic order --- */

/* weights (n, 16 queries) := of keys; sum += the weights. */
INLINE struct lanes
weigh_keys(float *weights, const struct head *head, const float *table,
    const uint32_t *queries, const uint32_t *keys, size_t n, const bool grouped,
    struct lanes sum)
{
	const struct words query = words_load(queries);
	const struct lookup lookup = lookup_load(table, head->plan);

	for (size_t j = 0; j < n; j++) {
		struct lanes w = weigh(query, keys[j], lookup, head->plan, grouped);
		lanes_store(weights + j * QUERIES, w);
		sum = lanes_add(sum, w);
	}
	return sum;
}

/* sum (queries, 16 * span of dims) += the values of n keys times their weights */
INLINE void
add_values(float *sum, size_t dims, const float *weights, const float *v,
    size_t v_stride, size_t n, const size_t queries, const size_t span)
{
	struct lanes part[8][2];

#pragma GCC unroll 8
	for (size_t q = 0; q < queries; q++)
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++)
			part[q][s] = lanes_load(sum + q * dims + s * LANES);
	for (size_t j = 0; j < n; j++, v += v_stride, weights += QUERIES) {
		struct lanes value[2];
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++)
			value[s] = lanes_load(v + s * LANES);
#pragma GCC unroll 8
		for (size_t q = 0; q < queries; q++)
#pragma GCC unroll 2
			for (size_t s = 0; s < span; s++)
				part[q][s] = lanes_fma(
				    lanes_set(weights[q]), value[s], part[q][s]);
	}
#pragma GCC unroll 8
	for (size_t q = 0; q < queries; q++)
#pragma GCC unroll 2
		for (size_t s = 0; s < span; s++)
			lanes_store(sum + q * dims + s * LANES, part[q][s]);
}

/* sum (16 queries, dims) += the values of n keys times their weights, for the first
 * `queries` of them and a few behind. */
static __attribute__((noinline)) void
add_keys(float *sum, size_t dims, const float *weights, const float *v, size_t v_stride,
    size_t n, size_t queries)
{
	for (size_t q = 0; q < queries; q += HASH_QUERIES) {
		float *rows = sum + q * dims;
		size_t d = 0;
		for (; d + HASH_SPAN * LANES <= dims; d += HASH_SPAN * LANES)
			add_values(rows + d, dims, weights + q, v + d, v_stride, n,
			    HASH_QUERIES, HASH_SPAN);
		if (d < dims)
			add_values(rows + d, dims, weights + q, v + d, v_stride, n,
			    HASH_QUERIES, 1);
	}
}

/* Where quadratic order works. */
struct pairs {
	uint32_t *queries, *keys; /* (n rounded up to 16) */
	float *weights;           /* (KEYS, 16) */
	float *sum;               /* (16, dims) */
	float *values;            /* (n, dims) */
};

/* out := of `queries` queries from number `first` on. */
INLINE void
finish(const struct head *head, const float *sum, struct lanes total, size_t first,
    size_t queries)
{
	_Alignas(64) float scale[LANES];

	lanes_store(scale, lanes_set(1.0f));
	if (divides(head->plan))
		lanes_store(scale, lanes_div(lanes_set(1.0f), total));
	for (size_t q = 0; q < queries; q++, sum += head->dims) {
		float *out = head->out + (first + q) * head->out_stride;
		const float *own = head->v + (first + q) * head->v_stride;
		const struct lanes by = lanes_set(scale[q]);
		for (size_t d = 0; d < head->dims; d += LANES) {
			struct lanes x = lanes_mul(lanes_load(sum + d), by);
			if (!divides(head->plan))
				x = lanes_fma(
				    lanes_set(head->own), lanes_load(own + d), x);
			lanes_store(out + d, x);
		}
	}
}

INLINE void
quadratic(const struct head *head, const struct pairs *pairs, const float *table,
    const bool grouped)
{
	const size_t n = head->n, dims = head->dims;
	const float *values = head->v;
	size_t stride = head->v_stride;

	for (size_t i = 0; i < n; i++) {
		pairs->queries[i] = head->q[i * head->plan->heads];
		pairs->keys[i] = head->k[i * head->plan->heads];
	}
	for (size_t i = n; i % QUERIES != 0; i++)
		pairs->queries[i] = 0;
	if (n >= PACKED) {
		for (size_t j = 0; j < n; j++)
			memcpy(pairs->values + j * dims, values + j * stride,
			    dims * sizeof *values);
		values = pairs->values;
		stride = dims;
	}
	for (size_t i = 0; i < n; i += QUERIES) {
		const size_t queries = n - i < QUERIES ? n - i : QUERIES;
		struct lanes total = lanes_set(0);
		memset(pairs->sum, 0, QUERIES * dims * sizeof *pairs->sum);
		for (size_t j = 0; j < n; j += KEYS) {
			const size_t keys = n - j < KEYS ? n - j : KEYS;
			total = weigh_keys(pairs->weights, head, table,
			    pairs->queries + i, pairs->keys + j, keys, grouped, total);
			add_keys(pairs->sum, dims, pairs->weights, values + j * stride,
			    stride, keys, queries);
		}
		finish(head, pairs->sum, total, i, queries);
	}
}

static void
attend_quadratic(const struct head *head, float *scratch)
{
	const struct hash_plan *plan = head->plan;
	const float *weights = plan->weights + head->h * HASH_WEIGHTS;
	const size_t padded = (head->n + QUERIES - 1) / QUERIES * QUERIES;
	_Alignas(64) float table[HASH_WEIGHTS];
	struct pairs pairs;

	pairs.queries = (uint32_t *)(void *)scratch;
	pairs.keys = pairs.queries + padded;
	pairs.weights = scratch + 2 * padded;
	pairs.sum = pairs.weights + KEYS * QUERIES;
	pairs.values = pairs.sum + QUERIES * head->dims;
	if (plan->similarity == HASH_GENERAL) {
		for (size_t d = 0; d < HASH_WEIGHTS; d++)
			table[d] = head->scale * weights[d] + head->uniform;
		weights = table;
	}
	if (plan->similarity == HASH_BUCKETS)
		quadratic(head, &pairs, weights, true);
	else
		quadratic(head, &pairs, weights, false);
}

/* --- Linear order --- */

/* Row c of group g holds the sum of the values whose keys have c in that group of
 * bits; then what a query with c there takes from all keys. */
struct tables {
	float *mass; /* (groups, rows): the same of 1 instead of values */
	float *row;  /* (groups, rows, dims) */
};

/* What the loops over groups and dimensions run to: constants for the usual shape. */
struct shape {
	size_t groups, group_bits, dims;
};

/* Each value goes to a row of each group. */
INLINE void
scatter(const struct head *head, const struct tables *tables, const struct shape shape)
{
	const size_t groups = shape.groups, dims = shape.dims, n = head->n;
	const size_t rows = (size_t)1 << shape.group_bits, heads = head->plan->heads;
	const uint32_t *k = head->k;
	const float *v = head->v;
	float *mass = tables->mass, *row = tables->row;

	memset(mass, 0, groups * rows * sizeof *mass);
	memset(row, 0, groups * rows * dims * sizeof *row);
	for (size_t j = 0; j < n; j++, k += heads, v += head->v_stride) {
#pragma GCC unroll 4
		for (size_t g = 0; g < groups; g++) {
			const size_t c = *k >> g * shape.group_bits & (rows - 1);
			float *to = row + (g * rows + c) * dims;
			mass[g * rows + c] += 1.0f;
#pragma GCC unroll 2
			for (size_t d = 0; d < dims; d += LANES)
				lanes_store(to + d,
				    lanes_add(lanes_load(to + d), lanes_load(v + d)));
		}
	}
}

/* 16 dimensions of the rows of a nibble, `width` bits of which are there: from sums of
 * what has each nibble to scale * (what has equal bits less what has other bits)
 * + uniform * all.
 *
 * bit[r] = what has bit r less what has not: the halves of the rows are taken from one
 * another, then added up, from the highest bit down. */
INLINE void
fold(float *row, size_t dims, size_t width, float scale, float uniform)
{
	struct lanes sum[HASH_NIBBLES], bit[HASH_NIBBLE];

#pragma GCC unroll 16
	for (size_t c = 0; c < HASH_NIBBLES; c++)
		sum[c] = lanes_load(row + c * dims);
#pragma GCC unroll 4
	for (size_t r = HASH_NIBBLE; r-- > 0;) {
		const size_t half = (size_t)1 << r;
		bit[r] = lanes_set(0);
#pragma GCC unroll 8
		for (size_t c = 0; c < half; c++) {
			bit[r] = lanes_add(bit[r], lanes_sub(sum[c + half], sum[c]));
			sum[c] = lanes_add(sum[c], sum[c + half]);
		}
		bit[r] = lanes_mul(bit[r], lanes_set(r < width ? scale : 0.0f));
	}
	sum[0] = lanes_mul(sum[0], lanes_set(uniform));
#pragma GCC unroll 4
	for (size_t r = 0; r < HASH_NIBBLE; r++) {
		sum[0] = lanes_sub(sum[0], bit[r]);
		bit[r] = lanes_add(bit[r], bit[r]);
	}
	lanes_store(row, sum[0]);
#pragma GCC unroll 16
	for (size_t c = 1; c < HASH_NIBBLES; c++) {
		sum[c] = lanes_add(sum[c & (c - 1)], bit[__builtin_ctzl(c)]);
		lanes_store(row + c * dims, sum[c]);
	}
}

/* The same of the mass: small integers, exact in any order. */
INLINE void
fold_mass(float *mass, const struct hash_plan *plan, size_t width, float rest)
{
	struct lanes sum = lanes_set(rest);
	float absent = 0;

	for (size_t c = 0; c < HASH_NIBBLES; c++) {
		absent += mass[c] * (float)(HASH_NIBBLE - width);
		sum = lanes_fma(lanes_set(mass[c]), lanes_load(plan->agree[c]), sum);
	}
	lanes_store(mass, lanes_sub(sum, lanes_set(absent)));
}

/* positive and general: a nibble at a time, the constant with the first. */
static __attribute__((noinline)) void
fold_all(const struct head *head, const struct tables *tables)
{
	const struct hash_plan *plan = head->plan;
	const float more = (float)(plan->bits + 1);

	for (size_t g = 0; g < plan->groups; g++) {
		const size_t left = plan->bits - g * HASH_NIBBLE;
		const size_t width = left < HASH_NIBBLE ? left : HASH_NIBBLE;
		float *row = tables->row + g * HASH_NIBBLES * head->dims;
		for (size_t d = 0; d < head->dims; d += LANES)
			fold(row + d, head->dims, width, head->scale,
			    g == 0 ? head->uniform : 0.0f);
		fold_mass(tables->mass + g * HASH_NIBBLES, plan, width,
		    g == 0 ? more * (float)head->n : 0.0f);
	}
}

/* buckets: the rows are what they should be, but for the floor. */
static __attribute__((noinline)) void
add_floor(const struct head *head, const struct tables *tables)
{
	const struct hash_plan *plan = head->plan;
	const float floor = plan->floor[head->h];

	for (size_t d = 0; d < head->dims; d += LANES) {
		struct lanes all = lanes_set(0);
		float *row = tables->row + d;
		for (size_t c = 0; c < plan->rows; c++)
			all = lanes_add(all, lanes_load(row + c * head->dims));
		all = lanes_mul(all, lanes_set(floor));
		for (size_t c = 0; c < plan->rows; c++, row += head->dims)
			lanes_store(row, lanes_add(lanes_load(row), all));
	}
	for (size_t c = 0; c < plan->rows; c++)
		tables->mass[c] += floor * (float)head->n;
}

/* Each query takes a row of each group; then the sum is divided by the mass, or what
 * is the query's own comes to it. */
INLINE void
gather(const struct head *head, const struct tables *tables, const struct shape shape,
    const bool divided)
{
	const size_t groups = shape.groups, dims = shape.dims, n = head->n;
	const size_t rows = (size_t)1 << shape.group_bits, heads = head->plan->heads;
	const struct lanes own = lanes_set(head->own);
	const uint32_t *q = head->q;
	const float *v = head->v;
	float *out = head->out;

	for (size_t i = 0; i < n; i++, q += heads, v += head->v_stride) {
		const float *row[HASH_BITS_MAX];
		float mass = 0;
#pragma GCC unroll 4
		for (size_t g = 0; g < groups; g++) {
			const size_t c = *q >> g * shape.group_bits & (rows - 1);
			row[g] = tables->row + (g * rows + c) * dims;
			mass += tables->mass[g * rows + c];
		}
		const struct lanes scale = lanes_set(divided ? 1.0f / mass : 0.0f);
#pragma GCC unroll 2
		for (size_t d = 0; d < dims; d += LANES) {
			struct lanes x = lanes_load(row[0] + d);
#pragma GCC unroll 4
			for (size_t g = 1; g < groups; g++)
				x = lanes_add(x, lanes_load(row[g] + d));
			x = divided ? lanes_mul(x, scale)
				    : lanes_fma(own, lanes_load(v + d), x);
			lanes_store(out + d, x);
		}
		out += head->out_stride;
	}
}

/* One function each, so that each has the registers to itself. */
#define USUAL ((struct shape){4, HASH_NIBBLE, 32})

static __attribute__((noinline)) void
scatter_usual(const struct head *head, const struct tables *tables)
{
	scatter(head, tables, USUAL);
}

static __attribute__((noinline)) void
scatter_any(
    const struct head *head, const struct tables *tables, const struct shape shape)
{
	scatter(head, tables, shape);
}

static __attribute__((noinline)) void
gather_usual(const struct head *head, const struct tables *tables)
{
	if (divides(head->plan))
		gather(head, tables, USUAL, true);
	else
		gather(head, tables, USUAL, false);
}

static __attribute__((noinline)) void
gather_any(
    const struct head *head, const struct tables *tables, const struct shape shape)
{
	gather(head, tables, shape, divides(head->plan));
}

static void
attend_linear(const struct head *head, float *scratch)
{
	const struct hash_plan *plan = head->plan;
	const struct shape shape = {plan->groups, plan->group_bits, head->dims};
	const size_t cells = plan->groups * plan->rows;
	const struct tables tables = {scratch, scratch + (cells + 15) / 16 * 16};
	const bool usual = shape.groups == USUAL.groups && shape.dims == USUAL.dims &&
			   shape.group_bits == USUAL.group_bits;

	if (usual)
		scatter_usual(head, &tables);
	else
		scatter_any(head, &tables, shape);
	if (plan->similarity == HASH_BUCKETS)
		add_floor(head, &tables);
	else
		fold_all(head, &tables);
	if (usual)
		gather_usual(head, &tables);
	else
		gather_any(head, &tables, shape);
}

/* See struct hash_kernel. */
static void
attend(const struct attend *attend, const struct hash_plan *plan, const uint32_t *q,
    const uint32_t *k, enum hash_order order, float *scratch)
{
	const float n = (float)attend->n;
	struct head head = {.plan = plan, .n = attend->n, .dims = plan->head_dims};

	if (order == HASH_AUTO)
		order = attend->n < plan->auto_tokens ? HASH_ORDER_QUADRATIC
						      : HASH_ORDER_LINEAR;
	head.v_stride = attend->stride;
	head.out_stride = plan->heads * plan->head_dims;
	for (size_t h = 0; h < plan->heads; h++) {
		head.h = h;
		head.q = q + h;
		head.k = k + h;
		head.v = attend->v + h * head.dims;
		head.out = attend->out + h * head.dims;
		head.scale = 1.0f;
		head.uniform = (float)(plan->bits + 1);
		if (plan->similarity == HASH_GENERAL) {
			head.scale = plan->gamma[h] / ((float)plan->bits * n);
			head.uniform = plan->delta[h] / n;
			head.own = plan->epsilon[h];
		}
		if (order == HASH_ORDER_LINEAR)
			attend_linear(&head, scratch);
		else
			attend_quadratic(&head, scratch);
	}
}

#endif /* ATTENTION_HASH_KERNELS_H */
