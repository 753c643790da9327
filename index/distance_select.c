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

#define LEAST_MAX 1e9f /* beyond every dot */

/* Rounded down, and one less. */
static inline int32_t
whole(float dot)
{
	dot = dot > -LEAST_MAX ? dot : -LEAST_MAX;
	return (int32_t)(dot < LEAST_MAX ? dot : LEAST_MAX) - 1;
}

/* least (centres) := `rest` less what the centre counts. */
static void
least_at_centres(int32_t *least, const struct distance_query *q,
    const struct distance_bounds *b, float rest)
{
	const float most = b->share_max / q->scale * (1 + 1e-5f);
	const float fewest = b->share_min / q->scale * (1 - 1e-5f);

#pragma omp simd
	for (uint32_t c = 0; c < q->shape.centres; c++) {
		float x = q->bases[c] * most, y = q->bases[c] * fewest;
		least[c] = whole(rest - (x > y ? x : y));
	}
}

/* Of the other kinds, for any row within the bounds:
 *     base + f (at + scale dot) >= score   (euclid: 2 (..) - norm2 >= score)
 * with the f that makes most of the sum's sign, and less a little for what floats
 * round, here and in scores. */
void
distance_least(int32_t *least, const struct distance_query *q,
    const struct distance_bounds *b, float score)
{
	double want = score, base = q->terms.base;

	if (q->kind == DISTANCE_HAMMING) {
		*least = least_hamming(q->shape.dims, score);
		return;
	}
	if (q->terms.metric == DISTANCE_EUCLID)
		want = (want + (double)b->norm2_min) / 2;
	double over = want - base;
	double f = (double)(over > 0 ? b->factor_max : b->factor_min);
	double all = (over - 1e-6 * (fabs(want) + fabs(base))) / f / (double)q->scale;
	bool fine = (double)b->factor_min >= 0 && f > 0 && (double)q->scale > 0 &&
		    isfinite(all);
	const float rest = fine ? (float)(all - 2 - 1e-6 * fabs(all)) : -LEAST_MAX;

	*least = whole(rest);
	if (q->shape.centres > 0 && fine)
		least_at_centres(least, q, b, rest);
	for (uint32_t c = 1; c < q->shape.centres && !fine; c++)
		least[c] = *least;
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

#define STEP 16 /* blocks */

size_t
distance_select(const struct distance_kernel *kernel, struct hit *found,
    const int32_t *dots, const struct distance_query *q,
    const struct distance_rows *rows, size_t n_blocks,
    const struct distance_bounds *bounds, float least)
{
	const bool centres = bounds && rows->place && q->kind != DISTANCE_HAMMING;
	int32_t least_dots[CODE_CENTRES_MAX];
	uint16_t reached[STEP];
	size_t n = 0;

	if (bounds)
		distance_least(least_dots, q, bounds, least);
	else
		least_dots[0] = -INT32_MAX;
	for (size_t b = 0; b < n_blocks; b += STEP) {
		const size_t row = b * DISTANCE_ROWS;
		const size_t m = n_blocks - b < STEP ? n_blocks - b : STEP;
		const bool any =
		    centres ? kernel->reach_at(
				  reached, dots + row, m, least_dots, rows->place + row)
			    : kernel->reach(reached, dots + row, m, least_dots[0]);
		if (!any)
			continue;
		for (size_t i = 0; i < m; i++) {
			uint32_t rest = reached[i] & rows->live[b + i];
			for (; rest; rest &= rest - 1) {
				size_t at = row + i * DISTANCE_ROWS +
					    (size_t)__builtin_ctz(rest);
				float score = score_of(dots[at], q, rows, at);
				if (score >= least)
					found[n++] = (struct hit){score, (uint32_t)at};
			}
		}
	}
	return n;
}
