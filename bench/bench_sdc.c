/*
 * Symmetric distance of recurrent codes (SDC) against Hamming distance at equal bytes,
 * the speed that binary embedding-based retrieval claims for it (arXiv:2302.08714): one
 * coded query against codes of 64 and of 128 bytes, in the second cache and from
 * memory, for each instruction set of this processor, in four ways:
 *
 *     table       SDC by 16-entry tables in a register, 64 codes wide
 *     planes      SDC by counting bits of each plane against each
 *     multiply    SDC by multiply-add, as this product searches
 *     hamming     1-bit codes, as this product searches
 *
 * All give exact sums, which are compared with plain loops before anything is timed.
 * Nanoseconds of processor time a code on one pinned thread: the median of windows in
 * turns, the least behind it.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "bench/sdc.h"
#include "index/distance.h"

#define NAME "bench_sdc"
#define CHUNK 1024 /* codes whose distances are written to the same place */
#define CACHE_BYTES ((size_t)256 << 10)
#define REPEATS 16
#define MEMORY_BYTES ((size_t)256 << 20)
#define WINDOW_BYTES ((size_t)16 << 20)
#define WINDOWS 48
#define CHECKED 512 /* codes that are different; the rest repeat them */

enum way { TABLE, PLANES, MULTIPLY, HAMMING, WAYS };
static const char *const ways[] = {"table", "planes", "multiply", "hamming"};

/* One row of the table. */
struct row {
	enum way way;
	struct code_shape shape;
};
static const struct row rows[] = {
    {HAMMING, {512, 1, 0}},
    {TABLE, {256, 2, 0}},
    {PLANES, {256, 2, 0}},
    {MULTIPLY, {256, 2, 0}},
    {TABLE, {128, 4, 0}},
    {PLANES, {128, 4, 0}},
    {MULTIPLY, {128, 4, 0}},
    {HAMMING, {1024, 1, 0}},
    {TABLE, {512, 2, 0}},
    {PLANES, {512, 2, 0}},
    {MULTIPLY, {512, 2, 0}},
    {TABLE, {256, 4, 0}},
    {PLANES, {256, 4, 0}},
    {MULTIPLY, {256, 4, 0}},
};
#define ROWS (sizeof rows / sizeof rows[0])
#define GROUP 7 /* rows of equal bytes */

static const enum cpu_level levels[] = {CPU_AVX2, CPU_AVX512};
#define LEVELS (sizeof levels / sizeof levels[0])

static void *
need(void *p)
{
	if (!p)
		harness_fail(NAME, "out of memory");
	return p;
}

static const struct sdc_kernel *
sdc_find(enum cpu_level level)
{
#if defined(__x86_64__)
	if (cpu_has(level))
		return level == CPU_AVX2 ? &sdc_avx2 : &sdc_avx512;
#endif
	(void)level;
	return NULL;
}

/* Both forms of a row's query. */
struct query {
	struct sdc_query sdc;
	struct distance_query distance;
};

/* dots (n) := of n codes, a multiple of SDC_BLOCK. */
static void
measure(int32_t *dots, const struct row *row, enum cpu_level level,
    const struct query *query, const uint8_t *blocks, size_t n)
{
	switch (row->way) {
	case TABLE:
		sdc_find(level)->tables(dots, &query->sdc, blocks, n / SDC_BLOCK);
		break;
	case PLANES:
		sdc_find(level)->planes(dots, &query->sdc, blocks, n / SDC_BLOCK);
		break;
	default:
		distance_dots(distance_find(level), dots, &query->distance, blocks,
		    n / DISTANCE_ROWS);
		break;
	}
}

/* blocks := n codes of these levels in the row's form. */
static void
pack(uint8_t *blocks, const struct row *row, const uint8_t *codes, size_t n)
{
	const struct sdc_shape shape = {row->shape.dims, row->shape.bits};
	uint8_t wire[CODE_BYTES_MAX];

	if (row->way == TABLE)
		sdc_pack_tables(blocks, codes, n, shape);
	else if (row->way == PLANES)
		sdc_pack_planes(blocks, codes, n, shape);
	for (size_t r = 0; row->way >= MULTIPLY && r < n; r++) {
		code_from_levels(wire, codes + r * shape.dims, row->shape);
		distance_pack(
		    blocks + r / DISTANCE_ROWS * distance_block_bytes(row->shape),
		    r % DISTANCE_ROWS, wire, row->shape);
	}
}

static void
random_levels(uint8_t *levels_, size_t n, unsigned bits, struct rng *rng)
{
	for (size_t i = 0; i < n; i++)
		levels_[i] = (uint8_t)rng_below(rng, 1u << bits);
}

/* Random codes over all of `blocks`, the query, and the proof that every level has its
 * distances right. */
