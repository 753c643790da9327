#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/folder.h"
#include "base/vectors.h"
#include "base/vectors_npy.h"

struct vectors_writer {
	FILE *file;
	char *path;
	char *temporary; /* NULL until the file exists */
	size_t dims;
	uint64_t count;
	uint8_t *raw; /* (4 * dims) */
};

static int
write_error(const struct vectors_writer *w, struct error *err)
{
	return error_set(err, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO,
	    "%s: %s", w->temporary, strerror(errno));
}

static int
write_header(struct vectors_writer *w, struct error *err)
{
	char header[VECTORS_NPY_WRITTEN_BYTES];
	vectors_npy_write(header, w->count, w->dims);
	if (fwrite(header, 1, sizeof header, w->file) != sizeof header)
		return write_error(w, err);
	return 0;
}

/* Create the temporary file; its name carries the process, so that two programs
 * that write one path do not meet. */
static int
open_temporary(struct vectors_writer *w, struct error *err)
{
	size_t cap = strlen(w->path) + 32;
	char *name = array_new(cap, 1);
	if (name == NULL)
		return error_set(err, ERR_MEMORY, "no memory to write %s", w->path);
	snprintf(name, cap, "%s.%ld.tmp", w->path, (long)getpid());
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd == -1) {
		error_set(err, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO,
		    "%s: %s", name, strerror(errno));
		free(name);
		return -1;
	}
	w->temporary = name;
	w->file = fdopen(fd, "wb");
	if (w->file == NULL) {
		close(fd);
		return error_set(err, ERR_MEMORY, "no memory to write %s", w->path);
	}
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
	w->path = array_copy(path, strlen(path));
	w->raw = array_new(dims, 4);
	if (w->path == NULL || w->raw == NULL) {
		error_set(err, ERR_MEMORY, "no memory to write %s", path);
		goto fail;
	}
	if (open_temporary(w, err) == -1 || write_header(w, err) == -1)
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
	if (fwrite(w->raw, 4, w->dims, w->file) != w->dims)
		return write_error(w, err);
	w->count++;
	return 0;
}

/* All that was written, its header last, to the disk. */
static int
write_end(struct vectors_writer *w, struct error *err)
{
	if (fseek(w->file, 0, SEEK_SET) != 0)
		return write_error(w, err);
	if (write_header(w, err) == -1)
		return -1;
	if (fflush(w->file) != 0 || fsync(fileno(w->file)) == -1)
		return write_error(w, err);
	return 0;
}

int
vectors_save_close(struct vectors_writer *w, struct error *err)
{
	int rc = write_end(w, err);
	if (rc == -1)
		goto end;
	FILE *file = w->file;
	w->file = NULL;
	if (fclose(file) != 0 || rename(w->temporary, w->path) == -1) {
		rc = write_error(w, err);
		goto end;
	}
	free(w->temporary);
	w->temporary = NULL;
	rc = folder_sync(w->path, err);
end:
	vectors_save_abandon(w);
	return rc;
}

void
vectors_save_abandon(struct vectors_writer *w)
{
	if (w == NULL)
		return;
	if (w->file != NULL)
		fclose(w->file);
	if (w->temporary != NULL)
		unlink(w->temporary);
	free(w->temporary);
	free(w->raw);
	free(w->path);
	free(w);
}
