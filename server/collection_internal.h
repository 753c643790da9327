#ifndef SERVER_COLLECTION_INTERNAL_H
#define SERVER_COLLECTION_INTERNAL_H

#include "binarize/recurrent.h"
#include "server/collection.h"

/* What the files of server/collection share. */

#define COLLECTION_BINARIZER_BYTES_MAX (256 * 1024 * 1024)

/* What the stored settings say beside struct collection_settings. */
struct collection_stored {
	char binarizer_id[RECURRENT_ID_BYTES];
	uint64_t seed; /* of COLLECTION_UNTRAINED */
};

struct collection_binarizer {
	struct recurrent *model;
	void *bytes; /* of its file, kept in the data directory; NULL if untrained */
	size_t n;
};

/* The JSON that is kept in the data directory; cJSON_free() it.  ERR_MEMORY. */
char *collection_settings_print(
    const struct collection_settings *s, const char *binarizer_id, struct error *err);

/* *s and *stored := what the n bytes at `text` say; s->id stays 0.  ERR_FORMAT. */
int collection_settings_read(struct collection_settings *s,
    struct collection_stored *stored, const char *text, size_t n, struct error *err);

/* Fill *b (zeros) from s->mean if it has one, else from the file at `path`, or
 * untrained where that is NULL; or from what the data directory has, whose id must be
 * the stored one.  After a failure free it all the same. */
int collection_binarizer_new(struct collection_binarizer *b,
    const struct collection_settings *s, const char *path, struct error *err);
int collection_binarizer_load(struct collection_binarizer *b,
    const struct collection_settings *s, const struct collection_stored *stored,
    struct db_txn *txn, struct error *err);
void collection_binarizer_free(struct collection_binarizer *b);

#endif /* SERVER_COLLECTION_INTERNAL_H */
