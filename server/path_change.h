#ifndef SERVER_PATH_CHANGE_H
#define SERVER_PATH_CHANGE_H

#include "base/text.h"
#include "server/path.h"

/*
 * Payloads with something changed, as text: what is not changed keeps its spelling, so
 * no number loses a digit.  JSON in and out passed json_check; texts are appended to,
 * and say themselves when memory is short.
 */

/* Append `object`, with the members of `values` (an object) in the place of its own of
 * these names, or behind them. */
void path_merge(struct text *out, const struct json *object, const struct json *values);

/* The same of the object that a path leads to: one that is missing, or is no object, is
 * made on the way; where a path goes through arrays, of the elements that are there. */
void path_merge_at(struct text *out, const struct json *object, const struct path *path,
    const struct json *values);

/* Append `object` without what the path leads to. */
void path_remove(struct text *out, const struct json *object, const struct path *path);

#endif /* SERVER_PATH_CHANGE_H */
