/*
 * Claim of binarize/refine.h: the kernels of NEON give the integers of the scalar ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "binarize/refine_kernels.h"
#include "tests/support/guard.h"

#define ROUNDS 60
#define ROWS 11
#define DIMS_MAX 192

static int16_t panels[DIMS_MAX * DIMS_MAX], x[ROWS * DIMS_MAX];
static int32_t own[DIMS_MAX];

static void
expect(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "refine: %s\n", what);
		exit(1);
	}
}

static void
fill(struct rng *rng, size_t m)
{
	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < i; j++) {
			int16_t dot = (int16_t)((int)rng_below(rng, 801) - 400);
			panels[refine_at(m, i, j)] = panels[refine_at(m, j, i)] = dot;
		}
		own[i] = 4096 + (int32_t)rng_below(rng, 4096);
		panels[refine_at(m, i, i)] = (int16_t)own[i];
	}
	for (size_t i = 0; i < ROWS * m; i++)
		x[i] = (int16_t)((int)rng_below(rng, 65535) - 32767);
}

/* What a level makes of the numbers. */
struct results {
	int32_t y[ROWS * DIMS_MAX], c[DIMS_MAX];
	int16_t v[DIMS_MAX];
};

static void
run(struct results *r, const struct refine_kernel *kernel, size_t m, size_t n, int top)
{
	const struct refine_rule rule = {
	    .gram = {panels, m, m}, .own = own, .passes_max = 64 * m, .top = top};

	memset(r, 0, sizeof *r);
	kernel->product(r->y, &rule.gram, x, n);
	for (size_t i = 0; i < m; i++) {
		r->v[i] = (int16_t)(i % 3 == 0 ? top : -1);
		r->c[i] = i % 7 == 0 ? 9000 : r->y[i] / 64;
	}
	kernel->descend(r->v, r->c, &rule);
}

int
main(void)
{
	const struct refine_kernel *best = refine_kernel_best();
	static struct results scalar, neon;
	struct rng rng;

	rng_init(&rng, test_seed(), 1);
	expect(strcmp(best->name, "neon") == 0, "no NEON here");
	for (int round = 0; round < ROUNDS; round++) {
		size_t m = 64 * (1 + rng_below(&rng, DIMS_MAX / 64));
		size_t n = 1 + rng_below(&rng, ROWS);
		int top = (1 << (1 + rng_below(&rng, 4))) - 1;
		fill(&rng, m);
		run(&scalar, &refine_scalar, m, n, top);
		run(&neon, best, m, n, top);
		expect(memcmp(&scalar, &neon, sizeof scalar) == 0, "NEON differs");
	}
	return 0;
}
