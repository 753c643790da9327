#ifndef CLIENT_PROGRESS_H
#define CLIENT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How far a long job is, on stderr: a bar that is redrawn in place on a terminal,
 * elsewhere a plain line every few seconds.  Owner only.
 */
struct progress {
	const char *unit;    /* of one: "document" */
	uint64_t size_bytes; /* of the whole input; 0 = unknown */
	uint64_t units; /* of the whole job, where bytes say nothing; 0 = unknown */
	uint64_t first; /* of them, done before the job began */
	uint64_t start_ns;
	uint64_t drawn_ns;
	bool terminal;
	bool drawn;     /* a bar stands on the current line */
	char note[160]; /* shown behind the figures; the owner sets it */
};

void progress_start(struct progress *progress, const char *unit, uint64_t size_bytes);

/* A job of `units`, `first` of them done already, that reads nothing. */
void progress_start_units(
    struct progress *progress, const char *unit, uint64_t first, uint64_t units);

/* `done` units are finished and `bytes` of the input read; draws if it is time to.
 * Cheap enough to be called often. */
void progress_show(struct progress *progress, uint64_t done, uint64_t bytes);

/* Draw the last state (on a terminal) and end the line, so that other output may
 * follow. */
void progress_end(struct progress *progress, uint64_t done, uint64_t bytes);

/* End the line of a bar, if one stands there, so that other output may come between. */
void progress_break(struct progress *progress);

#endif /* CLIENT_PROGRESS_H */
