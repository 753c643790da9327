#ifndef SERVER_PATH_H
#define SERVER_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"

/*
 * A key of a payload: where in a JSON object a value stands, in Qdrant's form.
 *
 *     a        the member a            a.b     the member b of the object a
 *     a[]      every element of a      a[0]    the first one
 *     "a.b"    the member a.b: what stands in quotes is taken as it is
 *
 * Objects in an array are reached by a[].b alone; a.b finds nothing there.  Of a member
 * that an object has twice, the last counts.  A path never changes; any thread.
 */
#define PATH_BYTES_MAX 1024
#define PATH_PARTS_MAX JSON_DEPTH_MAX /* deeper there is nothing */

struct path;

/* ERR_INPUT: no path; ERR_MEMORY. */
struct path *path_new(const char *key, size_t n, struct error *err);

/* The same with [] behind it, unless that is there. */
struct path *path_new_each(const char *key, size_t n, struct error *err);

void path_free(struct path *path); /* NULL is fine */

/* The key as it was given, valid as long as the path. */
const char *path_key(const struct path *path);

/* Whether both lead to the same place, however that was written. */
bool path_equal(const struct path *a, const struct path *b);

/* Call on_value for each value that the path leads to (an array is one value, but for
 * []), until it returns true; returns whether it did. */
typedef bool path_on_value(void *arg, const struct json *value);
bool path_any(const struct path *path, const struct json *object,
    path_on_value *on_value, void *arg);

#endif /* SERVER_PATH_H */
