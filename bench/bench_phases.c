/*
 * Where the time of a text goes: an encoder of all-MiniLM-L6-v2's shape with softmax
 * attention, 16 and 128 tokens, one thread.  The whole is measured, and so is each kind
 * of work by itself, with the shapes, the order and as many calls as a text has; what
 * no kind accounts for is the rest (embedding rows, pooling, and caches that one kind
 * of work by itself does not share with others).  Medians of processor time.
 *
 * Then what a model takes: opening it, its memory, its weights.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attention/encoder.h"
#include "attention/linear.h"
#include "attention/rows.h"
#include "attention/softmax.h"
#include "base/alloc.h"
#include "bench/harness.h"
#include "tests/support/models.h"

#define NAME "bench_phases"
#define DIMS 384
#define INNER 1536
#define HEADS 12
#define LAYERS 6
#define MATRICES 6
#define TOKENS_MAX 128
#define VOCABULARY 30522
#define ROUNDS 15
#define ROUND_SECONDS 0.01

static const size_t shape[MATRICES][2] = {{DIMS, DIMS}, {DIMS, DIMS}, {DIMS, DIMS},
    {DIMS, DIMS}, {DIMS, INNER}, {INNER, DIMS}};

struct bench {
	size_t n; /* tokens */
	struct encoder *encoder;
	struct encoder_scratch *scratch;
	char text[2 * TOKENS_MAX];
	uint32_t ids[TOKENS_MAX];
	struct encoder_pieces pieces;
	float vector[DIMS];

	struct linear layer[LAYERS * MATRICES];
	bool table;
	int8_t gelu[256];
	float *x, *y, *attend; /* (TOKENS_MAX, INNER), but attend */
	int8_t *q;             /* (TOKENS_MAX, INNER) */
	float scale[INNER];
	int32_t sum[TOKENS_MAX];
};

static void *
need(void *p)
{
	if (!p)
		harness_fail(NAME, "no memory");
	return p;
}

static void
whole(struct bench *b)
{
	struct encoder_item item = {b->ids, b->pieces.n, b->vector, false};

	encoder_run(b->encoder, b->scratch, &item, 1);
}

static void
tokenizer(struct bench *b)
{
	struct error err;

	b->pieces = (struct encoder_pieces){.ids = b->ids, .cap = TOKENS_MAX};
	if (encoder_tokenize(b->encoder, &b->pieces, ENCODER_PLAIN, b->text,
		strlen(b->text), &err) != 0)
		harness_fail(NAME, err.text);
}

static void
matrices(struct bench *b)
{
	const struct linear_kernel *kernel = linear_best();
	const struct linear_input in = {b->n, b->x, b->q, b->scale, b->sum};

	for (size_t i = 0; i < LAYERS * MATRICES; i++) {
		const size_t m = i % MATRICES;
		struct linear_output out = {.then = LINEAR_STORE,
		    .y = b->y,
		    .stride = b->layer[i].out,
		    .q = b->q,
		    .table = b->gelu,
		    .step = 1};
		if (m == 3 || m == 5)
			out.then = LINEAR_ADD;
		else if (m == 4 && b->table)
			out.then = LINEAR_TABLE;
		linear_forward(kernel, &b->layer[i], &in, &out);
	}
}

static void
attention(struct bench *b)
{
	const struct attend attend = {.q = b->x,
	    .k = b->x + DIMS,
	    .v = b->x + 2 * DIMS,
	    .stride = 3 * DIMS,
	    .out = b->y,
	    .n = b->n,
	    .heads = HEADS,
	    .head_dims = DIMS / HEADS};

	for (size_t i = 0; i < LAYERS; i++)
		softmax_best()(&attend, b->attend);
}

static void
norms(struct bench *b)
{
	const struct rows_norm norm = {b->scale, b->scale, 1e-12f};

	for (size_t i = 0; i < 2 * LAYERS + 1; i++)
		rows_best()->layer_norm(b->y, &norm, b->n, DIMS);
}

