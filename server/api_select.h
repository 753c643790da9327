#ifndef SERVER_API_SELECT_H
#define SERVER_API_SELECT_H

#include <stdbool.h>

#include "base/json.h"
#include "server/api.h"
#include "server/api_vector.h"

/* For api_fits. */
#define API_SELECT_LESS "fewer points, or without vectors and payloads"

/*
 * Which parts of a point an answer has, and writing them.
 *
 * with_payload: true, false, ["key", ...], {"include": [...]} or {"exclude": [...]};
 * with_vector: true, false, ["name"].  Keys are those of the payload's top level.
 */
struct api_select {
	bool payload;
	bool vector;
	bool has_keys;
	bool exclude;     /* the keys are those to leave out */
	struct json keys; /* of the request's body */
	bool has_names;
	struct json names; /* of vectors, likewise */
};

/* Read both from a request; what it leaves out stays as *select has it.
 * ERR_INPUT. */
int api_select_read(
    struct api_select *select, const struct json *root, struct error *err);

/* Whether with_vector names no other vector than the collection's.  ERR_INPUT. */
int api_select_check(const struct api_select *select,
    const struct collection *collection, struct error *err);

/* Append `,"payload":...` as selected.  ERR_MEMORY; ERR_FORMAT: a stored payload is no
 * JSON. */
int api_select_payload(struct text *out, const struct api_select *select,
    const struct db_record *record, struct error *err);

/* Append {"id", "payload", "vector"} of the point whose first row this is, as selected,
 * but for the closing brace; the coder's collection and the transaction are of one
 * moment (api_collection_now). */
int api_select_point(struct text *out, const struct api_select *select,
    struct api_coder *coder, struct db_txn *txn, uint32_t slot,
    const struct db_record *record, struct error *err);

/* Append `,"vector":...` of a code, if selected: what the code says it was. */
void api_select_vector(struct text *out, const struct api_select *select,
    struct api_coder *coder, const struct api_row *row);

#endif /* SERVER_API_SELECT_H */
