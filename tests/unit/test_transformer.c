/*
 * Claims: a transformer gives what docs/formats.md says in every form: each form of
 * attention with each form of matrix, GELU, norm, pooling and table, in ragged batches,
 * compared with the slow twin of tests/support/slow_encoder.c (with the twin's hash
 * codes put in, so that a bit that two roundings decide differently does not hide the
 * rest; how many there are is checked by itself).  The embedding of a text has the same
 * bits whatever is embedded beside it, wherever passes are cut, and with every
 * instruction set.  Nothing is allocated while texts are embedded.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "attention/encoder_model.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/slow_encoder.h"

#define PIECES_MAX ATTEND_TOKENS_MAX
#define TEXTS 4
#define DIMS_MAX 256

/* How far an embedding may be from the twin's: largest difference of a coordinate of a
 * vector of length 1.  With bytes, a level that falls to the other side moves it. */
#define FLOAT_SLACK 2e-6
#define BYTES_SLACK 1e-2
#define BYTES_MEAN_SLACK 1e-3

static const char *
path_of(const char *name)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s", test_folder(), name);
	return path;
}

static struct encoder *
open_model(const char *path)
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(path, &err);

	if (!encoder)
		fail_msg("%s", err.text);
	return encoder;
}

/* The forms of attention. */
struct form {
	bool softmax, shared;
	enum hash_function function;
	enum hash_similarity similarity;
};

#define FORMS 17

static struct form
form_of(size_t i)
{
	assert_true(i < FORMS);
	if (i == 0)
		return (struct form){.softmax = true};
	i--;
	return (struct form){false, i % 2 == 1, (enum hash_function)(i / 2 % 2),
	    (enum hash_similarity)(i / 4)};
}

static void
set_form(struct models_layer *layer, size_t i)
{
	const struct form form = form_of(i);

	layer->softmax = form.softmax;
	layer->shared = form.shared;
	layer->function = form.function;
	layer->similarity = form.similarity;
}

/* Texts of a pass, as pieces. */
struct texts {
	uint32_t ids[PIECES_MAX];
	size_t start[TEXTS + 1];
};

static void
make_texts(struct texts *texts, struct rng *rng, const struct models_encoder *shape)
{
	texts->start[0] = 0;
	for (size_t t = 0; t < TEXTS; t++) {
		/* One piece, as many as there are places, and any number. */
		size_t n = t == 0   ? 1
			   : t == 1 ? shape->positions
				    : 2 + rng_below(rng, shape->positions - 2);
		texts->start[t + 1] = texts->start[t] + n;
	}
	assert_true(texts->start[TEXTS] <= TRANSFORMER_PASS);
	for (size_t i = 0; i < texts->start[TEXTS]; i++)
		texts->ids[i] = (uint32_t)rng_below(rng, shape->vocabulary);
}

/* What the trace works with: the twin's codes of the texts, and how many bits were not
 * as the twin's. */
struct codes {
	uint32_t *of_text[TEXTS]; /* (layers, 2, n, heads) */
	const size_t *start;
	const struct models_encoder *shape;
	size_t bits, different, calls;
};

static void
use_the_twins(void *context, size_t layer, bool keys, uint32_t *codes, size_t n)
{
	struct codes *c = context;

	assert_int_equal(n, c->start[TEXTS]);
	c->calls++;
	for (size_t t = 0; t < TEXTS; t++) {
		size_t first = c->start[t], n_text = c->start[t + 1] - first;
		const uint32_t *wanted =
		    c->of_text[t] + (2 * layer + keys) * n_text * c->shape->heads;
		for (size_t i = 0; i < n_text * c->shape->heads; i++) {
			uint32_t *code = codes + first * c->shape->heads + i;
			c->different += (size_t)__builtin_popcount(*code ^ wanted[i]);
			c->bits += c->shape->layers[layer].bits;
			*code = wanted[i];
		}
	}
}

/* Compare a random model of this shape with its twin; adds the bits of its codes to
 * *sums. */
