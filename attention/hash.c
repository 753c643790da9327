#include "attention/hash.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attention/hash_plan.h"
#include "base/alloc.h"
#include "base/rng.h"

/* Widths are rounded up to the lanes of a vector. */
static size_t
round_up(size_t n)
{
	return (n + 15) / 16 * 16;
}

static void
check(const struct hash *hash)
{
	assert(hash->heads >= 1 && hash->heads <= ATTEND_HEADS_MAX);
	assert(hash->head_dims >= 16 && hash->head_dims % 16 == 0);
	assert(hash->head_dims <= ATTEND_HEAD_DIMS_MAX);
	assert(hash->bits >= 1 && hash->bits <= HASH_BITS_MAX);
	if (hash->function == HASH_KERNEL)
		assert(hash->anchors >= 1 && hash->anchors <= HASH_ANCHORS_MAX);
	if (hash->similarity == HASH_BUCKETS) {
		assert(hash->bucket_bits >= 1 && hash->bucket_bits <= 8);
		assert(hash->bits % hash->bucket_bits == 0);
	}
}

/* to (heads, in, width) := from (heads, out, in), each matrix turned over and its rows
 * filled up with zeros. */
static void
transpose(float *to, const float *from, size_t heads, size_t out, size_t in)
{
	const size_t width = round_up(out);

	for (size_t h = 0; h < heads; h++, to += in * width, from += out * in)
		for (size_t o = 0; o < out; o++)
			for (size_t i = 0; i < in; i++)
				to[i * width + o] = from[o * in + i];
}

/* The weight of each number of differing bits or groups. */
static void
fill_weights(struct hash_plan *plan, const struct hash *hash)
{
	const int b = (int)hash->bits;

	for (size_t h = 0; h < plan->heads; h++) {
		float *weights = plan->weights + h * HASH_WEIGHTS;
		for (int d = 0; d <= b; d++) {
			if (plan->similarity == HASH_POSITIVE)
				weights[d] = (float)(b - 2 * d + b + 1);
			else if (plan->similarity == HASH_GENERAL)
				weights[d] = (float)(b - 2 * d);
			else if (plan->similarity == HASH_TABLE)
				weights[d] =
				    hash->table[h * (hash->bits + 1) + (size_t)d];
			else if (d <= (int)plan->groups)
				weights[d] =
				    (float)((int)plan->groups - d) + hash->floor[h];
		}
	}
}

/* Which bits of a difference are counted: of each group of bits the lowest, once the
 * others have been or-ed into it. */
static void
fill_difference(struct hash_plan *plan)
{
	if (plan->similarity != HASH_BUCKETS) {
		plan->mask = UINT32_MAX;
		return;
	}
	for (size_t g = 0; g < plan->groups; g++)
		plan->mask |= 1u << g * plan->group_bits;
	for (size_t i = 0, reach = 1; reach < plan->group_bits; i++) {
		size_t step = plan->group_bits - reach;
		plan->shift[i] = (unsigned)(step < reach ? step : reach);
		reach += plan->shift[i];
	}
}

static void
fill_agree(struct hash_plan *plan)
{
	for (unsigned a = 0; a < HASH_NIBBLES; a++)
		for (unsigned c = 0; c < HASH_NIBBLES; c++)
			plan->agree[a][c] =
			    (float)(HASH_NIBBLE - 2 * __builtin_popcount(a ^ c));
}

static void
fill(struct hash_plan *plan, const struct hash *hash)
{
	const size_t heads = plan->heads;

	if (plan->function == HASH_KERNEL) {
		transpose(
		    plan->anchor, hash->anchor, heads, plan->anchors, plan->head_dims);
		memcpy(plan->inverse_sigma, hash->inverse_sigma, heads * sizeof(float));
	}
	transpose(plan->planes, hash->planes, heads, plan->bits, plan->features);
	for (size_t h = 0; h < heads; h++)
		for (size_t r = 0; r < plan->bit_width; r++)
			plan->threshold[h * plan->bit_width + r] =
			    r < plan->bits ? hash->threshold[h * plan->bits + r]
					   : INFINITY;
	if (plan->similarity == HASH_GENERAL) {
		memcpy(plan->gamma, hash->gamma, heads * sizeof(float));
		memcpy(plan->delta, hash->delta, heads * sizeof(float));
		memcpy(plan->epsilon, hash->epsilon, heads * sizeof(float));
	}
	if (plan->similarity == HASH_BUCKETS)
		memcpy(plan->floor, hash->floor, heads * sizeof(float));
	fill_difference(plan);
	fill_weights(plan, hash);
	fill_agree(plan);
}

