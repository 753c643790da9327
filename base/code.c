#include "base/code.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

#define SHARE_INFINITY 0x7C00 /* and, above it, NaN and what is negative */

int
code_shape_check(struct code_shape shape, struct error *err)
{
	if (shape.dims == 0 || shape.dims > CODE_DIMS_MAX ||
	    shape.dims % CODE_DIMS_STEP != 0)
		return error_set(err, ERR_INPUT,
		    "expected code dims as a multiple of %d from %d to %d, not %u",
		    CODE_DIMS_STEP, CODE_DIMS_STEP, CODE_DIMS_MAX, shape.dims);
	if (shape.bits == 0 || shape.bits > CODE_BITS_MAX)
		return error_set(err, ERR_INPUT,
		    "expected 1 to %d bits a dimension, not %u", CODE_BITS_MAX,
		    shape.bits);
	if (shape.centres > CODE_CENTRES_MAX)
		return error_set(err, ERR_INPUT, "expected at most %d centres, not %u",
		    CODE_CENTRES_MAX, shape.centres);
	return 0;
}

struct code_place
code_place(const uint8_t *wire, struct code_shape shape)
{
	uint32_t both = bytes_get32le(wire + code_bytes(shape) - CODE_PLACE_BYTES);

	assert(shape.centres > 0);
	return (struct code_place){(uint16_t)both, (uint16_t)(both >> 16)};
}

void
code_place_put(uint8_t *wire, struct code_place place, struct code_shape shape)
{
	assert(shape.centres > 0);
	bytes_put32le(wire + code_bytes(shape) - CODE_PLACE_BYTES,
	    (uint32_t)place.share << 16 | place.centre);
}

int
code_check(const uint8_t *wire, struct code_shape shape, struct error *err)
{
	if (shape.centres == 0)
		return 0;
	struct code_place place = code_place(wire, shape);
	if (place.centre >= shape.centres)
		return error_set(err, ERR_INPUT,
		    "expected a code at one of %u centres, not at number %u",
		    shape.centres, (unsigned)place.centre);
	if (place.share >= SHARE_INFINITY)
		return error_set(err, ERR_INPUT,
		    "expected a code with a finite share >= 0 of its centre, not "
		    "0x%04X",
		    (unsigned)place.share);
	return 0;
}

uint16_t
code_share(float value)
{
	if (!(value > 0.0f))
		return 0;
	if (value >= CODE_SHARE_MAX)
		return SHARE_INFINITY - 1;
	/* As 1.m 2^e with the last 13 bits of m rounded off, to even. */
	float small = value * 0x1p-112f;
	uint32_t bits;
	memcpy(&bits, &small, sizeof bits);
	return (uint16_t)((bits + 0xFFF + (bits >> 13 & 1)) >> 13);
}

void
code_from_levels(uint8_t *wire, const uint8_t *levels, struct code_shape shape)
{
	size_t plane_bytes = shape.dims / 8;

	for (uint32_t p = 0; p < shape.bits; p++) {
		unsigned shift = shape.bits - 1 - p;
		for (size_t b = 0; b < plane_bytes; b++) {
			uint64_t eight = bytes_get64le(levels + 8 * b) >> shift;
			eight &= 0x0101010101010101u;
			/* byte i, 0 or 1, goes to bit 63 - i and others below */
			wire[p * plane_bytes + b] =
			    (uint8_t)(eight * 0x8040201008040201u >> 56);
		}
	}
}

void
code_to_levels(uint8_t *levels, const uint8_t *wire, struct code_shape shape)
{
	size_t plane_bytes = shape.dims / 8;

	memset(levels, 0, shape.dims);
	for (uint32_t p = 0; p < shape.bits; p++) {
		for (size_t i = 0; i < shape.dims; i++) {
			unsigned byte = wire[p * plane_bytes + i / 8];
			unsigned bit = byte >> (7 - i % 8) & 1u;
			levels[i] = (uint8_t)((unsigned)levels[i] << 1 | bit);
		}
	}
}
