/*
 * Claims of attention/hash.h and how they are checked:
 *  - codes are the definition's, by a twin in double: a bit may differ only where its
 *    sum is within CODE_BOUND of the threshold, and few are; at exactly the threshold a
 *    bit is set; a vector of zeros has the code of the definition;
 *  - attention is the pair-by-pair sum in double within ATTEND_BOUND of the largest
 *    value, in both orders, for every similarity, 1 .. 32 bits, 1 .. 512 tokens, keys
 *    that are the queries and keys that are not;
 *  - every kernel gives the same bits as the scalar one;
 *  - HASH_AUTO is one of the orders, and linear from the number of tokens on that the
 *    header tells;
 *  - nothing outside the arrays is used: they end at unreadable pages, and what is
 *    between the rows, before the call in the scratch and in `out`, is NaN;
 *  - a plan that memory is short for is an error; $SIMD is a ceiling.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/hash.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/hash_twin.h"

#define CODE_BOUND 1e-5
#define ATTEND_BOUND 1e-5

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])

static const enum hash_order orders[] = {
    HASH_ORDER_QUADRATIC, HASH_ORDER_LINEAR, HASH_AUTO};

#define HEADS 2
#define GAP 5 /* floats between the rows */

/* A layer with random parameters. */
struct layer {
	struct hash hash;
	struct hash_plan *plan;
	float *memory;
	size_t auto_tokens; /* from where HASH_AUTO is linear; 0: not known */
};

static struct layer
layer_new(struct rng *rng, struct hash shape)
{
	const size_t heads = shape.heads, features = shape.function == HASH_KERNEL
							 ? shape.anchors
							 : shape.head_dims;
	const size_t anchors = heads * shape.anchors * shape.head_dims;
	const size_t planes = heads * shape.bits * features, bits = heads * shape.bits;
	struct layer layer = {shape, NULL, NULL, 0};
	struct error err;

	layer.memory = calloc(anchors + planes + bits + 5 * heads + bits + heads, 4);
	float *p = layer.memory;
	layer.hash.anchor = p;
	for (size_t a = 0; a < heads * shape.anchors; a++, p += shape.head_dims) {
		double square = 0;
		for (size_t d = 0; d < shape.head_dims; d++) {
			p[d] = rng_normal(rng);
			square += (double)p[d] * p[d];
		}
		for (size_t d = 0; d < shape.head_dims; d++)
			p[d] = (float)(p[d] / sqrt(square));
	}
	layer.hash.planes = p;
	for (size_t i = 0; i < planes; i++)
		*p++ = rng_normal(rng);
	layer.hash.threshold = p;
	for (size_t i = 0; i < bits; i++)
		*p++ = 0.3f * rng_normal(rng);
	const float **const of_heads[] = {&layer.hash.inverse_sigma, &layer.hash.gamma,
	    &layer.hash.delta, &layer.hash.epsilon, &layer.hash.floor};
	for (size_t i = 0; i < 5; i++) {
		*of_heads[i] = p;
		for (size_t h = 0; h < heads; h++)
			*p++ = 0.1f + rng_uniform(rng);
	}
	layer.hash.table = p;
	for (size_t i = 0; i < bits + heads; i++)
		*p++ = expf(-4 * rng_uniform(rng));
	/* What is not used is NULL. */
	if (shape.function != HASH_KERNEL)
		layer.hash.anchor = layer.hash.inverse_sigma = NULL;
	if (shape.similarity != HASH_GENERAL)
		layer.hash.gamma = layer.hash.delta = layer.hash.epsilon = NULL;
	if (shape.similarity != HASH_BUCKETS)
		layer.hash.floor = NULL;
	if (shape.similarity != HASH_TABLE)
		layer.hash.table = NULL;
	layer.plan = hash_plan_new(&layer.hash, &err);
	assert_non_null(layer.plan);
	return layer;
}

static void
layer_free(struct layer *layer)
{
	hash_plan_free(layer->plan);
	free(layer->memory);
}

/* Floats that end at a guard page, all NaN. */
static float *
poison_new(size_t n)
{
	float *p = guard_new(n * sizeof *p);

	for (size_t i = 0; i < n; i++)
		p[i] = NAN;
	return p;
}

static void
poison_free(float *p, size_t n)
{
	guard_free(p, n * sizeof *p);
}

/* n rows of random numbers with NaN between them; ends with the last row. */
struct rows {
	float *x;
	size_t floats, stride;
};

static struct rows
rows_new(struct rng *rng, size_t n, size_t dims)
{
	struct rows rows = {NULL, n * dims + (n - 1) * GAP, dims + GAP};

	rows.x = poison_new(rows.floats);
	for (size_t i = 0; i < n; i++)
		for (size_t d = 0; d < dims; d++)
			rows.x[i * rows.stride + d] = rng_normal(rng);
	return rows;
}

