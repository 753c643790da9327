#ifndef TESTS_SUPPORT_TRACED_H
#define TESTS_SUPPORT_TRACED_H

#include <stddef.h>
#include <stdint.h>

#include "attention/transformer.h"

/*
 * An encoder whose hash codes can be seen and given: what holds the engine to the
 * reference in attention/training.  One thread at a time.
 */
struct encoder;

struct traced {
	struct encoder *encoder;
	const struct transformer *model; /* the encoder's; valid until traced_close */
	struct transformer_scratch *scratch;

	/* Of the last pass, [layer][0: queries, 1: keys]: (pieces, heads), or NULL
	 * where there are none (softmax; shared keys).  `given` are the caller's. */
	uint32_t *codes[TRANSFORMER_LAYERS_MAX][2];
	uint32_t *given[TRANSFORMER_LAYERS_MAX][2];
};

/* Open the model in folder `dir`, which must have layers.  0, or -1 with *err; either
 * way traced_close frees what there is. */
int traced_open(struct traced *traced, const char *dir, struct error *err);
void traced_close(struct traced *traced);

/* transformer_run with the codes kept in `codes`, and those in `given` used instead
 * where `inject` says so. */
void traced_run(struct traced *traced, const struct transformer_batch *batch,
    float *const *vectors, bool *ok, bool inject);

#endif /* TESTS_SUPPORT_TRACED_H */
