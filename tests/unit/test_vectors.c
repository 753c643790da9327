/*
 * Claims: .npy (versions 1 to 3, five types, both orders), .fvecs and .bvecs come out
 * as the numbers that were written, among them files by numpy; every prefix of a file,
 * every header that says something else, every number that is not finite is refused
 * with the file's name; a written .npy reads back bit for bit, and an abandoned one
 * leaves nothing; a failing allocation is an error and no leak.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/vectors.h"
#include "tests/support/guard.h"

static char path[4096];

static void
write_file(const void *bytes, size_t n)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static void
set_path(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", test_folder(), name);
}

/* buf := magic, version, length, header, data; returns the size. */
static size_t
make_npy(uint8_t *buf, int version, const char *header, const void *data, size_t n)
{
	size_t wide = version == 1 ? 2 : 4, len = strlen(header);
	memcpy(buf, "\x93NUMPY", 6);
	buf[6] = (uint8_t)version;
	buf[7] = 0;
	for (size_t i = 0; i < wide; i++)
		buf[8 + i] = (uint8_t)(len >> (8 * i));
	memcpy(buf + 8 + wide, header, len);
	if (n > 0)
		memcpy(buf + 8 + wide + len, data, n);
	return 8 + wide + len + n;
}

/* The file must open with this shape and hold these numbers. */
static void
expect_rows(enum vectors_format format, const float *want, size_t rows, size_t dims)
{
	struct error err;
	struct vectors *v = vectors_open(path, format, &err);
	if (v == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(vectors_dims(v), dims);
	assert_int_equal(vectors_count(v), rows);
	float *row = guard_new(dims * sizeof *row);
	for (size_t i = 0; i < rows; i++) {
		assert_int_equal(vectors_next(v, row, &err), 1);
		assert_memory_equal(row, want + i * dims, dims * sizeof *row);
	}
	assert_int_equal(vectors_next(v, row, &err), 0);
	assert_int_equal(vectors_read_bytes(v), vectors_size_bytes(v));
	guard_free(row, dims * sizeof *row);
	vectors_close(v);
}

/* Opening, or a row of it, must fail, name the file and say `part`. */
static void
expect_refused(enum vectors_format format, enum error_code code, const char *part)
{
	struct error err = {ERR_NONE, ""};
	struct vectors *v = vectors_open(path, format, &err);
	if (v != NULL) {
		float *row = array_new(vectors_dims(v), sizeof *row);
		int rc = 1;
		while (rc == 1)
			rc = vectors_next(v, row, &err);
		free(row);
		vectors_close(v);
		assert_int_equal(rc, -1);
	}
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.text, path));
	if (strstr(err.text, part) == NULL)
		fail_msg("expected \"%s\" in: %s", part, err.text);
}

static void
test_npy_types(void **state)
{
	(void)state;
	static const struct {
		const char *descr;
		size_t size;
	} types[] = {{"<f4", 4}, {"<f8", 8}, {"|i1", 1}, {"|u1", 1}};
	uint8_t file[512], data[6 * 8];
	char header[128];
	float want[6];
	set_path("types.npy");
	for (size_t t = 0; t < 4; t++) {
		for (int version = 1; version <= 3; version++) {
			for (size_t i = 0; i < 6; i++) {
				int v = (int)i * 37 - (t == 3 ? 0 : 100);
				double d = v * 0.5;
				want[i] = t < 2 ? (float)d : (float)v;
				if (t == 0)
					bytes_putfle(data + 4 * i, want[i]);
				else if (t == 1)
					memcpy(data + 8 * i, &d, 8);
				else
					data[i] = (uint8_t)v;
			}
			snprintf(header, sizeof header,
			    "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), "
			    "} \n",
			    types[t].descr);
			write_file(file,
			    make_npy(file, version, header, data, 6 * types[t].size));
			expect_rows(VECTORS_NPY, want, 2, 3);
		}
	}
}

/* Data that numpy 2.4 wrote behind its header, which it fills up to 128 bytes. */
struct by_numpy {
	const char *header;
	uint8_t data[48];
	size_t n;
};

static void
write_numpy(const struct by_numpy *by)
{
	uint8_t file[256];
	char header[119];
	snprintf(header, sizeof header, "%-117s\n", by->header);
	write_file(file, make_npy(file, 1, header, by->data, by->n));
}

