/*
 * Claims: nDCG and recall are trec_eval's: equal to cases worked out by hand and to the
 * golden figures that pytrec_eval printed for random judgements and rankings
 * (tests/golden/trec.py made tests/golden/trec.txt), queries without a relevant
 * document and documents that are nowhere included; overlap is what its header says.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/trec.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static void
test_by_hand(void **state)
{
	(void)state;
	const struct trec_judgement list[] = {
	    {3, 1}, {5, 0}, {7, 2}, {8, -1}, {TREC_NOWHERE, 3}, {TREC_NOWHERE, 1}};
	const struct trec_judged judged = {list, 6};
	const uint32_t docs[] = {5, 7, 8, 3, 1};
	const struct trec_ranking all = {docs, 5};
	assert_int_equal(trec_relevant(judged), 4);
	/* 2 / log2 3 + 1 / log2 5; at best 3, 2, 1, 1. */
	double ideal = 3 + 2 / log2(3) + 1 / log2(4) + 1 / log2(5);
	NEAR(trec_ndcg(all, judged, 10), (2 / log2(3) + 1 / log2(5)) / ideal);
	NEAR(trec_ndcg(all, judged, 2), (2 / log2(3)) / (3 + 2 / log2(3)));
	NEAR(trec_ndcg(all, judged, 1), 0);
	NEAR(trec_recall(all, judged, 10), 0.5);
	NEAR(trec_recall(all, judged, 3), 0.25);
	NEAR(trec_recall(all, judged, 1), 0);

	const struct trec_ranking none = {docs, 0};
	NEAR(trec_ndcg(none, judged, 10), 0);
	NEAR(trec_recall(none, judged, 10), 0);
	const struct trec_judged useless = {list + 1, 1};
	NEAR(trec_ndcg(all, useless, 10), 0);
	NEAR(trec_recall(all, useless, 10), 0);
	/* The best ranking there is. */
	const uint32_t best[] = {7, 3};
	const struct trec_judged two = {list, 4};
	NEAR(trec_ndcg((struct trec_ranking){best, 2}, two, 10), 1);
}

static void
test_overlap(void **state)
{
	(void)state;
	const uint32_t a[] = {1, 2, 3, 4}, b[] = {4, 9, 1, 2};
	const struct trec_ranking x = {a, 4}, y = {b, 4}, none = {a, 0};
	NEAR(trec_overlap(x, y, 4), 0.75);
	NEAR(trec_overlap(x, y, 2), 0);
	NEAR(trec_overlap(x, y, 3), 1.0 / 3);
	NEAR(trec_overlap(x, x, 100), 1);
	NEAR(trec_overlap(none, x, 10), 0);
	NEAR(trec_overlap(x, none, 10), 1);
	/* A short corpus: two documents are all there is to find. */
	NEAR(trec_overlap(x, (struct trec_ranking){a, 2}, 10), 1);
}

static int
compare_docs(const void *a, const void *b)
{
	const struct trec_judgement *x = a, *y = b;
	return x->doc < y->doc ? -1 : x->doc > y->doc;
}

/* A line: judgements "doc:grade ...", then "|", the ranking, "|", three figures. */
static void
check_golden(char *line)
{
	struct trec_judgement list[64];
	uint32_t docs[256];
	size_t n = 0, m = 0;
	double want[3];
	char *rest, *part = strtok_r(line, "|", &rest), *inner;
	for (char *f = strtok_r(part, " ", &inner); f;
	     f = strtok_r(NULL, " ", &inner)) {
		unsigned doc;
		int grade;
		assert_int_equal(sscanf(f, "%u:%d", &doc, &grade), 2);
		assert_true(n < 64);
		list[n++] = (struct trec_judgement){doc, grade};
	}
	part = strtok_r(NULL, "|", &rest);
	assert_non_null(part);
	for (char *f = strtok_r(part, " ", &inner); f;
	     f = strtok_r(NULL, " ", &inner)) {
		assert_true(m < 256);
		docs[m++] = (uint32_t)strtoul(f, NULL, 10);
	}
	assert_int_equal(sscanf(rest, "%lf %lf %lf", &want[0], &want[1], &want[2]), 3);
	qsort(list, n, sizeof list[0], compare_docs);
	struct trec_judged judged = {list, n};
	struct trec_ranking ranking = {docs, m};
	NEAR(trec_ndcg(ranking, judged, 10), want[0]);
	NEAR(trec_recall(ranking, judged, 10), want[1]);
	NEAR(trec_recall(ranking, judged, 100), want[2]);
}

static void
test_golden(void **state)
{
	(void)state;
	char line[8192];
	size_t checked = 0;
	FILE *file = fopen("tests/golden/trec.txt", "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file) != NULL) {
		if (line[0] == '#')
			continue;
		check_golden(line);
		checked++;
	}
	fclose(file);
	assert_true(checked >= 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_by_hand),
	    cmocka_unit_test(test_overlap),
	    cmocka_unit_test(test_golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
