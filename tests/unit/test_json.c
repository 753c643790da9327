/* Claims: json_check accepts RFC 8259 and refuses the rest with a reason; no function
 * reads a byte beyond the text (it ends at an unreadable page); u64 and floats are
 * exact (against strtof); the walk sees what cJSON sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "tests/support/guard.h"

/* json_check over a copy that ends at a guard page. */
static int
check(const char *text, size_t n, struct error *err)
{
	struct json root;
	char *copy = guard_copy(text, n);
	int rc = json_check(&root, copy, n, err);
	guard_free(copy, n);
	return rc;
}

static const struct {
	const char *text;
	const char *reason; /* NULL: accepted */
} texts[] = {
    {"null", NULL},
    {"true", NULL},
    {"false", NULL},
    {"0", NULL},
    {"-0", NULL},
    {"-0.0", NULL},
    {"1e5", NULL},
    {"1E+5", NULL},
    {"1.5e-5", NULL},
    {"1e308", NULL},
    {"-1.7976931348623157e308", NULL},
    {"1e-999", NULL},
    {"\"\"", NULL},
    {"\"a\\n\\\"\\u00e9\"", NULL},
    {"\"\\ud83d\\ude00\"", NULL},
    {"\"\xF0\x9F\x98\x80\"", NULL},
    {"\"\xEF\xBF\xBF\"", NULL},
    {"\"\x7F\"", NULL},
    {"[]", NULL},
    {"{}", NULL},
    {" [ 1 , 2 ] ", NULL},
    {"\t{\"a\"\r\n: [{}]}", NULL},
    {"[[[]]]", NULL},
    {"{\"a\":1,\"a\":2}", NULL},
    {"", "expected a value at byte 0 of the JSON, not its end"},
    {"  ", "expected a value at byte 2 of the JSON, not its end"},
    {"nul", "null, true or false spelled out at byte 3"},
    {"nulL", "at byte 3 of the JSON, not 'L'"},
    {"truee", "expected nothing after the value at byte 4"},
    {"01", "no digit after a leading zero at byte 1"},
    {"-01", "no digit after a leading zero at byte 2"},
    {"-", "expected a digit at byte 1"},
    {"+1", "expected a value at byte 0"},
    {".5", "expected a value"},
    {"1.", "expected a digit at byte 2"},
    {"1e", "expected a digit at byte 2"},
    {"1e+", "expected a digit at byte 3"},
    {"1.e5", "expected a digit at byte 2"},
    {"0x10", "nothing after the value"},
    {"1e999", "a number within double"},
    {"-1e309", "a number within double"},
    {"1.8e308", "a number within double"},
    {"1e99999999999999999999999999", "a number within double"},
    {"NaN", "expected a value"},
    {"Infinity", "expected a value"},
    {"\"", "a closing quote"},
    {"\"a", "a closing quote"},
    {"\"\x01\"", "control characters"},
    {"\"a\nb\"", "control characters"},
    {"\"\\", "after a backslash"},
    {"\"\\x\"", "after a backslash"},
    {"\"\\u12\"", "a hex digit at byte 5"},
    {"\"\\u123g\"", "a hex digit"},
    {"\"\\u0000\"", "no \\u0000"},
    {"\"\\udc00\"", "no low surrogate"},
    {"\"\\ud800\"", "the low half of a surrogate pair at byte 7"},
    {"\"\\ud800\\n\"", "the low half"},
    {"\"\\ud800\\ud800\"", "the low half of a surrogate pair at byte 9"},
    {"\"\\ud800\\u0041\"", "the low half"},
    {"\"\\ud800\\u", "a hex digit"},
    {"\"\x80\"", "expected UTF-8 at byte 1 of the JSON, not the byte 0x80"},
    {"\"\xC0\x80\"", "expected UTF-8"},
    {"\"\xC1\xBF\"", "expected UTF-8"},
    {"\"\xE0\x80\x80\"", "continuation"},
    {"\"\xED\xA0\x80\"", "continuation"},
    {"\"\xF0\x80\x80\x80\"", "continuation"},
    {"\"\xF4\x90\x80\x80\"", "continuation"},
    {"\"\xF5\x80\x80\x80\"", "expected UTF-8"},
    {"\"\xC3\"", "continuation"},
    {"\"\xE2\x82", "continuation"},
    {"\xEF\xBB\xBF{}", "expected a value"},
    {"[", "expected a value"},
    {"[1", "a comma or ]"},
    {"[1 2]", "a comma or ]"},
    {"[1,]", "expected a value at byte 3"},
    {"[,1]", "expected a value"},
    {"{\"a\"}", "a colon"},
    {"{\"a\":}", "expected a value"},
    {"{\"a\":1,}", "expected a string"},
    {"{a:1}", "expected a string"},
    {"{'a':1}", "expected a string"},
    {"{\"a\":1", "a comma or }"},
    {"{1:2}", "expected a string"},
    {"[1}", "a comma or ]"},
    {"{} {}", "nothing after the value at byte 3"},
    {"1 //c", "nothing after the value"},
    {"\f1", "expected a value"},
};

