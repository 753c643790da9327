#ifndef BASE_REPLACE_H
#define BASE_REPLACE_H

#include <stdio.h>

#include "base/error.h"

/*
 * A file that is written anew, whole or not at all: whoever opens `path` finds the old
 * file or the whole new one, also after a power cut.
 *
 * Until it is whole it lies beside the old one, as PATH.halftone.tmp, which is locked:
 * one that is being written is refused to anyone else, and what a process that was
 * killed has left there the next one replaces.
 *
 * Owner only.
 */
struct replace {
	FILE *file; /* to write to */
	char *path, *temporary;
};

/* Begin; *replace is to be ended by one of the two below.  ERR_INPUT: `path` is
 * there and no file; ERR_BUSY: someone else is writing it; ERR_IO, ERR_FULL,
 * ERR_MEMORY. */
int replace_open(struct replace *replace, const char *path, struct error *err);

/* ERR_IO or ERR_FULL by errno, after a call on the file has failed; -1. */
int replace_failed(const struct replace *replace, struct error *err);

/* Sync what was written, put it in the place of `path` and sync its folder; what
 * fails before that leaves the old file.  ERR_IO, ERR_FULL, ERR_MEMORY. */
int replace_close(struct replace *replace, struct error *err);

/* Throw it away; legal for one that is ended or all zeros. */
void replace_abandon(struct replace *replace);

/* 0 if `path` could be written now, else as replace_open; clears away what a process
 * that was killed has left of it. */
int replace_check(const char *path, struct error *err);

#endif /* BASE_REPLACE_H */
