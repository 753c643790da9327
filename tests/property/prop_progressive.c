/*
 * Claims of index/progressive.h, on codes of vectors in random clusters, for any
 * kernel, 2..4 bits, int8 and sdc, dot and euclid, one query or a batch, one thread or
 * two, all rows or those of a set:
 *  - searches are exact, and teach, until PROGRESSIVE_SAMPLES hits have been seen, and
 *    again when the collection has halved;
 *  - after that every hit has the score that exact search gives it, and of the exact
 *    hits each one that plane 0 is off by less than the margin is found: what is off is
 *    computed from levels by the formulas of the header;
 *  - so nearly all are found, and most whole codes are never read;
 *  - queries unlike those that taught are noticed, and nearly all is found again;
 *  - a part that is new is learned beside one that is known, exactly until then.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/flat.h"
#include "index/progressive.h"
#include "tests/support/guard.h"

#define ROWS (2 * PROGRESSIVE_ROWS + 300)
#define CLUSTERS 40
#define DIMS_MAX 192
#define QUERIES 24
#define K 10
#define CHECKS (8 + 16 + 32 + 64 + 128) /* searches in which there are five checks */

struct world {
	struct rng rng;
	struct code_shape shape;
	enum distance_kind kind;
	struct distance_terms terms;
	float centres[CLUSTERS][DIMS_MAX];
	uint8_t *levels; /* (ROWS, dims) */
	struct store *store;
	struct store_snapshot *snapshot;
	struct progressive *progressive;
	struct flat_scratch *scratch;
	struct distance_query *queries; /* (QUERIES) */
	struct hit hits[QUERIES][K], exact[QUERIES][K];
	struct progressive_info known[QUERIES]; /* when it was searched */
	struct row_set *set;                    /* or NULL */
	bool anywhere;                          /* draw() is of no cluster */
};

static float
gauss(struct rng *rng)
{
	float sum = 0;

	for (int i = 0; i < 6; i++)
		sum += rng_uniform(rng) - 0.5f;
	return sum * 1.41421f;
}

/* x (dims) := a vector in a cluster, or anywhere. */
static void
draw(struct world *w, float *x)
{
	const float *c = w->centres[rng_below(&w->rng, CLUSTERS)];

	for (size_t i = 0; i < w->shape.dims; i++)
		x[i] = (w->anywhere ? 0 : c[i]) + 0.6f * gauss(&w->rng);
}

static void
to_levels(const struct world *w, uint8_t *levels, const float *x)
{
	const float top = (float)((1 << w->shape.bits) - 1);

	for (size_t i = 0; i < w->shape.dims; i++) {
		float level = floorf((x[i] / 4 + 0.5f) * (top + 1));
		levels[i] = (uint8_t)fminf(fmaxf(level, 0), top);
	}
}

static void
fill_store(struct world *w)
{
	struct error err;
	float x[DIMS_MAX];
	uint8_t wire[CODE_BYTES_MAX];

	w->store = store_new(1, w->shape, w->terms.metric == DISTANCE_EUCLID, &err);
	assert_non_null(w->store);
	assert_int_equal(store_want_plane0(w->store, true, &err), 0);
	for (uint32_t slot = 0; slot < ROWS; slot++) {
		uint8_t *levels = w->levels + (size_t)slot * w->shape.dims;
		draw(w, x);
		to_levels(w, levels, x);
		code_from_levels(wire, levels, w->shape);
		struct store_row row = {
		    wire, 0.8f + 0.4f * rng_uniform(&w->rng), rng_uniform(&w->rng), 0};
		assert_int_equal(store_put(w->store, slot, &row, &err), 0);
	}
	store_publish(w->store);
	w->snapshot = store_acquire(w->store);
}

static void
draw_queries(struct world *w)
{
	float x[DIMS_MAX];
	uint8_t levels[DIMS_MAX];
	int8_t values[DIMS_MAX];

	for (size_t q = 0; q < QUERIES; q++) {
		draw(w, x);
		to_levels(w, levels, x);
		for (size_t i = 0; i < w->shape.dims; i++)
			values[i] = (int8_t)fmaxf(fminf(x[i] * 40, 127), -127);
		if (w->kind == DISTANCE_SDC)
			distance_query_sdc(
			    &w->queries[q], levels, 0.5f, w->shape, w->terms);
		else
			distance_query_int8(
			    &w->queries[q], values, 0.01f, w->shape, w->terms);
	}
}

