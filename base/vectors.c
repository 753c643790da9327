#include "base/vectors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/vectors_npy.h"

struct vectors {
	FILE *file;
	char *path;
	enum vectors_format format;
	enum vectors_type type;
	size_t dims;
	uint64_t count;
	uint64_t next; /* rows handed out */
	uint64_t size_bytes;
	uint64_t data_start;
	size_t row_bytes;  /* in the file, with the dims in front if there */
	size_t block_rows; /* rows of a block, of a file that lies by columns; else 0 */
	uint8_t *raw;      /* (row_bytes), or (dims, block_rows) numbers */
};

/* A block: pieces of columns that are worth a read each. */
#define BLOCK_BYTES (4 << 20)
_Static_assert(BLOCK_BYTES >= 8 * VECTORS_DIMS_MAX, "a block holds a row");

int
vectors_format_of(enum vectors_format *format, const char *path, struct error *err)
{
	static const struct {
		const char *end;
		enum vectors_format format;
	} ends[] = {
	    {".npy", VECTORS_NPY},
	    {".fvecs", VECTORS_FVECS},
	    {".bvecs", VECTORS_BVECS},
	};
	size_t n = strlen(path);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		size_t m = strlen(ends[i].end);
		if (n > m && strcmp(path + n - m, ends[i].end) == 0) {
			*format = ends[i].format;
			return 0;
		}
	}
	return error_set(err, ERR_INPUT,
	    "expected a file name that ends in .npy, .fvecs or .bvecs, not \"%s\"",
	    path);
}

static size_t
type_bytes(enum vectors_type type)
{
	switch (type) {
	case VECTORS_F64:
		return 8;
	case VECTORS_F32:
		return 4;
	case VECTORS_F16:
		return 2;
	case VECTORS_I8:
	case VECTORS_U8:
		return 1;
	}
	return 0;
}

/* Read exactly n bytes; a short file is an error even after the size was checked,
 * because it may have been cut since. */
static int
read_exactly(struct vectors *v, void *out, size_t n, struct error *err)
{
	if (fread(out, 1, n, v->file) == n)
		return 0;
	if (ferror(v->file))
		return error_set(err, ERR_IO, "%s: %s", v->path, strerror(errno));
	return error_set(
	    err, ERR_FORMAT, "%s: the file ends in the middle of a row", v->path);
}

/* The size that header and shape promise must be the file's own. */
static int
check_npy_size(const struct vectors *v, struct error *err)
{
	uint64_t want;
	if (__builtin_mul_overflow(v->count, (uint64_t)v->row_bytes, &want) ||
	    __builtin_add_overflow(want, v->data_start, &want))
		return error_set(err, ERR_FORMAT,
		    "%s: its shape (%llu, %zu) is more than any file can hold", v->path,
		    (unsigned long long)v->count, v->dims);
	if (want != v->size_bytes)
		return error_set(err, ERR_FORMAT,
		    "%s: shape (%llu, %zu) needs %llu bytes, but the file has %llu",
		    v->path, (unsigned long long)v->count, v->dims,
		    (unsigned long long)want, (unsigned long long)v->size_bytes);
	return 0;
}

static int
open_npy(struct vectors *v, struct error *err)
{
	struct vectors_npy npy;
	if (vectors_npy_read(&npy, v->file, v->path, err) == -1)
		return -1;
	v->type = npy.type;
	v->dims = npy.dims;
	v->count = npy.count;
	v->data_start = npy.data_start;
	v->row_bytes = npy.dims * type_bytes(npy.type);
	if (npy.by_columns)
		v->block_rows = BLOCK_BYTES / v->row_bytes;
	return check_npy_size(v, err);
}

/* fvecs and bvecs: the first row's dims, and a size that whole rows fill. */
static int
open_vecs(struct vectors *v, struct error *err)
{
	uint8_t head[4];
	v->type = v->format == VECTORS_FVECS ? VECTORS_F32 : VECTORS_U8;
	if (v->size_bytes == 0)
		return 0;
	if (v->size_bytes < sizeof head)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a row, which begins with 4 bytes of dimensions, but "
		    "the file has %llu bytes",
		    v->path, (unsigned long long)v->size_bytes);
	if (read_exactly(v, head, sizeof head, err) == -1)
		return -1;
	int32_t dims = (int32_t)bytes_get32le(head);
	if (dims < 1 || dims > VECTORS_DIMS_MAX)
		return error_set(err, ERR_FORMAT,
		    "%s: expected 1 to %d dimensions in the first row, not %d", v->path,
		    VECTORS_DIMS_MAX, dims);
	rewind(v->file);
	v->dims = (size_t)dims;
	v->row_bytes = 4 + v->dims * type_bytes(v->type);
	if (v->size_bytes % v->row_bytes != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: its first row has %d dimensions, but %llu bytes are not a "
		    "whole number of rows of %zu bytes: cut short, or rows of "
		    "different lengths",
		    v->path, dims, (unsigned long long)v->size_bytes, v->row_bytes);
	v->count = v->size_bytes / v->row_bytes;
	return 0;
}

