#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/api_group.h"
#include "server/api_query.h"

/* A search made ready for a collection. */

static int
check_using(const struct api_query *query, const struct collection *collection,
    struct error *err)
{
	char name[COLLECTION_NAME_MAX + 1];
	const char *want = collection_settings(collection)->vector;

	if (!query->using.text || query->using.type == JSON_NULL)
		return 0;
	if (api_string(name, sizeof name, &query->using, "using", err))
		return -1;
	if (strcmp(name, want) != 0)
		return error_set(err, ERR_INPUT,
		    "using: expected the collection's vector name '%.80s', not '%.80s'",
		    want, name);
	return 0;
}

/* "params": {"bits": b, "exact": true}; its other members steer what does not exist
 * here. */
int
api_query_params_read(struct api_query_params *out, const struct json *root,
    const struct collection *collection, struct error *err)
{
	uint32_t bits = collection_settings(collection)->shape.bits;
	struct json params, value;
	uint64_t planes;
	int has = api_member(&params, root, "params", JSON_OBJECT, err);

	*out = (struct api_query_params){0};
	if (has <= 0)
		return has;
	if (json_member(&params, "exact", &value) && value.type != JSON_NULL) {
		if (value.type != JSON_TRUE && value.type != JSON_FALSE)
			return error_set(err, ERR_INPUT,
			    "params.exact: expected true or false, not %s",
			    json_type_name(value.type));
		out->exact = value.type == JSON_TRUE;
	}
	if (!json_member(&params, "bits", &value) || value.type == JSON_NULL)
		return 0;
	if (api_count(
		&planes, &value, "params.bits (those of the collection)", 1, bits, err))
		return -1;
	out->planes = (uint32_t)planes;
	return 0;
}

struct progressive *
api_query_progressive(
    const struct api_query_params *params, const struct collection *collection)
{
	return params->exact || params->planes > 0 ? NULL
						   : collection_progressive(collection);
}

static int
room_without(struct api_query *query, size_t n, struct error *err)
{
	query->n_without = 0;
	query->without = array_new(n, sizeof *query->without);
	return query->without
		   ? 0
		   : error_set(err, ERR_MEMORY, "no memory for %zu point ids", n);
}

/* *row := the stored point with this id, which is no hit. */
static int
find_point(struct api_query *query, const struct api_coder *coder, struct api_row *row,
    struct db_txn *txn, const struct json *value, struct error *err)
{
	struct point_id *id = &query->without[query->n_without];
	uint32_t collection = collection_codes(coder->collection)->collection, slot;
	struct db_code code = {.wire = NULL};
	bool found = false;

	if (point_id_parse(id, value, err) ||
	    db_slot(txn, collection, id, &found, &slot, err) ||
	    (found && collection_code(txn, coder->collection, slot, &row->version,
			  &found, &code, err)))
		return -1;
	if (!found)
		return error_set(err, ERR_NOT_FOUND, "no point with id %.*s",
		    value->len < 80 ? (int)value->len : 80, value->text);
	query->n_without++;
	row->wire = code.wire;
	row->factor = code.factor;
	row->norm2 = code.norm2;
	return 0;
}

static int
prepare_point(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    struct error *err)
{
	struct api_row row = {.wire = NULL};

	if (room_without(query, 1, err) ||
	    find_point(query, coder, &row, txn, &query->what, err))
		return error_prefix(err, "query");
	return api_coder_stored(coder, query->queries, &row, err);
}

/* ---- recommendations ---- */

/* coder->vector := an example: a point's, or what stands there. */
static int
read_example(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    const struct json *value, struct error *err)
{
	struct api_row row = {.wire = NULL};

	if (value->type == JSON_NUMBER || value->type == JSON_STRING) {
		if (find_point(query, coder, &row, txn, value, err))
			return -1;
		api_coder_decode(coder, &row);
		return 0;
	}
	int rc = api_coder_query(coder, query->queries, value, err);
	return rc <= 0 ? rc
		       : error_set(err, ERR_UNSUPPORTED,
			     "texts as examples are not served; use point ids, vectors "
			     "or codes");
}

/* sum += weight * the mean of the examples in the list called `name`. */
static int
add_examples(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    const struct json *list, const char *name, double weight, double *sum,
    struct error *err)
{
	uint32_t size = collection_settings(coder->collection)->size;
	struct json_walk walk = json_walk(list);
	size_t n = json_count(list);

	for (size_t i = 0; json_next(&walk); i++) {
		if (read_example(query, coder, txn, &walk.value, err))
			return error_prefix(err, "%s[%zu]", name, i);
		for (uint32_t d = 0; d < size; d++)
			sum[d] += weight / (double)n * (double)coder->vector[d];
	}
	return 0;
}

