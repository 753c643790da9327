/*
 * Flat search in process.
 *
 *   bench_flat kernel           the name of the kernel that is chosen
 *   bench_flat table            rates of every kind, shares of limits, and memory
 *   bench_flat large            the same of 4 GB of codes, from memory (5 GB are
 * needed) bench_flat rounds FILE BITS BATCH      for a peer: bench/flat_peer.h
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "bench/flat_peer.h"
#include "bench/harness.h"
#include "bench/limits.h"
#include "index/flat.h"

#define ROWS 1000000
#define DIMS_MAX 1024
#define K 10
#define QUERIES 128
#define ROUNDS 7

static void
random_bytes(uint8_t *bytes, size_t n, struct rng *rng)
{
	for (size_t i = 0; i < n; i += 8) { /* n is a multiple of 8 */
		uint64_t word = rng_u64(rng);
		memcpy(bytes + i, &word, 8);
	}
}

/* A store of random rows. */
static struct store *
filled(struct code_shape shape, uint32_t rows)
{
	struct error err;
	struct store *store = store_new(1, shape, false, &err);
	uint8_t wire[CODE_BYTES_MAX];
	struct rng rng;

	rng_init(&rng, 1, shape.bits);
	for (uint32_t slot = 0; store && slot < rows; slot++) {
		random_bytes(wire, code_bytes(shape), &rng);
		struct store_row row = {wire, 1.0f + 0.5f * rng_uniform(&rng), 0, 0};
		if (store_put(store, slot, &row, &err) != 0)
			harness_fail("store_put", err.text);
	}
	if (!store)
		harness_fail("store_new", err.text);
	store_publish(store);
	return store;
}

/* One way to search so many rows. */
struct row {
	const char *name;
	enum distance_kind kind;
	struct code_shape shape;
	uint32_t rows;
	size_t batch, threads;
};

struct queries {
	struct distance_query *query; /* [QUERIES] */
	struct hit hits[QUERIES][K];
	struct flat_search searches[QUERIES];
};

static void
queries_init(struct queries *q, enum distance_kind kind, struct code_shape shape)
{
	struct distance_terms terms = {DISTANCE_DOT, 0, 0, NULL};
	struct rng rng;

	rng_init(&rng, 2, shape.bits);
	q->query = array_new_aligned(QUERIES, sizeof *q->query);
	if (!q->query)
		harness_fail("queries", "no memory");
	for (size_t i = 0; i < QUERIES; i++) {
		uint8_t levels[DIMS_MAX];
		int8_t values[DIMS_MAX];
		for (size_t d = 0; d < shape.dims; d++) {
			levels[d] = (uint8_t)rng_below(&rng, 1u << shape.bits);
			values[d] = (int8_t)((int)rng_below(&rng, 255) - 127);
		}
		if (kind == DISTANCE_HAMMING)
			distance_query_hamming(&q->query[i], levels, shape);
		else if (kind == DISTANCE_SDC)
			distance_query_sdc(&q->query[i], levels, 1, shape, terms);
		else
			distance_query_int8(&q->query[i], values, 1, shape, terms);
		q->searches[i] = (struct flat_search){
		    .query = &q->query[i], .k = K, .hits = q->hits[i]};
	}
}

/* The first n processors that this one may use. */
static void
pin(size_t n)
{
	static cpu_set_t all;
	cpu_set_t some;

	if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0)
		harness_fail("sched_getaffinity", "failed");
	CPU_ZERO(&some);
	for (size_t i = 0; i < CPU_SETSIZE && (size_t)CPU_COUNT(&some) < n; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &some);
	(void)sched_setaffinity(0, sizeof some, &some);
}

/* What bounds a row: bytes that are read for one query alone; for many, bits that are
 * counted or multiply-adds.  How much of it a query takes, and how much there is. */
struct bound {
	limits_loop *loop;
	double work;
	const uint8_t *buffer; /* that is read; NULL: what is in the cache */
	size_t bytes;
};

#define BUFFER_MAX ((size_t)1 << 30)

