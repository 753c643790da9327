/*
 * Claims: a model without layers embeds as docs/formats.md says, compared with a sum in
 * double here; every file of a model that is missing, cut, altered or of the wrong kind
 * is refused with its name and what was expected; texts that have no embedding are
 * refused; failing allocations are errors and leak nothing.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "base/tensors.h"
#include "tests/support/guard.h"

/* The small model: 6 pieces, 5 dimensions, 4 pieces a text. */
enum { V = 6, D = 5, N = 4 };

static const char vocabulary[] = "[UNK]\nred\ngreen\n##ish\nblue\n.\n";
static const char config[] =
    "{\"format_version\": 1, \"model_type\": \"halftone-static\",\n"
    " \"hidden_size\": 5, \"num_hidden_layers\": 0, \"vocab_size\": 6,\n"
    " \"max_position_embeddings\": 4, \"do_lower_case\": true,\n"
    " \"pooling\": \"mean\", \"normalize\": true, \"teacher\": \"none\"}\n";
static const int8_t weight[V * D] = {
    0, 0, 0, 0, 0,          /* [UNK] */
    1, -2, 3, -4, 5,        /* red */
    127, -128, 0, 7, 1,     /* green */
    -1, 2, -3, 4, -5,       /* ##ish */
    10, 20, 30, 40, -50,    /* blue */
    100, 100, 100, 100, 99, /* . */
};
static const float scale[V] = {0.5f, 0.25f, 0.01f, 0.25f, 0.125f, 0};

static char model[300];
static const char *const file_names[] = {
    "config.json", "vocab.txt", "model.safetensors"};

static const char *
path_of(const char *name)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s", model, name);
	return path;
}

static void
write_file(const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(path_of(name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static struct tensor
tensor_of(const char *name, enum tensor_type type, size_t rows, size_t columns,
    const void *data, size_t size_bytes)
{
	struct tensor t = {name, type, columns ? 2 : 1,
	    {rows, columns ? columns : 1, 1, 1}, data, size_bytes};
	return t;
}

static void
write_tensors(const struct tensor *list, size_t n)
{
	struct error err = {ERR_NONE, ""};

	if (tensors_save(path_of("model.safetensors"), list, n, NULL, 0, &err) != 0)
		fail_msg("%s", err.text);
}

static void
write_scales(const float *values)
{
	const struct tensor list[] = {
	    tensor_of("embedding.weight", TENSOR_I8, V, D, weight, sizeof weight),
	    tensor_of("embedding.scale", TENSOR_F32, V, 0, values, V * sizeof *values),
	};
	write_tensors(list, 2);
}

/* The small model, whole; the folder's name is in `model`. */
static void
write_model(void)
{
	snprintf(model, sizeof model, "%s/model", test_folder());
	mkdir(model, 0700);
	write_file("vocab.txt", vocabulary, sizeof vocabulary - 1);
	write_file("config.json", config, sizeof config - 1);
	write_scales(scale);
}

static struct encoder *
open_model(const char *dir)
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(dir, &err);

	if (!encoder)
		fail_msg("%s", err.text);
	return encoder;
}

/* The folder is refused with this code and all of these words. */
static void
refused(enum error_code code, const char *file, const char *expected, const char *found)
{
	struct error err = {ERR_NONE, ""};

	assert_null(encoder_open(model, &err));
	if (!strstr(err.text, file) || !strstr(err.text, expected) ||
	    !strstr(err.text, found))
		fail_msg("expected '%s', '%s' and '%s' in '%s'", file, expected, found,
		    err.text);
	assert_int_equal(err.code, code);
}

/* config.json with `from` replaced by `to` is refused. */
static void
config_refused(
    const char *from, const char *to, enum error_code code, const char *expected)
{
	char text[sizeof config + 100];
	const char *at = strstr(config, from);

	assert_non_null(at);
	int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - config), config, to,
	    at + strlen(from));
	write_file("config.json", text, (size_t)n);
	refused(code, "config.json", expected, "");
}