/* Bits that may be either way, and all. */
struct tally {
	size_t close, all;
};

static void
check_codes(struct rng *rng, const struct layer *layer, size_t n, struct tally *tally)
{
	const struct hash *hash = &layer->hash;
	const size_t dims = HEADS * hash->head_dims, bytes = n * HEADS * 4;
	struct rows rows = rows_new(rng, n, dims);
	double *margin = malloc(n * HEADS * hash->bits * sizeof *margin);
	uint32_t *first = malloc(bytes);

	if (n > 2) /* a head of zeros */
		memset(rows.x + rows.stride, 0, hash->head_dims * sizeof *rows.x);
	if (n > 4) /* ones that are short, and too short to have a direction */
		for (size_t d = 0; d < hash->head_dims; d++) {
			rows.x[3 * rows.stride + d] *= 1e-5f;
			rows.x[4 * rows.stride + d] *= 1e-7f;
		}
	hash_twin_margins(margin, hash, rows.x, n, rows.stride);
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct hash_kernel *kernel = hash_find(levels_of_cpu[l]);
		if (!kernel)
			continue;
		uint32_t *codes = guard_new(bytes);
		memset(codes, 0xA5, bytes);
		kernel->codes(codes, layer->plan, rows.x, n, rows.stride);
		if (levels_of_cpu[l] == CPU_SCALAR)
			memcpy(first, codes, bytes);
		assert_memory_equal(codes, first, bytes);
		guard_free(codes, bytes);
	}
	for (size_t i = 0; i < n * HEADS; i++) {
		if (hash->bits < 32)
			assert_int_equal(first[i] >> hash->bits, 0);
		for (size_t r = 0; r < hash->bits; r++) {
			double m = margin[i * hash->bits + r];
			tally->all++;
			if (fabs(m) < CODE_BOUND)
				tally->close++;
			else
				assert_int_equal(first[i] >> r & 1, m >= 0);
		}
	}
	free(first);
	free(margin);
	poison_free(rows.x, rows.floats);
}

static const size_t some_dims[] = {16, 32, 48, 64, 128};
static const size_t some_bits[] = {1, 8, 16, 17, 32};
static const size_t some_anchors[] = {1, 16, 25, 33, 64};

static void
test_codes(void **state)
{
	struct tally tally = {0, 0};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (size_t f = 0; f < 2; f++)
		for (size_t d = 0; d < 5; d++)
			for (size_t b = 0; b < 5; b++) {
				struct layer layer = layer_new(&rng,
				    (struct hash){
					.function = f ? HASH_LINEAR : HASH_KERNEL,
					.similarity = HASH_POSITIVE,
					.heads = HEADS,
					.head_dims = some_dims[d],
					.bits = some_bits[b],
					.anchors = some_anchors[rng_below(&rng, 5)]});
				for (size_t n = 1; n <= 40; n += 1 + rng_below(&rng, 5))
					check_codes(&rng, &layer, n, &tally);
				if (d == b) {
					check_codes(&rng, &layer, 100, &tally);
					check_codes(&rng, &layer, 511 + f, &tally);
				}
				layer_free(&layer);
			}
	assert_true(tally.all > 100000);
	assert_true(tally.close * 1000 < tally.all);
}

/* A plane along one axis meets a unit vector along it: the sum is the plane's number
 * itself, and so may be the threshold. */
static void
test_threshold(void **state)
{
	float planes[3 * 16] = {0}, threshold[3], x[2 * 16] = {0};
	const struct hash hash = {.function = HASH_LINEAR,
	    .similarity = HASH_POSITIVE,
	    .heads = 1,
	    .head_dims = 16,
	    .bits = 3,
	    .planes = planes,
	    .threshold = threshold};
	struct error err;

	(void)state;
	for (size_t r = 0; r < 3; r++) {
		planes[r * 16 + 5] = 0.3f;
		threshold[r] = nextafterf(0.3f, (float)r); /* below, above, above */
	}
	threshold[1] = 0.3f;
	x[5] = 4.0f; /* and a token of zeros */
	struct hash_plan *plan = hash_plan_new(&hash, &err);
	threshold[0] = threshold[2] = 0.0f;
	threshold[1] = -0.0f;
	struct hash_plan *zero = hash_plan_new(&hash, &err);
	assert_non_null(plan);
	assert_non_null(zero);
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct hash_kernel *kernel = hash_find(levels_of_cpu[l]);
		uint32_t codes[2];
		if (!kernel)
			continue;
		kernel->codes(codes, plan, x, 2, 16);
		assert_int_equal(codes[0], 3);
		assert_int_equal(codes[1], 0);
		kernel->codes(codes, zero, x, 2, 16);
		assert_int_equal(codes[0], 7);
		assert_int_equal(codes[1], 7);
	}
	hash_plan_free(plan);
	hash_plan_free(zero);
}

