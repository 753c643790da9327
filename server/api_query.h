#ifndef SERVER_API_QUERY_H
#define SERVER_API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api.h"
#include "server/api_filter.h"
#include "server/api_select.h"
#include "server/api_vector.h"

/*
 * One search of a request: read from its JSON (api_query_read), made ready for a
 * collection (api_query_prepare), searched, and answered (api_query_answer).
 * server/api_query.c takes the searches of a request through these steps.
 *
 * Part of a request's state, owner only but while it is searched.  Start from {0}.
 */
#define API_QUERY_LIMIT_DEFAULT 10
#define API_QUERY_EXAMPLES_MAX 1000 /* of a recommendation */

/* How a search is spelled, and its answer. */
enum api_query_form {
	API_QUERY_NEW,       /* "query"; {"points": [hits]} */
	API_QUERY_OLD,       /* "vector" (points/search); [hits] */
	API_QUERY_RECOMMEND, /* "positive", "negative" (points/recommend); [hits] */
};

/* "params" of a search. */
struct api_query_params {
	uint32_t planes; /* of the codes that are read; 0 = all */
	bool exact;      /* whole codes of all rows, in any case */
};

struct api_query {
	enum api_query_form form;
	struct json root;  /* the whole */
	struct json what;  /* the vector, text, code or id; or what is recommended */
	bool recommend;    /* by examples */
	struct json using; /* a vector's name; no text: none */
	size_t limit, offset;
	bool has_threshold;
	float threshold;
	struct api_select select;

	/* For the collection as it is by now: */
	struct api_query_params params;
	struct point_id *without; /* (n_without): points that are no hits */
	size_t n_without;
	struct distance_query *queries; /* one for each version of its codes */
	bool is_text;                   /* queries are to be made of text number... */
	size_t text;
	struct api_filter *filter; /* borrowed */
	struct hit *hits;
	struct batch_search search;
};

/* Read a search; JSON and config are borrowed.  ERR_INPUT, ERR_UNSUPPORTED. */
int api_query_read(struct api_query *query, const struct json *root,
    enum api_query_form form, const struct config *config, struct error *err);

/* *params := what the body of a search or of a self-check says for this collection.
 * ERR_INPUT. */
int api_query_params_read(struct api_query_params *params, const struct json *root,
    const struct collection *collection, struct error *err);

/* For struct flat_search; NULL where all is to be read. */
struct progressive *api_query_progressive(
    const struct api_query_params *params, const struct collection *collection);

/* Whether it names points whose codes are to be read. */
bool api_query_names_points(const struct api_query *query);

/* Make the queries for the coder's collection; sets coder->planes.  1 if a text is to
 * be embedded first, which is the last of coder->texts.  txn is of the moment when the
 * collection was looked up, and may be NULL where no point is named.  ERR_NOT_FOUND
 * (point, model) and as api_coder_query. */
int api_query_prepare(struct api_query *query, struct api_coder *coder,
    struct db_txn *txn, struct error *err);

/* Rows to ask for at first. */
size_t api_query_rows(
    const struct api_query *query, const struct collection *collection);

/* Append the hits of what was searched.  *more := rows to ask for if these may have
 * left out points, and then nothing is appended; else 0. */
int api_query_answer(struct text *out, size_t *more, const struct api_query *query,
    const struct api *api, const struct collection *collection, struct error *err);

/* Give back what it has for a collection. */
void api_query_end(struct api_query *query);

#endif /* SERVER_API_QUERY_H */
