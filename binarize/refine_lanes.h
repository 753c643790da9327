#ifndef BINARIZE_REFINE_LANES_H
#define BINARIZE_REFINE_LANES_H

#include <string.h>

#include "binarize/refine_kernels.h"

/* The kernels in gcc's vectors of REFINE_LANES integers, which divide REFINE_PANEL;
 * REFINE_ROWS vectors are multiplied at a time.  Included by one file a level, which
 * names its instructions:
 *     REFINE_PAIRS(w, x)       products of 16 bits, added in pairs to 32
 *     REFINE_ADD(sum, w, x)    the same added to sum
 *     REFINE_MAX(a, b), REFINE_MOST(a)    lane by lane; of all lanes
 *     REFINE_BETTER(a, b, x, y)    x where a > b, else y */
#define LANES REFINE_LANES
#define PARTS (REFINE_PANEL / LANES)

typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef int32_t anywhere __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

static inline ints
load(const void *p)
{
	return *(const anywhere *)p;
}

static inline void
store(void *p, ints x)
{
	*(anywhere *)p = x;
}

/* Every lane the two numbers at x. */
static inline ints
pair(const int16_t *x)
{
	int32_t both;
	memcpy(&both, x, sizeof both);
	return (ints){0} + both;
}

/* One panel times `rows` vectors; inlined with a constant number of them, so that sums
 * stay in registers. */
static inline __attribute__((always_inline)) void
panel_product(int32_t *y, size_t y_stride, const int16_t *panel, const int16_t *x,
    size_t columns, size_t rows)
{
	ints sum[REFINE_ROWS][PARTS];

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++)
			sum[r][p] = (ints){0};
	for (size_t k = 0; k < columns; k += 2) {
		ints w[PARTS];
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++)
			w[p] = load(panel + k * REFINE_PANEL + p * 2 * LANES);
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++) {
			ints both = pair(x + r * columns + k);
#pragma GCC unroll 16
			for (size_t p = 0; p < PARTS; p++)
				sum[r][p] = REFINE_ADD(sum[r][p], w[p], both);
		}
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++)
			store(y + r * y_stride + p * LANES, sum[r][p]);
}

static void
product(int32_t *y, const struct refine_matrix *matrix, const int16_t *x, size_t n)
{
	size_t rows = matrix->rows, columns = matrix->columns;

	for (size_t first = 0; first < rows; first += REFINE_PANEL) {
		const int16_t *panel = matrix->panels + first * columns;
		size_t i = 0;
		for (; i + REFINE_ROWS <= n; i += REFINE_ROWS)
			panel_product(y + i * rows + first, rows, panel,
			    x + i * columns, columns, REFINE_ROWS);
		for (; i < n; i++)
			panel_product(y + i * rows + first, rows, panel,
			    x + i * columns, columns, 1);
	}
}

/* What a step must gain: the row's own square, more than any |c| where the level would
 * leave the code. */
struct costs {
	int32_t up[CODE_DIMS_MAX];
	int32_t down[CODE_DIMS_MAX]; /* negated */
};

static inline void
set_costs(struct costs *costs, const int16_t *v, size_t first, size_t n,
    const struct refine_rule *rule)
{
#pragma omp simd
	for (size_t i = first; i < first + n; i++) {
		int32_t odd = v[i];
		costs->up[i] = rule->own[i] | (-(odd >= rule->top) & REFINE_BLOCKED);
		costs->down[i] =
		    -(rule->own[i] | (-(odd <= -rule->top) & REFINE_BLOCKED));
	}
}

/* The best dimension of some so far, a lane each; dimensions negated, so that the first
 * is the largest. */
struct best {
	ints gain;
	ints at;
};

static inline struct best
look(struct best best, ints c, ints at, size_t i, const struct costs *costs)
{
	ints gain = REFINE_MAX(c - load(costs->up + i), load(costs->down + i) - c);
	best.at = REFINE_BETTER(gain, best.gain, at, best.at);
	best.gain = REFINE_MAX(gain, best.gain);
	return best;
}

/* The dimension that gains most, the first of equal ones; -1: none gains. */
static inline int32_t
winner(struct best best)
{
	int32_t gain = REFINE_MOST(best.gain);
	ints most = (ints){0} + gain, none = (ints){0} + INT32_MIN;

	if (gain == 0)
		return -1;
	return -REFINE_MOST(REFINE_BETTER(most, best.gain, none, best.at));
}

