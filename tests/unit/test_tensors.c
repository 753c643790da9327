/* Claims: what is saved comes back equal; each malformed file is refused with a
 * message that names it; every prefix and every flipped bit of a header is refused or
 * loads without a bad access; saving replaces whole or not at all; a failing
 * allocation leaves nothing behind (ASan counts leaks). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/tensors.h"
#include "tests/support/guard.h"

static char path[512];

static void
write_file(const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static size_t
read_file(uint8_t *bytes, size_t cap)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t n = fread(bytes, 1, cap, f);
	fclose(f);
	return n;
}

/* A file of this header and `data` zero bytes. */
static void
write_header(const char *header, size_t data)
{
	static uint8_t bytes[4096];
	size_t n = strlen(header);
	memset(bytes, 0, sizeof bytes);
	bytes_put64le(bytes, n);
	memcpy(bytes + 8, header, n);
	write_file(bytes, 8 + n + data);
}

static const float floats[6] = {1, -2, 3.5f, 0, 5, 6};
static const int8_t small[3] = {-1, 2, 127};
static const int64_t wide[1] = {INT64_MIN};
static const struct tensor list[] = {
    {.name = "tiny \"\\\n\xC3\xA9",
	.type = TENSOR_I8,
	.n_dims = 1,
	.shape = {3},
	.data = small,
	.size_bytes = 3},
    {.name = "b.weight",
	.type = TENSOR_F32,
	.n_dims = 2,
	.shape = {2, 3},
	.data = floats,
	.size_bytes = 24},
    {.name = "none", .type = TENSOR_U8, .n_dims = 2, .shape = {0, 4}, .data = small},
    {.name = "a", .type = TENSOR_I64, .n_dims = 0, .data = wide, .size_bytes = 8},
};
static const struct tensors_pair metadata[] = {
    {"format", "test"}, {"a \"key\"", "x\ty\\"}, {"empty", ""}};

static void
test_round_trip(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(tensors_save(path, list, 4, metadata, 3, &err), 0);
	struct tensors *t = tensors_open(path, &err);
	assert_non_null(t);
	for (size_t i = 0; i < 4; i++) {
		const struct tensor *x = tensors_find(t, list[i].name);
		assert_non_null(x);
		assert_int_equal(x->type, list[i].type);
		assert_int_equal(x->n_dims, list[i].n_dims);
		for (size_t d = 0; d < x->n_dims; d++)
			assert_int_equal(x->shape[d], list[i].shape[d]);
		assert_int_equal(x->size_bytes, list[i].size_bytes);
		assert_memory_equal(x->data, list[i].data, x->size_bytes);
	}
	assert_null(tensors_find(t, "b"));
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(
		    tensors_metadata(t, metadata[i].key), metadata[i].value);
	assert_null(tensors_metadata(t, "Format"));

	const struct tensor *b =
	    tensors_expect(t, "b.weight", TENSOR_F32, 2, (const size_t[]){0, 3}, &err);
	assert_non_null(b);
	assert_int_equal((uintptr_t)b->data % 4, 0);
	assert_non_null(tensors_expect(t, "a", TENSOR_I64, 0, NULL, &err));
	assert_null(
	    tensors_expect(t, "b.weight", TENSOR_F32, 2, (const size_t[]){3, 0}, &err));
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text,
	    "expected the tensor 'b.weight' as F32 [3, any], not F32 [2, 3]"));
	assert_non_null(strstr(err.text, path));
	assert_null(
	    tensors_expect(t, "b.weight", TENSOR_F16, 2, (const size_t[]){2, 3}, &err));
	assert_null(
	    tensors_expect(t, "b.weight", TENSOR_F32, 1, (const size_t[]){6}, &err));
	assert_null(
	    tensors_expect(t, "none", TENSOR_U8, 2, (const size_t[]){0, 0}, &err));
	assert_null(tensors_expect(t, "c", TENSOR_U8, 1, (const size_t[]){1}, &err));
	assert_non_null(strstr(err.text, "there is none"));
	tensors_close(t);
	tensors_close(NULL);

	/* The data begin at a multiple of 64 bytes. */
	uint8_t bytes[4096];
	assert_true(read_file(bytes, sizeof bytes) > 0);
	assert_int_equal((8 + bytes_get64le(bytes)) % 64, 0);
	/* Nothing and nothing. */
	assert_int_equal(tensors_save(path, NULL, 0, NULL, 0, &err), 0);
	t = tensors_open(path, &err);
	assert_non_null(t);
	assert_null(tensors_find(t, "a"));
	assert_null(tensors_metadata(t, "a"));
	tensors_close(t);
}

