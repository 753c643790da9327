#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define ENDING ".halftone.tmp"

static int
failed(const char *path, struct error *err)
{
	bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

	return error_set(
	    err, full ? ERR_FULL : ERR_IO, "%s: %s", path, strerror(errno));
}

int
replace_failed(const struct replace *r, struct error *err)
{
	return failed(r->temporary, err);
}

static int
check_path(const char *path, struct error *err)
{
	struct stat st;

	if (*path == '\0' || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return error_set(err, ERR_INPUT,
		    "'%s': expected the name of a file, not of a folder or a device",
		    path);
	return 0;
}

/* Does the temporary name still mean this descriptor's file?  Whoever had the lock
 * before may have given it its final name, or removed it. */
static bool
is_named(const struct replace *r, int fd)
{
	struct stat mine, named;

	return fstat(fd, &mine) == 0 && lstat(r->temporary, &named) == 0 &&
	       mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

/* The temporary file, locked, with whatever is in it; -1: *err. */
static int
open_locked(const struct replace *r, struct error *err)
{
	for (;;) {
		int fd = open(
		    r->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (fd < 0)
			return replace_failed(r, err);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno == EWOULDBLOCK)
				error_set(err, ERR_BUSY,
				    "%s: expected nobody else to be writing it now",
				    r->path);
			else
				replace_failed(r, err);
			close(fd);
			return -1;
		}
		if (is_named(r, fd))
			return fd;
		close(fd);
	}
}

int
replace_open(struct replace *r, const char *path, struct error *err)
{
	size_t n = strlen(path);

	*r = (struct replace){
	    .path = array_copy(path, n), .temporary = array_new(n + sizeof ENDING, 1)};
	if (!r->path || !r->temporary) {
		error_set(err, ERR_MEMORY, "no memory to write %s", path);
		goto err0;
	}
	memcpy(r->temporary, path, n);
	memcpy(r->temporary + n, ENDING, sizeof ENDING);
	if (check_path(path, err) != 0)
		goto err0;
	int fd = open_locked(r, err);
	if (fd < 0)
		goto err0;
	if (ftruncate(fd, 0) != 0 || !(r->file = fdopen(fd, "w"))) {
		replace_failed(r, err);
		unlink(r->temporary);
		close(fd);
		goto err0;
	}
	return 0;
err0:
	free(r->path);
	free(r->temporary);
	*r = (struct replace){NULL, NULL, NULL};
	return -1;
}

/* Close the file, with it the lock, and forget all. */
static void
end(struct replace *r)
{
	fclose(r->file);
	free(r->path);
	free(r->temporary);
	*r = (struct replace){NULL, NULL, NULL};
}

/* Make the entry of the file `path` last: a rename is on the disk once its folder is.
 */
static int
sync_folder(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash == NULL ? array_copy(".", 1)
				     : array_copy(path, (size_t)(slash - path) + 1);
	if (folder == NULL)
		return error_set(err, ERR_MEMORY, "no memory to sync %s", path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd == -1 || fsync(fd) == -1 ? failed(folder, err) : 0;
	if (fd != -1)
		close(fd);
	free(folder);
	return rc;
}

int
replace_close(struct replace *r, struct error *err)
{
	if (fflush(r->file) != 0 || fsync(fileno(r->file)) != 0) {
		replace_failed(r, err);
		replace_abandon(r);
		return -1;
	}
	/* The lock is held until the file has its name. */
	if (rename(r->temporary, r->path) != 0) {
		failed(r->path, err);
		replace_abandon(r);
		return -1;
	}
	int rc = sync_folder(r->path, err);
	end(r);
	return rc;
}

void
replace_abandon(struct replace *r)
{
	if (!r->file)
		return;
	unlink(r->temporary);
	end(r);
}

int
replace_check(const char *path, struct error *err)
{
	struct replace r;

	if (replace_open(&r, path, err) != 0)
		return -1;
	replace_abandon(&r);
	return 0;
}
