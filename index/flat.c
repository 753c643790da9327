#include "index/flat.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/alloc.h"

/* A piece of a chunk is scored for every query before the next one is touched: it
 * comes from memory once and stays in the first-level cache for the batch. */
#define PIECE_BYTES 16384

struct flat_scratch {
	const struct distance_kernel *kernel;
	size_t threads;
	/* A thread's share begins at t * STORE_CHUNK_ROWS: */
	int32_t *dots;
	float *at;
	struct hit *found;
	/* Thread t's heap for search i is heaps[t * n + i].  Thread 0 keeps its hits in
	 * the searches' own memory, the others here, one after the other. */
	struct heap *heaps;
	struct hit *hits;
	size_t heaps_max, hits_max;
};

struct flat_scratch *
flat_scratch_new(
    const struct distance_kernel *kernel, size_t threads, struct error *err)
{
	struct flat_scratch *scratch = array_new(1, sizeof *scratch);

	assert(threads >= 1);
	if (!scratch)
		goto err0;
	scratch->kernel = kernel;
	scratch->threads = threads;
	scratch->dots = array_new_aligned(threads, STORE_CHUNK_ROWS * sizeof(int32_t));
	scratch->at = array_new_aligned(threads, STORE_CHUNK_ROWS * sizeof(float));
	scratch->found =
	    array_new_aligned(threads, STORE_CHUNK_ROWS * sizeof(struct hit));
	if (!scratch->dots || !scratch->at || !scratch->found)
		goto err1;
	return scratch;

err1:
	flat_scratch_free(scratch);
err0:
	error_set(err, ERR_MEMORY,
	    "expected memory to search with %zu threads, not none; use fewer threads",
	    threads);
	return NULL;
}

void
flat_scratch_free(struct flat_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->dots);
	free(scratch->at);
	free(scratch->found);
	free(scratch->heaps);
	free(scratch->hits);
	free(scratch);
}

static int
reserve(struct flat_scratch *scratch, size_t n_heaps, size_t n_hits, struct error *err)
{
	if (n_heaps > scratch->heaps_max) {
		void *heaps =
		    array_resize(scratch->heaps, n_heaps, sizeof *scratch->heaps);
		if (!heaps)
			goto err0;
		scratch->heaps = heaps;
		scratch->heaps_max = n_heaps;
	}
	if (n_hits > scratch->hits_max) {
		void *hits = array_resize(scratch->hits, n_hits, sizeof *scratch->hits);
		if (!hits)
			goto err0;
		scratch->hits = hits;
		scratch->hits_max = n_hits;
	}
	return 0;

err0:
	return error_set(err, ERR_MEMORY,
	    "expected memory for the hits of a batch, not none; ask for fewer hits");
}

/* Every heap empty, over its memory. */
static void
heaps_init(struct flat_scratch *scratch, const struct flat_search *searches, size_t n,
    size_t threads, size_t k_max)
{
	struct hit *hits = scratch->hits;

	for (size_t t = 0; t < threads; t++) {
		for (size_t i = 0; i < n; i++) {
			size_t k = searches[i].k < k_max ? searches[i].k : k_max;
			heap_init(&scratch->heaps[t * n + i],
			    t == 0 ? searches[i].hits : hits, k);
			if (t > 0)
				hits += k;
		}
	}
}

/* Consecutive blocks of a chunk. */
struct piece {
	const struct store_part *part;
	const struct store_chunk *chunk;
	const uint16_t *live; /* of the chunk's blocks: what counts */
	size_t chunk_row;     /* the chunk's first slot */
	size_t begin, end;    /* blocks of the chunk */
};

/* The rows of a piece against one query. */
static void
scan_piece(struct flat_scratch *scratch, struct heap *heap,
    const struct distance_query *q, const struct piece *p, size_t thread)
{
	const struct store_chunk *chunk = p->chunk;
	const size_t row = p->begin * DISTANCE_ROWS, n_blocks = p->end - p->begin;
	struct distance_rows rows = {p->live + p->begin, chunk->factor + row,
	    chunk->norm2 ? chunk->norm2 + row : NULL, NULL};
	int32_t *dots = scratch->dots + thread * STORE_CHUNK_ROWS;
	float *bases = scratch->at + thread * STORE_CHUNK_ROWS;
	struct hit *found = scratch->found + thread * STORE_CHUNK_ROWS;

	distance_dots(scratch->kernel, dots, q,
	    chunk->codes + p->begin * distance_block_bytes(p->part->shape), n_blocks);
	if (chunk->place && q->kind != DISTANCE_HAMMING) {
		distance_at(bases, q, chunk->place + row, n_blocks * DISTANCE_ROWS);
		rows.at = bases;
	}
	size_t n_found = scratch->kernel->select(
	    found, dots, q, &rows, n_blocks, heap_threshold(heap));
	for (size_t j = 0; j < n_found; j++) {
		found[j].slot += (uint32_t)(p->chunk_row + row);
		heap_push(heap, found[j]);
	}
}

