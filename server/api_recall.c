#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "index/progressive.h"
#include "server/api_query.h"

/*
 * POST /collections/{c}/recall: how much of what exact search finds do searches find,
 * and how much sooner.
 *
 * Each row of a sample is the query of two searches for its nearest others: as the
 * collection's settings and the request's params have it, and in the whole codes of all
 * rows.  In turns:
 *     worker: choose the sample, make a query -> scan thread -> worker: compare, make
 *     the next query
 * A request has one search in the scan thread's queue, so its times are those of single
 * searches and it does not shut out others.  The passages of a text are rows of their
 * own.
 */
#define SAMPLE_DEFAULT 100
#define SAMPLE_MAX 1000
#define SEED 6 /* the same rows give the same sample */

/* Searches of a progressive collection that may be exact because they teach. */
#define TEACHING (PROGRESSIVE_SAMPLES / PROGRESSIVE_HITS + 1)

enum way { AS_SET, EXACT, WAYS };

/* A row of the sample, as it was when that was chosen. */
struct row {
	uint32_t slot;
	struct api_row code;
};

struct found {
	struct hit *hits; /* room for the rows that are asked for */
	size_t n;
	double scan_s; /* of all searches so far */
};

struct recall {
	struct http_request *request;
	struct json root;
	size_t limit, wanted;

	/* For the collection as it is by now: */
	struct collection *collection;
	struct api_query_params params;
	struct api_coder coder;
	struct distance_query *queries;
	struct row *rows; /* (n) */
	uint8_t *wires;   /* (n, CODE_BYTES_MAX), of rows */
	size_t n;
	size_t teaching; /* searches to come that are not counted */

	size_t at; /* row under way */
	enum way way;
	struct batch_search search;
	struct found found[WAYS];
	size_t n_measured; /* rows that have others */
	double sum;        /* of their shares */
};

static void
end(struct recall *r)
{
	store_release(r->search.snapshot);
	r->search.snapshot = NULL;
	api_coder_free(&r->coder);
	free(r->queries);
	r->queries = NULL;
	free(r->rows);
	r->rows = NULL;
	free(r->wires);
	r->wires = NULL;
	collection_release(r->collection);
	r->collection = NULL;
}

static void
recall_free(void *state)
{
	struct recall *r = state;

	end(r);
	for (int way = 0; way < WAYS; way++)
		free(r->found[way].hits);
	free(r);
}

static size_t
rows_wanted(const struct recall *r)
{
	/* The row itself comes first and is none of the others. */
	return (r->limit > PROGRESSIVE_HITS ? r->limit : PROGRESSIVE_HITS) + 1;
}

/* ---- the sample ---- */

/* One row of each of n parts, of as many live rows. */
static void
choose(struct recall *r, const struct row_set *live, size_t n_live,
    const struct store_snapshot *snapshot)
{
	size_t word = 0, before = 0; /* it, live rows in those before it */
	struct rng rng;

	rng_init(&rng, SEED, 0);
	for (size_t i = 0; i < r->n; i++) {
		size_t begin = i * n_live / r->n,
		       part = (i + 1) * n_live / r->n - begin;
		size_t rank = begin + rng_below(&rng, part);
		struct row *row = &r->rows[i];
		size_t here;
		while (
		    before + (here = (size_t)__builtin_popcount(live->words[word])) <=
		    rank) {
			before += here;
			word++;
		}
		unsigned bits = live->words[word];
		for (size_t skip = rank - before; skip > 0; skip--)
			bits &= bits - 1;
		row->slot = (uint32_t)(word * 16 + (size_t)__builtin_ctz(bits));
		uint8_t *wire = r->wires + i * CODE_BYTES_MAX;
		row->code.wire = wire;
		row->code.version = (size_t)store_part(snapshot, row->slot);
		store_get(
		    wire, &row->code.factor, &row->code.norm2, snapshot, row->slot);
	}
}

static int
sample(struct recall *r, const struct store_snapshot *snapshot, struct error *err)
{
	struct row_set *live = row_set_live(snapshot, err);

	if (!live)
		return -1;
	size_t n_live = row_set_count(live);
	r->n = r->wanted < n_live ? r->wanted : n_live;
	r->rows = array_new(r->n, sizeof *r->rows);
	r->wires = array_new(r->n, CODE_BYTES_MAX);
	if (r->rows && r->wires)
		choose(r, live, n_live, snapshot);
	row_set_free(live);
	return r->rows && r->wires
		   ? 0
		   : error_set(err, ERR_MEMORY,
			 "no memory for a sample of %zu; lower sample", r->n);
}