static void
test_by_numpy(void **state)
{
	(void)state;
	static const struct by_numpy halves[] = {
	    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }",
		{0x00, 0x00, 0x00, 0x80, 0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b, 0x00, 0x04,
		    0x01, 0x00, 0xff, 0x83, 0x55, 0x35, 0xd2, 0xe4, 0x48, 0x42, 0xff,
		    0xfb},
		24},
	    {"{'descr': '<f2', 'fortran_order': True, 'shape': (3, 4), }",
		{0x00, 0x00, 0xff, 0x7b, 0x55, 0x35, 0x00, 0x80, 0x00, 0x04, 0xd2, 0xe4,
		    0x00, 0x3c, 0x01, 0x00, 0x48, 0x42, 0x00, 0xc0, 0xff, 0x83, 0xff,
		    0xfb},
		24},
	};
	const float half[12] = {0, -0.0f, 1, -2, 65504, 0x1p-14f, 0x1p-24f,
	    -1023 * 0x1p-24f, 0.333251953125f, -1234, 3.140625f, -65504};
	static const struct by_numpy floats[] = {
	    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
		{0x00, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x80, 0x40, 0x00, 0x00, 0x00, 0xc0,
		    0x7c, 0x6f, 0x7c, 0x72, 0xc8, 0xaa, 0x20, 0x00, 0x00, 0x00, 0xc8,
		    0xc0},
		24},
	    {"{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }",
		{0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf8, 0x3f, 0x00, 0x00, 0x00, 0x00,
		    0x00, 0x00, 0x10, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		    0xc0, 0x00, 0x00, 0x00, 0x80, 0xef, 0x8d, 0x4f, 0x46, 0x00, 0x00,
		    0x00, 0x00, 0x64, 0x55, 0xf0, 0x37, 0x00, 0x00, 0x00, 0x00, 0x00,
		    0x00, 0x19, 0xc0},
		48},
	};
	const float value[6] = {1.5f, -2, 3e-39f, 4, 5e30f, -6.25f};
	static const struct by_numpy bytes = {
	    "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }",
	    {0x01, 0x80, 0xfe, 0x7f, 0x03, 0x00}, 6};
	const float byte[6] = {1, -2, 3, -128, 127, 0};
	set_path("numpy.npy");
	for (size_t i = 0; i < 2; i++) {
		write_numpy(&halves[i]);
		expect_rows(VECTORS_NPY, half, 3, 4);
		write_numpy(&floats[i]);
		expect_rows(VECTORS_NPY, value, 2, 3);
	}
	write_numpy(&bytes);
	expect_rows(VECTORS_NPY, byte, 2, 3);

	static const struct {
		struct by_numpy by;
		const char *part;
	} bad[] = {
	    {{"{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }",
		 {0x00, 0x3c, 0x00, 0x7c}, 4},
		"row 0, dimension 1 is infinite"},
	    {{"{'descr': '<f2', 'fortran_order': True, 'shape': (2, 2), }",
		 {0x00, 0x3c, 0x00, 0x3c, 0x00, 0x3c, 0x00, 0x7e}, 8},
		"row 1, dimension 1 is NaN"},
	    {{"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
		 {0x1d, 0x4a, 0x9c, 0xf4, 0x87, 0x82, 0x07, 0x48}, 8},
		"row 0, dimension 0 is 1e+39"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_numpy(&bad[i].by);
		expect_refused(VECTORS_NPY, ERR_FORMAT, bad[i].part);
	}
}

/* A file by columns of more rows than are read at a time. */
static void
test_many_by_columns(void **state)
{
	(void)state;
	enum { ROWS = (4 << 20) / 1000 + 3, DIMS = 1000 };
	const char *header =
	    "{'descr': '|u1', 'fortran_order': True, 'shape': (4197, 1000), }\n";
	uint8_t *file = malloc(ROWS * DIMS + 128);
	uint8_t *data = malloc(ROWS * DIMS);
	float *row = malloc(DIMS * sizeof *row);
	struct error err;
	struct rng rng;
	assert_true(file && data && row);
	rng_init(&rng, test_seed(), 2);
	for (size_t i = 0; i < ROWS * DIMS; i++)
		data[i] = (uint8_t)rng_below(&rng, 256);
	set_path("columns.npy");
	write_file(file, make_npy(file, 1, header, data, ROWS * DIMS));
	struct vectors *v = vectors_open(path, VECTORS_NPY, &err);
	if (v == NULL)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ROWS; i++) {
		assert_int_equal(vectors_next(v, row, &err), 1);
		for (size_t j = 0; j < DIMS; j++)
			if (row[j] != (float)data[j * ROWS + i])
				fail_msg("row %zu, dimension %zu", i, j);
	}
	assert_int_equal(vectors_next(v, row, &err), 0);
	vectors_close(v);
	free(file);
	free(data);
	free(row);
}

