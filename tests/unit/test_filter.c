/*
 * Claims: each condition of server/filter.h matches as it is written there, value by
 * value; whatever else stands in a filter is refused with a message that names it; the
 * limits hold, and filters just below them work, on flat and on deep ones; a filter is
 * made or refused whichever allocation fails, and nothing leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/text.h"
#include "server/filter.h"
#include "tests/support/guard.h"

static const char payload[] =
    "{\"n\": 5, \"f\": 1.0, \"s\": \"Red Bird\", \"e\": \"caf\\u00e9 \\\"au\\\" lait\","
    " \"t\": true, \"no\": false, \"null\": null, \"empty\": [], \"nulls\": [null],"
    " \"list\": [1, 2.5, \"x\", true, null], \"deep\": [[7], [8]], \"big\": "
    "9223372036854775807, \"bigger\": 9223372036854775808, \"zero\": -0,"
    " \"o\": {\"a\": 1, \"b\": {\"c\": \"z\"}, \"d.e\": 4},"
    " \"twice\": 1, \"twice\": 2, \"abab\": \"abababac\","
    " \"diet\": [{\"food\": \"leaves\", \"likes\": false}, {\"food\": \"meat\", "
    "\"likes\": true, \"parts\": [{\"k\": 1}, {\"k\": 2}]}], \"m\\u00fcn\": 3}";

struct claim {
	const char *filter;
	bool matches;
};

#define KEYED(key, rest) "{\"must\": {\"key\": \"" key "\", " rest "}}"
#define VALUE(key, v) KEYED(key, "\"match\": {\"value\": " v "}")
#define ANY(key, v) KEYED(key, "\"match\": {\"any\": [" v "]}")
#define EXCEPT(key, v) KEYED(key, "\"match\": {\"except\": [" v "]}")
#define TEXT(key, v) KEYED(key, "\"match\": {\"text\": \"" v "\"}")
#define RANGE(key, v) KEYED(key, "\"range\": {" v "}")
#define COUNT(key, v) KEYED(key, "\"values_count\": {" v "}")
#define EMPTY(key) "{\"must\": {\"is_empty\": {\"key\": \"" key "\"}}}"
#define NULLED(key) "{\"must\": {\"is_null\": {\"key\": \"" key "\"}}}"
#define NESTED(key, f) \
	"{\"must\": {\"nested\": {\"key\": \"" key "\", \"filter\": " f "}}}"
#define YES "{\"key\": \"n\", \"match\": {\"value\": 5}}"
#define NO "{\"key\": \"n\", \"match\": {\"value\": 6}}"

static const struct claim claims[] = {
    /* lists */
    {"{}", true},
    {"{\"must\": []}", true},
    {"{\"should\": []}", true},
    {"{\"must_not\": []}", true},
    {"{\"must\": null, \"should\": null}", true},
    {"{\"must\": [" YES ", " YES "]}", true},
    {"{\"must\": [" YES ", " NO "]}", false},
    {"{\"must\": " NO "}", false},
    {"{\"should\": [" NO ", " YES "]}", true},
    {"{\"should\": [" NO ", " NO "]}", false},
    {"{\"must_not\": [" NO ", " NO "]}", true},
    {"{\"must_not\": [" NO ", " YES "]}", false},
    {"{\"must\": [" YES "], \"should\": [" NO "]}", false},
    {"{\"must\": [" YES "], \"must_not\": [" YES "]}", false},
    {"{\"must\": [{\"should\": [" NO ", {\"must_not\": " NO "}]}]}", true},
    {"{\"must\": [{}]}", true},
    {"{\"min_should\": {\"conditions\": [" YES ", " NO ", " YES "], \"min_count\": 2}}",
	true},
    {"{\"min_should\": {\"conditions\": [" YES ", " NO ", " NO "], \"min_count\": 2}}",
	false},
    {"{\"min_should\": {\"conditions\": [" YES "], \"min_count\": 2}}", false},
    {"{\"min_should\": {\"conditions\": [" NO "], \"min_count\": 0}}", true},
    {"{\"min_should\": {\"conditions\": [], \"min_count\": 3}}", true},
    /* match.value: types are exact */
    {VALUE("n", "5"), true},
    {VALUE("n", "\"5\""), false},
    {VALUE("f", "1"), false},
    {VALUE("s", "\"Red Bird\""), true},
    {VALUE("s", "\"red bird\""), false},
    {VALUE("s", "\"Red\""), false},
    {VALUE("e", "\"caf\\u00E9 \\u0022au\\\" lait\""), true},
    {VALUE("t", "true"), true},
    {VALUE("t", "false"), false},
    {VALUE("no", "false"), true},
    {VALUE("t", "1"), false},
    {VALUE("null", "0"), false},
    {VALUE("list", "1"), true},
    {VALUE("list", "\"x\""), true},
    {VALUE("list", "true"), true},
    {VALUE("list", "2"), false},
    {VALUE("deep", "7"), false},
    {VALUE("big", "9223372036854775807"), true},
    {VALUE("bigger", "9223372036854775807"), false},
    {VALUE("zero", "0"), true},
    {VALUE("none", "0"), false},
    {VALUE("twice", "1"), false},
    {VALUE("twice", "2"), true},
    /* keys */
    {VALUE("o.a", "1"), true},
    {VALUE("o.b.c", "\"z\""), true},
    {VALUE("o.\\\"d.e\\\"", "4"), true},
    {VALUE("\\\"o\\\".a", "1"), true},
    {VALUE("o.d.e", "4"), false},
    {VALUE("m\xC3\xBCn", "3"), true},
    {VALUE("diet.food", "\"meat\""), false},
    {VALUE("diet[].food", "\"meat\""), true},
    {VALUE("diet[1].food", "\"meat\""), true},
    {VALUE("diet[0].food", "\"meat\""), false},
    {VALUE("diet[2].food", "\"meat\""), false},
    {VALUE("diet[].parts[].k", "2"), true},
    {VALUE("deep[]", "8"), true},
    {VALUE("list[1]", "1"), false},
    {VALUE("n[]", "5"), false},
    /* any and except */
    {ANY("n", "4, 5"), true},
    {ANY("n", "4, 6"), false},
    {ANY("n", ""), false},
    {ANY("s", "\"a\", \"Red Bird\", \"z\""), true},
    {ANY("n", "\"5\""), false},
    {EXCEPT("n", "4"), true},
    {EXCEPT("n", "5"), false},
    {EXCEPT("n", ""), true},
    {EXCEPT("n", "\"5\""), true},
    {EXCEPT("f", "1"), true},
    {EXCEPT("list", "1"), true},
    {EXCEPT("null", "1"), false},
    {EXCEPT("nulls", "1"), false},
    {EXCEPT("empty", "1"), false},
    {EXCEPT("none", "1"), false},
    {EXCEPT("o", "1"), true},
    {EXCEPT("deep", "7"), true},
    {EXCEPT("t", "1"), true},
    /* text */
    {TEXT("s", "d B"), true},
    {TEXT("s", "bird"), false},
    {TEXT("s", ""), true},
    {TEXT("n", "5"), false},
    {TEXT("e", "\\u00e9 \\\"a"), true},
    {TEXT("abab", "ababac"), true},
    {TEXT("abab", "ababab"), true},
    {TEXT("abab", "abac"), true},
    {TEXT("abab", "abaca"), false},
    {TEXT("list", "x"), true},
    /* ranges */
    {RANGE("n", "\"gt\": 4, \"lt\": 6"), true},
    {RANGE("n", "\"gt\": 5"), false},
    {RANGE("n", "\"gte\": 5"), true},
    {RANGE("n", "\"lt\": 5.0"), false},
    {RANGE("n", "\"lte\": 5e0"), true},
    {RANGE("n", "\"gte\": 5, \"gt\": 5"), false},
    {RANGE("n", "\"gte\": 6, \"gt\": 4"), false},
    {RANGE("n", "\"lte\": 9, \"lt\": 5"), false},
    {RANGE("n", "\"gt\": 6, \"lt\": 4"), false},
    {RANGE("f", "\"gte\": 1, \"lte\": 1"), true},
    {RANGE("list", "\"gt\": 2, \"lt\": 3"), true},
    {RANGE("list", "\"gt\": 2.5"), false},
    {RANGE("n", "\"gte\": null"), true},
    {RANGE("n", ""), true},
    {RANGE("s", ""), false},
    {RANGE("t", ""), false},
    {RANGE("none", ""), false},
    {RANGE("bigger", "\"gt\": 9223372036854775807"), false},
    {RANGE("bigger", "\"gt\": 9e18"), true},
    {RANGE("zero", "\"gte\": 0"), true},
    /* counts */
    {COUNT("list", "\"gte\": 5, \"lte\": 5"), true},
    {COUNT("list", "\"gt\": 5"), false},
    {COUNT("n", "\"gte\": 1, \"lt\": 2"), true},
    {COUNT("null", "\"lt\": 1"), true},
    {COUNT("empty", "\"lte\": 0"), true},
    {COUNT("nulls", "\"gte\": 1"), true},
    {COUNT("none", "\"lt\": 1"), true},
    {COUNT("none", "\"gte\": 1"), false},
    {COUNT("diet[].parts", "\"gte\": 2"), true},
    /* nothing there */
    {EMPTY("none"), true},
    {EMPTY("null"), true},
    {EMPTY("empty"), true},
    {EMPTY("nulls"), false},
    {EMPTY("n"), false},
    {EMPTY("o"), false},
    {EMPTY("diet[].parts"), false},
    {EMPTY("diet[0].parts"), true},
    {EMPTY("nulls[]"), true},
    {KEYED("none", "\"is_empty\": true"), true},
    {KEYED("none", "\"is_empty\": false"), false},
    {KEYED("n", "\"is_empty\": false"), true},
    {NULLED("null"), true},
    {NULLED("nulls"), false},
    {NULLED("nulls[]"), true},
    {NULLED("none"), false},
    {NULLED("empty"), false},
    {KEYED("null", "\"is_null\": false"), false},
    {KEYED("none", "\"is_null\": false"), true},
    /* nested: one object has all of it */
    {NESTED("diet",
	 "{\"must\": [{\"key\": \"food\", \"match\": {\"value\": \"meat\"}}, "
	 "{\"key\": \"likes\", \"match\": {\"value\": true}}]}"),
	true},
    {NESTED("diet[]",
	 "{\"must\": [{\"key\": \"food\", \"match\": {\"value\": \"meat\"}}, "
	 "{\"key\": \"likes\", \"match\": {\"value\": false}}]}"),
	false},
    {NESTED("diet",
	 "{\"must\": {\"nested\": {\"key\": \"parts\", \"filter\": {\"must\": "
	 "{\"key\": \"k\", \"match\": {\"value\": 2}}}}}}"),
	true},
    {NESTED("diet", "{}"), true},
    {NESTED("o", "{}"), false},
    {NESTED("list", "{}"), false},
    {NESTED("none", "{}"), false},
    {"{\"must_not\": " /* no object with another food */
     "{\"nested\": {\"key\": \"diet\", \"filter\": {\"must_not\": {\"key\": \"food\", "
     "\"match\": {\"any\": [\"leaves\", \"meat\"]}}}}}}",
	true},
    /* ids */
    {"{\"must\": {\"has_id\": [1, 7, \"x\"]}}", true},
    {"{\"must\": {\"has_id\": [1, \"7\", \"x\"]}}", false},
    {"{\"must\": {\"has_id\": []}}", false},
    {"{\"must_not\": {\"has_id\": [7]}}", false},
};