/* One kernel's answer; everything around is NaN or cannot be read. */
static float *
run(const struct layer *layer, const struct hash_kernel *kernel,
    const struct attend *attend, const uint32_t *q, const uint32_t *k,
    enum hash_order order)
{
	const size_t floats = hash_scratch(layer->plan, attend->n);
	struct attend mine = *attend;
	float *scratch = poison_new(floats);

	mine.out = poison_new(attend->n * attend->heads * attend->head_dims);
	kernel->attend(&mine, layer->plan, q, k, order, scratch);
	poison_free(scratch, floats);
	return mine.out;
}

static void
check_close(const float *got, const double *want, size_t n, double bound)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabs(got[i] - want[i]) <= bound))
			fail_msg("number %zu of %zu: %.9g, not %.9g (bound %g)", i, n,
			    (double)got[i], want[i], bound);
}

static double
bound_of(const struct hash *hash, const struct rows *v)
{
	double largest = 0, factor = 1;

	for (size_t i = 0; i < v->floats; i++)
		if (fabsf(v->x[i]) > largest)
			largest = fabsf(v->x[i]);
	if (hash->similarity == HASH_GENERAL)
		factor = 3.3; /* |gamma| + |delta| + |epsilon| at most */
	return ATTEND_BOUND * largest * factor;
}

/* HASH_AUTO is one of the orders, and which goes by n. */
static void
check_auto(const struct layer *layer, float *const *of_order, size_t n, size_t bytes)
{
	if (layer->hash.similarity == HASH_TABLE)
		assert_memory_equal(of_order[2], of_order[0], bytes);
	else if (layer->auto_tokens > 0)
		assert_memory_equal(
		    of_order[2], of_order[n >= layer->auto_tokens], bytes);
	else
		assert_true(memcmp(of_order[2], of_order[0], bytes) == 0 ||
			    memcmp(of_order[2], of_order[1], bytes) == 0);
}

/* All kernels in all orders with one text. */
static void
check_attend(struct rng *rng, const struct layer *layer, size_t n)
{
	const struct hash *hash = &layer->hash;
	const size_t dims = HEADS * hash->head_dims, bytes = n * HEADS * 4;
	const uint32_t all = (uint32_t)((1ull << hash->bits) - 1);
	const int shared = rng_below(rng, 2) == 0;
	struct rows v = rows_new(rng, n, dims);
	uint32_t *q = guard_new(bytes), *k = shared ? q : guard_new(bytes);
	double *want = malloc(n * dims * sizeof *want);
	const struct attend attend = {.v = v.x,
	    .stride = v.stride,
	    .n = n,
	    .heads = HEADS,
	    .head_dims = hash->head_dims};
	float *first[3] = {NULL, NULL, NULL};

	for (size_t i = 0; i < n * HEADS; i++) {
		q[i] = (uint32_t)rng_u64(rng) & all;
		k[i] = (uint32_t)rng_u64(rng) & all;
		if (i >= HEADS && rng_below(rng, 3) == 0) /* near another */
			k[i] = q[i - HEADS] ^ (1u << rng_below(rng, hash->bits));
		if (i >= HEADS && rng_below(rng, 5) == 0) /* opposite */
			k[i] = q[i - HEADS] ^ all;
	}
	hash_twin_attend(want, &attend, hash, q, k);
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct hash_kernel *kernel = hash_find(levels_of_cpu[l]);
		if (!kernel)
			continue;
		for (size_t o = 0; o < 3; o++) {
			if (hash->similarity == HASH_TABLE &&
			    orders[o] == HASH_ORDER_LINEAR)
				continue;
			float *out = run(layer, kernel, &attend, q, k, orders[o]);
			if (first[o]) {
				assert_memory_equal(out, first[o], n * dims * 4);
				poison_free(out, n * dims);
			} else {
				first[o] = out;
				check_close(out, want, n * dims, bound_of(hash, &v));
			}
		}
	}
	check_auto(layer, first, n, n * dims * 4);
	for (size_t o = 0; o < 3; o++)
		if (first[o])
			poison_free(first[o], n * dims);
	free(want);
	if (!shared)
		guard_free(k, bytes);
	guard_free(q, bytes);
	poison_free(v.x, v.floats);
}

/* Lengths that are worth a text of their own: long ones take their time, so each shape
 * meets one of them. */
static void
check_lengths(struct rng *rng, const struct layer *layer, size_t number)
{
	static const size_t longer[] = {100, 127, 128, 129, 511, 512};

	for (size_t n = 1; n <= 40; n++)
		check_attend(rng, layer, n);
	check_attend(rng, layer, longer[number % 6]);
}