static void
embeds_the_scaled_sum(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n;
		uint32_t ids[N];
		bool truncated;
	} cases[] = {
	    {"red", 1, {1}, false},
	    {"Greenish BLUE!", 4, {2, 3, 4, 0}, false},
	    {"blue", 1, {4}, false},
	    {"red\xCC\x81 . green", 3, {1, 5, 2}, false},
	    {"red red green blue blue", 4, {1, 1, 2, 4}, true},
	};

	write_model();
	struct encoder *encoder = open_model(model);
	struct error err = {ERR_NONE, ""};
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	assert_int_equal(encoder_dims(encoder), D);
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		double want[D] = {0}, square = 0;
		for (size_t i = 0; i < cases[c].n; i++)
			for (size_t d = 0; d < D; d++)
				want[d] += (double)scale[cases[c].ids[i]] *
					   weight[cases[c].ids[i] * D + d];
		for (size_t d = 0; d < D; d++)
			square += want[d] * want[d];
		float *vector = guard_new(D * sizeof *vector);
		struct encoder_output out = {.vector = vector};
		assert_int_equal(encoder_embed(encoder, scratch, &out, ENCODER_PLAIN,
				     cases[c].text, strlen(cases[c].text), &err),
		    0);
		assert_int_equal(out.pieces, cases[c].n);
		assert_int_equal(out.truncated, cases[c].truncated);
		for (size_t d = 0; d < D; d++)
			assert_true(fabs(vector[d] - want[d] / sqrt(square)) < 1e-6);
		guard_free(vector, D * sizeof *vector);
	}
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

/* Widths around those that are summed at a time, each against a sum in double. */
static void
every_width_is_summed(void **state)
{
	(void)state;
	static const size_t widths[] = {1, 2, 63, 64, 65, 127, 128, 130, 4096};
	static int8_t rows[V * ENCODER_DIMS_MAX];
	struct rng rng;

	rng_init(&rng, test_seed(), 1);
	for (size_t i = 0; i < sizeof rows; i++)
		rows[i] = (int8_t)(1 + rng_below(&rng, 127));
	for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
		size_t dims = widths[w];
		const struct tensor list[] = {
		    tensor_of("embedding.weight", TENSOR_I8, V, dims, rows, V * dims),
		    tensor_of("embedding.scale", TENSOR_F32, V, 0, scale, sizeof scale),
		};
		char text[sizeof config + 10];
		const char *at = strstr(config, "\"hidden_size\": 5");
		write_model();
		write_tensors(list, 2);
		int n = snprintf(text, sizeof text, "%.*s\"hidden_size\": %zu%s",
		    (int)(at - config), config, dims,
		    at + strlen("\"hidden_size\": 5"));
		write_file("config.json", text, (size_t)n);
		struct encoder *encoder = open_model(model);
		struct error err;
		struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
		float *vector = guard_new(dims * sizeof *vector);
		struct encoder_output out = {.vector = vector};
		assert_non_null(scratch);
		assert_int_equal(encoder_embed(encoder, scratch, &out, ENCODER_PLAIN,
				     "red blue", 8, &err),
		    0);
		double square = 0;
		for (size_t d = 0; d < dims; d++) {
			double e = 0.25 * rows[dims + d] + 0.125 * rows[4 * dims + d];
			square += e * e;
		}
		for (size_t d = 0; d < dims; d++) {
			double e = 0.25 * rows[dims + d] + 0.125 * rows[4 * dims + d];
			assert_true(fabs(vector[d] - e / sqrt(square)) < 1e-6);
		}
		guard_free(vector, dims * sizeof *vector);
		encoder_scratch_free(scratch);
		encoder_close(encoder);
	}
}

static void
texts_without_an_embedding_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n;
		const char *why;
	} cases[] = {
	    {"", 0, "not an empty one"},
	    {" \n", 2, "none of its 0 pieces"},
	    {"\0\xE2\x80\x8B", 4, "none of its 0 pieces"},
	    {"yellow", 6, "none of its 1 pieces"}, /* [UNK], zeros */
	    {"...", 3, "none of its 3 pieces"},    /* scale 0 */
	    {"redish", 6, "none of its 2 pieces"}, /* they cancel */
	    {"red \xFF", 5, "byte 0xff at offset 4"},
	    {"red \xED\xA0\x80", 7, "byte 0xed at offset 4"}, /* a surrogate */
	    {"red\xC3", 4, "byte 0xc3 at offset 3"},
	};
	float vector[D] = {9, 9, 9, 9, 9};
	struct encoder_output out = {.vector = vector, .pieces = 77, .truncated = true};
	struct error err = {ERR_NONE, ""};

	write_model();
	struct encoder *encoder = open_model(model);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		char *text = guard_copy(cases[c].text, cases[c].n);
		assert_int_equal(encoder_embed(encoder, scratch, &out, ENCODER_PLAIN,
				     text, cases[c].n, &err),
		    -1);
		assert_int_equal(err.code, ERR_INPUT);
		if (!strstr(err.text, cases[c].why))
			fail_msg("expected '%s' in '%s'", cases[c].why, err.text);
		guard_free(text, cases[c].n);
	}
	for (size_t d = 0; d < D; d++)
		assert_true(vector[d] == 9);
	assert_int_equal(out.pieces, 77);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