#define T "\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static const struct {
	const char *header;
	size_t data;
	const char *reason; /* NULL: accepted */
} headers[] = {
    {"{" T "}", 8, NULL},
    {"{" T "}   ", 8, NULL},
    {"{\"__metadata__\":{}," T "}", 8, NULL},
    {" {" T "}", 8, "begins with {"},
    {"[]", 0, "begins with {"},
    {"{" T "}", 9, "1 bytes follow"},
    {"{" T "}", 7, "within the file's 7 bytes"},
    {"{" T "," T "}", 8, "overlap"},
    {"{" T ",\"u\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[6,8]}}", 8,
	"overlap lies before 'u'"},
    {"{" T ",\"u\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[9,11]}}", 11,
	"a gap"},
    {"{" T ",\"t\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[8,10]}}", 10,
	"'t' once, not twice"},
    {"{" T ",\"\\u0074\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[8,8]}}", 8,
	"'t' once, not twice"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
	"expected the 12 bytes of 't'"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
	"expected the 8 bytes"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8,
	"expected the 8 bytes"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8,
	"expected the 8 bytes"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8,
	"expected the 8 bytes"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":"
     "[18446744073709551608,0]}}",
	8, "expected the 8 bytes"},
    {"{\"t\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"t\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
	"expected the 4 bytes of 't'"},
    {"{\"t\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
	"not \"F64\""},
    {"{\"t\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "not 7"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8,
	"at most 4 lengths"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
     "\"data_offsets\":[0,8]}}",
	8, "whose product is a size"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],"
     "\"data_offsets\":[0,0]}}",
	0, "whose product is a size"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8,
	"whose product is a size"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8,
	"whose product is a size"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
	"expected dtype, shape and data_offsets of the tensor 't'"},
    {"{\"t\":1}", 8, "expected dtype, shape"},
    {"{\"__metadata__\":[]," T "}", 8, "as an object of texts, not an array"},
    {"{\"__metadata__\":{\"a\":1}," T "}", 8, "'a' as a text, not a number"},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}," T "}", 8, "'a' once"},
    {"{\"__metadata__\":{},\"__metadata__\":{}," T "}", 8, "__metadata__ once"},
    {"{\"\x80\":1}", 8, "header: expected UTF-8 at byte 2"},
    {"{\"a\\u0000\":1}", 8, "no \\u0000"},
    {"{" T "} x", 8, "header: expected nothing after the value"},
};

static void
test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct error err = {0};
		write_header(headers[i].header, headers[i].data);
		struct tensors *t = tensors_open(path, &err);
		if (!headers[i].reason != !!t ||
		    (headers[i].reason && !strstr(err.text, headers[i].reason)))
			fail_msg("%s: %s", headers[i].header, err.text);
		if (!t) {
			assert_int_equal(err.code, ERR_FORMAT);
			assert_non_null(strstr(err.text, path));
		}
		tensors_close(t);
	}
}

