#include "base/tensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/replace.h"
#include "base/tensors_type.h"
#include "base/text.h"
#include "base/utf8.h"

#define PREFIX_BYTES 8
#define ALIGNMENT 64

static const struct {
	const char *name;
	size_t size;
} types[TENSORS_TYPES] = {
    [TENSOR_F32] = {"F32", 4},
    [TENSOR_F16] = {"F16", 2},
    [TENSOR_BF16] = {"BF16", 2},
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

static void
put_string(struct text *text, const char *s)
{
	text_json(text, s, strlen(s));
}

static void
put_tensor(struct text *text, const struct tensor *tensor, size_t offset)
{
	put_string(text, tensor->name);
	text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", types[tensor->type].name);
	for (size_t i = 0; i < tensor->n_dims; i++)
		text_printf(text, "%s%zu", i > 0 ? "," : "", tensor->shape[i]);
	text_printf(
	    text, "],\"data_offsets\":[%zu,%zu]}", offset, offset + tensor->size_bytes);
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
check_string(const struct plan *plan, const char *s, struct error *err)
{
	for (size_t n = strlen(s), length; n > 0; s += length, n -= length) {
		length = utf8_length(s, n);
		if (length == 0)
			return error_set(err, ERR_INPUT,
			    "%s: expected UTF-8 in names and metadata, not 0x%02x",
			    plan->path, (unsigned char)*s);
	}
	return 0;
}

static int
check_strings(const struct plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->n; i++)
		if (check_string(plan, plan->order[i]->name, err))
			return -1;
	for (size_t i = 0; i < plan->n_metadata; i++)
		if (check_string(plan, plan->metadata[i].key, err) ||
		    check_string(plan, plan->metadata[i].value, err))
			return -1;
	return 0;
}

static int
header_new(struct plan *plan, struct error *err)
{
	struct text *text = &plan->header;

	if (check_strings(plan, err))
		return -1;
	text_printf(text, "%*s{", PREFIX_BYTES, "");
	const char *comma = "";
	if (plan->n_metadata > 0) {
		text_string(text, "\"__metadata__\":{");
		for (size_t i = 0; i < plan->n_metadata; i++) {
			text_string(text, i > 0 ? "," : "");
			put_string(text, plan->metadata[i].key);
			text_string(text, ":");
			put_string(text, plan->metadata[i].value);
		}
		text_string(text, "}");
		comma = ",";
	}
	size_t offset = 0;
	for (size_t i = 0; i < plan->n; i++) {
		text_string(text, comma);
		put_tensor(text, plan->order[i], offset);
		offset += plan->order[i]->size_bytes;
		comma = ",";
	}
	text_string(text, "}");
	size_t over = text->n % ALIGNMENT;
	text_printf(text, "%*s", over ? (int)(ALIGNMENT - over) : 0, "");
	if (text->failed)
		return error_set(err, ERR_MEMORY, "%s: out of memory", plan->path);
	bytes_put64le(text->bytes, text->n - PREFIX_BYTES);
	return 0;
}

static int
write_bytes(struct replace *file, const void *bytes, size_t n, struct error *err)
{
	return fwrite(bytes, 1, n, file->file) == n ? 0 : replace_failed(file, err);
}

static int
replace_file(const struct plan *plan, struct error *err)
{
	struct replace file;

	if (replace_open(&file, plan->path, err) != 0)
		return -1;
	int rc = write_bytes(&file, plan->header.bytes, plan->header.n, err);
	for (size_t i = 0; rc == 0 && i < plan->n; i++)
		rc = write_bytes(
		    &file, plan->order[i]->data, plan->order[i]->size_bytes, err);
	if (rc == 0)
		return replace_close(&file, err);
	replace_abandon(&file);
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
	plan.order = array_new(n, sizeof *plan.order);
	if (!plan.order)
		return error_set(err, ERR_MEMORY, "%s: out of memory", path);
	for (size_t i = 0; i < n; i++)
		plan.order[i] = &list[i];
	qsort(plan.order, n, sizeof *plan.order, by_element);
	if (header_new(&plan, err) == 0)
		rc = replace_file(&plan, err);
	text_free(&plan.header);
	free(plan.order);
	return rc;
}
