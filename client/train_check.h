#ifndef CLIENT_TRAIN_CHECK_H
#define CLIENT_TRAIN_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/recurrent.h"

/*
 * How well a binarizer's codes find what floats find, on vectors that training does not
 * see: documents and queries at length 1, an int8 query against codes, as a server
 * searches.
 */
#define TRAIN_CHECK_DEPTH 10

struct train_check {
	const struct blas *blas; /* borrowed */
	const float *documents;  /* (n_documents, dims), borrowed */
	const float *queries;    /* (n_queries, dims), borrowed */
	size_t n_documents;
	size_t n_queries;
	size_t dims;
	uint32_t *best; /* (n_queries, TRAIN_CHECK_DEPTH): by floats */
	float *scores;  /* (n_queries, n_documents) */
};

/* Fills best and scores of a check whose other fields are set; n_documents at least
 * TRAIN_CHECK_DEPTH.  ERR_MEMORY. */
int train_check_init(struct train_check *check, struct error *err);
void train_check_free(struct train_check *check);

/* *overlap := the share of the float top TRAIN_CHECK_DEPTH that is found.  Opens OpenMP
 * regions.  ERR_MEMORY. */
int train_check_run(double *overlap, struct train_check *check,
    const struct recurrent *model, struct error *err);

#endif /* CLIENT_TRAIN_CHECK_H */
