#include "client/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "client/stop.h"

#define FIRST_CAP (64 * 1024)

struct lines {
	int fd;
	char *name;
	uint64_t read_bytes;
	uint64_t number;
	bool ended; /* read() has said so */
	char *buf;  /* (cap + 1): buf[start .. end - 1] is read and not yet used */
	size_t start;
	size_t end;
	size_t cap;
};

static int
open_file(struct lines *l, const char *path, struct error *err)
{
	if (strcmp(path, "-") == 0)
		l->fd = STDIN_FILENO;
	else
		l->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (l->fd == -1)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", path, strerror(errno));
	return 0;
}

struct lines *
lines_open(const char *path, struct error *err)
{
	const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
	struct lines *l = array_new(1, sizeof *l);
	if (l == NULL) {
		error_set(err, ERR_MEMORY, "no memory to read %s", name);
		return NULL;
	}
	l->fd = -1;
	l->cap = FIRST_CAP;
	l->name = array_copy(name, strlen(name));
	l->buf = array_new(l->cap + 1, 1);
	if (l->name == NULL || l->buf == NULL) {
		error_set(err, ERR_MEMORY, "no memory to read %s", name);
		lines_close(l);
		return NULL;
	}
	if (open_file(l, path, err) == -1) {
		lines_close(l);
		return NULL;
	}
	return l;
}

void
lines_close(struct lines *l)
{
	if (l == NULL)
		return;
	if (l->fd != -1 && l->fd != STDIN_FILENO)
		close(l->fd);
	free(l->name);
	free(l->buf);
	free(l);
}

/* Make room behind buf[end - 1]. */
static int
grow(struct lines *l, struct error *err)
{
	if (l->start > 0) {
		memmove(l->buf, l->buf + l->start, l->end - l->start);
		l->end -= l->start;
		l->start = 0;
	}
	if (l->end < l->cap)
		return 0;
	if (l->cap >= LINES_BYTES_MAX)
		return error_set(err, ERR_TOO_LARGE,
		    "%s:%llu: expected a line of at most %d bytes", l->name,
		    (unsigned long long)l->number + 1, LINES_BYTES_MAX);
	size_t cap = l->cap * 2;
	char *buf = array_resize(l->buf, cap + 1, 1);
	if (buf == NULL)
		return error_set(err, ERR_MEMORY, "%s:%llu: no memory for the line",
		    l->name, (unsigned long long)l->number + 1);
	l->buf = buf;
	l->cap = cap;
	return 0;
}

/* Read more; 1: some; 0: the end or a stop; -1: *err. */
static int
fill(struct lines *l, struct error *err)
{
	if (grow(l, err) == -1)
		return -1;
	for (;;) {
		if (stop_requested())
			return 0;
		ssize_t n = read(l->fd, l->buf + l->end, l->cap - l->end);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return error_set(
			    err, ERR_IO, "%s: %s", l->name, strerror(errno));
		l->ended = n == 0;
		l->end += (size_t)n;
		return n > 0;
	}
}

int
lines_next(struct lines *l, char **text, size_t *len, struct error *err)
{
	size_t searched = 0;
	char *newline = NULL;
	while (newline == NULL && !l->ended) {
		size_t have = l->end - l->start;
		newline = memchr(l->buf + l->start + searched, '\n', have - searched);
		searched = have;
		if (newline != NULL)
			break;
		int rc = fill(l, err);
		if (rc == -1)
			return -1;
		if (rc == 0 && !l->ended)
			return 0; /* a stop: a line that is cut is none */
	}
	if (newline == NULL)
		newline = memchr(l->buf + l->start, '\n', l->end - l->start);
	if (newline == NULL && l->start == l->end)
		return 0;
	char *at = l->buf + l->start;
	size_t n = newline != NULL ? (size_t)(newline - at) : l->end - l->start;
	size_t used = n + (newline != NULL);
	l->start += used;
	l->read_bytes += used;
	l->number++;
	if (l->number == 1 && n >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) {
		at += 3;
		n -= 3;
	}
	if (n > 0 && at[n - 1] == '\r')
		n--;
	at[n] = '\0';
	*text = at;
	*len = n;
	return 1;
}

uint64_t
lines_number(const struct lines *l)
{
	return l->number;
}

const char *
lines_name(const struct lines *l)
{
	return l->name;
}

uint64_t
lines_read_bytes(const struct lines *l)
{
	return l->read_bytes;
}
