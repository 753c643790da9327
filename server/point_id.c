#include "server/point_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum { KIND_NUMBER = 1, KIND_UUID = 2, KIND_STRING = 3 };

void
point_id_from_number(struct point_id *id, uint64_t number)
{
	id->len = 9;
	id->key[0] = KIND_NUMBER;
	bytes_put64be(id->key + 1, number);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Whether a dash belongs before byte i of a dashed UUID. */
static bool
dash_before(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

static bool
uuid_parse(uint8_t uuid[16], const char *text, size_t n)
{
	static const char urn[] = "urn:uuid:";

	if (n == sizeof urn - 1 + 36 && memcmp(text, urn, sizeof urn - 1) == 0) {
		text += sizeof urn - 1;
		n = 36;
	}
	if (n != 32 && n != 36)
		return false;
	for (size_t i = 0; i < 16; i++) {
		if (n == 36 && dash_before(i) && *text++ != '-')
			return false;
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return false;
		uuid[i] = (uint8_t)(high * 16 + low);
		text += 2;
	}
	return true;
}

int
point_id_from_string(struct point_id *id, const char *text, size_t n, struct error *err)
{
	uint8_t uuid[16];

	if (n == 0)
		return error_set(err, ERR_INPUT,
		    "expected a point id of 1 to %d bytes, not an empty string",
		    POINT_ID_STRING_MAX);
	if (n > POINT_ID_STRING_MAX)
		return error_set(err, ERR_INPUT,
		    "expected a point id of at most %d bytes, not %zu; keep longer "
		    "names in the payload",
		    POINT_ID_STRING_MAX, n);
	if (uuid_parse(uuid, text, n)) {
		id->len = 17;
		id->key[0] = KIND_UUID;
		memcpy(id->key + 1, uuid, sizeof uuid);
		return 0;
	}
	id->len = (uint16_t)(1 + n);
	id->key[0] = KIND_STRING;
	memcpy(id->key + 1, text, n);
	return 0;
}

int
point_id_parse(struct point_id *id, const struct json *value, struct error *err)
{
	/* Every byte of a string takes at most 6 bytes of JSON ("\u0041"). */
	char text[POINT_ID_PRINT_MAX];
	uint64_t number;

	if (value->type == JSON_NUMBER) {
		if (!json_u64(&number, value))
			return error_set(err, ERR_INPUT,
			    "expected a point id that is an integer from 0 to "
			    "18446744073709551615 without fraction or exponent, not "
			    "%.*s",
			    (int)(value->len < 64 ? value->len : 64), value->text);
		point_id_from_number(id, number);
		return 0;
	}
	if (value->type != JSON_STRING)
		return error_set(err, ERR_INPUT,
		    "expected a point id that is an unsigned integer, a UUID or a "
		    "string, not %s",
		    json_type_name(value->type));
	if (value->len >= sizeof text)
		return error_set(err, ERR_INPUT,
		    "expected a point id of at most %d bytes, not one of %zu bytes of "
		    "JSON",
		    POINT_ID_STRING_MAX, value->len);
	size_t n = json_string(text, sizeof text, value);
	return point_id_from_string(id, text, n, err);
}

int
point_id_from_key(struct point_id *id, const void *key, size_t n, struct error *err)
{
	const uint8_t *bytes = key;

	bool good = n > 1 && ((bytes[0] == KIND_NUMBER && n == 9) ||
				 (bytes[0] == KIND_UUID && n == 17) ||
				 (bytes[0] == KIND_STRING && n <= POINT_ID_KEY_MAX));
	if (!good)
		return error_set(err, ERR_FORMAT,
		    "expected the key of a point id, not %zu other bytes", n);
	id->len = (uint16_t)n;
	memcpy(id->key, bytes, n);
	return 0;
}

static size_t
print_uuid(char *text, const uint8_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	char *p = text;

	*p++ = '"';
	for (size_t i = 0; i < 16; i++) {
		if (dash_before(i))
			*p++ = '-';
		*p++ = digits[uuid[i] >> 4];
		*p++ = digits[uuid[i] & 15];
	}
	*p++ = '"';
	*p = '\0';
	return (size_t)(p - text);
}

static size_t
print_string(char *text, const uint8_t *bytes, size_t n)
{
	char *p = text;

	*p++ = '"';
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] < 0x20) {
			p += snprintf(p, 7, "\\u%04x", bytes[i]);
			continue;
		}
		if (bytes[i] == '"' || bytes[i] == '\\')
			*p++ = '\\';
		*p++ = (char)bytes[i];
	}
	*p++ = '"';
	*p = '\0';
	return (size_t)(p - text);
}

size_t
point_id_print(char text[POINT_ID_PRINT_MAX], const struct point_id *id)
{
	switch (id->key[0]) {
	case KIND_NUMBER:
		return (size_t)snprintf(
		    text, POINT_ID_PRINT_MAX, "%" PRIu64, bytes_get64be(id->key + 1));
	case KIND_UUID:
		return print_uuid(text, id->key + 1);
	default:
		return print_string(text, id->key + 1, (size_t)id->len - 1);
	}
}

bool
point_id_equal(const struct point_id *a, const struct point_id *b)
{
	return a->len == b->len && memcmp(a->key, b->key, a->len) == 0;
}
