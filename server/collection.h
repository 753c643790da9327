#ifndef SERVER_COLLECTION_H
#define SERVER_COLLECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "index/distance.h"
#include "index/store.h"
#include "server/db.h"
#include "server/db_fields.h"

struct progressive;
struct recurrent;
struct models;
struct text;

/*
 * A collection: its settings, the codes of its points in memory (index/store.h), and
 * the binarizer that makes and reads them.
 *
 * The binarizer's own data are kept in the data directory with the settings, so the
 * codes of a collection can be read whatever becomes of the models directory; its id
 * (a hash of what it computes) is stored too and checked at every start.
 *
 * A binarizer can be followed by another: then the collection has codes of several
 * *versions*, each with its binarizer and its shape.  Documents that come in are coded
 * by the newest; those that were there stay as they are and are searched with it, until
 * they come again.  A version that has lost all its documents goes with the next change
 * or start.
 *
 * A struct collection is counted: registry_find and collection_retain give a
 * reference, collection_release takes it back, and a collection that was dropped or
 * has got another version or payload index lives until its last reference is gone.
 * Settings, versions and indexes never change: a collection with another one is a new
 * struct over the same store.  Any thread may read.  The store has one writer
 * (server/writer.h) and any readers.
 */
#define COLLECTION_NAME_MAX 255          /* bytes; also of vector and model names */
#define COLLECTION_SIZE_MAX 16384        /* dimensions of a vector */
#define COLLECTION_BITS_DEFAULT 4        /* for a client that does not say */
#define COLLECTION_UNTRAINED "untrained" /* the rotation without a mean */
#define COLLECTION_FITTED "fitted"       /* the rotation with a mean that came along */
#define COLLECTION_MEAN_MAX 1e18f        /* of a number of such a mean */

enum collection_distance {
	COLLECTION_COSINE,
	COLLECTION_DOT,
	COLLECTION_EUCLID,
};

struct collection_settings {
	char name[COLLECTION_NAME_MAX + 1];
	uint32_t id;                       /* 0 until the writer has stored it */
	uint32_t size;                     /* of a vector, 1 .. COLLECTION_SIZE_MAX */
	enum collection_distance distance; /* of vectors */
	char vector[COLLECTION_NAME_MAX + 1]; /* the vector's name; "" = the default */
	struct code_shape shape;              /* dims 0 = size rounded up (at most
						 CODE_DIMS_MAX); bits 0 = default */
	enum distance_kind code_distance;
	char binarizer[COLLECTION_NAME_MAX + 1];   /* a name under --models,
						      COLLECTION_UNTRAINED, or "" = beside
						      the text model, else untrained;
						      COLLECTION_FITTED with a mean */
	char text_model[COLLECTION_NAME_MAX + 1];  /* "" = vectors only */
	char query_model[COLLECTION_NAME_MAX + 1]; /* of texts in queries, of the same
						      coordinates; "" = text_model */
	bool progressive;   /* plane 0 is kept by itself and searched first */
	uint64_t created_s; /* Unix time; 0 = now */

	/* For collection_new alone, which copies it: the mean of the rotation, of
	 * vectors as they are coded (normalised for Cosine).  NULL = none. */
	const float *mean; /* (n_mean), n_mean = size */
	size_t n_mean;
};

/* "Cosine", "Dot", "Euclid"; parsing knows "Manhattan" too: ERR_UNSUPPORTED. */
const char *collection_distance_name(enum collection_distance distance);
int collection_distance_parse(
    enum collection_distance *distance, const char *name, struct error *err);

/* "hamming", "sdc", "int8". */
const char *collection_code_distance_name(enum distance_kind kind);
int collection_code_distance_parse(
    enum distance_kind *kind, const char *name, struct error *err);

/* A collection's name: 1 .. 255 bytes of UTF-8 without '/' and control characters. */
int collection_name_check(const char *name, size_t n, struct error *err);

/* 0 if a collection can have these settings (names, ranges, shape; defaults that are
 * spelled 0 or "" are fine); ERR_INPUT. */
int collection_settings_check(
    const struct collection_settings *settings, struct error *err);

/* A new, empty collection that is in no registry yet (WRITER_CREATE puts it there).
 * Fills in what the settings left to the defaults; resolves the binarizer, and size
 * where a text model is named and size is 0, from `models`.  One reference is the
 * caller's.  ERR_INPUT, ERR_NOT_FOUND (no such model), ERR_MEMORY. */
struct collection *collection_new(const struct collection_settings *settings,
    const struct models *models, struct error *err);

/* Codes by one binarizer. */
struct collection_version {
	uint32_t size; /* of the vectors that were coded */
	struct code_shape shape;
	char binarizer[COLLECTION_NAME_MAX + 1];
	char text_model[COLLECTION_NAME_MAX + 1];
	const struct recurrent *model;     /* that made them */
	const struct recurrent *searching; /* by which the collection's vectors search
					      them and they decode into such vectors */
	struct db_codes codes;             /* their key and shape on the disk */
};

