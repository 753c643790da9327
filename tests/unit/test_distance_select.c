/*
 * Claims of index/distance.h about which rows matter: of every kernel, what
 * distance_select finds is what a loop over the formula finds, bit for bit, ties, odd
 * floats and NaN included; the least integer that distance_least gives loses no row,
 * and spares many their score.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/distance.h"
#include "tests/support/guard.h"

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])
#define CENTRES 5

static void
query_fill(struct distance_query *q, struct rng *rng, enum distance_kind kind,
    struct code_shape shape, struct distance_terms terms)
{
	uint8_t levels[CODE_DIMS_MAX];
	int8_t values[CODE_DIMS_MAX];

	for (size_t i = 0; i < shape.dims; i++) {
		levels[i] = (uint8_t)rng_below(rng, 1u << shape.bits);
		values[i] = (int8_t)(rng_below(rng, 255) - 127);
	}
	if (kind == DISTANCE_HAMMING) {
		shape.centres = 0;
		distance_query_hamming(q, levels, shape);
	} else if (kind == DISTANCE_SDC) {
		distance_query_sdc(q, levels, 0.75f, shape, terms);
	} else {
		distance_query_int8(q, values, 0.0125f, shape, terms);
	}
}

/* Rows for select: dots and factors with many ties and some odd floats. */
#define SELECT_BLOCKS 3
#define SELECT_ROWS (SELECT_BLOCKS * DISTANCE_ROWS)

struct selection {
	int32_t *dots;
	float *factor, *norm2;
	struct code_place *place;
	uint16_t *live;
};

static void
selection_fill(struct selection *s, struct rng *rng, uint32_t dims)
{
	static const float odd[] = {
	    0.0f, -0.0f, 1.0f, FLT_MAX, FLT_MIN / 2, INFINITY, NAN};
	const bool positive = rng_below(rng, 2);

	for (size_t r = 0; r < SELECT_ROWS; r++) {
		s->dots[r] = (int32_t)(2 * rng_below(rng, dims + 1)) - (int32_t)dims;
		if (rng_below(rng, 2))
			s->dots[r] = (int32_t)rng_below(rng, 3) - 1;
		s->factor[r] = rng_uniform(rng) * 4 - (positive ? 0 : 1);
		s->norm2[r] = rng_uniform(rng);
		s->place[r].centre = (uint16_t)rng_below(rng, CENTRES);
		s->place[r].share = code_share(4 * rng_uniform(rng));
		if (positive)
			continue;
		if (rng_below(rng, 4) == 0)
			s->factor[r] = odd[rng_below(rng, sizeof odd / sizeof *odd)];
		if (rng_below(rng, 4) == 0)
			s->norm2[r] = odd[rng_below(rng, sizeof odd / sizeof *odd)];
	}
	for (size_t b = 0; b < SELECT_BLOCKS; b++)
		s->live[b] = (uint16_t)rng_u64(rng);
}

static size_t
plain_select(struct hit *found, const struct selection *s,
    const struct distance_query *q, float threshold)
{
	size_t n = 0;

	for (uint32_t r = 0; r < SELECT_ROWS; r++) {
		float score = (float)s->dots[r] / (float)q->shape.dims;
		if (q->kind != DISTANCE_HAMMING) {
			score = q->scale * (float)s->dots[r];
			if (q->shape.centres > 0)
				score = code_share_value(s->place[r].share) *
					    q->bases[s->place[r].centre] +
					score;
			score = s->factor[r] * score;
			score = q->terms.base + score;
			if (q->terms.metric == DISTANCE_EUCLID)
				score = 2 * score - s->norm2[r];
		}
		if ((s->live[r / 16] >> r % 16 & 1) && score >= threshold)
			found[n++] = (struct hit){score, r};
	}
	return n;
}

static struct distance_bounds
bounds_of(const struct selection *s)
{
	struct distance_bounds b = DISTANCE_BOUNDS_NONE;

	for (size_t r = 0; r < SELECT_ROWS; r++) {
		b.factor_min = fminf(b.factor_min, s->factor[r]);
		b.factor_max = fmaxf(b.factor_max, s->factor[r]);
		b.norm2_min = fminf(b.norm2_min, s->norm2[r]);
	}
	return b;
}

/* Returns how many live rows the least integer spares a score. */
static size_t
check_select(const struct selection *s, const struct distance_query *q, float threshold)
{
	const int hamming = q->kind == DISTANCE_HAMMING;
	const struct distance_rows rows = {s->live, hamming ? NULL : s->factor,
	    hamming || q->terms.metric == DISTANCE_DOT ? NULL : s->norm2,
	    hamming || q->shape.centres == 0 ? NULL : s->place};
	const struct distance_bounds bounds = bounds_of(s);
	struct hit want[SELECT_ROWS], found[SELECT_ROWS];
	size_t n = plain_select(want, s, q, threshold), spared = 0;

	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct distance_kernel *kernel = distance_find(levels_of_cpu[l]);
		if (!kernel)
			continue;
		size_t got = distance_select(kernel, found, s->dots, q, &rows,
		    SELECT_BLOCKS, &bounds, threshold);
		assert_int_equal(got, n);
		assert_memory_equal(found, want, n * sizeof *want);
	}
	for (size_t r = 0; r < SELECT_ROWS && !rows.place; r++)
		spared += s->dots[r] < distance_least(q, &bounds, threshold);
	return spared;
}

static void
test_select(void **state)
{
	struct rng rng;
	struct selection s = {guard_new(SELECT_ROWS * 4), guard_new(SELECT_ROWS * 4),
	    guard_new(SELECT_ROWS * 4), guard_new(SELECT_ROWS * 4),
	    guard_new(SELECT_BLOCKS * 2)};
	struct distance_query *q = aligned_alloc(64, (sizeof *q + 63) / 64 * 64);
	size_t spared = 0;

	(void)state;
	rng_init(&rng, test_seed(), 3);
	for (int round = 0; round < 4000; round++) {
		float bases[CENTRES];
		for (size_t c = 0; c < CENTRES; c++)
			bases[c] = rng_uniform(&rng) - 0.7f;
		struct code_shape shape = {64 * (1 + (uint32_t)rng_below(&rng, 64)),
		    1 + (uint32_t)rng_below(&rng, 4), rng_below(&rng, 2) ? CENTRES : 0};
		struct distance_terms terms = {
		    round % 2 ? DISTANCE_EUCLID : DISTANCE_DOT, rng_uniform(&rng), 1,
		    bases};
		query_fill(q, &rng, (enum distance_kind)(round % 3), shape, terms);
		selection_fill(&s, &rng, shape.dims);
		struct hit hits[SELECT_ROWS];
		size_t n = plain_select(hits, &s, q, -INFINITY);
		check_select(&s, q, -INFINITY);
		check_select(&s, q, INFINITY);
		check_select(&s, q, NAN);
		spared += check_select(&s, q, rng_uniform(&rng) * 3 - 1.5f);
		if (n > 0) { /* thresholds that tie with a row, and their neighbours */
			float score = hits[rng_below(&rng, n)].score;
			spared += check_select(&s, q, score);
			check_select(&s, q, nextafterf(score, 2));
			check_select(&s, q, nextafterf(score, -2));
		}
	}
	assert_true(spared > 10000); /* it does tell rows apart */
	free(q);
	guard_free(s.dots, SELECT_ROWS * 4);
	guard_free(s.factor, SELECT_ROWS * 4);
	guard_free(s.norm2, SELECT_ROWS * 4);
	guard_free(s.place, SELECT_ROWS * 4);
	guard_free(s.live, SELECT_BLOCKS * 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_select)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
