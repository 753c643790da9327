/*
 * Flat search in process.
 *
 *   bench_flat kernel           the name of the kernel that is chosen
 *   bench_flat table            rates of every kind, and memory, as a table
 *   bench_flat write FILE       the codes and queries that a peer is compared on
 *   bench_flat rounds FILE      answer them again for each line on stdin, for a peer
 * that takes turns: one line "WALL CPU" a round (seconds a query), at the end of input
 * the distances found
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "index/flat.h"

#define ROWS 1000000
#define DIMS 512
#define K 10
#define QUERIES 32
#define ROUNDS 7

static void
random_bytes(uint8_t *bytes, size_t n, struct rng *rng)
{
	for (size_t i = 0; i < n; i += 8) { /* n is a multiple of 8 */
		uint64_t word = rng_u64(rng);
		memcpy(bytes + i, &word, 8);
	}
}

/* A store of ROWS rows: from `codes`, or random where that is NULL. */
static struct store *
filled(struct code_shape shape, const uint8_t *codes)
{
	struct error err;
	struct store *store = store_new(1, shape, false, &err);
	uint8_t wire[CODE_BYTES_MAX];
	struct rng rng;

	rng_init(&rng, 1, shape.bits);
	for (uint32_t slot = 0; store && slot < ROWS; slot++) {
		if (!codes)
			random_bytes(wire, code_bytes(shape), &rng);
		struct store_row row = {codes ? codes + slot * code_bytes(shape) : wire,
		    1.0f + 0.5f * rng_uniform(&rng), 0, 0};
		if (store_put(store, slot, &row, &err) != 0)
			harness_fail("store_put", err.text);
	}
	if (!store)
		harness_fail("store_new", err.text);
	store_publish(store);
	return store;
}

/* One way to search. */
struct row {
	const char *name;
	enum distance_kind kind;
	uint32_t bits;
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
		uint8_t levels[DIMS];
		int8_t values[DIMS];
		for (size_t d = 0; d < DIMS; d++) {
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

/* All queries, `batch` at a time; the median time of one query. */
static struct harness_time
time_row(const struct row *row, const struct distance_kernel *kernel,
    struct queries *queries, const struct store_snapshot *snapshot)
{
	struct harness_time times[ROUNDS];
	struct error err;
	struct flat_scratch *scratch = flat_scratch_new(kernel, row->threads, &err);
	size_t n = row->batch == 1 ? 8 : QUERIES; /* single queries are steady enough */

	if (!scratch)
		harness_fail("flat_scratch_new", err.text);
	for (size_t round = 0; round < ROUNDS; round++) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < n; i += row->batch)
			if (flat_run(queries->searches + i, row->batch, snapshot,
				scratch, &err) != 0)
				harness_fail("flat_run", err.text);
		times[round] = harness_stop(watch);
		times[round].wall /= (double)n;
		times[round].cpu /= (double)n;
	}
	flat_scratch_free(scratch);
	return harness_median(times, ROUNDS);
}

static void
print_row(const struct row *row, struct store *store, struct harness_rate read)
{
	static const enum cpu_level columns[] = {CPU_AMX, CPU_AVX512, CPU_AVX2};
	const struct code_shape shape = {DIMS, row->bits, 0};
	struct store_snapshot *snapshot = store_acquire(store);
	struct queries queries;

	queries_init(&queries, row->kind, shape);
	printf("| %-7s | %u | %5zu | %7zu |", row->name, row->bits, row->batch,
	    row->threads);
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		const struct distance_kernel *kernel = distance_find(columns[c]);
		if (!kernel) {
			printf("    n/a |    n/a |  n/a |");
			continue;
		}
		struct harness_time t = time_row(row, kernel, &queries, snapshot);
		double bytes =
		    (double)distance_block_bytes(shape) / DISTANCE_ROWS * ROWS;
		printf(" %6.0f | %6.2f | %3.0f%% |", 1 / t.wall, t.cpu * 1e3,
		    100 * bytes / (double)row->batch / t.cpu / read.cpu);
	}
	printf("\n");
	fflush(stdout);
	free(queries.query);
	store_release(snapshot);
}

