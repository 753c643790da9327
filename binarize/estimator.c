#include "binarize/estimator.h"

#include <math.h>

/* ReSTE's m and t. */
#define NEAR 0.1f
#define FAR 1.5f

#define COLUMNS 64         /* that a thread does at a time */
#define PARALLEL_MIN 65536 /* numbers for which threads are worth waking */

float
estimator_power(float done, float end)
{
	return 1.0f + (end - 1.0f) * (1.0f - cosf(1.57079633f * done));
}

float
estimator_slope(const struct estimator *e, float z)
{
	float size = fabsf(z);
	switch (e->kind) {
	case ESTIMATOR_STE:
		return size <= 1.0f ? 1.0f : 0.0f;
	case ESTIMATOR_BIPER:
		return size < 1.0f ? 2.0f - 2.0f * size : 0.0f;
	case ESTIMATOR_RESTE:
		if (size > FAR)
			return 0.0f;
		return size > NEAR ? powf(size, 1.0f / e->power - 1.0f) / e->power
				   : powf(NEAR, 1.0f / e->power - 1.0f);
	}
	return 0.0f;
}

float
estimator_value(const struct estimator *e, float z)
{
	float size = fabsf(z), value = 0.0f;
	switch (e->kind) {
	case ESTIMATOR_STE:
		value = fminf(size, 1.0f);
		break;
	case ESTIMATOR_BIPER:
		size = fminf(size, 1.0f);
		value = 2.0f * size - size * size;
		break;
	case ESTIMATOR_RESTE:
		size = fminf(size, FAR);
		value = size > NEAR ? powf(size, 1.0f / e->power)
				    : size * powf(NEAR, 1.0f / e->power - 1.0f);
		break;
	}
	return copysignf(value, z);
}

/* Columns `from` .. to - 1, at most COLUMNS, of estimator_forward. */
static void
forward_columns(const struct estimator *e, const struct estimator_batch *batch,
    float *s, const float *x, size_t from, size_t to)
{
	size_t rows = batch->rows, n = batch->n;
	double squares[COLUMNS] = {0.0};
	for (size_t i = 0; i < rows; i++)
		for (size_t j = from; j < to; j++)
			squares[j - from] +=
			    (double)x[i * n + j] * (double)x[i * n + j];
	for (size_t j = from; j < to; j++) {
		double deviation = sqrt(squares[j - from] / (double)rows);
		batch->inverse[j] = deviation > 0.0 ? (float)(1.0 / deviation) : 0.0f;
	}
	for (size_t i = 0; i < rows; i++)
		for (size_t j = from; j < to; j++) {
			float z = x[i * n + j] * batch->inverse[j];
			batch->z[i * n + j] = z;
			s[i * n + j] = e->smooth              ? estimator_value(e, z)
				       : x[i * n + j] >= 0.0f ? 1.0f
							      : -1.0f;
		}
}

void
estimator_forward(const struct estimator *e, const struct estimator_batch *batch,
    float *s, const float *x)
{
#pragma omp parallel for if (batch->rows * batch->n >= PARALLEL_MIN)
	for (size_t from = 0; from < batch->n; from += COLUMNS) {
		size_t to = from + COLUMNS < batch->n ? from + COLUMNS : batch->n;
		forward_columns(e, batch, s, x, from, to);
	}
}

/* Columns `from` .. to - 1, at most COLUMNS, of estimator_backward. */
static void
backward_columns(const struct estimator *e, const struct estimator_batch *batch,
    float *dx, const float *ds, size_t from, size_t to)
{
	size_t rows = batch->rows, n = batch->n;
	double along[COLUMNS] = {0.0}; /* what would change a column's size */
	for (size_t i = 0; i < rows; i++)
		for (size_t j = from; j < to; j++) {
			size_t at = i * n + j;
			dx[at] = ds[at] * estimator_slope(e, batch->z[at]);
			along[j - from] += (double)dx[at] * (double)batch->z[at];
		}
	for (size_t i = 0; i < rows; i++)
		for (size_t j = from; j < to; j++) {
			size_t at = i * n + j;
			float size = (float)(along[j - from] / (double)rows);
			dx[at] = batch->inverse[j] * (dx[at] - size * batch->z[at]);
		}
}

void
estimator_backward(const struct estimator *e, const struct estimator_batch *batch,
    float *dx, const float *ds)
{
#pragma omp parallel for if (batch->rows * batch->n >= PARALLEL_MIN)
	for (size_t from = 0; from < batch->n; from += COLUMNS) {
		size_t to = from + COLUMNS < batch->n ? from + COLUMNS : batch->n;
		backward_columns(e, batch, dx, ds, from, to);
	}
}

struct estimator_indicators
estimator_indicators(
    const struct estimator *e, const struct estimator_batch *batch, const float *dx)
{
	struct estimator_indicators found = {0.0, 0.0};
	size_t n = batch->rows * batch->n;
	double sum = 0.0;
	for (size_t i = 0; i < n; i++) {
		float z = batch->z[i];
		double missed =
		    (double)((z >= 0.0f ? 1.0f : -1.0f) - estimator_value(e, z));
		found.error += missed * missed;
		sum += (double)dx[i];
	}
	for (size_t i = 0; i < n; i++) {
		double off = (double)dx[i] - sum / (double)n;
		found.stability += off * off;
	}
	found.error = sqrt(found.error / (double)n);
	found.stability /= (double)n;
	return found;
}
