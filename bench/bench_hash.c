/*
 * What hash attention costs, for each instruction set that this processor has, on one
 * thread: codes, every similarity in each order, and softmax attention beside it, in
 * nanoseconds of processor time a head and text; then from how many tokens on one is
 * faster than the other.  The shape is that of all-MiniLM-L6-v2: 12 heads of 32
 * dimensions, 16 bits, 25 anchors.
 *
 *     bench_hash [FOLDER]   the tables
 *     bench_hash rounds     for a peer to take turns with: names of the kernel and of
 *         the rows, then for a line "ROW TOKENS CALLS" nanoseconds a head and text
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/hash.h"
#include "attention/softmax.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"

#define ROUNDS 11
#define ROUND_SECONDS 2e-3
#define HEADS 12
#define HEAD_DIMS 32
#define DIMS (HEADS * HEAD_DIMS)
#define BITS 16
#define ANCHORS 25
#define TOKENS_MAX ATTEND_TOKENS_MAX

static const enum cpu_level levels[] = {CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512};
#define LEVELS (sizeof levels / sizeof levels[0])

static const size_t tokens[] = {8, 16, 32, 64, 128, 256, TOKENS_MAX};
#define LENGTHS (sizeof tokens / sizeof tokens[0])

static const struct row {
	const char *name;
	enum { CODES, ATTEND, SOFTMAX } what;
	enum hash_function function;
	enum hash_similarity similarity;
	enum hash_order order;
} rows[] = {
    {"codes, kernel", CODES, HASH_KERNEL, HASH_POSITIVE, HASH_AUTO},
    {"codes, linear", CODES, HASH_LINEAR, HASH_POSITIVE, HASH_AUTO},
    {"positive, quadratic", ATTEND, HASH_LINEAR, HASH_POSITIVE, HASH_ORDER_QUADRATIC},
    {"positive, linear", ATTEND, HASH_LINEAR, HASH_POSITIVE, HASH_ORDER_LINEAR},
    {"general, quadratic", ATTEND, HASH_LINEAR, HASH_GENERAL, HASH_ORDER_QUADRATIC},
    {"general, linear", ATTEND, HASH_LINEAR, HASH_GENERAL, HASH_ORDER_LINEAR},
    {"buckets, quadratic", ATTEND, HASH_LINEAR, HASH_BUCKETS, HASH_ORDER_QUADRATIC},
    {"buckets, linear", ATTEND, HASH_LINEAR, HASH_BUCKETS, HASH_ORDER_LINEAR},
    {"table, quadratic", ATTEND, HASH_LINEAR, HASH_TABLE, HASH_ORDER_QUADRATIC},
    {"softmax", SOFTMAX, HASH_LINEAR, HASH_POSITIVE, HASH_AUTO},
};
#define ROWS (sizeof rows / sizeof rows[0])
enum { ROW_KERNEL = 0, ROW_LINEAR = 1, ROW_SOFTMAX = ROWS - 1 };

/* All that is measured works on: made once. */
struct work {
	float *numbers; /* parameters; many enough for any */
	float *x, *out, *scratch;
	uint32_t *q, *k;
};

static void *
need(void *p)
{
	if (!p)
		harness_fail("bench_hash", "out of memory");
	return p;
}

static float *
random_floats(size_t n)
{
	float *x = need(array_new_aligned(n, sizeof *x));
	struct rng rng;

	rng_init(&rng, 1, n);
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(&rng);
	return x;
}

static struct hash_plan *
plan_of(const struct work *work, const struct row *row)
{
	static const float positive[HEADS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	const float *some = work->numbers;
	const struct hash hash = {.function = row->function,
	    .similarity = row->similarity,
	    .heads = HEADS,
	    .head_dims = HEAD_DIMS,
	    .bits = BITS,
	    .anchors = ANCHORS,
	    .bucket_bits = 4,
	    .anchor = some,
	    .inverse_sigma = positive,
	    .planes = some,
	    .threshold = some,
	    .gamma = some,
	    .delta = some,
	    .epsilon = some,
	    .floor = positive,
	    .table = some};
	struct error err;
	struct hash_plan *plan = hash_plan_new(&hash, &err);

	if (!plan)
		harness_fail("bench_hash", err.text);
	return plan;
}

static void
call(const struct work *work, const struct row *row, const struct hash_plan *plan,
    enum cpu_level level, size_t n)
{
	const struct attend attend = {work->x, work->x + DIMS, work->x + 2 * DIMS,
	    3 * DIMS, work->out, n, HEADS, HEAD_DIMS};

	if (row->what == CODES)
		hash_find(level)->codes(work->k, plan, work->x, n, 3 * DIMS);
	else if (row->what == ATTEND)
		hash_find(level)->attend(
		    &attend, plan, work->q, work->k, row->order, work->scratch);
	else
		softmax_find(level)(&attend, work->scratch);
}

/* Nanoseconds a head: the median over rounds of calls that fill their time. */
static double
measure(const struct work *work, const struct row *row, enum cpu_level level, size_t n)
{
	struct hash_plan *plan = plan_of(work, row);
	struct harness_time times[ROUNDS];
	size_t calls = 1, rounds = ROUNDS;

	for (;; calls *= 2) { /* warms up, too */
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(work, row, plan, level, n);
		double seconds = harness_stop(watch).cpu;
		if (seconds > 10 * ROUND_SECONDS) /* the scalar ones, long texts */
			rounds = 3;
		if (seconds > ROUND_SECONDS)
			break;
	}
	for (size_t r = 0; r < rounds; r++) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(work, row, plan, level, n);
		times[r] = harness_stop(watch);
	}
	hash_plan_free(plan);
	return harness_median(times, rounds).cpu / (double)calls / HEADS * 1e9;
}

