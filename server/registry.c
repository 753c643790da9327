#include "server/registry.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct registry {
	pthread_mutex_t lock;     /* guards the rest */
	struct collection **list; /* by name */
	size_t n, capacity;
};

static const char *
name_of(const struct collection *collection)
{
	return collection_settings(collection)->name;
}

/* The place of `name`, or where it would be. */
static size_t
place(const struct registry *registry, const char *name)
{
	size_t low = 0, high = registry->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(name_of(registry->list[middle]), name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct loading {
	struct registry *registry;
	struct db_txn *txn;
};

static int
on_collection(void *arg, const struct db_collection *row, struct error *err)
{
	struct loading *loading = arg;

	if (registry_reserve(loading->registry, 1, err) != 0)
		return -1;
	struct collection *collection = collection_load(loading->txn, row, err);
	if (!collection)
		return error_prefix(err, "collection %s", row->name);
	registry_add(loading->registry, collection);
	collection_release(collection);
	return 0;
}

static int
load_all(struct registry *registry, struct db *db, struct error *err)
{
	struct loading loading = {registry, db_begin_read(db, err)};

	if (!loading.txn)
		return -1;
	int result = db_collections(loading.txn, on_collection, &loading, err);
	db_end(loading.txn);
	return result;
}

struct registry *
registry_open(struct db *db, struct error *err)
{
	struct registry *registry = array_new(1, sizeof *registry);

	if (!registry) {
		error_set(err, ERR_MEMORY, "out of memory for the list of collections");
		return NULL;
	}
	pthread_mutex_init(&registry->lock, NULL);
	if (load_all(registry, db, err) != 0) {
		registry_close(registry);
		return NULL;
	}
	return registry;
}

void
registry_close(struct registry *registry)
{
	if (!registry)
		return;
	registry_list_free(registry->list, registry->n);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

struct collection *
registry_find(struct registry *registry, const char *name, struct error *err)
{
	struct collection *found = NULL;

	pthread_mutex_lock(&registry->lock);
	size_t i = place(registry, name);
	if (i < registry->n && strcmp(name_of(registry->list[i]), name) == 0)
		found = collection_retain(registry->list[i]);
	pthread_mutex_unlock(&registry->lock);
	if (!found)
		error_set(err, ERR_NOT_FOUND, "there is no collection called %s", name);
	return found;
}

int
registry_list(
    struct collection ***list, size_t *n, struct registry *registry, struct error *err)
{
	pthread_mutex_lock(&registry->lock);
	struct collection **copy = array_new(registry->n, sizeof(struct collection *));
	if (copy) {
		*n = registry->n;
		for (size_t i = 0; i < registry->n; i++)
			copy[i] = collection_retain(registry->list[i]);
	}
	pthread_mutex_unlock(&registry->lock);
	if (!copy)
		return error_set(err, ERR_MEMORY, "out of memory listing collections");
	*list = copy;
	return 0;
}

void
registry_list_free(struct collection **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		collection_release(list[i]);
	free(list);
}

int
registry_reserve(struct registry *registry, size_t n, struct error *err)
{
	int result = 0;

	pthread_mutex_lock(&registry->lock);
	if (registry->n + n > registry->capacity) {
		size_t capacity = 2 * registry->capacity + n;
		struct collection **list =
		    array_resize(registry->list, capacity, sizeof(struct collection *));
		if (list) {
			registry->list = list;
			registry->capacity = capacity;
		} else {
			result = error_set(
			    err, ERR_MEMORY, "out of memory for a collection");
		}
	}
	pthread_mutex_unlock(&registry->lock);
	return result;
}

void
registry_add(struct registry *registry, struct collection *collection)
{
	pthread_mutex_lock(&registry->lock);
	size_t i = place(registry, name_of(collection));
	assert(registry->n < registry->capacity);
	memmove(registry->list + i + 1, registry->list + i,
	    (registry->n - i) * sizeof(struct collection *));
	registry->list[i] = collection_retain(collection);
	registry->n++;
	pthread_mutex_unlock(&registry->lock);
}

void
registry_remove(struct registry *registry, struct collection *collection)
{
	pthread_mutex_lock(&registry->lock);
	size_t i = place(registry, name_of(collection));
	struct collection *found = i < registry->n ? registry->list[i] : NULL;
	/* The caller's may be the collection as it was before its newest version. */
	if (found && collection_store(found) != collection_store(collection))
		found = NULL;
	if (found) {
		registry->n--;
		memmove(registry->list + i, registry->list + i + 1,
		    (registry->n - i) * sizeof(struct collection *));
	}
	pthread_mutex_unlock(&registry->lock);
	collection_release(found);
}

void
registry_replace(struct registry *registry, struct collection *collection)
{
	pthread_mutex_lock(&registry->lock);
	size_t i = place(registry, name_of(collection));
	assert(i < registry->n &&
	       strcmp(name_of(registry->list[i]), name_of(collection)) == 0);
	struct collection *before = registry->list[i];
	registry->list[i] = collection_retain(collection);
	pthread_mutex_unlock(&registry->lock);
	collection_release(before);
}
