#ifndef ATTENTION_FILE_H
#define ATTENTION_FILE_H

#include <stddef.h>

#include "base/error.h"

/* All of the regular file at `path` with a '\0' behind it, *n := its bytes; the caller
 * frees it.  NULL: ERR_NOT_FOUND, ERR_IO, ERR_MEMORY, ERR_TOO_LARGE if it has more
 * than max bytes.  Any thread may call. */
char *file_read(const char *path, size_t max, size_t *n, struct error *err);

/* Replace the file at `path` by n bytes, whole or not at all; errors as base/replace.h.
 * Any thread may call. */
int file_write(const char *path, const char *bytes, size_t n, struct error *err);

#endif /* ATTENTION_FILE_H */