/* `before` with one version more, in no registry yet (WRITER_VERSION puts it there);
 * `before` itself if that is its newest already.  Older versions without documents are
 * left out, but for those that a request which is under way may still write.  Of
 * `change` are read: the binarizer's name; a shape, where the binarizer leaves it open
 * (0 = as before); text_model and query_model ("" = as before).  A binarizer that does
 * not know the codes of an older version (recurrent_searching) must take vectors of the
 * same size and text model: they are held to be the same encoder's, and vectors search
 * the older codes by the binarizer that made them.  One reference is the caller's.
 * ERR_INPUT, ERR_NOT_FOUND, ERR_MEMORY. */
struct collection *collection_next(struct collection *before,
    const struct collection_settings *change, const struct models *models,
    struct error *err);

/* The collection whose row in the data directory this is, with all its codes read
 * into memory.  ERR_FORMAT, ERR_MEMORY, ERR_IO. */
struct collection *collection_load(
    struct db_txn *txn, const struct db_collection *row, struct error *err);

struct collection *collection_retain(struct collection *collection);
void collection_release(struct collection *collection); /* NULL is fine */

/* The rest is valid while the caller holds a reference. */
const struct collection_settings *collection_settings(const struct collection *c);
struct store *collection_store(const struct collection *c);

/* What its searches know of plane 0 (index/progressive.h), for the scan thread; NULL of
 * a collection that is not progressive. */
struct progressive *collection_progressive(const struct collection *c);

/* Versions, oldest first, 1 .. STORE_PARTS_MAX.  The codes of number i are part i of
 * the store, as long as store_newest is codes.version of the last; the part that has
 * its number for ever. */
size_t collection_n_versions(const struct collection *c);
const struct collection_version *collection_version(
    const struct collection *c, size_t i);

/* Append the file of the binarizer of version i. */
void collection_version_file(struct text *file, const struct collection *c, size_t i);

/* Payload indexes (server/db_fields.h), their numbers rising; whether one may be asked
 * is known in the data directory (db_fields_complete).  What writes points enters them
 * into the indexes of the newest collection. */
#define COLLECTION_FIELDS_MAX 64
const struct db_field *collection_fields(const struct collection *c, size_t *n);

/* The one of a key, however that is written; NULL. */
const struct db_field *collection_field(
    const struct collection *c, const struct path *key);

/* `before` with an index more, under a number that was never used in it, in the place
 * of one of the same key; and without that of a key.  In no registry yet; for the
 * writer, whose `before` is the newest.  One reference is the caller's.  ERR_INPUT
 * (COLLECTION_FIELDS_MAX), ERR_FULL (no number is left), ERR_MEMORY. */
struct collection *collection_indexed(const struct collection *before,
    const struct path *key, enum db_field_type type, struct error *err);
struct collection *collection_unindexed(
    const struct collection *before, const struct path *key, struct error *err);

/* `before` progressive, or not: its searches are, where plane 0 is there
 * (store_want_plane0).  In no registry yet; for the writer, whose `before` is the
 * newest.  One reference is the caller's.  ERR_INPUT, ERR_MEMORY. */
struct collection *collection_with_progressive(
    const struct collection *before, bool progressive, struct error *err);

/* For the writer, before anybody else has seen `c`: it has the indexes of `now`, and is
 * progressive if that is. */
void collection_keep_up(struct collection *c, const struct collection *now);

/* "keyword", "integer", "float", "bool", "text".  ERR_INPUT. */
const char *collection_field_type_name(enum db_field_type type);
int collection_field_type_parse(
    enum db_field_type *type, const char *name, struct error *err);

/* The newest version, and parts of it. */
const struct collection_version *collection_newest(const struct collection *c);
const struct recurrent *collection_binarizer(const struct collection *c);
const char *collection_binarizer_id(const struct collection *c);
const struct db_codes *collection_codes(const struct collection *c);

/* *found, *version and *code := the code in this slot, of whatever version.  The
 * collection and the transaction are of one moment (api_collection_now). */
int collection_code(struct db_txn *txn, const struct collection *c, uint32_t slot,
    size_t *version, bool *found, struct db_code *code, struct error *err);

/* Points in the newest snapshot, and their rows: of a chunked point one a passage. */
struct collection_counts {
	size_t points;
	size_t rows;
};
struct collection_counts collection_counts(const struct collection *c);

/* The same of each version: counts (STORE_PARTS_MAX); zeros of one that is gone. */
void collection_version_counts(
    struct collection_counts *counts, const struct collection *c);

/* The points alone. */
size_t collection_count(const struct collection *c);

/* Bytes in memory (exact, index/store.h) and in the data directory: codes exact (blocks
 * are whole pages), ids and points as this collection's share, by rows, of the pages
 * of these databases. */
struct collection_bytes {
	size_t memory_codes;
	size_t memory_plane0;
	size_t memory_factors;
	size_t memory_tables;
	uint64_t disk_codes;
	uint64_t disk_ids;
	uint64_t disk_points;
};
int collection_bytes(struct collection_bytes *bytes, const struct collection *c,
    struct db *db, struct error *err);

/* Whether both code from now on by the same binarizer, and texts by the same models. */
bool collection_codes_alike(const struct collection *a, const struct collection *b);

/* For the writer: the row to store (valid while the collection lives), and the id that
 * it was given, before anybody else has seen the collection. */
int collection_row(
    struct db_collection *row, struct collection *c, uint32_t id, struct error *err);

#endif /* SERVER_COLLECTION_H */
