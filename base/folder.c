#include "base/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

int
folder_sync(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash == NULL ? array_copy(".", 1)
				     : array_copy(path, (size_t)(slash - path) + 1);
	if (folder == NULL)
		return error_set(err, ERR_MEMORY, "no memory to sync %s", path);
	int rc = 0;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || fsync(fd) == -1)
		rc = error_set(err, ERR_IO, "%s: %s", folder, strerror(errno));
	if (fd != -1)
		close(fd);
	free(folder);
	return rc;
}
