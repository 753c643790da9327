#include "server/api_chunk.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "server/api_vector.h"

void
api_chunks_free(struct api_chunks *chunks)
{
	free(chunks->cut);
	free(chunks->passages);
	free(chunks->codes);
	free(chunks->wires);
	*chunks = (struct api_chunks){.n = 0};
}

/* Room for n more passages, which a request may have. */
static int
grow(struct api_chunks *chunks, size_t n, size_t max, struct error *err)
{
	if (n > max || chunks->n > max - n)
		return error_set(err, ERR_TOO_LARGE,
		    "text: expected at most %zu passages in a request "
		    "(max_points_per_request), not %zu; send fewer points",
		    max, chunks->n + n);
	if (chunks->n + n <= chunks->n_cap)
		return 0;
	size_t cap = 2 * chunks->n_cap + n;
	struct db_passage *passages =
	    array_resize(chunks->passages, cap, sizeof *passages);
	if (!passages)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu passages", chunks->n + n);
	chunks->passages = passages;
	chunks->n_cap = cap;
	return 0;
}

/* Each passage of the text joins the texts. */
static int
add_passages(struct api_chunks *chunks, struct api_texts *texts,
    const struct passages *cut, const char *utf8, struct error *err)
{
	if (grow(chunks, cut->n, texts->api->config->max_points_per_request, err))
		return -1;
	for (size_t i = 0; i < cut->n; i++) {
		struct passage p = cut->items[i];
		if (api_texts_put(
			texts, ENCODER_DOCUMENT, utf8 + p.start, p.end - p.start, err))
			return -1;
		chunks->passages[chunks->n++] =
		    (struct db_passage){(uint32_t)p.start, (uint32_t)p.end};
	}
	return 0;
}

int
api_chunks_add(struct api_chunks *chunks, struct api_texts *texts,
    const struct json *text, struct error *err)
{
	const struct config *config = texts->api->config;
	size_t max = config->max_passages, n;

	if (!chunks->cut && !(chunks->cut = array_new(max, sizeof *chunks->cut)))
		return error_set(err, ERR_MEMORY, "no memory for %zu passages", max);
	struct passages cut = {.items = chunks->cut, .cap = max};
	/* The passages' limit is the text's. */
	char *utf8 = api_texts_utf8(&n, text, config->max_body_bytes, err);
	if (!utf8)
		return -1;
	int rc =
	    passages_cut(texts->model->encoder, &cut, ENCODER_DOCUMENT, utf8, n, err);
	if (rc && err->code == ERR_TOO_LARGE)
		error_set(err, ERR_TOO_LARGE,
		    "text: expected at most %zu passages (max_passages), not more; "
		    "make several points of it",
		    max);
	else if (rc)
		error_prefix(err, "text");
	else
		rc = add_passages(chunks, texts, &cut, utf8, err);
	free(utf8);
	return rc;
}

size_t
api_chunks_bytes(
    const struct api_chunks *chunks, size_t wire_bytes, const struct config *config)
{
	size_t n_cut = chunks->cut ? config->max_passages : 0;

	return n_cut * sizeof *chunks->cut + chunks->n_cap * sizeof *chunks->passages +
	       chunks->n * (sizeof *chunks->codes + wire_bytes);
}

int
api_chunks_room(struct api_chunks *chunks, size_t wire_bytes, struct error *err)
{
	chunks->codes = array_new(chunks->n, sizeof *chunks->codes);
	chunks->wires = array_new(chunks->n, wire_bytes);
	if (!chunks->codes || !chunks->wires)
		return error_set(
		    err, ERR_MEMORY, "no memory for %zu passages", chunks->n);
	for (size_t i = 0; i < chunks->n; i++)
		chunks->codes[i].wire = chunks->wires + i * wire_bytes;
	return 0;
}

int
api_chunks_code(struct api_chunks *chunks, struct writer_point *point,
    struct api_coder *coder, size_t first, struct error *err)
{
	struct db_passage *passages = chunks->passages + chunks->n_coded;
	struct db_code *codes = chunks->codes + chunks->n_coded;
	size_t wire_bytes = code_bytes(collection_settings(coder->collection)->shape);
	uint8_t *wires = chunks->wires + chunks->n_coded * wire_bytes;
	size_t n = 0;

	for (size_t i = 0; i < point->n_passages; i++) {
		struct api_code code = {.wire = wires + n * wire_bytes};
		if (api_coder_embedded(coder, &code, first + i, err)) {
			if (err->code != ERR_INPUT)
				return -1;
			continue;
		}
		passages[n] = passages[i];
		codes[n].factor = code.factor;
		codes[n++].norm2 = code.norm2;
	}
	if (n == 0)
		return -1;
	chunks->n_coded += point->n_passages;
	point->n_passages = n;
	point->codes = codes;
	point->passages = passages;
	return 0;
}
