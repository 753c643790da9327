#ifndef SERVER_POINT_ID_H
#define SERVER_POINT_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

/*
 * The name that a user gives to a point: an integer of 64 bits, a UUID, or any
 * other string of 1 .. 256 bytes of UTF-8.
 *
 * It is kept as the bytes that are its key in LMDB, so that two ids are the same
 * point exactly if their bytes are equal:
 *
 *     1, 8 bytes big-endian     a number
 *     2, 16 bytes               a UUID
 *     3, 1 .. 256 bytes         a string
 *
 * A string of 32 hexadecimal digits, also with dashes (8-4-4-4-12) or behind
 * "urn:uuid:", is a UUID whatever its case; it is printed with dashes in lower case.
 * The number 7 and the string "7" are two points.  Any thread may call.
 */
#define POINT_ID_STRING_MAX 256
#define POINT_ID_KEY_MAX (1 + POINT_ID_STRING_MAX)

/* Room for the JSON text of any id, with its '\0'. */
#define POINT_ID_PRINT_MAX (6 * POINT_ID_STRING_MAX + 3)

struct point_id {
	uint16_t len; /* of key; 0 = no id */
	uint8_t key[POINT_ID_KEY_MAX];
};

void point_id_from_number(struct point_id *id, uint64_t number);

/* `text` is n bytes of UTF-8.  ERR_INPUT if it is empty or too long. */
int point_id_from_string(
    struct point_id *id, const char *text, size_t n, struct error *err);

/* A JSON number or string (of a text that passed json_check).  ERR_INPUT. */
int point_id_parse(struct point_id *id, const struct json *value, struct error *err);

/* The id whose key these n bytes are; ERR_FORMAT if they are none. */
int point_id_from_key(
    struct point_id *id, const void *key, size_t n, struct error *err);

/* text := the id as JSON (a number, or a string with its quotes), '\0' at its end;
 * returns the length without the '\0'. */
size_t point_id_print(char text[POINT_ID_PRINT_MAX], const struct point_id *id);

bool point_id_equal(const struct point_id *a, const struct point_id *b);

#endif /* SERVER_POINT_ID_H */
