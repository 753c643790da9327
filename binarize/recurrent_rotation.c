#include "binarize/recurrent_model.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

/* The stream of rng.h that signs come from: stored codes depend on it. */
#define STREAM 0x524F54 /* "ROT" */

int
recurrent_rotation_init(struct recurrent *model, struct error *err)
{
	size_t n = (model->info.input_dims + 63u) / 64 * 64;
	struct rng rng;

	model->n = n > model->info.shape.dims ? n : model->info.shape.dims;
	model->signs = array_new_aligned(RECURRENT_ROUNDS * model->n, sizeof(uint32_t));
	if (!model->signs)
		return error_set(err, ERR_MEMORY, "out of memory for a rotation");
	rng_init(&rng, model->info.seed, STREAM);
	for (size_t i = 0; i < RECURRENT_ROUNDS * model->n; i += 64) {
		uint64_t bits = rng_u64(&rng);
		for (size_t j = 0; j < 64; j++)
			model->signs[i + j] = (uint32_t)(bits >> j & 1) << 31;
	}
	return 0;
}

/* a, b := a + b, a - b for pairs `half` apart, over n values. */
static void
butterflies(float *y, size_t n, size_t half)
{
	for (size_t i = 0; i < n; i += 2 * half) {
		float *a = y + i, *b = y + i + half;
#pragma omp simd
		for (size_t j = 0; j < half; j++) {
			float sum = a[j] + b[j];
			b[j] = a[j] - b[j];
			a[j] = sum;
		}
	}
}

/* The first two steps of a transform at once, over values side by side. */
static void
first_two_steps(float *y, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		float a = y[i] + y[i + 1], b = y[i] - y[i + 1];
		float c = y[i + 2] + y[i + 3], d = y[i + 2] - y[i + 3];
		y[i] = a + c;
		y[i + 1] = b + d;
		y[i + 2] = a - c;
		y[i + 3] = b - d;
	}
}

/* Orthonormal Walsh-Hadamard transform of n values, n = 2^k >= 64.  Its own inverse. */
static void
transform(float *y, size_t n)
{
	float scale = 1.0f / sqrtf((float)n);
	first_two_steps(y, n);
	for (size_t half = 4; half < n; half *= 2)
		butterflies(y, n, half);
	for (size_t i = 0; i < n; i++)
		y[i] *= scale;
}

static void
flip(float *y, const uint32_t *signs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits;
		memcpy(&bits, &y[i], sizeof bits);
		bits ^= signs[i];
		memcpy(&y[i], &bits, sizeof bits);
	}
}

/* The largest power of two that is at most n. */
static size_t
power_below(size_t n)
{
	size_t power = 64;
	while (power <= n / 2)
		power *= 2;
	return power;
}

static float
projection_scale(const struct recurrent *model)
{
	return sqrtf((float)model->n / (float)model->info.shape.dims);
}

void
recurrent_rotation_forward(const struct recurrent *model, float *y)
{
	size_t n = model->n, d = model->info.input_dims, m = model->info.shape.dims;
	size_t power = power_below(n);

	memset(y + d, 0, (n - d) * sizeof *y);
	for (size_t round = 0; round < RECURRENT_ROUNDS; round++) {
		flip(y, model->signs + round * n, n);
		transform(y, power);
		if (power < n)
			transform(y + n - power, power);
	}
	if (m < n) {
		float scale = projection_scale(model);
		for (size_t i = 0; i < m; i++)
			y[i] *= scale;
	}
}

void
recurrent_rotation_backward(const struct recurrent *model, float *y)
{
	size_t n = model->n, m = model->info.shape.dims;
	size_t power = power_below(n);

	if (m < n) {
		float scale = projection_scale(model);
		for (size_t i = 0; i < m; i++)
			y[i] *= scale;
		memset(y + m, 0, (n - m) * sizeof *y);
	}
	for (size_t round = RECURRENT_ROUNDS; round-- > 0;) {
		if (power < n)
			transform(y + n - power, power);
		transform(y, power);
		flip(y, model->signs + round * n, n);
	}
}
