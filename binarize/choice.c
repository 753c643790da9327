#include "binarize/choice.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "binarize/recurrent.h"

/* Fill *file (zeros) if folder/name is there. */
static int
read_file(
    struct choice_file *file, const char *folder, const char *name, struct error *err)
{
	char path[4096];
	struct recurrent_info info;

	if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
		return error_set(
		    err, ERR_INPUT, "the path %.64s... is too long", folder);
	if (access(path, F_OK) != 0)
		return 0;
	if (recurrent_peek(&info, path, err) != 0)
		return -1;
	file->path = array_copy(path, strlen(path));
	if (!file->path)
		return error_set(err, ERR_MEMORY, "out of memory for a path");
	file->shape = info.shape;
	return 0;
}

/* Fill found->learned[bits - 1]. */
static int
read_learned(struct choice *found, const char *folder, uint32_t bits, struct error *err)
{
	struct choice_file *file = &found->learned[bits - 1];
	char name[32];

	snprintf(name, sizeof name, "binarizer.%u.safetensors", bits);
	if (read_file(file, folder, name, err) != 0)
		return -1;
	if (!file->path || file->shape.bits == bits)
		return 0;
	if (file->shape.bits == 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a learned binarizer, not a rotation: call one that "
		    "takes any shape binarizer.safetensors",
		    file->path);
	return error_set(err, ERR_FORMAT,
	    "%s: expected codes of %u bits, as its name says, not of %u", file->path,
	    bits, file->shape.bits);
}

int
choice_read(struct choice *choice, const char *folder, struct error *err)
{
	struct choice found = {.any.path = NULL};

	int rc = read_file(&found.any, folder, "binarizer.safetensors", err);
	for (uint32_t bits = 1; rc == 0 && bits <= CODE_BITS_MAX; bits++)
		rc = read_learned(&found, folder, bits, err);
	if (rc != 0) {
		choice_free(&found);
		return -1;
	}
	*choice = found;
	return 0;
}

void
choice_free(struct choice *choice)
{
	free(choice->any.path);
	for (size_t i = 0; i < CODE_BITS_MAX; i++)
		free(choice->learned[i].path);
	*choice = (struct choice){.any.path = NULL};
}

bool
choice_empty(const struct choice *choice)
{
	bool none = choice->any.path == NULL;

	for (size_t i = 0; i < CODE_BITS_MAX; i++)
		none = none && choice->learned[i].path == NULL;
	return none;
}

const char *
choice_path(const struct choice *choice, struct code_shape wish)
{
	assert(wish.bits >= 1 && wish.bits <= CODE_BITS_MAX);
	const struct choice_file *learned = &choice->learned[wish.bits - 1];

	if (learned->path && learned->shape.centres <= wish.centres &&
	    (wish.dims == 0 || wish.dims == learned->shape.dims))
		return learned->path;
	return choice->any.path;
}
