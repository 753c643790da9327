#include "tests/support/distance_twin.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/guard.h"

#define QUERIES_MAX 64

struct world {
	struct rng *rng;
	struct code_shape shape;
	enum distance_kind kind;
	size_t n_queries, n_blocks;
	uint32_t planes;
	struct distance_query *query; /* (QUERIES_MAX) */
	uint8_t *blocks;
	uint8_t *work;
	int32_t *want; /* (QUERIES_MAX, rows of all blocks) */
};

static size_t
round_up(size_t n)
{
	return (n + 63) / 64 * 64;
}

/* Values of one of several manners: kernels may choose their way by the largest. */
static void
fill_query(struct world *w, struct distance_query *q, unsigned manner)
{
	const struct distance_terms terms = {DISTANCE_DOT, 0, 1, NULL};
	const unsigned most[] = {1, 7, 16, 127};
	const int top = (1 << w->shape.bits) - 1;
	uint8_t levels[CODE_DIMS_MAX];
	int8_t values[CODE_DIMS_MAX];

	for (size_t i = 0; i < w->shape.dims; i++) {
		levels[i] = (uint8_t)rng_below(w->rng, (uint64_t)top + 1);
		if (manner < 4)
			values[i] =
			    (int8_t)((int)rng_below(w->rng, 2 * most[manner] + 1) -
				     (int)most[manner]);
		else
			values[i] = manner == 4 ? 127 : -128;
		if (manner >= 4)
			levels[i] = (uint8_t)(manner == 4 ? top : 0);
	}
	if (w->kind == DISTANCE_HAMMING)
		distance_query_hamming(q, levels, w->shape);
	else if (w->kind == DISTANCE_SDC)
		distance_query_sdc(q, levels, 1, w->shape, terms);
	else
		distance_query_int8(q, values, 1, w->shape, terms);
}

/* Codes, queries and their dots by the scalar kernel. */
static void
fill(struct world *w)
{
	const size_t bytes = w->n_blocks * distance_block_bytes(w->shape);
	const unsigned keep = w->shape.bits == 3 ? 0x77 : 0xFF;
	const unsigned manner = (unsigned)rng_below(w->rng, 7); /* 6: any */
	const bool full = rng_below(w->rng, 4) == 0;

	w->planes = rng_below(w->rng, 2)
			? w->shape.bits
			: 1 + (uint32_t)rng_below(w->rng, w->shape.bits);
	w->blocks = guard_new(bytes);
	for (size_t i = 0; i < bytes; i++)
		w->blocks[i] = (uint8_t)((full ? 0xFF : rng_u64(w->rng)) & keep);
	for (size_t i = 0; i < w->n_queries; i++) {
		fill_query(w, &w->query[i],
		    manner < 6 ? manner : (unsigned)rng_below(w->rng, 6));
		distance_query_planes(&w->query[i], w->planes);
		distance_dots(distance_find(CPU_SCALAR),
		    w->want + i * w->n_blocks * DISTANCE_ROWS, &w->query[i], w->blocks,
		    w->n_blocks);
	}
}

static int
differs(const struct world *w, const struct distance_kernel *kernel, const char *what,
    struct error *err)
{
	static const char *const kinds[] = {"hamming", "sdc", "int8"};

	return error_set(err, ERR_FORMAT,
	    "expected %s of scalar from %s: %s, %u x %u bits, %u planes, %zu queries, "
	    "%zu blocks",
	    what, kernel->name, kinds[w->kind], w->shape.dims, w->shape.bits, w->planes,
	    w->n_queries, w->n_blocks);
}

/* Which rows reach a dot, and one that is too much. */
static bool
same_reached(
    const struct world *w, const struct distance_kernel *kernel, const int32_t *dots)
{
	const struct distance_kernel *scalar = distance_find(CPU_SCALAR);
	uint16_t want[DISTANCE_BATCH_BLOCKS], got[DISTANCE_BATCH_BLOCKS];
	const int32_t some = dots[2];
	int32_t most = some;

	for (size_t r = 0; r < w->n_blocks * DISTANCE_ROWS; r++)
		most = dots[r] > most ? dots[r] : most;
	return !kernel->reach(got, dots, w->n_blocks, most + 1) &&
	       scalar->reach(want, dots, w->n_blocks, some) &&
	       kernel->reach(got, dots, w->n_blocks, some) &&
	       memcmp(got, want, w->n_blocks * sizeof *got) == 0;
}

/* Which of the scores at centres reach that of a row, which scalar finds too. */
static bool
same_at_centres(
    const struct world *w, const struct distance_kernel *kernel, const int32_t *dots)
{
	const size_t n = w->n_blocks * DISTANCE_ROWS;
	float *factor = guard_new(n * sizeof *factor);
	float *norm2 = guard_new(n * sizeof *norm2);
	struct code_place *place = guard_new(n * sizeof *place);
	const struct distance_rows rows = {NULL, factor, norm2, place};
	uint16_t want[DISTANCE_BATCH_BLOCKS], got[DISTANCE_BATCH_BLOCKS];
	struct distance_query q = w->query[0];

	q.kind = DISTANCE_INT8;
	q.terms.metric = rng_below(w->rng, 2) ? DISTANCE_EUCLID : DISTANCE_DOT;
	for (size_t c = 0; c < 4; c++)
		q.bases[c] = (rng_uniform(w->rng) - 0.5f) * 200 * q.scale;
	for (size_t r = 0; r < n; r++) {
		factor[r] = rng_uniform(w->rng) + 0.5f;
		norm2[r] = rng_uniform(w->rng);
		place[r].centre = (uint16_t)rng_below(w->rng, 4);
		place[r].share = code_share(rng_uniform(w->rng) * 2);
	}
	const size_t r = rng_below(w->rng, n);
	float least = code_share_value(place[r].share) * q.bases[place[r].centre] +
		      q.scale * (float)dots[r];
	least = q.terms.base + factor[r] * least;
	if (q.terms.metric == DISTANCE_EUCLID)
		least = 2 * least - norm2[r];
	bool same = distance_find(CPU_SCALAR)
			->reach_at(want, dots, w->n_blocks, &q, &rows, least) &&
		    want[r / DISTANCE_ROWS] >> r % DISTANCE_ROWS & 1 &&
		    kernel->reach_at(got, dots, w->n_blocks, &q, &rows, least) &&
		    memcmp(got, want, w->n_blocks * sizeof *got) == 0;
	guard_free(factor, n * sizeof *factor);
	guard_free(norm2, n * sizeof *norm2);
	guard_free(place, n * sizeof *place);
	return same;
}

