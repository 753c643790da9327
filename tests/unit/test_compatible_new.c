/* Claims: what was found before there was a new model it has as if found for itself,
 * centres and what the older one knew included; an older one that knows as many as a
 * model can is refused without any; a failing allocation leaves nothing behind.
 * Skipped, with a line, where OpenBLAS is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/compatible.h"
#include "binarize/recurrent_model.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

#define LONG 60
#define SHORT 40
#define M 64
#define N 500

static float old_rows[N * SHORT], new_rows[N * LONG], map[M * LONG], mean[LONG];

static void
fill(struct rng *rng, float *x, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++)
		x[i] = scale * rng_normal(rng);
}

/* New vectors are old ones and some more. */
static struct compatible_pairs
make_pairs(struct rng *rng)
{
	fill(rng, old_rows, N * SHORT, 1);
	fill(rng, new_rows, N * LONG, 1);
	for (size_t i = 0; i < N; i++) {
		float *o = old_rows + i * SHORT, *n = new_rows + i * LONG;
		memcpy(n, o, SHORT * sizeof *o);
		recurrent_centre(o, o, NULL, SHORT);
		recurrent_centre(n, n, NULL, LONG);
	}
	return (struct compatible_pairs){old_rows, new_rows, N, SHORT, LONG};
}

static struct recurrent *
rotation(size_t d, uint64_t seed, uint32_t bits)
{
	struct error err;
	const struct recurrent_rotation_config config = {
	    (uint32_t)d, {M, bits, 0}, seed, mean};
	struct recurrent *model = recurrent_new(&config, &err);
	if (!model)
		fail_msg("%s", err.text);
	return model;
}

/* The bytes of the model's file: fails if there are more than `room`. */
static size_t
saved(uint8_t *bytes, size_t room, const struct recurrent *model)
{
	char path[256];
	struct error err;

	snprintf(path, sizeof path, "%s/saved.safetensors", test_folder());
	if (recurrent_save(model, path, &err) != 0)
		fail_msg("%s", err.text);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t n = fread(bytes, 1, room, file);
	fclose(file);
	assert_true(n > 0 && n < room);
	return n;
}

static void
test_handed_on(void **state)
{
	(void)state;
	static uint8_t want[200000], got[200000];
	static float centres[3 * SHORT];
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 5);
	const struct compatible_pairs pairs = make_pairs(&rng);
	fill(&rng, mean, LONG, 0.1f);
	fill(&rng, map, M * LONG, 0.1f);
	fill(&rng, centres, 3 * SHORT, 0.1f);
	const struct recurrent_refined_config config = {.input_dims = SHORT,
	    .shape = {M, 2, 3},
	    .centres = centres,
	    .map = map,
	    .base = map};
	struct recurrent *first = rotation(SHORT, 1, 2);
	struct recurrent *second = recurrent_new_refined(&config, &err);
	assert_non_null(second);
	snprintf(second->id, sizeof second->id, "00000000000000b2");
	assert_int_equal(compatible_add(second, first, NULL, test_blas(), 1, &err), 0);
	for (int i = 0; i < 2; i++) {
		const struct compatible_pairs *by = i == 0 ? &pairs : NULL;
		size_t dims = i == 0 ? LONG : SHORT;
		struct recurrent *model = rotation(dims, 7, 1);
		struct recurrent *other = rotation(dims, 7, 1);
		assert_int_equal(
		    compatible_add(model, second, by, test_blas(), 1, &err), 0);
		struct recurrent *found =
		    compatible_new(second, by, test_blas(), 1, &err);
		assert_non_null(found);
		assert_int_equal(compatible_hand_on(other, found, &err), 0);
		recurrent_free(found);
		size_t n = saved(want, sizeof want, model);
		assert_int_equal(saved(got, sizeof got, other), n);
		assert_memory_equal(got, want, n);
		assert_non_null(recurrent_searching(other, recurrent_id(first)));
		recurrent_free(model);
		recurrent_free(other);
	}
	recurrent_free(first);
	recurrent_free(second);
}

/* As long as no model has been made: one that knows too much is refused. */
static void
test_too_many(void **state)
{
	(void)state;
	struct error err;
	struct recurrent *old = rotation(SHORT, 100, 1);

	for (uint64_t seed = 0; seed < RECURRENT_OLDER_MAX; seed++) {
		struct recurrent *found =
		    compatible_new(old, NULL, test_blas(), 1, &err);
		assert_non_null(found);
		recurrent_free(found);
		struct recurrent *older = rotation(SHORT, seed, 1);
		assert_int_equal(
		    compatible_add(old, older, NULL, test_blas(), 1, &err), 0);
		recurrent_free(older);
	}
	assert_null(compatible_new(old, NULL, test_blas(), 1, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "at most 16"));
	recurrent_free(old);
}

static void
test_memory(void **state)
{
	(void)state;
	struct error err;
	struct recurrent *old = rotation(SHORT, 1, 2), *found = NULL;
	long k;

	for (k = 1; !found; k++) {
		array_fail_at(k);
		found = compatible_new(old, NULL, test_blas(), 1, &err);
		array_fail_at(0);
		assert_true(found || err.code == ERR_MEMORY);
	}
	assert_true(k > 5);
	struct recurrent *model = rotation(SHORT, 2, 1);
	array_fail_at(1);
	assert_int_equal(compatible_hand_on(model, found, &err), -1);
	array_fail_at(0);
	assert_int_equal(err.code, ERR_MEMORY);
	assert_null(recurrent_searching(model, recurrent_id(old)));
	recurrent_free(model);
	recurrent_free(found);
	recurrent_free(old);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_handed_on),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
