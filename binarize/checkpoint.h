#ifndef BINARIZE_CHECKPOINT_H
#define BINARIZE_CHECKPOINT_H

#include <stddef.h>

#include "base/error.h"
#include "base/tensors.h"

/*
 * A training in the middle: all that its next step depends on, as named places in
 * memory, which are written to a file and read back into the same places.  A training
 * that was read back ends with the same bytes as one that was never broken off.
 *
 * The file is a safetensors file, for the machine and the program that wrote it.
 * Owner only.
 */
#define CHECKPOINT_PARTS_MAX 512
#define CHECKPOINT_NAME_MAX 40

struct checkpoint {
	struct tensor parts[CHECKPOINT_PARTS_MAX];
	char names[CHECKPOINT_PARTS_MAX][CHECKPOINT_NAME_MAX];
	void *places[CHECKPOINT_PARTS_MAX];
	size_t n;
	char group[16]; /* put before names: "" or "3." */
};

/* Add n numbers of this type at `place`, which is borrowed as long as *checkpoint is
 * used; TENSOR_U8 for anything else by its bytes. */
void checkpoint_add(struct checkpoint *checkpoint, const char *name,
    enum tensor_type type, void *place, size_t n);

/* What a checkpoint is of: one of another task is refused. */
struct checkpoint_task {
	const char *settings; /* in words, shown to people */
	const char *vectors;  /* which vectors: their number and a hash */
};

/* Write all parts to `path`, which is the old file or the whole new one.  Errors as
 * tensors_save. */
int checkpoint_save(const struct checkpoint *checkpoint, const char *path,
    const struct checkpoint_task *task, struct error *err);

/* 0 if the file at `path` is of this task, as far as it says.  ERR_NOT_FOUND;
 * ERR_INPUT, ERR_FORMAT, ERR_IO, ERR_MEMORY as below. */
int checkpoint_check(
    const char *path, const struct checkpoint_task *task, struct error *err);

/* Read all parts from `path`.  ERR_NOT_FOUND; ERR_INPUT for a checkpoint of another
 * task, ERR_FORMAT for a file that is none, ERR_IO, ERR_MEMORY: the parts are as they
 * were. */
int checkpoint_load(const struct checkpoint *checkpoint, const char *path,
    const struct checkpoint_task *task, struct error *err);

#endif /* BINARIZE_CHECKPOINT_H */
