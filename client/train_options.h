#ifndef CLIENT_TRAIN_OPTIONS_H
#define CLIENT_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/code.h"
#include "client/train_compatible.h"

/* What the command line of `halftone train` says.  Main thread only. */
enum train_kind {
	TRAIN_REFINED,
	TRAIN_RECURRENT,
	TRAIN_HASH,
};

#define TRAIN_POPULATION_MAX 16
#define TRAIN_ROUNDS 10 /* by gradients; in each a model learns and is checked */
#define TRAIN_CENTRES_AUTO UINT32_MAX

struct train_options {
	const char *vectors;
	const char *output;
	const char *pairs;       /* NULL: none */
	const char *queries;     /* NULL: pairs are of rows of `vectors` */
	struct code_shape shape; /* dims 0: not named */
	uint32_t seed;
	uint32_t rows;       /* the most to learn from */
	uint32_t kind;       /* enum train_kind */
	uint32_t checkpoint; /* seconds between checkpoints, at least */
	uint32_t centres;    /* of refined codes; TRAIN_CENTRES_AUTO: as rows allow */
	struct train_compatible_options old;

	/* Learning by gradients. */
	uint32_t estimator; /* enum estimator_kind */
	uint32_t layers;    /* of a block; 0: 1 of the recurrent model, 2 of the hash */
	uint32_t hidden;    /* 0: as few as can begin at the untrained quantiser */
	uint32_t steps;     /* of all models together */
	uint32_t population;
	float rate, temperature;
	float reconstruction, ranking, codes, floats; /* the losses' weights */
};

/* Fill *options.  *done: there is nothing to do but return the exit code. */
int train_options_parse(
    struct train_options *options, int argc, char **argv, bool *done);

/* Of a block, as named or by the method. */
uint32_t train_options_layers(const struct train_options *options);

/* text (cap) := all that a result depends on but for the vectors. */
void train_options_settings(
    const struct train_options *options, char *text, size_t cap);

#endif /* CLIENT_TRAIN_OPTIONS_H */