static void
table(void)
{
	static const struct {
		const char *name;
		enum distance_kind kind;
	} kinds[] = {{"hamming", DISTANCE_HAMMING}, {"sdc", DISTANCE_SDC},
	    {"int8", DISTANCE_INT8}};
	static const struct {
		size_t batch, threads;
	} ways[] = {{1, 1}, {QUERIES, 1}, {1, 2}, {QUERIES, 2}};
	const struct harness_rate read[] = {
	    {0, 0}, harness_read_rate(1), harness_read_rate(2)};

	printf("flat search: %d codes of %d dims, k = %d; queries a second of wall, "
	       "CPU ms a query, and what is\nread a CPU second as a share of what "
	       "plain loads read: 1 thread %.1f GB/s (%.1f a CPU second),\n2 threads "
	       "%.1f (%.1f); over 100%% is the cache\n",
	    ROWS, DIMS, K, read[1].wall * 1e-9, read[1].cpu * 1e-9, read[2].wall * 1e-9,
	    read[2].cpu * 1e-9);
	printf("|         |   |       |         | AMX                    | AVX-512     "
	       "           | AVX2                   |\n");
	printf("| kind    | b | batch | threads |    q/s | cpu ms | read |    q/s | "
	       "cpu ms | read |    q/s | cpu ms | read |\n");
	for (uint32_t bits = 1; bits <= 4; bits *= 2) {
		struct store *store = filled((struct code_shape){DIMS, bits, 0}, NULL);
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
				struct row row = {kinds[k].name, kinds[k].kind, bits,
				    ways[w].batch, ways[w].threads};
				if (row.kind == DISTANCE_HAMMING && bits > 1)
					continue;
				print_row(&row, store, read[row.threads]);
			}
		store_free(store);
	}
}

/* A million rows of 512 x 2 bits, as a restart loads them. */
static void
memory(void)
{
	const struct code_shape shape = {DIMS, 2, 0};
	struct error err;
	size_t before = harness_rss_anon();
	struct store *store = store_new(1, shape, false, &err);
	uint8_t wire[DIMS / 8 * 2] = {0};
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
	printf("\nmemory: %d rows of %d x 2 bits, loaded in %.2f s: RssAnon %.1f MB = "
	       "%.3f x (code + 8-byte id);\ncodes %.1f, factors %.1f, tables %.2f MB\n",
	    ROWS, DIMS, seconds, rss * 1e-6, rss / ROWS / (sizeof wire + 8),
	    (double)b.codes * 1e-6, (double)b.factors * 1e-6, (double)b.tables * 1e-6);
	store_free(store);
}

/* The file for peers: ROWS codes of 1 bit, then QUERIES of them, wire form. */
#define PEER_BYTES ((size_t)(ROWS + QUERIES) * DIMS / 8)

static void
write_file(const char *path)
{
	uint8_t *codes = array_new(PEER_BYTES, 1);
	FILE *f = fopen(path, "wb");
	struct rng rng;

	if (!codes || !f)
		harness_fail(path, "cannot be written");
	rng_init(&rng, 3, 0);
	random_bytes(codes, PEER_BYTES, &rng);
	if (fwrite(codes, PEER_BYTES, 1, f) != 1 || fclose(f) != 0)
		harness_fail(path, "cannot be written");
	free(codes);
}

static void
rounds(const char *path)
{
	const struct code_shape shape = {DIMS, 1, 0};
	uint8_t *codes = array_new(PEER_BYTES, 1);
	FILE *f = fopen(path, "rb");
	struct queries queries;
	struct error err;
	char line[16];

	if (!codes || !f || fread(codes, PEER_BYTES, 1, f) != 1)
		harness_fail(path, "cannot be read");
	fclose(f);
	struct store *store = filled(shape, codes);
	struct store_snapshot *snapshot = store_acquire(store);
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);
	if (!scratch)
		harness_fail("flat_scratch_new", err.text);
	queries_init(&queries, DISTANCE_HAMMING, shape);
	for (size_t i = 0; i < QUERIES; i++) {
		uint8_t levels[DIMS];
		code_to_levels(levels, codes + (ROWS + i) * DIMS / 8, shape);
		distance_query_hamming(&queries.query[i], levels, shape);
	}
	free(codes);
	printf("%s\n", distance_best()->name);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < QUERIES; i++)
			if (flat_run(
				queries.searches + i, 1, snapshot, scratch, &err) != 0)
				harness_fail("flat_run", err.text);
		struct harness_time t = harness_stop(watch);
		printf("%.9f %.9f\n", t.wall / QUERIES, t.cpu / QUERIES);
		fflush(stdout);
	}
	for (size_t i = 0; i < QUERIES; i++)
		for (size_t j = 0; j < K; j++)
			printf("%.0f ",
			    (double)DIMS * (1 - (double)queries.hits[i][j].score) / 2);
	printf("\n");
	free(queries.query);
	flat_scratch_free(scratch);
	store_release(snapshot);
	store_free(store);
}

int
main(int argc, char **argv)
{
	harness_check_simd("bench_flat");
	if (argc == 2 && strcmp(argv[1], "table") == 0) {
		table();
		memory();
	} else if (argc == 2 && strcmp(argv[1], "kernel") == 0) {
		printf("%s\n", distance_best()->name);
	} else if (argc == 3 && strcmp(argv[1], "write") == 0) {
		write_file(argv[2]);
	} else if (argc == 3 && strcmp(argv[1], "rounds") == 0) {
		rounds(argv[2]);
	} else {
		fprintf(stderr,
		    "usage: bench_flat kernel | table | write FILE | rounds FILE\n");
		return 2;
	}
	return 0;
}
