#include "base/code.h"

#include <string.h>

#include "base/bytes.h"

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
	return 0;
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
