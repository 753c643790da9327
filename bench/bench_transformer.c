/*
 * How fast a transformer of all-MiniLM-L6-v2's shape embeds: 6 layers of 384
 * dimensions, 12 heads, 1536 inside, texts of words from a vocabulary of 30,522 pieces.
 * Weights are random: speed alone, no statement about quality.
 *
 *     bench_transformer [FOLDER]             the tables
 *     bench_transformer write FOLDER         the models alone, FOLDER/NAME each
 *     bench_transformer rounds MODEL WORDS   for a peer to take turns with: for a line
 *         "TEXTS PIECES THREADS" on stdin that many texts of so many pieces, tokenizer
 *         included, are embedded, and "WALL CPU" seconds answered.  WORDS is a file of
 *         words, one piece of the model each; a text is as many of its first
 *
 * $SIMD chooses the kernels, as everywhere.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attention/encoder.h"
#include "attention/linear.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "tests/support/models.h"

#define NAME "bench_transformer"
#define VOCABULARY 30522
#define TEXT_BYTES 8192
#define THREADS_MAX 2
#define ROUNDS 15
#define ROUND_SECONDS 0.02
#define TOTAL_SECONDS 0.3
#define BULK_TEXTS 64
#define BULK_PIECES 128

/* A model of the table. */
struct shape {
	const char *name;
	enum linear_form form;
	bool gelu_table;
	bool softmax;
	enum hash_similarity similarity;
	bool shared; /* of a hash: keys are the queries */
};