/* ---- the end ---- */

static void
finish(struct recall *r)
{
	const enum distance_kind kind =
	    collection_settings(r->collection)->code_distance;
	const double as_set_s = r->found[AS_SET].scan_s,
		     exact_s = r->found[EXACT].scan_s, n = (double)r->n_measured;
	struct text out = {0};

	api_begin(&out);
	text_printf(&out, "{\"recall@%zu\":", r->limit);
	if (r->n_measured > 0)
		text_printf(&out,
		    "%.6f,\"limit\":%zu,\"sample\":%zu,\"seconds\":{\"search\":%.9f,"
		    "\"exact\":%.9f},\"speedup\":%.4f",
		    r->sum / n, r->limit, r->n_measured, as_set_s / n, exact_s / n,
		    as_set_s > 0 ? exact_s / as_set_s : 1);
	else
		text_printf(&out,
		    "null,\"limit\":%zu,\"sample\":0,\"seconds\":{\"search\":null,"
		    "\"exact\":null},\"speedup\":null",
		    r->limit);
	text_printf(&out, ",\"exact_is\":\"%s, %s\"}",
	    kind == DISTANCE_HAMMING ? "plane 0" : "full codes",
	    collection_code_distance_name(kind));
	api_end(r->request, &out, NULL);
}

/* ---- searching ---- */

static void on_worker(struct pool_task *task, unsigned worker);

static void
on_searched(struct batch_search *search)
{
	struct recall *r = search->arg;

	http_continue(r->request, on_worker);
}

/* Search for row r->at in the way r->way. */
static int
submit(struct recall *r, struct error *err)
{
	const bool as_set = r->way == AS_SET;
	struct api *api = r->request->context;

	r->coder.planes = as_set ? r->params.planes : 0;
	if (api_wanted(r->request, err) ||
	    api_coder_stored(&r->coder, r->queries, &r->rows[r->at].code, err))
		return -1;
	r->search = (struct batch_search){.store = collection_store(r->collection),
	    .flat = {.query = r->queries,
		.k = rows_wanted(r),
		.hits = r->found[r->way].hits,
		.of_row = true,
		.progressive =
		    as_set ? api_query_progressive(&r->params, r->collection) : NULL},
	    .newest = collection_codes(r->collection)->version,
	    .given_up = &r->request->given_up,
	    .on_done = on_searched,
	    .arg = r};
	return api_search(api, &r->search, err);
}

/* Go on with the next search, or answer. */
static void
go_on(struct recall *r)
{
	struct error err;

	if (r->at == r->n)
		finish(r);
	else if (submit(r, &err))
		http_fail(r->request, &err);
}

static int
by_slot(const void *a, const void *b)
{
	uint32_t x = ((const struct hit *)a)->slot, y = ((const struct hit *)b)->slot;
	return (x > y) - (x < y);
}

/* The row's exact search is done too: what share of its hits the other has. */
static void
compare(struct recall *r)
{
	const struct found *exact = &r->found[EXACT], *as_set = &r->found[AS_SET];
	size_t common = 0;

	if (exact->n == 0)
		return;
	for (int way = 0; way < WAYS; way++)
		qsort(r->found[way].hits, r->found[way].n, sizeof(struct hit), by_slot);
	for (size_t i = 0, j = 0; i < exact->n && j < as_set->n;) {
		uint32_t x = exact->hits[i].slot, y = as_set->hits[j].slot;
		common += x == y;
		i += x <= y;
		j += y <= x;
	}
	r->sum += (double)common / (double)exact->n;
	r->n_measured++;
}

/* The hits of a search, without the row that was searched for. */
static void
take_hits(struct recall *r)
{
	const uint32_t self = r->rows[r->at].slot;
	struct found *found = &r->found[r->way];
	size_t n = 0;

	for (size_t i = 0; i < r->search.flat.n && n < r->limit; i++)
		if (found->hits[i].slot != self)
			found->hits[n++] = found->hits[i];
	found->n = n;
	found->scan_s += r->search.scan_s;
	store_release(r->search.snapshot);
	r->search.snapshot = NULL;
}

static void begin(struct recall *r);

