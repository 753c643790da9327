#ifndef CLIENT_TRAIN_COMPATIBLE_H
#define CLIENT_TRAIN_COMPATIBLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/recurrent.h"
#include "client/train_sample.h"

/*
 * What halftone train --compatible-with does beside training: it has the new model
 * search the codes of an older one (binarize/compatible.h), and says how well.
 */
struct train_compatible_options {
	const char *model;       /* a file, or "untrained"; NULL: no older one */
	const char *vectors;     /* by the old encoder; NULL: the encoder is the same */
	struct code_shape shape; /* 0: not named */
};

/* OPTIONS_OK, or what options_usage returns. */
int train_compatible_check(const struct train_compatible_options *options);

struct train_compatible;

/* The older model and, of another encoder, the old vectors of the rows in `sample`,
 * which is borrowed and was loaded with this seed.  NULL: ERR_FORMAT for other dims or
 * another number of rows; as recurrent_open and train_sample_load. */
struct train_compatible *train_compatible_new(
    const struct train_compatible_options *options, const struct train_sample *sample,
    uint64_t seed, struct error *err);
void train_compatible_free(struct train_compatible *old);

/* How the sample is parted: rows to learn from, documents, and the rest are queries. */
struct train_compatible_parts {
	size_t n;
	size_t n_documents;
	const struct blas *blas;
	uint64_t seed;
};

/* Have `model` know the older one, and print a line of what that is worth on documents
 * and queries.  Errors as compatible_add, eval_search. */
int train_compatible_add(struct recurrent *model, const struct train_compatible *old,
    const struct train_compatible_parts *parts, struct error *err);

#endif /* CLIENT_TRAIN_COMPATIBLE_H */
