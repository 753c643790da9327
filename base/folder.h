#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include "base/error.h"

/* Make the entry of the file `path` last: a rename or a new file is on the disk once
 * its folder is.  ERR_IO, ERR_MEMORY.  Any thread. */
int folder_sync(const char *path, struct error *err);

#endif /* BASE_FOLDER_H */
