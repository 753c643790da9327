/*
 * Runs a fuzz target over the files that it is given, without libFuzzer: what was found
 * once stays found.  It fails by crashing, as under libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static int
replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = NULL;
	size_t n = 0, k;

	if (!f) {
		fprintf(stderr, "%s: cannot be opened\n", path);
		return 1;
	}
	do {
		bytes = realloc(bytes, n + 65536);
		if (!bytes)
			abort();
		k = fread(bytes + n, 1, 65536, f);
		n += k;
	} while (k > 0);
	fclose(f);
	/* As many bytes as there are, so that a sanitizer sees one too many read. */
	bytes = realloc(bytes, n > 0 ? n : 1);
	if (!bytes)
		abort();
	LLVMFuzzerTestOneInput(bytes, n);
	free(bytes);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) != 0)
			return 1;
	printf("%d inputs\n", argc - 1);
	return 0;
}
