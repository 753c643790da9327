#include "tests/support/guard.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

static size_t
pages_of(size_t n, size_t page)
{
	return (n + page - 1) / page * page;
}

void *
guard_new(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t used = pages_of(n, page);
	char *p = mmap(NULL, used + page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + used, page, PROT_NONE) != 0) {
		perror("guard_new");
		abort();
	}
	return p + used - n;
}

void
guard_free(void *p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t used = pages_of(n, page);

	if (p)
		munmap((char *)p + n - used, used + page);
}

void *
guard_copy(const void *bytes, size_t n)
{
	void *p = guard_new(n);

	if (n > 0)
		memcpy(p, bytes, n);
	return p;
}

static uint64_t seed;

static void
choose_seed(void)
{
	const char *wish = getenv("SEED");

	seed = wish ? strtoull(wish, NULL, 10) : clock_ns();
	fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
}

uint64_t
test_seed(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose_seed);
	return seed;
}

static char folder[256];

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void
remove_folder(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
test_folder(void)
{
	const char *tmp = getenv("TMPDIR");

	if (folder[0])
		return folder;
	snprintf(folder, sizeof folder, "%s/halftone-test-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		perror("test_folder");
		abort();
	}
	atexit(remove_folder);
	return folder;
}
