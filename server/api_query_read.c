#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/api_query.h"

/* A search as it was sent. */

static int
read_limits(struct api_query *query, const struct config *config, struct error *err)
{
	struct json value;
	uint64_t limit = API_QUERY_LIMIT_DEFAULT, offset = 0, max = config->max_limit;
	int has;

	if (json_member(&query->root, "limit", &value) && value.type != JSON_NULL &&
	    api_count(&limit, &value, "limit (max_limit)", 1, max, err))
		return -1;
	if (json_member(&query->root, "offset", &value) && value.type != JSON_NULL &&
	    api_count(&offset, &value, "offset (max_limit)", 0, max, err))
		return -1;
	query->limit = limit;
	query->offset = offset;
	has = api_member(&value, &query->root, "score_threshold", JSON_NUMBER, err);
	if (has > 0)
		query->threshold = (float)json_double(&value);
	query->has_threshold = has > 0;
	return has < 0 ? -1 : 0;
}

/* Take {"nearest": X} or {"recommend": X} apart; other kinds are not served. */
static int
read_kind(struct api_query *query, struct error *err)
{
	static const char *const kinds[] = {"discover", "context", "fusion", "order_by",
	    "sample", "formula", "rrf", "mmr", "relevance_feedback"};
	struct json value = query->what, inner;

	if (value.type != JSON_OBJECT)
		return 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (json_member(&value, kinds[i], &inner) && inner.type != JSON_NULL)
			return error_set(err, ERR_UNSUPPORTED,
			    "query: '%s' is not served; use {\"nearest\": a vector, a "
			    "text, a code or a point id} or {\"recommend\"}",
			    kinds[i]);
	}
	if (json_member(&value, "recommend", &inner)) {
		query->recommend = true;
		query->what = inner;
	} else if (json_member(&value, "nearest", &inner)) {
		query->what = inner;
	}
	return 0;
}

/* "vector" is what is near, or {"name", "vector"}. */
static int
read_old(struct api_query *query, struct error *err)
{
	struct json inner;

	if (!json_member(&query->root, "vector", &query->what) ||
	    query->what.type == JSON_NULL)
		return error_set(err, ERR_INPUT,
		    "expected 'vector': numbers, or {\"name\", \"vector\"}");
	if (query->what.type == JSON_OBJECT &&
	    json_member(&query->what, "vector", &inner)) {
		json_member(&query->what, "name", &query->using);
		query->what = inner;
	}
	return 0;
}

static int
read_new(struct api_query *query, struct error *err)
{
	if (!json_member(&query->root, "query", &query->what) ||
	    query->what.type == JSON_NULL)
		return error_set(err, ERR_UNSUPPORTED,
		    "points without a 'query': use points/scroll; expected 'query': a "
		    "vector, {\"text\": ...}, a code, or a point id");
	json_member(&query->root, "using", &query->using);
	return read_kind(query, err);
}

/* The examples stand beside the rest. */
static int
read_recommend(struct api_query *query)
{
	json_member(&query->root, "using", &query->using);
	query->recommend = true;
	query->what = query->root;
	return 0;
}

#define IN_EVERY_FORM                                                               \
	"filter", "limit", "offset", "with_payload", "with_vector", "with_vectors", \
	    "score_threshold", "params", NULL
static const char *const members[][13] = {
    [API_QUERY_NEW] = {"query", "using", IN_EVERY_FORM},
    [API_QUERY_OLD] = {"vector", IN_EVERY_FORM},
    [API_QUERY_RECOMMEND] = {"positive", "negative", "strategy", "using",
	IN_EVERY_FORM},
};

int
api_query_read(struct api_query *query, const struct json *root,
    enum api_query_form form, const struct config *config, struct error *err)
{
	query->form = form;
	query->root = *root;
	if (api_members(root, members[form], err) || read_limits(query, config, err) ||
	    api_select_read(&query->select, root, err))
		return -1;
	return form == API_QUERY_NEW   ? read_new(query, err)
	       : form == API_QUERY_OLD ? read_old(query, err)
				       : read_recommend(query);
}

bool
api_query_names_points(const struct api_query *query)
{
	return query->recommend || query->what.type == JSON_NUMBER ||
	       query->what.type == JSON_STRING;
}
