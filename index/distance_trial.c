#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/distance_kernels.h"

/* The self-test: a few small shapes with every field, kind and tail, alone and in
 * batches. */
#define DIMS_MAX 320
#define ROWS (DISTANCE_BATCH_BLOCKS * DISTANCE_ROWS)
#define QUERIES 35 /* two tiles of queries and a few */

struct trial {
	_Alignas(
	    64) uint8_t blocks[DISTANCE_BATCH_BLOCKS * DIMS_MAX / 2 * DISTANCE_ROWS];
	_Alignas(64) int32_t want[QUERIES][ROWS];
	_Alignas(64) int32_t dots[QUERIES * ROWS];
	_Alignas(64) uint8_t work[DISTANCE_WORK_BYTES];
	struct distance_query query[QUERIES];
};

/* A query of signed bytes up to `most`; of small ones kernels may make other tables. */
static void
fill_query(struct distance_query *q, struct rng *rng, struct code_shape shape,
    enum distance_kind kind, unsigned most)
{
	const struct distance_terms terms = {DISTANCE_DOT, 0, 1, NULL};
	uint8_t levels[DIMS_MAX];
	int8_t values[DIMS_MAX];

	for (size_t i = 0; i < shape.dims; i++) {
		levels[i] = (uint8_t)rng_below(rng, 1u << shape.bits);
		values[i] = (int8_t)((int)rng_below(rng, 2 * most) - (int)most);
	}
	if (kind == DISTANCE_HAMMING)
		distance_query_hamming(q, levels, shape);
	else if (kind == DISTANCE_SDC)
		distance_query_sdc(q, levels, 1, shape, terms);
	else
		distance_query_int8(q, values, 1, shape, terms);
}

static bool
same_reached(const struct distance_kernel *kernel, const int32_t *dots, size_t n_blocks)
{
	uint16_t want[DISTANCE_BATCH_BLOCKS], got[DISTANCE_BATCH_BLOCKS];
	const int32_t least[] = {-INT32_MAX, dots[0], dots[3] + 1, INT32_MAX};

	for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
		bool any = distance_scalar.reach(want, dots, n_blocks, least[i]);
		if (kernel->reach(got, dots, n_blocks, least[i]) != any ||
		    (any && memcmp(want, got, n_blocks * sizeof *want) != 0))
			return false;
	}
	return true;
}

/* Of rows at centres: which scores reach that of a row. */
static bool
same_reached_at(const struct trial *t, const struct distance_kernel *kernel,
    const int32_t *dots, size_t n_blocks)
{
	_Alignas(64) float factor[ROWS] = {0}, norm2[ROWS] = {0};
	struct code_place place[ROWS] = {{0, 0}};
	uint16_t want[DISTANCE_BATCH_BLOCKS], got[DISTANCE_BATCH_BLOCKS];
	const struct distance_rows rows = {NULL, factor, norm2, place};
	struct distance_query q = t->query[0];

	q.kind = DISTANCE_INT8;
	for (size_t r = 0; r < n_blocks * DISTANCE_ROWS; r++) {
		factor[r] = 1 + (float)(r % 5) / 7;
		norm2[r] = (float)(r % 7) / 3;
		place[r] = (struct code_place){
		    (uint16_t)(r % 3), code_share((float)(r % 11) / 9)};
	}
	for (size_t i = 0; i < 4; i++) {
		q.terms.metric = i % 2 ? DISTANCE_EUCLID : DISTANCE_DOT;
		for (size_t c = 0; c < 3; c++)
			q.bases[c] = (float)c * q.scale * 50 - 1;
		float least = distance_score(dots[i], &q, &rows, i);
		if (!distance_scalar.reach_at(want, dots, n_blocks, &q, &rows, least) ||
		    !kernel->reach_at(got, dots, n_blocks, &q, &rows, least) ||
		    memcmp(want, got, n_blocks * sizeof *want) != 0)
			return false;
	}
	return true;
}

static bool
same_dots(struct trial *t, const struct distance_kernel *kernel, size_t n_queries,
    size_t n_blocks, void *prepared)
{
	const struct distance_query *queries[QUERIES];
	const size_t bytes = n_blocks * DISTANCE_ROWS * sizeof(int32_t);

	for (size_t i = 0; i < n_queries; i++) {
		queries[i] = &t->query[i];
		distance_dots(
		    &distance_scalar, t->want[i], queries[i], t->blocks, n_blocks);
		distance_dots(kernel, t->dots, queries[i], t->blocks, n_blocks);
		if (memcmp(t->dots, t->want[i], bytes) != 0)
			return false;
	}
	const struct distance_batch batch = {queries, n_queries, prepared};
	kernel->batch_prepare(&batch);
	kernel->batch_dots(t->dots, ROWS, &batch, t->blocks, n_blocks, t->work);
	for (size_t i = 0; i < n_queries; i++)
		if (memcmp(t->dots + i * ROWS, t->want[i], bytes) != 0)
			return false;
	return same_reached(kernel, t->want[0], n_blocks) &&
	       same_reached_at(t, kernel, t->want[0], n_blocks);
}

static bool
agrees_on(struct trial *t, const struct distance_kernel *kernel, struct rng *rng,
    struct code_shape shape, enum distance_kind kind)
{
	static const unsigned most[] = {128, 7};
	const size_t n_queries = 1 + rng_below(rng, QUERIES);
	const size_t n_blocks = 1 + rng_below(rng, DISTANCE_BATCH_BLOCKS);
	const uint32_t planes =
	    rng_below(rng, 2) ? shape.bits : 1 + (uint32_t)rng_below(rng, shape.bits);

	for (size_t i = 0; i < sizeof t->blocks; i++) {
		/* A 3-bit level leaves the top bit of its field clear. */
		unsigned keep = shape.bits == 3 ? 0x77 : 0xFF;
		t->blocks[i] = (uint8_t)(rng_u64(rng) & keep);
	}
	for (size_t i = 0; i < n_queries; i++) {
		fill_query(&t->query[i], rng, shape, kind, most[rng_below(rng, 2)]);
		distance_query_planes(&t->query[i], planes);
	}
	void *prepared =
	    array_new_aligned(kernel->batch_bytes(t->query, n_queries) + 1, 1);
	bool same = prepared && same_dots(t, kernel, n_queries, n_blocks, prepared);
	free(prepared);
	return same;
}

bool
distance_agrees(const struct distance_kernel *kernel)
{
	static const uint32_t dims[] = {64, 128, 192, DIMS_MAX};
	struct trial *t = array_new_aligned(1, sizeof *t);
	bool same = t != NULL;
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (uint32_t bits = 1; bits <= CODE_BITS_MAX; bits++)
		for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++)
			for (size_t d = 0; same && d < sizeof dims / sizeof *dims; d++)
				same = agrees_on(t, kernel, &rng,
				    (struct code_shape){dims[d], bits, 0},
				    (enum distance_kind)kind);
	free(t);
	return same;
}
