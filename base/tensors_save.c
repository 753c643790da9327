#include "base/tensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/tensors_type.h"

#define PREFIX_BYTES 8
#define ALIGNMENT 64
#define NAME_ROOM 64

static const struct {
	const char *name;
	size_t size;
} types[TENSORS_TYPES] = {
    [TENSOR_F32] = {"F32", 4},
    [TENSOR_F16] = {"F16", 2},
    [TENSOR_I8] = {"I8", 1},
    [TENSOR_U8] = {"U8", 1},
    [TENSOR_I32] = {"I32", 4},
    [TENSOR_I64] = {"I64", 8},
};

const char *
tensors_type_name(enum tensor_type type)
{
	return types[type].name;
}

size_t
tensors_type_size(enum tensor_type type)
{
	return types[type].size;
}

/* A text that grows within the room that header_new counted for it. */
struct text {
	char *bytes;
	size_t n;
	size_t cap;
};

static void
put(struct text *text, const char *s)
{
	size_t n = strlen(s);
	assert(n < text->cap - text->n);
	memcpy(text->bytes + text->n, s, n + 1);
	text->n += n;
}

static void
put_number(struct text *text, size_t number)
{
	char digits[24];
	snprintf(digits, sizeof digits, "%zu", number);
	put(text, digits);
}

