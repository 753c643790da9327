#ifndef BASE_VECTORS_NPY_H
#define BASE_VECTORS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/*
 * The header of a .npy file, for vectors.c alone.
 * Source: NumPy Enhancement Proposal 1 and numpy/lib/format.py (versions 1.0 to 3.0).
 */
enum vectors_type {
	VECTORS_F16,
	VECTORS_F32,
	VECTORS_F64,
	VECTORS_I8,
	VECTORS_U8,
};

struct vectors_npy {
	enum vectors_type type;
	uint64_t count;
	size_t dims;
	bool by_columns;     /* Fortran's order */
	uint64_t data_start; /* offset of the first number */
};

/* Read the header from the start of `file`, which is left at the first number.
 * ERR_FORMAT, ERR_IO, ERR_MEMORY; `path` is for messages. */
int vectors_npy_read(
    struct vectors_npy *npy, FILE *file, const char *path, struct error *err);

/* header (VECTORS_NPY_WRITTEN_BYTES) := that of a '<f4' file of this shape. */
#define VECTORS_NPY_WRITTEN_BYTES 128
void vectors_npy_write(char *header, uint64_t count, size_t dims);

#endif /* BASE_VECTORS_NPY_H */
