#include "base/json.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"

/* The digits of a number as an integer and a power of ten:
 *     |x| = digits * 10^exponent,   exact if !cut, else digits < |x| / 10^exponent
 * < digits + 1 with digits >= 10^18. */
struct decimal {
	uint64_t digits;
	int64_t exponent;
	bool negative;
	bool cut;
};

/* A written exponent beyond this is as good as infinite, whatever digits stand before
 * it (a text is never this long). */
#define EXPONENT_MAX ((int64_t)1 << 60)

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The exponent written at p ("e", sign, digits), or 0 at the end. */
static int64_t
take_exponent(const char *p, const char *end)
{
	int64_t exponent = 0;
	if (p == end)
		return 0;
	p++;
	bool negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	for (; p < end; p++)
		if (exponent < EXPONENT_MAX / 16)
			exponent = exponent * 10 + (*p - '0');
	return negative ? -exponent : exponent;
}

static struct decimal
take_decimal(const char *p, const char *end)
{
	struct decimal d = {.negative = *p == '-'};
	if (d.negative)
		p++;
	/* 19 digits always fit; leading zeros do not count. */
	const uint64_t full = 1000000000000000000u;
	for (; p < end && is_digit(*p); p++) {
		if (d.digits < full) {
			d.digits = d.digits * 10 + (uint64_t)(*p - '0');
		} else {
			d.cut |= *p != '0';
			d.exponent++;
		}
	}
	if (p < end && *p == '.') {
		for (p++; p < end && is_digit(*p); p++) {
			if (d.digits < full) {
				d.digits = d.digits * 10 + (uint64_t)(*p - '0');
				d.exponent--;
			} else {
				d.cut |= *p != '0';
			}
		}
	}
	d.exponent += take_exponent(p, end);
	return d;
}

static const double power10[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number of any length, rewritten so that strtod can take it: no point (which
 * depends on the locale) and at most 800 digits.  767 digits and one more that says
 * "and something" decide every double and every float. */
#define SLOW_DIGITS 800

struct slow {
	char text[SLOW_DIGITS + 32];
};

static void
slow_set(struct slow *slow, const char *p, const char *end)
{
	size_t n = 0;
	int64_t exponent = 0;
	bool point = false;
	bool more = false;
	if (*p == '-')
		slow->text[n++] = *p++;
	size_t first = n;
	for (; p < end && (is_digit(*p) || *p == '.'); p++) {
		if (*p == '.') {
			point = true;
			continue;
		}
		if (n == first && *p == '0') { /* leading zeros */
			exponent -= point;
		} else if (n - first < SLOW_DIGITS - 1) {
			slow->text[n++] = *p;
			exponent -= point;
		} else {
			more |= *p != '0';
			exponent += !point;
		}
	}
	if (more) {
		slow->text[n++] = '1';
		exponent--;
	}
	if (n == first)
		slow->text[n++] = '0';
	exponent += take_exponent(p, end);
	snprintf(slow->text + n, sizeof slow->text - n, "e%lld", (long long)exponent);
}

/* Clinger, "How to read floating point numbers accurately", PLDI 1990: digits below
 * 2^53 and a power of ten up to 22 are both exact doubles, so one operation rounds
 * once. */
static double
to_double(const char *p, const char *end)
{
	struct decimal d = take_decimal(p, end);
	if (!d.cut && d.digits <= (uint64_t)1 << 53 && d.exponent >= -22 &&
	    d.exponent <= 22) {
		double x = (double)d.digits;
		x = d.exponent < 0 ? x / power10[-d.exponent] : x * power10[d.exponent];
		return d.negative ? -x : x;
	}
	struct slow slow;
	slow_set(&slow, p, end);
	return strtod(slow.text, NULL);
}

bool
json_text_finite(const char *start, const char *end)
{
	return isfinite(to_double(start, end));
}

double
json_double(const struct json *number)
{
	assert(number->type == JSON_NUMBER);
	return to_double(number->text, number->text + number->len);
}

bool
json_u64(uint64_t *out, const struct json *number)
{
	uint64_t value = 0;
	if (number->type != JSON_NUMBER)
		return false;
	for (size_t i = 0; i < number->len; i++) {
		char c = number->text[i];
		if (!is_digit(c) || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
			return false;
	}
	*out = value;
	return true;
}

bool
json_i64(int64_t *out, const struct json *number)
{
	bool negative = number->type == JSON_NUMBER && number->text[0] == '-';
	struct json digits = *number;
	uint64_t value;

	digits.text += negative;
	digits.len -= negative;
	if (!json_u64(&value, &digits) || value > (uint64_t)INT64_MAX + negative)
		return false;
	*out = (int64_t)(negative ? 0 - value : value);
	return true;
}

/*
 * x rounded to float once, as strtof does, or +-infinity.
 *
 * The quotient q below is within 2 units in its last place (of double) of the exact
 * |x|: one half each for the digits and for at most two divisions or multiplications
 * by exact powers of ten, and a cut costs 10^-18 of it.  A double rounds to another
 * float than |x| only if a midpoint of two floats lies between them; in the normal
 * range those are the doubles whose low 29 bits are 2^28.  So q may decide unless its
 * low bits come within 4 of that.
 */
static float
to_float(const char *p, const char *end)
{
	struct decimal d = take_decimal(p, end);
	if (d.exponent >= -44 && d.exponent <= 22) {
		double q = (double)d.digits;
		if (d.exponent < -22) {
			q /= power10[22];
			d.exponent += 22;
		}
		q = d.exponent < 0 ? q / power10[-d.exponent] : q * power10[d.exponent];
		uint64_t bits;
		memcpy(&bits, &q, sizeof bits);
		uint64_t low = bits & 0x1FFFFFFF;
		bool clear = low < 0x10000000 - 4 || low > 0x10000000 + 4;
		if (q == 0.0 || (clear && q >= FLT_MIN && q < 0x1p127))
			return (float)(d.negative ? -q : q);
	}
	struct slow slow;
	slow_set(&slow, p, end);
	return strtof(slow.text, NULL);
}

int
json_floats(
    float *out, size_t cap, size_t *n, const struct json *array, struct error *err)
{
	if (array->type != JSON_ARRAY)
		return error_set(err, ERR_INPUT, "expected an array of numbers, not %s",
		    json_type_name(array->type));
	struct json_walk walk = json_walk(array);
	size_t count = 0;
	while (json_next(&walk)) {
		const struct json *v = &walk.value;
		if (v->type != JSON_NUMBER)
			return error_set(err, ERR_INPUT,
			    "expected a number at position %zu of the array, not %s",
			    count, json_type_name(v->type));
		if (count == cap)
			return error_set(err, ERR_INPUT,
			    "expected at most %zu numbers, not %zu", cap,
			    json_count(array));
		float x = to_float(v->text, v->text + v->len);
		if (!isfinite(x))
			return error_set(err, ERR_INPUT,
			    "expected a number within float32 (below 3.4e38) at "
			    "position %zu of the array, not %.*s",
			    count, v->len < 40 ? (int)v->len : 40, v->text);
		out[count++] = x;
	}
	*n = count;
	return 0;
}
