#include "client/train_sample.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/vectors.h"
#include "client/progress.h"
#include "client/stop.h"

#define STREAM_CHOICE 1 /* of the seed */
#define STREAM_ORDER 2

/* Algorithm R (Vitter, "Random sampling with a reservoir", ACM TOMS 1985). */
static int
choose_rows(struct train_sample *s, struct vectors *vectors, size_t max, uint64_t seed,
    struct error *err)
{
	size_t dims = s->dims;
	float *row = array_new(dims, sizeof *row);
	struct progress progress;
	struct rng rng;
	int rc = 0;

	assert(s->rows);
	if (!row)
		return error_set(err, ERR_MEMORY, "out of memory for a vector");
	rng_init(&rng, seed, STREAM_CHOICE);
	progress_start(&progress, "vector", vectors_size_bytes(vectors));
	while (!stop_requested() && (rc = vectors_next(vectors, row, err)) == 1) {
		uint64_t place = s->count++, number = place;
		if (!vectors_normalise(row, dims)) {
			rc = error_set(err, ERR_FORMAT,
			    "row %" PRIu64 ": expected a vector with a direction, not "
			    "%zu zeros; leave such rows out",
			    place, dims);
			break;
		}
		if (place >= max)
			place = rng_below(&rng, s->count);
		if (place < max) {
			memcpy(s->rows + place * dims, row, dims * sizeof *row);
			s->places[place] = number;
		}
		progress_show(&progress, s->count, vectors_read_bytes(vectors));
	}
	progress_end(&progress, s->count, vectors_read_bytes(vectors));
	free(row);
	if (rc == 1)
		rc = error_set(err, ERR_NONE, "stopped");
	s->n = s->count < max ? (size_t)s->count : max;
	return rc;
}

static int
shuffle(struct train_sample *s, uint64_t seed, struct error *err)
{
	size_t dims = s->dims;
	float *row = array_new(dims, sizeof *row);
	struct rng rng;

	if (!row)
		return error_set(err, ERR_MEMORY, "out of memory for a vector");
	rng_init(&rng, seed, STREAM_ORDER);
	for (size_t i = s->n; i > 1; i--) {
		size_t j = rng_below(&rng, i);
		float *a = s->rows + (i - 1) * dims, *b = s->rows + j * dims;
		if (a == b)
			continue;
		uint64_t place = s->places[j];
		s->places[j] = s->places[i - 1];
		s->places[i - 1] = place;
		memcpy(row, a, dims * sizeof *row);
		memcpy(a, b, dims * sizeof *row);
		memcpy(b, row, dims * sizeof *row);
	}
	free(row);
	return 0;
}

static int
check_differ(const struct train_sample *s, struct error *err)
{
	for (size_t i = 1; i < s->n; i++)
		if (memcmp(s->rows, s->rows + i * s->dims, s->dims * sizeof *s->rows) !=
		    0)
			return 0;
	return error_set(err, ERR_FORMAT,
	    "expected vectors that differ, not %zu of one direction", s->n);
}

int
train_sample_load(struct train_sample *sample, const char *path, size_t max,
    uint64_t seed, struct error *err)
{
	enum vectors_format format;
	memset(sample, 0, sizeof *sample);
	if (vectors_format_of(&format, path, err) != 0)
		return -1;
	struct vectors *vectors = vectors_open(path, format, err);
	if (!vectors)
		return -1;
	uint64_t rows = vectors_count(vectors);
	int rc = 0;
	sample->dims = vectors_dims(vectors);
	if (rows == 0)
		rc = error_set(err, ERR_FORMAT, "expected vectors, not an empty file");
	if (rc == 0) {
		size_t n = rows < max ? (size_t)rows : max;
		sample->rows =
		    array_new_aligned(n, sample->dims * sizeof *sample->rows);
		sample->places = array_new(n, sizeof *sample->places);
		if (!sample->rows || !sample->places)
			rc = error_set(
			    err, ERR_MEMORY, "out of memory for a sample of vectors");
	}
	if (rc == 0)
		rc = choose_rows(sample, vectors, max, seed, err);
	if (rc == 0)
		rc = shuffle(sample, seed, err);
	if (rc == 0)
		rc = check_differ(sample, err);
	vectors_close(vectors);
	if (rc == 0)
		return 0;
	train_sample_free(sample);
	return err->code == ERR_NONE || strncmp(err->text, path, strlen(path)) == 0
		   ? -1
		   : error_prefix(err, "%s", path);
}

void
train_sample_free(struct train_sample *sample)
{
	free(sample->rows);
	free(sample->places);
	memset(sample, 0, sizeof *sample);
}

uint64_t
train_sample_hash(const float *numbers, size_t n)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < n; i++) {
		uint32_t bits;
		memcpy(&bits, &numbers[i], sizeof bits);
		hash = (hash ^ bits) * 0x100000001b3u;
		hash ^= hash >> 29; /* high bits count too */
	}
	return hash;
}
