#include "attention/rows.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "attention/rows_kernels.h"
#include "base/rng.h"

/* Ascending levels. */
static const struct rows_kernel *const kernels[] = {
    &rows_scalar,
#if defined(__x86_64__)
    &rows_avx2,
    &rows_avx512,
#elif defined(__aarch64__)
    &rows_neon,
#endif
};
#define KERNELS (sizeof kernels / sizeof kernels[0])

const struct rows_kernel *
rows_find(enum cpu_level level)
{
	for (size_t i = 0; i < KERNELS; i++)
		if (kernels[i]->level == level && cpu_has(level))
			return kernels[i];
	return NULL;
}

/* The self-test: what each function makes of a few rows. */
#define TRIAL_ROWS 5
#define TRIAL_DIMS 48

struct trial {
	float layer_norm[TRIAL_ROWS * TRIAL_DIMS];
	float rms_norm[TRIAL_ROWS * TRIAL_DIMS];
	float gelu[TRIAL_ROWS * TRIAL_DIMS];
	float mean[TRIAL_DIMS], unit[TRIAL_DIMS];
	float scale[TRIAL_ROWS];
	int32_t sums[2][TRIAL_ROWS];
	int8_t q[TRIAL_ROWS * TRIAL_DIMS];
};

static void
trial_run(struct trial *t, const struct rows_kernel *kernel)
{
	float x[TRIAL_ROWS * TRIAL_DIMS], weight[TRIAL_DIMS], bias[TRIAL_DIMS];
	const struct rows_norm norm = {weight, bias, 1e-12f};
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < TRIAL_ROWS * TRIAL_DIMS; i++)
		x[i] = 3 * rng_normal(&rng);
	for (size_t i = 0; i < TRIAL_DIMS; i++) {
		weight[i] = rng_normal(&rng);
		bias[i] = rng_normal(&rng);
	}
	memcpy(t->layer_norm, x, sizeof x);
	memcpy(t->rms_norm, x, sizeof x);
	memcpy(t->gelu, x, sizeof x);
	kernel->layer_norm(t->layer_norm, &norm, TRIAL_ROWS, TRIAL_DIMS);
	kernel->rms_norm(t->rms_norm, &norm, TRIAL_ROWS, TRIAL_DIMS);
	kernel->gelu(t->gelu, TRIAL_ROWS * TRIAL_DIMS);
	kernel->mean(t->mean, x, TRIAL_ROWS, TRIAL_DIMS);
	kernel->unit(t->unit, x, TRIAL_DIMS);
	kernel->quantize(t->q, t->scale, t->sums[0], x, TRIAL_ROWS, TRIAL_DIMS);
	kernel->sum(t->sums[1], t->q, TRIAL_ROWS, TRIAL_DIMS);
}

/* struct trial has no padding, so its bytes are its numbers. */
static bool
agrees(const struct rows_kernel *kernel)
{
	struct trial want, got;

	memset(&want, 0, sizeof want);
	memset(&got, 0, sizeof got);
	trial_run(&want, &rows_scalar);
	trial_run(&got, kernel);
	return memcmp(&want, &got, sizeof want) == 0;
}

static const struct rows_kernel *best;

static enum cpu_level
level_of(size_t i)
{
	return kernels[i]->level;
}

static bool
agrees_with_scalar(size_t i)
{
	return agrees(kernels[i]);
}

static void
choose(void)
{
	const struct cpu_kernels all = {
	    "rows_kernel", KERNELS, level_of, agrees_with_scalar};

	best = kernels[cpu_choose(&all)];
}

const struct rows_kernel *
rows_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return best;
}