static void
test_refused_files(void **state)
{
	(void)state;
	struct error err;
	uint8_t bytes[64] = {0};
	char other[600];
	bytes_put64le(bytes, 57);
	write_file(bytes, 64);
	assert_null(tensors_open(path, &err));
	assert_non_null(strstr(err.text, "not of 57"));
	bytes_put64le(bytes, UINT64_MAX - 7);
	write_file(bytes, 64);
	assert_null(tensors_open(path, &err));
	/* Over 16 MiB of header, even where the file has them. */
	bytes_put64le(bytes, ((uint64_t)16 << 20) + 1);
	write_file(bytes, 64);
	assert_int_equal(truncate(path, 20 << 20), 0);
	assert_null(tensors_open(path, &err));
	assert_non_null(strstr(err.text, "16 MiB"));

	snprintf(other, sizeof other, "%s/missing", test_folder());
	assert_null(tensors_open(other, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(tensors_open(test_folder(), &err));
	assert_int_equal(err.code, ERR_FORMAT);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_null(tensors_open(other, &err));
	assert_int_equal(err.code, ERR_FORMAT);
}

/* F32 data at an odd place: fine as a file, refused where floats are asked for. */
static void
test_misaligned(void **state)
{
	(void)state;
	struct error err;
	char header[256] =
	    "{\"b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
	    "\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}";
	for (size_t n = strlen(header); n % 8 != 0; n++)
		header[n] = ' ';
	write_header(header, 9);
	struct tensors *t = tensors_open(path, &err);
	assert_non_null(t);
	assert_non_null(tensors_find(t, "t"));
	assert_null(tensors_expect(t, "t", TENSOR_F32, 1, (const size_t[]){2}, &err));
	assert_non_null(strstr(err.text, "multiple of 4"));
	tensors_close(t);
}

static void
test_prefixes_and_flips(void **state)
{
	(void)state;
	struct error err;
	uint8_t bytes[2048];
	size_t loaded = 0;
	assert_int_equal(tensors_save(path, list, 4, metadata, 3, &err), 0);
	size_t n = read_file(bytes, sizeof bytes);
	assert_true(n > 100 && n < sizeof bytes);
	size_t data = 8 + bytes_get64le(bytes);
	for (size_t i = 0; i < n; i++) {
		write_file(bytes, i);
		assert_null(tensors_open(path, &err));
	}
	write_file(bytes, n);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	for (size_t bit = 0; bit < 8 * data; bit++) {
		uint8_t flipped = (uint8_t)(bytes[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
		struct tensors *t = tensors_open(path, &err);
		for (size_t i = 0; t && i < 4; i++) {
			/* What loads lies within the file: read all of it. */
			const struct tensor *x = tensors_find(t, list[i].name);
			volatile uint8_t sum = 0;
			for (size_t b = 0; x && b < x->size_bytes; b++)
				sum = (uint8_t)(sum + ((const uint8_t *)x->data)[b]);
		}
		loaded += t != NULL;
		tensors_close(t);
		assert_int_equal(pwrite(fd, bytes + bit / 8, 1, (off_t)(bit / 8)), 1);
	}
	close(fd);
	assert_true(loaded > 0); /* a letter of a name, say */
}

static size_t
files_in_folder(void)
{
	char command[600], answer[32] = "";
	snprintf(command, sizeof command, "ls -A '%s' | wc -l", test_folder());
	FILE *f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(answer, sizeof answer, f));
	pclose(f);
	return strtoul(answer, NULL, 10);
}

static void
test_save_fails(void **state)
{
	(void)state;
	struct error err;
	uint8_t before[2048], after[2048];
	assert_int_equal(tensors_save(path, list, 4, metadata, 3, &err), 0);
	size_t n = read_file(before, sizeof before), files = files_in_folder();

	struct tensor twice[2] = {list[1], list[1]};
	assert_int_equal(tensors_save(path, twice, 2, NULL, 0, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	struct tensors_pair bad = {"key", "\xFF"};
	assert_int_equal(tensors_save(path, list, 4, &bad, 1, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(
	    tensors_save("/nonexistent/folder/x", list, 4, NULL, 0, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(tensors_save("/dev/null/x", list, 4, NULL, 0, &err), -1);

	assert_int_equal(read_file(after, sizeof after), n);
	assert_memory_equal(before, after, n);
	assert_int_equal(files_in_folder(), files);
	/* A relative path: the folder to sync is the current one. */
	char old[512];
	assert_non_null(getcwd(old, sizeof old));
	assert_int_equal(chdir(test_folder()), 0);
	assert_int_equal(tensors_save("here", list, 4, NULL, 0, &err), 0);
	assert_int_equal(chdir(old), 0);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	long k;
	assert_int_equal(tensors_save(path, list, 4, metadata, 3, &err), 0);
	for (k = 1;; k++) {
		array_fail_at(k);
		struct tensors *t = tensors_open(path, &err);
		array_fail_at(0);
		tensors_close(t);
		if (t)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 3);
	for (k = 1;; k++) {
		array_fail_at(k);
		int rc = tensors_save(path, list, 4, metadata, 3, &err);
		array_fail_at(0);
		if (rc == 0)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_refused_files),
	    cmocka_unit_test(test_misaligned),
	    cmocka_unit_test(test_prefixes_and_flips),
	    cmocka_unit_test(test_save_fails),
	    cmocka_unit_test(test_no_memory),
	};
	snprintf(path, sizeof path, "%s/t.safetensors", test_folder());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
