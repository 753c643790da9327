#ifndef TESTS_SUPPORT_RIG_H
#define TESTS_SUPPORT_RIG_H

#include "server/db.h"
#include "server/registry.h"
#include "server/writer.h"

/* A data directory that is open and can be written, and operations that wait until they
 * are done. */
struct rig {
	struct db *db;
	struct registry *registry;
	struct writer *writer;
};

/* map_bytes 0 = 64 MiB.  Aborts with the error if it cannot. */
void rig_open(struct rig *rig, const char *dir, size_t map_bytes);
void rig_close(struct rig *rig);

/* Submit and wait.  *affected may be NULL. */
int rig_run(struct rig *rig, struct writer_operation *operation, size_t *affected,
    struct error *err);

/* A new collection of `size` floats; the caller's reference. */
struct collection *rig_create(
    struct rig *rig, const struct collection_settings *settings);
int rig_upsert(struct rig *rig, struct collection *c, const struct writer_point *points,
    size_t n, struct error *err);

/* Points deleted, or -1. */
long rig_delete(struct rig *rig, struct collection *c, const struct point_id *ids,
    size_t n, struct error *err);
int rig_drop(struct rig *rig, struct collection *c, struct error *err);

/* Put `next` (collection_next) in its collection's place. */
int rig_change(struct rig *rig, struct collection *next, struct error *err);

/* A folder under test_folder() that nobody had before; valid until the next call. */
const char *rig_new_dir(void);

#endif /* TESTS_SUPPORT_RIG_H */
