/*
 * How fast one thread binarizes: a vector by itself and vectors in batches, by the
 * untrained rotation and by codes learned from made-up vectors whose directions vary as
 * those of all-MiniLM-L6-v2 do; beside them what a text of 16 tokens costs the ternary
 * encoder of its shape, of which encoding a query may take 15 %.  And how fast JSON
 * floats are read.
 *
 *     bench_binarize FOLDER          all, for each instruction set of this processor
 *     bench_binarize kinds FOLDER    with the models of an earlier call, for $SIMD
 *
 * Processor time: medians of windows in turns, the least behind them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "binarize/fit.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "tests/support/models.h"

#define NAME "bench_binarize"
#define VECTORS 192
#define LEARNED 6000
#define TURNS 6
#define WINDOWS 16
#define TEXT_EVERY 4 /* windows: plain C embeds slowly */
#define PATH_BYTES 4096

/* What is measured; files are in the folder. */
static const struct kind {
	const char *file; /* NULL: the rotation */
	uint32_t input_dims;
	struct code_shape shape;
} kinds[] = {
    {NULL, 256, {256, 2}},
    {NULL, 384, {384, 2}},
    {NULL, 1024, {1024, 4}},
    {NULL, 1536, {1024, 4}},
    {"256x2", 256, {256, 2}},
    {"384x1", 384, {384, 1}},
    {"384x2", 384, {384, 2}},
    {"384x4", 384, {384, 4}},
    {"1024x2", 1024, {1024, 2}},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void *
need(void *p, const struct error *err)
{
	if (!p)
		harness_fail(NAME, err ? err->text : "out of memory");
	return p;
}

/* x (n, dims) := vectors of length 1 that vary less from direction to direction. */
static void
make_vectors(float *x, size_t n, size_t dims, uint64_t seed)
{
	struct rng rng;

	rng_init(&rng, seed, dims);
	for (size_t i = 0; i < n; i++, x += dims) {
		for (size_t j = 0; j < dims; j++) {
			double at = 384.0 * (double)j / (double)dims;
			x[j] = rng_normal(&rng) *
			       (float)sqrt(pow(at + 1, -0.3) * exp(-at / 110));
		}
		float inverse = (float)(1 / sqrt(recurrent_dot(x, x, dims)));
		for (size_t j = 0; j < dims; j++)
			x[j] *= inverse;
	}
}

/* folder/file := a binarizer learned from such vectors. */
static void
learn(const char *folder, const struct kind *kind, const struct blas *blas)
{
	struct error err;
	char path[PATH_BYTES];
	double missed;
	const struct fit_config config = {.blas = blas,
	    .shape = kind->shape,
	    .seed = 1,
	    .input_dims = kind->input_dims};
	float *u = need(array_new_aligned(LEARNED * kind->input_dims, sizeof *u), NULL);

	make_vectors(u, LEARNED, kind->input_dims, 1);
	struct fit *fit = need(fit_new(&config, u, LEARNED, &err), &err);
	for (int turn = 0; turn < TURNS; turn++)
		if (fit_turn(fit, &missed, &err) != 0)
			harness_fail(NAME, err.text);
	const struct recurrent_refined_config refined = {.input_dims = kind->input_dims,
	    .shape = kind->shape,
	    .map = fit_map(fit),
	    .base = fit_base(fit)};
	struct recurrent *model = need(recurrent_new_refined(&refined, &err), &err);
	snprintf(path, sizeof path, "%s/%s", folder, kind->file);
	if (recurrent_save(model, path, &err) != 0)
		harness_fail(NAME, err.text);
	recurrent_free(model);
	fit_free(fit);
	free(u);
}

/* folder/encoder := the ternary encoder, with random weights. */
static void
write_encoder(const char *folder)
{
	struct models_encoder model = {.dims = 384,
	    .inner = 1536,
	    .heads = 12,
	    .positions = 512,
	    .n_layers = 6,
	    .vocabulary = 30522,
	    .token_form = TRANSFORMER_INT8};

	for (size_t i = 0; i < model.n_layers; i++) {
		model.layers[i] =
		    (struct models_layer){.gelu_table = true, .softmax = true};
		for (size_t m = 0; m < 6; m++)
			model.layers[i].forms[m] = LINEAR_TERNARY;
	}
	models_write_encoder(folder, "encoder", &model, 1);
}

/* The encoder with a text of 16 tokens. */
struct text {
	struct encoder *encoder;
	struct encoder_scratch *scratch;
	float vector[384];
};

static void
embed(struct text *text)
{
	static const char words[] = "a b c d e f g h i j k l m n";
	struct encoder_output output = {.vector = text->vector};
	struct error err;

	if (encoder_embed(text->encoder, text->scratch, &output, ENCODER_PLAIN, words,
		strlen(words), &err) != 0)
		harness_fail(NAME, err.text);
}

/* Nanoseconds of some windows. */
struct result {
	struct harness_time times[WINDOWS];
	double least;
};

static void
add(struct result *result, size_t w, struct harness_watch watch, size_t n)
{
	double ns = harness_stop(watch).cpu / (double)n * 1e9;

	result->times[w].cpu = ns;
	if (w == 0 || ns < result->least)
		result->least = ns;
}

/* A vector alone, vectors in a batch and a text take turns. */
static void
bench_kind(const struct kind *kind, const char *folder, struct text *text)
{
	static struct result one, many, texts;
	struct error err;
	char path[PATH_BYTES];
	size_t d = kind->input_dims;
	const struct recurrent_rotation_config config = {
	    .input_dims = kind->input_dims, .shape = kind->shape, .seed = 1};
	snprintf(path, sizeof path, "%s/%s", folder, kind->file ? kind->file : "");
	if (kind->file && access(path, R_OK) != 0)
		return;
	struct recurrent *model =
	    need(kind->file ? recurrent_open(path, kind->shape, &err)
			    : recurrent_new(&config, &err),
		&err);
	struct recurrent_scratch *scratch =
	    need(recurrent_scratch_new(model, &err), &err);
	float *x = need(array_new_aligned(VECTORS * d, sizeof *x), NULL);
	uint8_t *wire = need(array_new(VECTORS, code_bytes(kind->shape)), NULL);
	struct recurrent_numbers numbers[VECTORS];
	const struct recurrent_codes codes = {wire, numbers};

	make_vectors(x, VECTORS, d, 2);
	for (size_t w = 0; w < WINDOWS; w++) {
		struct harness_watch watch = harness_start();
		if (w % TEXT_EVERY == 0) {
			embed(text);
			add(&texts, w / TEXT_EVERY, watch, 1);
		}
		size_t at = w % 8 * 24;
		watch = harness_start();
		for (size_t i = at; i < at + 24; i++)
			if (recurrent_encode(
				model, scratch, wire, numbers, x + i * d, &err) != 0)
				harness_fail(NAME, err.text);
		add(&one, w, watch, 24);
		watch = harness_start();
		if (recurrent_encode_many(model, scratch, &codes, x, VECTORS, &err) !=
		    VECTORS)
			harness_fail(NAME, err.text);
		add(&many, w, watch, VECTORS);
	}
	double batch = harness_median(many.times, WINDOWS).cpu;
	printf("%-8s %4u -> %4u x %u  %7.0f (%7.0f)  %7.0f (%7.0f)  %7.0f  %5.2f %%\n",
	    kind->file ? "learned" : "rotation", kind->input_dims, kind->shape.dims,
	    kind->shape.bits, harness_median(one.times, WINDOWS).cpu, one.least, batch,
	    many.least, 1e9 / batch,
	    100 * harness_median(one.times, WINDOWS).cpu /
		harness_median(texts.times, WINDOWS / TEXT_EVERY).cpu);
	fflush(stdout);
	free(x);
	free(wire);
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
bench_kinds(const char *folder)
{
	struct error err;
	char path[PATH_BYTES];
	struct text text;
	enum cpu_level level;

	if (cpu_ceiling(&level, &err) != 0)
		harness_fail(NAME, err.text);
	snprintf(path, sizeof path, "%s/encoder", folder);
	text.encoder = need(encoder_open(path, &err), &err);
	text.scratch = need(encoder_scratch_new(text.encoder, &err), &err);
	printf("binarize, %s, ns a vector, one thread: median (least)\n"
	       "%-24s  %17s  %17s  %7s  %s\n",
	    cpu_level_name(level), "", "one", "in a batch", "a second",
	    "one, of a text's time");
	for (size_t i = 0; i < KINDS; i++)
		bench_kind(&kinds[i], folder, &text);
	encoder_scratch_free(text.scratch);
	encoder_close(text.encoder);
}

/* bench_kinds at each level up to the ceiling, each in a process of its own: kernels
 * are chosen once. */
static void
bench_levels(const char *folder)
{
	static const enum cpu_level levels[] = {
	    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512};
	enum cpu_level ceiling;
	struct error err;
	int status;

	if (cpu_ceiling(&ceiling, &err) != 0)
		harness_fail(NAME, err.text);
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		if (levels[i] > ceiling || !cpu_has(levels[i]))
			continue;
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			setenv("SIMD", cpu_level_name(levels[i]), 1);
			execl("/proc/self/exe", NAME, "kinds", folder, (char *)NULL);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
			harness_fail(NAME, "a level could not be measured");
	}
}

static void
bench_floats(const char *format)
{
	enum { N = 100000 };
	char *text = malloc(N * 32);
	float *out = malloc(N * sizeof *out);
	size_t len = 0, n;
	struct rng rng;
	uint64_t best_check = UINT64_MAX, best = UINT64_MAX;

	if (!text || !out)
		exit(1);
	rng_init(&rng, 1, 1);
	for (int i = 0; i < N; i++) {
		text[len++] = i > 0 ? ',' : '[';
		len += (size_t)sprintf(
		    text + len, format, 0.05 * (double)rng_normal(&rng) / 3.0);
	}
	text[len++] = ']';
	for (int pass = 0; pass < 20; pass++) {
		struct json root;
		struct error err;
		uint64_t start = clock_ns();
		if (json_check(&root, text, len, &err) != 0)
			harness_fail(NAME, err.text);
		uint64_t middle = clock_ns();
		if (json_floats(out, N, &n, &root, &err) != 0)
			harness_fail(NAME, err.text);
		uint64_t end = clock_ns();
		best_check = middle - start < best_check ? middle - start : best_check;
		best = end - middle < best ? end - middle : best;
	}
	printf("json      floats as %-6s  check %5.0f MB/s, read %5.0f MB/s\n", format,
	    (double)len * 1e3 / (double)best_check, (double)len * 1e3 / (double)best);
	free(out);
	free(text);
}

int
main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[argc - 1] : "build/bench/binarize";
	struct error err;

	harness_check_simd(NAME);
	if (argc == 3 && strcmp(argv[1], "kinds") == 0) {
		bench_kinds(folder);
		return 0;
	}
	mkdir(folder, 0755);
	write_encoder(folder);
	struct blas *blas = blas_open(1, &err);
	for (size_t i = 0; blas && i < KINDS; i++)
		if (kinds[i].file)
			learn(folder, &kinds[i], blas);
	if (!blas)
		printf("binarize  nothing learned: %s\n", err.text);
	blas_close(blas);
	bench_levels(folder);
	bench_floats("%.9g");
	bench_floats("%.17g");
	return 0;
}
