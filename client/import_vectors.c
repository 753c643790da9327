#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "client/import_job.h"
#include "client/stop.h"

static void
append_row(struct import_job *job, uint64_t id, const uint8_t *bytes, size_t n)
{
	text_printf(&job->points, "%s{\"id\":%llu,\"vector\":{\"object\":{\"b64\":\"",
	    job->n_points > 0 ? "," : "", (unsigned long long)id);
	text_base64(&job->points, bytes, n);
	text_string(&job->points, "\"},\"model\":\"float32\"}}");
}

static int
add_rows(struct import_job *job, struct vectors *vectors, float *row, struct error *err)
{
	size_t dims = vectors_dims(vectors);
	uint8_t *bytes = array_new(dims, 4);
	uint64_t place = 0;
	int rc = 0;

	if (bytes == NULL)
		return error_set(err, ERR_MEMORY, "no memory for a vector");
	while (!stop_requested() && (rc = vectors_next(vectors, row, err)) == 1) {
		for (size_t i = 0; i < dims; i++)
			bytes_putfle(bytes + 4 * i, row[i]);
		append_row(job, job->number + place, bytes, 4 * dims);
		job->file_bytes = vectors_read_bytes(vectors);
		if (job->upload == NULL &&
		    (rc = import_prepare(job, IMPORT_VECTOR, err)) == -1)
			break;
		if ((rc = import_added(job, place, err)) == -1)
			break;
		place++;
	}
	free(bytes);
	if (rc != -1 && stop_requested())
		rc = error_set(err, ERR_NONE, "stopped");
	return rc;
}

int
import_vectors(struct import_job *job, const char *path, enum vectors_format format,
    struct error *err)
{
	if (job->settings.chunk)
		return error_set(err, ERR_INPUT,
		    "%s: expected lines with \"text\", as --chunk says, not vectors",
		    path);
	struct vectors *vectors = vectors_open(path, format, err);
	if (vectors == NULL)
		return -1;
	size_t dims = vectors_dims(vectors);
	float *row = array_new(dims, sizeof *row);
	int rc = 0;
	job->file = path;
	job->mark = ", row ";
	job->sample = (struct import_sample){path, format};
	if (row == NULL)
		rc = error_set(err, ERR_MEMORY, "no memory for a vector");
	else if (dims != 0 && job->vector_dims != 0 && dims != job->vector_dims)
		rc = error_set(err, ERR_FORMAT,
		    "%s: expected %zu dimensions as before, not %zu", path,
		    job->vector_dims, dims);
	if (rc == 0) {
		job->vector_dims = dims == 0 ? job->vector_dims : dims;
		rc = add_rows(job, vectors, row, err);
	}
	if (rc == 0)
		rc = import_flush(job, err);
	job->number += vectors_count(vectors);
	job->read_bytes += vectors_size_bytes(vectors);
	job->file_bytes = 0;
	job->sample.path = NULL;
	free(row);
	vectors_close(vectors);
	return rc;
}