static void
compare_model(struct codes *sums, const struct models_encoder *shape, struct rng *rng)
{
	struct error err = {ERR_NONE, ""};
	struct texts texts;
	struct codes codes = {.shape = shape, .start = texts.start};
	double want[TEXTS][DIMS_MAX], total = 0;
	float *vectors[TEXTS];
	bool ok[TEXTS], bytes = false;
	size_t hashes = 0;

	models_write_encoder(test_folder(), "twin", shape, rng_u64(rng));
	struct encoder *encoder = open_model(path_of("twin"));
	struct slow_encoder *slow = slow_encoder_open(path_of("twin"));
	make_texts(&texts, rng, shape);
	for (size_t t = 0; t < TEXTS; t++) {
		size_t n = texts.start[t + 1] - texts.start[t];
		codes.of_text[t] = calloc(
		    shape->n_layers * 2 * n * shape->heads, sizeof *codes.of_text[t]);
		vectors[t] = guard_new(shape->dims * sizeof *vectors[t]);
		slow_encoder_embed(
		    want[t], codes.of_text[t], slow, texts.ids + texts.start[t], n);
	}
	for (size_t i = 0; i < shape->n_layers; i++) {
		const struct models_layer *layer = &shape->layers[i];
		hashes += layer->softmax ? 0 : layer->shared ? 1 : 2;
		for (size_t m = 0; m < 6; m++)
			bytes |= layer->forms[m] != LINEAR_FLOAT;
	}

	struct transformer_scratch *scratch =
	    transformer_scratch_new(&encoder->transformer, &err);
	assert_non_null(scratch);
	const struct transformer_batch batch = {texts.ids, texts.start, TEXTS};
	const struct transformer_trace trace = {
	    .codes = use_the_twins, .context = &codes};
	transformer_run(&encoder->transformer, scratch, &batch, vectors, ok, &trace);

	assert_int_equal(codes.calls, hashes);
	for (size_t t = 0; t < TEXTS; t++) {
		assert_true(ok[t]);
		for (size_t d = 0; d < shape->dims; d++) {
			double off = fabs((double)vectors[t][d] - want[t][d]);
			if (!(off < (bytes ? BYTES_SLACK : FLOAT_SLACK)))
				fail_msg("text %zu: expected %g at %zu, not %g", t,
				    want[t][d], d, (double)vectors[t][d]);
			total += off / (double)(TEXTS * shape->dims);
		}
		guard_free(vectors[t], shape->dims * sizeof *vectors[t]);
		free(codes.of_text[t]);
	}
	if (!(total < BYTES_MEAN_SLACK))
		fail_msg("expected a mean difference under %g, not %g",
		    BYTES_MEAN_SLACK, total);
	sums->bits += codes.bits;
	sums->different += codes.different;
	transformer_scratch_free(scratch);
	slow_encoder_close(slow);
	encoder_close(encoder);
}

/* Forms of the matrices: all alike, or each of its own. */
static void
set_matrices(struct models_encoder *shape, size_t i)
{
	for (size_t l = 0; l < shape->n_layers; l++)
		for (size_t m = 0; m < 6; m++)
			shape->layers[l].forms[m] =
			    (enum linear_form)(i < 4 ? i : (l + m + i) % 4);
}

static void
every_form_is_the_twins(void **state)
{
	(void)state;
	enum { MATRICES = 6, INNER = 3 };
	struct codes sums = {.bits = 0};
	struct rng rng;
	size_t n = 0;

	rng_init(&rng, test_seed(), 1);
	for (size_t a = 0; a < FORMS; a++)
		for (size_t m = 0; m < MATRICES; m++)
			for (size_t i = 0; i < INNER; i++) {
				struct models_encoder shape =
				    models_encoder(LINEAR_FLOAT);
				shape.positions = 20;
				set_matrices(&shape, m);
				/* Two attentions a model, so each meets others. */
				set_form(&shape.layers[0], a);
				set_form(&shape.layers[1], (a + 1 + m) % FORMS);
				shape.sub_norm = i == 1;
				for (size_t l = 0; l < 2; l++)
					shape.layers[l].gelu_table =
					    i == 2 &&
					    shape.layers[l].forms[5] != LINEAR_FLOAT;
				/* All six of these for each matrix and inner part. */
				shape.pooling = (enum transformer_pooling)((a + i) % 2);
				shape.token_form =
				    (enum transformer_table)((a + m + i) / 2 % 3);
				compare_model(&sums, &shape, &rng);
				n++;
			}
	printf("%zu models; %zu of %zu bits of codes differ\n", n, sums.different,
	    sums.bits);
	assert_true(sums.bits > 1000000);
	assert_true(sums.different * 10000 < sums.bits);
}

