#include <string.h>

#include "index/flat_internal.h"

/* Consecutive blocks of a chunk. */
struct piece {
	const struct store_part *part;
	const struct store_chunk *chunk;
	size_t first_row;  /* of the chunk: its slot */
	size_t begin, end; /* blocks of the chunk */
};

static const uint8_t *
codes_of(const struct piece *p)
{
	return p->chunk->codes + p->begin * distance_block_bytes(p->part->shape);
}

/* What belongs to the piece's rows, of which those of `live` count. */
static struct distance_rows
rows_of(const struct piece *p, const uint16_t *live)
{
	const struct store_chunk *chunk = p->chunk;
	const size_t row = p->begin * DISTANCE_ROWS;

	return (struct distance_rows){live, chunk->factor + row,
	    chunk->norm2 ? chunk->norm2 + row : NULL,
	    chunk->place ? chunk->place + row : NULL};
}

/* Keep what matters of the piece's rows, whose dots are there, for search i. */
static void
keep(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p, const int32_t *dots,
    const uint16_t *live, const struct distance_bounds *bounds)
{
	struct heap *heap = &t->heaps[i];
	const struct distance_rows rows = rows_of(p, live);
	size_t n = distance_select(scratch->kernel, t->found, dots, q, &rows,
	    p->end - p->begin, bounds, heap_threshold(heap));

	for (size_t j = 0; j < n; j++) {
		t->found[j].slot += (uint32_t)(p->first_row + p->begin * DISTANCE_ROWS);
		heap_push(heap, t->found[j]);
	}
}

/* The rows of the piece that count for a search: its chunk's, or live (of the piece's
 * blocks) := those that are in its set. */
static const uint16_t *
live_rows(uint16_t *live, const struct flat_search *search, const struct piece *p)
{
	const uint16_t *of_chunk = p->chunk->live + p->begin;
	const size_t word = p->first_row / DISTANCE_ROWS + p->begin;

	if (!search->rows)
		return of_chunk;
	for (size_t b = 0; b < p->end - p->begin; b++) /* it may be of fewer slots */
		live[b] = word + b < search->rows->n_words
			      ? of_chunk[b] & search->rows->words[word + b]
			      : 0;
	return live;
}

/* list := the rows of a piece that count, ascending; *n_blocks := those that have any.
 */
static size_t
list_rows(uint16_t list[STORE_CHUNK_ROWS], size_t *n_blocks, const struct piece *p,
    const uint16_t *live)
{
	size_t n = 0;

	*n_blocks = 0;
	for (size_t b = 0; b < p->end - p->begin; b++) {
		*n_blocks += live[b] != 0;
		for (uint32_t rest = live[b]; rest; rest &= rest - 1)
			list[n++] =
			    (uint16_t)(b * DISTANCE_ROWS + (size_t)__builtin_ctz(rest));
	}
	return n;
}

/* Blocks that have a row which counts. */
static void
scan_blocks(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p, const uint16_t *live)
{
	struct piece run = *p;

	for (run.begin = p->begin; run.begin < p->end; run.begin = run.end) {
		const uint16_t *run_live = live + (run.begin - p->begin);
		run.end = run.begin;
		while (run.end < p->end && live[run.end - p->begin])
			run.end++;
		if (run.end == run.begin) {
			run.end++;
			continue;
		}
		distance_dots(scratch->kernel, t->some_dots, q, codes_of(&run),
		    run.end - run.begin);
		keep(scratch, t, i, q, &run, t->some_dots, run_live, NULL);
	}
}

/* Up to DISTANCE_ROWS rows, brought together in a block. */
struct few {
	_Alignas(64) float factor[DISTANCE_ROWS];
	_Alignas(64) float norm2[DISTANCE_ROWS];
	struct code_place place[DISTANCE_ROWS];
	uint8_t *codes;
};

/* Row j of few := a row of the piece, while the codes of another are fetched. */
static void
bring(struct few *few, size_t j, const struct piece *p, size_t row, size_t next)
{
	const size_t block_bytes = distance_block_bytes(p->part->shape);
	const uint8_t *from = codes_of(p) + row / DISTANCE_ROWS * block_bytes;
	const uint8_t *fetched = codes_of(p) + next / DISTANCE_ROWS * block_bytes;
	const struct distance_rows rows = rows_of(p, NULL);

	from += 4 * (row % DISTANCE_ROWS);
	for (size_t w = 0; w < block_bytes; w += 64) {
		__builtin_prefetch(fetched + w);
		memcpy(few->codes + 4 * j + w, from + w, 4);
	}
	few->factor[j] = rows.factor[row];
	if (rows.norm2)
		few->norm2[j] = rows.norm2[row];
	if (rows.place)
		few->place[j] = rows.place[row];
}

/* Rows of a piece, of which hardly any two are in one block. */
static void
scan_few(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p, const uint16_t *list,
    size_t n)
{
	struct few few = {.codes = t->work};
	struct heap *heap = &t->heaps[i];

	for (size_t begin = 0, m; begin < n; begin += m) {
		m = n - begin < DISTANCE_ROWS ? n - begin : DISTANCE_ROWS;
		for (size_t j = 0; j < m; j++)
			bring(&few, j, p, list[begin + j],
			    list[begin + j + 1 < n ? begin + j + 1 : begin + j]);
		const uint16_t live = (uint16_t)((1u << m) - 1);
		const struct distance_rows rows = {&live, few.factor,
		    p->chunk->norm2 ? few.norm2 : NULL,
		    p->chunk->place ? few.place : NULL};
		distance_dots(scratch->kernel, t->some_dots, q, few.codes, 1);
		size_t found = distance_select(scratch->kernel, t->found, t->some_dots,
		    q, &rows, 1, NULL, heap_threshold(heap));
		for (size_t j = 0; j < found; j++) {
			size_t row = list[begin + t->found[j].slot] + p->first_row +
				     p->begin * DISTANCE_ROWS;
			heap_push(heap, (struct hit){t->found[j].score, (uint32_t)row});
		}
	}
}