/* x and context to bytes, and what the feed-forward part has between its matrices. */
static void
bytes(struct bench *b)
{
	const struct rows_kernel *rows = rows_best();

	for (size_t i = 0; i < LAYERS; i++) {
		for (size_t k = 0; k < 3; k++)
			rows->quantize(b->q, b->scale, b->sum, b->x, b->n, DIMS);
		if (b->table)
			rows->sum(b->sum, b->q, b->n, INNER);
		else
			rows->quantize(b->q, b->scale, b->sum, b->x, b->n, INNER);
	}
}

static void
gelus(struct bench *b)
{
	if (b->table) /* the matrix writes through the table */
		return;
	for (size_t i = 0; i < LAYERS; i++)
		rows_best()->gelu(b->y, b->n * INNER);
}

/* Seconds of processor time a call. */
static double
measure(struct bench *b, void (*call)(struct bench *b))
{
	struct harness_time times[ROUNDS];
	size_t calls = 1;

	for (;; calls *= 2) { /* warms up, too */
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(b);
		if (harness_stop(watch).cpu > ROUND_SECONDS || calls > 1u << 24)
			break;
	}
	for (size_t r = 0; r < ROUNDS; r++) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < calls; i++)
			call(b);
		times[r] = harness_stop(watch);
	}
	return harness_median(times, ROUNDS).cpu / (double)calls;
}

static void
write_model(const char *dir, const char *name, enum linear_form form, bool table)
{
	struct models_encoder model = {.dims = DIMS,
	    .inner = INNER,
	    .heads = HEADS,
	    .positions = 512,
	    .n_layers = LAYERS,
	    .vocabulary = VOCABULARY,
	    .token_form = TRANSFORMER_INT8};

	for (size_t i = 0; i < LAYERS; i++) {
		model.layers[i].softmax = true;
		model.layers[i].gelu_table = table;
		for (size_t m = 0; m < MATRICES; m++)
			model.layers[i].forms[m] = form;
	}
	models_write_encoder(dir, name, &model, 1);
}

/* Weights that are any levels; each matrix its own, as in a model. */
static void
fill(struct bench *b, enum linear_form form)
{
	for (size_t i = 0; i < LAYERS * MATRICES; i++) {
		const size_t in = shape[i % MATRICES][0], out = shape[i % MATRICES][1];
		const size_t n = linear_weight_bytes(form, in, out);
		uint8_t *weight = need(array_new_aligned(n, 1));
		memset(weight, 0x45, n);
		b->layer[i] =
		    (struct linear){form, in, out, weight, b->scale, b->scale};
	}
	for (size_t i = 0; i < TOKENS_MAX * INNER; i++) {
		b->x[i] = (float)(i * 37 % 101) / 50 - 1;
		b->q[i] = (int8_t)(i * 37 % 101);
	}
}

static void
print_phases(struct bench *b, const char *name, double peak)
{
	static const struct {
		const char *name;
		void (*call)(struct bench *b);
	} kinds[] = {{"matrices", matrices}, {"attention", attention}, {"norms", norms},
	    {"to bytes", bytes}, {"GELU", gelus}};
	const size_t n_kinds = sizeof kinds / sizeof *kinds;
	double operations = 0, total, rest, tokenize;

	for (size_t i = 0; i < LAYERS * MATRICES; i++)
		operations += 2.0 * (double)(b->layer[i].in * b->layer[i].out * b->n);
	for (size_t i = 0; i + 2 < b->n; i++)
		snprintf(b->text + 2 * i, 3, "%c ", (char)('a' + (int)(i % 26)));
	tokenize = measure(b, tokenizer);
	rest = total = measure(b, whole);
	printf(
	    "| %-7s | %6zu | %8.1f | %7.1f |", name, b->n, 1e6 * total, 1e6 * tokenize);
	for (size_t i = 0; i < n_kinds; i++) {
		const double s = measure(b, kinds[i].call);
		rest -= s;
		printf(" %7.1f %2.0f%% |", 1e6 * s, 100 * s / total);
		if (i == 0 && peak > 0)
			printf(" %3.0f%% |", 100 * operations / s / peak);
		else if (i == 0)
			printf("    - |");
	}
	printf(" %7.1f %2.0f%% |\n", 1e6 * rest, 100 * rest / total);
	fflush(stdout);
}

