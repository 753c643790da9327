/* Claims about files of binarizers: what is saved comes back and gives the same codes;
 * each that is not right is refused with a message that names it once; flipped bits and
 * prefixes are refused or harmless; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/tensors.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

static char path[512];

/* A model with its scratch; fails the test if there is none. */
struct bench {
	struct recurrent *model;
	struct recurrent_scratch *scratch;
};

static struct bench
bench_of(struct recurrent *model, const struct error *err)
{
	struct error scratch_err;
	struct bench b = {.model = model};
	if (!model)
		fail_msg("%s", err->text);
	b.scratch = recurrent_scratch_new(model, &scratch_err);
	assert_non_null(b.scratch);
	return b;
}

static struct bench
rotation(uint32_t input_dims, struct code_shape shape, uint64_t seed, const float *mean)
{
	struct error err;
	struct recurrent_rotation_config config = {input_dims, shape, seed, mean};
	struct recurrent *model = recurrent_new(&config, &err);
	return bench_of(model, &err);
}

static struct bench
from_file(const char *file, struct code_shape shape)
{
	struct error err;
	struct recurrent *model = recurrent_open(file, shape, &err);
	return bench_of(model, &err);
}

static void
bench_free(struct bench *b)
{
	recurrent_scratch_free(b->scratch);
	recurrent_free(b->model);
}

static void
random_vector(struct rng *rng, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(rng);
}

static void
test_save_and_open(void **state)
{
	(void)state;
	enum { D = 70 };
	struct error err;
	struct recurrent_info info;
	struct rng rng;
	float x[D], mean[D];
	struct code_shape shape = {128, 3, 0};
	uint8_t wire[2][CODE_BYTES_MAX];
	struct recurrent_numbers numbers[2];

	rng_init(&rng, test_seed(), 2);
	random_vector(&rng, mean, D);
	random_vector(&rng, x, D);
	struct bench a = rotation(D, shape, UINT64_MAX, mean);
	assert_int_equal(recurrent_save(a.model, path, &err), 0);
	assert_int_equal(recurrent_peek(&info, path, &err), 0);
	assert_int_equal(info.kind, RECURRENT_ROTATION);
	assert_int_equal(info.input_dims, D);
	assert_int_equal(info.shape.dims, 0);
	assert_true(info.seed == UINT64_MAX && !info.mean);
	struct bench b = from_file(path, shape);
	assert_memory_equal(recurrent_info(b.model).mean, mean, sizeof mean);
	recurrent_encode(a.model, a.scratch, wire[0], &numbers[0], x, &err);
	recurrent_encode(b.model, b.scratch, wire[1], &numbers[1], x, &err);
	assert_memory_equal(wire[0], wire[1], code_bytes(shape));
	assert_memory_equal(&numbers[0], &numbers[1], sizeof numbers[0]);
	bench_free(&a);
	bench_free(&b);

	shape = (struct code_shape){64, 3, 0};
	a = from_file("tests/golden/recurrent_learned.safetensors", shape);
	assert_int_equal(recurrent_save(a.model, path, &err), 0);
	assert_int_equal(recurrent_peek(&info, path, &err), 0);
	assert_int_equal(info.kind, RECURRENT_LEARNED);
	assert_int_equal(info.shape.dims, 64);
	assert_int_equal(info.shape.bits, 3);
	b = from_file(path, shape);
	recurrent_encode(a.model, a.scratch, wire[0], &numbers[0], x, &err);
	recurrent_encode(b.model, b.scratch, wire[1], &numbers[1], x, &err);
	assert_memory_equal(wire[0], wire[1], code_bytes(shape));
	bench_free(&a);
	bench_free(&b);
	assert_null(recurrent_open(path, (struct code_shape){64, 2, 0}, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "64 dims and 3 bits"));
	recurrent_free(NULL);
	recurrent_scratch_free(NULL);
}

/* The file of a small learned model in parts that the tests alter. */
struct file {
	struct tensor list[12];
	size_t n;
	struct tensors_pair metadata[6];
	size_t n_metadata;
};

static float some[64 * 8];

static struct file
good_file(void)
{
	for (size_t i = 0; i < 64 * 8; i++)
		some[i] = 1;
	struct file f = {.list = {models_tensor("mean", some, 8, 0),
			     models_tensor("base.0.weight", some, 64, 8),
			     models_tensor("base.0.bias", some, 64, 0),
			     models_tensor("reconstruct.1.0.weight", some, 8, 64),
			     models_tensor("reconstruct.1.0.bias", some, 8, 0),
			     models_tensor("residual.1.0.weight", some, 64, 8),
			     models_tensor("residual.1.0.bias", some, 64, 0),
			     models_tensor("query.weight", some, 64, 8)},
	    .n = 8,
	    .metadata = {{"format", "halftone-binarizer"}, {"format_version", "1"},
		{"kind", "recurrent"}, {"dims", "64"}, {"bits", "2"}, {"layers", "1"}},
	    .n_metadata = 6};
	return f;
}

