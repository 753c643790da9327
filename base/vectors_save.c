#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/replace.h"
#include "base/vectors.h"
#include "base/vectors_npy.h"

struct vectors_writer {
	struct replace out;
	size_t dims;
	uint64_t count;
	uint8_t *raw; /* (4 * dims) */
};

static int
write_header(struct vectors_writer *w, struct error *err)
{
	char header[VECTORS_NPY_WRITTEN_BYTES];
	vectors_npy_write(header, w->count, w->dims);
	if (fwrite(header, 1, sizeof header, w->out.file) != sizeof header)
		return replace_failed(&w->out, err);
	return 0;
}

struct vectors_writer *
vectors_save_open(const char *path, size_t dims, struct error *err)
{
	if (dims < 1 || dims > VECTORS_DIMS_MAX) {
		error_set(err, ERR_INPUT, "expected 1 to %d dimensions, not %zu",
		    VECTORS_DIMS_MAX, dims);
		return NULL;
	}
	struct vectors_writer *w = array_new(1, sizeof *w);
	if (w == NULL) {
		error_set(err, ERR_MEMORY, "no memory to write %s", path);
		return NULL;
	}
	w->dims = dims;
	w->raw = array_new(dims, 4);
	if (w->raw == NULL) {
		error_set(err, ERR_MEMORY, "no memory to write %s", path);
		goto fail;
	}
	if (replace_open(&w->out, path, err) == -1 || write_header(w, err) == -1)
		goto fail;
	return w;
fail:
	vectors_save_abandon(w);
	return NULL;
}

int
vectors_save_row(struct vectors_writer *w, const float *row, struct error *err)
{
	for (size_t i = 0; i < w->dims; i++)
		bytes_putfle(w->raw + 4 * i, row[i]);
	if (fwrite(w->raw, 4, w->dims, w->out.file) != w->dims)
		return replace_failed(&w->out, err);
	w->count++;
	return 0;
}

int
vectors_save_close(struct vectors_writer *w, struct error *err)
{
	int rc;
	if (fseek(w->out.file, 0, SEEK_SET) != 0)
		rc = replace_failed(&w->out, err);
	else
		rc = write_header(w, err);
	if (rc == 0)
		rc = replace_close(&w->out, err);
	vectors_save_abandon(w);
	return rc;
}

void
vectors_save_abandon(struct vectors_writer *w)
{
	if (w == NULL)
		return;
	replace_abandon(&w->out);
	free(w->raw);
	free(w);
}
