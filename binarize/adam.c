#include "binarize/adam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define FIRST 0.9
#define SECOND 0.999
#define EPSILON 1e-8f

#define PARALLEL_MIN 65536 /* numbers for which threads are worth waking */

int
adam_init(struct adam *adam, size_t n, struct error *err)
{
	memset(adam, 0, sizeof *adam);
	adam->first = array_new_aligned(n, sizeof *adam->first);
	adam->second = array_new_aligned(n, sizeof *adam->second);
	if (!adam->first || !adam->second) {
		adam_free(adam);
		return error_set(
		    err, ERR_MEMORY, "out of memory for %zu parameters", n);
	}
	adam->n = n;
	return 0;
}

void
adam_free(struct adam *adam)
{
	free(adam->first);
	free(adam->second);
	memset(adam, 0, sizeof *adam);
}

void
adam_step(struct adam *adam, float *x, const float *gradient, float rate)
{
	adam->steps++;
	double steps = (double)adam->steps;
	float step = (float)((double)rate / (1.0 - pow(FIRST, steps)));
	float root = (float)(1.0 / sqrt(1.0 - pow(SECOND, steps)));
#pragma omp parallel for if (adam->n >= PARALLEL_MIN)
	for (size_t i = 0; i < adam->n; i++) {
		float g = gradient[i];
		float first =
		    adam->first[i] + (float)(1.0 - FIRST) * (g - adam->first[i]);
		float second =
		    (float)SECOND * adam->second[i] + (float)(1.0 - SECOND) * g * g;
		adam->first[i] = first;
		adam->second[i] = second;
		x[i] -= step * first / (sqrtf(second) * root + EPSILON);
	}
}

double
adam_clip(float *gradient, size_t n, double longest)
{
	double sum = 0.0;
	for (size_t i = 0; i < n; i++)
		sum += (double)gradient[i] * (double)gradient[i];
	double length = sqrt(sum);
	if (!isfinite(length) || length <= longest)
		return length;
	float scale = (float)(longest / length);
	for (size_t i = 0; i < n; i++)
		gradient[i] *= scale;
	return length;
}
