#ifndef SERVER_COLLECTION_INTERNAL_H
#define SERVER_COLLECTION_INTERNAL_H

#include <cjson/cJSON.h>
#include <stdatomic.h>

#include "binarize/recurrent.h"
#include "server/collection.h"

/* What the files of server/collection share. */

#define COLLECTION_BINARIZER_BYTES_MAX (256 * 1024 * 1024)

/* What the stored settings say of a version. */
struct collection_stored_version {
	struct collection_version version; /* without models; of codes the number */
	char binarizer_id[RECURRENT_ID_BYTES];
	uint64_t seed; /* of COLLECTION_UNTRAINED */
};

/* All of them, oldest first; the last is what the settings themselves say. */
struct collection_stored {
	struct collection_stored_version versions[STORE_PARTS_MAX];
	size_t n;
};

/* Counted: a collection and those that followed it share what makes their codes. */
struct collection_binarizer {
	struct recurrent *model;
	void *bytes; /* of its file, kept in the data directory; NULL if untrained */
	size_t n;
	atomic_size_t n_owners;
};

/* Counted: a collection and those that have the same payload indexes share them. */
struct collection_fields {
	struct db_field fields[COLLECTION_FIELDS_MAX];
	struct path *paths[COLLECTION_FIELDS_MAX]; /* of the fields */
	size_t n;
	uint32_t next; /* the number of the next one, from 1 */
	atomic_size_t n_owners;
};

/* None yet; one owner. */
struct collection_fields *collection_fields_new(struct error *err);
struct collection_fields *collection_fields_retain(struct collection_fields *fields);
void collection_fields_release(struct collection_fields *fields); /* NULL is fine */
struct collection_fields *collection_fields_of(const struct collection *c);

/* Members "fields" and "next_field" of the settings, where there ever were any; false:
 * no memory.  Reading: `fields` have none yet; ERR_FORMAT, ERR_MEMORY. */
bool collection_fields_print(cJSON *object, const struct collection_fields *fields);
int collection_fields_read(
    struct collection_fields *fields, const char *text, size_t n, struct error *err);

/* A collection of these settings, with nothing left open, and the binarizer at `path`,
 * untrained where that is NULL; and `before` with such a version more. */
struct collection *collection_make(
    const struct collection_settings *settings, const char *path, struct error *err);
struct collection *collection_make_next(const struct collection *before,
    const struct collection_settings *settings, const char *path, struct error *err);

/* `before` with other payload indexes, whose reference it takes, also on failure. */
struct collection *collection_make_like(const struct collection *before,
    struct collection_fields *fields, struct error *err);

/* The model by which vectors of the newest version search the codes of `v`; NULL:
 * ERR_INPUT, they cannot. */
const struct recurrent *collection_reach(const struct collection_settings *s,
    const struct collection_version *newest, const struct collection_version *v,
    struct error *err);

/* The JSON that is kept in the data directory; cJSON_free() it.  ERR_MEMORY. */
char *collection_settings_print(const struct collection *c, struct error *err);

/* *s and *stored := what the n bytes at `text` say; s->id stays 0.  ERR_FORMAT. */
int collection_settings_read(struct collection_settings *s,
    struct collection_stored *stored, const char *text, size_t n, struct error *err);

/* text (cap) := the string, *number := the number of at most `max`, that an object of
 * stored settings has under key; false: it has none. */
bool collection_get_text(
    char *text, size_t cap, const struct json *object, const char *key);
bool collection_get_u64(
    uint64_t *number, const struct json *object, const char *key, uint64_t max);

/* From s->mean if it has one, else from the file at `path`, or untrained where that is
 * NULL; or from what the data directory has, whose id must be the stored one.  One
 * owner; NULL: *err. */
struct collection_binarizer *collection_binarizer_new(
    const struct collection_settings *s, const char *path, struct error *err);
struct collection_binarizer *collection_binarizer_load(
    const struct collection_stored_version *stored, uint32_t collection,
    struct db_txn *txn, struct error *err);
/* Append the bytes of its file, also where it came from none. */
void collection_binarizer_file(struct text *file, const struct collection_binarizer *b);

struct collection_binarizer *collection_binarizer_retain(
    struct collection_binarizer *b);
void collection_binarizer_release(struct collection_binarizer *b); /* NULL is fine */

#endif /* SERVER_COLLECTION_INTERNAL_H */
