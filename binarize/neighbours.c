#include "binarize/neighbours.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"

#define SLICE 256 /* rows that are compared with a block at once */

/* The place of the largest of scores (n) but for place `self`. */
static size_t
best_of_others(const float *scores, size_t n, size_t self)
{
	size_t best = self == 0 ? 1 : 0;
	for (size_t j = best + 1; j < n; j++)
		if (j != self && scores[j] > scores[best])
			best = j;
	return best;
}

/* Neighbours of rows first .. first + n - 1 among `rows` rows that begin at `block`. */
static void
find_slice(uint32_t *nearest, float *scores, const struct blas_gemm *product,
    size_t block, size_t first)
{
	size_t rows = product->n;
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < product->m; i++)
		nearest[first + i] =
		    (uint32_t)(block + best_of_others(
					   scores + i * rows, rows, first + i - block));
}

int
neighbours_find(uint32_t *nearest, const struct blas *blas, const float *u, size_t n,
    size_t d, struct error *err)
{
	assert(n >= 2 && n <= UINT32_MAX);
	float *scores = array_new_aligned(SLICE, NEIGHBOURS_BLOCK * sizeof *scores);
	if (!scores)
		return error_set(err, ERR_MEMORY, "out of memory for neighbours");
	for (size_t first = 0; first < n; first += SLICE) {
		/* The last block is a whole one too, if there are so many rows. */
		size_t block = first / NEIGHBOURS_BLOCK * NEIGHBOURS_BLOCK;
		size_t rows = n < NEIGHBOURS_BLOCK ? n : NEIGHBOURS_BLOCK;
		if (block + rows > n)
			block = n - rows;
		struct blas_gemm product = {.m = n - first < SLICE ? n - first : SLICE,
		    .n = rows,
		    .k = d,
		    .alpha = 1.0f,
		    .a = {.data = u + first * d, .stride = d},
		    .b = {.data = u + block * d, .stride = d, .transpose = true},
		    .c = scores,
		    .c_stride = rows};
		blas_gemm(blas, &product);
		find_slice(nearest, scores, &product, block, first);
	}
	free(scores);
	return 0;
}
