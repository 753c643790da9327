#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "binarize/recurrent_model.h"

static uint64_t
hash_u64(uint64_t h, uint64_t number)
{
	uint8_t bytes[8];

	bytes_put64le(bytes, number);
	return hash_bytes(h, bytes, sizeof bytes);
}

void
recurrent_id_set(struct recurrent *model, const void *bytes, size_t n)
{
	const struct recurrent_info *info = &model->info;
	uint64_t h = HASH_START;

	h = hash_u64(h, info->kind == RECURRENT_ROTATION ? 0 : 1);
	h = hash_u64(h, info->seed);
	h = hash_u64(h, info->input_dims);
	h = hash_u64(h, info->shape.dims);
	h = hash_u64(h, info->shape.bits);
	for (uint32_t i = 0; i < info->input_dims; i++) {
		uint8_t number[4];
		bytes_putfle(number, info->mean[i]);
		h = hash_bytes(h, number, sizeof number);
	}
	if (info->kind != RECURRENT_ROTATION)
		h = hash_bytes(h, bytes, n);
	snprintf(model->id, sizeof model->id, "%016" PRIx64, h);
}

const char *
recurrent_id(const struct recurrent *model)
{
	return model->id;
}
