#ifndef SERVER_API_EMBED_H
#define SERVER_API_EMBED_H

#include <stddef.h>

#include "base/json.h"
#include "server/api.h"

/* One worker with one text model. */
struct api_embedder {
	const struct encoder *encoder;
	struct encoder_scratch *scratch;
	size_t dims;
	size_t text_max_bytes;
};

/* *embedder := the text model called `name`, for this worker.  ERR_NOT_FOUND names
 * those there are; ERR_INPUT for a model that embeds no text. */
int api_embedder_find(struct api_embedder *embedder, const struct api *api,
    unsigned worker, const char *name, struct error *err);

/* vector (dims), *tokens := the text, a JSON string.  ERR_INPUT (empty, no string),
 * ERR_TOO_LARGE (max_text_bytes), ERR_MEMORY. */
int api_embedder_run(const struct api_embedder *embedder, float *vector, size_t *tokens,
    const struct json *text, struct error *err);

#endif /* SERVER_API_EMBED_H */
