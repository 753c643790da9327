#ifndef BASE_VECTORS_H
#define BASE_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Files of float vectors, read row by row and written as .npy.
 *
 * .npy   NumPy's format 1.0 to 3.0: '<f2', '<f4', '<f8', '|i1' or '|u1', in C's or
 *        Fortran's order, shape (rows, dims); shape (dims,) is one row.  Everything
 *        else is refused.
 * .fvecs TEXMEX: each row an int32 `dims`, then dims little-endian float32.
 * .bvecs TEXMEX: each row an int32 `dims`, then dims uint8.
 *
 * Every row comes out as float32 and is finite: a NaN, an infinity or a double
 * beyond float is refused with its place.  The header, the shape and the file's
 * size are checked at opening, so a truncated file is refused before its first
 * row.  Rows are read through a buffer, of a few MiB where they lie column by column;
 * memory does not grow with the file.
 *
 * A reader or writer is its owner's; different ones may be used by different
 * threads at once.
 */
#define VECTORS_DIMS_MAX 65536
#define VECTORS_NPY_HEADER_MAX 65536 /* bytes of a .npy header */

enum vectors_format {
	VECTORS_NPY,
	VECTORS_FVECS,
	VECTORS_BVECS,
};

/* *format := what the end of the file's name says; ERR_INPUT if it says nothing. */
int vectors_format_of(enum vectors_format *format, const char *path, struct error *err);

struct vectors;

/* NULL: ERR_NOT_FOUND, ERR_IO, ERR_FORMAT (names the file, what was expected and
 * what came), ERR_MEMORY. */
struct vectors *vectors_open(
    const char *path, enum vectors_format format, struct error *err);
void vectors_close(struct vectors *vectors);

/* Dimensions of every row: 1 .. VECTORS_DIMS_MAX; 0 only for an empty .fvecs or
 * .bvecs file, which has no rows and cannot say. */
size_t vectors_dims(const struct vectors *vectors);

/* Rows in the file. */
uint64_t vectors_count(const struct vectors *vectors);

/* Bytes of the file, and bytes read so far: for a progress bar. */
uint64_t vectors_size_bytes(const struct vectors *vectors);
uint64_t vectors_read_bytes(const struct vectors *vectors);

/* row (vectors_dims) := the next row.  1: there was one; 0: the end; -1: ERR_FORMAT
 * or ERR_IO, and row holds nothing of use. */
int vectors_next(struct vectors *vectors, float *row, struct error *err);

/* row := row / |row|; false, and the row as it was, where it has no direction. */
bool vectors_normalise(float *row, size_t dims);

struct vectors_writer;

/* Begin a '<f4' .npy file of (rows, dims), which will be there whole or not at all
 * (base/replace.h).  NULL: ERR_INPUT for dims outside 1 .. VECTORS_DIMS_MAX; as
 * replace_open. */
struct vectors_writer *vectors_save_open(
    const char *path, size_t dims, struct error *err);

/* Append one row (dims).  ERR_IO, ERR_FULL. */
int vectors_save_row(
    struct vectors_writer *writer, const float *row, struct error *err);

/* Write the number of rows and put the file in its place; frees the writer either way.
 * As replace_close. */
int vectors_save_close(struct vectors_writer *writer, struct error *err);

/* Throw the unfinished file away; NULL is legal. */
void vectors_save_abandon(struct vectors_writer *writer);

#endif /* BASE_VECTORS_H */
