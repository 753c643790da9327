#ifndef TESTS_SUPPORT_BERT_H
#define TESTS_SUPPORT_BERT_H

#include <stddef.h>

#include "attention/convert.h"

/* Copies of the small BERTs of tests/golden, to be converted. */

/* The folder of the copy, and where its conversion goes. */
extern char bert_source[400], bert_output[400];

/* Copy tests/golden/NAME anew; bert_output becomes a folder that is not there. */
void bert_copy(const char *name);

/* From the one into the other. */
struct convert_options bert_options(enum linear_form layers);

/* The conversion must fail with this code and a message that has this word. */
void bert_refused(
    const struct convert_options *options, enum error_code code, const char *word);

/* "dir/name", valid until the next call. */
const char *bert_path(const char *dir, const char *name);

void bert_write(const char *dir, const char *name, const void *bytes, size_t n);

/* The file, which must be there; the caller frees it. */
char *bert_read(const char *dir, const char *name, size_t *n);

#endif /* TESTS_SUPPORT_BERT_H */
