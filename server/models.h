#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include <stddef.h>

#include "base/error.h"
#include "binarize/choice.h"

struct encoder;

/*
 * The models directory: every subdirectory is a model of that name.  One with
 * config.json is a text encoder (attention/encoder.h); it may have binarizers
 * (binarize/choice.h), or be nothing but these.  Read once at start; any thread may
 * look up.
 */
#define MODELS_NAME_MAX 255

struct model {
	const char *name;
	const struct encoder *encoder; /* NULL if it is none */
	struct choice binarizers;
};

struct models;

/* Open every model in `dir`; NULL: no models.  ERR_NOT_FOUND where there is no such
 * directory.  A model that cannot be opened stops it: the error names the model. */
struct models *models_open(const char *dir, struct error *err);
void models_close(struct models *models); /* NULL is fine */

/* The model called `name`; NULL and ERR_NOT_FOUND with the names that there are. */
const struct model *models_find(
    const struct models *models, const char *name, struct error *err);

/* All models by name. */
size_t models_count(const struct models *models);
const struct model *models_at(const struct models *models, size_t i);

#endif /* SERVER_MODELS_H */
