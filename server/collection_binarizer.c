#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/text.h"
#include "server/collection_internal.h"

/* ---- from bytes ---- */

/* The rest of the program reads models from files: give it one in memory. */
static int
memory_file(const void *bytes, size_t n, struct error *err)
{
	const char *p = bytes;
	int fd = memfd_create("binarizer", MFD_CLOEXEC);

	if (fd < 0)
		return error_set(err, ERR_IO, "memfd_create: %s", strerror(errno));
	while (n > 0) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			error_set(err, ERR_IO, "writing a binarizer to memory: %s",
			    strerror(errno));
			close(fd);
			return -1;
		}
		p += k;
		n -= (size_t)k;
	}
	return fd;
}

static struct recurrent *
open_bytes(const void *bytes, size_t n, struct code_shape shape, struct error *err)
{
	char path[64], prefix[68];
	int fd = memory_file(bytes, n, err);

	if (fd < 0)
		return NULL;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	struct recurrent *model = recurrent_open(path, shape, err);
	close(fd);
	/* The caller knows a name that says more than the descriptor's. */
	size_t n_prefix = (size_t)snprintf(prefix, sizeof prefix, "%s: ", path);
	if (!model && strncmp(err->text, prefix, n_prefix) == 0)
		memmove(
		    err->text, err->text + n_prefix, strlen(err->text + n_prefix) + 1);
	return model;
}

static struct recurrent *
open_untrained(uint32_t size, struct code_shape shape, uint64_t seed, struct error *err)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = size, .shape = shape, .seed = seed};

	return recurrent_new(&config, err);
}

