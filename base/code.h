#ifndef BASE_CODE_H
#define BASE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

/*
 * A code: `dims` dimensions of `bits` bits each, the form in which every
 * embedding is kept.
 *
 * Recurrent binarization gives `bits` sign planes, s = +1 where x >= 0 and -1
 * elsewhere; plane 0 is the base code and plane p counts 2^-p:
 *
 *     v_i = sum_p 2^-p s_{p,i}
 *
 * As an integer a dimension has a *level* c_i in 0 .. 2^bits - 1 whose most
 * significant bit is plane 0:  v_i = (2 c_i - (2^bits - 1)) / 2^(bits-1).
 * The first b planes of a code are a b-bit code: levels >> (bits - b).
 *
 * Wire form (API, LMDB, base64): the planes one after the other, plane 0
 * first, each dims / 8 bytes; dimension i is bit 7 - i % 8 of byte i / 8 of its
 * plane (as numpy.packbits has it).  dims is a multiple of 64, so there is no
 * padding.  `index/store.h` owns the other form, the one that is scanned.
 *
 * A binarizer may have *centres*, vectors that are not bits of a code: then a code says
 * how far its vector lies from one of them, and 4 bytes behind the planes, its *place*,
 * say which and how much of it there is (binarize/recurrent.h): the centre's number and
 * the share, a half-precision number >= 0 (IEEE 754 binary16), each 2 bytes,
 * little-endian.
 *
 * Source: Gan et al., "Binary Embedding-based Retrieval at Tencent", KDD 2023,
 * arXiv:2302.08714, eq. for b_u; the integer form is derived from it.
 *
 * Nothing here allocates; any thread may call.
 */
#define CODE_DIMS_STEP 64
#define CODE_DIMS_MAX 4096
#define CODE_BITS_MAX 4
#define CODE_CENTRES_MAX 1024
#define CODE_PLACE_BYTES 4
#define CODE_SHARE_MAX 65504.0f
#define CODE_BYTES_MAX (CODE_DIMS_MAX / 8 * CODE_BITS_MAX + CODE_PLACE_BYTES)

struct code_shape {
	uint32_t dims;    /* 64, 128, ... CODE_DIMS_MAX */
	uint32_t bits;    /* 1 .. CODE_BITS_MAX */
	uint32_t centres; /* of the binarizer, 0 .. CODE_CENTRES_MAX; 0: no places */
};

/* 0 if the shape is one that this program handles; ERR_INPUT otherwise. */
int code_shape_check(struct code_shape shape, struct error *err);

static inline bool
code_shape_equal(struct code_shape a, struct code_shape b)
{
	return a.dims == b.dims && a.bits == b.bits && a.centres == b.centres;
}

/* Bytes of the wire form. */
static inline size_t
code_bytes(struct code_shape shape)
{
	return (size_t)shape.dims / 8 * shape.bits +
	       (shape.centres > 0 ? CODE_PLACE_BYTES : 0);
}

struct code_place {
	uint16_t centre; /* < centres */
	uint16_t share;  /* binary16, its sign 0, finite */
};

static inline float
code_share_value(uint16_t share)
{
	uint32_t bits = (uint32_t)share << 13;
	float small;

	memcpy(&small, &bits, sizeof small);
	return small * 0x1p112f;
}

/* The share nearest to the value, which is cut to 0 .. CODE_SHARE_MAX (NaN: 0). */
uint16_t code_share(float value);

/* The place in a wire code of a shape with centres, which may name none of them. */
struct code_place code_place(const uint8_t *wire, struct code_shape shape);

/* Write it behind the planes. */
void code_place_put(uint8_t *wire, struct code_place place, struct code_shape shape);

/* 0 if the code's place, where the shape has any, names one of the centres and a finite
 * share >= 0; ERR_INPUT otherwise.  Planes are right whatever they say. */
int code_check(const uint8_t *wire, struct code_shape shape, struct error *err);

/* The planes of wire := those of levels (dims), each < 2^bits. */
void code_from_levels(uint8_t *wire, const uint8_t *levels, struct code_shape shape);

/* levels (dims) := what the planes of wire say. */
void code_to_levels(uint8_t *levels, const uint8_t *wire, struct code_shape shape);

/* v_i of one level. */
static inline float
code_value(uint8_t level, uint32_t bits)
{
	int top = (1 << bits) - 1;
	return (float)(2 * level - top) / (float)(1 << (bits - 1));
}

#endif /* BASE_CODE_H */
