#include "base/tensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/tensors_type.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are used in place, so the machine must be little-endian"
#endif

#define HEADER_BYTES_MAX ((size_t)16 << 20)
#define PREFIX_BYTES 8 /* the header's length */

struct tensors {
	char *path;
	void *map;
	size_t map_bytes;
	struct tensor *list; /* by name */
	size_t n;
	struct tensors_pair *metadata; /* by key */
	size_t n_metadata;
	char *text; /* the names, keys and values that the above point to */
	size_t text_bytes;
};

static int
no_memory(struct error *err, const char *path)
{
	return error_set(err, ERR_MEMORY, "%s: out of memory", path);
}

static int
map_file(struct tensors *t, struct error *err)
{
	struct stat st;
	/* O_NONBLOCK: a pipe is refused below instead of being waited for. */
	int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", t->path, strerror(errno));
	if (fstat(fd, &st) != 0) {
		error_set(err, ERR_IO, "%s: %s", t->path, strerror(errno));
		goto err0;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERR_FORMAT,
		    "%s: expected a safetensors file, not a folder or a device",
		    t->path);
		goto err0;
	}
	if (st.st_size < PREFIX_BYTES) {
		error_set(err, ERR_FORMAT,
		    "%s: expected a safetensors file, not one of %lld bytes", t->path,
		    (long long)st.st_size);
		goto err0;
	}
	t->map_bytes = (size_t)st.st_size;
	t->map = mmap(NULL, t->map_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (t->map == MAP_FAILED) {
		t->map = NULL;
		error_set(err, ERR_IO, "%s: mmap: %s", t->path, strerror(errno));
		goto err0;
	}
	close(fd);
	return 0;
err0:
	close(fd);
	return -1;
}

/* A copy of a JSON string in t->text, which has room for all of the header. */
static const char *
keep_string(struct tensors *t, const struct json *string)
{
	char *copy = t->text + t->text_bytes;
	t->text_bytes += json_string(copy, string->len, string) + 1;
	return copy;
}

static int
by_key(const void *a, const void *b)
{
	const struct tensors_pair *x = a, *y = b;
	return strcmp(x->key, y->key);
}

