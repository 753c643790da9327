/*
 * Claims of attention/linear.h for the kernels of tiles, and how they are checked:
 *  - they give the bits of the scalar kernels, for every form and end of a pass, 1 ..
 * 40 tokens and more than a pass holds, the widest layers and the largest sums, with
 *    buffers that end at an unreadable page;
 *  - they pass the self-test that stands before their use;
 *  - any thread may call, with tiles configured by whom and how ever.
 * On a processor without tiles the compiled code runs all the same:
 * tests/support/tiles.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "attention/linear_kernels.h"
#include "tests/support/guard.h"
#include "tests/support/linear_twin.h"
#include "tests/support/tiles.h"

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
test_twin(void **state)
{
	struct rng rng;
	struct error err;
	size_t emulated = tiles_emulated();

	(void)state;
	begin();
	rng_init(&rng, test_seed(), 1);
	if (linear_twin_compare_all(&linear_amx, 2, &rng, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(cpu_has(CPU_AMX) || tiles_emulated() > emulated);
}

static void
test_self_test(void **state)
{
	(void)state;
	begin();
	assert_true(linear_agrees(&linear_amx));
}

/* Other shapes of tiles on every thread, in another order. */
static void *
run_thread(void *argument)
{
	static struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), (uintptr_t)argument);
	for (size_t n = 3; n < 40; n += 1 + rng_below(&rng, 5)) {
		struct linear_twin twin = {
		    (enum linear_form)rng_below(&rng, 3), 64, 128, n, LINEAR_STORE};
		if (linear_twin_compare(&linear_amx, &twin, &rng, &err) != 0)
			return &err;
	}
	return NULL;
}

static void
test_threads(void **state)
{
	(void)state;
	begin();
	const struct error *err = tiles_in_threads(run_thread);
	if (err)
		fail_msg("%s", err->text);
}

#else

static void
test_twin(void **state)
{
	(void)state;
	print_message("tiles belong to x86-64\n");
	skip();
}
#define test_self_test test_twin
#define test_threads test_twin

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_twin),
	    cmocka_unit_test(test_self_test),
	    cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
