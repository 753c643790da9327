#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "client/beir.h"
#include "client/lines.h"

/* One line of the file, while they are put in order. */
struct judgement {
	uint32_t query;
	uint32_t doc;
	int32_t grade;
	uint32_t line;
};

struct reading {
	struct judgement *list;
	size_t n;
	size_t room;
	size_t n_unknown_docs;
	size_t n_unknown_queries;
};

static bool
parse_grade(int32_t *grade, const char *text)
{
	char *end;
	errno = 0;
	long v = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || v < -1000000 || v > 1000000)
		return false;
	*grade = (int32_t)v;
	return true;
}

/* Split at tabs (or, where there are none, at spaces); at most 5 fields are told. */
static size_t
split(char *fields[5], char *line)
{
	const char *separator = strchr(line, '\t') != NULL ? "\t" : " ";
	size_t n = 0;
	char *rest;
	for (char *f = strtok_r(line, separator, &rest); f != NULL && n < 5;
	     f = strtok_r(NULL, separator, &rest))
		fields[n++] = f;
	return n;
}

static int
add(struct reading *r, const struct judgement *j, struct error *err)
{
	if (r->n == r->room) {
		size_t room = r->room == 0 ? 4096 : r->room * 2;
		void *list = array_resize(r->list, room, sizeof *r->list);
		if (list == NULL)
			return error_set(err, ERR_MEMORY, "no memory for judgements");
		r->list = list;
		r->room = room;
	}
	r->list[r->n++] = *j;
	return 0;
}

static int
parse_line(struct reading *r, char *line, uint64_t number,
    const struct beir_texts *corpus, const struct beir_texts *queries,
    struct error *err)
{
	char *fields[5];
	struct judgement j = {.line = (uint32_t)number};
	size_t n = split(fields, line);
	bool right = n == 3 || n == 4;
	if (!right || !parse_grade(&j.grade, fields[n - 1])) {
		if (right && number == 1)
			return 0; /* a heading */
		return error_set(err, ERR_FORMAT,
		    "expected query-id, doc-id and a whole number as grade between "
		    "tabs");
	}
	j.query = beir_find(queries, fields[0]);
	j.doc = beir_find(corpus, fields[n - 2]);
	if (j.query == TREC_NOWHERE) {
		r->n_unknown_queries++;
		return 0;
	}
	r->n_unknown_docs += j.doc == TREC_NOWHERE;
	return add(r, &j, err);
}

static int
read_all(struct reading *r, const char *path, const struct beir_texts *corpus,
    const struct beir_texts *queries, struct error *err)
{
	char *line;
	size_t len;
	int rc;
	struct lines *lines = lines_open(path, err);
	if (lines == NULL)
		return -1;
	while ((rc = lines_next(lines, &line, &len, err)) == 1) {
		if (len == 0)
			continue;
		rc = parse_line(r, line, lines_number(lines), corpus, queries, err);
		if (rc == -1) {
			error_prefix(err, "%s:%llu", path,
			    (unsigned long long)lines_number(lines));
			break;
		}
	}
	lines_close(lines);
	return rc;
}

static int
compare(const void *a, const void *b)
{
	const struct judgement *x = a, *y = b;
	if (x->query != y->query)
		return x->query < y->query ? -1 : 1;
	if (x->doc != y->doc)
		return x->doc < y->doc ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* The ordered lines as judgements and as a list of queries. */
static int
arrange(struct beir_qrels *qrels, const struct reading *r, const char *path,
    struct error *err)
{
	qrels->list = array_new(r->n, sizeof *qrels->list);
	qrels->queries = array_new(r->n, sizeof *qrels->queries);
	if (qrels->list == NULL || qrels->queries == NULL)
		return error_set(err, ERR_MEMORY, "no memory for judgements");
	for (size_t i = 0; i < r->n; i++) {
		const struct judgement *j = &r->list[i];
		if (i == 0 || j->query != j[-1].query)
			qrels->queries[qrels->n_queries++] =
			    (struct beir_query){.query = j->query, .first = i};
		else if (j->doc != TREC_NOWHERE && j->doc == j[-1].doc)
			return error_set(err, ERR_FORMAT,
			    "%s:%u: expected a document to be judged once for a query, "
			    "but line %u judges it too",
			    path, j->line, j[-1].line);
		qrels->queries[qrels->n_queries - 1].n++;
		qrels->list[i] = (struct trec_judgement){j->doc, j->grade};
	}
	qrels->n = r->n;
	return 0;
}

int
beir_qrels_load(struct beir_qrels *qrels, const char *path,
    const struct beir_texts *corpus, const struct beir_texts *queries,
    struct error *err)
{
	struct reading r = {.list = NULL};
	*qrels = (struct beir_qrels){.list = NULL};
	int rc = read_all(&r, path, corpus, queries, err);
	if (rc == 0 && r.n == 0)
		rc = error_set(err, ERR_FORMAT,
		    "%s: expected judgements of queries in the queries' file, found "
		    "none",
		    path);
	else if (rc == 0) {
		qsort(r.list, r.n, sizeof *r.list, compare);
		rc = arrange(qrels, &r, path, err);
	}
	qrels->n_unknown_docs = r.n_unknown_docs;
	qrels->n_unknown_queries = r.n_unknown_queries;
	free(r.list);
	if (rc == -1)
		beir_qrels_free(qrels);
	return rc;
}

void
beir_qrels_free(struct beir_qrels *qrels)
{
	free(qrels->list);
	free(qrels->queries);
	*qrels = (struct beir_qrels){.list = NULL};
}