static int
open_file(struct vectors *v, struct error *err)
{
	struct stat st;
	v->file = fopen(v->path, "rbe");
	if (v->file == NULL)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", v->path, strerror(errno));
	if (fstat(fileno(v->file), &st) == -1)
		return error_set(err, ERR_IO, "%s: %s", v->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_IO,
		    "%s: expected a file, because the size is checked first", v->path);
	v->size_bytes = (uint64_t)st.st_size;
	if ((v->format == VECTORS_NPY ? open_npy(v, err) : open_vecs(v, err)) == -1)
		return -1;
	v->raw = array_new(v->block_rows > 0 ? v->block_rows : 1, v->row_bytes);
	if (v->raw == NULL)
		return error_set(err, ERR_MEMORY, "%s: no memory for a row", v->path);
	return 0;
}

struct vectors *
vectors_open(const char *path, enum vectors_format format, struct error *err)
{
	struct vectors *v = array_new(1, sizeof *v);
	if (v == NULL || (v->path = array_copy(path, strlen(path))) == NULL) {
		free(v);
		error_set(err, ERR_MEMORY, "no memory to open %s", path);
		return NULL;
	}
	v->format = format;
	if (open_file(v, err) == -1) {
		vectors_close(v);
		return NULL;
	}
	return v;
}

void
vectors_close(struct vectors *v)
{
	if (v == NULL)
		return;
	if (v->file != NULL)
		fclose(v->file);
	free(v->raw);
	free(v->path);
	free(v);
}

size_t
vectors_dims(const struct vectors *v)
{
	return v->dims;
}

uint64_t
vectors_count(const struct vectors *v)
{
	return v->count;
}

uint64_t
vectors_size_bytes(const struct vectors *v)
{
	return v->size_bytes;
}

uint64_t
vectors_read_bytes(const struct vectors *v)
{
	return v->data_start + v->next * v->row_bytes;
}

static double
get_double(const uint8_t *p)
{
	uint64_t bits = bytes_get64le(p);
	double d;
	memcpy(&d, &bits, sizeof d);
	return d;
}

static double
value_of(const uint8_t *p, enum vectors_type type)
{
	switch (type) {
	case VECTORS_F64:
		return get_double(p);
	case VECTORS_F32:
		return (double)bytes_getfle(p);
	case VECTORS_F16:
		return (double)bytes_gethle(p);
	case VECTORS_I8:
		return (int8_t)*p;
	case VECTORS_U8:
		return *p;
	}
	return 0.0;
}

/* raw := the next rows of a file that lies column by column. */
static int
read_block(struct vectors *v, struct error *err)
{
	size_t size = type_bytes(v->type), rows = v->block_rows;
	if (rows > v->count - v->next)
		rows = (size_t)(v->count - v->next);
	for (size_t j = 0; j < v->dims; j++) {
		uint64_t place = v->data_start + (j * v->count + v->next) * size;
		if (fseeko(v->file, (off_t)place, SEEK_SET) != 0)
			return error_set(
			    err, ERR_IO, "%s: %s", v->path, strerror(errno));
		if (read_exactly(
			v, v->raw + j * v->block_rows * size, rows * size, err) == -1)
			return -1;
	}
	return 0;
}

/* *values := the first number of the next row, *apart := bytes from one to the next. */
static int
read_row(struct vectors *v, const uint8_t **values, size_t *apart, struct error *err)
{
	*apart = type_bytes(v->type);
	*values = v->raw;
	if (v->block_rows > 0) {
		size_t place = (size_t)(v->next % v->block_rows);
		if (place == 0 && read_block(v, err) == -1)
			return -1;
		*values += place * *apart;
		*apart *= v->block_rows;
		return 0;
	}
	if (read_exactly(v, v->raw, v->row_bytes, err) == -1)
		return -1;
	if (v->format == VECTORS_NPY)
		return 0;
	int32_t dims = (int32_t)bytes_get32le(v->raw);
	if (dims < 0 || (size_t)dims != v->dims)
		return error_set(err, ERR_FORMAT,
		    "%s: expected %zu dimensions in row %llu as in the first, not %d",
		    v->path, v->dims, (unsigned long long)v->next, dims);
	*values += 4;
	return 0;
}

int
vectors_next(struct vectors *v, float *row, struct error *err)
{
	const uint8_t *values;
	size_t apart;
	if (v->next == v->count)
		return 0;
	if (read_row(v, &values, &apart, err) == -1)
		return -1;
	for (size_t i = 0; i < v->dims; i++) {
		double value = value_of(values + i * apart, v->type);
		row[i] = (float)value;
		if (isfinite(row[i]))
			continue;
		char number[32];
		snprintf(number, sizeof number, "%g", value);
		return error_set(err, ERR_FORMAT,
		    "%s: row %llu, dimension %zu is %s; expected finite numbers that "
		    "fit a float32",
		    v->path, (unsigned long long)v->next, i,
		    isnan(value)   ? "NaN"
		    : isinf(value) ? "infinite"
				   : number);
	}
	v->next++;
	return 1;
}

bool
vectors_normalise(float *row, size_t dims)
{
	double square = 0.0;
	for (size_t i = 0; i < dims; i++)
		square += (double)row[i] * (double)row[i];
	if (square == 0.0)
		return false;
	double scale = 1.0 / sqrt(square);
	for (size_t i = 0; i < dims; i++)
		row[i] = (float)((double)row[i] * scale);
	return true;
}
