#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "binarize/centres.h"
#include "client/stop.h"
#include "client/train_job.h"

/* What training rows are measured from. */

/* By default, at least: the fewer bits a code has, the more its centre is worth. */
#define ROWS_A_CENTRE 64
#define ROWS_A_CENTRE_1_BIT 16
#define ROWS_A_CENTRE_MIN 4 /* that may be asked for */
#define LOOKED_AT 128       /* rows a centre that k-means looks at */

int
train_centre_number(struct training *t, struct error *err)
{
	const struct train_options *o = t->options;
	uint32_t n = o->centres;
	if (n == TRAIN_CENTRES_AUTO) {
		size_t rows = t->shape.bits == 1 ? ROWS_A_CENTRE_1_BIT : ROWS_A_CENTRE;
		n = CODE_CENTRES_MAX;
		while (n > 0 && n * rows > t->n)
			n /= 2;
		if (o->kind != TRAIN_REFINED)
			n = 0;
	}
	if ((size_t)n * ROWS_A_CENTRE_MIN > t->n)
		return error_set(err, ERR_INPUT,
		    "expected --centres of at most %zu for %zu vectors to learn from, "
		    "not %u",
		    t->n / ROWS_A_CENTRE_MIN, t->n, n);
	t->shape.centres = n;
	return 0;
}

static int
find_centres(struct training *t, struct error *err)
{
	size_t k = t->shape.centres, looked_at = LOOKED_AT * k;
	t->centres = array_new_aligned(k, t->sample.dims * sizeof *t->centres);
	if (!t->centres)
		return error_set(err, ERR_MEMORY, "out of memory for %zu centres", k);
	fprintf(stderr, "finding %zu centres\n", k);
	return centres_learn(t->centres, k, t->sample.rows,
	    looked_at < t->n ? looked_at : t->n, t->sample.dims, t->options->seed,
	    stop_requested, err);
}

/* Rows (n, d) := from their centres, or the mean, at length 1. */
static int
centre(const struct training *t, float *rows, size_t n, struct error *err)
{
	size_t d = t->sample.dims;
	uint32_t *near = NULL;
	if (t->centres) {
		struct centres *centres =
		    centres_new(t->centres, t->shape.centres, d, err);
		near = array_new(n, sizeof *near);
		if (centres && !near)
			error_set(err, ERR_MEMORY, "out of memory for %zu rows", n);
		int rc = centres && near ? centres_assign(near, centres, rows, n,
					       stop_requested, err)
					 : -1;
		centres_free(centres);
		if (rc != 0) {
			free(near);
			return -1;
		}
	}
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < n; i++) {
		const float *from = near ? t->centres + near[i] * d : t->mean;
		recurrent_centre(rows + i * d, rows + i * d, from, d);
	}
	free(near);
	return 0;
}

int
train_centre(struct training *t, struct error *err)
{
	if ((t->shape.centres > 0 && find_centres(t, err) != 0) ||
	    centre(t, t->sample.rows, t->n, err) != 0)
		return -1;
	return centre(t, t->pairs.rows, 2 * t->pairs.n, err);
}
