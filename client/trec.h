#ifndef CLIENT_TREC_H
#define CLIENT_TREC_H

#include <stddef.h>
#include <stdint.h>

/*
 * Retrieval measures of one query, as trec_eval defines them.
 *
 * A ranking is documents, best first, each at most once; a judgement is a document
 * and its grade, relevant if the grade is above 0; what is not judged is not
 * relevant.  Unlike trec_eval, which sorts a run again by score and then by name, a
 * ranking counts in the order in which it was returned.  Nothing allocates; any
 * thread may call.
 *
 * Source: trec_eval 9.0 (m_ndcg_cut.c, m_recall.c); Jarvelin & Kekalainen,
 * "Cumulated Gain-Based Evaluation of IR Techniques", ACM TOIS 20(4), 2002.
 */
#define TREC_K_MAX 1000

/* A judged document that is not in the corpus: it can never be found, but counts
 * among the relevant ones. */
#define TREC_NOWHERE UINT32_MAX

struct trec_judgement {
	uint32_t doc;
	int32_t grade;
};

struct trec_ranking {
	const uint32_t *docs; /* (n), best first */
	size_t n;
};

struct trec_judged {
	const struct trec_judgement *list; /* (n), by ascending doc */
	size_t n;
};

/* Relevant documents among the judged ones. */
size_t trec_relevant(struct trec_judged judged);

/* sum over ranks i = 1 .. k of grade_i / log2(i + 1), divided by the same sum of the
 * best possible ranking; 0 if nothing is relevant.  k <= TREC_K_MAX. */
double trec_ndcg(struct trec_ranking ranking, struct trec_judged judged, size_t k);

/* Share of the relevant documents among the first k; 0 if nothing is relevant. */
double trec_recall(struct trec_ranking ranking, struct trec_judged judged, size_t k);

/* Share of the first k of `exact` that are among the first k of `ranking` (not
 * trec_eval's): of min(k, exact.n) documents, 1 if there are none. */
double trec_overlap(struct trec_ranking ranking, struct trec_ranking exact, size_t k);

#endif /* CLIENT_TREC_H */