static void
put_string(struct text *text, const char *s)
{
	put(text, "\"");
	for (; *s; s++) {
		char piece[8] = {*s};
		if (*s == '"' || *s == '\\')
			snprintf(piece, sizeof piece, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			snprintf(piece, sizeof piece, "\\u%04x", *s);
		put(text, piece);
	}
	put(text, "\"");
}

static void
put_tensor(struct text *text, const struct tensor *tensor, size_t offset)
{
	put_string(text, tensor->name);
	put(text, ":{\"dtype\":\"");
	put(text, types[tensor->type].name);
	put(text, "\",\"shape\":[");
	for (size_t i = 0; i < tensor->n_dims; i++) {
		put(text, i > 0 ? "," : "");
		put_number(text, tensor->shape[i]);
	}
	put(text, "],\"data_offsets\":[");
	put_number(text, offset);
	put(text, ",");
	put_number(text, offset + tensor->size_bytes);
	put(text, "]}");
}

struct plan {
	const char *path;
	const struct tensor **order; /* as they lie in the file */
	size_t n;
	const struct tensors_pair *metadata;
	size_t n_metadata;
	struct text header; /* prefix and padding included */
};

/* Widest elements first: each tensor then begins at a multiple of its element,
 * without the gaps that the format forbids. */
static int
by_element(const void *a, const void *b)
{
	const struct tensor *x = *(const struct tensor *const *)a;
	const struct tensor *y = *(const struct tensor *const *)b;
	size_t x_size = types[x->type].size, y_size = types[y->type].size;
	if (x_size != y_size)
		return x_size > y_size ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int
header_new(struct plan *plan, struct error *err)
{
	size_t room = 128 + ALIGNMENT;
	for (size_t i = 0; i < plan->n; i++)
		room += 6 * strlen(plan->order[i]->name) + 256;
	for (size_t i = 0; i < plan->n_metadata; i++)
		room += 6 * strlen(plan->metadata[i].key) +
			6 * strlen(plan->metadata[i].value) + 16;
	struct text *text = &plan->header;
	text->bytes = array_new(room, 1);
	if (!text->bytes)
		return error_set(err, ERR_MEMORY, "%s: out of memory", plan->path);
	text->cap = room;
	text->n = PREFIX_BYTES;

	put(text, "{");
	const char *comma = "";
	if (plan->n_metadata > 0) {
		put(text, "\"__metadata__\":{");
		for (size_t i = 0; i < plan->n_metadata; i++) {
			put(text, i > 0 ? "," : "");
			put_string(text, plan->metadata[i].key);
			put(text, ":");
			put_string(text, plan->metadata[i].value);
		}
		put(text, "}");
		comma = ",";
	}
	size_t offset = 0;
	for (size_t i = 0; i < plan->n; i++) {
		put(text, comma);
		put_tensor(text, plan->order[i], offset);
		offset += plan->order[i]->size_bytes;
		comma = ",";
	}
	put(text, "}");
	while (text->n % ALIGNMENT != 0)
		put(text, " ");
	bytes_put64le(text->bytes, text->n - PREFIX_BYTES);
	struct json root;
	if (json_check(
		&root, text->bytes + PREFIX_BYTES, text->n - PREFIX_BYTES, err) != 0)
		return error_prefix(err, "%s: a name or the metadata", plan->path);
	return 0;
}

static int
io_error(struct error *err, const char *path)
{
	bool full = errno == ENOSPC || errno == EDQUOT;
	return error_set(
	    err, full ? ERR_FULL : ERR_IO, "%s: %s", path, strerror(errno));
}

static int
write_all(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static int
write_plan(int fd, const struct plan *plan)
{
	if (write_all(fd, plan->header.bytes, plan->header.n) != 0)
		return -1;
	for (size_t i = 0; i < plan->n; i++)
		if (write_all(fd, plan->order[i]->data, plan->order[i]->size_bytes) !=
		    0)
			return -1;
	return fsync(fd);
}

/* The rename is on the disk once the folder is. */
static int
sync_folder(const char *path, char *folder)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;
	memcpy(folder, path, n);
	memcpy(folder + n, ".", 2);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int rc = fsync(fd);
	int saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

/* `name` has room for the path and NAME_ROOM more: the temporary name, then the
 * folder's. */
static int
replace_file(const struct plan *plan, char *name, struct error *err)
{
	static atomic_ulong count; /* two threads may save to one path */
	snprintf(name, strlen(plan->path) + NAME_ROOM, "%s.%ld-%lu.tmp", plan->path,
	    (long)getpid(), atomic_fetch_add(&count, 1));
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return io_error(err, name);
	if (write_plan(fd, plan) != 0) {
		io_error(err, name);
		close(fd);
		goto err0;
	}
	if (close(fd) != 0 || rename(name, plan->path) != 0) {
		io_error(err, plan->path);
		goto err0;
	}
	if (sync_folder(plan->path, name) != 0)
		return io_error(err, plan->path);
	return 0;
err0:
	unlink(name);
	return -1;
}

static int
check_list(const char *path, const struct tensor *list, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t size = types[list[i].type].size;
		for (size_t d = 0; d < list[i].n_dims; d++)
			size *= list[i].shape[d];
		assert(list[i].n_dims <= TENSOR_DIMS_MAX);
		assert(size == list[i].size_bytes);
		for (size_t j = 0; j < i; j++)
			if (strcmp(list[i].name, list[j].name) == 0)
				return error_set(err, ERR_INPUT,
				    "%s: expected the tensor '%s' once, not twice",
				    path, list[i].name);
	}
	return 0;
}

int
tensors_save(const char *path, const struct tensor *list, size_t n,
    const struct tensors_pair *metadata, size_t n_metadata, struct error *err)
{
	int rc = -1;
	struct plan plan = {
	    .path = path, .n = n, .metadata = metadata, .n_metadata = n_metadata};

	if (check_list(path, list, n, err) != 0)
		return -1;
	char *name = array_new(strlen(path) + NAME_ROOM, 1);
	plan.order = array_new(n, sizeof *plan.order);
	if (!name || !plan.order) {
		error_set(err, ERR_MEMORY, "%s: out of memory", path);
		goto end;
	}
	for (size_t i = 0; i < n; i++)
		plan.order[i] = &list[i];
	qsort(plan.order, n, sizeof *plan.order, by_element);
	if (header_new(&plan, err) == 0)
		rc = replace_file(&plan, name, err);
end:
	free(plan.header.bytes);
	free(plan.order);
	free(name);
	return rc;
}
