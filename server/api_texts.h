#ifndef SERVER_API_TEXTS_H
#define SERVER_API_TEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "server/api.h"
#include "server/embedding.h"

/*
 * The texts of one request on their way to vectors: collected as pieces while the
 * request is read, embedded together with the texts of other requests, then taken one
 * by one.  All are of one model: vectors of two would not compare.
 *
 * Part of a request's state: owner only, and where it is while it is embedded.
 */
struct api_texts {
	struct api *api;
	const struct model *model;   /* NULL until a text has named it */
	struct embedding *embedding; /* its line */
	struct encoder_item *items;  /* (n) */
	uint32_t *ids;               /* of all texts, one after the other */
	float *vectors;              /* (n, dims) from api_texts_embed on */
	size_t n, n_cap;
	size_t n_ids, ids_cap;
	size_t n_truncated; /* texts that were longer than the model takes */
	size_t n_unknown;   /* texts of which the model knows too little */
	size_t beside;      /* bytes that the request holds besides, for its texts */
	size_t held;        /* bytes counted in api->texts_bytes */
	struct embedding_job job;
	struct http_request *request; /* goes on in `next` when they are embedded */
	void (*next)(struct pool_task *task, unsigned worker);
};

/* No texts yet; free in any case, which gives back what they count. */
void api_texts_init(struct api_texts *texts, struct api *api);
void api_texts_free(struct api_texts *texts);

/* The texts to come are for the model called `name`.  ERR_NOT_FOUND names those there
 * are; ERR_INPUT for a model that embeds no text, or that differs from the first
 * text's. */
int api_texts_model(struct api_texts *texts, const char *name, struct error *err);

/* Take the text, a JSON string, as number texts->n.  ERR_INPUT (empty, no string),
 * ERR_TOO_LARGE (max_text_bytes), ERR_MEMORY. */
int api_texts_add(struct api_texts *texts, enum encoder_role role,
    const struct json *text, struct error *err);

/* Its two halves.  The bytes of a JSON string, *n of them, at least 1 and at most max:
 * free() them; NULL: ERR_INPUT, ERR_TOO_LARGE, ERR_MEMORY.  And taking n bytes as
 * number texts->n. */
char *api_texts_utf8(size_t *n, const struct json *text, size_t max, struct error *err);
int api_texts_put(struct api_texts *texts, enum encoder_role role, const char *utf8,
    size_t n, struct error *err);

/* Embed the texts (at least one), then go on with the request in `next`, on a worker.
 * The texts are part of request->state.  Until they are freed they count against
 * max_texts_bytes, with texts->beside: ERR_BUSY where other requests leave no room,
 * ERR_TOO_LARGE where these alone are more.  ERR_MEMORY. */
int api_texts_embed(struct api_texts *texts, struct http_request *request,
    void (*next)(struct pool_task *task, unsigned worker), struct error *err);

/* The vector of text i (dims of the model); NULL: ERR_INPUT, the text has no
 * meaning. */
const float *api_texts_vector(
    const struct api_texts *texts, size_t i, struct error *err);

/* Count what is to be said of `more` with sum, which has no texts of its own and was
 * {0} or api_texts_init'ed. */
void api_texts_count(struct api_texts *sum, const struct api_texts *more);

/* Append what is to be said of the texts, for an answer's top level: `,"truncated":n`
 * and `,"warnings":[...]`, each where there is something; and count it. */
void api_texts_notes(struct text *out, const struct api_texts *texts);

#endif /* SERVER_API_TEXTS_H */
