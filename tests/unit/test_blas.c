/* Claims of binarize/blas.h: products are the sums that they should be, for every pair
 * of transposes, odd sizes, strides wider than a row, alpha and beta, and no number
 * beside the result is written; equal inputs give equal bits; systems are solved for
 * every right-hand side and those without a factor are refused; where the library is
 * missing the message says what to install.  Buffers end at an unreadable page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

/* A matrix whose last row ends at an unreadable page. */
struct matrix {
	float *data;
	size_t rows, columns, stride, bytes;
};

static struct matrix
matrix_new(struct rng *rng, size_t rows, size_t columns)
{
	struct matrix x = {.rows = rows, .columns = columns};
	x.stride = columns + rng_below(rng, 3);
	x.bytes = ((rows - 1) * x.stride + columns) * sizeof *x.data;
	x.data = guard_new(x.bytes);
	for (size_t i = 0; i < x.bytes / sizeof *x.data; i++)
		x.data[i] = rng_normal(rng);
	return x;
}

static void
matrix_free(struct matrix *x)
{
	guard_free(x->data, x->bytes);
}

static double
at(const struct matrix *x, bool transpose, size_t i, size_t j)
{
	return (double)(transpose ? x->data[j * x->stride + i]
				  : x->data[i * x->stride + j]);
}

/* One product of random sizes against the sums written out. */
static void
check_gemm(const struct blas *blas, struct rng *rng, bool ta, bool tb)
{
	size_t m = 1 + rng_below(rng, 20), n = 1 + rng_below(rng, 20);
	size_t k = 1 + rng_below(rng, 40);
	struct matrix a = matrix_new(rng, ta ? k : m, ta ? m : k);
	struct matrix b = matrix_new(rng, tb ? n : k, tb ? k : n);
	struct matrix c = matrix_new(rng, m, n);
	float *before = guard_copy(c.data, c.bytes);
	float alpha = rng_normal(rng), beta = rng_below(rng, 2) ? rng_normal(rng) : 0;
	if (beta == 0)
		c.data[0] = NAN; /* is not read */

	blas_gemm(blas, &(struct blas_gemm){.m = m,
			    .n = n,
			    .k = k,
			    .alpha = alpha,
			    .a = {a.data, a.stride, ta},
			    .b = {b.data, b.stride, tb},
			    .beta = beta,
			    .c = c.data,
			    .c_stride = c.stride});
	for (size_t i = 0; i < c.bytes / sizeof *c.data; i++) {
		if (i % c.stride >= n) {
			assert_true(c.data[i] == before[i]);
			continue;
		}
		double sum = 0;
		for (size_t l = 0; l < k; l++)
			sum +=
			    at(&a, ta, i / c.stride, l) * at(&b, tb, l, i % c.stride);
		double want = (double)alpha * sum;
		if (beta != 0)
			want += (double)beta * (double)before[i];
		assert_true(fabs((double)c.data[i] - want) < 1e-4);
	}
	guard_free(before, c.bytes);
	matrix_free(&a);
	matrix_free(&b);
	matrix_free(&c);
}

static void
test_gemm(void **state)
{
	(void)state;
	const struct blas *blas = test_blas();
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (int t = 0; t < 400; t++)
		check_gemm(blas, &rng, t % 2, t / 2 % 2);
}

static void
test_same_bits(void **state)
{
	(void)state;
	enum { N = 200 };
	struct error err;
	(void)test_blas();
	struct rng rng;
	float *a = calloc(3 * N * N, sizeof *a), *c[2] = {a + N * N, a + 2 * N * N};
	assert_non_null(a);
	rng_init(&rng, test_seed(), 2);
	for (size_t i = 0; i < N * N; i++)
		a[i] = rng_normal(&rng);
	for (int t = 0; t < 2; t++) {
		struct blas *blas = blas_open(2, &err);
		assert_non_null(blas);
		blas_gemm(blas, &(struct blas_gemm){.m = N,
				    .n = N,
				    .k = N,
				    .alpha = 1,
				    .a = {a, N, false},
				    .b = {a, N, true},
				    .c = c[t],
				    .c_stride = N});
		blas_close(blas);
	}
	assert_memory_equal(c[0], c[1], N * N * sizeof **c);
	free(a);
	blas_close(blas_open(1, &err));
	blas_close(NULL);
}

static void
test_solve(void **state)
{
	(void)state;
	enum { N = 37, K = 5 };
	const struct blas *blas = test_blas();
	struct error err;
	struct rng rng;
	double half[N * N], a[N * N], factor[N * N], rhs[K * N], x[K * N];
	rng_init(&rng, test_seed(), 3);
	for (size_t i = 0; i < N * N; i++)
		half[i] = (double)rng_normal(&rng);
	for (size_t i = 0; i < N * N; i++) {
		a[i] = i / N == i % N ? 1 : 0;
		for (size_t j = 0; j < N; j++)
			a[i] += half[i / N * N + j] * half[i % N * N + j];
	}
	for (size_t i = 0; i < K * N; i++)
		x[i] = rhs[i] = (double)rng_normal(&rng);
	memcpy(factor, a, sizeof a);
	assert_int_equal(blas_solve(blas, factor, x, N, K, &err), 0);
	for (size_t i = 0; i < K * N; i++) {
		double back = 0;
		for (size_t j = 0; j < N; j++)
			back += a[i % N * N + j] * x[i / N * N + j];
		assert_true(fabs(back - rhs[i]) < 1e-9);
	}

	a[20 * N + 20] = -1;
	memcpy(x, rhs, sizeof x);
	assert_int_equal(blas_solve(blas, a, x, N, K, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "first 21 rows"));
	assert_memory_equal(x, rhs, sizeof x);
}

/* This program once more, where a file that is no library stands before OpenBLAS. */
static void
test_missing(void **state)
{
	(void)state;
	char name[512];
	int status;
	snprintf(name, sizeof name, "%s/libopenblas.so.0", test_folder());
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setenv("LD_LIBRARY_PATH", test_folder(), 1);
		execl("/proc/self/exe", "test_blas", "missing", (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int
open_missing(void)
{
	struct error err;
	struct blas *blas = blas_open(1, &err);
	return blas || err.code != ERR_NOT_FOUND ||
	       !strstr(err.text, "install the package libopenblas0-pthread");
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "missing") == 0)
		return open_missing();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gemm),
	    cmocka_unit_test(test_same_bits),
	    cmocka_unit_test(test_solve),
	    cmocka_unit_test(test_missing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