/*
 * Where linear order becomes faster.  Quadratic order costs n^2; linear order n for
 * each group of bits, and for each row of its tables a share to clear it and to fold it
 * or add the floor.  All of it as often as a head has vectors of dimensions, which
 * therefore do not matter.  The factors are fits of what was measured with AVX2 and
 * AVX-512 (bench/bench_hash.c); they are the same everywhere, because the orders round
 * differently.
 */
static size_t
auto_tokens(const struct hash_plan *plan)
{
	const size_t row = plan->similarity == HASH_BUCKETS ? 9 : 18;
	size_t n = 1;

	if (plan->similarity == HASH_TABLE)
		return SIZE_MAX;
	while (2 * n * n < plan->groups * (6 * n + row * plan->rows))
		n++;
	return n;
}

/* *plan := all but the parameters. */
static void
shape(struct hash_plan *plan, const struct hash *hash)
{
	const bool kernel = hash->function == HASH_KERNEL;
	const bool buckets = hash->similarity == HASH_BUCKETS;

	check(hash);
	memset(plan, 0, sizeof *plan);
	plan->function = hash->function;
	plan->similarity = hash->similarity;
	plan->heads = hash->heads;
	plan->head_dims = hash->head_dims;
	plan->bits = hash->bits;
	plan->anchors = kernel ? hash->anchors : 0;
	plan->features = kernel ? hash->anchors : hash->head_dims;
	plan->anchor_width = round_up(plan->anchors);
	plan->bit_width = round_up(plan->bits);
	plan->group_bits = buckets ? hash->bucket_bits : HASH_NIBBLE;
	plan->groups = (plan->bits + plan->group_bits - 1) / plan->group_bits;
	plan->rows = (size_t)1 << plan->group_bits;
	plan->counts = (buckets ? plan->groups : plan->bits) + 1;
	plan->auto_tokens = auto_tokens(plan);
}

/* The parameters' floats; `memory` (as many, zeros) becomes theirs unless it is NULL.
 */
static size_t
place(struct hash_plan *plan, float *memory)
{
	const struct {
		float **part;
		size_t head; /* floats a head: multiples of 16 first, all aligned */
	} parts[] = {
	    {&plan->anchor, plan->head_dims * plan->anchor_width},
	    {&plan->planes, plan->features * plan->bit_width},
	    {&plan->threshold, plan->bit_width},
	    {&plan->weights, HASH_WEIGHTS},
	    {&plan->inverse_sigma, 1},
	    {&plan->gamma, 1},
	    {&plan->delta, 1},
	    {&plan->epsilon, 1},
	    {&plan->floor, 1},
	};
	size_t floats = 0;

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (memory)
			*parts[i].part = memory + floats;
		floats += plan->heads * parts[i].head;
	}
	return floats;
}

struct hash_plan *
hash_plan_new(const struct hash *hash, struct error *err)
{
	struct hash_plan *plan = array_new_aligned(1, sizeof *plan);
	if (!plan)
		goto err0;
	shape(plan, hash);
	float *memory = array_new_aligned(place(plan, NULL), sizeof *memory);
	if (!memory)
		goto err1;
	place(plan, memory);
	fill(plan, hash);
	return plan;
err1:
	free(plan);
err0:
	error_set(
	    err, ERR_MEMORY, "no memory for hash attention of %zu heads", hash->heads);
	return NULL;
}

void
hash_plan_free(struct hash_plan *plan)
{
	if (plan)
		free(plan->anchor); /* the first of the parameters: all of them */
	free(plan);
}

size_t
hash_scratch(const struct hash_plan *plan, size_t n)
{
	/* As attend_quadratic and attend_linear divide it up. */
	const size_t quadratic =
	    2 * round_up(n) + 16 * HASH_KEYS + (16 + n) * plan->head_dims;
	const size_t cells = plan->groups * plan->rows;
	const size_t linear = round_up(cells) + cells * plan->head_dims;

	return quadratic > linear ? quadratic : linear;
}

