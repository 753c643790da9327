#ifndef SERVER_PAYLOAD_H
#define SERVER_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "server/path.h"

/*
 * What a payload becomes: Qdrant's four changes of it.
 *
 *     set        members of an object take the place of those of the payload, or of the
 *                object that a key leads to; a member that is null takes its away
 *     overwrite  an object takes the place of the payload
 *     delete     what keys lead to goes
 *     clear      nothing is left
 *
 * Where a key of `set` leads nowhere, objects are made on its way; what stands there
 * and is no object makes room, as does what is no array before a[].  a[] reaches the
 * elements that there are, a[0] the first if there is one.  To delete a[] empties the
 * array; a[0] alone deletes nothing, because a second time it would delete another.
 * Values are kept as they are written; the members of `set` come last, in the order of
 * their keys.
 *
 * Done twice, a change does what it does once.  It never changes itself; any thread.
 */
#define PAYLOAD_KEYS_MAX 64 /* to delete at once */

struct payload_change;

/* `members` is an object of a text that passed json_check and lives as long as the
 * change; `key` is copied, NULL: none.  NULL: ERR_MEMORY. */
struct payload_change *payload_set(
    const struct json *members, const struct path *key, struct error *err);
struct payload_change *payload_overwrite(const struct json *payload, struct error *err);

/* `keys`: an array of strings, not needed afterwards.  NULL: ERR_INPUT, ERR_TOO_LARGE,
 * ERR_MEMORY. */
struct payload_change *payload_delete(const struct json *keys, struct error *err);
struct payload_change *payload_clear(struct error *err);

void payload_change_free(struct payload_change *change); /* NULL is fine */

/* Bytes of JSON that it holds. */
size_t payload_change_bytes(const struct payload_change *change);

/* Whether what becomes of n bytes of payload may be refused: only `set` adds to what is
 * there. */
bool payload_may_refuse(
    const struct payload_change *change, size_t n, size_t bytes_max);

/* after := what becomes of n bytes of payload, a JSON object that passed json_check, or
 * nothing with n 0; n 0 of `after` is nothing again.  ERR_TOO_LARGE (over bytes_max),
 * ERR_INPUT (nested too deep), ERR_MEMORY. */
int payload_apply(struct text *after, const struct payload_change *change,
    const char *payload, size_t n, size_t bytes_max, struct error *err);

#endif /* SERVER_PAYLOAD_H */