/* b->bytes := the whole file, at most COLLECTION_BINARIZER_BYTES_MAX. */
static int
read_file(struct collection_binarizer *b, const char *path, struct error *err)
{
	struct stat st;
	FILE *file = fopen(path, "re");

	if (!file || fstat(fileno(file), &st) != 0) {
		error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (st.st_size > COLLECTION_BINARIZER_BYTES_MAX) {
		error_set(err, ERR_TOO_LARGE, "%s: expected at most %d bytes, not %lld",
		    path, COLLECTION_BINARIZER_BYTES_MAX, (long long)st.st_size);
		goto fail;
	}
	b->n = (size_t)st.st_size;
	b->bytes = array_new(b->n, 1);
	if (!b->bytes) {
		error_set(err, ERR_MEMORY, "out of memory for %s", path);
		goto fail;
	}
	if (fread(b->bytes, 1, b->n, file) != b->n) {
		error_set(err, ERR_IO, "%s: cannot read %zu bytes", path, b->n);
		goto fail;
	}
	fclose(file);
	return 0;
fail:
	if (file)
		fclose(file);
	return -1;
}

#define MEAN_HEADER_MAX 512

/* Append the file of a rotation (docs/formats.md). */
static void
add_rotation(struct text *file, uint64_t seed, const float *mean, size_t n)
{
	char header[MEAN_HEADER_MAX];
	int length = snprintf(header, sizeof header,
	    "{\"__metadata__\":{\"format\":\"halftone-binarizer\","
	    "\"format_version\":\"1\",\"kind\":\"rotation\",\"seed\":\"%" PRIu64
	    "\"},\"mean\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}"
	    "}",
	    seed, n, 4 * n);
	/* Spaces fill the header up, so that the data begin at a multiple of 64. */
	size_t header_n = ((size_t)length + 8 + 63) / 64 * 64 - 8;
	uint8_t bytes[8];

	bytes_put64le(bytes, header_n);
	text_bytes(file, bytes, 8);
	text_printf(file, "%-*s", (int)header_n, header);
	for (size_t i = 0; i < n; i++) {
		bytes_putfle(bytes, mean[i]);
		text_bytes(file, bytes, 4);
	}
}

/* b->bytes := the file of a rotation with the mean, so that a collection keeps it as it
 * keeps one that came from a file. */
static int
write_mean(struct collection_binarizer *b, const struct collection_settings *s,
    struct error *err)
{
	struct text file = {0};

	add_rotation(&file, RECURRENT_UNTRAINED_SEED, s->mean, s->n_mean);
	if (file.failed) {
		text_free(&file);
		return error_set(err, ERR_MEMORY, "out of memory for a mean");
	}
	b->bytes = file.bytes;
	b->n = file.n;
	return 0;
}

void
collection_binarizer_file(struct text *file, const struct collection_binarizer *b)
{
	struct recurrent_info info = recurrent_info(b->model);

	if (b->bytes)
		text_bytes(file, b->bytes, b->n);
	else
		add_rotation(file, info.seed, info.mean, info.input_dims);
}

static struct collection_binarizer *
make(struct error *err)
{
	struct collection_binarizer *b = array_new(1, sizeof *b);

	if (b)
		atomic_init(&b->n_owners, 1);
	else
		error_set(err, ERR_MEMORY, "out of memory for a binarizer");
	return b;
}

/* Fill *b. */
static int
open_new(struct collection_binarizer *b, const struct collection_settings *s,
    const char *path, struct error *err)
{
	if (!path && !s->mean) {
		b->model =
		    open_untrained(s->size, s->shape, RECURRENT_UNTRAINED_SEED, err);
	} else {
		if ((s->mean ? write_mean(b, s, err) : read_file(b, path, err)) != 0)
			return -1;
		b->model = open_bytes(b->bytes, b->n, s->shape, err);
	}
	if (!b->model)
		return error_prefix(err, "binarizer %.100s", s->binarizer);
	return 0;
}

struct collection_binarizer *
collection_binarizer_new(
    const struct collection_settings *s, const char *path, struct error *err)
{
	struct collection_binarizer *b = make(err);

	if (b && open_new(b, s, path, err) != 0) {
		collection_binarizer_release(b);
		return NULL;
	}
	return b;
}

/* Fill *b. */
static int
open_stored(struct collection_binarizer *b,
    const struct collection_stored_version *stored, uint32_t collection,
    struct db_txn *txn, struct error *err)
{
	const struct collection_version *v = &stored->version;
	const void *bytes;
	size_t n;

	if (db_binarizer(txn, collection, v->codes.version, &bytes, &n, err) != 0)
		return -1;
	if (n > 0) {
		b->bytes = array_copy(bytes, n);
		if (!b->bytes)
			return error_set(
			    err, ERR_MEMORY, "out of memory for a binarizer");
		b->n = n;
		b->model = open_bytes(b->bytes, n, v->shape, err);
	} else {
		b->model = open_untrained(v->size, v->shape, stored->seed, err);
	}
	if (!b->model)
		return error_prefix(err, "its binarizer");
	if (recurrent_info(b->model).input_dims != v->size ||
	    strcmp(recurrent_id(b->model), stored->binarizer_id) != 0)
		return error_set(err, ERR_FORMAT,
		    "its codes were made by the binarizer %s, and what is stored is "
		    "%s: restore the data from a copy",
		    stored->binarizer_id, recurrent_id(b->model));
	return 0;
}

struct collection_binarizer *
collection_binarizer_load(const struct collection_stored_version *stored,
    uint32_t collection, struct db_txn *txn, struct error *err)
{
	struct collection_binarizer *b = make(err);

	if (b && open_stored(b, stored, collection, txn, err) != 0) {
		collection_binarizer_release(b);
		return NULL;
	}
	return b;
}

struct collection_binarizer *
collection_binarizer_retain(struct collection_binarizer *b)
{
	atomic_fetch_add(&b->n_owners, 1);
	return b;
}

void
collection_binarizer_release(struct collection_binarizer *b)
{
	if (!b || atomic_fetch_sub(&b->n_owners, 1) > 1)
		return;
	recurrent_free(b->model);
	free(b->bytes);
	free(b);
}