static struct filter *
parse(const char *text, const struct db_field *fields, size_t n, struct error *err)
{
	struct json root;

	if (json_check(&root, text, strlen(text), err) != 0)
		fail_msg("%s: %s", err->text, text);
	return filter_new(&root, fields, n, err);
}

static bool
matches(const char *text, const struct db_field *fields, size_t n, const char *stored)
{
	struct point_id id;
	struct error err;
	struct filter *filter = parse(text, fields, n, &err);

	if (!filter)
		fail_msg("%s: %s", err.text, text);
	point_id_from_number(&id, 7);
	size_t len = strlen(stored);
	char *copy = guard_copy(stored, len);
	bool yes = filter_match(filter, &id, copy, len);
	guard_free(copy, len);
	filter_free(filter);
	return yes;
}

static void
conditions_match_as_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
		if (matches(claims[i].filter, NULL, 0, payload) != claims[i].matches)
			fail_msg(
			    "expected %d: %s", claims[i].matches, claims[i].filter);
	/* A point without payload is one with an empty object. */
	assert_true(matches(EMPTY("n"), NULL, 0, ""));
	assert_false(matches(VALUE("n", "5"), NULL, 0, ""));
	assert_true(matches("{}", NULL, 0, ""));
}

/* With an index of text, words count. */
static void
text_goes_by_words(void **state)
{
	static const struct {
		const char *text;
		bool matches;
	} texts[] = {
	    {"bird", true},
	    {"BIRD red", true},
	    {"red, (bird)!", true},
	    {"bir", false},
	    {"red blue", false},
	    {"\\u00c9T\\u00c9", true},
	    {"\xC3\xA9t\xC3\xA9 red", true}, /* from two strings of the list */
	    {"", false},
	    {"...", false},
	};
	struct error err;
	struct db_field field = {.type = DB_FIELD_TEXT, .path = path_new("w", 1, &err)};
	char filter[200];
	(void)state;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		snprintf(filter, sizeof filter,
		    "{\"must\": {\"key\": \"\\\"w\\\"\", \"match\": {\"text\": "
		    "\"%s\"}}}",
		    texts[i].text);
		if (matches(filter, &field, 1,
			"{\"w\": [\"Red bird-bath\", 3, \"\\u00e9t\xC3\xA9\"]}") !=
		    texts[i].matches)
			fail_msg("expected %d: %s", texts[i].matches, filter);
	}
	path_free((struct path *)(uintptr_t)field.path);
}

