#include "base/vectors_npy.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/vectors.h"

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

/* The rest of a header while it is read. */
struct cursor {
	const char *at;
	const char *end;
};

static void
skip_space(struct cursor *c)
{
	while (c->at < c->end && strchr(" \t\r\n", *c->at) != NULL && *c->at != '\0')
		c->at++;
}

/* Skip space, then the one character `want` if it is next. */
static bool
take(struct cursor *c, char want)
{
	skip_space(c);
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

static bool
take_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);
	skip_space(c);
	if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
		return false;
	c->at += n;
	return true;
}

/* out (cap) := a quoted string without escapes. */
static bool
take_string(struct cursor *c, char *out, size_t cap)
{
	skip_space(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return false;
	const char *start = c->at + 1;
	const char *stop = memchr(start, *c->at, (size_t)(c->end - start));
	if (stop == NULL || (size_t)(stop - start) >= cap)
		return false;
	memcpy(out, start, (size_t)(stop - start));
	out[stop - start] = '\0';
	c->at = stop + 1;
	return true;
}

static bool
take_number(struct cursor *c, uint64_t *out)
{
	uint64_t v = 0;
	skip_space(c);
	const char *start = c->at;
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*c->at - '0'), &v))
			return false;
	}
	*out = v;
	return c->at > start;
}

static int
parse_descr(
    struct vectors_npy *npy, struct cursor *c, const char *path, struct error *err)
{
	static const struct {
		const char *name;
		enum vectors_type type;
	} types[] = {
	    {"<f2", VECTORS_F16},
	    {"<f4", VECTORS_F32},
	    {"<f8", VECTORS_F64},
	    {"|i1", VECTORS_I8},
	    {"|u1", VECTORS_U8},
	};
	char descr[16];
	if (!take_string(c, descr, sizeof descr))
		return error_set(err, ERR_FORMAT,
		    "%s: expected 'descr' to be one of '<f2', '<f4', '<f8', '|i1', "
		    "'|u1'; fields and long types are not read",
		    path);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(descr, types[i].name) == 0) {
			npy->type = types[i].type;
			return 0;
		}
	}
	return error_set(err, ERR_FORMAT,
	    "%s: expected elements of type '<f2', '<f4', '<f8', '|i1' or '|u1', not "
	    "'%s'; convert with array.astype('<f4')",
	    path, descr);
}

static int
parse_order(
    struct vectors_npy *npy, struct cursor *c, const char *path, struct error *err)
{
	npy->by_columns = take_word(c, "True");
	if (npy->by_columns || take_word(c, "False"))
		return 0;
	return error_set(
	    err, ERR_FORMAT, "%s: expected 'fortran_order' to be True or False", path);
}

static int
parse_shape(
    struct vectors_npy *npy, struct cursor *c, const char *path, struct error *err)
{
	uint64_t sides[2] = {0, 0};
	size_t n = 0;

	if (!take(c, '('))
		return error_set(
		    err, ERR_FORMAT, "%s: expected 'shape' to be (rows, dims)", path);
	while (!take(c, ')')) {
		uint64_t side;
		if (!take_number(c, &side))
			return error_set(err, ERR_FORMAT,
			    "%s: expected 'shape' to hold integers below 2^64", path);
		if (n == 2)
			return error_set(err, ERR_FORMAT,
			    "%s: expected 1 or 2 axes, not more; reshape to (rows, "
			    "dims)",
			    path);
		sides[n++] = side;
		if (!take(c, ',')) {
			if (take(c, ')'))
				break;
			return error_set(err, ERR_FORMAT,
			    "%s: expected ',' or ')' in 'shape'", path);
		}
	}
	if (n == 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected 1 or 2 axes, not a single number", path);
	npy->count = n == 2 ? sides[0] : 1;
	uint64_t dims = n == 2 ? sides[1] : sides[0];
	if (dims < 1 || dims > VECTORS_DIMS_MAX)
		return error_set(err, ERR_FORMAT,
		    "%s: expected 1 to %d dimensions, not %llu", path, VECTORS_DIMS_MAX,
		    (unsigned long long)dims);
	npy->dims = (size_t)dims;
	return 0;
}

static int
parse_header(struct vectors_npy *npy, const char *text, size_t n, const char *path,
    struct error *err)
{
	struct cursor c = {text, text + n};
	bool seen[3] = {false, false, false};
	static const char *const names[3] = {"descr", "fortran_order", "shape"};

