/*
 * Claim of attention/rows.h and attention/softmax.h: the kernels of NEON give the bits
 * of the scalar ones, and are found and chosen.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/rows.h"
#include "attention/softmax.h"
#include "base/rng.h"
#include "tests/support/guard.h"

#define ROUNDS 60
#define N_MAX 90
#define DIMS_MAX 384

/* What the kernels of one level make of the inputs; no padding. */
struct results {
	float layer_norm[N_MAX * DIMS_MAX], rms_norm[N_MAX * DIMS_MAX];
	float gelu[N_MAX * DIMS_MAX], out[N_MAX * DIMS_MAX];
	float mean[DIMS_MAX], unit[DIMS_MAX], scale[N_MAX];
	int32_t sum[N_MAX], byte_sum[N_MAX];
	int8_t q[N_MAX * DIMS_MAX];
};

static float x[3][N_MAX * DIMS_MAX], weight[DIMS_MAX], bias[DIMS_MAX];
static struct results scalar, neon;

static void
expect(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "rows: %s\n", what);
		exit(1);
	}
}

static void
fill(struct rng *rng)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < N_MAX * DIMS_MAX; j++)
			x[i][j] = 2 * rng_normal(rng);
	for (size_t j = 0; j < DIMS_MAX; j++) {
		weight[j] = rng_normal(rng);
		bias[j] = rng_normal(rng);
	}
	/* Numbers that take the rare ways, in the first row. */
	x[0][rng_below(rng, 16)] = 1e-41f;
	x[0][rng_below(rng, 16)] = -1e30f;
	x[1][rng_below(rng, 16)] = 1e30f;
}

static void
run_rows(struct results *r, enum cpu_level level, size_t n, size_t dims)
{
	const struct rows_kernel *kernel = rows_find(level);
	const struct rows_norm norm = {weight, bias, 1e-12f};

	memset(r, 0, sizeof *r);
	memcpy(r->layer_norm, x[0], sizeof x[0]);
	memcpy(r->rms_norm, x[1], sizeof x[1]);
	memcpy(r->gelu, x[2], sizeof x[2]);
	kernel->layer_norm(r->layer_norm, &norm, n, dims);
	kernel->rms_norm(r->rms_norm, &norm, n, dims);
	kernel->gelu(r->gelu, n * dims);
	kernel->quantize(r->q, r->scale, r->sum, x[n % 3], n, dims);
	kernel->sum(r->byte_sum, r->q, n, dims);
	kernel->mean(r->mean, x[2], n, dims);
	expect(kernel->unit(r->unit, x[2], dims), "unit found no direction");
}

static void
run_softmax(
    struct results *r, enum cpu_level level, size_t n, size_t heads, size_t head_dims)
{
	struct attend attend = {.q = x[0],
	    .k = x[1],
	    .v = x[2],
	    .stride = heads * head_dims,
	    .out = r->out,
	    .n = n,
	    .heads = heads,
	    .head_dims = head_dims};
	const size_t bytes = softmax_scratch(n, head_dims) * sizeof(float);
	float *scratch = guard_new(bytes);

	softmax_find(level)(&attend, scratch);
	guard_free(scratch, bytes);
}

/* Numbers that are none. */
static void
check_nan(void)
{
	float row[32] = {1, NAN, INFINITY, -INFINITY};
	int8_t q[2][32];
	float scale[2];
	int32_t sum[2];

	rows_find(CPU_SCALAR)->quantize(q[0], scale, sum, row, 1, 32);
	rows_find(CPU_NEON)->quantize(q[1], scale + 1, sum + 1, row, 1, 32);
	expect(memcmp(q[0], q[1], sizeof q[0]) == 0 && sum[0] == sum[1] &&
		   memcmp(scale, scale + 1, sizeof *scale) == 0,
	    "neon quantizes NaN and infinity otherwise");
	rows_find(CPU_NEON)->gelu(row, 32);
	expect(isnan(row[1]) && row[2] == INFINITY && fabsf(row[3]) < 1e-6f,
	    "neon gelu of NaN and infinity");
}

int
main(void)
{
	struct rng rng;

	expect(rows_find(CPU_NEON) && softmax_find(CPU_NEON),
	    "this processor has no dot product");
	expect(rows_best() == rows_find(CPU_NEON), "neon was not chosen");
	expect(softmax_best() == softmax_find(CPU_NEON), "neon was not chosen");
	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < ROUNDS; round++) {
		const size_t n = 1 + rng_below(&rng, N_MAX);
		const size_t head_dims = 16 * (1 + rng_below(&rng, 8));
		const size_t heads = 1 + rng_below(&rng, DIMS_MAX / head_dims);
		fill(&rng);
		run_rows(&scalar, CPU_SCALAR, n, heads * head_dims);
		run_rows(&neon, CPU_NEON, n, heads * head_dims);
		run_softmax(&scalar, CPU_SCALAR, n, heads, head_dims);
		run_softmax(&neon, CPU_NEON, n, heads, head_dims);
		expect(memcmp(&scalar, &neon, sizeof neon) == 0,
		    "neon differs from scalar");
	}
	check_nan();
	return 0;
}