static const struct {
	const char *filter;
	enum error_code code;
	const char *says;
} refused[] = {
    {"[]", ERR_INPUT, "expected an object, not an array"},
    {"null", ERR_INPUT, "not null"},
    {"{\"most\": []}", ERR_INPUT, "not \"most\""},
    {YES, ERR_INPUT, "put conditions into must"},
    {"{\"must\": 5}", ERR_INPUT, "not a number"},
    {"{\"must\": [5]}", ERR_INPUT, "not a number"},
    {"{\"must\": [{\"key\": \"a\"}]}", ERR_INPUT, "beside key"},
    {"{\"must\": {\"match\": {\"value\": 1}}}", ERR_INPUT, "not match"},
    {"{\"must\": {\"has_id\": [1], \"must\": []}}", ERR_INPUT, "each of them alone"},
    {KEYED("a", "\"match\": {\"value\": 1}, \"range\": {}"), ERR_INPUT, "several"},
    {KEYED("a", "\"matsch\": 1"), ERR_INPUT, "not \"matsch\""},
    {"{\"must\": {\"key\": 5, \"match\": {\"value\": 1}}}", ERR_INPUT, "a string"},
    {VALUE("", "1"), ERR_INPUT, "expected a key"},
    {VALUE("a..b", "1"), ERR_INPUT, "a..b"},
    {VALUE("a[", "1"), ERR_INPUT, "a["},
    {VALUE("a[x]", "1"), ERR_INPUT, "a[x]"},
    {VALUE("a[-1]", "1"), ERR_INPUT, "a[-1]"},
    {VALUE("a[99999999999]", "1"), ERR_INPUT, "a[9"},
    {VALUE("[]", "1"), ERR_INPUT, "[]"},
    {VALUE("a.", "1"), ERR_INPUT, "a."},
    {VALUE("a]", "1"), ERR_INPUT, "a]"},
    {VALUE("\\\"a", "1"), ERR_INPUT, "\"a"},
    {VALUE("a", "1.0"), ERR_INPUT, "range"},
    {VALUE("a", "1e2"), ERR_INPUT, "1e2"},
    {VALUE("a", "9223372036854775808"), ERR_INPUT, "64 bits"},
    {VALUE("a", "[1]"), ERR_INPUT, "not an array"},
    {VALUE("a", "null"), ERR_INPUT, "expected value, any"},
    {ANY("a", "1, \"x\""), ERR_INPUT, "one type"},
    {ANY("a", "true"), ERR_INPUT, "not a boolean"},
    {ANY("a", "1.5"), ERR_INPUT, "1.5"},
    {KEYED("a", "\"match\": {\"any\": 5}"), ERR_INPUT, "an array"},
    {KEYED("a", "\"match\": {\"value\": 1, \"any\": [1]}"), ERR_INPUT, "several"},
    {KEYED("a", "\"match\": {\"like\": 1}"), ERR_INPUT, "not \"like\""},
    {KEYED("a", "\"match\": 5"), ERR_INPUT, "not a number"},
    {KEYED("a", "\"match\": [1]"), ERR_INPUT, "not an array"},
    {KEYED("a", "\"match\": {}"), ERR_INPUT, "not nothing"},
    {KEYED("a", "\"match\": {\"text\": 5}"), ERR_INPUT, "not a number"},
    {KEYED("a", "\"match\": {\"phrase\": \"x\"}"), ERR_UNSUPPORTED, "phrase"},
    {KEYED("a", "\"match\": {\"text_any\": \"x\"}"), ERR_UNSUPPORTED, "text_any"},
    {KEYED("a", "\"match\": {\"prefix\": \"x\"}"), ERR_UNSUPPORTED, "prefix"},
    {KEYED("a", "\"match\": {\"substring\": \"x\"}"), ERR_UNSUPPORTED, "substring"},
    {RANGE("a", "\"gt\": \"2020-01-01\""), ERR_UNSUPPORTED, "dates"},
    {RANGE("a", "\"gt\": true"), ERR_INPUT, "a number"},
    {RANGE("a", "\"eq\": 1"), ERR_INPUT, "not \"eq\""},
    {KEYED("a", "\"range\": 5"), ERR_INPUT, "an object"},
    {COUNT("a", "\"gt\": 1.5"), ERR_INPUT, "integer"},
    {COUNT("a", "\"gt\": -1"), ERR_INPUT, "integer"},
    {KEYED("a", "\"is_empty\": 1"), ERR_INPUT, "true or false"},
    {KEYED("a", "\"geo_radius\": {}"), ERR_UNSUPPORTED, "geo_radius"},
    {"{\"must\": {\"has_vector\": \"\"}}", ERR_UNSUPPORTED, "has_vector"},
    {"{\"must\": {\"is_empty\": {}}}", ERR_INPUT, "key"},
    {"{\"must\": {\"is_null\": {\"key\": \"a\", \"match\": {}}}}", ERR_INPUT, "key"},
    {"{\"must\": {\"nested\": {\"key\": \"a\"}}}", ERR_INPUT, "key and filter"},
    {"{\"must\": {\"nested\": {\"key\": \"a\", \"filter\": {}, \"x\": 1}}}", ERR_INPUT,
	"\"x\""},
    {NESTED("a", "{\"must\": {\"has_id\": [1]}}"), ERR_INPUT, "has_id"},
    {NESTED("a", YES), ERR_INPUT, "not key"},
    {"{\"must\": {\"has_id\": 1}}", ERR_INPUT, "an array"},
    {"{\"must\": {\"has_id\": [1.5]}}", ERR_INPUT, "point id"},
    {"{\"min_should\": {\"conditions\": []}}", ERR_INPUT, "min_count"},
    {"{\"min_should\": {\"conditions\": [], \"min_count\": -1}}", ERR_INPUT,
	"min_count"},
    {"{\"min_should\": {\"min_count\": 1}}", ERR_INPUT, "conditions"},
    {"{\"min_should\": []}", ERR_INPUT, "not an array"},
};

