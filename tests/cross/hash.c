/*
 * Claim of attention/hash.h: the kernels of NEON give the bits of the scalar ones,
 * codes and floats, and are found and chosen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/hash.h"
#include "base/rng.h"
#include "tests/support/guard.h"

#define HEADS 2
#define GAP 3 /* floats between the rows */
#define FLOATS 70000

static float *
random_floats(struct rng *rng, size_t n, float shift)
{
	float *x = malloc(n * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = rng_uniform(rng) + shift;
	return x;
}

static void
run(const struct hash_kernel *kernel, const struct hash_plan *plan,
    const struct attend *attend, uint32_t *codes, enum hash_order order)
{
	float *scratch = malloc(hash_scratch(plan, attend->n) * sizeof *scratch);

	kernel->codes(codes, plan, attend->v, attend->n, attend->stride);
	kernel->attend(attend, plan, codes, codes, order, scratch);
	free(scratch);
}

/* Whether both give the same for a text of n tokens. */
static int
agree(const struct hash *hash, const float *x, size_t n, enum hash_order order)
{
	const size_t dims = HEADS * hash->head_dims;
	const size_t codes_bytes = n * HEADS * 4, out_bytes = n * dims * 4;
	struct error err;
	struct hash_plan *plan = hash_plan_new(hash, &err);
	uint32_t *codes[2] = {malloc(codes_bytes), guard_new(codes_bytes)};
	float *out[2] = {malloc(out_bytes), guard_new(out_bytes)};

	if (!plan)
		return 0;
	for (int i = 0; i < 2; i++) {
		const struct attend attend = {.v = x,
		    .stride = dims + GAP,
		    .out = out[i],
		    .n = n,
		    .heads = HEADS,
		    .head_dims = hash->head_dims};
		run(hash_find(i == 0 ? CPU_SCALAR : CPU_NEON), plan, &attend, codes[i],
		    order);
	}
	int same = memcmp(codes[0], codes[1], codes_bytes) == 0 &&
		   memcmp(out[0], out[1], out_bytes) == 0;
	hash_plan_free(plan);
	free(codes[0]);
	free(out[0]);
	guard_free(codes[1], codes_bytes);
	guard_free(out[1], out_bytes);
	return same;
}

/* Every length and order with one shape. */
static int
compare(struct hash hash, const float *some, const float *positive)
{
	static const size_t lengths[] = {1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 64, 150};

	hash.heads = HEADS;
	hash.inverse_sigma = hash.floor = hash.table = positive;
	hash.anchor = hash.planes = some;
	hash.threshold = hash.gamma = hash.delta = hash.epsilon = some + 7;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (int order = HASH_AUTO; order <= HASH_ORDER_QUADRATIC; order++) {
			if (hash.similarity == HASH_TABLE && order == HASH_ORDER_LINEAR)
				continue;
			if (agree(&hash, some + i, lengths[i], (enum hash_order)order))
				continue;
			fprintf(stderr,
			    "hash: neon differs: function %d, similarity %d, %zu bits, "
			    "%zu dims, %zu anchors, %zu tokens, order %d\n",
			    (int)hash.function, (int)hash.similarity, hash.bits,
			    hash.head_dims, hash.anchors, lengths[i], order);
			return -1;
		}
	return 0;
}

int
main(void)
{
	static const size_t bits[] = {1, 8, 16, 17, 32};
	struct rng rng;
	int failed = 0;

	if (!hash_find(CPU_NEON)) {
		fputs("hash: this processor has no dot product\n", stderr);
		return 1;
	}
	if (strcmp(hash_best()->name, "neon") != 0) {
		fprintf(stderr, "hash: expected neon, not %s\n", hash_best()->name);
		return 1;
	}
	rng_init(&rng, test_seed(), 1);
	float *some = random_floats(&rng, FLOATS, -0.5f);
	float *positive = random_floats(&rng, FLOATS, 0.1f);
	for (int similarity = HASH_POSITIVE; similarity <= HASH_TABLE; similarity++)
		for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
			for (size_t dims = 16; dims <= 64; dims *= 2) {
				struct hash hash = {
				    .function = b % 2 ? HASH_LINEAR : HASH_KERNEL,
				    .similarity = (enum hash_similarity)similarity,
				    .head_dims = dims,
				    .bits = bits[b],
				    .anchors = 1 + rng_below(&rng, HASH_ANCHORS_MAX),
				    .bucket_bits = bits[b] % 8 == 0 ? 8 : 1};
				failed |= compare(hash, some, positive);
			}
	free(some);
	free(positive);
	return failed ? 1 : 0;
}