static int
by_name(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static int
read_metadata(struct tensors *t, const struct json *object, struct error *err)
{
	if (object->type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT,
		    "%s: expected __metadata__ as an object of texts, not %s", t->path,
		    json_type_name(object->type));
	t->metadata = array_new(json_count(object), sizeof *t->metadata);
	if (!t->metadata)
		return no_memory(err, t->path);
	struct json_walk walk = json_walk(object);
	while (json_next(&walk)) {
		struct tensors_pair *pair = &t->metadata[t->n_metadata];
		pair->key = keep_string(t, &walk.key);
		if (walk.value.type != JSON_STRING)
			return error_set(err, ERR_FORMAT,
			    "%s: expected the metadata '%s' as a text, not %s", t->path,
			    pair->key, json_type_name(walk.value.type));
		pair->value = keep_string(t, &walk.value);
		t->n_metadata++;
	}
	qsort(t->metadata, t->n_metadata, sizeof *t->metadata, by_key);
	for (size_t i = 1; i < t->n_metadata; i++)
		if (by_key(&t->metadata[i - 1], &t->metadata[i]) == 0)
			return error_set(err, ERR_FORMAT,
			    "%s: expected the metadata '%s' once, not twice", t->path,
			    t->metadata[i].key);
	return 0;
}

static int
read_type(struct tensor *tensor, const struct json *dtype)
{
	for (int type = 0; type < TENSORS_TYPES; type++) {
		if (json_equals(dtype, tensors_type_name((enum tensor_type)type))) {
			tensor->type = (enum tensor_type)type;
			return 0;
		}
	}
	return -1;
}

static int
read_shape(struct tensor *tensor, const struct json *shape)
{
	size_t elements = 1;
	if (shape->type != JSON_ARRAY)
		return -1;
	for (size_t i = 0; i < TENSOR_DIMS_MAX; i++)
		tensor->shape[i] = 1;
	tensor->n_dims = 0;
	struct json_walk walk = json_walk(shape);
	while (json_next(&walk)) {
		uint64_t n;
		if (tensor->n_dims == TENSOR_DIMS_MAX || !json_u64(&n, &walk.value) ||
		    n > SIZE_MAX || __builtin_mul_overflow(elements, n, &elements))
			return -1;
		tensor->shape[tensor->n_dims++] = n;
	}
	size_t size = tensors_type_size(tensor->type);
	return __builtin_mul_overflow(elements, size, &tensor->size_bytes) ? -1 : 0;
}

/* The two offsets, counted from the end of the header, which must hold the tensor's
 * size between them and end within the file. */
static int
read_offsets(struct tensor *tensor, const struct json *offsets, const uint8_t *data,
    size_t data_bytes)
{
	uint64_t at[2];
	size_t n = 0;
	struct json_walk walk = json_walk(offsets);
	while (json_next(&walk))
		if (n == 2 || !json_u64(&at[n++], &walk.value))
			return -1;
	if (n != 2 || at[0] > at[1] || at[1] > data_bytes ||
	    at[1] - at[0] != tensor->size_bytes)
		return -1;
	tensor->data = data + at[0];
	return 0;
}

static int
read_tensor(struct tensors *t, struct tensor *tensor, const struct json *info,
    struct error *err)
{
	struct json dtype, shape, offsets;
	size_t header_bytes = bytes_get64le(t->map);
	const uint8_t *data = (const uint8_t *)t->map + PREFIX_BYTES + header_bytes;
	size_t data_bytes = t->map_bytes - PREFIX_BYTES - header_bytes;

	if (!json_member(info, "dtype", &dtype) ||
	    !json_member(info, "shape", &shape) ||
	    !json_member(info, "data_offsets", &offsets) || json_count(info) != 3)
		return error_set(err, ERR_FORMAT,
		    "%s: expected dtype, shape and data_offsets of the tensor '%s'",
		    t->path, tensor->name);
	if (read_type(tensor, &dtype) != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected the tensor '%s' as F32, F16, BF16, I8, U8, I32 or "
		    "I64, not %.*s",
		    t->path, tensor->name, dtype.len < 20 ? (int)dtype.len : 20,
		    dtype.text);
	if (read_shape(tensor, &shape) != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected the shape of '%s' as at most %d lengths whose "
		    "product is a size, not %.*s",
		    t->path, tensor->name, TENSOR_DIMS_MAX,
		    shape.len < 60 ? (int)shape.len : 60, shape.text);
	if (read_offsets(tensor, &offsets, data, data_bytes) != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected the %zu bytes of '%s' within the file's %zu bytes of "
		    "data, not at %.*s",
		    t->path, tensor->size_bytes, tensor->name, data_bytes,
		    offsets.len < 60 ? (int)offsets.len : 60, offsets.text);
	return 0;
}

static int
by_data(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	if (x->data != y->data)
		return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
	/* An empty tensor before the one that begins where it stands. */
	return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

/* The data must be covered without gap or overlap, as the format has it; leaves the
 * list in order of names, each once. */
static int
check_list(struct tensors *t, struct error *err)
{
	const uint8_t *end = (const uint8_t *)t->map + t->map_bytes;
	const uint8_t *at =
	    (const uint8_t *)t->map + PREFIX_BYTES + bytes_get64le(t->map);

	qsort(t->list, t->n, sizeof *t->list, by_data);
	for (size_t i = 0; i < t->n; i++) {
		if (t->list[i].data != at)
			return error_set(err, ERR_FORMAT,
			    "%s: expected the tensors' data side by side; a gap or an "
			    "overlap lies before '%s'",
			    t->path, t->list[i].name);
		at += t->list[i].size_bytes;
	}
	if (at != end)
		return error_set(err, ERR_FORMAT,
		    "%s: expected the file to end with its last tensor; %zu bytes "
		    "follow",
		    t->path, (size_t)(end - at));
	qsort(t->list, t->n, sizeof *t->list, by_name);
	for (size_t i = 1; i < t->n; i++)
		if (by_name(&t->list[i - 1], &t->list[i]) == 0)
			return error_set(err, ERR_FORMAT,
			    "%s: expected the tensor '%s' once, not twice", t->path,
			    t->list[i].name);
	return 0;
}

static int
read_header(struct tensors *t, struct error *err)
{
	struct json root;
	const char *header = (const char *)t->map + PREFIX_BYTES;
	uint64_t n = bytes_get64le(t->map);

	if (n > HEADER_BYTES_MAX || n > t->map_bytes - PREFIX_BYTES)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a safetensors header within the file's %zu bytes and "
		    "%zu MiB, not of %llu bytes",
		    t->path, t->map_bytes, HEADER_BYTES_MAX >> 20,
		    (unsigned long long)n);
	if (json_check(&root, header, n, err) != 0) {
		err->code = ERR_FORMAT;
		return error_prefix(err, "%s: header", t->path);
	}
	if (root.text != header || root.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a safetensors header that begins with {", t->path);
	/* A string of JSON needs no more bytes than its text has. */
	t->text = array_new(n, 1);
	t->list = array_new(json_count(&root), sizeof *t->list);
	if (!t->text || !t->list)
		return no_memory(err, t->path);
	struct json_walk walk = json_walk(&root);
	while (json_next(&walk)) {
		if (json_equals(&walk.key, "__metadata__")) {
			if (t->metadata)
				return error_set(err, ERR_FORMAT,
				    "%s: expected __metadata__ once, not twice",
				    t->path);
			if (read_metadata(t, &walk.value, err) != 0)
				return -1;
			continue;
		}
		struct tensor *tensor = &t->list[t->n++];
		tensor->name = keep_string(t, &walk.key);
		if (read_tensor(t, tensor, &walk.value, err) != 0)
			return -1;
	}
	return check_list(t, err);
}

struct tensors *
tensors_open(const char *path, struct error *err)
{
	struct tensors *t = array_new(1, sizeof *t);
	if (!t) {
		no_memory(err, path);
		return NULL;
	}
	t->path = array_copy(path, strlen(path));
	if (!t->path) {
		no_memory(err, path);
		goto err0;
	}
	if (map_file(t, err) != 0 || read_header(t, err) != 0)
		goto err0;
	return t;
err0:
	tensors_close(t);
	return NULL;
}

void
tensors_close(struct tensors *tensors)
{
	if (!tensors)
		return;
	if (tensors->map)
		munmap(tensors->map, tensors->map_bytes);
	free(tensors->metadata);
	free(tensors->list);
	free(tensors->text);
	free(tensors->path);
	free(tensors);
}

const struct tensor *
tensors_find(const struct tensors *tensors, const char *name)
{
	struct tensor key = {.name = name};
	return bsearch(&key, tensors->list, tensors->n, sizeof key, by_name);
}

const void *
tensors_bytes(const struct tensors *tensors, size_t *size_bytes)
{
	*size_bytes = tensors->map_bytes;
	return tensors->map;
}

const char *
tensors_metadata(const struct tensors *tensors, const char *key)
{
	struct tensors_pair wish = {.key = key};
	if (tensors->n_metadata == 0)
		return NULL;
	const struct tensors_pair *pair =
	    bsearch(&wish, tensors->metadata, tensors->n_metadata, sizeof wish, by_key);
	return pair ? pair->value : NULL;
}

/* "F32 [256, any]" */
static void
describe(char *text, size_t size, enum tensor_type type, size_t n_dims,
    const size_t shape[], bool any)
{
	int n = snprintf(text, size, "%s [", tensors_type_name(type));
	for (size_t i = 0; i < n_dims; i++) {
		const char *comma = i > 0 ? ", " : "";
		if (shape[i] == 0 && any)
			n += snprintf(text + n, size - (size_t)n, "%sany", comma);
		else
			n += snprintf(
			    text + n, size - (size_t)n, "%s%zu", comma, shape[i]);
	}
	snprintf(text + n, size - (size_t)n, "]");
}

const struct tensor *
tensors_expect(const struct tensors *tensors, const char *name, enum tensor_type type,
    size_t n_dims, const size_t shape[], struct error *err)
{
	char want[128], found[128];
	assert(n_dims <= TENSOR_DIMS_MAX);
	describe(want, sizeof want, type, n_dims, shape, true);
	const struct tensor *tensor = tensors_find(tensors, name);
	if (!tensor) {
		error_set(err, ERR_FORMAT,
		    "%s: expected a tensor '%s', %s; there is none", tensors->path,
		    name, want);
		return NULL;
	}
	bool right = tensor->type == type && tensor->n_dims == n_dims;
	for (size_t i = 0; right && i < n_dims; i++)
		right = shape[i] ? tensor->shape[i] == shape[i] : tensor->shape[i] > 0;
	if (!right) {
		describe(found, sizeof found, tensor->type, tensor->n_dims,
		    tensor->shape, false);
		error_set(err, ERR_FORMAT, "%s: expected the tensor '%s' as %s, not %s",
		    tensors->path, name, want, found);
		return NULL;
	}
	if ((uintptr_t)tensor->data % tensors_type_size(type) != 0) {
		error_set(err, ERR_FORMAT,
		    "%s: expected the data of '%s' at a multiple of %zu bytes; save "
		    "the file with a padded header",
		    tensors->path, name, tensors_type_size(type));
		return NULL;
	}
	return tensor;
}