static void
test_table(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct error err = {0};
		int rc = check(texts[i].text, strlen(texts[i].text), &err);
		if ((rc == 0) != !texts[i].reason ||
		    (rc != 0 && !strstr(err.text, texts[i].reason)))
			fail_msg("'%s': %d, '%s', expected '%s'", texts[i].text, rc,
			    err.text, texts[i].reason ? texts[i].reason : "accepted");
		if (rc != 0)
			assert_int_equal(err.code, ERR_INPUT);
	}
	struct error err;
	assert_int_equal(check("\"\0\"", 3, &err), -1);
	assert_int_equal(check("1\0", 2, &err), -1);
}

static void
test_depth(void **state)
{
	(void)state;
	char text[2 * 100001];
	struct error err;
	for (size_t depth = 1; depth <= 100000;
	     depth = depth < 40 ? depth + 1 : 100000) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(
		    check(text, 2 * depth, &err), depth <= JSON_DEPTH_MAX ? 0 : -1);
		if (depth > JSON_DEPTH_MAX)
			assert_non_null(strstr(err.text, "levels of nesting"));
		if (depth == 100000)
			break;
	}
}

static const char sample[] =
    "{\"k\": [1, -2.5e3, \"a\\u00e9\\ud83d\\ude00\\\\\", null, true, false, {}, "
    "[ ] , {\"x\" : {\"y\":[[],[\"]}\"]]}}], \"\\u006b2\" :\"v\",\"k\":7 }";

