#include "attention/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/replace.h"

/* bytes (n) := the file, which must have that many; 0 or -1. */
static int
read_all(int fd, char *bytes, size_t n, const char *path, struct error *err)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = read(fd, bytes + got, n - got);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
		if (k == 0)
			return error_set(err, ERR_IO,
			    "%s: expected %zu bytes, not %zu: it is being changed",
			    path, n, got);
		got += (size_t)k;
	}
	return 0;
}

static char *
read_open(int fd, const char *path, size_t max, size_t *n, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERR_IO, "%s: expected a regular file", path);
		return NULL;
	}
	size_t size = (size_t)st.st_size;
	if (size > max) {
		error_set(err, ERR_TOO_LARGE, "%s: expected at most %zu bytes, not %zu",
		    path, max, size);
		return NULL;
	}
	char *bytes = array_new(size + 1, 1);
	if (!bytes) {
		error_set(err, ERR_MEMORY, "%s: no memory for %zu bytes", path, size);
		return NULL;
	}
	if (read_all(fd, bytes, size, path, err) != 0) {
		free(bytes);
		return NULL;
	}
	*n = size;
	return bytes;
}

char *
file_read(const char *path, size_t max, size_t *n, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		enum error_code code = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
		error_set(err, code, "%s: %s", path, strerror(errno));
		return NULL;
	}
	char *bytes = read_open(fd, path, max, n, err);
	close(fd);
	return bytes;
}

int
file_write(const char *path, const char *bytes, size_t n, struct error *err)
{
	struct replace file;

	if (replace_open(&file, path, err) != 0)
		return -1;
	if (fwrite(bytes, 1, n, file.file) == n)
		return replace_close(&file, err);
	replace_failed(&file, err);
	replace_abandon(&file);
	return -1;
}