static void
check_refused(const struct file *f, const char *reason)
{
	struct error err = {0};
	assert_int_equal(
	    tensors_save(path, f->list, f->n, f->metadata, f->n_metadata, &err), 0);
	struct recurrent *model =
	    recurrent_open(path, (struct code_shape){64, 2, 0}, &err);
	if (!model != !!reason || (reason && !strstr(err.text, reason)))
		fail_msg("'%s', expected '%s'", err.text, reason ? reason : "accepted");
	if (reason) {
		assert_int_equal(err.code, ERR_FORMAT);
		/* The path once, in front. */
		assert_true(strncmp(err.text, path, strlen(path)) == 0);
		assert_null(strstr(err.text + 1, path));
	}
	recurrent_free(model);
}

/* The length of a reconstruction may be given, as one finite number. */
static void
test_length(void **state)
{
	(void)state;
	float length[2] = {1.25f, 1};
	struct file f = good_file();
	f.list[f.n++] = models_tensor("reconstruct.1.length", length, 1, 0);
	check_refused(&f, NULL);
	f.list[f.n - 1] = models_tensor("reconstruct.1.length", length, 2, 0);
	check_refused(&f, "'reconstruct.1.length'");
	f.list[f.n - 1] = models_tensor("reconstruct.1.length", length, 1, 0);
	length[0] = INFINITY;
	check_refused(&f, "finite numbers in the tensor 'reconstruct.1.length'");
}