static void
test_attend(enum hash_similarity similarity, uint64_t stream)
{
	struct rng rng;
	size_t number = 0;

	rng_init(&rng, test_seed(), stream);
	for (size_t d = 0; d < 4; d++)
		for (size_t b = 0; b < 5; b++) {
			struct hash shape = {.function = HASH_LINEAR,
			    .similarity = similarity,
			    .heads = HEADS,
			    .head_dims = some_dims[d],
			    .bits = some_bits[b]};
			/* Buckets of every width that fits. */
			shape.bucket_bits = 1 + (number + b) % 8;
			while (shape.bits % shape.bucket_bits != 0)
				shape.bucket_bits--;
			struct layer layer = layer_new(&rng, shape);
			check_lengths(&rng, &layer, number++);
			layer_free(&layer);
		}
	struct hash usual = {.function = HASH_LINEAR,
	    .similarity = similarity,
	    .heads = HEADS,
	    .head_dims = 32,
	    .bits = 16,
	    .bucket_bits = 4};
	struct layer layer = layer_new(&rng, usual);
	layer.auto_tokens = similarity == HASH_BUCKETS ? 24 : 31;
	for (size_t i = 0; i < 6; i++)
		check_lengths(&rng, &layer, i);
	layer_free(&layer);
}

static void
test_positive(void **state)
{
	(void)state;
	test_attend(HASH_POSITIVE, 2);
}

static void
test_general(void **state)
{
	(void)state;
	test_attend(HASH_GENERAL, 3);
}

static void
test_buckets(void **state)
{
	(void)state;
	test_attend(HASH_BUCKETS, 4);
}

static void
test_table(void **state)
{
	(void)state;
	test_attend(HASH_TABLE, 5);
}

/* Buckets of every width, where a word's groups are all of it and where they are not:
 * two codes that differ in one bit differ in one group. */
static void
test_groups(void **state)
{
	static const size_t of_width[] = {32, 32, 30, 32, 30, 30, 28, 32};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 6);
	for (size_t width = 1; width <= 8; width++) {
		struct layer layer =
		    layer_new(&rng, (struct hash){.function = HASH_LINEAR,
					.similarity = HASH_BUCKETS,
					.heads = HEADS,
					.head_dims = 16,
					.bits = of_width[width - 1],
					.bucket_bits = width});
		for (size_t n = 1; n <= 20; n++)
			check_attend(&rng, &layer, n);
		layer_free(&layer);
	}
}

static void
test_memory(void **state)
{
	const float some[64] = {0};
	const struct hash hash = {.function = HASH_LINEAR,
	    .similarity = HASH_GENERAL,
	    .heads = 1,
	    .head_dims = 16,
	    .bits = 4,
	    .planes = some,
	    .threshold = some,
	    .gamma = some,
	    .delta = some,
	    .epsilon = some};
	struct hash_plan *plan = NULL;
	long k = 1;

	(void)state;
	for (; !plan; k++) {
		struct error err = {ERR_NONE, ""};
		array_fail_at(k);
		plan = hash_plan_new(&hash, &err);
		if (!plan)
			assert_int_equal(err.code, ERR_MEMORY);
		assert_true(k < 10);
	}
	array_fail_at(0);
	assert_true(k > 2);
	hash_plan_free(plan);
	hash_plan_free(NULL);
}

static void
test_choice(void **state)
{
	(void)state;
	assert_non_null(hash_find(CPU_SCALAR));
	assert_null(hash_find(CPU_AMX));
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct hash_kernel *kernel = hash_find(levels_of_cpu[l]);
		if (kernel)
			assert_string_equal(
			    kernel->name, cpu_level_name(levels_of_cpu[l]));
	}
	/* main() set the ceiling before the first use. */
	assert_string_equal(hash_best()->name, "scalar");
}

/* In a process of its own: the choice is made once. */
static int
best_without_ceiling(void)
{
	const struct hash_kernel *want = hash_find(CPU_SCALAR);

	unsetenv("SIMD");
	for (size_t l = 0; l < N_LEVELS; l++)
		if (hash_find(levels_of_cpu[l]))
			want = hash_find(levels_of_cpu[l]);
	return hash_best() == want ? 0 : 1;
}

static const char *self;

static void
test_best(void **state)
{
	char command[4096];

	(void)state;
	snprintf(command, sizeof command, "'%s' best", self);
	assert_int_equal(system(command), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_threshold),
	    cmocka_unit_test(test_positive),
	    cmocka_unit_test(test_general),
	    cmocka_unit_test(test_buckets),
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_groups),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_best),
	};

	if (argc > 1)
		return best_without_ceiling();
	self = argv[0];
	setenv("SIMD", "scalar", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