/* The first query by itself, and which rows reach some. */
static int
compare_one(
    const struct world *w, const struct distance_kernel *kernel, struct error *err)
{
	const size_t bytes = w->n_blocks * DISTANCE_ROWS * sizeof(int32_t);
	int32_t *dots = guard_new(bytes);
	int result = 0;

	distance_dots(kernel, dots, &w->query[0], w->blocks, w->n_blocks);
	if (memcmp(dots, w->want, bytes) != 0)
		result = differs(w, kernel, "the dots alone", err);
	memcpy(dots, w->want, bytes);
	if (!same_reached(w, kernel, dots))
		result = differs(w, kernel, "the reached rows", err);
	if (!same_at_centres(w, kernel, dots))
		result = differs(w, kernel, "the reached rows at centres", err);
	guard_free(dots, bytes);
	return result;
}

/* Dots of queries lie apart by more than a query's: what is between them stays. */
static int
compare_batch(
    const struct world *w, const struct distance_kernel *kernel, struct error *err)
{
	const size_t rows = w->n_blocks * DISTANCE_ROWS;
	const size_t stride = rows + rng_below(w->rng, 3) * DISTANCE_ROWS;
	const size_t n_dots = (w->n_queries - 1) * stride + rows;
	const struct distance_query *queries[QUERIES_MAX];
	const size_t n_prepared = round_up(kernel->batch_bytes(w->query, w->n_queries));
	struct distance_batch batch = {queries, w->n_queries, guard_new(n_prepared)};
	int32_t *dots = guard_new(n_dots * sizeof *dots);
	int result = 0;

	for (size_t i = 0; i < w->n_queries; i++)
		queries[i] = &w->query[i];
	memset(dots, 0x77, n_dots * sizeof *dots);
	kernel->batch_prepare(&batch);
	kernel->batch_dots(dots, stride, &batch, w->blocks, w->n_blocks, w->work);
	for (size_t i = 0; i < w->n_queries; i++) {
		const int32_t *of_query = dots + i * stride;
		if (memcmp(of_query, w->want + i * rows, rows * sizeof *dots) != 0)
			result = differs(w, kernel, "the dots of a batch", err);
		for (size_t j = rows; i + 1 < w->n_queries && j < stride; j++)
			if (of_query[j] != 0x77777777)
				result =
				    differs(w, kernel, "nothing between the dots", err);
	}
	guard_free(dots, n_dots * sizeof *dots);
	guard_free(batch.prepared, n_prepared);
	return result;
}

/* One case, of a shape and number of queries. */
static int
compare(struct world *w, const struct distance_kernel *kernel, size_t odds,
    struct code_shape shape, size_t n_queries, struct error *err)
{
	int result;

	if (rng_below(w->rng, odds) != 0)
		return 0;
	w->shape = shape;
	w->n_queries = n_queries;
	w->n_blocks = 1 + rng_below(w->rng, DISTANCE_BATCH_BLOCKS);
	fill(w);
	result = compare_one(w, kernel, err);
	if (result == 0)
		result = compare_batch(w, kernel, err);
	guard_free(w->blocks, w->n_blocks * distance_block_bytes(w->shape));
	return result;
}

static int
compare_all(struct world *w, const struct distance_kernel *kernel, size_t odds,
    uint32_t bits, struct error *err)
{
	for (size_t n = 1; n <= 40; n++) {
		uint32_t dims = 64 + 64 * (uint32_t)rng_below(w->rng, 9);
		if (compare(w, kernel, odds, (struct code_shape){dims, bits, 0},
			n > 35 ? QUERIES_MAX : n, err) != 0)
			return -1;
	}
	for (size_t i = 0; i < 4; i++)
		if (compare(w, kernel, odds,
			(struct code_shape){CODE_DIMS_MAX, bits, 0},
			1 + rng_below(w->rng, 5), err) != 0)
			return -1;
	return 0;
}

int
distance_twin_compare(const struct distance_kernel *kernel, size_t odds,
    struct rng *rng, struct error *err)
{
	struct world w = {.rng = rng, .work = guard_new(DISTANCE_WORK_BYTES)};
	int result = 0;

	w.query = aligned_alloc(64, QUERIES_MAX * sizeof *w.query);
	w.want = aligned_alloc(
	    64, QUERIES_MAX * DISTANCE_BATCH_BLOCKS * DISTANCE_ROWS * sizeof *w.want);
	for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++)
		for (uint32_t bits = 1; result == 0 && bits <= CODE_BITS_MAX; bits++) {
			w.kind = (enum distance_kind)kind;
			result = compare_all(&w, kernel, odds, bits, err);
		}
	free(w.query);
	free(w.want);
	guard_free(w.work, DISTANCE_WORK_BYTES);
	return result;
}