static const struct shape shapes[] = {
    {"ternary", LINEAR_TERNARY, true, true, HASH_POSITIVE, false},
    {"ternary-exact", LINEAR_TERNARY, false, true, HASH_POSITIVE, false},
    {"ternary-table", LINEAR_TERNARY, true, false, HASH_TABLE, false},
    {"ternary-general", LINEAR_TERNARY, true, false, HASH_GENERAL, false},
    {"ternary-ecoformer", LINEAR_TERNARY, true, false, HASH_POSITIVE, true},
    {"four-level", LINEAR_FOUR_LEVEL, true, true, HASH_POSITIVE, false},
    {"int8", LINEAR_INT8, false, true, HASH_POSITIVE, false},
    {"float", LINEAR_FLOAT, false, true, HASH_POSITIVE, false},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static void
write_model(const char *dir, const struct shape *shape)
{
	struct models_encoder model = {.dims = 384,
	    .inner = 1536,
	    .heads = 12,
	    .positions = 512,
	    .n_layers = 6,
	    .vocabulary = VOCABULARY,
	    .token_form = TRANSFORMER_INT8};

	for (size_t i = 0; i < model.n_layers; i++) {
		struct models_layer *layer = &model.layers[i];
		*layer = (struct models_layer){.gelu_table = shape->gelu_table,
		    .softmax = shape->softmax,
		    .function = HASH_KERNEL,
		    .similarity = shape->similarity,
		    .shared = shape->shared,
		    .bits = 16,
		    .anchors = 25};
		for (size_t m = 0; m < 6; m++)
			layer->forms[m] = shape->form;
	}
	models_write_encoder(dir, shape->name, &model, 1);
}

/* text (TEXT_BYTES) := words that make `pieces` pieces with [CLS] and [SEP]: each word
 * of the models of tests/support is one piece.  Returns its bytes. */
static size_t
make_text(char *text, size_t pieces, struct rng *rng)
{
	size_t n = 0;

	for (size_t i = 0; i + 2 < pieces; i++)
		n += (size_t)snprintf(text + n, TEXT_BYTES - n, "%s%c", i ? " " : "",
		    (char)('a' + (int)rng_below(rng, 26)));
	return n;
}

/* One thread's share of a round. */
struct worker {
	const struct encoder *encoder;
	struct encoder_scratch *scratch;
	struct encoder_item *items;
	uint32_t *ids;
	float *vectors;
	const char *text;
	size_t n_bytes, n_texts;
};

static void *
embed(void *arg)
{
	struct worker *w = arg;
	const size_t most = encoder_pieces_max(w->encoder);
	const size_t dims = encoder_dims(w->encoder);
	struct error err;

	for (size_t i = 0; i < w->n_texts; i++) {
		struct encoder_pieces pieces = {.ids = w->ids + i * most, .cap = most};
		if (encoder_tokenize(w->encoder, &pieces, ENCODER_PLAIN, w->text,
			w->n_bytes, &err) != 0)
			harness_fail(NAME, err.text);
		w->items[i] = (struct encoder_item){
		    .ids = pieces.ids, .n = pieces.n, .vector = w->vectors + i * dims};
	}
	encoder_run(w->encoder, w->scratch, w->items, w->n_texts);
	return NULL;
}

struct bench {
	struct encoder *encoder;
	struct worker workers[THREADS_MAX];
	char text[TEXT_BYTES];
};

static void *
need(void *p)
{
	if (!p)
		harness_fail(NAME, "no memory");
	return p;
}

static void
bench_open(struct bench *b, const char *path)
{
	struct error err;

	b->encoder = encoder_open(path, &err);
	if (!b->encoder)
		harness_fail(NAME, err.text);
	for (size_t i = 0; i < THREADS_MAX; i++) {
		struct worker *w = &b->workers[i];
		w->encoder = b->encoder;
		w->scratch = need(encoder_scratch_new(b->encoder, &err));
		w->items = need(array_new(BULK_TEXTS, sizeof *w->items));
		w->ids = need(array_new(
		    BULK_TEXTS * encoder_pieces_max(b->encoder), sizeof *w->ids));
		w->vectors = need(array_new(
		    BULK_TEXTS * encoder_dims(b->encoder), sizeof *w->vectors));
		w->text = b->text;
	}
}

static void
bench_close(struct bench *b)
{
	for (size_t i = 0; i < THREADS_MAX; i++) {
		encoder_scratch_free(b->workers[i].scratch);
		free(b->workers[i].items);
		free(b->workers[i].ids);
		free(b->workers[i].vectors);
	}
	encoder_close(b->encoder);
}

/* What a round embeds. */
struct load {
	size_t texts, pieces, threads;
};

/* n_bytes: of b->text */
static struct harness_time
run_round(struct bench *b, struct load load, size_t n_bytes)
{
	pthread_t threads[THREADS_MAX];

	for (size_t i = 0; i < load.threads; i++) {
		b->workers[i].n_bytes = n_bytes;
		b->workers[i].n_texts =
		    load.texts * (i + 1) / load.threads - load.texts * i / load.threads;
	}
	struct harness_watch watch = harness_start();
	for (size_t i = 1; i < load.threads; i++)
		if (pthread_create(&threads[i], NULL, embed, &b->workers[i]) != 0)
			harness_fail(NAME, "no thread");
	embed(&b->workers[0]);
	for (size_t i = 1; i < load.threads; i++)
		pthread_join(threads[i], NULL);
	return harness_stop(watch);
}

/* Seconds of processor time a round: the median of some, after one to warm up. */
static double
measure(struct bench *b, struct load load)
{
	struct harness_time times[ROUNDS];
	struct rng rng;

	rng_init(&rng, 1, load.pieces);
	const size_t n_bytes = make_text(b->text, load.pieces, &rng);
	double once = run_round(b, load, n_bytes).cpu, total = 0;
	size_t repeats = 1 + (size_t)(ROUND_SECONDS / once), n = 0;

	for (; n < ROUNDS && (n < 3 || total < TOTAL_SECONDS); n++) {
		times[n] = (struct harness_time){0};
		for (size_t i = 0; i < repeats; i++)
			times[n].cpu += run_round(b, load, n_bytes).cpu;
		total += times[n].cpu;
	}
	return harness_median(times, n).cpu / (double)repeats;
}

static const size_t lengths[] = {8, 16, 32, 64, 128, 256, 512};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

/* seconds (LENGTHS) := of a text of each length */
static void
print_row(double *seconds, const char *dir, const struct shape *shape)
{
	char path[4096];
	static struct bench b;

	snprintf(path, sizeof path, "%s/%s", dir, shape->name);
	bench_open(&b, path);
	printf("| %-17s | %-6s |", shape->name, linear_best()->name);
	for (size_t i = 0; i < LENGTHS; i++) {
		seconds[i] = measure(&b, (struct load){1, lengths[i], 1});
		printf(" %6.0f |", 1e6 * seconds[i]);
		fflush(stdout);
	}
	double bulk = measure(&b, (struct load){BULK_TEXTS, BULK_PIECES, 1});
	printf(" %6.0f |\n", BULK_TEXTS * BULK_PIECES / bulk);
	fflush(stdout);
	bench_close(&b);
}

/* Bytes of the first words of b->text that make `pieces` pieces. */
static size_t
cut_words(const struct bench *b, size_t pieces)
{
	size_t n = 0;

	for (size_t i = 0; i + 2 < pieces; i++) {
		n += strspn(b->text + n, " \n");
		if (b->text[n] == '\0')
			harness_fail(NAME, "expected more words");
		n += strcspn(b->text + n, " \n");
	}
	return n;
}

static void
rounds(const char *model, const char *words)
{
	static struct bench b;
	struct load load;
	FILE *f = fopen(words, "r");

	if (!f || fread(b.text, 1, sizeof b.text - 1, f) == 0)
		harness_fail(NAME, "cannot read the words");
	fclose(f);
	bench_open(&b, model);
	printf("%s\n", linear_best()->name);
	fflush(stdout);
	while (scanf("%zu %zu %zu", &load.texts, &load.pieces, &load.threads) == 3) {
		if (load.texts < 1 || load.texts > BULK_TEXTS || load.pieces < 3 ||
		    load.pieces > 512 || load.threads < 1 || load.threads > THREADS_MAX)
			harness_fail(NAME, "expected TEXTS PIECES THREADS");
		struct harness_time time =
		    run_round(&b, load, cut_words(&b, load.pieces));
		if (b.workers[0].items[0].n != load.pieces)
			harness_fail(NAME, "expected words of one piece each");
		printf("%.9f %.9f\n", time.wall, time.cpu);
		fflush(stdout);
	}
	bench_close(&b);
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "build/bench/transformer";
	double seconds[SHAPES][LENGTHS];

	harness_check_simd(NAME);
	if (argc == 4 && strcmp(argv[1], "rounds") == 0) {
		rounds(argv[2], argv[3]);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "write") == 0)
		dir = argv[2];
	mkdir(dir, 0755);
	for (size_t i = 0; i < SHAPES; i++)
		write_model(dir, &shapes[i]);
	if (argc == 3)
		return 0;
	printf(
	    "encoder of 6 x 384, random weights, tokenizer included, one thread: "
	    "microseconds of processor time\na text by its tokens, and tokens a "
	    "second of %d texts of %d\n"
	    "| model             | kernel |      8 |     16 |     32 |     64 |    128 "
	    "|    256 |    512 |   bulk |\n",
	    BULK_TEXTS, BULK_PIECES);
	for (size_t i = 0; i < SHAPES; i++)
		print_row(seconds[i], dir, &shapes[i]);
	for (size_t i = 0; i < SHAPES; i++) {
		if (shapes[i].softmax)
			continue;
		printf("%s, times as fast as with softmax (bar 1.3 at 512):",
		    shapes[i].name);
		for (size_t k = 0; k < LENGTHS; k++)
			printf(
			    "  %zu: %.2f", lengths[k], seconds[0][k] / seconds[i][k]);
		printf("\n");
	}
	return 0;
}
