#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "client/train_job.h"

/* Vectors from which binarizing must disappoint are often a mistake upstream: the wrong
 * pooling, a broken encoder, the same text many times.  Better said at once. */

#define LOOKED_AT 20000  /* rows for the spectrum */
#define CONE 0.5         /* the mean's energy, from which on it is worth a word */
#define RANK_SHARE 0.125 /* of the dimensions, below which vectors are collapsed */
#define COPIES 0.05      /* the share of rows that are copies of others */

/* The effective rank (Roy & Vetterli, "The effective rank", EUSIPCO 2007): e to the
 * entropy of the variances' shares. */
static double
effective_rank(const double *values, size_t n)
{
	double sum = 0.0, entropy = 0.0;
	for (size_t i = 0; i < n; i++)
		sum += fmax(values[i], 0.0);
	for (size_t i = 0; i < n; i++) {
		double share = fmax(values[i], 0.0) / sum;
		entropy -= share > 0.0 ? share * log(share) : 0.0;
	}
	return exp(entropy);
}

/* covariance (d, d) := of the first n rows; *energy := of their mean. */
static void
find_covariance(const struct training *t, size_t n, double *covariance, float *squares,
    double *energy)
{
	size_t d = t->sample.dims;
	struct blas_gemm product = {.m = d,
	    .n = d,
	    .k = n,
	    .alpha = 1.0f / (float)n,
	    .a = {.data = t->sample.rows, .stride = d, .transpose = true},
	    .b = {.data = t->sample.rows, .stride = d},
	    .c = squares,
	    .c_stride = d};
	blas_gemm(t->blas, &product);
	*energy = 0.0;
	for (size_t i = 0; i < d; i++) {
		*energy += (double)t->mean[i] * (double)t->mean[i];
		for (size_t j = 0; j < d; j++)
			covariance[i * d + j] = (double)squares[i * d + j] -
						(double)t->mean[i] * (double)t->mean[j];
	}
}

static int
find_spectrum(const struct training *t, double *rank, double *energy, struct error *err)
{
	size_t d = t->sample.dims, n = t->n < LOOKED_AT ? t->n : LOOKED_AT;
	double *covariance = array_new(d * d, sizeof *covariance);
	double *values = array_new(d, sizeof *values);
	float *squares = array_new_aligned(d * d, sizeof *squares);
	int rc = 0;
	if (!covariance || !values || !squares)
		rc = error_set(err, ERR_MEMORY, "out of memory for a spectrum");
	if (rc == 0) {
		find_covariance(t, n, covariance, squares, energy);
		rc = blas_eigen(t->blas, values, covariance, d, err);
	}
	if (rc == 0)
		*rank = effective_rank(values, d);
	free(covariance);
	free(values);
	free(squares);
	return rc;
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* *share := of rows that are equal to one before them, by their hashes (FNV-1a). */
static int
find_copies(const struct training *t, double *share, struct error *err)
{
	size_t d = t->sample.dims, copies = 0;
	uint64_t *hashes = array_new(t->n, sizeof *hashes);
	if (!hashes)
		return error_set(err, ERR_MEMORY, "out of memory for hashes");
	for (size_t i = 0; i < t->n; i++)
		hashes[i] = train_sample_hash(t->sample.rows + i * d, d);
	qsort(hashes, t->n, sizeof *hashes, by_value);
	for (size_t i = 1; i < t->n; i++)
		copies += hashes[i] == hashes[i - 1];
	*share = (double)copies / (double)t->n;
	free(hashes);
	return 0;
}

static void
advise_size(const struct training *t)
{
	size_t d = t->sample.dims, m = t->shape.dims;
	if (t->n < 10 * m)
		fprintf(stderr,
		    "warning: %zu vectors are few for %zu dimensions: expect less than "
		    "from %zu\n",
		    t->n, m, 100 * m);
	if (d < 256)
		fprintf(stderr,
		    "warning: vectors of %zu dimensions lose more by binarizing than "
		    "longer ones: take more bits, or --dims %zu\n",
		    d,
		    2 * ((d + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP * CODE_DIMS_STEP));
}

int
train_advise(const struct training *t, struct error *err)
{
	double rank = 0.0, energy = 0.0, copies = 0.0;
	size_t d = t->sample.dims;
	if (find_spectrum(t, &rank, &energy, err) != 0 ||
	    find_copies(t, &copies, err) != 0)
		return -1;
	fprintf(stderr,
	    "vectors: effective rank %.0f of %zu, energy of their mean %.2f, copies "
	    "%.1f %%\n",
	    rank, d, energy, 100 * copies);
	advise_size(t);
	if (energy > CONE)
		fprintf(stderr,
		    "warning: the vectors lie in a narrow cone (%.0f %% of their "
		    "energy is their mean): the encoder tells them apart badly; look "
		    "at its pooling and its prefixes; the mean is taken out here\n",
		    100 * energy);
	if (rank < RANK_SHARE * (double)d)
		fprintf(stderr,
		    "warning: the vectors vary in about %.0f of %zu directions: the "
		    "encoder has collapsed, or they are of few things; codes of fewer "
		    "dimensions (--dims %zu) lose little of them\n",
		    rank, d,
		    ((size_t)(4 * rank) + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP *
			CODE_DIMS_STEP);
	if (copies > COPIES)
		fprintf(stderr,
		    "warning: %.0f %% of the vectors are copies of others: which of "
		    "them is found is chance, and lowers overlap@10; train and measure "
		    "without copies\n",
		    100 * copies);
	return 0;
}