static void
test_npy_spellings(void **state)
{
	(void)state;
	static const char *const headers[] = {
	    "{\"shape\":(6,),\"descr\":\"<f4\",\"fortran_order\":False}",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 6)}\n",
	    ("  {  'fortran_order' : False ,\n'shape' : ( 1 , 6 , ) , 'descr' : '<f4' "
	     ", "
	     "}  "),
	};
	uint8_t file[512], data[24];
	float want[6] = {1, -2, 3.25f, 0, -0.0f, 1e-30f};
	for (size_t i = 0; i < 6; i++)
		bytes_putfle(data + 4 * i, want[i]);
	set_path("spellings.npy");
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		write_file(file, make_npy(file, 1, headers[i], data, sizeof data));
		expect_rows(VECTORS_NPY, want, 1, 6);
	}
	/* No rows at all is a shape like any other. */
	write_file(file,
	    make_npy(file, 1,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 6)}", NULL, 0));
	expect_rows(VECTORS_NPY, want, 0, 6);
}

static void
test_npy_refused(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		const char *part; /* of the message */
	} bad[] = {
	    {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", "'>f4'"},
	    {"{'descr': '>f2', 'fortran_order': False, 'shape': (2, 3), }",
		"astype('<f4')"},
	    {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", "'<i4'"},
	    {"{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }", "needs"},
	    {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", "'|O'"},
	    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
		"fields"},
	    {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 3), }", "needs"},
	    {"{'descr': '<f4', 'fortran_order': TRUE, 'shape': (2, 3), }",
		"True or False"},
	    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }",
		"True or False"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 1), }", "axes"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "axes"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }",
		"dimensions"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 65537), }",
		"dimensions"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }",
		"integers"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
		"',' or ')'"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", "needs"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }", "needs"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': "
	     "(18446744073709551615, 3), }",
		"any file"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': "
	     "(99999999999999999999, 3), }",
		"2^64"},
	    {"{'descr': '<f4', 'fortran_order': False, }", "lacks 'shape'"},
	    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False}", "twice"},
	    {"{'descr': '<f4', 'order': False, 'shape': (2, 3)}", "'order'"},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", "nothing"},
	    {"{'descr' '<f4'}", "'key': value"},
	    {"[1, 2, 3]", "header"},
	    {"", "header"},
	    {"{'descr': '<f4", "'descr'"},
	};
	uint8_t file[512], data[24] = {0};
	set_path("refused.npy");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		write_file(file, make_npy(file, 1, bad[i].header, data, sizeof data));
		expect_refused(VECTORS_NPY, ERR_FORMAT, bad[i].part);
	}
	size_t n = make_npy(file, 4, "{}", data, 0);
	write_file(file, n);
	expect_refused(VECTORS_NPY, ERR_FORMAT, "4.0");
	memcpy(file, "\x93NUMPX", 6);
	write_file(file, n);
	expect_refused(VECTORS_NPY, ERR_FORMAT, "NUMPY");
	n = make_npy(file, 2, "{}", data, 0);
	file[10] = 0x10; /* a header of a megabyte */
	write_file(file, n);
	expect_refused(VECTORS_NPY, ERR_FORMAT, "at most");
}

/* Every prefix is refused; so is one byte more. */
static void
cut_everywhere(enum vectors_format format, const uint8_t *file, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool whole_rows = format != VECTORS_NPY && (i == 0 || i == n / 2);
		if (whole_rows)
			continue; /* a shorter file, but a right one */
		write_file(file, i);
		expect_refused(format, ERR_FORMAT, "");
	}
	uint8_t *longer = malloc(n + 1);
	assert_non_null(longer);
	memcpy(longer, file, n);
	longer[n] = 0;
	write_file(longer, n + 1);
	expect_refused(format, ERR_FORMAT, "");
	free(longer);
}

