#include "binarize/blas.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* The interfaces' own numbers and letters. */
enum {
	ROW_MAJOR = 101,
	PLAIN = 111,
	TRANSPOSED = 112,
};

struct blas {
	void *library;
	void (*set_threads)(int threads);
	void (*sgemm)(int order, int a_form, int b_form, int m, int n, int k,
	    float alpha, const float *a, int a_stride, const float *b, int b_stride,
	    float beta, float *c, int c_stride);
	void (*dpotrf)(
	    const char *half, const int *n, double *a, const int *stride, int *info);
	void (*dpotrs)(const char *half, const int *n, const int *columns,
	    const double *a, const int *a_stride, double *b, const int *b_stride,
	    int *info);
	void (*dsyevd)(const char *vectors, const char *half, const int *n, double *a,
	    const int *stride, double *values, double *work, const int *work_n,
	    int *iwork, const int *iwork_n, int *info);
};

/* *function := the library's function `name`: memcpy, as C casts no object to a
 * function.
 */
static int
find(void *function, void *library, const char *name, struct error *err)
{
	void *found = dlsym(library, name);
	if (!found)
		return error_set(err, ERR_NOT_FOUND,
		    "expected %s in libopenblas.so.0; install the package "
		    "libopenblas0-pthread",
		    name);
	memcpy(function, &found, sizeof found);
	return 0;
}

struct blas *
blas_open(int threads, struct error *err)
{
	assert(threads >= 1);
	struct blas *blas = array_new(1, sizeof *blas);
	if (!blas) {
		error_set(err, ERR_MEMORY, "out of memory for OpenBLAS");
		return NULL;
	}
	/* Its threads run on: it is never unloaded. */
	blas->library =
	    dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!blas->library) {
		error_set(err, ERR_NOT_FOUND,
		    "expected libopenblas.so.0 (%s); install the package "
		    "libopenblas0-pthread",
		    dlerror());
		goto err0;
	}
	void *library = blas->library;
	if (find(&blas->set_threads, library, "openblas_set_num_threads", err) != 0 ||
	    find(&blas->sgemm, library, "cblas_sgemm", err) != 0 ||
	    find(&blas->dpotrf, library, "dpotrf_", err) != 0 ||
	    find(&blas->dpotrs, library, "dpotrs_", err) != 0 ||
	    find(&blas->dsyevd, library, "dsyevd_", err) != 0)
		goto err0;
	blas->set_threads(threads);
	return blas;
err0:
	blas_close(blas);
	return NULL;
}

void
blas_close(struct blas *blas)
{
	if (!blas)
		return;
	if (blas->library)
		dlclose(blas->library);
	free(blas);
}

static int
size_of(size_t n)
{
	assert(n <= INT_MAX);
	return (int)n;
}

void
blas_gemm(const struct blas *blas, const struct blas_gemm *p)
{
	if (p->m == 0 || p->n == 0)
		return;
	blas->sgemm(ROW_MAJOR, p->a.transpose ? TRANSPOSED : PLAIN,
	    p->b.transpose ? TRANSPOSED : PLAIN, size_of(p->m), size_of(p->n),
	    size_of(p->k), p->alpha, p->a.data, size_of(p->a.stride), p->b.data,
	    size_of(p->b.stride), p->beta, p->c, size_of(p->c_stride));
}

/* LAPACK counts columns first: rows of rhs are its columns, and the matrix is its own
 * transpose. */
int
blas_solve(const struct blas *blas, double *matrix, double *rhs, size_t n, size_t k,
    struct error *err)
{
	int size = size_of(n), columns = size_of(k), info = 0;
	if (n == 0 || k == 0)
		return 0;
	blas->dpotrf("L", &size, matrix, &size, &info);
	assert(info >= 0);
	if (info > 0)
		return error_set(err, ERR_INPUT,
		    "expected a positive definite matrix; its first %d rows are not",
		    info);
	blas->dpotrs("L", &size, &columns, matrix, &size, rhs, &size, &info);
	assert(info == 0);
	return 0;
}

/* LAPACK gives the smallest first. */
static void
largest_first(double *values, double *matrix, size_t n)
{
	for (size_t i = 0, j = n - 1; i < j; i++, j--) {
		double value = values[i];
		values[i] = values[j];
		values[j] = value;
		for (size_t k = 0; k < n; k++) {
			double x = matrix[i * n + k];
			matrix[i * n + k] = matrix[j * n + k];
			matrix[j * n + k] = x;
		}
	}
}

int
blas_eigen(const struct blas *blas, double *values, double *matrix, size_t n,
    struct error *err)
{
	int size = size_of(n), info = 0, ask = -1, ints_n = 0;
	double floats_n = 0.0;

	if (n == 0)
		return 0;
	blas->dsyevd("V", "L", &size, matrix, &size, values, &floats_n, &ask, &ints_n,
	    &ask, &info);
	int work_n = (int)floats_n;
	double *work = array_new((size_t)work_n, sizeof *work);
	int *ints = array_new((size_t)ints_n, sizeof *ints);
	if (work && ints)
		blas->dsyevd("V", "L", &size, matrix, &size, values, work, &work_n,
		    ints, &ints_n, &info);
	bool room = work && ints;
	free(work);
	free(ints);
	if (!room)
		return error_set(err, ERR_MEMORY,
		    "out of memory for the eigenvalues of %zu dimensions", n);
	if (info != 0)
		return error_set(err, ERR_INPUT,
		    "expected a matrix with eigenvalues: the iteration does not end");
	largest_first(values, matrix, n);
	return 0;
}
