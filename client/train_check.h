#ifndef CLIENT_TRAIN_CHECK_H
#define CLIENT_TRAIN_CHECK_H

#include <stddef.h>

#include "base/error.h"
#include "binarize/recurrent.h"
#include "client/eval.h"

/*
 * How well a binarizer's codes find what floats find, on vectors that training does not
 * see: an int8 query against codes, as `halftone eval` and a server search.
 */
#define TRAIN_CHECK_DEPTH 10

/* Rows of length 1, borrowed. */
struct train_check_rows {
	float *documents; /* (n_documents, dims) */
	float *queries;   /* (n_queries, dims) */
	size_t n_documents;
	size_t n_queries;
	size_t dims;
};

struct train_check {
	struct eval_embedded rows; /* their values are borrowed */
	struct eval_ranks exact;   /* by floats */
	struct eval_ranks found;
};

/* ERR_MEMORY; ERR_NONE: stopped.  *check may be freed then too. */
int train_check_init(
    struct train_check *check, const struct train_check_rows *rows, struct error *err);
void train_check_free(struct train_check *check);

/* *overlap := the share of the float top TRAIN_CHECK_DEPTH that is found.  Opens OpenMP
 * regions.  ERR_MEMORY; ERR_NONE: stopped. */
int train_check_run(double *overlap, struct train_check *check,
    const struct recurrent *model, struct error *err);

#endif /* CLIENT_TRAIN_CHECK_H */
