/*
 * Claims of index/distance.h about kernels, alone and in batches: each gives the
 * integers of "scalar", bit for bit, as tests/support/distance_twin.h draws them.  On a
 * processor with AVX-512 but no tiles, those for tiles run emulated
 * (tests/support/tiles.h), on any thread, with tiles configured by whom and how ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "index/distance_kernels.h"
#include "tests/support/distance_twin.h"
#include "tests/support/guard.h"
#include "tests/support/tiles.h"

static void
test_kernels(void **state)
{
	static const enum cpu_level levels[] = {
	    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
	struct rng rng;
	struct error err;

	(void)state;
	rng_init(&rng, test_seed(), 0);
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		const struct distance_kernel *kernel = distance_find(levels[i]);
		if (kernel && distance_twin_compare(kernel, 1, &rng, &err) != 0)
			fail_msg("%s", err.text);
	}
}

#if defined(__x86_64__)

static void
begin(void)
{
	const char *why =
	    cpu_has(CPU_AVX512) ? tiles_start() : "this processor has no AVX-512";

	if (why) {
		print_message("%s\n", why);
		skip();
	}
}

static void
test_tiles(void **state)
{
	struct rng rng;
	struct error err;
	size_t emulated = tiles_emulated();

	(void)state;
	begin();
	rng_init(&rng, test_seed(), 1);
	if (distance_twin_compare(&distance_amx, 1, &rng, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(distance_agrees(&distance_amx));
	assert_true(cpu_has(CPU_AMX) || tiles_emulated() > emulated);
}

/* Other shapes of tiles on every thread, in another order. */
static void *
run_thread(void *argument)
{
	static struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), (uintptr_t)argument);
	return distance_twin_compare(&distance_amx, 8, &rng, &err) != 0 ? &err : NULL;
}

static void
test_tiles_of_threads(void **state)
{
	(void)state;
	begin();
	const struct error *err = tiles_in_threads(run_thread);
	if (err)
		fail_msg("%s", err->text);
}

#else

static void
test_tiles(void **state)
{
	(void)state;
	print_message("tiles belong to x86-64\n");
	skip();
}
#define test_tiles_of_threads test_tiles

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kernels),
	    cmocka_unit_test(test_tiles),
	    cmocka_unit_test(test_tiles_of_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
