#include "client/train_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/code.h"
#include "base/heap.h"

/* best (TRAIN_CHECK_DEPTH) := the numbers of the highest scores, of equal ones the
 * first. */
static void
top(uint32_t *best, const float *scores, size_t n)
{
	struct hit hits[TRAIN_CHECK_DEPTH];
	struct heap heap;

	heap_init(&heap, hits, TRAIN_CHECK_DEPTH);
	for (size_t i = 0; i < n; i++)
		heap_push(&heap, (struct hit){scores[i], (uint32_t)i});
	heap_sort(&heap);
	for (size_t i = 0; i < TRAIN_CHECK_DEPTH; i++)
		best[i] = hits[i].slot;
}

/* scores := queries (n_queries, dims) times documents (n_documents, dims) */
static void
multiply(struct train_check *check, const float *queries, const float *documents,
    size_t dims)
{
	const struct blas_gemm product = {.m = check->n_queries,
	    .n = check->n_documents,
	    .k = dims,
	    .alpha = 1.0f,
	    .a = {.data = queries, .stride = dims},
	    .b = {.data = documents, .stride = dims, .transpose = true},
	    .c = check->scores,
	    .c_stride = check->n_documents};
	blas_gemm(check->blas, &product);
}

int
train_check_init(struct train_check *check, struct error *err)
{
	check->best =
	    array_new(check->n_queries, TRAIN_CHECK_DEPTH * sizeof *check->best);
	check->scores = array_new_aligned(
	    check->n_queries, check->n_documents * sizeof *check->scores);
	if (!check->best || !check->scores) {
		train_check_free(check);
		return error_set(err, ERR_MEMORY, "out of memory for held-out vectors");
	}
	multiply(check, check->queries, check->documents, check->dims);
	for (size_t q = 0; q < check->n_queries; q++)
		top(check->best + q * TRAIN_CHECK_DEPTH,
		    check->scores + q * check->n_documents, check->n_documents);
	return 0;
}

void
train_check_free(struct train_check *check)
{
	free(check->best);
	free(check->scores);
	check->best = NULL;
	check->scores = NULL;
}

/* What stands for vectors where they meet. */
struct coded {
	float *documents; /* (n_documents, m): values */
	float *factors;   /* (n_documents) */
	float *queries;   /* (n_queries, m): k */
	float *scale;     /* (n_queries) */
	float *base;      /* (n_queries) */
};

static void
coded_free(struct coded *c)
{
	free(c->documents);
	free(c->factors);
	free(c->queries);
	free(c->scale);
	free(c->base);
}

static int
code_document(struct coded *c, const struct train_check *check, size_t i,
    const struct recurrent *model, struct recurrent_scratch *scratch, struct error *err)
{
	struct code_shape shape = recurrent_info(model).shape;
	uint8_t wire[CODE_BYTES_MAX], levels[CODE_DIMS_MAX];
	struct recurrent_numbers numbers;

	if (recurrent_encode(model, scratch, wire, &numbers,
		check->documents + i * check->dims, err) != 0)
		return -1;
	code_to_levels(levels, wire, shape);
	for (size_t j = 0; j < shape.dims; j++)
		c->documents[i * shape.dims + j] = code_value(levels[j], shape.bits);
	c->factors[i] = numbers.factor;
	return 0;
}

static int
code_query(struct coded *c, const struct train_check *check, size_t i,
    const struct recurrent *model, struct recurrent_scratch *scratch, struct error *err)
{
	size_t m = recurrent_info(model).shape.dims;
	int8_t k[CODE_DIMS_MAX];
	struct recurrent_query query = {.k = k};

	if (recurrent_query_int8(
		model, scratch, &query, check->queries + i * check->dims, err) != 0)
		return -1;
	for (size_t j = 0; j < m; j++)
		c->queries[i * m + j] = (float)k[j];
	c->scale[i] = query.scale;
	c->base[i] = query.base;
	return 0;
}

static int
code_all(struct coded *c, const struct train_check *check,
    const struct recurrent *model, struct error *err)
{
	bool failed = false;
#pragma omp parallel
	{
		struct error mine;
		struct recurrent_scratch *scratch = recurrent_scratch_new(model, &mine);
		bool bad = scratch == NULL;
#pragma omp for schedule(dynamic, 64)
		for (size_t i = 0; i < check->n_documents; i++)
			bad = bad ||
			      code_document(c, check, i, model, scratch, &mine) != 0;
#pragma omp for schedule(dynamic, 64)
		for (size_t i = 0; i < check->n_queries; i++)
			bad =
			    bad || code_query(c, check, i, model, scratch, &mine) != 0;
		if (bad) {
#pragma omp critical
			{
				failed = true;
				*err = mine;
			}
		}
		recurrent_scratch_free(scratch);
	}
	return failed ? -1 : 0;
}

static double
share_found(struct train_check *check, const struct coded *c)
{
	size_t n = check->n_documents, found = 0;

	for (size_t q = 0; q < check->n_queries; q++) {
		const uint32_t *want = check->best + q * TRAIN_CHECK_DEPTH;
		uint32_t got[TRAIN_CHECK_DEPTH];
		float *scores = check->scores + q * n;
		for (size_t i = 0; i < n; i++)
			scores[i] =
			    c->base[q] + c->scale[q] * c->factors[i] * scores[i];
		top(got, scores, n);
		for (size_t i = 0; i < TRAIN_CHECK_DEPTH; i++)
			for (size_t j = 0; j < TRAIN_CHECK_DEPTH; j++)
				found += got[i] == want[j];
	}
	return (double)found / (double)(check->n_queries * TRAIN_CHECK_DEPTH);
}

int
train_check_run(double *overlap, struct train_check *check,
    const struct recurrent *model, struct error *err)
{
	size_t m = recurrent_info(model).shape.dims;
	struct coded c = {
	    .documents = array_new_aligned(check->n_documents, m * sizeof(float)),
	    .factors = array_new(check->n_documents, sizeof(float)),
	    .queries = array_new_aligned(check->n_queries, m * sizeof(float)),
	    .scale = array_new(check->n_queries, sizeof(float)),
	    .base = array_new(check->n_queries, sizeof(float)),
	};
	int rc = 0;
	if (!c.documents || !c.factors || !c.queries || !c.scale || !c.base)
		rc = error_set(err, ERR_MEMORY, "out of memory for held-out codes");
	if (rc == 0)
		rc = code_all(&c, check, model, err);
	if (rc == 0) {
		multiply(check, c.queries, c.documents, m);
		*overlap = share_found(check, &c);
	}
	coded_free(&c);
	return rc;
}
