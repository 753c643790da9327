#include <math.h>
#include <string.h>

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

/* The same of the other kinds, for any row within the bounds:
 *     base + f (at + scale dot) >= score   (euclid: 2 (..) - norm2 >= score)
 * with the f that makes most of the sum's sign, and less a little for what floats
 * round.  All dots where the bounds say nothing. */
static int32_t
least_dot(const struct distance_query *q, const struct distance_bounds *b, float score)
{
	double at = (double)q->base_most * (double)b->share_max;
	double want = score;

	if (q->terms.metric == DISTANCE_EUCLID)
		want = (want + (double)b->norm2_min) / 2;
	double over = want - (double)q->terms.base;
	double f = (double)(over > 0 ? b->factor_max : b->factor_min);
	double round =
	    1e-6 * (fabs(want) + fabs((double)q->terms.base) + fabs(over) + f * at);
	double dot = ((over - round) / f - at) / (double)q->scale;
	dot -= 2 + 1e-6 * fabs(dot);
	if (!((double)b->factor_min >= 0 && f > 0 && (double)q->scale > 0) ||
	    !(dot > -INT32_MAX))
		return -INT32_MAX;
	return dot < INT32_MAX ? (int32_t)floor(dot) : INT32_MAX;
}

struct distance_least
distance_least(
    const struct distance_query *q, const struct distance_bounds *bounds, float score)
{
	struct distance_least least = {0, score};

	if (q->kind == DISTANCE_HAMMING)
		least.dot = least_hamming(q->shape.dims, score);
	else
		least.dot = least_dot(q, bounds, score);
	return least;
}

static float
score_of(int32_t dot, const struct distance_query *q, const struct distance_rows *rows,
    size_t row)
{
	if (q->kind == DISTANCE_HAMMING)
		return (float)dot / (float)q->shape.dims;
	float score = q->scale * (float)dot;
	if (rows->place) {
		struct code_place place = rows->place[row];
		score = code_share_value(place.share) * q->bases[place.centre] + score;
	}
	score = q->terms.base + rows->factor[row] * score;
	if (q->terms.metric == DISTANCE_EUCLID)
		score = 2.0f * score - rows->norm2[row];
	return score;
}

size_t
distance_select(const struct distance_kernel *kernel, struct hit *found,
    const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t n_blocks, struct distance_least least)
{
	uint16_t reached[DISTANCE_BATCH_BLOCKS];
	size_t n = 0;

	for (size_t b = 0; b < n_blocks; b += DISTANCE_BATCH_BLOCKS) {
		size_t m = n_blocks - b < DISTANCE_BATCH_BLOCKS ? n_blocks - b
								: DISTANCE_BATCH_BLOCKS;
		kernel->reach(reached, dots + b * DISTANCE_ROWS, m, least.dot);
		for (size_t i = 0; i < m; i++) {
			uint32_t rest = reached[i] & rows->live[b + i];
			for (; rest; rest &= rest - 1) {
				size_t row = (b + i) * DISTANCE_ROWS +
					     (size_t)__builtin_ctz(rest);
				float score = score_of(dots[row], q, rows, row);
				if (score >= least.score)
					found[n++] = (struct hit){score, (uint32_t)row};
			}
		}
	}
	return n;
}