/* The rows of a piece that are in the set, against one query. */
static void
scan_set(struct flat_scratch *scratch, struct heap *heap,
    const struct flat_search *search, size_t part, const struct piece *p, size_t thread)
{
	uint16_t live[STORE_CHUNK_BLOCKS];
	const size_t word = p->chunk_row / DISTANCE_ROWS;
	struct piece run = *p;

	if (word >= search->rows->n_words) /* the set is of whole chunks */
		return;
	for (size_t b = p->begin; b < p->end; b++)
		live[b] = p->live[b] & search->rows->words[word + b];
	run.live = live;
	for (run.begin = p->begin; run.begin < p->end; run.begin = run.end) {
		for (run.end = run.begin; run.end < p->end && live[run.end];)
			run.end++;
		if (run.end > run.begin)
			scan_piece(scratch, heap, &search->query[part], &run, thread);
		else
			run.end++;
	}
}

/* One chunk of a part against every query. */
static void
scan_chunk(struct flat_scratch *scratch, const struct flat_search *searches, size_t n,
    const struct store_snapshot *snapshot, size_t part, size_t at, size_t thread)
{
	const struct store_chunk *chunk = snapshot->parts[part].chunks[at];
	const size_t rows_left = snapshot->n_slots - at * STORE_CHUNK_ROWS;
	size_t n_blocks = (rows_left + DISTANCE_ROWS - 1) / DISTANCE_ROWS;
	size_t step = PIECE_BYTES / distance_block_bytes(snapshot->parts[part].shape);
	struct piece p = {
	    &snapshot->parts[part], chunk, chunk->live, at * STORE_CHUNK_ROWS, 0, 0};

	if (n_blocks > STORE_CHUNK_BLOCKS)
		n_blocks = STORE_CHUNK_BLOCKS;
	if (step == 0)
		step = 1;
	for (; p.begin < n_blocks; p.begin = p.end) {
		p.end = step < n_blocks - p.begin ? p.begin + step : n_blocks;
		for (size_t i = 0; i < n; i++) {
			struct heap *heap = &scratch->heaps[thread * n + i];
			if (searches[i].rows)
				scan_set(scratch, heap, &searches[i], part, &p, thread);
			else
				scan_piece(scratch, heap, &searches[i].query[part], &p,
				    thread);
		}
	}
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

static void
scan(struct flat_scratch *scratch, const struct flat_search *searches, size_t n,
    const struct store_snapshot *snapshot, size_t threads)
{
	(void)threads; /* all that a build without OpenMP does with it */
	/* Chunks as they come: a thread that the system holds up delays nobody. */
#pragma omp parallel for num_threads((int)threads) schedule(dynamic, 4) if (threads > 1)
	for (size_t at = 0; at < snapshot->n_chunks; at++)
		for (size_t part = 0; part < snapshot->n_parts; part++)
			if (snapshot->parts[part].chunks[at])
				scan_chunk(scratch, searches, n, snapshot, part, at,
				    thread_number());
}

int
flat_run(struct flat_search *searches, size_t n, const struct store_snapshot *snapshot,
    struct flat_scratch *scratch, struct error *err)
{
	const size_t k_max = snapshot->n_live;
	size_t threads = scratch->threads, n_hits = 0;

	if (threads > snapshot->n_chunks)
		threads = snapshot->n_chunks > 0 ? snapshot->n_chunks : 1;
	for (size_t i = 0; i < n; i++) {
		for (size_t part = 0; part < snapshot->n_parts; part++)
			assert(code_shape_equal(searches[i].query[part].shape,
			    snapshot->parts[part].shape));
		n_hits += searches[i].k < k_max ? searches[i].k : k_max;
	}
	if (reserve(scratch, threads * n, (threads - 1) * n_hits, err) != 0)
		return -1;

	heaps_init(scratch, searches, n, threads, k_max);
	scan(scratch, searches, n, snapshot, threads);
	for (size_t i = 0; i < n; i++) {
		struct heap *heap = &scratch->heaps[i];
		for (size_t t = 1; t < threads; t++) {
			const struct heap *other = &scratch->heaps[t * n + i];
			for (size_t j = 0; j < other->n; j++)
				heap_push(heap, other->hits[j]);
		}
		heap_sort(heap);
		searches[i].n = heap->n;
	}
	return 0;
}
