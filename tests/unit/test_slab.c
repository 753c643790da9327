/*
 * Claims of index/slab.h and how they are checked: pieces are aligned and never overlap
 * while they are out (each is filled with its own bytes and checked when it goes back),
 * over enough pieces for several regions of both sizes; given back ones are used again,
 * and memory goes back to the system; failing memory gives NULL and leaves the slab
 * usable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/slab.h"
#include "tests/support/guard.h"

#define PIECES 300
#define BYTES 70000 /* a large region has 4 MiB */

static bool
filled_with(const uint8_t *piece, uint8_t value)
{
	return piece[0] == value && memcmp(piece, piece + 1, BYTES - 1) == 0;
}

static void
test_pieces(void **state)
{
	struct slab *slab = slab_new(BYTES);
	uint8_t *out[PIECES] = {0};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 0);
	for (int step = 0; step < 6000; step++) {
		size_t i = (size_t)rng_below(&rng, PIECES);
		uint64_t more = step / 1000 % 2 ? 25 : 75;
		bool take = rng_below(&rng, 100) < more;
		if (take && !out[i]) {
			out[i] = slab_take(slab);
			assert_non_null(out[i]);
			assert_int_equal((uintptr_t)out[i] % 64, 0);
			memset(out[i], (int)(i % 251), BYTES);
		} else if (!take && out[i]) {
			assert_true(filled_with(out[i], (uint8_t)(i % 251)));
			slab_give(slab, out[i]);
			out[i] = NULL;
		}
	}
	for (size_t i = 0; i < PIECES; i++)
		if (out[i])
			slab_give(slab, out[i]);
	slab_release(slab);
	slab_release(NULL);
}

static void
test_reuse(void **state)
{
	struct slab *slab = slab_new(BYTES);
	uint8_t *out[PIECES], *again;

	(void)state;
	for (size_t i = 0; i < PIECES; i++)
		out[i] = slab_take(slab);
	slab_give(slab, out[7]);
	again = slab_take(slab);
	assert_ptr_equal(again, out[7]);
	for (size_t i = 0; i < PIECES; i++)
		slab_give(slab, out[i]);
	/* Everything but one region went back: taking some now needs an allocation. */
	array_fail_at(1);
	size_t n = 0;
	while (n < PIECES && (out[n] = slab_take(slab)) != NULL)
		n++;
	array_fail_at(0);
	assert_true(n > 0 && n < PIECES / 2);
	while (n > 0)
		slab_give(slab, out[--n]);
	slab_release(slab);
}

static void
test_failing_memory(void **state)
{
	void *out[2 * SLAB_SMALL_PIECES + 1];
	size_t n = 0, failed = 0;
	struct slab *slab;

	(void)state;
	array_fail_at(1);
	slab = slab_new(BYTES);
	array_fail_at(0);
	assert_null(slab);
	slab = slab_new(BYTES);
	/* Before each piece: every allocation that it needs fails once. */
	while (n < sizeof out / sizeof *out) {
		for (long k = 1;; k++) {
			array_fail_at(k);
			out[n] = slab_take(slab);
			array_fail_at(0);
			if (out[n])
				break;
			failed++;
		}
		n++;
	}
	assert_true(failed >= 7); /* small regions twice, large ones once */
	while (n > 0)
		slab_give(slab, out[--n]);
	slab_release(slab);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces),
	    cmocka_unit_test(test_reuse),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
