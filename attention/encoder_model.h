#ifndef ATTENTION_ENCODER_MODEL_H
#define ATTENTION_ENCODER_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "attention/encoder.h"
#include "attention/wordpiece.h"
#include "base/tensors.h"

/* What an encoder is made of: encoder_file.c fills it, encoder.c uses it. */
struct encoder {
	size_t dims;       /* D */
	size_t pieces_max; /* N */
	char coordinates[ENCODER_COORDINATES_MAX + 1];
	struct wordpiece *wordpiece;
	struct tensors *tensors; /* owns the two arrays below */
	const int8_t *weight;    /* (V, D) */
	const float *scale;      /* (V) finite, 0 .. ENCODER_SCALE_MAX */
};

struct encoder_scratch {
	uint32_t *ids; /* (pieces_max): of encoder_embed */
	float *sum;    /* (dims) */
};

#endif /* ATTENTION_ENCODER_MODEL_H */