static void
bench(const char *dir, const char *name, enum linear_form form, double peak)
{
	static const size_t tokens[] = {16, TOKENS_MAX};
	struct bench *b = need(array_new(1, sizeof *b));
	struct error err;
	char path[4096];

	b->table = form == LINEAR_TERNARY;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	b->encoder = need(encoder_open(path, &err));
	b->scratch = need(encoder_scratch_new(b->encoder, &err));
	b->x = need(array_new_aligned(TOKENS_MAX * INNER, sizeof *b->x));
	b->y = need(array_new_aligned(TOKENS_MAX * INNER, sizeof *b->y));
	b->q = need(array_new_aligned(TOKENS_MAX, INNER));
	b->attend = need(array_new_aligned(
	    softmax_scratch(TOKENS_MAX, DIMS / HEADS), sizeof *b->attend));
	fill(b, form);
	for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
		b->n = tokens[i];
		print_phases(b, name, peak);
	}
	for (size_t i = 0; i < LAYERS * MATRICES; i++)
		free((void *)b->layer[i].weight);
	free(b->attend);
	free(b->q);
	free(b->y);
	free(b->x);
	encoder_scratch_free(b->scratch);
	encoder_close(b->encoder);
	free(b);
}

/* Opening, with the files in memory, and what a model and a thread take. */
static void
print_costs(const char *dir, const char *name, enum linear_form form)
{
	struct harness_time times[ROUNDS], middle;
	struct error err;
	char path[4096];
	size_t weights = 0;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	for (size_t r = 0; r < ROUNDS; r++) {
		struct harness_watch watch = harness_start();
		encoder_close(need(encoder_open(path, &err)));
		times[r] = harness_stop(watch);
	}
	middle = harness_median(times, ROUNDS);
	for (size_t m = 0; m < MATRICES; m++)
		weights += LAYERS * linear_weight_bytes(form, shape[m][0], shape[m][1]);
	malloc_trim(0); /* what was freed before would hide what comes */
	size_t before = harness_rss_anon();
	struct encoder *encoder = need(encoder_open(path, &err));
	size_t opened = harness_rss_anon();
	struct encoder_scratch *scratch = need(encoder_scratch_new(encoder, &err));
	struct bench *b = need(array_new(1, sizeof *b));
	struct encoder_item item = {b->ids, TOKENS_MAX, b->vector, false};
	encoder_run(encoder, scratch, &item, 1);
	printf("%s: opened in %.1f ms CPU, %.1f ms wall (bar 50); matrices %.2f MB, "
	       "mapped; of its own %.1f MB, a thread %.1f MB\n",
	    name, 1e3 * middle.cpu, 1e3 * middle.wall, (double)weights * 1e-6,
	    (double)(opened - before) * 1e-6,
	    (double)(harness_rss_anon() - opened) * 1e-6);
	free(b);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "build/bench/phases";
	const double peak = linear_best()->level == CPU_AVX512 ? harness_dot_rate() : 0;

	harness_check_simd(NAME);
	mkdir(dir, 0755);
	write_model(dir, "ternary", LINEAR_TERNARY, true);
	write_model(dir, "int8", LINEAR_INT8, false);
	print_costs(dir, "ternary", LINEAR_TERNARY);
	print_costs(dir, "int8", LINEAR_INT8);
	printf(
	    "where the time goes, %s: microseconds of processor time a text, share of "
	    "the whole (without tokenizer),\nand the matrices' share of vpdpbusd's "
	    "peak (%.0f * 10^9 operations a second)\n"
	    "| model   | tokens |    whole | tokens. |    matrices | peak |   "
	    "attention "
	    "|       norms |    to bytes |        GELU |        rest |\n",
	    linear_best()->name, peak * 1e-9);
	bench(dir, "ternary", LINEAR_TERNARY, peak);
	bench(dir, "int8", LINEAR_INT8, peak);
	return 0;
}
