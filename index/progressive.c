#include "index/progressive.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define COARSE_TOP 7 /* the largest value of a coarse query */

/* Searches until the first check and, twice as many each time, between later ones: an
 * exact search that is alone in a batch costs as much as ten that are not. */
#define CHECK_FIRST 8
#define CHECK_LAST 256

/* Of the hits of checks such a share may be lost; of so many more than that, the
 * queries are others than those that were learned from (a CUSUM test: Page 1954). */
#define LOST_SHARE 0.03
#define DOUBT_MAX 4

struct part {
	uint32_t number; /* 0: free */
	uint32_t n_rows; /* when it was begun */
	float slope;
	float margin;
	double doubt;        /* hits that checks found lost, less as many as may be */
	uint32_t wait, left; /* searches from check to check, until the next one */
	size_t n_seen;       /* hits; the last ones are the samples */
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

static bool
is_known(const struct part *part)
{
	return part->n_seen >= PROGRESSIVE_SAMPLES;
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
	if (!store_has_plane0(of) || !part || !is_known(part) || !is_current(part, of))
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

bool
progressive_is_check(struct progressive *p, const struct store_part *of)
{
	struct part *part = find(p, of->number);

	if (!part || !is_known(part) || --part->left > 0)
		return false;
	part->wait = part->wait < CHECK_LAST ? 2 * part->wait : CHECK_LAST;
	part->left = part->wait;
	return true;
}

/* ---- learning ---- */

static void
forget(struct part *part, const struct store_part *of)
{
	*part = (struct part){.number = of->number,
	    .n_rows = of->n_live,
	    .wait = CHECK_FIRST,
	    .left = CHECK_FIRST};
}

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
		return part;
	/* Of a part that has been dropped nothing needs to be known. */
	for (size_t j = 0; !part && j < STORE_PARTS_MAX; j++) {
		bool gone = true;
		for (size_t k = 0; k < snapshot->n_parts; k++)
			if (snapshot->parts[k].number == p->parts[j].number)
				gone = false;
		if (gone)
			part = &p->parts[j];
	}
	forget(part, of);
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
	double norm;                  /* |q| */
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

static int
compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

/* Slope and margin := of the samples. */
static void
settle(struct part *part)
{
	float off[PROGRESSIVE_SAMPLES];
	double xx = 0, xy = 0;

	for (size_t i = 0; i < PROGRESSIVE_SAMPLES; i++) {
		xx += (double)part->first[i] * (double)part->first[i];
		xy += (double)part->first[i] * (double)part->whole[i];
	}
	part->slope = xx > 0 ? (float)(xy / xx) : 0;
	for (size_t i = 0; i < PROGRESSIVE_SAMPLES; i++)
		off[i] = part->whole[i] - part->slope * part->first[i];
	qsort(off, PROGRESSIVE_SAMPLES, sizeof *off, compare);
	part->margin = off[(size_t)(PROGRESSIVE_KEPT * PROGRESSIVE_SAMPLES)];
}

/* A hit is a sample, instead of the oldest one; returns whether a search that ends with
 * this least score would have lost it. */
static bool
learn_hit(struct part *part, const struct lesson *l, struct hit hit, float least)
{
	const size_t row = hit.slot % STORE_CHUNK_ROWS, r = row % DISTANCE_ROWS;
	const struct store_chunk *chunk = l->of->chunks[hit.slot / STORE_CHUNK_ROWS];
	const size_t i = part->n_seen++ % PROGRESSIVE_SAMPLES;
	struct pair pair;

	meet(&pair, l, hit.slot / STORE_CHUNK_ROWS, row / DISTANCE_ROWS);
	part->whole[i] = (float)(l->whole * pair.whole[r]);
	part->first[i] = (float)(l->first * pair.first[r]);
	/* Of the score one <q, v>, in units of |q|, makes so much. */
	double unit = l->norm * (double)chunk->factor[row];
	if (l->q->terms.metric == DISTANCE_EUCLID)
		unit *= 2;
	double off = (double)(part->whole[i] - part->slope * part->first[i]);
	return (off - (double)part->margin) * unit > (double)(hit.score - least);
}

/* What the hits in part i of the snapshot teach. */
static void
learn(struct part *part, const struct lesson *l, const struct hit *hits, size_t n,
    const struct store_snapshot *snapshot, size_t i)
{
	const bool was_known = is_known(part);
	double lost = 0;

	for (size_t j = 0; j < n; j++)
		if (store_part(snapshot, hits[j].slot) == (int)i)
			lost +=
			    learn_hit(part, l, hits[j], hits[n - 1].score) - LOST_SHARE;
	if (was_known)
		part->doubt = fmax(part->doubt + lost, 0);
	if (part->doubt > DOUBT_MAX)
		forget(part, l->of);
	else if (is_known(part))
		settle(part);
}

void
progressive_learn(struct progressive *p, const struct distance_kernel *kernel,
    const struct distance_query *queries, uint32_t exact, const struct hit *hits,
    size_t n, const struct store_snapshot *snapshot)
{
	n = n < PROGRESSIVE_HITS ? n : PROGRESSIVE_HITS;
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < snapshot->n_parts; i++) {
		struct lesson l = {
		    .kernel = kernel, .of = &snapshot->parts[i], .q = &queries[i]};
		struct part *part = exact >> i & 1 ? begin(p, snapshot, i) : NULL;
		if (!part)
			continue;
		l.norm = length(l.q);
		if (l.norm <= 0)
			continue;
		coarsen(&l.coarse, l.q, 1);
		l.whole = (double)l.q->scale / l.norm;
		l.first = (double)l.coarse.scale / l.norm;
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
		    is_known(part) ? PROGRESSIVE_SAMPLES : part->n_seen, part->slope,
		    part->margin};
	pthread_mutex_unlock(&p->lock);
	return info;
}
