/* Claims: the heap keeps what sorting everything would put first, for any order of
 * arrival, ties included; k = 0 and fewer hits than k work; the threshold says what may
 * still matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/rng.h"
#include "tests/support/guard.h"

/* The slow twin: insertion sort of all. */
static void
sort_all(struct hit *hits, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0; j--) {
			struct hit a = hits[j - 1], b = hits[j];
			if (a.score > b.score ||
			    (a.score == b.score && a.slot < b.slot))
				break;
			hits[j - 1] = b;
			hits[j] = a;
		}
}

static void
test_against_sort(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (int t = 0; t < 3000; t++) {
		size_t n = rng_below(&rng, 120), k = rng_below(&rng, 40);
		/* Few different scores, so that ties are common. */
		uint64_t scores = 1 + rng_below(&rng, 30);
		struct hit all[120], *kept = guard_new(k * sizeof *kept);
		struct heap heap;
		for (uint32_t i = 0; i < n; i++) {
			all[i].slot = i;
			all[i].score = (float)rng_below(&rng, scores) - 10;
			if (rng_below(&rng, 50) == 0)
				all[i].score =
				    rng_below(&rng, 2) ? INFINITY : -INFINITY;
		}
		for (size_t i = n; i > 1; i--) { /* any order of arrival */
			size_t j = rng_below(&rng, i);
			struct hit swap = all[i - 1];
			all[i - 1] = all[j];
			all[j] = swap;
		}
		heap_init(&heap, kept, k);
		for (size_t i = 0; i < n; i++) {
			heap_push(&heap, all[i]);
			assert_int_equal(heap.n, i + 1 < k ? i + 1 : k);
		}
		float threshold = heap_threshold(&heap);
		sort_all(all, n);
		size_t want = n < k ? n : k;
		if (k == 0)
			assert_true(threshold == INFINITY);
		else if (n < k)
			assert_true(threshold == -INFINITY);
		else
			assert_true(threshold == all[k - 1].score);
		heap_sort(&heap);
		assert_int_equal(heap.n, want);
		for (size_t i = 0; i < want; i++) {
			assert_int_equal(kept[i].slot, all[i].slot);
			assert_true(kept[i].score == all[i].score);
		}
		guard_free(kept, k * sizeof *kept);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_sort)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
