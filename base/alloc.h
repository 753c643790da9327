#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>

/*
 * Memory whose size is a product.  Every function checks the multiplication,
 * returns NULL when it overflows or memory is short (the caller says so in its
 * struct error), and is freed with free().  Any thread may call.
 */

/* n * size bytes, zeroed; never NULL for n = 0. */
void *array_new(size_t n, size_t size);

/* n * size bytes, zeroed, at a 64-byte boundary: for codes and tensors. */
void *array_new_aligned(size_t n, size_t size);

/* Grow or shrink `old` (from array_new or NULL) to n * size bytes; new bytes are
 * not zeroed.  On failure NULL, and `old` is as it was. */
void *array_resize(void *old, size_t n, size_t size);

/* A copy of the n bytes at `bytes` with a '\0' behind it. */
char *array_copy(const void *bytes, size_t n);

/* For tests: let the k-th call from now (1 = the next) and every later one fail;
 * 0 = none.  Counts calls of all threads. */
void array_fail_at(long k);

#endif /* BASE_ALLOC_H */
