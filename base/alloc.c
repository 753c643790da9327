#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_at; /* calls left until failing; 0 = never, -1 = now */

void
array_fail_at(long k)
{
	atomic_store(&fail_at, k);
}

static bool
must_fail(void)
{
	long left = atomic_load(&fail_at);
	if (left == 0)
		return false;
	if (left < 0)
		return true;
	/* The step from 1 goes to -1: from then on all fail. */
	atomic_store(&fail_at, left == 1 ? -1 : left - 1);
	return left == 1;
}

static bool
size_of(size_t n, size_t size, size_t *bytes)
{
	return !must_fail() && !__builtin_mul_overflow(n, size, bytes);
}

void *
array_new(size_t n, size_t size)
{
	size_t bytes;

	if (!size_of(n, size, &bytes))
		return NULL;
	return calloc(1, bytes ? bytes : 1);
}

void *
array_new_aligned(size_t n, size_t size)
{
	size_t bytes;

	if (!size_of(n, size, &bytes) || bytes > (size_t)-1 - 64)
		return NULL;
	bytes = bytes < 64 ? 64 : (bytes + 63) / 64 * 64;
	void *p = aligned_alloc(64, bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

void *
array_resize(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (!size_of(n, size, &bytes))
		return NULL;
	return realloc(old, bytes ? bytes : 1);
}

char *
array_copy(const void *bytes, size_t n)
{
	char *copy = n < (size_t)-1 ? array_new(n + 1, 1) : NULL;
	if (copy && n > 0)
		memcpy(copy, bytes, n);
	return copy;
}