/* {"positive": [...], "negative": [...]}: either may be missing, not both. */
struct examples {
	struct json positive, negative; /* arrays where n > 0 */
	size_t n_positive, n_negative;
};

static int
read_examples(
    struct examples *examples, const struct json *recommend, struct error *err)
{
	struct json strategy;
	size_t n;

	if (recommend->type != JSON_OBJECT)
		return error_set(err, ERR_INPUT,
		    "expected an object with 'positive' and 'negative', not %s",
		    json_type_name(recommend->type));
	int positive =
	    api_member(&examples->positive, recommend, "positive", JSON_ARRAY, err);
	int negative = positive < 0 ? -1
				    : api_member(&examples->negative, recommend,
					  "negative", JSON_ARRAY, err);
	int has = negative < 0
		      ? -1
		      : api_member(&strategy, recommend, "strategy", JSON_STRING, err);
	if (has < 0)
		return -1;
	if (has && !json_equals(&strategy, "average_vector"))
		return error_set(err, ERR_UNSUPPORTED,
		    "strategy %.*s is not served; use \"average_vector\"",
		    strategy.len < 40 ? (int)strategy.len : 40, strategy.text);
	examples->n_positive = positive ? json_count(&examples->positive) : 0;
	examples->n_negative = negative ? json_count(&examples->negative) : 0;
	n = examples->n_positive + examples->n_negative;
	if (examples->n_positive == 0)
		return error_set(
		    err, ERR_INPUT, "expected at least one example in 'positive'");
	if (n > API_QUERY_EXAMPLES_MAX)
		return error_set(err, ERR_INPUT,
		    "expected at most %d examples, not %zu", API_QUERY_EXAMPLES_MAX, n);
	return 0;
}

/* As Qdrant's average_vector: the mean of the positive, and as far beyond it as it is
 * from the mean of the negative. */
static int
average(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    const struct examples *examples, double *sum, struct error *err)
{
	bool both = examples->n_negative > 0;

	if (add_examples(query, coder, txn, &examples->positive, "positive",
		both ? 2 : 1, sum, err))
		return -1;
	if (both && add_examples(query, coder, txn, &examples->negative, "negative", -1,
			sum, err))
		return -1;
	for (uint32_t d = 0; d < collection_settings(coder->collection)->size; d++)
		coder->vector[d] = (float)sum[d];
	return api_coder_normalise(coder, err) ||
		       api_coder_vector(coder, query->queries, err)
		   ? -1
		   : 0;
}

static int
prepare_recommend(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    struct error *err)
{
	struct examples examples;
	double *sum = NULL;
	int rc = read_examples(&examples, &query->what, err);

	if (rc == 0)
		rc =
		    room_without(query, examples.n_positive + examples.n_negative, err);
	if (rc == 0) {
		sum = array_new(
		    collection_settings(coder->collection)->size, sizeof *sum);
		rc = sum ? average(query, coder, txn, &examples, sum, err)
			 : error_set(err, ERR_MEMORY, "no memory for a query");
	}
	free(sum);
	return rc == 0 ? 0 : error_prefix(err, "recommend");
}

/* ---- all ---- */

int
api_query_prepare(struct api_query *query, struct api_coder *coder, struct db_txn *txn,
    struct error *err)
{
	const struct collection *collection = coder->collection;

	api_query_end(query);
	if (api_select_check(&query->select, collection, err) ||
	    check_using(query, collection, err) ||
	    api_query_params_read(&query->params, &query->root, collection, err))
		return -1;
	coder->planes = query->params.planes;
	query->queries = array_new_aligned(
	    collection_n_versions(collection), sizeof *query->queries);
	if (!query->queries)
		return error_set(err, ERR_MEMORY, "no memory for a query");
	if (query->recommend)
		return prepare_recommend(query, coder, txn, err);
	if (api_query_names_points(query))
		return prepare_point(query, coder, txn, err);
	int rc = api_coder_query(coder, query->queries, &query->what, err);
	query->is_text = rc == 1;
	query->text = coder->texts->n - 1;
	return rc;
}

size_t
api_query_rows(const struct api_query *query, const struct collection *collection)
{
	return api_group_rows(
	    query->limit + query->offset + query->n_without, collection);
}

void
api_query_end(struct api_query *query)
{
	store_release(query->search.snapshot);
	query->search.snapshot = NULL;
	free(query->queries);
	query->queries = NULL;
	free(query->hits);
	query->hits = NULL;
	free(query->without);
	query->without = NULL;
	query->n_without = 0;
	query->is_text = false;
}
