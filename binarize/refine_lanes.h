#ifndef BINARIZE_REFINE_LANES_H
#define BINARIZE_REFINE_LANES_H

#include <math.h>
#include <stdint.h>

#include "binarize/refine_kernels.h"

/* The kernels in gcc's vectors of REFINE_LANES floats, which divide REFINE_PANEL;
 * REFINE_ROWS vectors are multiplied at a time.  Included by one file a level, which
 * may name instructions for REFINE_MAX and REFINE_CHOOSE. */
#define LANES REFINE_LANES
#define PARTS (REFINE_PANEL / LANES)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec
load(const float *p)
{
	return *(const anywhere *)p;
}

static inline void
store(float *p, vec x)
{
	*(anywhere *)p = x;
}

static inline vec
refine_max(vec a, vec b)
{
#ifdef REFINE_MAX
	return REFINE_MAX(a, b);
#else
	return (vec)(((a > b) & (ints)a) | (~(a > b) & (ints)b));
#endif
}

/* a where the mask is -1, b where it is 0 */
static inline ints
refine_choose(ints mask, ints a, ints b)
{
#ifdef REFINE_CHOOSE
	return REFINE_CHOOSE(mask, a, b);
#else
	return (mask & a) | (~mask & b);
#endif
}

/* One panel times `rows` vectors; inlined with a constant number of them, so that sums
 * stay in registers. */
static inline __attribute__((always_inline)) void
panel_product(float *y, size_t y_stride, const float *panel, const float *x,
    size_t columns, size_t rows)
{
	vec sum[REFINE_ROWS][PARTS];

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++)
			sum[r][p] = (vec){0.0f};
	for (size_t k = 0; k < columns; k++) {
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++) {
			vec w = load(panel + k * REFINE_PANEL + p * LANES);
#pragma GCC unroll 16
			for (size_t r = 0; r < rows; r++)
				sum[r][p] += w * x[r * columns + k];
		}
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t p = 0; p < PARTS; p++)
			store(y + r * y_stride + p * LANES, sum[r][p]);
}

static void
product(float *y, const struct refine_matrix *matrix, const float *x, size_t n)
{
	size_t rows = matrix->rows, columns = matrix->columns;

	for (size_t first = 0; first < rows; first += REFINE_PANEL) {
		const float *panel = matrix->panels + first * columns;
		size_t i = 0;
		for (; i + REFINE_ROWS <= n; i += REFINE_ROWS)
			panel_product(y + i * rows + first, rows, panel,
			    x + i * columns, columns, REFINE_ROWS);
		for (; i < n; i++)
			panel_product(y + i * rows + first, rows, panel,
			    x + i * columns, columns, 1);
	}
}

/* What a step costs: its least |c_i|, infinite where the level would leave the code. */
struct costs {
	float up[CODE_DIMS_MAX];
	float down[CODE_DIMS_MAX]; /* negated */
};

static inline void
set_costs(struct costs *costs, const float *v, size_t i, const struct refine_rule *rule)
{
	const vec infinite = (vec){0.0f} + INFINITY;
	vec values = load(v + i), least = load(rule->least + i);
	ints up = values + rule->step <= (vec){0.0f} + rule->top;
	ints down = values - rule->step >= (vec){0.0f} - rule->top;
	store(costs->up + i, (vec)refine_choose(up, (ints)least, (ints)infinite));
	store(costs->down + i, (vec)refine_choose(down, (ints)-least, (ints)-infinite));
}

/* The best dimension of some so far, a lane each. */
struct best {
	vec gain;
	ints at;
};

static inline struct best
look(struct best best, vec c, size_t i, const struct costs *costs)
{
	vec up = c - load(costs->up + i), down = load(costs->down + i) - c;
	vec gain = refine_max(up, down);
	ints better = gain > best.gain;
	best.gain = refine_max(gain, best.gain);
	best.at = refine_choose(better, (ints){0} + (int32_t)i, best.at);
	return best;
}

/* The dimension that gains most, the first of equal ones; -1: none gains. */
static inline long
winner(const struct best *best)
{
	float gain = 0.0f;
	long at = -1;

	for (int lane = 0; lane < LANES; lane++) {
		long i = best->at[lane] + lane;
		float g = best->gain[lane];
		if (g > gain || (g == gain && at >= 0 && i < at)) {
			gain = g;
			at = i;
		}
	}
	return at;
}

static void
descend(float *v, float *c, const struct refine_rule *rule)
{
	const struct best none = {.gain = {0.0f}};
	struct best best = none;
	struct costs costs;
	long at;

	for (size_t i = 0; i < rule->dims; i += LANES) {
		set_costs(&costs, v, i, rule);
		best = look(best, load(c + i), i, &costs);
	}
	for (size_t n = rule->changes_max; n > 0 && (at = winner(&best)) >= 0; n--) {
		float change = c[at] < 0.0f ? -rule->step : rule->step;
		const float *gram = rule->gram + (size_t)at * rule->dims;
		v[at] += change;
		set_costs(&costs, v, (size_t)at / LANES * LANES, rule);
		best = none;
		for (size_t i = 0; i < rule->dims; i += LANES) {
			vec left = load(c + i) - load(gram + i) * change;
			store(c + i, left);
			best = look(best, left, i, &costs);
		}
	}
}

#define REFINE_KERNEL(level_, name_)                                                   \
	{                                                                              \
		.level = level_, .name = name_, .product = product, .descend = descend \
	}

#endif /* BINARIZE_REFINE_LANES_H */
