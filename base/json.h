#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What cJSON leaves open: strictness, exact integers, and documents too large for
 * a tree.
 *
 * json_check refuses whatever is not RFC 8259 (trailing text, bad UTF-8, control
 * characters, lone surrogates, "\u0000", numbers outside double, depth over
 * JSON_DEPTH_MAX) with the byte where it stands.  The other functions walk a text
 * that has passed it, without allocating: a struct json is a borrowed slice of that
 * text, valid as long as the text.  Any thread may call.
 */
#define JSON_DEPTH_MAX 32

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* "null", "a boolean", "a number", ... for messages. */
const char *json_type_name(enum json_type type);

struct json {
	enum json_type type;
	const char *text; /* the value's own text, as it came */
	size_t len;
};

/* Check the n bytes and set *root to the one value in them.  ERR_INPUT. */
int json_check(struct json *root, const char *text, size_t n, struct error *err);

/* *value := the member `key` of an object (of duplicates the last); false if the
 * value is no object or has no such member. */
bool json_member(const struct json *object, const char *key, struct json *value);

/* Walk the elements of an array or the members of an object, in order:
 *     struct json_walk w = json_walk(&array);
 *     while (json_next(&w)) use(&w.value);      (objects: w.key is a string) */
struct json_walk {
	struct json key; /* objects only: the key, a JSON_STRING */
	struct json value;
	const char *next;
	const char *end;
};
struct json_walk json_walk(const struct json *container);
bool json_next(struct json_walk *walk);

/* Elements of an array or members of an object. */
size_t json_count(const struct json *container);

/* Whether a JSON_STRING equals `text`. */
bool json_equals(const struct json *string, const char *text);

/* out (cap) := the string with escapes resolved, UTF-8, '\0' at its end; returns its
 * length without the '\0'.  A string of len bytes of JSON never needs more than len
 * bytes; cap is at least that. */
size_t json_string(char *out, size_t cap, const struct json *string);

/* Read a JSON_STRING in pieces, escapes resolved, for who keeps no copy of it:
 *     struct json_pieces p = json_pieces(&string);
 *     while ((n = json_piece(&p, piece)) > 0) use(piece, n);
 * A piece is one byte of the text, or the whole character that an escape stands for. */
struct json_pieces {
	const char *next;
	const char *end;
};
struct json_pieces json_pieces(const struct json *string);
size_t json_piece(struct json_pieces *pieces, char piece[4]);

/* How a JSON_STRING stands to n bytes in the order of memcmp: < 0, 0, > 0. */
int json_compare(const struct json *string, const char *bytes, size_t n);

/* *out := the number, which must be an integer in 0 .. 2^64 - 1 written without
 * fraction or exponent; false otherwise.  Exact. */
bool json_u64(uint64_t *out, const struct json *number);

/* The same for -2^63 .. 2^63 - 1. */
bool json_i64(int64_t *out, const struct json *number);

/* The number as a double (correctly rounded). */
double json_double(const struct json *number);

/* out (cap) := an array of numbers as float32; *n := how many.  ERR_INPUT if an
 * element is no number, does not fit a finite float, or there are more than cap; out
 * may then hold the elements before. */
int json_floats(
    float *out, size_t cap, size_t *n, const struct json *array, struct error *err);

#endif /* BASE_JSON_H */
