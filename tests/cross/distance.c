/*
 * Claim of index/distance.h: the kernels of NEON give the integers of the scalar ones,
 * alone and in batches, and are found and chosen.
 */
#include <stdio.h>
#include <string.h>

#include "index/distance.h"
#include "tests/support/distance_twin.h"
#include "tests/support/guard.h"

int
main(void)
{
	const struct distance_kernel *kernel = distance_find(CPU_NEON);
	struct error err;
	struct rng rng;

	if (!kernel) {
		fputs("distance: this processor has no dot product\n", stderr);
		return 1;
	}
	if (strcmp(distance_best()->name, "neon") != 0) {
		fprintf(
		    stderr, "distance: expected neon, not %s\n", distance_best()->name);
		return 1;
	}
	rng_init(&rng, test_seed(), 1);
	if (distance_twin_compare(kernel, 3, &rng, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}
