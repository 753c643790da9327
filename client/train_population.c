#include "client/train_population.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/train_options.h"

#define QUARTER 4
#define STEP 1.2f   /* of exploring, up or down */
#define SPREAD 2.0f /* of the first tunings */

/* A tuning as numbers, all of which may be varied. */
enum { NUMBERS = sizeof(struct descent_tuning) / sizeof(float) };
_Static_assert(
    sizeof(struct descent_tuning) == NUMBERS * sizeof(float), "a tuning is floats");

/* Multiply each number of the member's tuning by the factor or by 1 / factor, or by
 * something between. */
static void
vary(struct train_member *member, float factor, bool between, struct rng *rng)
{
	float numbers[NUMBERS];
	struct descent_tuning *tuning = descent_tuning(member->descent);
	memcpy(numbers, tuning, sizeof numbers);
	for (size_t j = 0; j < NUMBERS; j++) {
		float share = between             ? rng_uniform(rng)
			      : rng_below(rng, 2) ? 1.0f
						  : 0.0f;
		numbers[j] *= powf(factor, 2.0f * share - 1.0f);
	}
	memcpy(tuning, numbers, sizeof numbers);
}

void
train_population_spread(struct train_member *members, size_t n, struct rng *rng)
{
	for (size_t i = 1; i < n; i++)
		vary(&members[i], SPREAD, true, rng);
}

size_t
train_population_best(const struct train_member *members, size_t n)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (members[i].overlap > members[best].overlap)
			best = i;
	return best;
}

/* order (n) := places of members, best first. */
static void
sort(size_t *order, const struct train_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t j = i;
		for (; j > 0 && members[order[j - 1]].overlap < members[i].overlap; j--)
			order[j] = order[j - 1];
		order[j] = i;
	}
}

void
train_population_evolve(struct train_member *members, size_t n, struct rng *rng)
{
	size_t order[TRAIN_POPULATION_MAX];
	size_t quarter = n < QUARTER ? 1 : n / QUARTER;
	if (n < 2)
		return;
	sort(order, members, n);
	for (size_t i = n - quarter; i < n; i++) {
		struct train_member *to = &members[order[i]];
		struct train_member *from = &members[order[rng_below(rng, quarter)]];
		descent_copy(to->descent, from->descent);
		*descent_tuning(to->descent) = *descent_tuning(from->descent);
		vary(to, STEP, false, rng);
	}
}

void
train_population_show(const struct train_member *members, size_t n, size_t best)
{
	const struct descent_tuning *tuning = descent_tuning(members[best].descent);
	if (n < 2)
		return;
	fprintf(stderr,
	    "population: rate %.2g, temperature %.2g, reconstruction %.2g, ranking "
	    "%.2g, codes %.2g, floats %.2g\n",
	    (double)tuning->rate, (double)tuning->temperature,
	    (double)tuning->reconstruction, (double)tuning->ranking,
	    (double)tuning->codes, (double)tuning->floats);
}
