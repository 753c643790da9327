/*
 * Claims of index/distance.h about batches: of every kernel, batch_dots gives each
 * query's integers bit for bit as "scalar" gives them alone, for every kind, 1..4 bits,
 * 1..64 queries, 1..8 blocks, any planes, small, mixed and extreme values, with codes,
 * dots, what is prepared and what is worked with ending at unreadable pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/distance.h"
#include "tests/support/guard.h"

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])
#define QUERIES_MAX 64

struct world {
	struct rng rng;
	struct code_shape shape;
	enum distance_kind kind;
	size_t n_queries, n_blocks;
	struct distance_query *query; /* (QUERIES_MAX) */
	uint8_t *blocks;
	uint8_t *work;
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
		levels[i] = (uint8_t)rng_below(&w->rng, (uint64_t)top + 1);
		if (manner < 4)
			values[i] =
			    (int8_t)((int)rng_below(&w->rng, 2 * most[manner] + 1) -
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

static void
check_kernel(const struct world *w, const struct distance_kernel *kernel)
{
	const size_t rows = w->n_blocks * DISTANCE_ROWS, bytes = rows * sizeof(int32_t);
	const struct distance_query *queries[QUERIES_MAX];
	const size_t n_prepared = round_up(kernel->batch_bytes(w->query, w->n_queries));
	struct distance_batch batch = {queries, w->n_queries, NULL};
	int32_t *want = aligned_alloc(64, bytes);
	int32_t *dots = guard_new(w->n_queries * bytes);

	batch.prepared = guard_new(n_prepared);
	for (size_t i = 0; i < w->n_queries; i++)
		queries[i] = &w->query[i];
	kernel->batch_prepare(&batch);
	kernel->batch_dots(dots, &batch, w->blocks, w->n_blocks, w->work);
	for (size_t i = 0; i < w->n_queries; i++) {
		distance_dots(distance_find(CPU_SCALAR), want, queries[i], w->blocks,
		    w->n_blocks);
		assert_memory_equal(dots + i * rows, want, bytes);
	}
	free(want);
	guard_free(dots, w->n_queries * bytes);
	guard_free(batch.prepared, n_prepared);
}

static void
check(struct world *w)
{
	const size_t bytes = w->n_blocks * distance_block_bytes(w->shape);
	const unsigned keep = w->shape.bits == 3 ? 0x77 : 0xFF;
	const unsigned manner = (unsigned)rng_below(&w->rng, 7); /* 6: any */
	const uint32_t planes = rng_below(&w->rng, 2)
				    ? w->shape.bits
				    : 1 + (uint32_t)rng_below(&w->rng, w->shape.bits);
	const bool full = rng_below(&w->rng, 4) == 0;

	w->blocks = guard_new(bytes);
	for (size_t i = 0; i < bytes; i++)
		w->blocks[i] = (uint8_t)((full ? 0xFF : rng_u64(&w->rng)) & keep);
	for (size_t i = 0; i < w->n_queries; i++) {
		fill_query(w, &w->query[i],
		    manner < 6 ? manner : (unsigned)rng_below(&w->rng, 6));
		distance_query_planes(&w->query[i], planes);
	}
	for (size_t l = 0; l < N_LEVELS; l++)
		if (distance_find(levels_of_cpu[l]))
			check_kernel(w, distance_find(levels_of_cpu[l]));
	guard_free(w->blocks, bytes);
}

static void
test_batches(void **state)
{
	struct world w;

	(void)state;
	rng_init(&w.rng, test_seed(), 0);
	w.query = aligned_alloc(64, QUERIES_MAX * sizeof *w.query);
	w.work = guard_new(DISTANCE_WORK_BYTES);
	for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++)
		for (uint32_t bits = 1; bits <= 4; bits++) {
			w.kind = (enum distance_kind)kind;
			for (size_t n = 1; n <= 40; n++) {
				uint32_t dims =
				    64 + 64 * (uint32_t)rng_below(&w.rng, 9);
				w.shape = (struct code_shape){dims, bits, 0};
				w.n_queries = n > 35 ? QUERIES_MAX : n;
				w.n_blocks =
				    1 + rng_below(&w.rng, DISTANCE_BATCH_BLOCKS);
				check(&w);
			}
			w.shape = (struct code_shape){CODE_DIMS_MAX, bits, 0};
			w.n_queries = 1 + rng_below(&w.rng, 5);
			w.n_blocks = DISTANCE_BATCH_BLOCKS;
			for (int i = 0; i < 4; i++)
				check(&w);
		}
	free(w.query);
	guard_free(w.work, DISTANCE_WORK_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_batches)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