/* Sizes that are not those above: widths, heads, code and bucket bits, anchors. */
static void
other_shapes_are_the_twins(void **state)
{
	(void)state;
	static const struct {
		size_t dims, heads, inner, bits, anchors, bucket_bits;
	} sizes[] = {
	    {64, 1, 64, 1, 1, 1},
	    {128, 8, 192, 32, 64, 8},
	    {192, 2, 64, 24, 25, 3},
	    {256, 2, 1024, 8, 16, 8},
	    {192, 12, 128, 5, 7, 5},
	};
	struct codes sums = {.bits = 0};
	struct rng rng;

	rng_init(&rng, test_seed(), 2);
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t a = 0; a < FORMS; a += 3) {
			struct models_encoder shape = models_encoder(LINEAR_TERNARY);
			shape.dims = sizes[s].dims;
			shape.heads = sizes[s].heads;
			shape.inner = sizes[s].inner;
			shape.n_layers = 3;
			shape.positions = 70;
			set_matrices(&shape, 4 + s);
			for (size_t l = 0; l < 3; l++) {
				set_form(&shape.layers[l], (a + l) % FORMS);
				shape.layers[l].bits = sizes[s].bits;
				shape.layers[l].anchors = sizes[s].anchors;
				shape.layers[l].bucket_bits = sizes[s].bucket_bits;
			}
			compare_model(&sums, &shape, &rng);
		}
	assert_true(sums.different * 10000 < sums.bits);
}

/* A model with every form of attention and of matrix, for texts of any length. */
static void
write_all_forms(const char *name, enum transformer_pooling pooling)
{
	static const size_t forms[] = {0, 1, 6, 7, 9, 12, 13, 16};
	struct models_encoder shape = models_encoder(LINEAR_TERNARY);

	shape.n_layers = 8;
	shape.positions = PIECES_MAX;
	shape.pooling = pooling;
	shape.token_form = TRANSFORMER_INT8;
	set_matrices(&shape, 5);
	for (size_t l = 0; l < 8; l++) {
		set_form(&shape.layers[l], forms[l]);
		shape.layers[l].gelu_table = shape.layers[l].forms[5] != LINEAR_FLOAT;
	}
	models_write_encoder(test_folder(), name, &shape, 11);
}

/* Items of many lengths: short ones, long ones, the longest. */
enum { ITEMS = 60 };

struct items {
	struct encoder_item item[ITEMS];
	uint32_t ids[ITEMS][PIECES_MAX];
	float *vectors; /* (ITEMS, dims) */
};

static struct items *
make_items(const struct encoder *encoder, uint64_t seed)
{
	struct items *items = calloc(1, sizeof *items);
	const size_t dims = encoder_dims(encoder);
	struct rng rng;

	assert_non_null(items);
	items->vectors = calloc(ITEMS * dims, sizeof *items->vectors);
	assert_non_null(items->vectors);
	rng_init(&rng, seed, 3);
	for (size_t i = 0; i < ITEMS; i++) {
		size_t most = i % 10 == 0 ? PIECES_MAX : i % 3 == 0 ? 150 : 20;
		size_t n = i == 10 ? PIECES_MAX : 2 + rng_below(&rng, most - 1);
		for (size_t k = 0; k < n; k++)
			items->ids[i][k] = (uint32_t)rng_below(&rng, MODELS_PIECES);
		items->item[i] = (struct encoder_item){
		    items->ids[i], n, items->vectors + i * dims, true};
	}
	return items;
}

static void
free_items(struct items *items)
{
	free(items->vectors);
	free(items);
}

