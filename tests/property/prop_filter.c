/*
 * Random filters on random payloads against an evaluator that reads the documentation
 * word by word (tests/support/filters.h): the same points match, with and without an
 * index of text; texts end at an unreadable page.  Both answers come up often enough to
 * mean something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/filter.h"
#include "tests/support/filters.h"
#include "tests/support/guard.h"

#define FILTERS 3000
#define PAYLOADS 60

struct stored {
	cJSON *json;
	char *text; /* guarded */
	size_t n;
	struct point_id id;
};

static char *
guarded(char *text, size_t *n)
{
	*n = strlen(text);
	char *copy = guard_copy(text, *n);
	free(text);
	return copy;
}

static void
make_payloads(struct stored *stored, struct rng *rng)
{
	struct json root;
	struct error err;

	for (size_t i = 0; i < PAYLOADS; i++) {
		stored[i].json = filters_payload(rng);
		stored[i].text =
		    guarded(filters_print(rng, stored[i].json), &stored[i].n);
		stored[i].id = filters_id(rng_below(rng, FILTERS_IDS));
		assert_int_equal(
		    json_check(&root, stored[i].text, stored[i].n, &err), 0);
	}
}

static struct filter *
parse(const char *text, size_t n, const struct db_field *fields, size_t n_fields)
{
	struct json root;
	struct error err;

	if (json_check(&root, text, n, &err) != 0)
		fail_msg("%s: %.*s", err.text, (int)n, text);
	struct filter *filter = filter_new(&root, fields, n_fields, &err);
	if (!filter)
		fail_msg("%s: %.*s", err.text, (int)n, text);
	return filter;
}

static void
filters_match_as_documented(void **state)
{
	struct stored stored[PAYLOADS];
	struct rng rng;
	struct error err;
	size_t n_yes = 0, n_no = 0;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	struct db_field field = {.type = DB_FIELD_TEXT, .path = path_new("a", 1, &err)};
	assert_non_null(field.path);
	for (int round = 0; round < FILTERS; round++) {
		if (round % 100 == 0)
			make_payloads(stored, &rng);
		bool words = round % 2 == 1;
		cJSON *wanted = filters_filter(&rng);
		size_t n;
		char *text = guarded(filters_print(&rng, wanted), &n);
		struct filter *filter = parse(text, n, &field, words);
		for (size_t i = 0; i < PAYLOADS; i++) {
			bool yes = filters_match(
			    wanted, &stored[i].id, stored[i].json, words ? "a" : NULL);
			if (filter_match(filter, &stored[i].id, stored[i].text,
				stored[i].n) != yes)
				fail_msg("expected %d: %.*s on %.*s", yes, (int)n, text,
				    (int)stored[i].n, stored[i].text);
			n_yes += yes;
			n_no += !yes;
		}
		filter_free(filter);
		guard_free(text, n);
		cJSON_Delete(wanted);
		for (size_t i = 0; round % 100 == 99 && i < PAYLOADS; i++) {
			cJSON_Delete(stored[i].json);
			guard_free(stored[i].text, stored[i].n);
		}
	}
	path_free((struct path *)(uintptr_t)field.path);
	printf("%zu matched, %zu did not\n", n_yes, n_no);
	assert_true(n_yes > FILTERS * PAYLOADS / 10 && n_no > FILTERS * PAYLOADS / 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(filters_match_as_documented),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
