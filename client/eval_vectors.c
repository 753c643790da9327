#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/vectors.h"
#include "client/eval.h"
#include "client/stop.h"

static int
read_rows(
    struct eval_vectors *out, struct vectors *file, const char *path, struct error *err)
{
	for (size_t i = 0; i < out->n; i++) {
		float *row = out->values + i * out->dims;
		if (stop_requested())
			return error_set(err, ERR_NONE, "stopped");
		if (vectors_next(file, row, err) == -1)
			return -1;
		if (!vectors_normalise(row, out->dims))
			return error_set(err, ERR_FORMAT,
			    "%s: row %zu: expected a vector with a direction, not %zu "
			    "zeros",
			    path, i, out->dims);
		out->valid[i] = 1;
	}
	return 0;
}

int
eval_vectors_load(struct eval_vectors *out, const char *path, struct error *err)
{
	enum vectors_format format;
	if (vectors_format_of(&format, path, err) == -1)
		return -1;
	struct vectors *file = vectors_open(path, format, err);
	if (file == NULL)
		return -1;
	int rc = 0;
	out->n = (size_t)vectors_count(file);
	out->dims = vectors_dims(file);
	if (out->n == 0 || out->n > UINT32_MAX)
		rc = error_set(err, ERR_FORMAT,
		    "%s: expected 1 to %" PRIu32 " vectors, not %zu", path, UINT32_MAX,
		    out->n);
	if (rc == 0) {
		out->values = array_new_aligned(out->n, out->dims * sizeof(float));
		out->valid = array_new(out->n, 1);
		if (out->values == NULL || out->valid == NULL)
			rc = error_set(
			    err, ERR_MEMORY, "no memory for %zu vectors", out->n);
	}
	if (rc == 0)
		rc = read_rows(out, file, path, err);
	vectors_close(file);
	return rc;
}

int
eval_vectors_load_both(struct eval_embedded *embedded, const char *corpus,
    const char *queries, struct error *err)
{
	if (eval_vectors_load(&embedded->corpus, corpus, err) == -1 ||
	    eval_vectors_load(&embedded->queries, queries, err) == -1)
		return -1;
	if (embedded->corpus.dims != embedded->queries.dims)
		return error_set(err, ERR_FORMAT,
		    "%s: expected queries of %zu dimensions, as the corpus has, not "
		    "%zu",
		    queries, embedded->corpus.dims, embedded->queries.dims);
	return 0;
}

int
eval_ranks_save(const struct eval_ranks *ranks, const char *path, struct error *err)
{
	struct vectors_writer *writer = vectors_save_open(path, EVAL_DEPTH, err);
	if (writer == NULL)
		return -1;
	for (size_t q = 0; q < ranks->n_queries; q++) {
		float row[EVAL_DEPTH];
		for (size_t i = 0; i < EVAL_DEPTH; i++)
			row[i] = i < ranks->counts[q]
				     ? (float)ranks->docs[q * EVAL_DEPTH + i]
				     : -1.0f;
		if (vectors_save_row(writer, row, err) == -1) {
			vectors_save_abandon(writer);
			return -1;
		}
	}
	return vectors_save_close(writer, err);
}
