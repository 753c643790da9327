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

/* list := the slots of a piece's rows that count, ascending; *n_blocks := the blocks
 * that have any. */
static size_t
list_rows(uint32_t list[STORE_CHUNK_ROWS], size_t *n_blocks, const struct piece *p,
    const uint16_t *live)
{
	const size_t first = p->first_row + p->begin * DISTANCE_ROWS;
	size_t n = 0;

	*n_blocks = 0;
	for (size_t b = 0; b < p->end - p->begin; b++) {
		*n_blocks += live[b] != 0;
		for (uint32_t rest = live[b]; rest; rest &= rest - 1)
			list[n++] = (uint32_t)(first + b * DISTANCE_ROWS +
					       (size_t)__builtin_ctz(rest));
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

static const struct store_chunk *
chunk_of(const struct store_part *part, uint32_t slot)
{
	return part->chunks[slot / STORE_CHUNK_ROWS];
}

/* The codes of a slot's block. */
static const uint8_t *
block_of(const struct store_part *part, uint32_t slot)
{
	return chunk_of(part, slot)->codes + slot % STORE_CHUNK_ROWS / DISTANCE_ROWS *
						 distance_block_bytes(part->shape);
}

/* Row j of few := that in a slot, while another is fetched. */
static void
bring(struct few *few, size_t j, const struct store_part *part, uint32_t slot,
    uint32_t next)
{
	const size_t block_bytes = distance_block_bytes(part->shape);
	const struct store_chunk *chunk = chunk_of(part, slot);
	const uint8_t *from = block_of(part, slot) + 4 * (slot % DISTANCE_ROWS);
	const uint8_t *fetched = block_of(part, next);
	const size_t row = slot % STORE_CHUNK_ROWS;

	__builtin_prefetch(chunk_of(part, next)->factor + next % STORE_CHUNK_ROWS);
	for (size_t w = 0; w < block_bytes; w += 64) {
		__builtin_prefetch(fetched + w);
		memcpy(few->codes + 4 * j + w, from + w, 4);
	}
	few->factor[j] = chunk->factor[row];
	if (chunk->norm2)
		few->norm2[j] = chunk->norm2[row];
	if (chunk->place)
		few->place[j] = chunk->place[row];
}

/* The listed rows, of which hardly any two are in one block. */
static void
scan_listed(
    const struct flat_scratch *scratch, struct flat_thread *t, size_t i, size_t number)
{
	const struct store_part *part = &scratch->snapshot->parts[number];
	const struct distance_query *q = &scratch->searches[i].query[number];
	struct few few = {.codes = t->work};
	struct heap *heap = &t->heaps[i];

	for (size_t begin = 0, m; begin < t->n_listed; begin += m) {
		const uint32_t *slots = t->listed + begin;
		const size_t left = t->n_listed - begin;
		m = left < DISTANCE_ROWS ? left : DISTANCE_ROWS;
		for (size_t j = 0; j < m; j++)
			bring(&few, j, part, slots[j], slots[j + 1 < left ? j + 1 : j]);
		const uint16_t live = (uint16_t)((1u << m) - 1);
		const struct store_chunk *any = chunk_of(part, *slots);
		const struct distance_rows rows = {&live, few.factor,
		    any->norm2 ? few.norm2 : NULL, any->place ? few.place : NULL};
		distance_dots(scratch->kernel, t->some_dots, q, few.codes, 1);
		size_t found = distance_select(scratch->kernel, t->found, t->some_dots,
		    q, &rows, 1, NULL, heap_threshold(heap));
		for (size_t j = 0; j < found; j++)
			heap_push(heap,
			    (struct hit){t->found[j].score, slots[t->found[j].slot]});
	}
	t->n_listed = 0;
}

/* To bring so many rows together takes as long as to meet a block. */
#define ROWS_A_BLOCK 4

/* The whole codes of a piece's rows against the query of search i: blocks that have
 * one, or, if they have few, the rows are listed: behind the last piece scan_listed
 * must be called. */
static void
scan_some(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    size_t part, const struct piece *p, const uint16_t *live)
{
	const struct distance_query *q = &scratch->searches[i].query[part];
	size_t n_blocks, n = list_rows(t->listed + t->n_listed, &n_blocks, p, live);

	if (n_blocks <= n / ROWS_A_BLOCK + n / DISTANCE_ROWS) {
		scan_blocks(scratch, t, i, q, p, live);
		return;
	}
	t->n_listed += n;
	if (t->n_listed > FLAT_LISTED_MAX - STORE_CHUNK_ROWS)
		scan_listed(scratch, t, i, part);
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
	if (n > 0) {
		scan_some(scratch, t, i, part, p, survivors);
		scan_listed(scratch, t, i, part);
	}
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

static struct piece
piece_of(const struct store_snapshot *snapshot, size_t part, size_t at)
{
	const size_t rows_left = snapshot->n_slots - at * STORE_CHUNK_ROWS;
	const size_t n_blocks = (rows_left + DISTANCE_ROWS - 1) / DISTANCE_ROWS;

	return (struct piece){
	    .part = &snapshot->parts[part],
	    .chunk = snapshot->parts[part].chunks[at],
	    .first_row = at * STORE_CHUNK_ROWS,
	    .end = n_blocks < STORE_CHUNK_BLOCKS ? n_blocks : STORE_CHUNK_BLOCKS,
	};
}

void
flat_scan_chunk(
    struct flat_scratch *scratch, size_t part, size_t at, struct flat_thread *t)
{
	const struct flat_part *groups = &scratch->parts[part];
	const struct piece p = piece_of(scratch->snapshot, part, at);
	uint16_t words[STORE_CHUNK_BLOCKS];

	if (!p.chunk)
		return;
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
}

/* Whether a set has a row in a chunk. */
static bool
has_rows(const struct row_set *rows, size_t chunk)
{
	const size_t first = chunk * STORE_CHUNK_BLOCKS;
	unsigned any = 0;

	for (size_t w = 0; first < rows->n_words && w < STORE_CHUNK_BLOCKS; w++)
		any |= rows->words[first + w];
	return any != 0;
}

/* The next chunk from `at` on, before end, in which the search has rows; end: none. */
static size_t
next_chunk(const struct flat_search *search, const struct store_part *part, size_t at,
    size_t end)
{
	while (at < end && !(part->chunks[at] && has_rows(search->rows, at)))
		at++;
	return at;
}

/* What is read first of a chunk: where few rows of each count, to wait for it takes a
 * while. */
static void
fetch_chunk(const struct store_chunk *chunk)
{
	for (size_t at = 0; at < sizeof *chunk; at += 64)
		__builtin_prefetch((const uint8_t *)chunk + at);
}

void
flat_scan_few(struct flat_scratch *scratch, size_t number, size_t i, size_t first,
    size_t end, struct flat_thread *t)
{
	const struct flat_search *search = &scratch->searches[i];
	const struct store_part *part = &scratch->snapshot->parts[number];
	uint16_t words[STORE_CHUNK_BLOCKS];

	for (size_t at = next_chunk(search, part, first, end), next; at < end;
	     at = next) {
		const struct piece p = piece_of(scratch->snapshot, number, at);
		next = next_chunk(search, part, at + 1, end);
		if (next < end)
			fetch_chunk(part->chunks[next]);
		scan_some(scratch, t, i, number, &p, live_rows(words, search, &p));
	}
	scan_listed(scratch, t, i, number);
}
