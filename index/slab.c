#include "index/slab.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define PREFIX_BYTES 64

struct region;

/* Stands PREFIX_BYTES before what the user gets. */
struct piece {
	struct region *region;
	struct piece *next; /* free ones */
};

struct region {
	struct region *prev, *next; /* among those with a free piece */
	uint8_t *memory;
	size_t mapped_bytes; /* 0: from array_new_aligned */
	size_t n_pieces;
	size_t n_used;
	size_t n_touched; /* pieces that were ever used: the first ones */
	struct piece *free;
};

struct slab {
	size_t piece_bytes; /* prefix included */
	atomic_size_t n_users;
	/* Guards all that follows and every region. */
	pthread_mutex_t lock;
	struct region *open; /* regions with a free piece */
	size_t n_pieces;     /* of all regions */
};

struct slab *
slab_new(size_t bytes)
{
	struct slab *slab = array_new(1, sizeof *slab);

	if (!slab)
		return NULL;
	slab->piece_bytes = PREFIX_BYTES + (bytes + 63) / 64 * 64;
	atomic_init(&slab->n_users, 1);
	pthread_mutex_init(&slab->lock, NULL);
	return slab;
}

static void
region_free(struct region *region)
{
	if (!region)
		return;
	if (region->mapped_bytes > 0)
		munmap(region->memory, region->mapped_bytes);
	else
		free(region->memory);
	free(region);
}

struct slab *
slab_retain(struct slab *slab)
{
	atomic_fetch_add(&slab->n_users, 1);
	return slab;
}

void
slab_release(struct slab *slab)
{
	if (!slab || atomic_fetch_sub(&slab->n_users, 1) > 1)
		return;
	while (slab->open) {
		struct region *region = slab->open;
		assert(region->n_used == 0);
		slab->open = region->next;
		slab->n_pieces -= region->n_pieces;
		region_free(region);
	}
	assert(slab->n_pieces == 0);
	pthread_mutex_destroy(&slab->lock);
	free(slab);
}

/* Memory at a 2 MiB boundary for which the system may use huge pages; NULL if short. */
static uint8_t *
map_huge(size_t bytes)
{
	uint8_t *memory = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	size_t before = HUGE_BYTES - (uintptr_t)memory % HUGE_BYTES;
	munmap(memory, before);
	if (before < HUGE_BYTES)
		munmap(memory + before + bytes, HUGE_BYTES - before);
	memory += before;
	(void)madvise(memory, bytes, MADV_HUGEPAGE); /* small pages work too */
	return memory;
}

static struct region *
region_new(const struct slab *slab)
{
	struct region *region = array_new(1, sizeof *region);

	if (!region)
		return NULL;
	if (slab->n_pieces < SLAB_SMALL_PIECES) { /* 1, 1, 2, 4, ... pieces */
		region->n_pieces = slab->n_pieces > 0 ? slab->n_pieces : 1;
		region->memory = array_new_aligned(region->n_pieces, slab->piece_bytes);
	} else {
		size_t bytes = SLAB_SMALL_PIECES * slab->piece_bytes;
		bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
		region->n_pieces = bytes / slab->piece_bytes;
		region->mapped_bytes = bytes;
		region->memory = map_huge(bytes);
	}
	if (!region->memory) {
		free(region);
		return NULL;
	}
	return region;
}

static void
open_push(struct slab *slab, struct region *region)
{
	region->prev = NULL;
	region->next = slab->open;
	if (slab->open)
		slab->open->prev = region;
	slab->open = region;
}

static void
open_remove(struct slab *slab, struct region *region)
{
	*(region->prev ? &region->prev->next : &slab->open) = region->next;
	if (region->next)
		region->next->prev = region->prev;
}

void *
slab_take(struct slab *slab)
{
	struct piece *piece = NULL;

	pthread_mutex_lock(&slab->lock);
	if (!slab->open) {
		struct region *fresh = region_new(slab);
		if (!fresh)
			goto out;
		slab->n_pieces += fresh->n_pieces;
		open_push(slab, fresh);
	}
	struct region *region = slab->open;
	piece = region->free;
	if (piece) {
		region->free = piece->next;
	} else {
		piece =
		    (void *)(region->memory + region->n_touched++ * slab->piece_bytes);
		piece->region = region;
	}
	if (++region->n_used == region->n_pieces)
		open_remove(slab, region);
out:
	pthread_mutex_unlock(&slab->lock);
	return piece ? (uint8_t *)piece + PREFIX_BYTES : NULL;
}

void
slab_give(struct slab *slab, void *memory)
{
	struct piece *piece = (void *)((uint8_t *)memory - PREFIX_BYTES);
	struct region *region = piece->region, *unused = NULL;

	pthread_mutex_lock(&slab->lock);
	piece->next = region->free;
	region->free = piece;
	if (region->n_used-- == region->n_pieces)
		open_push(slab, region);
	if (region->n_used == 0 && (region->prev || region->next)) {
		open_remove(slab, region);
		slab->n_pieces -= region->n_pieces;
		unused = region;
	}
	pthread_mutex_unlock(&slab->lock);
	region_free(unused);
}
