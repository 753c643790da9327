/*
 * How fast linear layers run: 2 operations a multiply-add, against the most of the
 * instruction set: what vpdpbusd does without memory (tiles are shown against the
 * same), of AVX2 what bench_limits has for bytes.  Hot is the mean of 384x384,
 * 384->1536 and 1536->384, each again and again; a model is 6 layers of 4 x 384x384,
 * 384->1536 and 1536->384 one after the other, so that weights come from where they
 * fit.  Times are processor time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/linear.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "bench/limits.h"

#define DIMS 384
#define WIDE 1536
#define LAYERS 6
#define PER_LAYER 6 /* q, k, v, o, up, down */
#define TOKENS_MAX 512
#define ROUNDS 9
/* A round is at least so long, because reading a clock costs, too; after so many
 * seconds, 3 rounds are enough. */
#define ROUND_OPERATIONS 2e8
#define ROUNDS_SECONDS 0.04

struct bench {
	struct linear layer[LAYERS * PER_LAYER];
	uint8_t *weights; /* of all layers, one behind the other */
	int8_t *q;        /* (TOKENS_MAX, WIDE) */
	float *x, *y;     /* (TOKENS_MAX, WIDE) */
	float scale[WIDE], bias[WIDE], scale_x[TOKENS_MAX];
	int32_t sum[TOKENS_MAX];
};

static void
bench_init(struct bench *b)
{
	const size_t n = TOKENS_MAX * WIDE;
	struct rng rng;

	rng_init(&rng, 1, 1);
	b->weights =
	    array_new_aligned(LAYERS * 4 * sizeof(float), (DIMS + 2 * WIDE) * DIMS);
	b->q = array_new_aligned(n, sizeof *b->q);
	b->x = array_new_aligned(n, sizeof *b->x);
	b->y = array_new_aligned(n, sizeof *b->y);
	if (!b->weights || !b->q || !b->x || !b->y)
		harness_fail("bench_linear", "no memory");
	for (size_t i = 0; i < n; i++) {
		b->x[i] = rng_uniform(&rng);
		b->q[i] = (int8_t)((int)rng_below(&rng, 255) - 127);
	}
	for (size_t i = 0; i < WIDE; i++)
		b->scale[i] = b->bias[i] = rng_uniform(&rng);
	for (size_t i = 0; i < TOKENS_MAX; i++)
		b->scale_x[i] = rng_uniform(&rng);
}

/* The layers of a form, with weights that are any bytes (code 3, level -128 and odd
 * floats cost what others do); floats are 1. */
static void
set_form(struct bench *b, enum linear_form form)
{
	static const size_t shapes[PER_LAYER][2] = {{DIMS, DIMS}, {DIMS, DIMS},
	    {DIMS, DIMS}, {DIMS, DIMS}, {DIMS, WIDE}, {WIDE, DIMS}};
	uint8_t *at = b->weights;

	for (size_t i = 0; i < LAYERS * PER_LAYER; i++) {
		const size_t in = shapes[i % PER_LAYER][0];
		const size_t out = shapes[i % PER_LAYER][1];
		b->layer[i] = (struct linear){form, in, out, at, b->scale, b->bias};
		at += linear_weight_bytes(form, in, out);
	}
	if (form == LINEAR_FLOAT)
		for (float *w = (float *)b->weights; w < (float *)at; w++)
			*w = 1.0f;
	else
		for (uint8_t *w = b->weights; w < at; w++)
			*w = (uint8_t)((w - b->weights) * 2654435761u >> 24);
}

/* Operations a second of layers first .. first + n - 1, again and again. */
static double
rate(struct bench *b, const struct linear_kernel *kernel, size_t first, size_t n,
    size_t tokens)
{
	struct linear_input in = {tokens, b->x, b->q, b->scale_x, b->sum};
	struct linear_output out = {.then = LINEAR_STORE, .y = b->y};
	struct harness_time times[ROUNDS];
	double operations = 0;

	for (size_t i = first; i < first + n; i++)
		operations += 2.0 * (double)(b->layer[i].in * b->layer[i].out * tokens);
	const size_t repeats = 1 + (size_t)(ROUND_OPERATIONS / operations);
	size_t rounds = 0;
	for (double total = 0;
	     rounds < ROUNDS && (rounds < 3 || total < ROUNDS_SECONDS); rounds++) {
		struct harness_watch watch = harness_start();
		for (size_t repeat = 0; repeat < repeats; repeat++)
			for (size_t i = first; i < first + n; i++) {
				out.stride = b->layer[i].out;
				linear_forward(kernel, &b->layer[i], &in, &out);
			}
		times[rounds] = harness_stop(watch);
		total += times[rounds].cpu;
	}
	return (double)repeats * operations / harness_median(times, rounds).cpu;
}

static void
print_rate(double rate, double peak_rate)
{
	printf(" %5.0f ", rate * 1e-9);
	if (peak_rate > 0)
		printf("%3.0f%% |", 100 * rate / peak_rate);
	else
		printf("   - |");
}

/* The most that a level can do; 0: unknown. */
static double
peak(enum cpu_level level)
{
	const struct limits *limits = limits_find(level);

	if (level != CPU_AVX2)
		return harness_dot_rate();
	return limits ? 2 * limits_rate(limits->products, NULL, 0) : 0;
}

static void
print_row(struct bench *b, const struct linear_kernel *kernel, size_t tokens,
    double peak_rate)
{
	const double hot[] = {rate(b, kernel, 0, 1, tokens),
	    rate(b, kernel, 4, 1, tokens), rate(b, kernel, 5, 1, tokens)};
	const double model = rate(b, kernel, 0, LAYERS * PER_LAYER, tokens);

	printf("| %-7s | %-7s | %6zu |", linear_form_name(b->layer->form), kernel->name,
	    tokens);
	for (size_t i = 0; i < 3; i++)
		print_rate(hot[i], peak_rate);
	print_rate(model, peak_rate);
	printf("\n");
	fflush(stdout);
}

int
main(void)
{
	static const enum cpu_level levels[] = {
	    CPU_AMX, CPU_AVX512, CPU_AVX2, CPU_NEON};
	static const enum linear_form forms[] = {
	    LINEAR_TERNARY, LINEAR_INT8, LINEAR_FLOAT};
	static const size_t tokens[] = {1, 2, 4, 8, 16, 32, 128, TOKENS_MAX};
	static struct bench b;

	harness_check_simd("bench_linear");
	bench_init(&b);
	printf("linear layers: 10^9 operations a second of processor time, and the "
	       "share of what the instruction\nset does for bytes at most (vpdpbusd "
	       "%.0f, AVX2 %.0f); hot: one matrix again and again; model: all\n"
	       "matrices of 6 layers in turn; over 100%% is another way\n"
	       "| form    | kernel  | tokens | 384x384    | 384->1536  | 1536->384  | "
	       "model      |\n",
	    harness_dot_rate() * 1e-9, peak(CPU_AVX2) * 1e-9);
	for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
		set_form(&b, forms[f]);
		for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
			const struct linear_kernel *kernel = linear_find(levels[l]);
			const double peak_rate = kernel ? peak(levels[l]) : 0;
			for (size_t t = 0; kernel && t < sizeof tokens / sizeof *tokens;
			     t++)
				print_row(&b, kernel, tokens[t], peak_rate);
		}
	}
	free(b.weights);
	free(b.q);
	free(b.x);
	free(b.y);
	return 0;
}