static void
test_prefixes_and_flips(void **state)
{
	(void)state;
	size_t n = sizeof sample - 1, accepted = 0;
	struct error err;
	assert_int_equal(check(sample, n, &err), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(check(sample, i, &err), -1);
	for (size_t bit = 0; bit < 8 * n; bit++) {
		char *copy = guard_copy(sample, n);
		struct json root, value;
		copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
		if (json_check(&root, copy, n, &err) == 0) {
			accepted++;
			json_member(&root, "k", &value);
			json_count(&root);
		}
		guard_free(copy, n);
	}
	assert_true(accepted > 0);
}

static struct json
parse(const char *text, size_t n)
{
	struct json root;
	struct error err;
	if (json_check(&root, text, n, &err) != 0)
		fail_msg("%.*s: %s", (int)n, text, err.text);
	return root;
}

static struct json
parse_text(const char *text)
{
	return parse(text, strlen(text));
}

static void
test_walk(void **state)
{
	(void)state;
	struct json root = parse(sample, sizeof sample - 1);
	struct json value;
	char out[64];
	assert_int_equal(json_count(&root), 3);
	assert_true(json_member(&root, "k", &value)); /* the last one */
	assert_int_equal(value.type, JSON_NUMBER);
	assert_int_equal(value.len, 1);
	assert_true(json_member(&root, "k2", &value));
	assert_true(json_equals(&value, "v"));
	assert_false(json_equals(&value, ""));
	assert_false(json_equals(&value, "vv"));
	assert_false(json_member(&root, "k3", &value));
	assert_false(json_member(&value, "k", &value)); /* no object */

	struct json_walk walk = json_walk(&root);
	assert_true(json_next(&walk));
	assert_true(json_equals(&walk.key, "k"));
	struct json array = walk.value;
	assert_int_equal(json_count(&array), 9);
	static const enum json_type types[] = {JSON_NUMBER, JSON_NUMBER, JSON_STRING,
	    JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_OBJECT, JSON_ARRAY, JSON_OBJECT};
	walk = json_walk(&array);
	for (size_t i = 0; i < 9; i++) {
		assert_true(json_next(&walk));
		assert_int_equal(walk.value.type, types[i]);
		if (i == 2) {
			size_t n = json_string(out, walk.value.len, &walk.value);
			assert_string_equal(out, "a\xC3\xA9\xF0\x9F\x98\x80\\");
			assert_int_equal(n, 8);
			assert_true(json_equals(&walk.value, out));
		}
		if (i == 6 || i == 7)
			assert_int_equal(json_count(&walk.value), 0);
	}
	assert_false(json_next(&walk));
	assert_false(json_next(&walk));
	struct json word = parse_text("\"word\"");
	walk = json_walk(&word);
	assert_false(json_next(&walk));
	assert_int_equal(json_count(&word), 0);
	assert_string_equal(json_type_name(JSON_TRUE), "a boolean");
}

static void
test_u64(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool ok;
		uint64_t value;
	} rows[] = {
	    {"0", true, 0},
	    {"7", true, 7},
	    {"9007199254740993", true, 9007199254740993u},
	    {"18446744073709551615", true, UINT64_MAX},
	    {"18446744073709551616", false, 0},
	    {"99999999999999999999", false, 0},
	    {"184467440737095516150", false, 0},
	    {"-1", false, 0},
	    {"-0", false, 0},
	    {"1.0", false, 0},
	    {"1e3", false, 0},
	    {"\"1\"", false, 0},
	    {"[]", false, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t value = 1234;
		struct json root = parse_text(rows[i].text);
		assert_int_equal(json_u64(&value, &root), rows[i].ok);
		assert_true(value == (rows[i].ok ? rows[i].value : 1234));
	}
}

/* A random number's text: few or many digits, near a midpoint of two floats, small,
 * large, short and long. */
static size_t
random_number(struct rng *rng, char *text, size_t size)
{
	uint64_t bits = rng_u64(rng);
	float f;
	double d;
	switch (rng_below(rng, 8)) {
	case 0: /* any finite float, as Python prints it */
		bits &= 0xFFFFFFFF;
		memcpy(&f, &bits, 4);
		return (size_t)snprintf(
		    text, size, "%.9g", isfinite(f) ? (double)f : 0.5);
	case 1: /* an exact midpoint of two floats, or just beside it */
		bits = (bits & 0x800FFFFFE0000000u) | 0x10000000u |
		       (1023 - 30 + rng_below(rng, 60)) << 52;
		memcpy(&d, &bits, 8);
		return (size_t)snprintf(
		    text, size, "%.*e%s", (int)(15 + rng_below(rng, 45)), d, "");
	case 2: /* subnormal floats and their neighbourhood */
		return (size_t)snprintf(text, size, "%.*fe-%d",
		    (int)(1 + rng_below(rng, 20)), (double)rng_normal(rng),
		    (int)(36 + rng_below(rng, 14)));
	case 3: /* many digits */
		return (size_t)snprintf(text, size, "0.%019llu%019llu%019llu",
		    (unsigned long long)(rng_u64(rng) % 10000000000000000000u),
		    (unsigned long long)(rng_u64(rng) % 10000000000000000000u),
		    (unsigned long long)(rng_u64(rng) % 10000000000000000000u));
	case 4:
		return (size_t)snprintf(text, size, "%lld", (long long)bits);
	case 5:
		return (size_t)snprintf(text, size, "%.17g", (double)rng_normal(rng));
	case 6:
		return (size_t)snprintf(text, size, "%.*g",
		    (int)(1 + rng_below(rng, 9)), (double)rng_normal(rng));
	default: /* near the end of float */
		return (size_t)snprintf(text, size, "%.*e",
		    (int)(1 + rng_below(rng, 20)),
		    3.4e38 + 1e37 * (double)rng_uniform(rng));
	}
}

static void
test_floats_against_strtof(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, test_seed(), 1);
	for (int i = 0; i < 400000; i++) {
		char text[160] = "[", number[128];
		size_t n = random_number(&rng, number, sizeof number);
		assert_true(n < sizeof number);
		int whole = snprintf(text, sizeof text, "[%s]", number);
		struct json array = parse(text, (size_t)whole);
		struct error err;
		float want = strtof(number, NULL), got;
		size_t count;
		int rc = json_floats(&got, 1, &count, &array, &err);
		assert_int_equal(rc, isfinite(want) ? 0 : -1);
		if (rc == 0 && (got != want || !signbit(got) != !signbit(want)))
			fail_msg(
			    "%s: %a, expected %a", number, (double)got, (double)want);
		struct json value = parse(number, n);
		double d = json_double(&value), d_want = strtod(number, NULL);
		if (d != d_want || !signbit(d) != !signbit(d_want))
			fail_msg("%s: %a, expected %a", number, d, d_want);
	}
}

