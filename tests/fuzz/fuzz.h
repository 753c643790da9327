#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* End the run: what a target claims of its input is not so. */
#define FUZZ_CHECK(good)                                                           \
	do {                                                                       \
		if (!(good)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #good); \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* An input has parts with a '\0' between them; the last takes what is left. */
struct fuzz_part {
	const char *bytes;
	size_t n;
};

/* Takes the next part off the input. */
static inline struct fuzz_part
fuzz_part(const uint8_t **data, size_t *n)
{
	const uint8_t *end = *n > 0 ? memchr(*data, 0, *n) : NULL;
	struct fuzz_part part = {(const char *)*data, end ? (size_t)(end - *data) : *n};

	*data += part.n + (end != NULL);
	*n -= part.n + (end != NULL);
	return part;
}

/* The file `path` with these bytes. */
static inline FILE *
fuzz_create(const char *path)
{
	FILE *f = fopen(path, "wb");

	FUZZ_CHECK(f);
	return f;
}

static inline void
fuzz_write(const char *path, const void *bytes, size_t n)
{
	FILE *f = fuzz_create(path);

	FUZZ_CHECK(n == 0 || fwrite(bytes, 1, n, f) == n);
	FUZZ_CHECK(fclose(f) == 0);
}

#endif /* TESTS_FUZZ_FUZZ_H */
