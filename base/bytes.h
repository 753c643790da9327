#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

/* Numbers in byte strings: little-endian for files and values, big-endian for
 * LMDB keys (so that their order is the numbers' order).  Unaligned is fine. */

static inline uint64_t
bytes_swap64(uint64_t v, int little)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return little ? v : __builtin_bswap64(v);
#else
	return little ? __builtin_bswap64(v) : v;
#endif
}

static inline uint32_t
bytes_swap32(uint32_t v, int little)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return little ? v : __builtin_bswap32(v);
#else
	return little ? __builtin_bswap32(v) : v;
#endif
}

static inline uint32_t
bytes_get32le(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return bytes_swap32(v, 1);
}

static inline uint64_t
bytes_get64le(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return bytes_swap64(v, 1);
}

static inline uint32_t
bytes_get32be(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return bytes_swap32(v, 0);
}

static inline uint64_t
bytes_get64be(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return bytes_swap64(v, 0);
}

static inline void
bytes_put32le(void *p, uint32_t v)
{
	v = bytes_swap32(v, 1);
	memcpy(p, &v, sizeof v);
}

static inline void
bytes_put64le(void *p, uint64_t v)
{
	v = bytes_swap64(v, 1);
	memcpy(p, &v, sizeof v);
}

static inline void
bytes_put32be(void *p, uint32_t v)
{
	v = bytes_swap32(v, 0);
	memcpy(p, &v, sizeof v);
}

static inline void
bytes_put64be(void *p, uint64_t v)
{
	v = bytes_swap64(v, 0);
	memcpy(p, &v, sizeof v);
}

/* A float travels as its 32 bits. */
static inline float
bytes_getfle(const void *p)
{
	uint32_t v = bytes_get32le(p);
	float f;
	memcpy(&f, &v, sizeof f);
	return f;
}

static inline void
bytes_putfle(void *p, float f)
{
	uint32_t v;
	memcpy(&v, &f, sizeof v);
	bytes_put32le(p, v);
}

/* A half-precision number (IEEE 754 binary16), which is a float exactly. */
static inline float
bytes_gethle(const void *p)
{
	const uint8_t *byte = p;
	uint32_t half = (uint32_t)byte[0] | (uint32_t)byte[1] << 8;
	uint32_t bits = (half & 0x7fff) << 13;
	float f;
	if (bits < 0x0f800000) { /* subnormal ones too: scaling makes them right */
		memcpy(&f, &bits, sizeof f);
		f *= 0x1p112f;
	} else { /* an infinity or no number: so is the float */
		bits |= 0x7f800000;
		memcpy(&f, &bits, sizeof f);
	}
	return half & 0x8000 ? -f : f;
}

#endif /* BASE_BYTES_H */
