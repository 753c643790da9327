#include "index/flat_internal.h"

/* One query at a time, a piece of a chunk is so many bytes of codes: they stay in the
 * first-level cache for the next query. */
#define PIECE_BYTES 16384

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

/* Keep what matters of the piece's rows, whose dots are there, for search i. */
static void
keep(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p, const int32_t *dots,
    const uint16_t *live)
{
	const struct store_chunk *chunk = p->chunk;
	const size_t row = p->begin * DISTANCE_ROWS;
	const struct distance_rows rows = {live, chunk->factor + row,
	    chunk->norm2 ? chunk->norm2 + row : NULL,
	    chunk->place ? chunk->place + row : NULL};
	size_t n = distance_select(
	    scratch->kernel, t->found, dots, q, &rows, p->end - p->begin, t->least[i]);

	for (size_t j = 0; j < n; j++) {
		t->found[j].slot += (uint32_t)(p->first_row + row);
		heap_push(&t->heaps[i], t->found[j]);
	}
	if (n > 0)
		t->least[i] =
		    distance_least(q, &chunk->bounds, heap_threshold(&t->heaps[i]));
}

/* live (of the chunk's blocks) := the rows of the piece that count for a search. */
static const uint16_t *
live_rows(uint16_t *live, const struct flat_search *search, const struct piece *p)
{
	const size_t word = p->first_row / DISTANCE_ROWS;

	if (!search->rows)
		return p->chunk->live + p->begin;
	/* The set is of whole chunks, perhaps of fewer. */
	const bool in = word < search->rows->n_words;
	for (size_t b = p->begin; b < p->end; b++)
		live[b] = in ? p->chunk->live[b] & search->rows->words[word + b] : 0;
	return live + p->begin;
}

/* The rows of a piece against one query. */
static void
scan_one(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p, const uint16_t *live)
{
	distance_dots(scratch->kernel, t->dots, q, codes_of(p), p->end - p->begin);
	keep(scratch, t, i, q, p, t->dots, live);
}

/* The rows of a piece that are in a small set: blocks without one are passed over. */
static void
scan_few(const struct flat_scratch *scratch, struct flat_thread *t, size_t i,
    const struct distance_query *q, const struct piece *p)
{
	uint16_t words[STORE_CHUNK_BLOCKS];
	const uint16_t *live = live_rows(words, &scratch->searches[i], p) - p->begin;
	struct piece run = *p;

	for (run.begin = p->begin; run.begin < p->end; run.begin = run.end) {
		run.end = run.begin;
		while (run.end < p->end && live[run.end])
			run.end++;
		if (run.end > run.begin)
			scan_one(scratch, t, i, q, &run, live + run.begin);
		else
			run.end++;
	}
}

/* The next piece of at most `step` blocks, from p->end on; false: the chunk of n blocks
 * is done. */
static bool
next_piece(struct piece *p, size_t step, size_t n)
{
	p->begin = p->end;
	p->end = step < n - p->begin ? p->begin + step : n;
	return p->begin < n;
}

/* The chunk against the queries of a group. */
static void
scan_group(const struct flat_scratch *scratch, struct flat_thread *t,
    const struct flat_group *g, struct piece p, size_t part, size_t n_blocks)
{
	uint16_t words[STORE_CHUNK_BLOCKS];
	const bool batch = g->batch.n > 0;
	size_t step = PIECE_BYTES / distance_block_bytes(p.part->shape) + 1;

	p.end = 0;
	while (next_piece(&p, batch ? DISTANCE_BATCH_BLOCKS : step, n_blocks)) {
		const size_t rows = (p.end - p.begin) * DISTANCE_ROWS;
		if (batch)
			scratch->kernel->batch_dots(
			    t->dots, &g->batch, codes_of(&p), p.end - p.begin, t->work);
		for (size_t j = 0; j < g->n; j++) {
			const size_t i = g->searches[j];
			const struct flat_search *search = &scratch->searches[i];
			const struct distance_query *q = &search->query[part];
			const uint16_t *live = live_rows(words, search, &p);
			if (batch)
				keep(scratch, t, i, q, &p, t->dots + j * rows, live);
			else
				scan_one(scratch, t, i, q, &p, live);
		}
	}
}

void
flat_scan_chunk(
    struct flat_scratch *scratch, size_t part, size_t at, struct flat_thread *t)
{
	const struct store_snapshot *snapshot = scratch->snapshot;
	const struct store_chunk *chunk = snapshot->parts[part].chunks[at];
	const struct flat_part *groups = &scratch->parts[part];
	const size_t rows_left = snapshot->n_slots - at * STORE_CHUNK_ROWS;
	size_t n_blocks = (rows_left + DISTANCE_ROWS - 1) / DISTANCE_ROWS;
	struct piece p = {&snapshot->parts[part], chunk, at * STORE_CHUNK_ROWS, 0, 0};

	if (n_blocks > STORE_CHUNK_BLOCKS)
		n_blocks = STORE_CHUNK_BLOCKS;
	for (size_t i = 0; i < scratch->n; i++) {
		const struct distance_query *q = &scratch->searches[i].query[part];
		t->least[i] =
		    distance_least(q, &chunk->bounds, heap_threshold(&t->heaps[i]));
	}
	for (size_t g = groups->first; g < groups->first + groups->n; g++)
		scan_group(scratch, t, &scratch->groups[g], p, part, n_blocks);
	p.end = n_blocks;
	for (size_t i = 0; i < scratch->n; i++)
		if (scratch->sparse[i])
			scan_few(scratch, t, i, &scratch->searches[i].query[part], &p);
}