static void
the_rest_is_refused(void **state)
{
	struct error err;
	(void)state;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct filter *filter = parse(refused[i].filter, NULL, 0, &err);
		if (filter)
			fail_msg("accepted: %s", refused[i].filter);
		if (err.code != refused[i].code || !strstr(err.text, refused[i].says))
			fail_msg("%s\n\"%s\" (%d), which does not say \"%s\"",
			    refused[i].filter, err.text, err.code, refused[i].says);
	}
}

/* "HEAD" then n times "EACH" with commas, then "TAIL". */
static char *
repeated(const char *head, const char *each, size_t n, const char *tail)
{
	struct text text = {0};

	text_string(&text, head);
	for (size_t i = 0; i < n; i++) {
		text_string(&text, i > 0 ? "," : "");
		text_string(&text, each);
	}
	text_string(&text, tail);
	assert_false(text.failed);
	return text.bytes;
}

static void
limits_hold(void **state)
{
	static const struct {
		const char *head, *each, *tail;
		size_t n, too_many;
	} lists[] = {
	    {"{\"must\": [", YES, "]}", FILTER_CONDITIONS_MAX - 1, 10000},
	    {"{\"should\": [", YES, "]}", FILTER_CONDITIONS_MAX - 2, 10000},
	    {"{\"must\": {\"key\": \"n\", \"match\": {\"any\": [", "5", "]}}}", 500000,
		600000},
	};
	struct error err;
	(void)state;

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		char *text =
		    repeated(lists[i].head, lists[i].each, lists[i].n, lists[i].tail);
		assert_true(matches(text, NULL, 0, payload));
		free(text);
		text = repeated(
		    lists[i].head, lists[i].each, lists[i].too_many, lists[i].tail);
		assert_null(parse(text, NULL, 0, &err));
		assert_int_equal(err.code, ERR_TOO_LARGE);
		free(text);
	}
}

static void
failing_allocations_lose_nothing(void **state)
{
	static const char text[] =
	    "{\"must\": [" YES ", {\"key\": \"s\", \"match\": {\"text\": \"d B\"}}, "
	    "{\"key\": \"w\", \"match\": {\"text\": \"a b\"}}, {\"has_id\": [7, 8]}, "
	    "{\"nested\": {\"key\": \"diet\", \"filter\": {\"should\": [" NO ", " YES
	    "]}}}, {\"is_empty\": {\"key\": \"none\"}}, " YES ", " YES "]}";
	struct error err;
	struct db_field field = {.type = DB_FIELD_TEXT, .path = path_new("w", 1, &err)};
	struct filter *filter = NULL;
	long k = 0;
	(void)state;

	while (!filter) {
		array_fail_at(++k);
		filter = parse(text, &field, 1, &err);
		array_fail_at(0);
		assert_true(filter || err.code == ERR_MEMORY);
	}
	assert_true(k > 15);
	filter_free(filter);
	filter_free(NULL);
	path_free((struct path *)(uintptr_t)field.path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditions_match_as_written),
	    cmocka_unit_test(text_goes_by_words),
	    cmocka_unit_test(the_rest_is_refused),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(failing_allocations_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
