#include "binarize/refine.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/refine_kernels.h"

/* A step must gain more than rounding could take back: |c_i| over half a step's own
 * share by this much. */
#define LEAST_GAIN 1.00001f

/* Steps a dimension on the way to a code: far more than any takes, a bound all the
 * same. */
#define CHANGES_PER_DIM 16

static const struct refine_kernel *const kernels[] = {
    &refine_scalar,
#if defined(__x86_64__)
    &refine_avx2,
    &refine_avx512,
#elif defined(__aarch64__)
    &refine_neon,
#endif
};

#define KERNELS (sizeof kernels / sizeof *kernels)

struct refine {
	const struct refine_kernel *kernel;
	struct code_shape shape;
	float *map;     /* Q (dims, input_dims) in panels */
	float *gram;    /* (dims, dims) */
	float *panels;  /* the Gram matrix in panels */
	float *least;   /* (dims) */
	float *nearest; /* (dims): 1 / <q_i, q_i> */
	size_t input_dims;
};

static float
step_of(uint32_t bits)
{
	return 2.0f / (float)(1 << (bits - 1));
}

static float
top_of(uint32_t bits)
{
	return 2.0f - 1.0f / (float)(1 << (bits - 1));
}

void
refine_to_panels(float *panels, const float *matrix, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t k = 0; k < columns; k++)
			panels[(r / REFINE_PANEL * columns + k) * REFINE_PANEL +
			       r % REFINE_PANEL] = matrix[r * columns + k];
}

/* What kernels make of a small decoder of random numbers. */
#define TRIAL_DIMS 64
#define TRIAL_ROWS 13
struct trial {
	float y[TRIAL_ROWS * TRIAL_DIMS];
	float v[TRIAL_ROWS * TRIAL_DIMS];
	float c[TRIAL_ROWS * TRIAL_DIMS];
};

static void
run_trial(struct trial *t, const struct refine_kernel *kernel)
{
	static const uint32_t bits = 2;
	_Alignas(64) float panels[TRIAL_DIMS * TRIAL_DIMS];
	float gram[TRIAL_DIMS * TRIAL_DIMS], least[TRIAL_DIMS];
	float x[TRIAL_ROWS * TRIAL_DIMS];
	const struct refine_matrix matrix = {panels, TRIAL_DIMS, TRIAL_DIMS};
	const struct refine_rule rule = {.gram = gram,
	    .least = least,
	    .dims = TRIAL_DIMS,
	    .changes_max = TRIAL_DIMS,
	    .step = step_of(bits),
	    .top = top_of(bits)};
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; i < TRIAL_DIMS; i++) {
		for (size_t j = 0; j <= i; j++)
			gram[i * TRIAL_DIMS + j] = gram[j * TRIAL_DIMS + i] =
			    i == j ? 1.0f : 0.2f * (rng_uniform(&rng) - 0.5f);
		least[i] = rule.step / 2;
	}
	refine_to_panels(panels, gram, TRIAL_DIMS, TRIAL_DIMS);
	for (size_t i = 0; i < TRIAL_ROWS * TRIAL_DIMS; i++) {
		x[i] = 4.0f * (rng_uniform(&rng) - 0.5f);
		t->v[i] = rng_below(&rng, 2) ? 0.5f : -1.5f;
	}
	kernel->product(t->y, &matrix, x, TRIAL_ROWS);
	memcpy(t->c, t->y, sizeof t->c);
	for (size_t r = 0; r < TRIAL_ROWS; r++)
		kernel->descend(t->v + r * TRIAL_DIMS, t->c + r * TRIAL_DIMS, &rule);
}

static enum cpu_level
level_of(size_t i)
{
	return kernels[i]->level;
}

static bool
agrees(size_t i)
{
	struct trial want, got;

	run_trial(&want, &refine_scalar);
	run_trial(&got, kernels[i]);
	return memcmp(&want, &got, sizeof want) == 0;
}