static void
test_prefixes(void **state)
{
	(void)state;
	uint8_t file[512], data[24] = {0};
	set_path("prefix");
	cut_everywhere(VECTORS_NPY, file,
	    make_npy(file, 1,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n", data,
		sizeof data));
	for (size_t row = 0; row < 2; row++)
		bytes_put32le(file + 16 * row, 3);
	cut_everywhere(VECTORS_FVECS, file, 32);
	bytes_put32le(file, 3);
	bytes_put32le(file + 7, 3);
	cut_everywhere(VECTORS_BVECS, file, 14);
}

/* A file with one bit turned is refused or is another right file: never read beyond. */
static void
test_flipped_bits(void **state)
{
	(void)state;
	uint8_t file[512], data[24] = {0};
	struct error err;
	size_t refused = 0;
	set_path("flipped");
	size_t n = make_npy(file, 1,
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", data,
	    sizeof data);
	for (size_t bit = 0; bit < 8 * n; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		write_file(file, n);
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		struct vectors *v = vectors_open(path, VECTORS_NPY, &err);
		if (v == NULL) {
			assert_int_equal(err.code, ERR_FORMAT);
			refused++;
			continue;
		}
		size_t row_bytes = vectors_dims(v) * sizeof(float);
		float *row = guard_new(row_bytes);
		while (vectors_next(v, row, &err) == 1)
			;
		guard_free(row, row_bytes);
		vectors_close(v);
	}
	/* All of the header counts but white space, some letters' case, and zeros. */
	assert_true(refused > 8 * (n - sizeof data) * 9 / 10);
}

static void
test_vecs(void **state)
{
	(void)state;
	uint8_t file[64];
	const float want[6] = {1.5f, -2, 3, 4, 5, -6.25f};
	const float bytes[6] = {0, 127, 128, 255, 1, 2};
	set_path("rows.vecs");
	for (size_t row = 0; row < 2; row++) {
		bytes_put32le(file + 16 * row, 3);
		for (size_t i = 0; i < 3; i++)
			bytes_putfle(file + 16 * row + 4 + 4 * i, want[3 * row + i]);
	}
	write_file(file, 32);
	expect_rows(VECTORS_FVECS, want, 2, 3);
	for (size_t row = 0; row < 2; row++) {
		bytes_put32le(file + 7 * row, 3);
		for (size_t i = 0; i < 3; i++)
			file[7 * row + 4 + i] = (uint8_t)bytes[3 * row + i];
	}
	write_file(file, 14);
	expect_rows(VECTORS_BVECS, bytes, 2, 3);
	/* The second row says it has another length. */
	bytes_put32le(file + 7, 2);
	write_file(file, 14);
	expect_refused(VECTORS_BVECS, ERR_FORMAT, "row 1");
	bytes_put32le(file + 7, 0x80000003);
	write_file(file, 14);
	expect_refused(VECTORS_BVECS, ERR_FORMAT, "row 1");
	static const uint32_t lengths[] = {0, 0xFFFFFFFF, 65537, 0x7FFFFFFF};
	for (size_t i = 0; i < 4; i++) {
		bytes_put32le(file, lengths[i]);
		write_file(file, 14);
		expect_refused(VECTORS_BVECS, ERR_FORMAT, "dimensions");
	}
	write_file(file, 0);
	struct error err;
	struct vectors *v = vectors_open(path, VECTORS_FVECS, &err);
	assert_non_null(v);
	assert_int_equal(vectors_dims(v), 0);
	assert_int_equal(vectors_next(v, NULL, &err), 0);
	vectors_close(v);
}

static void
test_not_finite(void **state)
{
	(void)state;
	static const double bad[] = {NAN, INFINITY, -INFINITY, 1e39, -1e300};
	uint8_t file[512], data[24] = {0};
	set_path("finite.npy");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memcpy(data + 16, &bad[i], 8);
		write_file(file,
		    make_npy(file, 1,
			"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1)}",
			data, 24));
		expect_refused(VECTORS_NPY, ERR_FORMAT, "row 2, dimension 0");
	}
	bytes_put32le(file, 2);
	bytes_putfle(file + 4, 1);
	bytes_putfle(file + 8, NAN);
	write_file(file, 12);
	expect_refused(VECTORS_FVECS, ERR_FORMAT, "row 0, dimension 1 is NaN");
}

