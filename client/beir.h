#ifndef CLIENT_BEIR_H
#define CLIENT_BEIR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "client/trec.h"

/*
 * A retrieval test in the form of BEIR: a corpus, queries, and judgements.
 *
 * Corpus and queries are JSON lines {"id" or "_id", "title", "text"}; the text that is
 * embedded is title, space, text, without the space where one of them is missing or
 * empty.  Judgements are lines "query-id TAB doc-id TAB grade" (also BEIR's older
 * "query-id TAB 0 TAB doc-id TAB grade"); a first line whose grade is no number is a
 * heading.  Everything is read into memory.  Any thread may read.
 *
 * Source: Thakur et al., "BEIR", NeurIPS 2021, arXiv:2104.08663.
 */
struct beir_text {
	char *id;
	char *text; /* '\0' behind it */
	size_t len;
};

struct beir_texts {
	struct beir_text *items; /* in the order of the file */
	size_t n;
	uint32_t *by_id; /* (n) indexes, ordered by id */
};

/* ERR_NOT_FOUND, ERR_IO, ERR_FORMAT (file:line and what was expected; an id that
 * comes twice), ERR_MEMORY.  On failure *texts is empty. */
int beir_texts_load(struct beir_texts *texts, const char *path, struct error *err);
void beir_texts_free(struct beir_texts *texts);

/* The index of the text called `id`, or TREC_NOWHERE. */
uint32_t beir_find(const struct beir_texts *texts, const char *id);

/* The judgements, and the queries that have some. */
struct beir_qrels {
	struct trec_judgement *list; /* of one query after the other */
	size_t n;
	struct beir_query {
		uint32_t query; /* index in the queries' file */
		size_t first;   /* its judgements: list[first .. first + n - 1] */
		size_t n;
	} * queries; /* in the order of the queries' file */
	size_t n_queries;
	size_t n_unknown_docs; /* judgements of documents that the corpus lacks */
	size_t
	    n_unknown_queries; /* judgements (left out) of queries that are not there */
};

/* ERR_* as beir_texts_load; a document judged twice for a query is refused, and so are
 * judgements of which none belongs to a query. */
int beir_qrels_load(struct beir_qrels *qrels, const char *path,
    const struct beir_texts *corpus, const struct beir_texts *queries,
    struct error *err);
void beir_qrels_free(struct beir_qrels *qrels);

#endif /* CLIENT_BEIR_H */
