#ifndef BINARIZE_CHOICE_H
#define BINARIZE_CHOICE_H

#include <stdbool.h>

#include "base/code.h"
#include "base/error.h"

/*
 * Which binarizer of a model's folder makes a collection's codes.  A folder may have
 *
 *     binarizer.safetensors      of any shape, if it is a rotation
 *     binarizer.B.safetensors    learned for codes of B bits, B = 1 .. CODE_BITS_MAX
 *
 * and any of them may be missing.  A learned one ranks better, but makes codes of one
 * shape only, and may have centres, which do not go with every distance.
 *
 * A struct choice does not change once read: any thread may ask it.
 */
struct choice_file {
	char *path;              /* NULL: there is none */
	struct code_shape shape; /* of its codes; 0 x 0: any */
};

struct choice {
	struct choice_file any;
	struct choice_file learned[CODE_BITS_MAX]; /* [B - 1] */
};

/* *choice := what `folder` has, to be freed by choice_free.  ERR_FORMAT for a file that
 * recurrent_peek refuses or whose codes are not of the bits that its name says, ERR_IO,
 * ERR_INPUT for a path that is too long, ERR_MEMORY. */
int choice_read(struct choice *choice, const char *folder, struct error *err);
void choice_free(struct choice *choice); /* zeros are fine */

bool choice_empty(const struct choice *choice);

/* The file for codes like `wish`: wish.dims 0 is any, and wish.centres how many centres
 * it may have at most (0 where the distance is hamming).  That learned for them if
 * there is one, else binarizer.safetensors, whatever its shape; NULL if there is none
 * either. Valid until choice_free. */
const char *choice_path(const struct choice *choice, struct code_shape wish);

#endif /* BINARIZE_CHOICE_H */
