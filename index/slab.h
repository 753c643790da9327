#ifndef INDEX_SLAB_H
#define INDEX_SLAB_H

#include <stddef.h>

#include "base/error.h"

/*
 * Memory for many pieces of one size, from few large regions.
 *
 * A scan from memory is a third faster where the system backs it with huge pages
 * (2 MiB instead of 4 KiB), and they need large aligned regions.  The first few
 * pieces come from small regions, so that a small user stays small; from
 * SLAB_SMALL_PIECES on regions hold at least as many pieces again and ask for huge
 * pages. Pieces given back are used again; a region without any goes back to the system
 * (one is kept).  Any thread may call.
 */
#define SLAB_SMALL_PIECES 32

struct slab;

/* A source of pieces of `bytes` with one user.  NULL: memory is short. */
struct slab *slab_new(size_t bytes);

/* One user more, and one less: with the last it is gone, and every piece must have been
 * given back.  NULL is fine to release. */
struct slab *slab_retain(struct slab *slab);
void slab_release(struct slab *slab);

/* A piece at a 64-byte boundary, its content undefined; NULL: memory is short. */
void *slab_take(struct slab *slab);

/* Back to the slab it came from. */
void slab_give(struct slab *slab, void *piece);

#endif /* INDEX_SLAB_H */
