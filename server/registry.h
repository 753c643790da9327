#ifndef SERVER_REGISTRY_H
#define SERVER_REGISTRY_H

#include <stddef.h>

#include "base/error.h"
#include "server/collection.h"
#include "server/db.h"

/*
 * The collections that are there, by name.
 *
 * Finding and listing: any thread; what they return is counted, so a query that runs
 * keeps a collection that is dropped meanwhile.  Adding and removing is the writer's,
 * after the transaction that did it on the disk has committed.
 */
struct registry;

/* Load every collection of the data directory.  The error names the collection.
 * ERR_UNAVAILABLE: db_stop_loading was called. */
struct registry *registry_open(struct db *db, struct error *err);
void registry_close(struct registry *registry); /* NULL is fine */

/* A reference to the collection, for collection_release; NULL and ERR_NOT_FOUND. */
struct collection *registry_find(
    struct registry *registry, const char *name, struct error *err);

/* *list := a reference to every collection, by name; free with registry_list_free.
 * ERR_MEMORY. */
int registry_list(
    struct collection ***list, size_t *n, struct registry *registry, struct error *err);
void registry_list_free(struct collection **list, size_t n);

/* For the writer.  registry_reserve makes room for n more than there are now, so that
 * the next n registry_add cannot fail (two calls in a row do not add up); add takes a
 * reference of its own; remove gives it back; replace puts the collection in the place
 * of the one of its name. */
int registry_reserve(struct registry *registry, size_t n, struct error *err);
void registry_add(struct registry *registry, struct collection *collection);
void registry_remove(struct registry *registry, struct collection *collection);
void registry_replace(struct registry *registry, struct collection *collection);

#endif /* SERVER_REGISTRY_H */
