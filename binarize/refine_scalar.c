#include <stdlib.h>

#include "binarize/refine_kernels.h"

static void
product(int32_t *y, const struct refine_matrix *matrix, const int16_t *x, size_t n)
{
	size_t rows = matrix->rows, columns = matrix->columns;

	for (size_t i = 0; i < n; i++, x += columns, y += rows) {
		for (size_t first = 0; first < rows; first += REFINE_PANEL) {
			const int16_t *line = matrix->panels + first * columns;
			int32_t sum[REFINE_PANEL] = {0};
			for (size_t k = 0; k < columns; k += 2) {
#pragma omp simd
				for (size_t r = 0; r < REFINE_PANEL; r++)
					sum[r] += line[2 * r] * x[k] +
						  line[2 * r + 1] * x[k + 1];
				line += 2 * REFINE_PANEL;
			}
			for (size_t r = 0; r < REFINE_PANEL; r++)
				y[first + r] = sum[r];
		}
	}
}

/* What a step of dimension i towards c_i gains, 0 where it gains nothing. */
static int32_t
gain_of(const int16_t *v, const int32_t *c, size_t i, const struct refine_rule *rule)
{
	int32_t gain = abs(c[i]) - rule->own[i];
	int next = v[i] + (c[i] < 0 ? -2 : 2);
	return gain > 0 && abs(next) <= rule->top ? gain : 0;
}

static void
step(int16_t *v, int32_t *c, size_t at, const struct refine_rule *rule)
{
	size_t dims = rule->gram.rows;
	int change = c[at] < 0 ? -2 : 2;

	v[at] = (int16_t)(v[at] + change);
	for (size_t i = 0; i < dims; i++)
		c[i] -= change * rule->gram.panels[refine_at(dims, i, at)];
}

static void
descend(int16_t *v, int32_t *c, const struct refine_rule *rule)
{
	size_t part = rule->gram.rows / REFINE_PARTS;

	for (size_t n = rule->passes_max; n > 0; n--) {
		size_t best[REFINE_PARTS], found = 0;
		for (size_t p = 0; p < REFINE_PARTS; p++) {
			int32_t most = 0;
			for (size_t i = p * part; i < (p + 1) * part; i++) {
				int32_t gain = gain_of(v, c, i, rule);
				if (gain > most) {
					most = gain;
					best[found] = i;
				}
			}
			found += most > 0;
		}
		if (found == 0)
			return;
		for (size_t p = 0; p < found; p++)
			if (gain_of(v, c, best[p], rule) > 0)
				step(v, c, best[p], rule);
	}
}

const struct refine_kernel refine_scalar = {
    .level = CPU_SCALAR, .name = "scalar", .product = product, .descend = descend};
