#include "client/train_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "client/trec.h"

static int
take_rows(
    struct eval_vectors *v, float *values, size_t n, size_t dims, struct error *err)
{
	*v = (struct eval_vectors){.values = values, .n = n, .dims = dims};
	v->valid = array_new(n, 1);
	if (!v->valid)
		return error_set(err, ERR_MEMORY, "out of memory for held-out vectors");
	memset(v->valid, 1, n);
	return 0;
}

int
train_check_init(
    struct train_check *check, const struct train_check_rows *rows, struct error *err)
{
	memset(check, 0, sizeof *check);
	if (take_rows(&check->rows.corpus, rows->documents, rows->n_documents,
		rows->dims, err) != 0 ||
	    take_rows(&check->rows.queries, rows->queries, rows->n_queries, rows->dims,
		err) != 0 ||
	    eval_ranks_new(&check->exact, rows->n_queries, err) != 0 ||
	    eval_ranks_new(&check->found, rows->n_queries, err) != 0)
		return -1;
	return eval_exact(&check->exact, &check->rows, err);
}

void
train_check_free(struct train_check *check)
{
	free(check->rows.corpus.valid);
	free(check->rows.queries.valid);
	eval_ranks_free(&check->exact);
	eval_ranks_free(&check->found);
	memset(check, 0, sizeof *check);
}

int
train_check_run(double *overlap, struct train_check *check,
    const struct recurrent *model, struct error *err)
{
	const struct eval_models models = {model, model};
	struct eval_seconds seconds;
	size_t n = check->found.n_queries;
	double sum = 0.0;

	if (eval_search(&check->found, &seconds, &models, &check->rows, err) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		sum += trec_overlap(eval_ranks_of(&check->found, i),
		    eval_ranks_of(&check->exact, i), TRAIN_CHECK_DEPTH);
	*overlap = sum / (double)n;
	return 0;
}
