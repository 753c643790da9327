#include <stdlib.h>

#include "index/flat_internal.h"
#include "index/progressive.h"

/* Blocks of a small set are scanned one by one, each query alone: that is cheaper than
 * to take it into a batch while fewer than one of so many has a row. */
#define SPARSE_SHARE 4

/* Blocks that a thread meets until it looks whether that is enough for now. */
#define UNIT_BLOCKS 1024

static int
no_memory(struct error *err)
{
	return error_set(err, ERR_MEMORY,
	    "expected memory for a batch of queries, not none; ask for fewer at once");
}

static bool
is_sparse(const struct row_set *rows, size_t n_slots)
{
	size_t n = 0;

	for (size_t w = 0; rows && w < rows->n_words; w++)
		n += rows->words[w] != 0;
	return rows && n * DISTANCE_ROWS * SPARSE_SHARE < n_slots;
}

/* Blocks with a row of the set in those FLAT_FEW_CHUNKS chunks that have most. */
static size_t
busiest(const struct row_set *rows)
{
	const size_t range = FLAT_FEW_CHUNKS * STORE_CHUNK_BLOCKS;
	size_t most = 0;

	for (size_t first = 0; first < rows->n_words; first += range) {
		size_t left = rows->n_words - first, n = 0;
		for (size_t w = 0; w < range && w < left; w++)
			n += rows->words[first + w] != 0;
		most = n > most ? n : most;
	}
	return most;
}

/* Chunks that a thread takes at once: of few queries, or rows, one is soon done, but
 * every thread is to have some. */
static size_t
unit(const struct flat_scratch *s)
{
	const size_t share = s->snapshot->n_chunks / (4 * s->active) + 1;
	size_t n_blocks = 0, n = s->n > 4 ? 1 : 4;

	if (s->n_sparse == s->n) {
		for (size_t i = 0; i < s->n; i++)
			n_blocks += busiest(s->searches[i].rows);
		n = FLAT_FEW_CHUNKS * UNIT_BLOCKS / (n_blocks + 1) + 1;
		n = n < FLAT_FEW_CHUNKS ? n : FLAT_FEW_CHUNKS;
	}
	return n < share ? n : share;
}

/* scanning := of every search and part; coarse ones are made on the way. */
static void
choose_queries(struct flat_scratch *s)
{
	s->n_sparse = 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct flat_search *search = &s->searches[i];
		s->sparse[i] = is_sparse(search->rows, s->snapshot->n_slots);
		s->n_sparse += s->sparse[i];
		for (size_t p = 0; p < s->snapshot->n_parts; p++) {
			const struct store_part *part = &s->snapshot->parts[p];
			const size_t at = p * s->n + i;
			s->scanning[at] = &search->query[p];
			if (search->progressive && !s->sparse[i] &&
			    progressive_coarse(&s->coarse[at], search->progressive,
				part, &search->query[p]) &&
			    (search->rows ||
				!progressive_is_check(search->progressive, part)))
				s->scanning[at] = &s->coarse[at];
		}
	}
}

/* Whether two queries for a part can be in a batch. */
static bool
is_like(const struct distance_query *a, const struct distance_query *b)
{
	return a->kind == b->kind && a->mask == b->mask &&
	       a->shape.bits == b->shape.bits;
}

static size_t
prepared_bytes(const struct flat_scratch *s, const struct flat_group *g)
{
	if (!g->together)
		return 0;
	return (s->kernel->batch_bytes(g->batch.queries[0], g->batch.n) + 63) / 64 * 64;
}

/* A group := the part's searches order[0 .. n-1]. */
static void
make_group(struct flat_scratch *s, struct flat_group *g, const size_t *order, size_t n,
    size_t part)
{
	const struct distance_query **queries = s->queries + (order - s->order);

	for (size_t j = 0; j < n; j++)
		queries[j] = s->scanning[part * s->n + order[j]];
	*g = (struct flat_group){
	    .batch = {queries, n, NULL},
	    .together = n >= s->kernel->batch_least(queries[0]),
	    .coarse = queries[0]->shape.bits != s->snapshot->parts[part].shape.bits,
	    .searches = order,
	};
}

/* Sort the searches of a part into groups of like queries, from order[0] on. */
static void
group_part(struct flat_scratch *s, size_t part, size_t *order)
{
	const struct distance_query **scanning = s->scanning + part * s->n;
	struct flat_part *of = &s->parts[part];
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!s->sparse[i])
			order[n++] = i;
	for (size_t begin = 0, end; begin < n; begin = end) {
		const struct distance_query *first = scanning[order[begin]];
		end = begin + 1;
		for (size_t i = end; i < n && end - begin < FLAT_BATCH_MAX; i++) {
			size_t other = order[i];
			if (!is_like(first, scanning[other]))
				continue;
			order[i] = order[end];
			order[end++] = other;
		}
		make_group(s, &s->groups[of->first + of->n++], order + begin,
		    end - begin, part);
	}
}

static int
reserve(struct flat_scratch *s, struct error *err)
{
	const size_t n = s->n * s->snapshot->n_parts; /* groups, too, at most */
	bool progressive = false;

	for (size_t i = 0; i < s->n; i++)
		progressive |= s->searches[i].progressive != NULL;
	if (progressive && n > s->coarse_max) {
		s->coarse_max = 0;
		if (!flat_grow(&s->coarse, n, sizeof *s->coarse))
			return no_memory(err);
		s->coarse_max = n;
	}
	if (n <= s->queries_max)
		return 0;
	s->queries_max = 0;
	if (!flat_grow(&s->scanning, n, sizeof *s->scanning) ||
	    !flat_grow(&s->queries, n, sizeof *s->queries) ||
	    !flat_grow(&s->order, n, sizeof *s->order) ||
	    !flat_grow(&s->groups, n, sizeof *s->groups))
		return no_memory(err);
	s->queries_max = n;
	return 0;
}

/* What the kernel prepares for the groups. */
static int
prepare(struct flat_scratch *s, size_t n_groups, struct error *err)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n_groups; i++)
		bytes += prepared_bytes(s, &s->groups[i]);
	if (bytes > s->prepared_max) {
		s->prepared_max = 0;
		if (!flat_grow(&s->prepared, bytes, 1))
			return no_memory(err);
		s->prepared_max = bytes;
	}
	uint8_t *at = s->prepared;
	for (size_t i = 0; i < n_groups; i++) {
		if (!s->groups[i].together)
			continue;
		s->groups[i].batch.prepared = at;
		s->kernel->batch_prepare(&s->groups[i].batch);
		at += prepared_bytes(s, &s->groups[i]);
	}
	return 0;
}

int
flat_group_searches(struct flat_scratch *s, struct error *err)
{
	size_t n_groups = 0;

	if (reserve(s, err) != 0)
		return -1;
	choose_queries(s);
	s->unit = unit(s);
	for (size_t p = 0; p < s->snapshot->n_parts; p++) {
		s->parts[p] = (struct flat_part){n_groups, 0};
		group_part(s, p, s->order + p * s->n);
		n_groups += s->parts[p].n;
	}
	return prepare(s, n_groups, err);
}
