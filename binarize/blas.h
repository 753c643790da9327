#ifndef BINARIZE_BLAS_H
#define BINARIZE_BLAS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Matrix products and linear systems, by OpenBLAS (BLAS: Dongarra et al., 1990; LAPACK:
 * Anderson et al., 1999).  The library is loaded when it is asked for, by training
 * alone: programs are not linked with it and run without it.
 *
 * Matrices are row-major: (rows, columns), a row being `stride` numbers after the one
 * before it.  Sizes and strides are below 2^31.
 *
 * OpenBLAS has one number of threads for the process: the last blas_open's.  Equal
 * inputs give equal results for that number on the same machine; another number, or
 * another processor, adds in another order.  A struct blas never changes: any thread
 * may use it, but products of several threads at once only wait for one another.
 */
struct blas;

/* The library, with this number of threads (at least 1).  NULL: ERR_NOT_FOUND where it
 * is not installed (the text says what to install), ERR_MEMORY. */
struct blas *blas_open(int threads, struct error *err);
void blas_close(struct blas *blas);

struct blas_matrix {
	const float *data;
	size_t stride;  /* numbers between the beginnings of rows */
	bool transpose; /* the matrix is the transpose of what lies there */
};

/* c (m, n) := alpha a b + beta c, a being (m, k) and b (k, n) once transposed.  Where
 * beta is 0, c is not read. */
struct blas_gemm {
	size_t m, n, k;
	float alpha;
	struct blas_matrix a, b;
	float beta;
	float *c;
	size_t c_stride;
};

void blas_gemm(const struct blas *blas, const struct blas_gemm *product);

/* Rows of rhs (k, n) := the x with A x = that row; matrix (n, n) is A, symmetric and
 * positive definite, and is overwritten, by its Cholesky factor where there is one.
 * ERR_INPUT where A is not positive definite; rhs is then as it was. */
int blas_solve(const struct blas *blas, double *matrix, double *rhs, size_t n, size_t k,
    struct error *err);

/* values (n) := the eigenvalues of matrix (n, n), symmetric, from the largest on; rows
 * of matrix := their eigenvectors, of length 1.  ERR_MEMORY, ERR_INPUT where the
 * iteration does not end (a matrix that is not finite); the matrix is then spoilt. */
int blas_eigen(const struct blas *blas, double *values, double *matrix, size_t n,
    struct error *err);

#endif /* BINARIZE_BLAS_H */
