#include "base/json.h"

#include <string.h>

#include "base/json_text.h"
#include "base/utf8.h"

/* A position in a text that is being checked; `p` never passes `end`. */
struct scan {
	const char *text;
	const char *p;
	const char *end;
	struct error *err;
};

/* Refuse the text at s->p: `expected` says what had to stand there. */
static int
refuse(struct scan *s, const char *expected)
{
	size_t at = (size_t)(s->p - s->text);
	if (s->p == s->end)
		return error_set(s->err, ERR_INPUT,
		    "expected %s at byte %zu of the JSON, not its end", expected, at);
	unsigned char c = (unsigned char)*s->p;
	if (c > 0x20 && c < 0x7F)
		return error_set(s->err, ERR_INPUT,
		    "expected %s at byte %zu of the JSON, not '%c'", expected, at, c);
	return error_set(s->err, ERR_INPUT,
	    "expected %s at byte %zu of the JSON, not the byte 0x%02X", expected, at,
	    c);
}

static void
skip_space(struct scan *s)
{
	s->p = json_text_space(s->p, s->end);
}

static bool
is_digit(const struct scan *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? and within double. */
static int
check_number(struct scan *s)
{
	const char *start = s->p;
	if (*s->p == '-')
		s->p++;
	if (!is_digit(s))
		return refuse(s, "a digit");
	const char *digits = s->p;
	while (is_digit(s))
		s->p++;
	size_t n_digits = (size_t)(s->p - digits);
	if (*digits == '0' && n_digits > 1) {
		s->p = digits + 1;
		return refuse(s, "no digit after a leading zero");
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!is_digit(s))
			return refuse(s, "a digit");
		while (is_digit(s))
			s->p++;
	}
	bool exponent = s->p < s->end && (*s->p == 'e' || *s->p == 'E');
	if (exponent) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!is_digit(s))
			return refuse(s, "a digit");
		while (is_digit(s))
			s->p++;
	}
	/* Below 10^300 without being converted. */
	if (!exponent && n_digits <= 300)
		return 0;
	if (!json_text_finite(start, s->p)) {
		s->p = start;
		return refuse(s, "a number within double (below 1.8e308)");
	}
	return 0;
}

static int
check_utf8(struct scan *s)
{
	unsigned char low, high;
	size_t n = utf8_lead((unsigned char)*s->p, &low, &high);
	if (n == 0)
		return refuse(s, "UTF-8");
	for (size_t i = 1; i < n; i++) {
		s->p++;
		if (s->p == s->end || (unsigned char)*s->p < low ||
		    (unsigned char)*s->p > high)
			return refuse(s, "a continuation byte of UTF-8");
		low = 0x80;
		high = 0xBF;
	}
	s->p++;
	return 0;
}

/* Four hex digits at s->p into *unit. */
static int
check_hex(struct scan *s, uint32_t *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++, s->p++) {
		int digit = s->p < s->end ? json_text_hex(*s->p) : -1;
		if (digit < 0)
			return refuse(s, "a hex digit");
		*unit = *unit << 4 | (uint32_t)digit;
	}
	return 0;
}

/* s->p stands after a backslash. */
static int
check_escape(struct scan *s)
{
	if (s->p == s->end || !memchr("\"\\/bfnrtu", *s->p, 9))
		return refuse(s, "one of \" \\ / b f n r t u after a backslash");
	if (*s->p++ != 'u')
		return 0;
	const char *start = s->p;
	uint32_t unit;
	if (check_hex(s, &unit) != 0)
		return -1;
	if (unit == 0) {
		s->p = start;
		return refuse(s, "no \\u0000 (a text holds no zero byte)");
	}
	if (unit >= 0xDC00 && unit <= 0xDFFF) {
		s->p = start;
		return refuse(s, "no low surrogate without a high one before it");
	}
	if (unit < 0xD800 || unit > 0xDBFF)
		return 0;
	if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
		return refuse(s, "the low half of a surrogate pair");
	s->p += 2;
	start = s->p;
	if (check_hex(s, &unit) != 0)
		return -1;
	if (unit < 0xDC00 || unit > 0xDFFF) {
		s->p = start;
		return refuse(s, "the low half of a surrogate pair");
	}
	return 0;
}

static int
check_string(struct scan *s)
{
	if (s->p == s->end || *s->p != '"')
		return refuse(s, "a string");
	s->p++;
	for (;;) {
		if (s->p == s->end)
			return refuse(s, "a closing quote");
		unsigned char c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			return 0;
		}
		if (c < 0x20)
			return refuse(s, "control characters written as \\u00XX");
		if (c == '\\') {
			s->p++;
			if (check_escape(s) != 0)
				return -1;
		} else if (c < 0x80) {
			s->p++;
		} else if (check_utf8(s) != 0) {
			return -1;
		}
	}
}

static int
check_word(struct scan *s, const char *word)
{
	for (; *word; word++, s->p++)
		if (s->p == s->end || *s->p != *word)
			return refuse(s, "null, true or false spelled out");
	return 0;
}

static int check_value(struct scan *s, int depth);

/* s->p stands at the opening bracket. */
static int
check_container(struct scan *s, int depth)
{
	bool object = *s->p == '{';
	char close = object ? '}' : ']';
	if (depth > JSON_DEPTH_MAX)
		return refuse(s, "no more than 32 levels of nesting");
	s->p++;
	skip_space(s);
	if (s->p < s->end && *s->p == close) {
		s->p++;
		return 0;
	}
	for (;;) {
		skip_space(s);
		if (object) {
			if (check_string(s) != 0)
				return -1;
			skip_space(s);
			if (s->p == s->end || *s->p != ':')
				return refuse(s, "a colon after a key");
			s->p++;
		}
		if (check_value(s, depth) != 0)
			return -1;
		skip_space(s);
		if (s->p < s->end && *s->p == close) {
			s->p++;
			return 0;
		}
		if (s->p == s->end || *s->p != ',')
			return refuse(s, object ? "a comma or }" : "a comma or ]");
		s->p++;
	}
}

/* `depth` counts the containers around the value. */
static int
check_value(struct scan *s, int depth)
{
	skip_space(s);
	if (s->p == s->end)
		return refuse(s, "a value");
	switch (*s->p) {
	case '{':
	case '[':
		return check_container(s, depth + 1);
	case '"':
		return check_string(s);
	case 'n':
		return check_word(s, "null");
	case 't':
		return check_word(s, "true");
	case 'f':
		return check_word(s, "false");
	default:
		if (*s->p == '-' || is_digit(s))
			return check_number(s);
		return refuse(s, "a value");
	}
}

_Static_assert(JSON_DEPTH_MAX == 32, "check_container's message says 32");

int
json_check(struct json *root, const char *text, size_t n, struct error *err)
{
	struct scan s = {.text = text, .p = text, .end = text + n, .err = err};
	skip_space(&s);
	const char *start = s.p;
	if (check_value(&s, 0) != 0)
		return -1;
	const char *end = s.p;
	skip_space(&s);
	if (s.p != s.end)
		return refuse(&s, "nothing after the value");
	root->text = start;
	root->len = (size_t)(end - start);
	root->type = json_text_type(*start);
	return 0;
}
