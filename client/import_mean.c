#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "client/import_job.h"
#include "client/stop.h"

/* Add a row, at length 1 for Cosine; false for a row of zeros there, which has no
 * direction (the server refuses it). */
static bool
add(double *sum, const float *row, size_t dims, bool cosine)
{
	double scale = 1;
	if (cosine) {
		double square = 0;
		for (size_t i = 0; i < dims; i++)
			square += (double)row[i] * (double)row[i];
		if (square == 0)
			return false;
		scale = 1 / sqrt(square);
	}
	for (size_t i = 0; i < dims; i++)
		sum[i] += scale * (double)row[i];
	return true;
}

int
import_mean(
    float *mean, const struct import_sample *sample, bool cosine, struct error *err)
{
	struct vectors *vectors = vectors_open(sample->path, sample->format, err);
	if (vectors == NULL)
		return -1;
	size_t dims = vectors_dims(vectors), n = 0;
	float *row = array_new(dims, sizeof *row);
	double *sum = array_new(dims, sizeof *sum);
	int rc = 0;
	if (row == NULL || sum == NULL)
		rc = error_set(err, ERR_MEMORY, "no memory for a mean");
	/* The import comes to a bad row once those before it are stored, and says so.
	 */
	struct error ignored;
	while (rc == 0 && n < IMPORT_MEAN_ROWS && !stop_requested() &&
	       vectors_next(vectors, row, &ignored) == 1)
		n += add(sum, row, dims, cosine);
	if (rc == 0 && n >= IMPORT_MEAN_ROWS_MIN) {
		for (size_t i = 0; i < dims; i++)
			mean[i] = (float)(sum[i] / (double)n);
		rc = 1;
	}
	free(sum);
	free(row);
	vectors_close(vectors);
	return rc;
}
