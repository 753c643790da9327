#ifndef SERVER_API_EMBED_H
#define SERVER_API_EMBED_H

#include <stdbool.h>
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

/* What became of a text. */
struct api_embedding {
	float *vector;  /* (dims), the caller's */
	size_t tokens;  /* that counted */
	bool truncated; /* the text has more tokens than the model takes */
};

/* Fill embedding->vector's memory, tokens and truncated from the text, a JSON string.
 * ERR_INPUT (empty, no string), ERR_TOO_LARGE (max_text_bytes), ERR_MEMORY. */
int api_embedder_run(const struct api_embedder *embedder,
    struct api_embedding *embedding, const struct json *text, struct error *err);

/* Append `,"truncated":n`, for an answer's top level, where n > 0. */
void api_embed_truncated(struct text *out, size_t n);

#endif /* SERVER_API_EMBED_H */