static void
test_files_refused(void **state)
{
	(void)state;
	struct file f = good_file();
	check_refused(&f, NULL);
	static const struct {
		size_t index;
		const char *value;
		const char *reason;
	} texts[] = {
	    {0, "halftone", "expected the metadata 'format'"},
	    {1, "2", "expected format_version 1, not '2'"},
	    {2, "other", "'rotation', 'recurrent' or 'refined', not 'other'"},
	    {2, "rotation", "'seed' as a number"},
	    {3, "63", "multiple of 64"},
	    {3, "4160", "up to 4096"},
	    {3, "", "'dims'"},
	    {4, "0", "1 to 4 bits"},
	    {4, "5", "up to 4"},
	    {4, "2x", "not '2x'"},
	    {4, "99999999999999999999", "'bits' as a number"},
	    {5, "0", "'layers' as 1 to 8"},
	    {5, "9", "'layers' as 1 to 8"},
	    {5, "2", "'base.1.weight'"},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		f = good_file();
		f.metadata[texts[i].index].value = texts[i].value;
		check_refused(&f, texts[i].reason);
	}
	for (size_t i = 0; i < 8; i++) { /* each tensor: missing, other type, shape */
		char reason[64];
		f = good_file();
		snprintf(reason, sizeof reason, "'%s'", f.list[i].name);
		f.list[i].name = "elsewhere";
		check_refused(&f, reason);
		f = good_file();
		f.list[i].type = TENSOR_I32;
		check_refused(&f, reason);
		f = good_file();
		f.list[i].n_dims = 4;
		check_refused(&f, reason);
		f = good_file();
		some[5] = NAN;
		f.list[0].data = some + 16; /* the mean stays finite */
		if (i > 0)
			check_refused(&f, "finite");
	}
	f = good_file();
	some[3] = INFINITY;
	check_refused(&f, "expected a finite mean, not inf at position 3");

	struct error err;
	struct recurrent_info info;
	assert_int_equal(recurrent_peek(&info, "/nonexistent", &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(
	    recurrent_open("/nonexistent", (struct code_shape){64, 2, 0}, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* A refined model is a mean and two matrices; the file gives the model that was saved.
 */
static void
test_refined(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;
	struct code_shape shape = {64, 2, 0};
	static float map[64 * 48], base[64 * 48], mean[48], x[48];
	uint8_t wire[2][16];
	struct recurrent_numbers numbers[2];

	rng_init(&rng, test_seed(), 7);
	for (size_t i = 0; i < 64 * 48; i++)
		map[i] = rng_normal(&rng) / 48;
	for (size_t i = 0; i < 64 * 48; i++)
		base[i] = rng_normal(&rng);
	for (size_t i = 0; i < 48; i++) {
		mean[i] = rng_normal(&rng) / 10;
		x[i] = rng_normal(&rng);
	}
	const struct recurrent_refined_config config = {
	    .input_dims = 48, .shape = shape, .mean = mean, .map = map, .base = base};
	struct bench a = {.model = recurrent_new_refined(&config, &err)};
	a.scratch = recurrent_scratch_new(a.model, &err);
	assert_int_equal(recurrent_save(a.model, path, &err), 0);
	struct bench b = from_file(path, shape);
	assert_int_equal(recurrent_info(b.model).kind, RECURRENT_REFINED);
	assert_memory_equal(recurrent_info(b.model).mean, mean, sizeof mean);
	recurrent_encode(a.model, a.scratch, wire[0], &numbers[0], x, &err);
	recurrent_encode(b.model, b.scratch, wire[1], &numbers[1], x, &err);
	assert_memory_equal(wire[0], wire[1], sizeof wire[0]);
	assert_memory_equal(&numbers[0], &numbers[1], sizeof numbers[0]);
	assert_null(recurrent_open(path, (struct code_shape){64, 1, 0}, &err));
	assert_int_equal(err.code, ERR_INPUT);
	bench_free(&a);
	bench_free(&b);

	struct file f = {.list = {models_tensor("mean", mean, 48, 0),
			     models_tensor("query.weight", map, 64, 48),
			     models_tensor("base.weight", base, 64, 48)},
	    .n = 3,
	    .metadata = {{"format", "halftone-binarizer"}, {"format_version", "1"},
		{"kind", "refined"}, {"dims", "64"}, {"bits", "2"}},
	    .n_metadata = 5};
	check_refused(&f, NULL);
	f.n = 1;
	check_refused(&f, "'query.weight'");
	f.n = 2;
	check_refused(&f, "'base.weight'");
	f.n = 3;
	memset(map + 3 * 48, 0, 48 * sizeof *map);
	check_refused(&f, "row 3's square");
	map[5] = NAN;
	check_refused(&f, "finite");
}

/* Every flipped bit of a learned model's header, and every prefix of it. */
static void
test_flips(void **state)
{
	(void)state;
	struct error err;
	struct file f = good_file();
	uint8_t bytes[16384];
	assert_int_equal(
	    tensors_save(path, f.list, f.n, f.metadata, f.n_metadata, &err), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof bytes);
	assert_true(n > 2000 && n < (ssize_t)sizeof bytes);
	size_t header = 8 + bytes[0] + 256u * bytes[1], loaded = 0;
	for (size_t bit = 0; bit < 8 * header; bit += 3) {
		uint8_t flipped = (uint8_t)(bytes[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
		struct recurrent *model =
		    recurrent_open(path, (struct code_shape){64, 2, 0}, &err);
		loaded += model != NULL;
		recurrent_free(model);
		assert_int_equal(pwrite(fd, bytes + bit / 8, 1, (off_t)(bit / 8)), 1);
	}
	/* Only white space may change unnoticed: the padding, mostly. */
	assert_true(loaded < header / 8);
	for (ssize_t i = n - 1; i >= 0; i -= 37) {
		assert_int_equal(ftruncate(fd, i), 0);
		assert_null(recurrent_open(path, (struct code_shape){64, 2, 0}, &err));
	}
	close(fd);
}

/* Allocation k fails, k = 1, 2, ...: a message, and nothing left behind. */
static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	struct recurrent_rotation_config config = {
	    .input_dims = 64, .shape = {64, 2, 0}};
	long k;
	for (k = 1;; k++) {
		array_fail_at(k);
		struct recurrent *model = recurrent_new(&config, &err);
		struct recurrent_scratch *scratch =
		    model ? recurrent_scratch_new(model, &err) : NULL;
		array_fail_at(0);
		recurrent_scratch_free(scratch);
		recurrent_free(model);
		if (scratch)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 8);
	static const char *const files[] = {"learned", "padded"};
	for (size_t i = 0; i < 2; i++) {
		char file[128];
		snprintf(file, sizeof file, "tests/golden/recurrent_%s.safetensors",
		    files[i]);
		struct code_shape shape = {i == 0 ? 64 : 192, 3, 0};
		for (k = 1;; k++) {
			array_fail_at(k);
			struct recurrent *model = recurrent_open(file, shape, &err);
			array_fail_at(0);
			recurrent_free(model);
			if (model)
				break;
			assert_int_equal(err.code, ERR_MEMORY);
		}
		assert_true(k > 4);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_save_and_open),
	    cmocka_unit_test(test_files_refused),
	    cmocka_unit_test(test_refined),
	    cmocka_unit_test(test_length),
	    cmocka_unit_test(test_flips),
	    cmocka_unit_test(test_no_memory),
	};
	snprintf(path, sizeof path, "%s/m.safetensors", test_folder());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
