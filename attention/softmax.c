#include "attention/softmax.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "attention/softmax_kernels.h"
#include "base/rng.h"

/* Ascending levels. */
static const struct {
	enum cpu_level level;
	softmax_fn *function;
} kernels[] = {
    {CPU_SCALAR, softmax_scalar},
#if defined(__x86_64__)
    {CPU_AVX2, softmax_avx2},
    {CPU_AVX512, softmax_avx512},
#elif defined(__aarch64__)
    {CPU_NEON, softmax_neon},
#endif
};
#define KERNELS (sizeof kernels / sizeof kernels[0])

size_t
softmax_scratch(size_t n, size_t head_dims)
{
	return softmax_layout(n, head_dims).floats;
}

softmax_fn *
softmax_find(enum cpu_level level)
{
	for (size_t i = 0; i < KERNELS; i++)
		if (kernels[i].level == level && cpu_has(level))
			return kernels[i].function;
	return NULL;
}

/* The self-test: a text with tiles of every width and a last group in part. */
#define TRIAL_N 59
#define TRIAL_WIDTH 48 /* a head of three lanes */

static bool
agrees(softmax_fn *function)
{
	struct trial {
		float x[3][TRIAL_N * TRIAL_WIDTH];
		float out[2][TRIAL_N * TRIAL_WIDTH];
		float scratch[24 * 1024];
	};
	static struct trial t; /* choose runs once */
	struct attend attend = {.q = t.x[0],
	    .k = t.x[1],
	    .v = t.x[2],
	    .stride = TRIAL_WIDTH,
	    .n = TRIAL_N,
	    .heads = 1,
	    .head_dims = TRIAL_WIDTH};
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < TRIAL_N * TRIAL_WIDTH; j++)
			t.x[i][j] = rng_normal(&rng);
	attend.out = t.out[0];
	softmax_scalar(&attend, t.scratch);
	attend.out = t.out[1];
	function(&attend, t.scratch);
	return memcmp(t.out[0], t.out[1], sizeof t.out[0]) == 0;
}

static softmax_fn *best;

static enum cpu_level
level_of(size_t i)
{
	return kernels[i].level;
}

static bool
agrees_with_scalar(size_t i)
{
	return agrees(kernels[i].function);
}

static void
choose(void)
{
	const struct cpu_kernels all = {
	    "softmax_kernel", KERNELS, level_of, agrees_with_scalar};

	best = kernels[cpu_choose(&all)].function;
}

softmax_fn *
softmax_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return best;
}