static size_t
run(struct world *w, struct hit hits[QUERIES][K], struct progressive *p, size_t batch)
{
	struct flat_search searches[QUERIES];
	struct error err;

	for (size_t q = 0; q < QUERIES; q++)
		searches[q] = (struct flat_search){.query = &w->queries[q],
		    .k = K,
		    .hits = hits[q],
		    .rows = w->set,
		    .progressive = p};
	for (size_t q = 0; q < QUERIES; q += batch) {
		size_t n = batch < QUERIES - q ? batch : QUERIES - q;
		for (size_t i = q; p && i < q + n; i++)
			w->known[i] = progressive_info(p, 1);
		assert_int_equal(
		    flat_run(searches + q, n, w->snapshot, w->scratch, &err), 0);
	}
	return searches[0].n;
}

/* What <q, v> of a row is more than its plane 0 says, in units of |q|: of the scale of
 * q all three have the same. */
static double
off(const struct world *w, size_t n, uint32_t slot)
{
	const struct distance_query *q = &w->queries[n];
	const uint8_t *levels = w->levels + (size_t)slot * w->shape.dims;
	double whole = 0, first = 0, norm = 0;
	int most = 1;

	for (size_t i = 0; i < w->shape.dims; i++)
		most = abs(q->values[i]) > most ? abs(q->values[i]) : most;
	for (size_t i = 0; i < w->shape.dims; i++) {
		double k = q->values[i];
		double v = (double)code_value(levels[i], w->shape.bits);
		whole += k * v;
		first += (double)lrintf((float)(q->values[i] * 7) / (float)most) *
			 most / 7 * (v >= 0 ? 1 : -1);
		norm += k * k;
	}
	return (whole - (double)w->known[n].slope * first) / sqrt(norm);
}

static bool
has(const struct hit *hits, size_t n, struct hit hit)
{
	for (size_t i = 0; i < n; i++)
		if (hits[i].slot == hit.slot)
			return memcmp(&hits[i].score, &hit.score, 4) == 0;
	return false;
}

/* Every hit is an exact one's equal, and every hit within the margin is there; returns
 * how many of the exact ones are. */
static size_t
check(struct world *w, size_t n)
{
	size_t found = 0;

	for (size_t q = 0; q < QUERIES; q++) {
		const bool exact = w->known[q].n_samples < PROGRESSIVE_SAMPLES;
		const double margin = (double)w->known[q].margin;
		for (size_t i = 1; i < n; i++)
			assert_true(hit_better(w->hits[q][i - 1], w->hits[q][i]));
		for (size_t i = 0; i < n; i++) {
			struct hit hit = w->exact[q][i];
			bool is_there = has(w->hits[q], n, hit);
			found += is_there;
			if (exact || off(w, q, hit.slot) < margin - 1e-3)
				assert_true(is_there);
		}
	}
	return found;
}

/* Searches until the margin is known, if it is not; all of them exact. */
static void
teach(struct world *w)
{
	struct progressive_info info = progressive_info(w->progressive, 1);

	w->set = NULL;
	while (info.n_samples < PROGRESSIVE_SAMPLES) {
		draw_queries(w);
		assert_int_equal(run(w, w->exact, NULL, QUERIES), K);
		/* Half of the last round's may be progressive already. */
		size_t before = info.n_samples;
		run(w, w->hits, w->progressive, QUERIES);
		info = progressive_info(w->progressive, 1);
		/* Those of a batch that come after the last sample may tell already
		 * that it is to be learned anew. */
		if (before + QUERIES * K < PROGRESSIVE_SAMPLES)
			assert_int_equal(info.n_samples, before + QUERIES * K);
		assert_memory_equal(w->hits, w->exact, sizeof w->hits);
	}
	assert_true(info.slope > 0);
}

