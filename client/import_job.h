#ifndef CLIENT_IMPORT_JOB_H
#define CLIENT_IMPORT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/vectors.h"
#include "client/progress.h"
#include "client/remote.h"
#include "client/upload.h"

/* One run of `halftone import`, shared by the files import*.c.  Owner only. */

#define IMPORT_BATCH_DEFAULT 256
#define IMPORT_BATCH_MAX 10000
#define IMPORT_BATCH_BYTES                                        \
	(4 * 1024 * 1024) /* a batch is sent once it is this long \
			   */
/* Every byte of it is embedded: some seconds of a core, as many batches at once as
 * there are connections, and the answer has to come before REMOTE_TIMEOUT_S. */
#define IMPORT_BATCH_BYTES_CHUNKED (32 * 1024)
#define IMPORT_DIMS_MAX 65536 /* of a vector in a line */

/* What a document is made of. */
enum import_kind {
	IMPORT_NOTHING, /* none has been seen yet */
	IMPORT_TEXT,
	IMPORT_VECTOR,
	IMPORT_CODE,
};

/* Rows at a file's start that a mean is fitted on.  Of fewer than the second number it
 * would tell more of these rows than of those to come: then there is none. */
#define IMPORT_MEAN_ROWS 10000
#define IMPORT_MEAN_ROWS_MIN 100

/* A file of vectors; path NULL: there is none. */
struct import_sample {
	const char *path;
	enum vectors_format format;
};

/* mean (the file's dimensions) := the mean of its first rows, each at length 1 for
 * Cosine, so that codes tell how a vector differs from the others and not what all have
 * in common.  1: there is one; 0: too few rows; -1: as vectors_open. */
int import_mean(
    float *mean, const struct import_sample *sample, bool cosine, struct error *err);

struct import_settings {
	struct remote_address address;
	const char *collection;
	const char *text_model; /* NULL = not named */
	const char *distance;   /* "Cosine", "Dot", "Euclid"; NULL = not named */
	uint32_t bits;          /* 0 = not named */
	uint32_t dims;          /* 0 = not named */
	bool progressive;       /* false = not named */
	uint32_t batch;
	uint32_t connections;
	bool keep_text;
	bool chunk; /* texts become passages: nothing else is taken */
};

/* One line of JSON as a point. */
struct import_line {
	const char *text;
	size_t len;
	uint64_t number; /* the id if the line has none */
	bool keep_text;
	bool chunk;
	size_t dims;           /* what a vector must have; 0 = any */
	enum import_kind kind; /* out */
};

/* Append the point {"id", "vector", "payload"} that a line of JSON stands for; fills
 * line->kind and, for a vector, line->dims.  ERR_INPUT, ERR_MEMORY: *point may then
 * hold a part. */
int import_point(struct text *point, struct import_line *line, struct error *err);

struct import_job {
	struct import_settings settings;
	struct upload *upload; /* NULL until the collection is known to exist */
	struct progress progress;
	struct text points; /* the batch that is being filled */
	uint32_t n_points;
	struct upload_point list[IMPORT_BATCH_MAX]; /* n_points of them */
	const char *file;    /* that the batch comes from; lives as long as argv */
	const char *mark;    /* between file and line or row: ":" or ", row " */
	uint64_t n_read;     /* documents read from all files */
	uint64_t number;     /* lines or rows of the files that are done */
	uint64_t read_bytes; /* of the files that are done */
	uint64_t file_bytes; /* read of the current one */
	size_t vector_dims;  /* of the first vector; 0 = none seen */
	struct import_sample sample; /* the file of vectors that is being read */
};

/* Make the collection if it does not exist, then begin to upload.  The first document
 * decides what it is made for. */
int import_prepare(struct import_job *job, enum import_kind kind, struct error *err);

/* A point was appended to job->points; it came from `place` (line or row) of
 * job->file: send the batch if it is full.  As upload_put. */
int import_added(struct import_job *job, uint64_t place, struct error *err);

/* Send what the batch holds. */
int import_flush(struct import_job *job, struct error *err);

/* Read one file to its end; -1 with ERR_NONE: stopped. */
int import_lines(struct import_job *job, const char *path, struct error *err);
int import_vectors(struct import_job *job, const char *path, enum vectors_format format,
    struct error *err);

#endif /* CLIENT_IMPORT_JOB_H */