static void
neighbours_change_no_bit(void **state)
{
	(void)state;
	const uint64_t seed = test_seed();

	for (int pooling = 0; pooling < 2; pooling++) {
		struct error err;
		write_all_forms("all", (enum transformer_pooling)pooling);
		struct encoder *encoder = open_model(path_of("all"));
		struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
		struct items *alone = make_items(encoder, seed);
		struct items *together = make_items(encoder, seed);
		struct items *turned = make_items(encoder, seed);
		const size_t size = encoder_dims(encoder) * sizeof(float);
		struct encoder_item order[ITEMS];
		assert_non_null(scratch);

		/* Long before short leaves garbage where short ones work. */
		for (size_t i = ITEMS; i-- > 0;)
			encoder_run(encoder, scratch, &alone->item[i], 1);
		array_fail_at(1); /* nothing is allocated */
		encoder_run(encoder, scratch, together->item, ITEMS);
		array_fail_at(0);
		for (size_t i = 0; i < ITEMS; i++)
			order[i] = turned->item[i * 7 % ITEMS];
		encoder_run(encoder, scratch, order, ITEMS);
		for (size_t i = 0; i < ITEMS; i++) {
			assert_false(alone->item[i].failed);
			assert_false(together->item[i].failed);
			assert_false(order[i].failed);
			assert_memory_equal(
			    alone->item[i].vector, together->item[i].vector, size);
			assert_memory_equal(
			    alone->item[i].vector, turned->item[i].vector, size);
		}
		free_items(turned);
		free_items(together);
		free_items(alone);
		encoder_scratch_free(scratch);
		encoder_close(encoder);
	}
}

/* What a program with another $SIMD says: the vectors' bytes as a hash. */
static uint64_t
hash_of(const char *path, const char *simd)
{
	char command[900];
	unsigned long long hash;

	snprintf(command, sizeof command, "SIMD=%s /proc/%d/exe --embed %s", simd,
	    (int)getpid(), path);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	int n = fscanf(f, "hash %llx", &hash);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(n, 1);
	return hash;
}

static int
print_hash(const char *path)
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(path, &err);
	struct encoder_scratch *scratch =
	    encoder ? encoder_scratch_new(encoder, &err) : NULL;
	uint64_t hash = 0xCBF29CE484222325u;

	if (!scratch) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	struct items *items = make_items(encoder, 5);
	encoder_run(encoder, scratch, items->item, ITEMS);
	const unsigned char *bytes = (const unsigned char *)items->vectors;
	for (size_t i = 0; i < ITEMS * encoder_dims(encoder) * sizeof(float); i++)
		hash = (hash ^ bytes[i]) * 0x100000001B3u;
	printf("hash %016llx\n", (unsigned long long)hash);
	free_items(items);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
	return 0;
}

static void
instruction_sets_give_the_same_bits(void **state)
{
	(void)state;
	static const enum cpu_level levels[] = {
	    CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
	size_t compared = 0;

	write_all_forms("all", TRANSFORMER_MEAN);
	uint64_t want = hash_of(path_of("all"), "scalar");
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		if (!cpu_has(levels[i]))
			continue;
		assert_int_equal(
		    hash_of(path_of("all"), cpu_level_name(levels[i])), want);
		compared++;
	}
	if (compared == 0)
		skip();
}

/* Numbers without a direction are told, not handed out. */
static void
overflow_is_told(void **state)
{
	(void)state;
	struct models_encoder shape = models_encoder(LINEAR_FLOAT);
	struct error err;
	float vector[64] = {7};
	bool ok = true;

	models_write_encoder(test_folder(), "huge", &shape, 1);
	struct encoder *encoder = open_model(path_of("huge"));
	struct transformer_scratch *scratch =
	    transformer_scratch_new(&encoder->transformer, &err);
	assert_non_null(scratch);
	struct rows_norm *norm = &encoder->transformer.layers[1].feed_forward_norm;
	float huge[64], zero[64] = {0};
	for (size_t d = 0; d < 64; d++)
		huge[d] = 3e38f;
	const uint32_t ids[] = {2, 3};
	const size_t start[] = {0, 2};
	float *vectors[] = {vector};
	const struct transformer_batch batch = {ids, start, 1};

	*norm = (struct rows_norm){huge, huge, 1e-12f};
	transformer_run(&encoder->transformer, scratch, &batch, vectors, &ok, NULL);
	assert_false(ok);
	*norm = (struct rows_norm){zero, zero, 1e-12f};
	ok = true;
	transformer_run(&encoder->transformer, scratch, &batch, vectors, &ok, NULL);
	assert_false(ok);
	assert_true(vector[0] == 7 && vector[1] == 0);
	transformer_scratch_free(scratch);
	encoder_close(encoder);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_form_is_the_twins),
	    cmocka_unit_test(other_shapes_are_the_twins),
	    cmocka_unit_test(neighbours_change_no_bit),
	    cmocka_unit_test(instruction_sets_give_the_same_bits),
	    cmocka_unit_test(overflow_is_told),
	};

	if (argc == 3 && strcmp(argv[1], "--embed") == 0)
		return print_hash(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