static void
other_configs_are_refused(void **state)
{
	(void)state;
	write_model();
	config_refused("halftone-static", "bert", ERR_UNSUPPORTED,
	    "or \"halftone-encoder\", not \"bert\"");
	config_refused("\"format_version\": 1", "\"format_version\": 2",
	    ERR_UNSUPPORTED, "expected \"format_version\" as 1, not 2");
	config_refused("_layers\": 0", "_layers\": 6", ERR_UNSUPPORTED,
	    "expected \"num_hidden_layers\" as 0, not 6");
	config_refused("_case\": true", "_case\": false", ERR_UNSUPPORTED,
	    "expected \"do_lower_case\" as true, not false");
	config_refused(
	    "mean", "cls", ERR_UNSUPPORTED, "\"pooling\" as \"mean\", not \"cls\"");
	config_refused("normalize\": true", "normalize\": 1", ERR_UNSUPPORTED,
	    "expected \"normalize\" as true, not 1");
	config_refused("\"hidden_size\": 5,", "", ERR_FORMAT,
	    "expected \"hidden_size\", which is missing");
	config_refused("\"model_type\"", "\"type\"", ERR_FORMAT,
	    "expected \"model_type\", which is missing");
	config_refused("_size\": 5", "_size\": 0", ERR_FORMAT,
	    "\"hidden_size\" as an integer of 1 .. 4096, not 0");
	config_refused(
	    "_size\": 5", "_size\": 4097", ERR_FORMAT, "1 .. 4096, not 4097");
	config_refused("_size\": 5", "_size\": 5.5", ERR_FORMAT, "1 .. 4096, not 5.5");
	config_refused("_size\": 5", "_size\": \"5\"", ERR_FORMAT, "not \"5\"");
	config_refused(
	    "_size\": 6", "_size\": 1000001", ERR_FORMAT, "1 .. 1000000, not 1000001");
	config_refused("embeddings\": 4", "embeddings\": 65537", ERR_FORMAT,
	    "1 .. 65536, not 65537");
	config_refused("{", "[", ERR_FORMAT, "");
	write_file("config.json", "[1]", 3);
	refused(ERR_FORMAT, "config.json", "expected an object", "an array");
}

static void
other_sizes_are_refused(void **state)
{
	(void)state;
	write_model();
	write_file("vocab.txt", "[UNK]\nred\n", 10);
	refused(ERR_FORMAT, "vocab.txt", "expected 6 lines", "not 2");
	write_model();
	const struct tensor good_weight =
	    tensor_of("embedding.weight", TENSOR_I8, V, D, weight, sizeof weight);
	const struct tensor good_scale =
	    tensor_of("embedding.scale", TENSOR_F32, V, 0, scale, sizeof scale);
	const struct tensor bad[][2] = {
	    {tensor_of("weight", TENSOR_I8, V, D, weight, sizeof weight), good_scale},
	    {tensor_of("embedding.weight", TENSOR_I8, V - 1, D, weight, (V - 1) * D),
		good_scale},
	    {tensor_of("embedding.weight", TENSOR_I8, D, V, weight, V * D), good_scale},
	    {tensor_of("embedding.weight", TENSOR_I8, V * D, 0, weight, V * D),
		good_scale},
	    {tensor_of("embedding.weight", TENSOR_U8, V, D, weight, V * D), good_scale},
	    {good_weight, tensor_of("scale", TENSOR_F32, V, 0, scale, sizeof scale)},
	    {good_weight,
		tensor_of("embedding.scale", TENSOR_F32, V - 1, 0, scale, 20)},
	    {good_weight, tensor_of("embedding.scale", TENSOR_F32, V, 1, scale, 24)},
	    {good_weight, tensor_of("embedding.scale", TENSOR_I32, V, 0, scale, 24)},
	    {good_weight, tensor_of("embedding.scale", TENSOR_F16, V, 0, scale, 12)},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_tensors(bad[i], 2);
		refused(ERR_FORMAT, "model.safetensors", "expected",
		    i < 5 ? "embedding.weight" : "embedding.scale");
	}
}