static void
test_no_file(void **state)
{
	(void)state;
	enum vectors_format format;
	struct error err;
	set_path("missing.npy");
	expect_refused(VECTORS_NPY, ERR_NOT_FOUND, "No such file");
	snprintf(path, sizeof path, "%s", test_folder());
	expect_refused(VECTORS_NPY, ERR_IO, "expected a file");
	assert_int_equal(vectors_format_of(&format, "a/b.fvecs", &err), 0);
	assert_int_equal(format, VECTORS_FVECS);
	assert_int_equal(vectors_format_of(&format, "b.bvecs", &err), 0);
	assert_int_equal(format, VECTORS_BVECS);
	assert_int_equal(vectors_format_of(&format, "x.npy", &err), 0);
	assert_int_equal(format, VECTORS_NPY);
	assert_int_equal(vectors_format_of(&format, ".npy", &err), -1);
	assert_int_equal(vectors_format_of(&format, "npy", &err), -1);
	assert_int_equal(vectors_format_of(&format, "x.npy.gz", &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

static bool
is_there(const char *name)
{
	struct stat st;
	return stat(name, &st) == 0;
}

static void
test_save(void **state)
{
	(void)state;
	enum { ROWS = 100, DIMS = 7 };
	float values[ROWS * DIMS];
	struct error err;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (size_t i = 0; i < ROWS * DIMS; i++)
		values[i] = rng_normal(&rng);
	set_path("saved.npy");
	struct vectors_writer *w = vectors_save_open(path, DIMS, &err);
	assert_non_null(w);
	for (size_t i = 0; i < ROWS; i++)
		assert_int_equal(vectors_save_row(w, values + i * DIMS, &err), 0);
	assert_false(is_there(path));
	assert_int_equal(vectors_save_close(w, &err), 0);
	expect_rows(VECTORS_NPY, values, ROWS, DIMS);

	/* An abandoned one leaves the old file as it was. */
	w = vectors_save_open(path, 3, &err);
	assert_non_null(w);
	assert_int_equal(vectors_save_row(w, values, &err), 0);
	vectors_save_abandon(w);
	expect_rows(VECTORS_NPY, values, ROWS, DIMS);
	vectors_save_abandon(NULL);

	assert_null(vectors_save_open(path, 0, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_null(vectors_save_open(path, VECTORS_DIMS_MAX + 1, &err));
	assert_null(vectors_save_open("/nowhere/at/all.npy", 3, &err));
	assert_int_equal(err.code, ERR_IO);
}

static void
test_memory(void **state)
{
	(void)state;
	const float row[3] = {1, 2, 3};
	struct error err;
	set_path("memory.npy");
	long k = 1;
	struct vectors_writer *w = NULL;
	for (; w == NULL; k++) {
		array_fail_at(k);
		w = vectors_save_open(path, 3, &err);
		array_fail_at(0);
		assert_true(w != NULL || err.code == ERR_MEMORY);
	}
	assert_true(k > 3);
	assert_int_equal(vectors_save_row(w, row, &err), 0);
	assert_int_equal(vectors_save_close(w, &err), 0);
	struct vectors *v = NULL;
	for (k = 1; v == NULL; k++) {
		array_fail_at(k);
		v = vectors_open(path, VECTORS_NPY, &err);
		array_fail_at(0);
		assert_true(v != NULL || err.code == ERR_MEMORY);
	}
	assert_true(k > 3);
	vectors_close(v);
	vectors_close(NULL);
	expect_rows(VECTORS_NPY, row, 1, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_npy_types),
	    cmocka_unit_test(test_by_numpy),
	    cmocka_unit_test(test_many_by_columns),
	    cmocka_unit_test(test_npy_spellings),
	    cmocka_unit_test(test_npy_refused),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_flipped_bits),
	    cmocka_unit_test(test_vecs),
	    cmocka_unit_test(test_not_finite),
	    cmocka_unit_test(test_no_file),
	    cmocka_unit_test(test_save),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
