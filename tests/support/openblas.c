#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tests/support/openblas.h"

const struct blas *
test_blas(void)
{
	static struct blas *blas;
	struct error err;
	if (!blas && !(blas = blas_open(1, &err))) {
		printf("skipped: %s\n", err.text);
		skip();
	}
	return blas;
}
