/*
 * Claims of recurrent_encode_many, for all three kinds of models on random vectors:
 *  - any number of vectors gives the codes and numbers, bit for bit, that each of them
 *    gives by itself, and touches nothing behind them;
 *  - a vector that cannot be encoded ends it: its number and an error come back, and
 *    those before it are encoded.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"

#define VECTORS 61

static struct recurrent *
rotation(void)
{
	struct error err;
	const struct recurrent_rotation_config config = {
	    .input_dims = 50, .shape = {64, 3}, .seed = 1};
	return recurrent_new(&config, &err);
}

static struct recurrent *
learned(void)
{
	struct error err;
	struct recurrent_info info;
	const char *path = "tests/golden/recurrent_learned.safetensors";

	assert_int_equal(recurrent_peek(&info, path, &err), 0);
	return recurrent_open(path, info.shape, &err);
}

static struct recurrent *
refined(void)
{
	static float mean[75], map[128 * 75], base[128 * 75];
	struct error err;
	struct rng rng;
	const struct recurrent_refined_config config = {75, {128, 2}, mean, map, base};

	rng_init(&rng, test_seed(), 1);
	for (size_t i = 0; i < 75; i++)
		mean[i] = 0.1f * rng_normal(&rng);
	for (size_t i = 0; i < 128 * 75; i++) {
		map[i] = rng_normal(&rng) / 100;
		base[i] = map[i] * 128;
	}
	return recurrent_new_refined(&config, &err);
}

static void
check(struct recurrent *model)
{
	struct error err;
	struct rng rng;
	struct recurrent_info info = recurrent_info(model);
	size_t d = info.input_dims, bytes = code_bytes(info.shape);
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	float *x = guard_new(VECTORS * d * sizeof *x);
	uint8_t *wire = guard_new(VECTORS * bytes), one[CODE_BYTES_MAX];
	struct recurrent_numbers *numbers = guard_new(VECTORS * sizeof *numbers);

	assert_non_null(scratch);
	rng_init(&rng, test_seed(), 2);
	for (size_t i = 0; i < VECTORS * d; i++)
		x[i] = rng_normal(&rng);
	for (size_t n = 0; n <= VECTORS; n++) {
		/* those before the last n, which lie at the unreadable page */
		size_t first = VECTORS - n;
		const struct recurrent_codes codes = {
		    wire + first * bytes, numbers + first};
		memset(wire, 0xAA, VECTORS * bytes);
		assert_int_equal(recurrent_encode_many(
				     model, scratch, &codes, x + first * d, n, &err),
		    n);
		for (size_t i = 0; i < first * bytes; i++)
			assert_int_equal(wire[i], 0xAA);
		for (size_t i = first; i < VECTORS; i++) {
			struct recurrent_numbers alone;
			assert_int_equal(recurrent_encode(model, scratch, one, &alone,
					     x + i * d, &err),
			    0);
			assert_memory_equal(one, wire + i * bytes, bytes);
			assert_memory_equal(&alone, &numbers[i], sizeof alone);
		}
	}
	for (size_t bad = 0; bad < VECTORS; bad += 20) {
		const struct recurrent_codes codes = {wire, numbers};
		x[bad * d + d - 1] = NAN;
		assert_int_equal(
		    recurrent_encode_many(model, scratch, &codes, x, VECTORS, &err),
		    bad);
		assert_int_equal(err.code, ERR_INPUT);
		x[bad * d + d - 1] = 1.0f;
		for (size_t i = 0; i < bad; i++) {
			struct recurrent_numbers alone;
			recurrent_encode(model, scratch, one, &alone, x + i * d, &err);
			assert_memory_equal(one, wire + i * bytes, bytes);
		}
	}
	guard_free(x, VECTORS * d * sizeof *x);
	guard_free(wire, VECTORS * bytes);
	guard_free(numbers, VECTORS * sizeof *numbers);
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
test_rotation(void **state)
{
	(void)state;
	check(rotation());
}

static void
test_learned(void **state)
{
	(void)state;
	check(learned());
}

static void
test_refined(void **state)
{
	(void)state;
	check(refined());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rotation),
	    cmocka_unit_test(test_learned),
	    cmocka_unit_test(test_refined),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