/* "from N tokens on", where at every measured length from N on a is less than b. */
static void
print_crossing(const char *what, const double *a, const double *b)
{
	size_t i = LENGTHS;

	while (i > 0 && a[i - 1] < b[i - 1])
		i--;
	if (i == LENGTHS)
		printf("  %-58s at no length\n", what);
	else
		printf("  %-58s from %zu tokens on (at %d: %.2f times as fast)\n", what,
		    tokens[i], TOKENS_MAX, b[LENGTHS - 1] / a[LENGTHS - 1]);
}

static void
print_crossings(double ns[ROWS][LENGTHS])
{
	double best[ROWS][LENGTHS], whole[LENGTHS];
	char what[128];

	memcpy(best, ns, sizeof best);
	for (size_t r = 2; r + 1 < ROW_SOFTMAX; r += 2) {
		snprintf(what, sizeof what, "%.*s, linear order before quadratic",
		    (int)strcspn(rows[r].name, ","), rows[r].name);
		print_crossing(what, ns[r + 1], ns[r]);
		for (size_t i = 0; i < LENGTHS; i++)
			best[r][i] = fmin(ns[r][i], ns[r + 1][i]);
	}
	for (size_t r = 2; r < ROW_SOFTMAX; r += 2)
		for (size_t f = ROW_KERNEL; f <= ROW_LINEAR; f++) {
			snprintf(what, sizeof what,
			    "%.*s with %s (of q and k) before softmax",
			    (int)strcspn(rows[r].name, ","), rows[r].name,
			    rows[f].name);
			for (size_t i = 0; i < LENGTHS; i++)
				whole[i] = best[r][i] + 2 * ns[f][i];
			print_crossing(what, whole, ns[ROW_SOFTMAX]);
		}
}

static void
bench(const struct work *work, enum cpu_level level)
{
	double ns[ROWS][LENGTHS];

	printf("%s, ns a head and text, %d dims a head, %d bits\n%-20s",
	    cpu_level_name(level), HEAD_DIMS, BITS, "tokens");
	for (size_t i = 0; i < LENGTHS; i++)
		printf("%10zu", tokens[i]);
	printf("\n");
	for (size_t r = 0; r < ROWS; r++) {
		printf("%-20s", rows[r].name);
		for (size_t i = 0; i < LENGTHS; i++) {
			ns[r][i] = measure(work, &rows[r], level, tokens[i]);
			printf("%10.0f", ns[r][i]);
			fflush(stdout);
		}
		printf("\n");
	}
	print_crossings(ns);
	printf("\n");
}

static void
rounds(const struct work *work)
{
	const enum cpu_level level = hash_best()->level;
	size_t r, n, calls;

	printf("%s", hash_best()->name);
	for (r = 0; r < ROWS; r++)
		printf(";%s", rows[r].name);
	printf("\n");
	fflush(stdout);
	while (scanf("%zu %zu %zu", &r, &n, &calls) == 3) {
		if (r >= ROWS || n < 1 || n > TOKENS_MAX || calls < 1)
			harness_fail("bench_hash", "expected ROW TOKENS CALLS");
		struct hash_plan *plan = plan_of(work, &rows[r]);
		call(work, &rows[r], plan, level, n); /* warms up */
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(work, &rows[r], plan, level, n);
		printf("%.1f\n", harness_stop(watch).cpu / (double)calls / HEADS * 1e9);
		fflush(stdout);
		hash_plan_free(plan);
	}
}

int
main(int argc, char **argv)
{
	struct work work = {.numbers = random_floats(HEADS * HEAD_DIMS * 64)};
	size_t floats = softmax_scratch(TOKENS_MAX, HEAD_DIMS);
	struct rng rng;

	for (size_t r = 0; r < ROWS; r++) {
		struct hash_plan *plan = plan_of(&work, &rows[r]);
		if (hash_scratch(plan, TOKENS_MAX) > floats)
			floats = hash_scratch(plan, TOKENS_MAX);
		hash_plan_free(plan);
	}
	work.scratch = random_floats(floats);
	work.x = random_floats(TOKENS_MAX * 3 * DIMS);
	work.out = random_floats(TOKENS_MAX * DIMS);
	work.q = need(array_new_aligned(TOKENS_MAX * HEADS, sizeof *work.q));
	work.k = need(array_new_aligned(TOKENS_MAX * HEADS, sizeof *work.k));
	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < TOKENS_MAX * HEADS; i++) {
		work.q[i] = (uint32_t)rng_below(&rng, 1u << BITS);
		work.k[i] = (uint32_t)rng_below(&rng, 1u << BITS);
	}
	harness_check_simd("bench_hash");
	if (argc == 2 && strcmp(argv[1], "rounds") == 0)
		rounds(&work);
	else
		for (size_t l = 0; l < LEVELS; l++)
			if (hash_find(levels[l]))
				bench(&work, levels[l]);
	free(work.numbers);
	free(work.scratch);
	free(work.x);
	free(work.out);
	free(work.q);
	free(work.k);
	return 0;
}