/* Numbers longer than any buffer: the digit that decides comes last. */
static void
test_long_numbers(void **state)
{
	(void)state;
	enum { ZEROS = 3000 };
	char text[ZEROS + 64] = "[1.000000059604644775390625";
	struct error err;
	float x;
	size_t n, len = strlen(text); /* 1 + 2^-24, the midpoint: ties to even, 1 */
	memset(text + len, '0', ZEROS);
	memcpy(text + len + ZEROS, "]", 2);
	struct json array = parse_text(text);
	assert_int_equal(json_floats(&x, 1, &n, &array, &err), 0);
	assert_true(x == 1.0f);
	memcpy(text + len + ZEROS, "1]", 3);
	array = parse_text(text);
	assert_int_equal(json_floats(&x, 1, &n, &array, &err), 0);
	assert_true(x == 1.0f + 0x1p-23f);
	memset(text, '1', ZEROS);
	snprintf(text + ZEROS, 16, "e-%d", ZEROS - 1);
	struct json value = parse_text(text);
	assert_true(json_double(&value) == 10.0 / 9);
	snprintf(text + ZEROS, 16, "e-%d", ZEROS - 400);
	assert_int_equal(check(text, strlen(text), &err), -1);
	text[0] = '0';
	text[1] = '.';
	text[ZEROS] = '\0';
	value = parse_text(text);
	assert_true(json_double(&value) == 1.0 / 9);
}

static void
test_floats(void **state)
{
	(void)state;
	struct error err;
	float out[3] = {9, 9, 9};
	size_t n = 77;
	struct json array = parse_text("[1, -0 ,2.5]");
	assert_int_equal(json_floats(out, 3, &n, &array, &err), 0);
	assert_int_equal(n, 3);
	assert_true(out[0] == 1 && out[1] == 0 && signbit(out[1]) && out[2] == 2.5f);
	assert_int_equal(json_floats(out, 2, &n, &array, &err), -1);
	assert_string_equal(err.text, "expected at most 2 numbers, not 3");
	array = parse_text("[]");
	assert_int_equal(json_floats(out, 0, &n, &array, &err), 0);
	assert_int_equal(n, 0);
	array = parse_text("[1,\"2\"]");
	assert_int_equal(json_floats(out, 3, &n, &array, &err), -1);
	assert_string_equal(
	    err.text, "expected a number at position 1 of the array, not a string");
	array = parse_text("[1,1e39]");
	assert_int_equal(json_floats(out, 3, &n, &array, &err), -1);
	assert_non_null(strstr(err.text, "within float32"));
	array = parse_text("{\"a\":1}");
	assert_int_equal(json_floats(out, 3, &n, &array, &err), -1);
	assert_string_equal(err.text, "expected an array of numbers, not an object");
}

