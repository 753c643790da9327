#ifndef CLIENT_LINES_H
#define CLIENT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A file, or standard input, line by line, in any length and without holding the
 * whole.  A '\r' before the '\n' and a byte-order mark at the start are dropped; the
 * last line may lack its '\n'.  Owner only.
 */
#define LINES_BYTES_MAX (16 * 1024 * 1024) /* of one line */

struct lines;

/* `path` "-" is standard input.  NULL: ERR_NOT_FOUND, ERR_IO, ERR_MEMORY. */
struct lines *lines_open(const char *path, struct error *err);
void lines_close(struct lines *lines);

/* *text, *len := the next line, valid until the next call; '\0' behind it.  1: there
 * was one; 0: the end, or a stop was requested (client/stop.h); -1: ERR_IO,
 * ERR_TOO_LARGE, ERR_MEMORY, with name and line in the text. */
int lines_next(struct lines *lines, char **text, size_t *len, struct error *err);

/* Number of the line that came last, from 1. */
uint64_t lines_number(const struct lines *lines);

/* The file's name for messages: as given, "standard input" for "-". */
const char *lines_name(const struct lines *lines);

/* Bytes of the lines handed out. */
uint64_t lines_read_bytes(const struct lines *lines);

#endif /* CLIENT_LINES_H */
