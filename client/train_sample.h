#ifndef CLIENT_TRAIN_SAMPLE_H
#define CLIENT_TRAIN_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Some rows of a file of vectors, each at length 1: a seeded random choice in random
 * order, so that any part of it is a random choice too.  The file is read once and
 * never held whole.
 */
struct train_sample {
	float *rows;      /* (n, dims) */
	uint64_t *places; /* (n): which row of the file each is */
	size_t n;
	size_t dims;
	uint64_t count; /* rows of the file */
};

/* At most `max` rows of the file (base/vectors.h says which forms).  ERR_INPUT,
 * ERR_FORMAT for a row without a direction, and for a file whose rows are all equal;
 * otherwise as vectors_open and vectors_next.  ERR_NONE: stopped. */
int train_sample_load(struct train_sample *sample, const char *path, size_t max,
    uint64_t seed, struct error *err);
void train_sample_free(struct train_sample *sample);

/* A hash of n numbers, by their bytes (FNV-1a, 4 bytes at a time). */
uint64_t train_sample_hash(const float *numbers, size_t n);

#endif /* CLIENT_TRAIN_SAMPLE_H */
