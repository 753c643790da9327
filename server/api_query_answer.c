#include "server/api_group.h"
#include "server/api_query.h"

/* What a search has found, as JSON. */

/* The query that scores are told by: they mean the same for every version's codes. */
static const struct distance_query *
newest_query(const struct api_query *query, const struct collection *collection)
{
	return &query->queries[collection_n_versions(collection) - 1];
}

/* A walk over the hits. */
struct walk {
	const struct api *api;
	const struct api_query *query;
	const struct distance_query *scale; /* that scores are told by */
	struct api_group group;
	struct api_coder coder; /* for vectors alone */
	bool again;             /* out: more rows may have more points */
};

/* Euclid's scores are distances: there less is better. */
static bool
passes(const struct walk *walk, float score)
{
	const struct api_query *query = walk->query;
	bool is_distance = walk->scale->terms.metric == DISTANCE_EUCLID &&
			   walk->scale->kind != DISTANCE_HAMMING;

	if (!query->has_threshold)
		return true;
	return is_distance ? score <= query->threshold : score >= query->threshold;
}

/* The payload is with a point's first row. */
static int
add_payload(struct text *out, const struct walk *walk, const struct db_record *record,
    struct error *err)
{
	const struct api_select *select = &walk->query->select;
	const struct api_group *group = &walk->group;
	struct db_record first = *record;
	bool found = true;

	if (select->payload &&
	    db_record_first(group->txn, group->collection, &found, &first, err) != 0)
		return -1;
	if (!found)
		return error_set(
		    err, ERR_FORMAT, "a passage of a point without its first one");
	return api_select_payload(out, select, &first, err);
}

static int
add_hit(struct text *out, struct walk *walk, const struct db_record *record,
    const struct hit *hit, struct error *err)
{
	const struct store_snapshot *snapshot = walk->query->search.snapshot;
	struct api_coder *coder = &walk->coder;
	struct api_row row = {.wire = coder->wire};
	char printed[POINT_ID_PRINT_MAX];

	point_id_print(printed, &record->id);
	text_printf(out, "{\"id\":%s,\"version\":%llu,\"score\":", printed,
	    (unsigned long long)record->operation);
	text_float(out, distance_report(walk->scale, hit->score));
	api_group_passage(out, record);
	if (add_payload(out, walk, record, err) != 0)
		return -1;
	if (walk->query->select.vector &&
	    store_get(coder->wire, &row.factor, &row.norm2, snapshot, hit->slot)) {
		row.version = (size_t)store_part(snapshot, hit->slot);
		api_select_vector(out, &walk->query->select, coder, &row);
	}
	text_string(out, "}");
	return 0;
}

/* Whether the hit is its point's first, and matches the filter by now: 1, 0, -1. */
static int
is_hit(struct walk *walk, struct db_record *record, const struct hit *hit,
    struct error *err)
{
	const struct api_group *group = &walk->group;
	const struct api_filter *filter = walk->query->filter;
	int found = api_group_next(&walk->group, record, hit, err);

	if (found <= 0 || !filter)
		return found;
	return api_filter_holds(filter, group->txn, group->collection, record, err);
}

static int
add_hits(struct text *out, struct walk *walk, struct error *err)
{
	const struct api_query *query = walk->query;
	size_t counted = 0, end = query->offset + query->limit,
	       n = query->search.flat.n;
	size_t i = 0;

	/* When no point is left, other rows have nothing to add. */
	for (; i < n && counted < end && walk->group.n_left > 0; i++) {
		const struct hit *hit = &query->hits[i];
		struct db_record record;
		if (!passes(walk, distance_report(walk->scale, hit->score)))
			break;
		int found = is_hit(walk, &record, hit, err);
		if (found < 0)
			return -1;
		if (!found || counted++ < query->offset)
			continue;
		if (counted > query->offset + 1)
			text_string(out, ",");
		if (add_hit(out, walk, &record, hit, err) != 0 ||
		    api_fits(out, walk->api, API_SELECT_LESS, err) != 0)
			return -1;
	}
	walk->again = i == n && counted < end && walk->group.n_left > 0;
	return 0;
}

static int
add_result(struct text *out, struct walk *walk, const struct collection *collection,
    struct error *err)
{
	const struct api_query *query = walk->query;
	int rc = 0;

	if (query->select.vector)
		rc = api_coder_init(&walk->coder, walk->api, collection, NULL, err);
	if (rc == 0)
		rc = api_group_init(
		    &walk->group, query->search.flat.n, query->search.snapshot, err);
	if (rc == 0)
		rc = add_hits(out, walk, err);
	api_group_free(&walk->group);
	api_coder_free(&walk->coder);
	return rc;
}

int
api_query_answer(struct text *out, size_t *more, const struct api_query *query,
    const struct api *api, const struct collection *collection, struct error *err)
{
	const struct flat_search *flat = &query->search.flat;
	bool old = query->form != API_QUERY_NEW;
	size_t before = out->n;
	struct walk walk = {.api = api,
	    .query = query,
	    .scale = newest_query(query, collection),
	    .group = {.txn = db_begin_read(api->db, err),
		.collection = collection_codes(collection)->collection,
		.without = query->without,
		.n_without = query->n_without}};

	if (!walk.group.txn)
		return -1;
	text_string(out, old ? "[" : "{\"points\":[");
	int rc = add_result(out, &walk, collection, err);
	db_end(walk.group.txn);
	text_string(out, old ? "]" : "]}");
	*more = rc == 0 && walk.again
		    ? api_group_more(flat->n, flat->k, query->search.snapshot)
		    : 0;
	if (*more > 0)
		text_cut(out, before);
	return rc;
}