/* To bring so many rows together takes as long as to meet a block. */
#define ROWS_A_BLOCK 4

/* The whole codes of a piece's rows against the query of search i; blocks without a row
 * that counts are passed over. */
static void
scan_some(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    size_t part, const struct piece *p, const uint16_t *live)
{
	const struct distance_query *q = &scratch->searches[i].query[part];
	uint16_t list[STORE_CHUNK_ROWS];
	size_t n_blocks, n = list_rows(list, &n_blocks, p, live);
	size_t together = n / ROWS_A_BLOCK + n / DISTANCE_ROWS + 1;

	if (n_blocks > together)
		scan_few(scratch, t, i, q, p, list, n);
	else
		scan_blocks(scratch, t, i, q, p, live);
}

/* Plane 0 of a chunk has met a coarse query: the whole codes of what survives. */
static void
scan_survivors(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    size_t part, const struct distance_query *coarse, const struct piece *p,
    const int32_t *dots, const uint16_t *live)
{
	const struct distance_rows rows = rows_of(p, live);
	uint16_t survivors[STORE_CHUNK_BLOCKS] = {0};
	size_t n = distance_select(scratch->kernel, t->found, dots, coarse, &rows,
	    p->end - p->begin, &p->chunk->bounds, heap_threshold(&t->heaps[i]));

	for (size_t j = 0; j < n; j++) {
		uint32_t row = t->found[j].slot;
		survivors[row / DISTANCE_ROWS] |= (uint16_t)(1u << row % DISTANCE_ROWS);
	}
	if (n > 0)
		scan_some(scratch, t, i, part, p, survivors);
}

/* dots (batch.n, FLAT_STRIDE) := of the chunk's blocks, which are those of the piece,
 * with the group's queries. */
static void
meet(const struct flat_scratch *scratch, struct flat_thread *t,
    const struct flat_group *g, const struct piece *p)
{
	const struct code_shape shape = g->batch.queries[0]->shape;
	const uint8_t *blocks = g->coarse ? p->chunk->plane0 : p->chunk->codes;

	for (size_t b = 0; g->together && b < p->end; b += DISTANCE_BATCH_BLOCKS) {
		size_t left = p->end - b;
		scratch->kernel->batch_dots(t->dots + b * DISTANCE_ROWS, FLAT_STRIDE,
		    &g->batch, blocks + b * distance_block_bytes(shape),
		    left < DISTANCE_BATCH_BLOCKS ? left : DISTANCE_BATCH_BLOCKS,
		    t->work);
	}
	for (size_t j = 0; !g->together && j < g->batch.n; j++)
		distance_dots(scratch->kernel, t->dots + j * FLAT_STRIDE,
		    g->batch.queries[j], blocks, p->end);
}

/* What is read first of the chunk that comes next (NULL is fine): where few rows of
 * each count, to wait for it takes a while. */
static void
fetch_chunk(const struct store_chunk *chunk)
{
	for (size_t at = 0; at < sizeof *chunk; at += 64)
		__builtin_prefetch((const uint8_t *)chunk + at);
}

void
flat_scan_chunk(
    struct flat_scratch *scratch, size_t part, size_t at, struct flat_thread *t)
{
	const struct store_snapshot *snapshot = scratch->snapshot;
	const struct flat_part *groups = &scratch->parts[part];
	const size_t rows_left = snapshot->n_slots - at * STORE_CHUNK_ROWS;
	const size_t n_blocks = (rows_left + DISTANCE_ROWS - 1) / DISTANCE_ROWS;
	const struct piece p = {
	    .part = &snapshot->parts[part],
	    .chunk = snapshot->parts[part].chunks[at],
	    .first_row = at * STORE_CHUNK_ROWS,
	    .end = n_blocks < STORE_CHUNK_BLOCKS ? n_blocks : STORE_CHUNK_BLOCKS,
	};
	uint16_t words[STORE_CHUNK_BLOCKS];

	fetch_chunk(at + 1 < snapshot->n_chunks ? p.part->chunks[at + 1] : NULL);
	for (size_t n = groups->first; n < groups->first + groups->n; n++) {
		const struct flat_group *g = &scratch->groups[n];
		meet(scratch, t, g, &p);
		for (size_t j = 0; j < g->batch.n; j++) {
			const size_t i = g->searches[j];
			const struct distance_query *q = g->batch.queries[j];
			const int32_t *dots = t->dots + j * FLAT_STRIDE;
			const uint16_t *live =
			    live_rows(words, &scratch->searches[i], &p);
			if (g->coarse)
				scan_survivors(scratch, t, i, part, q, &p, dots, live);
			else
				keep(
				    scratch, t, i, q, &p, dots, live, &p.chunk->bounds);
		}
	}
	for (size_t i = 0; i < scratch->n; i++)
		if (scratch->sparse[i])
			scan_some(scratch, t, i, part, &p,
			    live_rows(words, &scratch->searches[i], &p));
}