	if (!take(&c, '{'))
		return error_set(err, ERR_FORMAT,
		    "%s: expected a .npy header {'descr': ..., 'fortran_order': ..., "
		    "'shape': ...}",
		    path);
	while (!take(&c, '}')) {
		char key[32];
		size_t k = 0;
		if (!take_string(&c, key, sizeof key) || !take(&c, ':'))
			return error_set(err, ERR_FORMAT,
			    "%s: expected 'key': value in its header", path);
		while (k < 3 && strcmp(key, names[k]) != 0)
			k++;
		if (k == 3 || seen[k])
			return error_set(err, ERR_FORMAT,
			    "%s: expected 'descr', 'fortran_order' and 'shape' once "
			    "each in its header, not '%s'%s",
			    path, key, k == 3 ? "" : " twice");
		seen[k] = true;
		if ((k == 0 && parse_descr(npy, &c, path, err) == -1) ||
		    (k == 1 && parse_order(npy, &c, path, err) == -1) ||
		    (k == 2 && parse_shape(npy, &c, path, err) == -1))
			return -1;
		if (!take(&c, ',')) {
			if (take(&c, '}'))
				break;
			return error_set(err, ERR_FORMAT,
			    "%s: expected ',' or '}' in its header", path);
		}
	}
	for (size_t k = 0; k < 3; k++) {
		if (!seen[k])
			return error_set(err, ERR_FORMAT, "%s: its header lacks '%s'",
			    path, names[k]);
	}
	skip_space(&c);
	if (c.at != c.end)
		return error_set(err, ERR_FORMAT,
		    "%s: expected nothing after the header's '}'", path);
	return 0;
}

static int
read_part(void *out, size_t n, FILE *file, const char *path, struct error *err)
{
	if (fread(out, 1, n, file) == n)
		return 0;
	if (ferror(file))
		return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
	return error_set(
	    err, ERR_FORMAT, "%s: the file ends within its .npy header", path);
}

int
vectors_npy_read(
    struct vectors_npy *npy, FILE *file, const char *path, struct error *err)
{
	uint8_t head[12] = {0};
	if (read_part(head, 8, file, path, err) == -1)
		return -1;
	if (memcmp(head, magic, sizeof magic) != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a .npy file, which begins with \\x93NUMPY", path);
	if (head[6] < 1 || head[6] > 3 || head[7] != 0)
		return error_set(err, ERR_FORMAT,
		    "%s: expected .npy format 1.0, 2.0 or 3.0, not %d.%d", path,
		    head[6], head[7]);
	size_t wide = head[6] == 1 ? 2 : 4; /* bytes of the header's length */
	if (read_part(head + 8, wide, file, path, err) == -1)
		return -1;
	uint32_t n = bytes_get32le(head + 8); /* the unread bytes are zero */
	if (n > VECTORS_NPY_HEADER_MAX)
		return error_set(err, ERR_FORMAT,
		    "%s: expected a header of at most %d bytes, not %u", path,
		    VECTORS_NPY_HEADER_MAX, n);
	char *text = array_new(n, 1);
	if (text == NULL)
		return error_set(err, ERR_MEMORY, "%s: no memory for its header", path);
	int rc = read_part(text, n, file, path, err);
	if (rc == 0)
		rc = parse_header(npy, text, n, path, err);
	if (rc == 0)
		npy->data_start = 8 + wide + n;
	free(text);
	return rc;
}

void
vectors_npy_write(char *header, uint64_t count, size_t dims)
{
	char dict[VECTORS_NPY_WRITTEN_BYTES - 10];
	int n = snprintf(dict, sizeof dict,
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %zu), }",
	    (unsigned long long)count, dims);
	assert(n > 0 && (size_t)n < sizeof dict);
	memset(header, ' ', VECTORS_NPY_WRITTEN_BYTES);
	memcpy(header, magic, sizeof magic);
	header[6] = 1;
	header[7] = 0;
	header[8] = VECTORS_NPY_WRITTEN_BYTES - 10;
	header[9] = 0;
	memcpy(header + 10, dict, (size_t)n);
	header[VECTORS_NPY_WRITTEN_BYTES - 1] = '\n';
}
