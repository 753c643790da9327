#include "tests/support/rig.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/guard.h"

#define MAP_BYTES ((size_t)64 << 20)

static void *
or_die(void *p, const struct error *err)
{
	if (!p) {
		fprintf(stderr, "rig: %s\n", err->text);
		abort();
	}
	return p;
}

void
rig_open(struct rig *rig, const char *dir, size_t map_bytes)
{
	const struct writer_options options = {0};
	struct error err;

	rig->db = or_die(db_open(dir, map_bytes ? map_bytes : MAP_BYTES, &err), &err);
	rig->registry = or_die(registry_open(rig->db, &err), &err);
	rig->writer =
	    or_die(writer_start(rig->db, rig->registry, &options, &err), &err);
}

void
rig_close(struct rig *rig)
{
	writer_stop(rig->writer);
	registry_close(rig->registry);
	db_close(rig->db);
}

struct waiting {
	sem_t done;
	struct error *err;
	size_t *affected;
	int result;
};

static void
on_done(struct writer_operation *operation, const struct writer_result *result)
{
	struct waiting *waiting = operation->arg;

	waiting->result = result->err ? -1 : 0;
	if (result->err)
		*waiting->err = *result->err;
	else if (waiting->affected)
		*waiting->affected = result->n_affected;
	sem_post(&waiting->done);
}

int
rig_run(struct rig *rig, struct writer_operation *operation, size_t *affected,
    struct error *err)
{
	struct waiting waiting = {.err = err, .affected = affected};

	operation->on_done = on_done;
	operation->arg = &waiting;
	sem_init(&waiting.done, 0, 0);
	int result = writer_submit(rig->writer, operation, err);
	if (result == 0) {
		while (sem_wait(&waiting.done) != 0)
			continue;
		result = waiting.result;
	}
	sem_destroy(&waiting.done);
	return result;
}

struct collection *
rig_create(struct rig *rig, const struct collection_settings *settings)
{
	struct error err;
	struct collection *c = or_die(collection_new(settings, NULL, &err), &err);
	struct writer_operation operation = {.kind = WRITER_CREATE, .collection = c};

	if (rig_run(rig, &operation, NULL, &err) != 0)
		or_die(NULL, &err);
	return c;
}

int
rig_upsert(struct rig *rig, struct collection *c, const struct writer_point *points,
    size_t n, struct error *err)
{
	struct writer_operation operation = {
	    .kind = WRITER_UPSERT, .collection = c, .points = points, .n = n};

	return rig_run(rig, &operation, NULL, err);
}

long
rig_delete(struct rig *rig, struct collection *c, const struct point_id *ids, size_t n,
    struct error *err)
{
	struct writer_operation operation = {
	    .kind = WRITER_DELETE, .collection = c, .ids = ids, .n = n};
	size_t affected;

	return rig_run(rig, &operation, &affected, err) == 0 ? (long)affected : -1;
}

int
rig_drop(struct rig *rig, struct collection *c, struct error *err)
{
	struct writer_operation operation = {.kind = WRITER_DROP, .collection = c};

	return rig_run(rig, &operation, NULL, err);
}

int
rig_change(struct rig *rig, struct collection *next, struct error *err)
{
	struct writer_operation operation = {
	    .kind = WRITER_VERSION, .collection = next};

	return rig_run(rig, &operation, NULL, err);
}

const char *
rig_new_dir(void)
{
	static char path[400];
	static int n;

	snprintf(path, sizeof path, "%s/rig-%d", test_folder(), n++);
	return path;
}