/* Steps that are taken together. */
struct steps {
	const int16_t *lines[REFINE_PARTS]; /* of the Gram matrix, a panel's */
	int16_t change[REFINE_PARTS][2];    /* of the line's columns, one of them 0 */
	size_t n;
};

static inline int32_t
value_after(const struct steps *steps, const int32_t *c, size_t i, size_t columns)
{
	int32_t value = c[i];

	for (size_t s = 0; s < steps->n; s++) {
		const int16_t *both = steps->lines[s] +
				      i / REFINE_PANEL * columns * REFINE_PANEL +
				      i % REFINE_PANEL * 2;
		value -= both[0] * steps->change[s][0] + both[1] * steps->change[s][1];
	}
	return value;
}

/* Of the quarters' winners those that gain after one another change v and its costs. */
static inline void
choose(struct steps *steps, int16_t *v, const int32_t *c, struct costs *costs,
    const struct best best[REFINE_PARTS], const struct refine_rule *rule)
{
	size_t columns = rule->gram.columns;

	steps->n = 0;
	for (size_t p = 0; p < REFINE_PARTS; p++) {
		int32_t at = winner(best[p]);
		if (at < 0)
			continue;
		size_t i = (size_t)at;
		int32_t value = value_after(steps, c, i, columns);
		if (value <= costs->up[i] && value >= costs->down[i])
			continue;
		int16_t change = value < 0 ? -2 : 2;
		size_t s = steps->n++;
		steps->lines[s] = rule->gram.panels + i / 2 * 2 * REFINE_PANEL;
		steps->change[s][i % 2] = change;
		steps->change[s][1 - i % 2] = 0;
		v[i] = (int16_t)(v[i] + change);
		set_costs(costs, v, i, 1, rule);
	}
}

/* c follows n steps; the best of each quarter of what is left.  Inlined with a constant
 * number of them. */
static inline __attribute__((always_inline)) void
follow(struct best best[REFINE_PARTS], int32_t *c, const struct steps *steps,
    const struct costs *costs, size_t dims, size_t n)
{
	const int16_t *lines[REFINE_PARTS];
	ints change[REFINE_PARTS], at;

	for (int32_t lane = 0; lane < LANES; lane++)
		at[lane] = -lane;
#pragma GCC unroll 4
	for (size_t s = 0; s < n; s++) {
		lines[s] = steps->lines[s];
		change[s] = pair(steps->change[s]);
	}
	for (size_t q = 0; q < REFINE_PARTS; q++) {
		struct best now = {{0}, {0}};
		size_t end = (q + 1) * (dims / REFINE_PARTS);
		for (size_t i = q * (dims / REFINE_PARTS); i < end; i += REFINE_PANEL) {
#pragma GCC unroll 4
			for (size_t p = 0; p < PARTS; p++) {
				ints left = load(c + i + p * LANES);
#pragma GCC unroll 4
				for (size_t s = 0; s < n; s++)
					left -= REFINE_PAIRS(
					    load(lines[s] + p * 2 * LANES), change[s]);
				store(c + i + p * LANES, left);
				now = look(now, left, at, i + p * LANES, costs);
				at -= LANES;
			}
#pragma GCC unroll 4
			for (size_t s = 0; s < n; s++)
				lines[s] += dims * REFINE_PANEL;
		}
		best[q] = now;
	}
}

static void
descend(int16_t *v, int32_t *c, const struct refine_rule *rule)
{
	size_t dims = rule->gram.rows;
	struct best best[REFINE_PARTS];
	struct steps steps = {.n = 0};
	struct costs costs;

	set_costs(&costs, v, 0, dims, rule);
	follow(best, c, &steps, &costs, dims, 0);
	for (size_t n = rule->passes_max; n > 0; n--) {
		choose(&steps, v, c, &costs, best, rule);
		switch (steps.n) {
		case 0:
			return;
		case 1:
			follow(best, c, &steps, &costs, dims, 1);
			break;
		case 2:
			follow(best, c, &steps, &costs, dims, 2);
			break;
		case 3:
			follow(best, c, &steps, &costs, dims, 3);
			break;
		default:
			follow(best, c, &steps, &costs, dims, 4);
			break;
		}
	}
}

#define REFINE_KERNEL(level_, name_)                                    \
	{                                                               \
		.level = (level_), .name = (name_), .product = product, \
		.descend = descend                                      \
	}

#endif /* BINARIZE_REFINE_LANES_H */
