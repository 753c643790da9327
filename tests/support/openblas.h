#ifndef TESTS_SUPPORT_OPENBLAS_H
#define TESTS_SUPPORT_OPENBLAS_H

#include "binarize/blas.h"

/* OpenBLAS with one thread, opened once and valid until the program ends.  Where it is
 * not installed the running test is skipped, with a line that says so. */
const struct blas *test_blas(void);

#endif /* TESTS_SUPPORT_OPENBLAS_H */
