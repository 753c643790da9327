/*
 * Claim of attention/linear.h: the kernels of NEON give the bits of the scalar ones,
 * and are found and chosen.
 */
#include <stdio.h>
#include <string.h>

#include "attention/linear_kernels.h"
#include "tests/support/guard.h"
#include "tests/support/linear_twin.h"

int
main(void)
{
	const struct linear_kernel *kernel = linear_find(CPU_NEON);
	struct error err;
	struct rng rng;

	if (!kernel) {
		fputs("linear: this processor has no dot product\n", stderr);
		return 1;
	}
	if (strcmp(linear_best()->name, "neon") != 0) {
		fprintf(stderr, "linear: expected neon, not %s\n", linear_best()->name);
		return 1;
	}
	rng_init(&rng, test_seed(), 1);
	if (linear_twin_compare_all(kernel, 6, &rng, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}
