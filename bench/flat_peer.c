#include "bench/flat_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "bench/harness.h"
#include "binarize/recurrent_model.h"
#include "index/flat.h"

#define DIMS FLAT_PEER_DIMS
#define QUERIES FLAT_PEER_QUERIES
#define K FLAT_PEER_K

struct peer {
	FILE *file;
	size_t rows;
	struct code_shape shape;
	struct store *store;
	struct distance_query *query; /* (QUERIES) */
	struct hit hits[QUERIES][K];
	struct flat_search searches[QUERIES];
};

static void
read_row(struct peer *p, void *row, size_t bytes)
{
	if (fread(row, bytes, 1, p->file) != 1)
		harness_fail("bench_flat", "the file cannot be read");
}

static void
put(struct peer *p, uint32_t slot, const uint8_t *wire, float factor)
{
	struct store_row row = {wire, factor, 0, 0};
	struct error err;

	if (store_put(p->store, slot, &row, &err) != 0)
		harness_fail("store_put", err.text);
}

static void
read_codes(struct peer *p)
{
	uint8_t wire[DIMS / 8], levels[DIMS];

	for (uint32_t slot = 0; slot < p->rows; slot++) {
		read_row(p, wire, sizeof wire);
		put(p, slot, wire, 1);
	}
	for (size_t i = 0; i < QUERIES; i++) {
		read_row(p, wire, sizeof wire);
		code_to_levels(levels, wire, p->shape);
		distance_query_hamming(&p->query[i], levels, p->shape);
	}
}

static void
read_vectors(struct peer *p)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = DIMS, .shape = p->shape, .seed = RECURRENT_UNTRAINED_SEED};
	struct error err;
	struct recurrent *model = recurrent_new(&config, &err);
	struct recurrent_scratch *scratch =
	    model ? recurrent_scratch_new(model, &err) : NULL;
	uint8_t wire[CODE_BYTES_MAX];
	float x[DIMS];

	if (!scratch)
		harness_fail("recurrent_new", err.text);
	for (uint32_t slot = 0; slot < p->rows; slot++) {
		struct recurrent_numbers numbers;
		read_row(p, x, sizeof x);
		if (recurrent_encode(model, scratch, wire, &numbers, x, &err) != 0)
			harness_fail("recurrent_encode", err.text);
		put(p, slot, wire, numbers.factor);
	}
	for (size_t i = 0; i < QUERIES; i++) {
		int8_t k[DIMS];
		struct recurrent_query q = {.k = k};
		read_row(p, x, sizeof x);
		if (recurrent_query_int8(model, scratch, &q, x, &err) != 0)
			harness_fail("recurrent_query_int8", err.text);
		distance_query_int8(&p->query[i], k, q.scale, p->shape,
		    (struct distance_terms){DISTANCE_DOT, q.base, 0, NULL});
	}
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
open_peer(struct peer *p, const char *path, uint32_t bits)
{
	const size_t row_bytes = bits ? DIMS * sizeof(float) : DIMS / 8;
	struct stat stat;
	struct error err;

	p->file = fopen(path, "rb");
	if (!p->file || fstat(fileno(p->file), &stat) != 0 ||
	    (size_t)stat.st_size <= QUERIES * row_bytes)
		harness_fail(path, "expected rows and queries");
	p->rows = (size_t)stat.st_size / row_bytes - QUERIES;
	p->shape = (struct code_shape){DIMS, bits ? bits : 1, 0};
	if (code_shape_check(p->shape, &err) != 0)
		harness_fail("bench_flat", err.text);
	p->store = store_new(1, p->shape, false, &err);
	p->query = array_new_aligned(QUERIES, sizeof *p->query);
	if (!p->store || !p->query)
		harness_fail("bench_flat", "no memory");
	if (bits)
		read_vectors(p);
	else
		read_codes(p);
	fclose(p->file);
	store_publish(p->store);
	for (size_t i = 0; i < QUERIES; i++)
		p->searches[i] = (struct flat_search){
		    .query = &p->query[i], .k = K, .hits = p->hits[i]};
}

void
flat_peer_rounds(const char *path, uint32_t bits, size_t batch)
{
	static struct peer p;
	struct error err;
	char line[16];

	if (batch == 0 || QUERIES % batch != 0)
		harness_fail("bench_flat", "expected a batch that divides the queries");
	open_peer(&p, path, bits);
	struct store_snapshot *snapshot = store_acquire(p.store);
	struct flat_scratch *scratch = flat_scratch_new(distance_best(), 1, &err);
	if (!scratch)
		harness_fail("flat_scratch_new", err.text);
	printf("%s\n", distance_best()->name);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		struct harness_watch watch = harness_start();
		for (size_t i = 0; i < QUERIES; i += batch)
			if (flat_run(p.searches + i, batch, snapshot, scratch, &err) !=
			    0)
				harness_fail("flat_run", err.text);
		struct harness_time t = harness_stop(watch);
		printf("%.9f %.9f\n", t.wall / QUERIES, t.cpu / QUERIES);
		fflush(stdout);
	}
	for (size_t i = 0; i < QUERIES; i++)
		for (size_t j = 0; j < K; j++)
			printf("%u ", p.hits[i][j].slot);
	printf("\n");
	flat_scratch_free(scratch);
	store_release(snapshot);
	store_free(p.store);
	free(p.query);
}
