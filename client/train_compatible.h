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

/* How the sample is parted: rows to learn from, documents, and the rest are queries. */
struct train_compatible_parts {
	size_t n;
	size_t n_documents;
	const struct blas *blas;
	uint64_t seed; /* that the sample was loaded with */
};

/* Before any training, what the new model has to know: the older one, and of another
 * encoder the old vectors of the rows in `sample`, are read, and a line is printed of
 * what its codes are worth on documents and queries, which are measured then.  NULL:
 * ERR_FORMAT for other dims or another number of rows, ERR_INPUT for one that knows as
 * many already as a model can; as recurrent_open, train_sample_load, compatible_new and
 * eval_search. */
struct recurrent *train_compatible_find(const struct train_compatible_options *options,
    const struct train_sample *sample, const struct train_compatible_parts *parts,
    struct error *err);

#endif /* CLIENT_TRAIN_COMPATIBLE_H */