static void
bad_scales_are_refused(void **state)
{
	(void)state;
	static const float bad[] = {NAN, INFINITY, -INFINITY, -0.1f, 1.1e6f};

	write_model();
	for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
		float scales[V];
		memcpy(scales, scale, sizeof scales);
		scales[b] = bad[b];
		write_scales(scales);
		char name[40];
		snprintf(name, sizeof name, "embedding.scale[%zu]", b);
		refused(ERR_FORMAT, "model.safetensors", name, "0 .. 1e+06, not ");
	}
	/* The largest scale allowed keeps every sum finite. */
	float scales[V] = {0, ENCODER_SCALE_MAX, 0, 0, 0, 0};
	write_scales(scales);
	encoder_close(open_model(model));
}

static void
missing_files_are_refused(void **state)
{
	(void)state;
	struct error err;

	for (size_t i = 0; i < 3; i++) {
		write_model();
		assert_int_equal(unlink(path_of(file_names[i])), 0);
		refused(ERR_NOT_FOUND, file_names[i], "", "");
	}
	assert_null(encoder_open("/nonexistent", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	char *dir = malloc(5001);
	memset(dir, 'x', 5000);
	dir[5000] = '\0';
	assert_null(encoder_open(dir, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
	free(dir);
}

/* Embed with whatever model is there, if it opens: nothing may crash. */
static bool
opens_and_embeds(void)
{
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(model, &err);

	if (!encoder) {
		assert_true(err.code != ERR_NONE && err.text[0]);
		return false;
	}
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	float *vector = malloc(encoder_dims(encoder) * sizeof *vector);
	struct encoder_output out = {.vector = vector};
	if (encoder_embed(
		encoder, scratch, &out, ENCODER_PLAIN, "red green blue", 14, &err) == 0)
		for (size_t d = 0; d < encoder_dims(encoder); d++)
			assert_true(fabsf(vector[d]) <= 1.0001f);
	free(vector);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
	return true;
}

static void
cut_files_are_refused(void **state)
{
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		write_model();
		struct stat st;
		assert_int_equal(stat(path_of(file_names[i]), &st), 0);
		/* The last byte of the two texts is a line's end: no loss. */
		off_t needed = st.st_size - (i < 2);
		for (off_t n = st.st_size; n >= 0; n--) {
			assert_int_equal(truncate(path_of(file_names[i]), n), 0);
			assert_int_equal(opens_and_embeds(), n >= needed);
		}
	}
}

static void
altered_files_are_refused_or_load(void **state)
{
	(void)state;
	size_t loaded = 0, turned_down = 0;

	for (size_t i = 0; i < 3; i++) {
		write_model();
		int fd = open(path_of(file_names[i]), O_RDWR);
		struct stat st;
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		for (off_t at = 0; at < st.st_size; at++) {
			unsigned char old;
			assert_int_equal(pread(fd, &old, 1, at), 1);
			for (unsigned bit = 1; bit < 256; bit *= 2) {
				unsigned char altered = (unsigned char)(old ^ bit);
				assert_int_equal(pwrite(fd, &altered, 1, at), 1);
				if (opens_and_embeds())
					loaded++;
				else
					turned_down++;
			}
			assert_int_equal(pwrite(fd, &old, 1, at), 1);
		}
		close(fd);
	}
	assert_true(loaded > 0 && turned_down > 0);
}

static void
allocation_failures_are_errors(void **state)
{
	(void)state;
	struct encoder *encoder = NULL;
	struct encoder_scratch *scratch = NULL;
	struct error err = {ERR_NONE, ""};
	long k = 0;

	write_model();
	while (!encoder) {
		array_fail_at(++k);
		encoder = encoder_open(model, &err);
		array_fail_at(0);
		if (!encoder)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 6);
	for (k = 0; !scratch;) {
		array_fail_at(++k);
		scratch = encoder_scratch_new(encoder, &err);
		array_fail_at(0);
		if (!scratch)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_int_equal(k, 4); /* itself, ids, sum */
	encoder_scratch_free(scratch);
	encoder_scratch_free(NULL);
	encoder_close(encoder);
	encoder_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(embeds_the_scaled_sum),
	    cmocka_unit_test(every_width_is_summed),
	    cmocka_unit_test(texts_without_an_embedding_are_refused),
	    cmocka_unit_test(other_configs_are_refused),
	    cmocka_unit_test(other_sizes_are_refused),
	    cmocka_unit_test(bad_scales_are_refused),
	    cmocka_unit_test(missing_files_are_refused),
	    cmocka_unit_test(cut_files_are_refused),
	    cmocka_unit_test(altered_files_are_refused_or_load),
	    cmocka_unit_test(allocation_failures_are_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
