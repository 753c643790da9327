#include "client/trec.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

static int32_t
grade_of(uint32_t doc, struct trec_judged judged)
{
	size_t low = 0, high = judged.n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (judged.list[middle].doc < doc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < judged.n && judged.list[low].doc == doc ? judged.list[low].grade
							     : 0;
}

size_t
trec_relevant(struct trec_judged judged)
{
	size_t n = 0;
	for (size_t i = 0; i < judged.n; i++)
		n += judged.list[i].grade > 0;
	return n;
}

/* best (k) := the k highest grades above 0, descending; returns how many. */
static size_t
best_grades(int32_t *best, struct trec_judged judged, size_t k)
{
	size_t n = 0;
	for (size_t i = 0; i < judged.n; i++) {
		int32_t grade = judged.list[i].grade;
		if (grade <= 0 || (n == k && grade <= best[n - 1]))
			continue;
		size_t at = n < k ? n++ : n - 1;
		for (; at > 0 && best[at - 1] < grade; at--)
			best[at] = best[at - 1];
		best[at] = grade;
	}
	return n;
}

double
trec_ndcg(struct trec_ranking ranking, struct trec_judged judged, size_t k)
{
	int32_t best[TREC_K_MAX];
	double gain = 0, ideal = 0;
	assert(k >= 1 && k <= TREC_K_MAX);
	for (size_t i = 0; i < k && i < ranking.n; i++) {
		int32_t grade = grade_of(ranking.docs[i], judged);
		if (grade > 0)
			gain += (double)grade / log2((double)(i + 2));
	}
	size_t n = best_grades(best, judged, k);
	for (size_t i = 0; i < n; i++)
		ideal += (double)best[i] / log2((double)(i + 2));
	return ideal > 0 ? gain / ideal : 0;
}

double
trec_recall(struct trec_ranking ranking, struct trec_judged judged, size_t k)
{
	size_t relevant = trec_relevant(judged), found = 0;
	for (size_t i = 0; i < k && i < ranking.n; i++)
		found += grade_of(ranking.docs[i], judged) > 0;
	return relevant > 0 ? (double)found / (double)relevant : 0;
}

static bool
is_among(uint32_t doc, struct trec_ranking ranking, size_t k)
{
	for (size_t i = 0; i < k && i < ranking.n; i++) {
		if (ranking.docs[i] == doc)
			return true;
	}
	return false;
}

double
trec_overlap(struct trec_ranking ranking, struct trec_ranking exact, size_t k)
{
	size_t want = exact.n < k ? exact.n : k, found = 0;
	for (size_t i = 0; i < want; i++)
		found += is_among(exact.docs[i], ranking, k);
	return want > 0 ? (double)found / (double)want : 1;
}
