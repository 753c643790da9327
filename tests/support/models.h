#ifndef TESTS_SUPPORT_MODELS_H
#define TESTS_SUPPORT_MODELS_H

#include <stdint.h>

/* Small models on the disk, under `dir` (made if it is not there). */

#define MODELS_TEXT_DIMS 4

/* dir/name: a text encoder of MODELS_TEXT_DIMS dimensions that knows "red", "green" and
 * "blue". */
void models_write_text(const char *dir, const char *name);

/* dir/name/binarizer.safetensors: a rotation of `dims` floats whose mean is filled with
 * `mean`. */
void models_write_binarizer(
    const char *dir, const char *name, uint32_t dims, float mean);

/* A file in dir/name with this text. */
void models_write_file(
    const char *dir, const char *name, const char *file, const char *text);

#endif /* TESTS_SUPPORT_MODELS_H */
