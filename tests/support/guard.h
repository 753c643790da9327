#ifndef TESTS_SUPPORT_GUARD_H
#define TESTS_SUPPORT_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* n writable bytes that end right before an unreadable page: reading or writing one
 * byte too far crashes.  The start is aligned as n allows (n a multiple of 64 gives
 * a multiple of 64).  Free with guard_free(p, n). */
void *guard_new(size_t n);
void guard_free(void *p, size_t n);

/* A copy of n bytes that ends at an unreadable page. */
void *guard_copy(const void *bytes, size_t n);

/* The seed of this run: $SEED or one from the clock.  Printed at the first call, so
 * that a failure can be repeated.  Any thread. */
uint64_t test_seed(void);

/* A new folder under $TMPDIR or /tmp, removed with all in it at exit; the string is
 * valid until then. */
const char *test_folder(void);

#endif /* TESTS_SUPPORT_GUARD_H */