static const struct hash_kernel *const kernels[] = {
    &hash_scalar,
#if defined(__x86_64__)
    &hash_avx2,
    &hash_avx512,
#elif defined(__aarch64__)
    &hash_neon,
#endif
};
#define KERNELS (sizeof kernels / sizeof kernels[0])

const struct hash_kernel *
hash_find(enum cpu_level level)
{
	for (size_t i = 0; i < KERNELS; i++)
		if (kernels[i]->level == level && cpu_has(level))
			return kernels[i];
	return NULL;
}

/* The self-test: a text of every function and similarity, in both orders. */
enum {
	TRIAL_TOKENS = 19,
	TRIAL_HEADS = 2,
	TRIAL_DIMS = 48,
	TRIAL_ROW = TRIAL_HEADS * TRIAL_DIMS,
	TRIAL_BITS = 20,
	TRIAL_ANCHORS = 21,
	TRIAL_FLOATS = 1 << 13
};

struct trial {
	_Alignas(64) float plan_memory[TRIAL_FLOATS];
	_Alignas(64) float scratch[TRIAL_FLOATS];
	float numbers[TRIAL_FLOATS];
	float out[2][TRIAL_TOKENS * TRIAL_ROW]; /* scalar's, the kernel's */
	uint32_t codes[2][TRIAL_TOKENS * TRIAL_HEADS];
	struct hash_plan plan;
};

static bool
trial_agrees(struct trial *t, const struct hash_kernel *kernel, enum hash_order order)
{
	const struct hash_kernel *const both[] = {&hash_scalar, kernel};

	for (int i = 0; i < 2; i++) {
		const struct attend attend = {.v = t->numbers,
		    .stride = TRIAL_ROW,
		    .out = t->out[i],
		    .n = TRIAL_TOKENS,
		    .heads = TRIAL_HEADS,
		    .head_dims = TRIAL_DIMS};
		both[i]->codes(
		    t->codes[i], &t->plan, t->numbers, TRIAL_TOKENS, TRIAL_ROW);
		both[i]->attend(
		    &attend, &t->plan, t->codes[i], t->codes[i], order, t->scratch);
	}
	return memcmp(t->codes[0], t->codes[1], sizeof t->codes[0]) == 0 &&
	       memcmp(t->out[0], t->out[1], sizeof t->out[0]) == 0;
}

static bool
agrees(const struct hash_kernel *kernel)
{
	struct trial t = {0};
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < TRIAL_FLOATS; i++)
		t.numbers[i] = rng_uniform(&rng) - 0.3f;
	const float *some = t.numbers, positive[TRIAL_HEADS] = {0.5f, 2.0f};
	for (int function = HASH_KERNEL; function <= HASH_LINEAR; function++)
		for (int form = HASH_POSITIVE; form <= HASH_TABLE; form++) {
			struct hash hash = {.function = (enum hash_function)function,
			    .similarity = (enum hash_similarity)form,
			    .heads = TRIAL_HEADS,
			    .head_dims = TRIAL_DIMS,
			    .bits = TRIAL_BITS,
			    .anchors = TRIAL_ANCHORS,
			    .bucket_bits = 5,
			    .anchor = some,
			    .inverse_sigma = positive,
			    .planes = some + 100,
			    .threshold = some + 200,
			    .gamma = some,
			    .delta = some + 2,
			    .epsilon = some + 4,
			    .floor = positive,
			    .table = some + 300};
			shape(&t.plan, &hash);
			assert(place(&t.plan, NULL) <= TRIAL_FLOATS);
			assert(hash_scratch(&t.plan, TRIAL_TOKENS) <= TRIAL_FLOATS);
			memset(t.plan_memory, 0, sizeof t.plan_memory);
			place(&t.plan, t.plan_memory);
			fill(&t.plan, &hash);
			if (!trial_agrees(&t, kernel, HASH_ORDER_QUADRATIC))
				return false;
			if (form != HASH_TABLE &&
			    !trial_agrees(&t, kernel, HASH_ORDER_LINEAR))
				return false;
		}
	return true;
}

static const struct hash_kernel *best;

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
	    "hash_kernel", KERNELS, level_of, agrees_with_scalar};

	best = kernels[cpu_choose(&all)];
}

const struct hash_kernel *
hash_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return best;
}