static struct bound
bound_of(const struct row *row, const struct limits *limits, const uint8_t *buffer)
{
	const double dims = (double)row->shape.dims * row->rows;
	const size_t bytes =
	    distance_block_bytes(row->shape) / DISTANCE_ROWS * row->rows;

	if (row->batch == 1)
		return (struct bound){limits->read, (double)bytes, buffer,
		    bytes < BUFFER_MAX ? bytes / 4096 * 4096 : BUFFER_MAX};
	if (row->kind == DISTANCE_HAMMING)
		return (struct bound){limits->popcount, dims, NULL, 0};
	return (struct bound){limits->products, dims, NULL, 0};
}

/* What is measured in turns: the median time of a query, and of the bound's rate. */
struct measured {
	struct harness_time query;
	double share;
};

static struct measured
time_row(const struct row *row, enum cpu_level level, struct queries *queries,
    const struct store_snapshot *snapshot, const uint8_t *buffer)
{
	const struct bound bound = bound_of(row, limits_find(level), buffer);
	struct harness_time times[ROUNDS], rates[ROUNDS];
	struct error err;
	struct flat_scratch *scratch =
	    flat_scratch_new(distance_find(level), row->threads, &err);
	size_t n = row->batch == 1 ? 4 : row->batch;

	if (!scratch)
		harness_fail("flat_scratch_new", err.text);
	pin(row->threads);
	for (size_t round = 0; round < ROUNDS; round++) {
		double rate = limits_rate(bound.loop, bound.buffer, bound.bytes);
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < n; i += row->batch)
			if (flat_run(queries->searches + i, row->batch, snapshot,
				scratch, &err) != 0)
				harness_fail("flat_run", err.text);
		times[round] = harness_stop(watch);
		times[round].wall /= (double)n;
		times[round].cpu /= (double)n;
		rates[round] = (struct harness_time){rate, rate};
	}
	flat_scratch_free(scratch);
	struct harness_time t = harness_median(times, ROUNDS);
	double most = harness_median(rates, ROUNDS).cpu;
	return (struct measured){t, bound.work / t.cpu / most};
}

static void
print_row(const struct row *row, struct store *store, const uint8_t *buffer)
{
	static const enum cpu_level columns[] = {CPU_AMX, CPU_AVX512, CPU_AVX2};
	struct store_snapshot *snapshot = store_acquire(store);
	struct queries queries;

	queries_init(&queries, row->kind, row->shape);
	printf("| %-7s | %4u x %u | %5zu | %7zu |", row->name, row->shape.dims,
	    row->shape.bits, row->batch, row->threads);
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		if (!distance_find(columns[c])) {
			printf("    n/a |     n/a |  n/a |");
			continue;
		}
		struct measured m =
		    time_row(row, columns[c], &queries, snapshot, buffer);
		printf(" %6.0f | %7.3f | %3.0f%% |", 1 / m.query.wall,
		    m.query.cpu * 1e3, 100 * m.share);
	}
	printf("\n");
	fflush(stdout);
	free(queries.query);
	store_release(snapshot);
}

static uint8_t *
buffer_new(size_t bytes)
{
	uint8_t *buffer = aligned_alloc((size_t)2 << 20, bytes);

	if (!buffer)
		harness_fail("buffer", "no memory");
	(void)madvise(buffer, bytes, MADV_HUGEPAGE);
	memset(buffer, 1, bytes);
	return buffer;
}

static void
print_head(const char *rows)
{
	printf(
	    "flat search: %s, k = %d; queries a second of wall, CPU ms a query, and "
	    "how much of what the\nprocessor can do at most (bench_limits), measured "
	    "in turns: of reading for one query at a time, of popcounts\nfor Hamming "
	    "batches, of multiply-adds for the others; over 100%% is another way\n",
	    rows, K);
	printf("|         |          |       |         | AMX                     | "
	       "AVX-512                 | AVX2                    |\n");
	printf("| kind    | dims x b | batch | threads |    q/s |  cpu ms | most |    "
	       "q/s |  cpu ms | most |    q/s |  cpu ms | most |\n");
}

static const struct {
	size_t batch, threads;
} ways[] = {{1, 1}, {32, 1}, {64, 1}, {128, 1}, {1, 2}, {128, 2}};
#define WAYS (sizeof ways / sizeof *ways)

