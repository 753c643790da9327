#include <math.h>

#include "index/distance_kernels.h"

/* From integers to scores: which rows matter. */

/* The smallest integer whose hamming score (float)dot / (float)dims reaches the
 * threshold; dims + 1 if none does. */
static int32_t
least_hamming(uint32_t dims, float threshold)
{
	int32_t top = (int32_t)dims, dot;

	if (!(threshold <= 1.0f))
		return top + 1;
	if (threshold <= -1.0f)
		return -top;
	/* The product is off by less than one: step to the exact place. */
	dot = (int32_t)(threshold * (float)dims);
	while (dot > -top && (float)(dot - 1) / (float)dims >= threshold)
		dot--;
	while ((float)dot / (float)dims < threshold)
		dot++;
	return dot;
}

#define LEAST_MAX 1e9 /* beyond every dot */

/* Of the other kinds, for any row within the bounds:
 *     base + f (at + scale dot) >= score   (euclid: 2 (..) - norm2 >= score)
 * with the f that makes most of the sum's sign, and less a little for what floats
 * round, here and in scores. */
int32_t
distance_least(
    const struct distance_query *q, const struct distance_bounds *b, float score)
{
	double want = score, base = q->terms.base;

	if (q->kind == DISTANCE_HAMMING)
		return least_hamming(q->shape.dims, score);
	if (q->terms.metric == DISTANCE_EUCLID)
		want = (want + (double)b->norm2_min) / 2;
	double over = want - base;
	double f = (double)(over > 0 ? b->factor_max : b->factor_min);
	double all = (over - 1e-6 * (fabs(want) + fabs(base))) / f / (double)q->scale;
	if (!((double)b->factor_min >= 0 && f > 0 && (double)q->scale > 0 &&
		isfinite(all)))
		return -INT32_MAX;
	all -= 2 + 1e-6 * fabs(all);
	all = all > -LEAST_MAX ? all : -LEAST_MAX;
	/* Rounded down, and one less. */
	return (int32_t)(all < LEAST_MAX ? all : LEAST_MAX) - 1;
}

#define STEP 16 /* blocks */

/* The rows from a row on. */
static struct distance_rows
rows_from(const struct distance_rows *rows, size_t row)
{
	return (struct distance_rows){NULL, rows->factor + row,
	    rows->norm2 ? rows->norm2 + row : NULL, rows->place + row};
}

size_t
distance_select(const struct distance_kernel *kernel, struct hit *found,
    const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t n_blocks,
    const struct distance_bounds *bounds, float least)
{
	const bool centres = bounds && rows->place && q->kind != DISTANCE_HAMMING;
	const int32_t least_dot =
	    bounds ? distance_least(q, bounds, least) : -INT32_MAX;
	uint16_t reached[STEP];
	size_t n = 0;

	for (size_t b = 0; b < n_blocks; b += STEP) {
		const size_t row = b * DISTANCE_ROWS;
		const size_t m = n_blocks - b < STEP ? n_blocks - b : STEP;
		bool any;
		if (centres) {
			const struct distance_rows some = rows_from(rows, row);
			any = kernel->reach_at(reached, dots + row, m, q, &some, least);
		} else {
			any = kernel->reach(reached, dots + row, m, least_dot);
		}
		if (!any)
			continue;
		for (size_t i = 0; i < m; i++) {
			uint32_t rest = reached[i] & rows->live[b + i];
			for (; rest; rest &= rest - 1) {
				size_t at = row + i * DISTANCE_ROWS +
					    (size_t)__builtin_ctz(rest);
				float score = distance_score(dots[at], q, rows, at);
				if (score >= least)
					found[n++] = (struct hit){score, (uint32_t)at};
			}
		}
	}
	return n;
}
