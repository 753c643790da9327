#include "index/progressive.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define COARSE_TOP 7    /* the largest value of a coarse query */
#define SLOPE_BLOCKS 64 /* of a search, that a slope is taken from */

struct part {
	uint32_t number; /* 0: free */
	uint32_t n_rows; /* when it was begun */
	float slope;
	float margin;
	double xx, xy; /* sums over rows: first^2 and first * whole */
	size_t n_samples;
	/* <q, v> and <q', s_0> of hits, in units of |q| */
	float whole[PROGRESSIVE_SAMPLES], first[PROGRESSIVE_SAMPLES];
};

struct progressive {
	pthread_mutex_t lock; /* for who asks what is known */
	struct part parts[STORE_PARTS_MAX];
};

struct progressive *
progressive_new(struct error *err)
{
	struct progressive *p = array_new(1, sizeof *p);

	if (p)
		pthread_mutex_init(&p->lock, NULL);
	else
		error_set(err, ERR_MEMORY, "no memory for progressive search");
	return p;
}

void
progressive_free(struct progressive *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct part *
find(struct progressive *p, uint32_t number)
{
	for (size_t i = 0; i < STORE_PARTS_MAX; i++)
		if (p->parts[i].number == number)
			return &p->parts[i];
	return NULL;
}

/* What was learned of half or twice as many rows is of another collection. */
static bool
is_current(const struct part *part, const struct store_part *of)
{
	return of->n_live <= 2 * (uint64_t)part->n_rows &&
	       2 * (uint64_t)of->n_live >= part->n_rows;
}

/* ---- the query ---- */

/* |q| in the coordinates of codes. */
static double
length(const struct distance_query *q)
{
	double sum = 0;

	for (size_t i = 0; i < q->shape.dims; i++)
		sum += (double)q->values[i] * q->values[i];
	return sqrt(sum) * (double)q->scale * (double)(1 << (q->shape.bits - 1));
}

/* *coarse := q for plane 0, without a margin. */
static void
coarsen(struct distance_query *coarse, const struct distance_query *q, float slope)
{
	struct code_shape shape = {q->shape.dims, 1, q->shape.centres};
	struct distance_terms terms = q->terms;
	int8_t values[CODE_DIMS_MAX];
	int most = 1;

	for (size_t i = 0; i < q->shape.dims; i++)
		if (abs(q->values[i]) > most)
			most = abs(q->values[i]);
	for (size_t i = 0; i < q->shape.dims; i++)
		values[i] =
		    (int8_t)lrintf((float)(q->values[i] * COARSE_TOP) / (float)most);
	terms.bases = q->bases;
	distance_query_int8(coarse, values,
	    slope * q->scale * (float)(1 << (q->shape.bits - 1)) * (float)most /
		COARSE_TOP,
	    shape, terms);
}

bool
progressive_coarse(struct distance_query *coarse, struct progressive *p,
    const struct store_part *of, const struct distance_query *q)
{
	const struct part *part = find(p, of->number);

	assert(q->kind != DISTANCE_HAMMING);
	if (!store_has_plane0(of) || !part || part->n_samples < PROGRESSIVE_SAMPLES ||
	    !is_current(part, of))
		return false;
	coarsen(coarse, q, part->slope);
	if (!(coarse->scale > 0))
		return false;
	double more = (double)part->margin * length(q) / (double)coarse->scale;
	if (!(fabs(more) < INT32_MAX / 2))
		return false;
	coarse->bias -= (int32_t)ceil(more);
	return true;
}

/* ---- learning ---- */

/* The part's entry, begun anew if what it has is not of these rows; NULL if there is
 * nothing to learn. */
static struct part *
begin(struct progressive *p, const struct store_snapshot *snapshot, size_t i)
{
	const struct store_part *of = &snapshot->parts[i];
	struct part *part = find(p, of->number);

	if (of->n_live < PROGRESSIVE_ROWS || !store_has_plane0(of))
		return NULL;
	if (part && is_current(part, of))
		return part->n_samples < PROGRESSIVE_SAMPLES ? part : NULL;
	/* Of a part that has been dropped nothing needs to be known. */
	for (size_t j = 0; !part && j < STORE_PARTS_MAX; j++) {
		bool gone = true;
		for (size_t k = 0; k < snapshot->n_parts; k++)
			if (snapshot->parts[k].number == p->parts[j].number)
				gone = false;
		if (gone)
			part = &p->parts[j];
	}
	*part = (struct part){.number = of->number, .n_rows = of->n_live};
	return part;
}

/* The dots of a block's rows by a query and by plane 0 alone. */
struct pair {
	_Alignas(64) int32_t whole[DISTANCE_ROWS];
	_Alignas(64) int32_t first[DISTANCE_ROWS];
};

/* What a search teaches about a part. */
struct lesson {
	const struct distance_kernel *kernel;
	const struct store_part *of;
	const struct distance_query *q;
	struct distance_query coarse; /* at slope 1 */
	double whole, first;          /* <q, v> and <q', s_0> a dot, in units of |q| */
};

static void
meet(struct pair *pair, const struct lesson *l, size_t chunk, size_t block)
{
	const struct store_chunk *c = l->of->chunks[chunk];
	const struct code_shape shape = l->of->shape, shape0 = store_plane0(shape);

	distance_dots(l->kernel, pair->whole, l->q,
	    c->codes + block * distance_block_bytes(shape), 1);
	distance_dots(l->kernel, pair->first, &l->coarse,
	    c->plane0 + block * distance_block_bytes(shape0), 1);
}

/* Add what some blocks say of the slope. */
static void
learn_slope(struct part *part, const struct lesson *l, size_t n_chunks)
{
	const size_t step = n_chunks / SLOPE_BLOCKS + 1;
	struct pair pair;

	for (size_t i = 0; i < SLOPE_BLOCKS; i++) {
		size_t chunk = i * step % n_chunks;
		size_t block = (i * 13 + part->n_samples) % STORE_CHUNK_BLOCKS;
		if (!l->of->chunks[chunk])
			continue;
		meet(&pair, l, chunk, block);
		uint32_t live = l->of->chunks[chunk]->live[block];
		for (; live; live &= live - 1) {
			int r = __builtin_ctz(live);
			double x = l->first * pair.first[r];
			part->xx += x * x;
			part->xy += x * l->whole * pair.whole[r];
		}
	}
}

static int
compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

/* The last sample is there. */
static void
settle(struct part *part)
{
	float off[PROGRESSIVE_SAMPLES];

	part->slope = part->xx > 0 ? (float)(part->xy / part->xx) : 0;
	for (size_t i = 0; i < PROGRESSIVE_SAMPLES; i++)
		off[i] = part->whole[i] - part->slope * part->first[i];
	qsort(off, PROGRESSIVE_SAMPLES, sizeof *off, compare);
	part->margin = off[(size_t)(PROGRESSIVE_KEPT * PROGRESSIVE_SAMPLES)];
}

static void
learn_hit(struct part *part, const struct lesson *l, uint32_t slot)
{
	const size_t row = slot % STORE_CHUNK_ROWS, r = row % DISTANCE_ROWS;
	const size_t i = part->n_samples;
	struct pair pair;

	meet(&pair, l, slot / STORE_CHUNK_ROWS, row / DISTANCE_ROWS);
	part->whole[i] = (float)(l->whole * pair.whole[r]);
	part->first[i] = (float)(l->first * pair.first[r]);
	if (++part->n_samples == PROGRESSIVE_SAMPLES)
		settle(part);
}

/* What the hits in part i of the snapshot teach. */
static void
learn(struct part *part, const struct lesson *l, const struct hit *hits, size_t n,
    const struct store_snapshot *snapshot, size_t i)
{
	learn_slope(part, l, snapshot->n_chunks);
	for (size_t j = 0; j < n && part->n_samples < PROGRESSIVE_SAMPLES; j++)
		if (store_part(snapshot, hits[j].slot) == (int)i)
			learn_hit(part, l, hits[j].slot);
}

void
progressive_learn(struct progressive *p, const struct distance_kernel *kernel,
    const struct distance_query *queries, const struct hit *hits, size_t n,
    const struct store_snapshot *snapshot)
{
	n = n < PROGRESSIVE_HITS ? n : PROGRESSIVE_HITS;
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < snapshot->n_parts; i++) {
		struct lesson l = {
		    .kernel = kernel, .of = &snapshot->parts[i], .q = &queries[i]};
		struct part *part = begin(p, snapshot, i);
		double norm = part ? length(l.q) : 0;
		if (norm <= 0)
			continue;
		coarsen(&l.coarse, l.q, 1);
		l.whole = (double)l.q->scale / norm;
		l.first = (double)l.coarse.scale / norm;
		learn(part, &l, hits, n, snapshot, i);
	}
	pthread_mutex_unlock(&p->lock);
}

struct progressive_info
progressive_info(struct progressive *p, uint32_t number)
{
	struct progressive_info info = {0};

	pthread_mutex_lock(&p->lock);
	const struct part *part = find(p, number);
	if (part)
		info = (struct progressive_info){
		    part->n_samples, part->slope, part->margin};
	pthread_mutex_unlock(&p->lock);
	return info;
}
