#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * FNV-1a of 64 bits: the same for the same bytes on every machine and for ever, because
 * ids are made of it.  It guards against mistakes, not malice.  (Fowler, Noll & Vo; RFC
 * 9923.)
 */
#define HASH_START UINT64_C(0xCBF29CE484222325)

/* h, which HASH_START begins, with n bytes more. */
static inline uint64_t
hash_bytes(uint64_t h, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001B3);
	return h;
}

#endif /* BASE_HASH_H */
