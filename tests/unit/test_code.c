/* Claims: the wire form is what base/code.h says, bit by bit; levels come back; a
 * prefix of planes is a shift of levels; values are sums of halves of signs; shapes out
 * of range are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/code.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static void
test_shapes(void **state)
{
	(void)state;
	struct error err;
	for (uint32_t dims = 0; dims <= CODE_DIMS_MAX + 64; dims++) {
		bool right = dims >= 64 && dims <= CODE_DIMS_MAX && dims % 64 == 0;
		for (uint32_t bits = 0; bits <= 6; bits++) {
			struct code_shape shape = {dims, bits, 0};
			bool ok = right && bits >= 1 && bits <= 4;
			assert_int_equal(code_shape_check(shape, &err), ok ? 0 : -1);
			if (!ok)
				assert_int_equal(err.code, ERR_INPUT);
		}
	}
	struct code_shape bad = {100, 2, 0};
	code_shape_check(bad, &err);
	assert_string_equal(err.text,
	    "expected code dims as a multiple of 64 from 64 to 4096, not 100");
	struct code_shape largest = {CODE_DIMS_MAX, CODE_BITS_MAX, CODE_CENTRES_MAX};
	assert_int_equal(code_bytes(largest), CODE_BYTES_MAX);
	assert_int_equal(code_shape_check(largest, &err), 0);
	largest.centres = 0;
	assert_int_equal(code_bytes(largest), CODE_BYTES_MAX - CODE_PLACE_BYTES);
	largest.centres = CODE_CENTRES_MAX + 1;
	assert_int_equal(code_shape_check(largest, &err), -1);
	assert_string_equal(err.text, "expected at most 1024 centres, not 1025");
}

/* One code written out: dimension 0 has level 2 (planes 1, 0), dimension 9 level 1. */
static void
test_written_out(void **state)
{
	(void)state;
	struct code_shape shape = {64, 2, 0};
	uint8_t levels[64] = {[0] = 2, [9] = 1}, wire[16], want[16] = {0};
	want[0] = 0x80;     /* plane 0, dimension 0 */
	want[8 + 1] = 0x40; /* plane 1, dimension 9 */
	code_from_levels(wire, levels, shape);
	assert_memory_equal(wire, want, 16);
}

static void
test_round_trip(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (uint32_t dims = 64; dims <= CODE_DIMS_MAX; dims += 64 * 7) {
		for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++) {
			struct code_shape shape = {dims, bits, 0};
			size_t n = code_bytes(shape);
			uint8_t *levels = guard_new(dims), *back = guard_new(dims);
			uint8_t *wire = guard_new(n);
			for (size_t i = 0; i < dims; i++)
				levels[i] = (uint8_t)rng_below(&rng, 1u << bits);
			code_from_levels(wire, levels, shape);
			for (size_t i = 0; i < dims; i++) {
				float v = 0;
				for (uint32_t p = 0; p < bits; p++) {
					size_t byte = p * dims / 8 + i / 8;
					int bit = wire[byte] >> (7 - i % 8) & 1;
					assert_int_equal(
					    bit, levels[i] >> (bits - 1 - p) & 1);
					v += (bit ? 1.0f : -1.0f) / (float)(1 << p);
				}
				assert_true(v == code_value(levels[i], bits));
			}
			code_to_levels(back, wire, shape);
			assert_memory_equal(back, levels, dims);
			/* The first planes alone. */
			for (uint32_t b = 1; b < bits; b++) {
				code_to_levels(
				    back, wire, (struct code_shape){dims, b, 0});
				for (size_t i = 0; i < dims; i++)
					assert_int_equal(
					    back[i], levels[i] >> (bits - b));
			}
			guard_free(levels, dims);
			guard_free(back, dims);
			guard_free(wire, n);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shapes),
	    cmocka_unit_test(test_written_out),
	    cmocka_unit_test(test_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