/* The value as cJSON has it. */
static void
same(const struct json *ours, const cJSON *theirs)
{
	struct json_walk walk = json_walk(ours);
	size_t n = 0;
	switch (ours->type) {
	case JSON_NULL:
		assert_true(cJSON_IsNull(theirs));
		break;
	case JSON_FALSE:
		assert_true(cJSON_IsFalse(theirs));
		break;
	case JSON_TRUE:
		assert_true(cJSON_IsTrue(theirs));
		break;
	case JSON_NUMBER:
		assert_true(cJSON_IsNumber(theirs));
		assert_true(json_double(ours) == theirs->valuedouble);
		break;
	case JSON_STRING:
		assert_true(cJSON_IsString(theirs));
		assert_true(json_equals(ours, theirs->valuestring));
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		assert_true(ours->type == JSON_ARRAY ? cJSON_IsArray(theirs)
						     : cJSON_IsObject(theirs));
		for (theirs = theirs->child; theirs; theirs = theirs->next, n++) {
			assert_true(json_next(&walk));
			if (ours->type == JSON_OBJECT)
				assert_true(json_equals(&walk.key, theirs->string));
			same(&walk.value, theirs);
		}
		assert_false(json_next(&walk));
		assert_int_equal(json_count(ours), n);
		break;
	}
}

struct text {
	char bytes[20000];
	size_t n;
};

static void
add(struct text *t, const char *s)
{
	size_t n = strlen(s);
	memcpy(t->bytes + t->n, s, n);
	t->n += n;
}

static void
add_space(struct text *t, struct rng *rng)
{
	static const char *const spaces[] = {"", "", "", " ", "\n", "\r\t "};
	add(t, spaces[rng_below(rng, 6)]);
}

static void
add_string(struct text *t, struct rng *rng)
{
	static const char *const pieces[] = {"a", "]", "}", ",", ":", "\\\"", "\\\\",
	    "\\n", "\\/", "\\u00e9", "\\u0041", "\\uD83D\\uDe00", "\xC3\xA9",
	    "\xE2\x82\xAC", "\xF0\x9F\x98\x80", " "};
	add(t, "\"");
	for (uint64_t n = rng_below(rng, 6); n > 0; n--)
		add(t, pieces[rng_below(rng, 16)]);
	add(t, "\"");
}

static void
add_value(struct text *t, struct rng *rng, int depth)
{
	static const char *const words[] = {"null", "true", "false"};
	uint64_t kind = rng_below(rng, depth < 5 && t->n < 5000 ? 10 : 6);
	char number[128];
	add_space(t, rng);
	if (kind < 2) {
		add(t, words[rng_below(rng, 3)]);
	} else if (kind < 4) {
		random_number(rng, number, sizeof number);
		add(t, number);
	} else if (kind < 6) {
		add_string(t, rng);
	} else {
		bool object = kind < 8;
		add(t, object ? "{" : "[");
		add_space(t, rng);
		for (uint64_t i = 0, n = rng_below(rng, 6); i < n; i++) {
			add(t, i > 0 ? "," : "");
			add_space(t, rng);
			if (object) {
				add_string(t, rng);
				add_space(t, rng);
				add(t, ":");
			}
			add_value(t, rng, depth + 1);
		}
		add(t, object ? "}" : "]");
	}
	add_space(t, rng);
}

/* Random documents, and the same with bytes changed: what we accept, cJSON reads as
 * the same tree. */
static void
test_against_cjson(void **state)
{
	(void)state;
	static struct text t;
	struct rng rng;
	size_t accepted = 0, refused = 0;
	rng_init(&rng, test_seed(), 2);
	for (int i = 0; i < 20000; i++) {
		t.n = 0;
		add_value(&t, &rng, 0);
		bool broken = i % 2 == 1;
		if (broken)
			t.bytes[rng_below(&rng, t.n)] =
			    "{}[],:\"\\01eu \x80"[rng_below(&rng, 15)];
		char *copy = guard_copy(t.bytes, t.n);
		struct json root;
		struct error err;
		if (json_check(&root, copy, t.n, &err) == 0) {
			cJSON *tree = cJSON_ParseWithLength(copy, t.n);
			assert_non_null(tree);
			same(&root, tree);
			cJSON_Delete(tree);
			accepted++;
		} else {
			if (!broken)
				fail_msg("%.*s: %s", (int)t.n, t.bytes, err.text);
			refused++;
		}
		guard_free(copy, t.n);
	}
	assert_true(accepted > 10000 && refused > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_prefixes_and_flips),
	    cmocka_unit_test(test_walk),
	    cmocka_unit_test(test_u64),
	    cmocka_unit_test(test_floats),
	    cmocka_unit_test(test_floats_against_strtof),
	    cmocka_unit_test(test_long_numbers),
	    cmocka_unit_test(test_against_cjson),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
