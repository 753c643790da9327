#include "client/train_pairs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/vectors.h"
#include "client/stop.h"

#define STREAM 0x505253 /* "PRS": of the seed */

struct pair {
	uint64_t first, second;
	uint64_t line; /* counted from 1 */
};

struct list {
	struct pair *pairs;
	size_t n, room;
	uint64_t rows[2]; /* of the file that each side is of */
};

/* *row := the decimal number at *text, up to the byte `end`, which is stepped over. */
static bool
read_row(uint64_t *row, const char **text, char end)
{
	char *after;
	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*row = strtoull(*text, &after, 10);
	if (errno != 0 || *after != end)
		return false;
	*text = after + 1;
	return true;
}

static int
take_line(struct list *list, const char *line, uint64_t number,
    const struct train_pairs_files *files, struct error *err)
{
	const char *text = line;
	struct pair pair = {.line = number};
	if (!read_row(&pair.first, &text, '\t') || !read_row(&pair.second, &text, '\0'))
		return error_set(err, ERR_FORMAT,
		    "line %" PRIu64 ": expected two rows with a tab between, not "
		    "\"%.40s\"",
		    number, line);
	for (int side = 0; side < 2; side++) {
		uint64_t row = side == 0 ? pair.first : pair.second;
		const char *file =
		    side == 0 && files->queries ? files->queries : files->vectors;
		if (row >= list->rows[side])
			return error_set(err, ERR_FORMAT,
			    "line %" PRIu64 ": expected a row below %" PRIu64
			    ", which %s has, not %" PRIu64,
			    number, list->rows[side], file, row);
	}
	if (!files->queries && pair.first == pair.second)
		return error_set(err, ERR_FORMAT,
		    "line %" PRIu64 ": expected two rows, not %" PRIu64 " twice",
		    number, pair.first);
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 4096;
		void *more = array_resize(list->pairs, room, sizeof *list->pairs);
		if (!more)
			return error_set(err, ERR_MEMORY, "out of memory for pairs");
		list->pairs = more;
		list->room = room;
	}
	list->pairs[list->n++] = pair;
	return 0;
}

static int
read_lines(struct list *list, FILE *file, const struct train_pairs_files *files,
    struct error *err)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int rc = 0;
	for (uint64_t number = 1; rc == 0 && (n = getline(&line, &room, file)) > 0;
	     number++) {
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		if (n > 0 && line[n - 1] == '\r')
			line[--n] = '\0';
		rc = stop_requested() ? error_set(err, ERR_NONE, "stopped")
				      : take_line(list, line, number, files, err);
	}
	if (rc == 0 && ferror(file))
		rc = error_set(err, ERR_IO, "%s", strerror(errno));
	free(line);
	return rc;
}

static int
by_rows(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->second != y->second)
		return x->second < y->second ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* Of all pairs that come twice, name the one whose second line is first. */