static void
prepare(struct query *query, uint8_t *blocks, const struct row *row)
{
	size_t dims = row->shape.dims, bytes = CHECKED * code_bytes(row->shape);
	int top = (1 << row->shape.bits) - 1;
	uint8_t *codes = need(array_new(CHECKED, dims)), mine[CODE_DIMS_MAX];
	_Alignas(64) int32_t dots[CHECKED];
	struct rng rng;

	rng_init(&rng, 1, (uint64_t)(row - rows));
	random_levels(codes, CHECKED * dims, row->shape.bits, &rng);
	random_levels(mine, dims, row->shape.bits, &rng);
	memset(codes, top, dims); /* as far off as there is */
	memset(codes + dims, 0, dims);
	pack(blocks, row, codes, CHECKED);
	for (size_t at = bytes; at < MEMORY_BYTES; at += bytes)
		memcpy(blocks + at, blocks, bytes);
	sdc_query(
	    &query->sdc, mine, (struct sdc_shape){row->shape.dims, row->shape.bits});
	if (row->way == HAMMING)
		distance_query_hamming(&query->distance, mine, row->shape);
	else
		distance_query_sdc(&query->distance, mine, 1.0f, row->shape,
		    (struct distance_terms){.metric = DISTANCE_DOT});
	for (size_t l = 0; l < LEVELS; l++) {
		if (!sdc_find(levels[l]))
			continue;
		measure(dots, row, levels[l], query, blocks, CHECKED);
		for (size_t r = 0; r < CHECKED; r++) {
			int32_t want = 0;
			for (size_t i = 0; i < dims; i++)
				want += (2 * codes[r * dims + i] - top) *
					(2 * mine[i] - top);
			if (dots[r] != want)
				harness_fail(NAME, "a kernel adds up wrongly");
		}
	}
	free(codes);
}

/* Seconds of processor time for all codes in `bytes` bytes. */
static double
window(const struct row *row, enum cpu_level level, const struct query *query,
    const uint8_t *blocks, size_t bytes)
{
	static _Alignas(64) int32_t dots[CHUNK];
	size_t chunk = CHUNK * code_bytes(row->shape);
	struct harness_watch watch = harness_start();

	for (size_t at = 0; at < bytes; at += chunk)
		measure(dots, row, level, query, blocks + at, CHUNK);
	return harness_stop(watch).cpu;
}

/* Windows of one row at one level in one place, nanoseconds a code. */
struct result {
	struct harness_time times[WINDOWS];
	double least;
};

static void
add(struct result *result, size_t w, double seconds, double codes)
{
	double ns = seconds / codes * 1e9;

	result->times[w].cpu = ns;
	if (w == 0 || ns < result->least)
		result->least = ns;
}

/* A row while it is measured. */
struct lane {
	const struct row *row;
	uint8_t *blocks; /* (MEMORY_BYTES) */
	struct query query;
	struct result cache[LEVELS], memory[LEVELS];
};

/* The w-th windows of a row. */
static void
take_turn(struct lane *lane, size_t w)
{
	size_t bytes = code_bytes(lane->row->shape);

	for (size_t l = 0; l < LEVELS; l++) {
		double seconds = 0;
		if (!sdc_find(levels[l]))
			continue;
		window(lane->row, levels[l], &lane->query, lane->blocks, CACHE_BYTES);
		for (size_t i = 0; i < REPEATS; i++)
			seconds += window(lane->row, levels[l], &lane->query,
			    lane->blocks, CACHE_BYTES);
		size_t n_cache = REPEATS * CACHE_BYTES / bytes;
		add(&lane->cache[l], w, seconds, (double)n_cache);
		size_t at = (w * LEVELS + l) * WINDOW_BYTES % MEMORY_BYTES;
		seconds = window(lane->row, levels[l], &lane->query, lane->blocks + at,
		    WINDOW_BYTES);
		size_t n_memory = WINDOW_BYTES / bytes;
		add(&lane->memory[l], w, seconds, (double)n_memory);
	}
}

static void
print(const struct lane *lane)
{
	const struct row *row = lane->row;

	printf("%4zu  %-9s %4u x %u", code_bytes(row->shape), ways[row->way],
	    row->shape.dims, row->shape.bits);
	for (size_t l = 0; l < LEVELS; l++) {
		const struct result *places[] = {&lane->cache[l], &lane->memory[l]};
		for (size_t p = 0; p < 2; p++)
			if (sdc_find(levels[l]))
				printf("  %6.2f (%5.2f)",
				    harness_median(places[p]->times, WINDOWS).cpu,
				    places[p]->least);
			else
				printf("  %14s", "-");
	}
	printf("\n");
}

/* Rows of equal bytes take turns. */
static void
bench(size_t first)
{
	static struct lane lanes[GROUP];

	for (size_t i = 0; i < GROUP; i++) {
		struct lane *lane = &lanes[i];
		lane->row = &rows[first + i];
		lane->blocks = need(array_new_aligned(MEMORY_BYTES, 1));
		prepare(&lane->query, lane->blocks, lane->row);
	}
	for (size_t w = 0; w < WINDOWS; w++)
		for (size_t i = 0; i < GROUP; i++)
			take_turn(&lanes[i], w);
	for (size_t i = 0; i < GROUP; i++) {
		print(&lanes[i]);
		free(lanes[i].blocks);
	}
}

int
main(void)
{
	int processor = sched_getcpu();
	cpu_set_t one;

	harness_check_simd(NAME);
	CPU_ZERO(&one);
	CPU_SET((size_t)(processor < 0 ? 0 : processor), &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	printf("SDC and Hamming at equal bytes, ns a code, one thread: median (least)\n"
	       "bytes, way, dims x bits ");
	for (size_t l = 0; l < LEVELS; l++)
		printf("  %7s, cache  %7s, memory", cpu_level_name(levels[l]),
		    cpu_level_name(levels[l]));
	printf("\n");
	for (size_t first = 0; first < ROWS; first += GROUP)
		bench(first);
	return 0;
}
