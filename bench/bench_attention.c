/*
 * What the parts of an encoder between its matrices cost, for each instruction set that
 * this processor has, on one thread: softmax attention over texts of 8 .. 512 tokens
 * (nanoseconds a head and text), and norms, quantization and GELU (nanoseconds a
 * token).  Times are processor time, the median of some rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/rows.h"
#include "attention/softmax.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"

#define ROUNDS 15
#define ROUND_SECONDS 4e-3
#define HEADS 12
#define TOKENS_MAX 512
#define DIMS 384 /* a token; 4 times that inside the feed-forward layer */

static const enum cpu_level levels[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define LEVELS (sizeof levels / sizeof levels[0])

/* Nanoseconds of one call: the median over rounds of calls that fill their time. */
static double
measure(void (*call)(void *context), void *context)
{
	struct harness_time times[ROUNDS];
	size_t calls = 1;

	for (;; calls *= 2) { /* warms up, too */
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(context);
		if (harness_stop(watch).cpu > ROUND_SECONDS)
			break;
	}
	for (size_t r = 0; r < ROUNDS; r++) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(context);
		times[r] = harness_stop(watch);
	}
	return harness_median(times, ROUNDS).cpu / (double)calls * 1e9;
}

static void *
need(void *p)
{
	if (!p)
		harness_fail("bench_attention", "out of memory");
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

struct softmax_call {
	softmax_fn *function;
	struct attend attend;
	float *scratch;
};

static void
call_softmax(void *context)
{
	struct softmax_call *c = context;

	c->function(&c->attend, c->scratch);
}

static void
bench_softmax(size_t head_dims)
{
	static const size_t tokens[] = {8, 16, 32, 64, 128, 256, TOKENS_MAX};
	const size_t width = HEADS * head_dims;
	float *x = random_floats(3 * TOKENS_MAX * width);
	float *out = random_floats(TOKENS_MAX * width);
	float *scratch = random_floats(softmax_scratch(TOKENS_MAX, head_dims));

	printf(
	    "softmax, ns a head and text, %zu dims a head\n%-8s", head_dims, "tokens");
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
		printf("%10zu", tokens[i]);
	printf("\n");
	for (size_t l = 0; l < LEVELS; l++) {
		if (!softmax_find(levels[l]))
			continue;
		printf("%-8s", cpu_level_name(levels[l]));
		for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
			struct softmax_call c = {softmax_find(levels[l]),
			    {.q = x,
				.k = x + width,
				.v = x + 2 * width,
				.stride = 3 * width,
				.out = out,
				.n = tokens[i],
				.heads = HEADS,
				.head_dims = head_dims},
			    scratch};
			printf("%10.0f", measure(call_softmax, &c) / HEADS);
			fflush(stdout);
		}
		printf("\n");
	}
	printf("\n");
	free(x);
	free(out);
	free(scratch);
}

/* Rows of one text of 64 tokens. */
#define ROWS 64

struct rows_call {
	const struct rows_kernel *kernel;
	float *x;
	struct rows_norm norm;
	int8_t q[ROWS * 4 * DIMS];
	float scale[ROWS];
	int32_t sum[ROWS];
};

static void
call_layer_norm(void *context)
{
	struct rows_call *c = context;

	c->kernel->layer_norm(c->x, &c->norm, ROWS, DIMS);
}

static void
call_rms_norm(void *context)
{
	struct rows_call *c = context;

	c->kernel->rms_norm(c->x, &c->norm, ROWS, DIMS);
}

static void
call_quantize(void *context)
{
	struct rows_call *c = context;

	c->kernel->quantize(c->q, c->scale, c->sum, c->x, ROWS, DIMS);
}

static void
call_quantize_inner(void *context)
{
	struct rows_call *c = context;

	c->kernel->quantize(c->q, c->scale, c->sum, c->x, ROWS, 4 * DIMS);
}

static void
call_sum(void *context)
{
	struct rows_call *c = context;

	c->kernel->sum(c->sum, c->q, ROWS, 4 * DIMS);
}

static void
call_gelu(void *context)
{
	struct rows_call *c = context;

	c->kernel->gelu(c->x, ROWS * 4 * DIMS);
}

static void
bench_rows(void)
{
	static const struct {
		const char *name;
		size_t dims;
		void (*call)(void *context);
	} rows[] = {
	    {"layer_norm", DIMS, call_layer_norm},
	    {"rms_norm", DIMS, call_rms_norm},
	    {"quantize", DIMS, call_quantize},
	    {"quantize", 4 * DIMS, call_quantize_inner},
	    {"sum", 4 * DIMS, call_sum},
	    {"gelu", 4 * DIMS, call_gelu},
	};
	struct rows_call *c = need(array_new_aligned(1, sizeof *c));
	float *weight = random_floats(DIMS), *bias = random_floats(DIMS);

	printf("rows, ns a token\n%-18s", "");
	for (size_t l = 0; l < LEVELS; l++)
		if (rows_find(levels[l]))
			printf("%10s", cpu_level_name(levels[l]));
	printf("\n");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		printf("%-10s of %4zu", rows[i].name, rows[i].dims);
		for (size_t l = 0; l < LEVELS; l++) {
			if (!rows_find(levels[l]))
				continue;
			c->kernel = rows_find(levels[l]);
			c->x = random_floats(ROWS * 4 * DIMS);
			c->norm = (struct rows_norm){weight, bias, 1e-12f};
			printf("%10.1f", measure(rows[i].call, c) / ROWS);
			fflush(stdout);
			free(c->x);
		}
		printf("\n");
	}
	free(weight);
	free(bias);
	free(c);
}

int
main(void)
{
	bench_softmax(32);
	bench_softmax(64);
	bench_rows();
	return 0;
}