static void
draw_set(struct world *w)
{
	struct error err;

	w->set = row_set_new(ROWS, &err);
	assert_non_null(w->set);
	for (uint32_t slot = 0; slot < ROWS; slot++)
		if (rng_below(&w->rng, 3) == 0)
			row_set_add(w->set, slot);
}

/* Whole codes that are read if the last hit is known from the beginning. */
static size_t
survivors(struct world *w, const struct distance_kernel *kernel, size_t q)
{
	const struct store_part *part = &w->snapshot->parts[0];
	struct distance_query *coarse = aligned_alloc(64, sizeof *coarse);
	int32_t *dots = aligned_alloc(64, STORE_CHUNK_ROWS * sizeof *dots);
	struct hit found[STORE_CHUNK_ROWS];
	size_t n = 0;

	assert_true(progressive_coarse(coarse, w->progressive, part, &w->queries[q]));
	for (size_t i = 0; i < w->snapshot->n_chunks; i++) {
		const struct store_chunk *c = part->chunks[i];
		const struct distance_rows rows = {c->live, c->factor, c->norm2, NULL};
		distance_dots(kernel, dots, coarse, c->plane0, STORE_CHUNK_BLOCKS);
		n += distance_select(kernel, found, dots, coarse, &rows,
		    STORE_CHUNK_BLOCKS, &c->bounds, w->exact[q][K - 1].score);
	}
	free(coarse);
	free(dots);
	return n;
}

/* Queries of anywhere, and then of clusters. */
static void
change(struct world *w)
{
	size_t found = 0;

	w->anywhere = true;
	teach(w);
	w->anywhere = false;
	/* Before a check that tells, and while all is learned anew. */
	for (size_t n = 0; n < CHECKS + PROGRESSIVE_SAMPLES / K; n += QUERIES) {
		draw_queries(w);
		run(w, w->hits, w->progressive, 1);
	}
	for (int round = 0; round < 4; round++) {
		draw_queries(w);
		size_t n = run(w, w->exact, NULL, QUERIES);
		run(w, w->hits, w->progressive, QUERIES);
		found += check(w, n);
	}
	assert_true((double)found > 0.93 * (4.0 * QUERIES * K));
}

static void
halve(struct world *w)
{
	struct error err;

	store_release(w->snapshot);
	for (uint32_t slot = 0; slot < ROWS * 11 / 20; slot++)
		assert_int_equal(store_remove(w->store, slot, &err), 0);
	store_publish(w->store);
	w->snapshot = store_acquire(w->store);
	draw_queries(w);
	run(w, w->exact, NULL, QUERIES);
	run(w, w->hits, w->progressive, QUERIES);
	assert_memory_equal(w->hits, w->exact, sizeof w->hits);
}

static void
play(struct world *w, const struct distance_kernel *kernel, size_t threads)
{
	struct error err;
	size_t found = 0, all = 0, read = 0;

	w->scratch = flat_scratch_new(kernel, threads, &err);
	w->progressive = progressive_new(&err);
	assert_true(w->scratch && w->progressive);
	teach(w);
	for (int round = 0; round < 6; round++) {
		draw_queries(w);
		if (round % 2)
			draw_set(w);
		size_t n = run(w, w->exact, NULL, QUERIES);
		run(w, w->hits, w->progressive, round < 3 ? QUERIES : 1);
		found += check(w, n);
		all += n * QUERIES;
		row_set_free(w->set);
		w->set = NULL;
	}
	assert_true((double)found > 0.97 * (double)all);
	teach(w); /* if a check has told that it is to be learned anew */
	draw_queries(w);
	run(w, w->exact, NULL, QUERIES);
	for (size_t q = 0; q < QUERIES; q++)
		read += survivors(w, kernel, q);
	assert_true(read < QUERIES * ROWS / 5);
	flat_scratch_free(w->scratch);
	progressive_free(w->progressive);
}

