#include "index/flat.h"

#include <assert.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/alloc.h"
#include "index/flat_internal.h"
#include "index/progressive.h"

static int
thread_init(struct flat_thread *t)
{
	t->dots =
	    array_new_aligned((size_t)FLAT_BATCH_MAX * FLAT_STRIDE, sizeof *t->dots);
	t->some_dots = array_new_aligned(STORE_CHUNK_ROWS, sizeof *t->some_dots);
	t->found = array_new_aligned(STORE_CHUNK_ROWS, sizeof *t->found);
	t->listed = array_new(FLAT_LISTED_MAX, sizeof *t->listed);
	t->work = array_new_aligned(DISTANCE_WORK_BYTES, 1);
	return t->dots && t->some_dots && t->found && t->listed && t->work ? 0 : -1;
}

struct flat_scratch *
flat_scratch_new(
    const struct distance_kernel *kernel, size_t threads, struct error *err)
{
	struct flat_scratch *scratch = array_new(1, sizeof *scratch);

	assert(threads >= 1);
	if (!scratch)
		goto err0;
	scratch->kernel = kernel;
	scratch->threads = array_new(threads, sizeof *scratch->threads);
	if (!scratch->threads)
		goto err1;
	for (; scratch->n_threads < threads; scratch->n_threads++)
		if (thread_init(&scratch->threads[scratch->n_threads]) != 0) {
			scratch->n_threads++; /* it may have some */
			goto err1;
		}
	return scratch;

err1:
	flat_scratch_free(scratch);
err0:
	error_set(err, ERR_MEMORY,
	    "expected memory to search with %zu threads, not none; use fewer threads",
	    threads);
	return NULL;
}

struct flat_scratch *
flat_scratch_beside(const struct flat_scratch *other, struct error *err)
{
	struct flat_scratch *scratch = array_new(1, sizeof *scratch);

	if (!scratch) {
		error_set(err, ERR_MEMORY, "no memory for another search");
		return NULL;
	}
	scratch->kernel = other->kernel;
	scratch->n_threads = other->n_threads;
	scratch->threads = other->threads;
	scratch->beside = true;
	return scratch;
}

void
flat_scratch_free(struct flat_scratch *scratch)
{
	if (!scratch)
		return;
	const bool own = !scratch->beside && scratch->threads;
	for (size_t t = 0; own && t < scratch->n_threads; t++) {
		free(scratch->threads[t].dots);
		free(scratch->threads[t].some_dots);
		free(scratch->threads[t].found);
		free(scratch->threads[t].listed);
		free(scratch->threads[t].work);
	}
	if (own)
		free(scratch->threads);
	free(scratch->groups);
	free(scratch->heaps);
	free(scratch->hits);
	free(scratch->queries);
	free(scratch->order);
	free(scratch->sparse);
	free(scratch->scanning);
	free(scratch->coarse);
	free(scratch->prepared);
	free(scratch);
}

bool
flat_grow(void *array, size_t n, size_t size)
{
	void **place = array;

	free(*place);
	*place = array_new_aligned(n, size);
	return *place != NULL;
}

static int
reserve(struct flat_scratch *s, size_t n, size_t n_hits, struct error *err)
{
	if (n > s->searches_max) {
		s->searches_max = 0;
		if (!flat_grow(&s->heaps, s->n_threads * n, sizeof *s->heaps) ||
		    !flat_grow(&s->sparse, n, sizeof *s->sparse))
			goto err;
		s->searches_max = n;
	}
	if (n_hits > s->hits_max) {
		s->hits_max = 0;
		if (!flat_grow(&s->hits, n_hits, sizeof *s->hits))
			goto err;
		s->hits_max = n_hits;
	}
	return 0;

err:
	return error_set(err, ERR_MEMORY,
	    "expected memory for the hits of a batch, not none; ask for fewer hits");
}

static struct heap *
heaps_of(const struct flat_scratch *s, size_t thread)
{
	return s->heaps + thread * s->n;
}

/* Every heap empty, over its memory. */
static void
heaps_init(struct flat_scratch *s, size_t k_max)
{
	struct hit *hits = s->hits;

	for (size_t t = 0; t < s->active; t++) {
		for (size_t i = 0; i < s->n; i++) {
			size_t k = s->searches[i].k;
			k = k < k_max ? k : k_max;
			heap_init(
			    &heaps_of(s, t)[i], t == 0 ? s->searches[i].hits : hits, k);
			if (t > 0)
				hits += k;
		}
	}
}

