#include "binarize/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define FORMAT "halftone-checkpoint-1"

static size_t
size_of(enum tensor_type type)
{
	switch (type) {
	case TENSOR_I64:
		return 8;
	case TENSOR_F32:
	case TENSOR_I32:
		return 4;
	case TENSOR_F16:
	case TENSOR_BF16:
		return 2;
	case TENSOR_I8:
	case TENSOR_U8:
		return 1;
	}
	return 0;
}

void
checkpoint_add(struct checkpoint *c, const char *name, enum tensor_type type,
    void *place, size_t n)
{
	assert(c->n < CHECKPOINT_PARTS_MAX);
	if (n == 0)
		return;
	snprintf(c->names[c->n], sizeof *c->names, "%s%s", c->group, name);
	c->places[c->n] = place;
	c->parts[c->n] = (struct tensor){.name = c->names[c->n],
	    .type = type,
	    .n_dims = 1,
	    .shape = {n, 1, 1, 1},
	    .data = place,
	    .size_bytes = n * size_of(type)};
	c->n++;
}

/* A hash of all parts, the i-th at places[i], as text. */
struct checksum {
	char text[20];
};

static struct checksum
checksum_of(const struct checkpoint *c, const void *const *places)
{
	uint64_t h = HASH_START;
	struct checksum sum;
	for (size_t i = 0; i < c->n; i++)
		h = hash_bytes(h, places[i], c->parts[i].size_bytes);
	snprintf(sum.text, sizeof sum.text, "%016" PRIx64, h);
	return sum;
}

int
checkpoint_save(const struct checkpoint *c, const char *path,
    const struct checkpoint_task *task, struct error *err)
{
	const struct checksum sum = checksum_of(c, (const void *const *)c->places);
	const struct tensors_pair said[] = {{"format", FORMAT},
	    {"settings", task->settings}, {"vectors", task->vectors},
	    {"checksum", sum.text}};
	return tensors_save(
	    path, c->parts, c->n, said, sizeof said / sizeof *said, err);
}

static const char *
said(const struct tensors *file, const char *key)
{
	const char *text = tensors_metadata(file, key);
	return text ? text : "";
}

static int
check_task(const struct tensors *file, const char *path,
    const struct checkpoint_task *task, struct error *err)
{
	if (strcmp(said(file, "format"), FORMAT) != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a checkpoint of this program's training; delete it "
		    "to begin anew",
		    path);
	if (strcmp(said(file, "settings"), task->settings) != 0)
		return error_set(err, ERR_INPUT,
		    "%s: expected the settings of this training, not \"%s\"; give "
		    "those, or delete it to begin anew",
		    path, said(file, "settings"));
	if (strcmp(said(file, "vectors"), task->vectors) != 0)
		return error_set(err, ERR_INPUT,
		    "%s: expected a checkpoint of these vectors, not of others; delete "
		    "it to begin anew",
		    path);
	return 0;
}

static struct tensors *
open_file(const char *path, struct error *err)
{
	struct tensors *file = tensors_open(path, err);

	if (!file && err->code == ERR_FORMAT) {
		const struct error why = *err;
		error_set(err, ERR_FORMAT, "%.200s; delete it to begin anew", why.text);
	}
	return file;
}

int
checkpoint_check(
    const char *path, const struct checkpoint_task *task, struct error *err)
{
	struct tensors *file = open_file(path, err);
	int rc = file ? check_task(file, path, task, err) : -1;
	tensors_close(file);
	return rc;
}

static int
check_sum(const struct checkpoint *c, const struct tensors *file, const char *path,
    struct error *err)
{
	const void *places[CHECKPOINT_PARTS_MAX];
	for (size_t i = 0; i < c->n; i++)
		places[i] = tensors_find(file, c->parts[i].name)->data;
	if (strcmp(checksum_of(c, places).text, said(file, "checksum")) == 0)
		return 0;
	return error_set(err, ERR_FORMAT,
	    "%s: expected the numbers that were written, not damaged ones; delete it "
	    "to begin anew",
	    path);
}

int
checkpoint_load(const struct checkpoint *c, const char *path,
    const struct checkpoint_task *task, struct error *err)
{
	struct tensors *file = open_file(path, err);
	if (!file)
		return -1;
	int rc = check_task(file, path, task, err);
	for (size_t i = 0; rc == 0 && i < c->n; i++)
		if (!tensors_expect(file, c->parts[i].name, c->parts[i].type, 1,
			c->parts[i].shape, err))
			rc = -1;
	if (rc == 0)
		rc = check_sum(c, file, path, err);
	for (size_t i = 0; rc == 0 && i < c->n; i++)
		memcpy(c->places[i], tensors_find(file, c->parts[i].name)->data,
		    c->parts[i].size_bytes);
	tensors_close(file);
	return rc;
}
