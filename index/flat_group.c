#include <stdlib.h>

#include "base/alloc.h"
#include "index/flat_internal.h"

/* Blocks of a small set are scanned one by one, each query alone: that is cheaper than
 * to take it into a batch while fewer than one of so many has a row. */
#define SPARSE_SHARE 4

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

/* Whether two queries for a part can be in a batch. */
static bool
is_like(const struct distance_query *a, const struct distance_query *b)
{
	return a->kind == b->kind && a->mask == b->mask;
}

/* A group := searches order[0 .. n-1]; returns how many bytes the kernel prepares. */
static size_t
make_group(struct flat_scratch *s, struct flat_group *g, const size_t *order, size_t n,
    size_t part)
{
	const struct distance_query **queries = s->queries + (order - s->order);
	const struct distance_query *first = &s->searches[order[0]].query[part];
	const bool batch = n >= s->kernel->batch_least(first);

	*g = (struct flat_group){
	    .batch = {queries, batch ? n : 0, NULL}, .searches = order, .n = n};
	for (size_t j = 0; j < n; j++)
		queries[j] = &s->searches[order[j]].query[part];
	return batch ? (s->kernel->batch_bytes(queries[0], n) + 63) / 64 * 64 : 0;
}

/* Sort the searches of a part into groups of like queries, from order[0] on. */
static size_t
group_part(struct flat_scratch *s, size_t part, size_t *order)
{
	struct flat_part *of = &s->parts[part];
	size_t done = 0, bytes = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!s->sparse[i])
			order[done++] = i;
	for (size_t begin = 0, end; begin < done; begin = end) {
		const struct distance_query *q = &s->searches[order[begin]].query[part];
		end = begin + 1;
		for (size_t i = end; i < done && end - begin < FLAT_BATCH_MAX; i++) {
			size_t other = order[i];
			if (!is_like(q, &s->searches[other].query[part]))
				continue;
			order[i] = order[end];
			order[end++] = other;
		}
		bytes += make_group(
		    s, &s->groups[of->first + of->n], order + begin, end - begin, part);
		of->n++;
	}
	return bytes;
}

static int
reserve(struct flat_scratch *s, size_t n_groups, struct error *err)
{
	if (n_groups <= s->groups_max)
		return 0;
	/* A group for each query, at most. */
	void *groups = array_new(n_groups, sizeof *s->groups);
	void *queries = array_new(n_groups, sizeof *s->queries);
	void *order = array_new(n_groups, sizeof *s->order);
	if (!groups || !queries || !order) {
		free(groups);
		free(queries);
		free(order);
		return no_memory(err);
	}
	free(s->groups);
	free(s->queries);
	free(s->order);
	s->groups = groups;
	s->queries = queries;
	s->order = order;
	s->groups_max = n_groups;
	return 0;
}

/* Memory for what the kernel prepares, and prepare it. */
static int
prepare(struct flat_scratch *s, size_t n_groups, size_t bytes, struct error *err)
{
	if (bytes > s->prepared_max) {
		uint8_t *prepared = array_new_aligned(bytes, 1);
		if (!prepared)
			return no_memory(err);
		free(s->prepared);
		s->prepared = prepared;
		s->prepared_max = bytes;
	}
	uint8_t *at = s->prepared;
	for (size_t i = 0; i < n_groups; i++) {
		struct distance_batch *batch = &s->groups[i].batch;
		if (batch->n == 0)
			continue;
		batch->prepared = at;
		s->kernel->batch_prepare(batch);
		at += (s->kernel->batch_bytes(batch->queries[0], batch->n) + 63) / 64 *
		      64;
	}
	return 0;
}

int
flat_group_searches(struct flat_scratch *s, struct error *err)
{
	size_t n_groups = 0, bytes = 0;

	if (reserve(s, s->n * s->snapshot->n_parts, err) != 0)
		return -1;
	for (size_t i = 0; i < s->n; i++)
		s->sparse[i] = is_sparse(s->searches[i].rows, s->snapshot->n_slots);
	for (size_t p = 0; p < s->snapshot->n_parts; p++) {
		s->parts[p] = (struct flat_part){n_groups, 0};
		bytes += group_part(s, p, s->order + p * s->n);
		n_groups += s->parts[p].n;
	}
	return prepare(s, n_groups, bytes, err);
}