static void
table(void)
{
	static const struct row rows[] = {
	    {"hamming", DISTANCE_HAMMING, {512, 1, 0}, ROWS, 0, 0},
	    {"hamming", DISTANCE_HAMMING, {1024, 1, 0}, ROWS, 0, 0},
	    {"int8", DISTANCE_INT8, {512, 1, 0}, ROWS, 0, 0},
	    {"sdc", DISTANCE_SDC, {512, 2, 0}, ROWS, 0, 0},
	    {"int8", DISTANCE_INT8, {512, 2, 0}, ROWS, 0, 0},
	    {"int8", DISTANCE_INT8, {512, 4, 0}, ROWS, 0, 0},
	};
	uint8_t *buffer = buffer_new((size_t)512 * 4 / 8 * ROWS);

	print_head("1,000,000 codes");
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		struct store *store = filled(rows[r].shape, ROWS);
		for (size_t w = 0; w < WAYS; w++) {
			struct row row = rows[r];
			row.batch = ways[w].batch;
			row.threads = ways[w].threads;
			print_row(&row, store, buffer);
		}
		store_free(store);
	}
	free(buffer);
}

static void
large(void)
{
	static const struct row rows[] = {
	    {"hamming", DISTANCE_HAMMING, {512, 1, 0}, 64000000, 0, 1},
	    {"hamming", DISTANCE_HAMMING, {1024, 1, 0}, 32000000, 0, 1},
	};
	uint8_t *buffer = buffer_new(BUFFER_MAX);

	print_head("4 GB of codes");
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		struct store *store = filled(rows[r].shape, rows[r].rows);
		for (size_t batch = 1; batch <= 32; batch *= 32) {
			struct row row = rows[r];
			row.batch = batch;
			print_row(&row, store, buffer);
		}
		store_free(store);
	}
	free(buffer);
}

/* A million rows of 512 x 2 bits, as a restart loads them. */
static void
memory(void)
{
	const struct code_shape shape = {512, 2, 0};
	struct error err;
	size_t before = harness_rss_anon();
	struct store *store = store_new(1, shape, false, &err);
	uint8_t wire[512 / 8 * 2] = {0};
	struct harness_watch watch = harness_start();

	for (uint32_t slot = 0; store && slot < ROWS; slot++) {
		wire[slot % sizeof wire]++;
		if (store_put(store, slot, &(struct store_row){wire, 1, 0, 0}, &err) !=
		    0)
			harness_fail("store_put", err.text);
	}
	if (!store)
		harness_fail("store_new", err.text);
	store_publish(store);
	double seconds = harness_stop(watch).wall;
	double rss = (double)(harness_rss_anon() - before);
	struct store_bytes b = store_bytes(store);
	printf("\nmemory: %d rows of %u x 2 bits, loaded in %.2f s: RssAnon %.1f MB = "
	       "%.3f x (code + 8-byte id);\ncodes %.1f, factors %.1f, tables %.2f MB\n",
	    ROWS, shape.dims, seconds, rss * 1e-6, rss / ROWS / (sizeof wire + 8),
	    (double)b.codes * 1e-6, (double)b.factors * 1e-6, (double)b.tables * 1e-6);
	store_free(store);
}

int
main(int argc, char **argv)
{
	harness_check_simd("bench_flat");
	if (argc == 2 && strcmp(argv[1], "table") == 0) {
		table();
		memory();
	} else if (argc == 2 && strcmp(argv[1], "large") == 0) {
		large();
	} else if (argc == 2 && strcmp(argv[1], "kernel") == 0) {
		printf("%s\n", distance_best()->name);
	} else if (argc == 5 && strcmp(argv[1], "rounds") == 0) {
		flat_peer_rounds(argv[2], (uint32_t)strtoul(argv[3], NULL, 10),
		    strtoul(argv[4], NULL, 10));
	} else {
		fprintf(stderr,
		    "usage: bench_flat kernel | table | large | rounds FILE "
		    "BITS BATCH\n");
		return 2;
	}
	return 0;
}
