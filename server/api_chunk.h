#ifndef SERVER_API_CHUNK_H
#define SERVER_API_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "attention/passages.h"
#include "base/json.h"
#include "server/api_texts.h"
#include "server/writer.h"

struct api_coder;

/*
 * The texts of one request that come with "chunk": true: each is cut into passages
 * (attention/passages.h), which are embedded as texts of their own and become the rows
 * of its point.  Part of a request's state, owner only.
 */
struct api_chunks {
	struct passage *cut;         /* (max_passages): of one text */
	struct db_passage *passages; /* (n): of all texts, one after the other */
	size_t n, n_cap;
	struct db_code *codes; /* (n), from api_chunks_room on */
	uint8_t *wires;        /* (n, code_bytes) */
	size_t n_coded;
};

/* Cut a text, a JSON string; its passages are the next of chunks->passages and the last
 * of `texts`.  ERR_INPUT (empty, no string), ERR_TOO_LARGE (max_passages, or
 * max_points_per_request of all), ERR_MEMORY. */
int api_chunks_add(struct api_chunks *chunks, struct api_texts *texts,
    const struct json *text, struct error *err);

/* Bytes that the chunks hold, with their codes to come. */
size_t api_chunks_bytes(
    const struct api_chunks *chunks, size_t wire_bytes, const struct config *config);

/* Room for the codes of all passages.  ERR_MEMORY. */
int api_chunks_room(struct api_chunks *chunks, size_t wire_bytes, struct error *err);

/* Code the next point->n_passages passages, which are embedded texts `first` and so on,
 * and give them to the point.  Passages without a meaning are left out; ERR_INPUT if
 * none has one. */
int api_chunks_code(struct api_chunks *chunks, struct writer_point *point,
    struct api_coder *coder, size_t first, struct error *err);

void api_chunks_free(struct api_chunks *chunks);

#endif /* SERVER_API_CHUNK_H */