static void
test_worlds(void **state)
{
	static const enum cpu_level levels[] = {
	    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
	struct world *w = calloc(1, sizeof *w);
	struct error err;

	(void)state;
	rng_init(&w->rng, test_seed(), 0);
	w->queries = aligned_alloc(64, QUERIES * sizeof *w->queries);
	w->levels = malloc(ROWS * DIMS_MAX);
	for (int round = 0; round < 6; round++) {
		w->shape = (struct code_shape){
		    64 * (1 + (uint32_t)rng_below(&w->rng, DIMS_MAX / 64)),
		    2 + (uint32_t)(round % 3), 0};
		w->kind = round % 2 ? DISTANCE_INT8 : DISTANCE_SDC;
		w->terms = (struct distance_terms){
		    round % 4 == 3 ? DISTANCE_EUCLID : DISTANCE_DOT,
		    rng_uniform(&w->rng), 1, NULL};
		for (size_t c = 0; c < CLUSTERS; c++)
			for (size_t i = 0; i < w->shape.dims; i++)
				w->centres[c][i] = 0.8f * gauss(&w->rng);
		fill_store(w);
		for (size_t l = 0; l < sizeof levels / sizeof *levels; l++)
			if (distance_find(levels[l]) && (l > 0 || round == 0))
				play(w, distance_find(levels[l]),
				    1 + rng_below(&w->rng, 2));
		w->scratch = flat_scratch_new(distance_best(), 1, &err);
		w->progressive = progressive_new(&err);
		assert_true(w->scratch && w->progressive);
		change(w);
		halve(w);
		flat_scratch_free(w->scratch);
		progressive_free(w->progressive);
		store_release(w->snapshot);
		store_free(w->store);
	}
	free(w->queries);
	free(w->levels);
	free(w);
}

/* A part that is new, beside one that is known: of rows like those of the first, and of
 * another number of bits. */
static void
test_new_part(void **state)
{
	const struct code_shape shapes[2] = {{64, 4, 0}, {64, 2, 0}};
	const struct distance_terms terms = {DISTANCE_DOT, 0, 0, NULL};
	struct distance_query *queries = aligned_alloc(64, 2 * sizeof *queries);
	struct hit hits[K], exact[K];
	struct progressive *p;
	struct error err;
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	struct store *store = store_new(1, shapes[0], false, &err);
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);
	p = progressive_new(&err);
	assert_true(store && scratch && p);
	assert_int_equal(store_want_plane0(store, true, &err), 0);
	for (uint32_t part = 0; part < 2; part++) {
		if (part > 0)
			assert_int_equal(store_add_part(store, 2, shapes[1], &err), 0);
		for (uint32_t i = 0; i < PROGRESSIVE_ROWS; i++) {
			uint8_t wire[32];
			for (size_t b = 0; b < sizeof wire; b++)
				wire[b] = (uint8_t)rng_u64(&rng);
			struct store_row row = {
			    .wire = wire, .factor = 1, .part = part};
			assert_int_equal(
			    store_put(store, part * PROGRESSIVE_ROWS + i, &row, &err),
			    0);
		}
		store_publish(store);
		struct store_snapshot *snapshot = store_acquire(store);
		for (int round = 0; round < 400; round++) {
			int8_t values[64];
			for (size_t d = 0; d < 64; d++)
				values[d] = (int8_t)((int)rng_below(&rng, 255) - 127);
			for (size_t i = 0; i <= part; i++)
				distance_query_int8(
				    &queries[i], values, 1, shapes[i], terms);
			struct flat_search search = {
			    .query = queries, .k = K, .hits = hits, .progressive = p};
			bool known = progressive_info(p, part + 1).n_samples ==
				     PROGRESSIVE_SAMPLES;
			assert_int_equal(
			    flat_run(&search, 1, snapshot, scratch, &err), 0);
			if (known)
				break;
			struct flat_search all = {
			    .query = queries, .k = K, .hits = exact};
			assert_int_equal(flat_run(&all, 1, snapshot, scratch, &err), 0);
			/* Of the new part nothing may be lost. */
			for (size_t i = 0; i < K; i++)
				if (store_part(snapshot, exact[i].slot) == (int)part)
					assert_true(has(hits, K, exact[i]));
		}
		for (uint32_t i = 0; i <= part; i++)
			assert_int_equal(
			    progressive_info(p, i + 1).n_samples, PROGRESSIVE_SAMPLES);
		store_release(snapshot);
	}
	progressive_free(p);
	flat_scratch_free(scratch);
	store_free(store);
	free(queries);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_worlds),
	    cmocka_unit_test(test_new_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
