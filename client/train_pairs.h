#ifndef CLIENT_TRAIN_PAIRS_H
#define CLIENT_TRAIN_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "client/train_sample.h"

/*
 * Pairs of vectors that belong together, as the user knows: a query and a document that
 * answers it, two views of one thing.  A text file, a pair a line:
 *
 *     ROW <tab> ROW
 *
 * rows of a file of vectors, counted from 0; where there is a file of queries the first
 * row is one of that.
 */
#define TRAIN_PAIRS_MAX 100000 /* of more, a random choice is taken */

struct train_pairs {
	float *rows;     /* (2 n, dims) at length 1: first ends, then second ends */
	uint64_t *items; /* (n): the second rows' numbers */
	size_t n;
	size_t held_out; /* pairs left out, as one of the rows is held out */
};

struct train_pairs_files {
	const char *pairs;
	const char *vectors;
	const char *queries; /* NULL: `vectors` */
	uint64_t seed;
	const uint64_t *held; /* (n_held) rows of `vectors` that are not to be seen */
	size_t n_held;
	size_t dims;
};

/* ERR_FORMAT, with the number of the line, for one that is no pair, names a row that
 * is not there, pairs a row with itself or repeats a pair, and for fewer than two pairs
 * that are left; otherwise as vectors_open.  ERR_NONE: stopped. */
int train_pairs_load(struct train_pairs *pairs, const struct train_pairs_files *files,
    struct error *err);
void train_pairs_free(struct train_pairs *pairs);

#endif /* CLIENT_TRAIN_PAIRS_H */