static const struct refine_kernel *best;

static void
choose_best(void)
{
	const struct cpu_kernels all = {"refine_kernel", KERNELS, level_of, agrees};

	best = kernels[cpu_choose(&all)];
}

const struct refine_kernel *
refine_kernel_best(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose_best);
	return best;
}

/* Fill what depends on the Gram matrix. */
static int
fill_rules(struct refine *r, struct error *err)
{
	size_t m = r->shape.dims;

	for (size_t i = 0; i < m; i++) {
		float own = r->gram[i * m + i];
		if (!(own > 0.0f && own < INFINITY))
			return error_set(err, ERR_INPUT,
			    "expected rows of a decoder to have a length, not %g as "
			    "row %zu's square",
			    (double)own, i);
		r->least[i] = step_of(r->shape.bits) / 2 * own * LEAST_GAIN;
		r->nearest[i] = 1.0f / own;
	}
	refine_to_panels(r->panels, r->gram, m, m);
	return 0;
}

struct refine *
refine_new(
    const float *Q, size_t input_dims, struct code_shape shape, struct error *err)
{
	size_t m = shape.dims;
	struct refine *r = array_new(1, sizeof *r);
	if (!r)
		goto no_memory;
	r->kernel = refine_kernel_best();
	r->shape = shape;
	r->input_dims = input_dims;
	r->map = array_new_aligned(m * input_dims, sizeof *r->map);
	r->gram = array_new_aligned(m * m, sizeof *r->gram);
	r->panels = array_new_aligned(m * m, sizeof *r->panels);
	r->least = array_new_aligned(m, sizeof *r->least);
	r->nearest = array_new_aligned(m, sizeof *r->nearest);
	if (!r->map || !r->gram || !r->panels || !r->least || !r->nearest)
		goto no_memory;
	refine_to_panels(r->map, Q, m, input_dims);
	refine_project(r, r->gram, Q, m);
	if (fill_rules(r, err) != 0) {
		refine_free(r);
		return NULL;
	}
	return r;
no_memory:
	refine_free(r);
	error_set(err, ERR_MEMORY, "out of memory for a decoder of %zu dims", m);
	return NULL;
}

void
refine_free(struct refine *refine)
{
	if (!refine)
		return;
	free(refine->map);
	free(refine->gram);
	free(refine->panels);
	free(refine->least);
	free(refine->nearest);
	free(refine);
}

void
refine_project(const struct refine *refine, float *y, const float *u, size_t n)
{
	const struct refine_matrix map = {
	    refine->map, refine->shape.dims, refine->input_dims};

	refine->kernel->product(y, &map, u, n);
}

void
refine_again(const struct refine *refine, float *v, float *c, const float *y, size_t n)
{
	size_t m = refine->shape.dims;
	const struct refine_matrix gram = {refine->panels, m, m};
	const struct refine_rule rule = {.gram = refine->gram,
	    .least = refine->least,
	    .dims = m,
	    .changes_max = CHANGES_PER_DIM * m,
	    .step = step_of(refine->shape.bits),
	    .top = top_of(refine->shape.bits)};

	refine->kernel->product(c, &gram, v, n);
	for (size_t i = 0; i < n * m; i++)
		c[i] = y[i] - c[i];
	for (size_t i = 0; i < n; i++)
		refine->kernel->descend(v + i * m, c + i * m, &rule);
}

void
refine_code(const struct refine *refine, float *v, float *c, const float *y, size_t n)
{
	size_t m = refine->shape.dims;
	float step = step_of(refine->shape.bits), top = top_of(refine->shape.bits);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < m; j++) {
			float level = floorf(y[i * m + j] * refine->nearest[j] / step);
			float value = (level + 0.5f) * step;
			v[i * m + j] = fminf(fmaxf(value, -top), top);
		}
	}
	refine_again(refine, v, c, y, n);
}