int
flat_begin(struct flat_scratch *s, struct flat_search *searches, size_t n,
    const struct store_snapshot *snapshot, size_t threads, struct error *err)
{
	const size_t k_max = snapshot->n_live;
	size_t n_hits = 0;

	s->searches = searches;
	s->n = n;
	s->snapshot = snapshot;
	atomic_store(&s->next, 0);
	s->active = threads < s->n_threads ? threads : s->n_threads;
	if (s->active > snapshot->n_chunks)
		s->active = snapshot->n_chunks > 0 ? snapshot->n_chunks : 1;
	for (size_t i = 0; i < n; i++) {
		for (size_t part = 0; part < snapshot->n_parts; part++)
			assert(code_shape_equal(searches[i].query[part].shape,
			    snapshot->parts[part].shape));
		n_hits += searches[i].k < k_max ? searches[i].k : k_max;
	}
	if (reserve(s, n, (s->active - 1) * n_hits, err) != 0 ||
	    flat_group_searches(s, err) != 0)
		return -1;
	heaps_init(s, k_max);
	return 0;
}

static size_t
thread_number(void)
{
#ifdef _OPENMP
	return (size_t)omp_get_thread_num();
#else
	return 0;
#endif
}

/* Chunks first .. end - 1 of all parts. */
static void
scan_chunks(struct flat_scratch *s, struct flat_thread *t, size_t first, size_t end)
{
	for (size_t part = 0; part < s->snapshot->n_parts; part++) {
		for (size_t at = first; s->n_sparse < s->n && at < end; at++)
			flat_scan_chunk(s, part, at, t);
		for (size_t i = 0; s->n_sparse > 0 && i < s->n; i++)
			if (s->sparse[i])
				flat_scan_few(s, part, i, first, end, t);
	}
}

/* Chunks as they come: a thread that the system holds up delays nobody. */
static void
scan_on(struct flat_scratch *s, struct flat_thread *t, flat_enough *enough, void *arg)
{
	const size_t n_chunks = s->snapshot->n_chunks, n = s->unit;

	do {
		size_t first = atomic_fetch_add(&s->next, n);
		if (first >= n_chunks)
			return;
		size_t end = first + n < n_chunks ? first + n : n_chunks;
		scan_chunks(s, t, first, end);
	} while (!enough || !enough(arg));
}

bool
flat_step(struct flat_scratch *s, flat_enough *enough, void *arg)
{
	if (s->n == 0 || atomic_load(&s->next) >= s->snapshot->n_chunks)
		return false;
	for (size_t t = 0; t < s->active; t++)
		s->threads[t].heaps = heaps_of(s, t);
#pragma omp parallel num_threads((int)s->active) if (s->active > 1)
	scan_on(s, &s->threads[thread_number()], enough, arg);
	return atomic_load(&s->next) < s->snapshot->n_chunks;
}

/* What search i teaches, of the parts in which it was exact. */
static void
teach(const struct flat_scratch *s, size_t i)
{
	const struct flat_search *search = &s->searches[i];
	const size_t from = search->of_row && search->n > 0;
	uint32_t exact = 0;

	for (size_t p = 0; p < s->snapshot->n_parts; p++)
		exact |= (uint32_t)(s->scanning[p * s->n + i] == &search->query[p])
			 << p;
	if (exact)
		progressive_learn(search->progressive, s->kernel, search->query, exact,
		    search->hits + from, search->n - from, s->snapshot);
}

void
flat_end(struct flat_scratch *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct heap *heap = &heaps_of(s, 0)[i];
		for (size_t t = 1; t < s->active; t++) {
			const struct heap *other = &heaps_of(s, t)[i];
			for (size_t j = 0; j < other->n; j++)
				heap_push(heap, other->hits[j]);
		}
		heap_sort(heap);
		s->searches[i].n = heap->n;
		if (s->searches[i].progressive && !s->searches[i].rows)
			teach(s, i);
	}
}

int
flat_run(struct flat_search *searches, size_t n, const struct store_snapshot *snapshot,
    struct flat_scratch *scratch, struct error *err)
{
	if (flat_begin(scratch, searches, n, snapshot, scratch->n_threads, err) != 0)
		return -1;
	flat_step(scratch, NULL, NULL);
	flat_end(scratch);
	return 0;
}
