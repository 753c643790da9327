/* Claims: every half-precision number is read exactly, infinities and what is no number
 * included. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

/* By what a half is: sign, 5 bits of exponent, 10 of mantissa. */
static void
test_halves(void **state)
{
	(void)state;
	for (unsigned half = 0; half < 65536; half++) {
		uint8_t bytes[2] = {(uint8_t)half, (uint8_t)(half >> 8)};
		int exponent = half >> 10 & 31, mantissa = half & 1023;
		double want = exponent == 0 ? ldexp(mantissa, -24)
					    : ldexp(1024 + mantissa, exponent - 25);
		float got = bytes_gethle(bytes);
		assert_int_equal(signbit(got) != 0, half >> 15);
		if (exponent < 31)
			assert_true(fabs((double)got) == want);
		else if (mantissa == 0)
			assert_true(isinf(got));
		else
			assert_true(isnan(got));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_halves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