static void
on_worker(struct pool_task *task, unsigned worker)
{
	struct recall *r = http_of_task(task)->state;
	(void)worker;

	if (r->search.err.code != ERR_NONE) {
		http_fail(r->request, &r->search.err);
		return;
	}
	if (r->search.outdated) {
		begin(r); /* for the versions that there are now */
		return;
	}
	take_hits(r);
	if (r->teaching > 0) {
		r->teaching--;
		r->found[AS_SET].scan_s = 0;
		r->at = r->teaching % r->n;
	} else if (r->way == AS_SET) {
		r->way = EXACT;
	} else {
		compare(r);
		r->way = AS_SET;
		r->at++;
	}
	go_on(r);
}

/* ---- getting ready ---- */

/* *snapshot := the newest, whose versions are those of the collection. */
static int
look_up(struct recall *r, struct store_snapshot **snapshot, struct error *err)
{
	for (;;) {
		r->collection = api_collection(r->request, err);
		if (!r->collection)
			return -1;
		*snapshot = store_acquire(collection_store(r->collection));
		if (store_newest(*snapshot) == collection_codes(r->collection)->version)
			return 0;
		store_release(*snapshot);
		collection_release(r->collection);
		r->collection = NULL;
	}
}

static int
prepare(struct recall *r, struct error *err)
{
	struct store_snapshot *snapshot;

	if (look_up(r, &snapshot, err))
		return -1;
	int rc = api_query_params_read(&r->params, &r->root, r->collection, err);
	if (rc == 0)
		rc = sample(r, snapshot, err);
	store_release(snapshot);
	if (rc == 0)
		rc = api_coder_init(
		    &r->coder, r->request->context, r->collection, NULL, err);
	if (rc != 0)
		return -1;
	r->queries =
	    array_new_aligned(collection_n_versions(r->collection), sizeof *r->queries);
	return r->queries ? 0 : error_set(err, ERR_MEMORY, "no memory for a query");
}

static void
begin(struct recall *r)
{
	struct error err;

	end(r);
	if (prepare(r, &err)) {
		http_fail(r->request, &err);
		return;
	}
	r->at = r->n_measured = 0;
	r->way = AS_SET;
	r->sum = r->found[AS_SET].scan_s = r->found[EXACT].scan_s = 0;
	r->teaching =
	    r->n > 0 && api_query_progressive(&r->params, r->collection) ? TEACHING : 0;
	go_on(r);
}

static int
read_number(size_t *out, const struct json *root, const char *name, size_t normal,
    size_t max, struct error *err)
{
	struct json value;
	uint64_t n = normal;

	if (json_member(root, name, &value) && value.type != JSON_NULL &&
	    api_count(&n, &value, name, 1, max, err))
		return -1;
	*out = (size_t)n;
	return 0;
}

static int
check_members(const struct json *root, struct error *err)
{
	struct json_walk walk = json_walk(root);

	while (json_next(&walk)) {
		if (json_equals(&walk.key, "sample") ||
		    json_equals(&walk.key, "limit") || json_equals(&walk.key, "params"))
			continue;
		if (json_equals(&walk.key, "filter"))
			return error_set(err, ERR_UNSUPPORTED,
			    "filter: the sample is of all points; leave it out");
		return error_set(err, ERR_INPUT,
		    "expected sample, limit, params; not %.*s",
		    walk.key.len < 60 ? (int)walk.key.len : 60, walk.key.text);
	}
	return 0;
}

static int
read_request(struct recall *r, struct error *err)
{
	const struct api *api = r->request->context;

	if (r->request->body_n == 0)
		r->root = (struct json){JSON_OBJECT, "{}", 2};
	else if (api_body(&r->root, r->request, err))
		return -1;
	if (check_members(&r->root, err) ||
	    read_number(
		&r->wanted, &r->root, "sample", SAMPLE_DEFAULT, SAMPLE_MAX, err) ||
	    read_number(&r->limit, &r->root, "limit", API_QUERY_LIMIT_DEFAULT,
		api->config->max_limit, err))
		return -1;
	for (int way = 0; way < WAYS; way++) {
		r->found[way].hits = array_new(rows_wanted(r), sizeof(struct hit));
		if (!r->found[way].hits)
			return error_set(err, ERR_MEMORY,
			    "no memory for %zu hits; lower limit", r->limit);
	}
	return 0;
}

void
api_recall(struct http_request *request, unsigned worker)
{
	struct recall *r = array_new(1, sizeof *r);
	struct error err;
	(void)worker;

	if (!r) {
		error_set(&err, ERR_MEMORY, "no memory for a self-check");
		http_fail(request, &err);
		return;
	}
	r->request = request;
	request->state = r;
	request->state_free = recall_free;
	if (read_request(r, &err))
		http_fail(request, &err);
	else
		begin(r);
}
