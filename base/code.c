#include "base/code.h"

#include <string.h>

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
			const uint8_t *c = levels + 8 * b;
			unsigned byte = 0;
			for (unsigned i = 0; i < 8; i++)
				byte = byte << 1 | (c[i] >> shift & 1u);
			wire[p * plane_bytes + b] = (uint8_t)byte;
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