static int
check_once(const struct list *list, struct error *err)
{
	const struct pair *twice = NULL;
	for (size_t i = 1; i < list->n; i++) {
		const struct pair *p = &list->pairs[i];
		if (p[-1].first == p->first && p[-1].second == p->second &&
		    (!twice || p->line < twice->line))
			twice = p;
	}
	if (!twice)
		return 0;
	return error_set(err, ERR_FORMAT,
	    "line %" PRIu64 ": expected each pair once, not %" PRIu64 " and %" PRIu64
	    " again, as in line %" PRIu64,
	    twice->line, twice->first, twice->second, twice[-1].line);
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static bool
is_held(const uint64_t *held, size_t n, uint64_t row)
{
	return bsearch(&row, held, n, sizeof row, by_number) != NULL;
}

/* Keep pairs of which training may see both rows, and at most TRAIN_PAIRS_MAX. */
static int
choose(struct list *list, struct train_pairs *pairs,
    const struct train_pairs_files *files, struct error *err)
{
	uint64_t *held = array_new(files->n_held, sizeof *held);
	struct rng rng;
	size_t n = 0;
	if (!held)
		return error_set(err, ERR_MEMORY, "out of memory for pairs");
	memcpy(held, files->held, files->n_held * sizeof *held);
	qsort(held, files->n_held, sizeof *held, by_number);
	for (size_t i = 0; i < list->n; i++) {
		struct pair p = list->pairs[i];
		if (is_held(held, files->n_held, p.second) ||
		    (!files->queries && is_held(held, files->n_held, p.first)))
			continue;
		list->pairs[n++] = p;
	}
	free(held);
	pairs->held_out = list->n - n;
	rng_init(&rng, files->seed, STREAM);
	for (size_t i = 0; i < n && i < TRAIN_PAIRS_MAX; i++) {
		size_t j = i + rng_below(&rng, n - i);
		struct pair p = list->pairs[i];
		list->pairs[i] = list->pairs[j];
		list->pairs[j] = p;
	}
	list->n = n < TRAIN_PAIRS_MAX ? n : TRAIN_PAIRS_MAX;
	if (list->n < 2)
		return error_set(err, ERR_FORMAT,
		    "expected at least two pairs whose rows are not held out, not %zu",
		    list->n);
	return 0;
}

/* Where a row of a file is wanted. */
struct wish {
	uint64_t row;
	size_t place;
};

static int
by_row(const void *a, const void *b)
{
	const struct wish *x = a, *y = b;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Fill the places of wishes (n), which are sorted. */
static int
read_wishes(float *rows, const struct wish *wishes, size_t n, struct vectors *file,
    struct error *err)
{
	size_t dims = vectors_dims(file);
	float *row = array_new(dims, sizeof *row);
	int rc = row ? 0 : error_set(err, ERR_MEMORY, "out of memory for a vector");
	size_t next = 0;
	for (uint64_t i = 0; rc == 0 && next < n; i++) {
		if (stop_requested())
			rc = error_set(err, ERR_NONE, "stopped");
		else if (vectors_next(file, row, err) == -1)
			rc = -1;
		if (rc != 0 || wishes[next].row != i)
			continue;
		if (!vectors_normalise(row, dims))
			rc = error_set(err, ERR_FORMAT,
			    "row %" PRIu64 ": expected a vector with a direction, not "
			    "%zu zeros",
			    i, dims);
		for (; rc == 0 && next < n && wishes[next].row == i; next++)
			memcpy(
			    rows + wishes[next].place * dims, row, dims * sizeof *row);
	}
	free(row);
	return rc;
}

/* Rows of the pairs' sides `from` .. to - 1 (0: first, 1: second), which are all of the
 * file at `path`. */
static int
read_sides(struct train_pairs *pairs, const struct list *list, size_t from, size_t to,
    const char *path, struct error *err)
{
	enum vectors_format format;
	size_t n = list->n * (to - from);
	struct wish *wishes = array_new(n, sizeof *wishes);
	struct vectors *file = NULL;
	int rc = wishes ? 0 : error_set(err, ERR_MEMORY, "out of memory for pairs");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		size_t side = from + i / list->n;
		const struct pair *p = &list->pairs[i % list->n];
		wishes[i] = (struct wish){
		    side == 0 ? p->first : p->second, side * list->n + i % list->n};
	}
	if (rc == 0)
		rc = vectors_format_of(&format, path, err);
	if (rc == 0 && !(file = vectors_open(path, format, err)))
		rc = -1;
	if (rc == 0) {
		qsort(wishes, n, sizeof *wishes, by_row);
		rc = read_wishes(pairs->rows, wishes, n, file, err);
		if (rc != 0 && err->code == ERR_FORMAT &&
		    strncmp(err->text, path, strlen(path)) != 0)
			error_prefix(err, "%s", path);
	}
	vectors_close(file);
	free(wishes);
	return rc;
}

/* *rows := of the file of vectors at `path`. */
static int
count_rows(uint64_t *rows, const char *path, size_t dims, struct error *err)
{
	enum vectors_format format;
	if (vectors_format_of(&format, path, err) != 0)
		return -1;
	struct vectors *file = vectors_open(path, format, err);
	if (!file)
		return -1;
	size_t found = vectors_dims(file);
	*rows = vectors_count(file);
	vectors_close(file);
	if (found != dims)
		return error_set(err, ERR_FORMAT,
		    "%s: expected queries of %zu dimensions, as the vectors have, not "
		    "%zu",
		    path, dims, found);
	return 0;
}

static int
read_list(struct list *list, struct train_pairs *pairs,
    const struct train_pairs_files *files, struct error *err)
{
	FILE *file = fopen(files->pairs, "re");
	if (!file)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", files->pairs, strerror(errno));
	int rc = read_lines(list, file, files, err);
	fclose(file);
	if (rc == 0 && list->n > 0) {
		qsort(list->pairs, list->n, sizeof *list->pairs, by_rows);
		rc = check_once(list, err);
	}
	if (rc == 0)
		rc = choose(list, pairs, files, err);
	return rc == 0 || err->code == ERR_NONE ? rc
						: error_prefix(err, "%s", files->pairs);
}

int
train_pairs_load(
    struct train_pairs *pairs, const struct train_pairs_files *files, struct error *err)
{
	struct list list = {.n = 0};
	int rc;
	memset(pairs, 0, sizeof *pairs);
	rc = count_rows(&list.rows[1], files->vectors, files->dims, err);
	list.rows[0] = list.rows[1];
	if (rc == 0 && files->queries)
		rc = count_rows(&list.rows[0], files->queries, files->dims, err);
	if (rc == 0)
		rc = read_list(&list, pairs, files, err);
	if (rc == 0) {
		pairs->n = list.n;
		pairs->rows =
		    array_new_aligned(2 * list.n, files->dims * sizeof *pairs->rows);
		pairs->items = array_new(list.n, sizeof *pairs->items);
		if (!pairs->rows || !pairs->items)
			rc = error_set(err, ERR_MEMORY, "out of memory for pairs");
	}
	for (size_t i = 0; rc == 0 && i < list.n; i++)
		pairs->items[i] = list.pairs[i].second;
	if (rc == 0 && files->queries)
		rc = read_sides(pairs, &list, 0, 1, files->queries, err);
	if (rc == 0)
		rc = read_sides(
		    pairs, &list, files->queries ? 1 : 0, 2, files->vectors, err);
	free(list.pairs);
	if (rc != 0)
		train_pairs_free(pairs);
	return rc;
}

void
train_pairs_free(struct train_pairs *pairs)
{
	free(pairs->rows);
	free(pairs->items);
	memset(pairs, 0, sizeof *pairs);
}
