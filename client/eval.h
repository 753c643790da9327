#ifndef CLIENT_EVAL_H
#define CLIENT_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"
#include "binarize/recurrent.h"
#include "client/beir.h"
#include "client/remote.h"
#include "client/trec.h"

/* halftone eval: how well a server, or a model in this process, finds judged
 * documents.  Returns the exit code. */
int eval_main(int argc, char **argv);

/* The rest is between the files eval*.c.  Main thread only, which may open OpenMP
 * regions. */
#define EVAL_DEPTH 100 /* hits of a query that are looked at */

struct eval_task {
	struct beir_texts corpus;
	struct beir_texts queries;
	struct beir_qrels qrels;
};

/* What was found: for query i of task->qrels.queries counts[i] documents, best first,
 * at docs + i * EVAL_DEPTH. */
struct eval_ranks {
	uint32_t *docs;
	uint32_t *counts;
	size_t n_queries;
};

/* ERR_MEMORY. */
int eval_ranks_new(struct eval_ranks *ranks, size_t n_queries, struct error *err);
void eval_ranks_free(struct eval_ranks *ranks);
struct trec_ranking eval_ranks_of(const struct eval_ranks *ranks, size_t query);

/* Embeddings of texts, rows of length 1; a text that the model gives no meaning has
 * valid[i] = 0 and a row of zeros. */
struct eval_vectors {
	float *values;  /* (n, dims) */
	uint8_t *valid; /* (n) */
	size_t n;
	size_t dims;
};
struct eval_embedded {
	struct eval_vectors corpus;
	struct eval_vectors queries; /* those that have judgements, in their order */
};

/* Embed corpus and judged queries with the model in the folder `model`.  Errors as
 * encoder_open; ERR_NONE: stopped. */
int eval_embed(struct eval_embedded *embedded, const struct eval_task *task,
    const char *model, struct error *err);
void eval_embedded_free(struct eval_embedded *embedded);

/* Exact search by float inner products; equal ones in the order of the corpus. */
int eval_exact(
    struct eval_ranks *ranks, const struct eval_embedded *embedded, struct error *err);

/* Vectors of a file (base/vectors.h), at length 1; free *vectors also on failure.
 * ERR_FORMAT, and as vectors_open; ERR_NONE: stopped. */
int eval_vectors_load(
    struct eval_vectors *vectors, const char *path, struct error *err);
void eval_vectors_free(struct eval_vectors *vectors);

/* The same of a corpus and queries of as many dimensions. */
int eval_vectors_load_both(struct eval_embedded *embedded, const char *corpus,
    const char *queries, struct error *err);

/* The found documents as an .npy file of floats (n_queries, EVAL_DEPTH), best first, -1
 * where there are fewer.  Errors as vectors_save_close. */
int eval_ranks_save(
    const struct eval_ranks *ranks, const char *path, struct error *err);

struct eval_seconds {
	double encode; /* the corpus, on all processors */
	double search; /* all queries */
};

/* Search by codes in this process: the corpus coded by one model, and the queries asked
 * by the same or by one that searches its codes.  ERR_MEMORY; ERR_NONE: stopped. */
struct eval_models {
	const struct recurrent *corpus;
	const struct recurrent *queries;
};
int eval_search(struct eval_ranks *ranks, struct eval_seconds *seconds,
    const struct eval_models *models, const struct eval_embedded *embedded,
    struct error *err);

/* The same by files.  NULL: of `corpus`, the untrained binarizer; of `queries`, that of
 * the corpus.  shape->dims 0 = those that a learned one makes, else the corpus's
 * rounded up. */
struct eval_binarizers {
	const char *corpus;
	const char *queries;
};
int eval_codes(struct eval_ranks *ranks, struct eval_seconds *seconds,
    struct code_shape *shape, const struct eval_embedded *embedded,
    const struct eval_binarizers *binarizers, struct error *err);

struct eval_server {
	struct remote_address address;
	const char *text_model;
	const char *binarizer; /* NULL = the server's choice */
};

/* Import into a temporary collection, ask every judged query, drop the collection (on
 * failure and stop too).  shape: what is wished, 0 = the server's choice; then what
 * the collection has. */
int eval_remote(struct eval_ranks *ranks, struct code_shape *shape,
    const struct eval_task *task, const struct eval_server *server, struct error *err);

#endif /* CLIENT_EVAL_H */
