#include "server/collection.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "server/collection_internal.h"
#include "server/models.h"

struct collection {
	struct collection_settings settings;
	struct collection_binarizer binarizer;
	struct db_codes codes;
	struct store *store;
	char *text; /* settings as JSON, from collection_row */
	atomic_size_t n_owners;
};

static uint32_t
default_dims(uint32_t size)
{
	uint32_t dims = (size + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP * CODE_DIMS_STEP;

	return dims < CODE_DIMS_MAX ? dims : CODE_DIMS_MAX;
}

/* What a mean goes with; nothing to do where there is none. */
static int
check_mean(const struct collection_settings *s, struct error *err)
{
	if (!s->mean)
		return strcmp(s->binarizer, COLLECTION_FITTED) != 0
			   ? 0
			   : error_set(err, ERR_INPUT,
				 "expected a mean with the binarizer \"%s\"",
				 COLLECTION_FITTED);
	if (s->binarizer[0] && strcmp(s->binarizer, COLLECTION_FITTED) != 0)
		return error_set(err, ERR_INPUT,
		    "expected either a mean or a binarizer (\"%.64s\"), not both",
		    s->binarizer);
	if (s->n_mean != s->size)
		return error_set(err, ERR_INPUT,
		    "expected a mean of %u numbers, as the vectors have, not %zu",
		    s->size, s->n_mean);
	for (size_t i = 0; i < s->n_mean; i++) {
		if (!(fabsf(s->mean[i]) < COLLECTION_MEAN_MAX))
			return error_set(err, ERR_INPUT,
			    "expected a mean of numbers between -1e18 and 1e18, not %g "
			    "at position %zu",
			    (double)s->mean[i], i);
	}
	return 0;
}

/* The text model called `name`; NULL. */
static const struct model *
text_model(const struct models *models, const char *name, struct error *err)
{
	const struct model *model = models_find(models, name, err);

	if (model && !model->encoder) {
		error_set(err, ERR_NOT_FOUND,
		    "the model %.100s has a binarizer and no text encoder", name);
		return NULL;
	}
	return model;
}

/* Queries may have a model of their own if it embeds into the same space. */
static int
check_query_model(const struct collection_settings *s, const struct model *documents,
    const struct models *models, struct error *err)
{
	const struct model *queries = text_model(models, s->query_model, err);

	if (!queries)
		return -1;
	size_t dims = encoder_dims(queries->encoder);
	if (dims != encoder_dims(documents->encoder))
		return error_set(err, ERR_INPUT,
		    "expected a query_model of %zu dimensions, as the text model "
		    "%.80s has; %.80s has %zu",
		    encoder_dims(documents->encoder), s->text_model, s->query_model,
		    dims);
	const char *of_documents = encoder_coordinates(documents->encoder);
	const char *of_queries = encoder_coordinates(queries->encoder);
	if (of_documents[0] && of_queries[0] && strcmp(of_documents, of_queries) != 0)
		return error_set(err, ERR_INPUT,
		    "expected a query_model of the coordinates \"%s\", as the text "
		    "model has, not \"%s\": their vectors do not compare",
		    of_documents, of_queries);
	return 0;
}

/* Fill in what the settings leave open; *path := the binarizer's file, or NULL. */
static int
resolve(struct collection_settings *s, const char **path, const struct models *models,
    struct error *err)
{
	const struct model *model = NULL;

	if (s->text_model[0]) {
		model = text_model(models, s->text_model, err);
		if (!model)
			return -1;
		uint32_t dims = (uint32_t)encoder_dims(model->encoder);
		if (s->size == 0)
			s->size = dims;
		if (s->size != dims)
			return error_set(err, ERR_INPUT,
			    "expected vectors of %u dimensions, as the text model "
			    "%.100s makes them, not %u",
			    dims, s->text_model, s->size);
		if (s->query_model[0] && check_query_model(s, model, models, err) != 0)
			return -1;
	}
	if (check_mean(s, err) != 0)
		return -1;
	if (s->mean)
		snprintf(s->binarizer, sizeof s->binarizer, "%s", COLLECTION_FITTED);
	if (!s->binarizer[0])
		snprintf(s->binarizer, sizeof s->binarizer, "%s",
		    model && model->binarizer_path ? s->text_model
						   : COLLECTION_UNTRAINED);
	*path = NULL;
	if (s->mean || strcmp(s->binarizer, COLLECTION_UNTRAINED) == 0)
		return 0;
	model = models_find(models, s->binarizer, err);
	if (!model)
		return -1;
	if (!model->binarizer_path)
		return error_set(err, ERR_NOT_FOUND,
		    "the model %.100s has no binarizer.safetensors: choose another, or "
		    "\"%s\"",
		    s->binarizer, COLLECTION_UNTRAINED);
	*path = model->binarizer_path;
	return 0;
}

/* The shape that a learned binarizer has, else the defaults. */
static int
resolve_shape(struct collection_settings *s, const char *path, struct error *err)
{
	struct recurrent_info info = {.input_dims = s->size};

	if (path && recurrent_peek(&info, path, err) != 0)
		return -1;
	if (info.input_dims != s->size)
		return error_set(err, ERR_INPUT,
		    "the binarizer %.100s takes vectors of %u dimensions, not %u",
		    s->binarizer, info.input_dims, s->size);
	if (s->shape.dims == 0)
		s->shape.dims =
		    info.shape.dims ? info.shape.dims : default_dims(s->size);
	if (s->shape.bits == 0)
		s->shape.bits =
		    info.shape.bits ? info.shape.bits : COLLECTION_BITS_DEFAULT;
	return 0;
}

/* What new and load share: everything but the binarizer. */
static struct collection *
make(const struct collection_settings *settings, struct error *err)
{
	struct collection *c = array_new(1, sizeof *c);

	if (!c) {
		error_set(err, ERR_MEMORY, "out of memory for a collection");
		return NULL;
	}
	atomic_init(&c->n_owners, 1);
	c->settings = *settings;
	c->settings.mean = NULL;
	c->settings.n_mean = 0;
	bool euclid = settings->distance == COLLECTION_EUCLID;
	c->codes = (struct db_codes){
	    .collection = settings->id,
	    .version = COLLECTION_CODE_VERSION,
	    .shape = settings->shape,
	    .has_norm2 = euclid,
	};
	snprintf(c->codes.vector, sizeof c->codes.vector, "%s", settings->vector);
	c->store = store_new(settings->shape, euclid, err);
	if (!c->store) {
		collection_release(c);
		return NULL;
	}
	return c;
}

struct collection *
collection_new(const struct collection_settings *settings, const struct models *models,
    struct error *err)
{
	struct collection_settings s = *settings;
	const char *path = NULL;

	if (collection_settings_check(&s, err) != 0 ||
	    resolve(&s, &path, models, err) != 0 || resolve_shape(&s, path, err) != 0)
		return NULL;
	s.id = 0;
	if (s.created_s == 0)
		s.created_s = (uint64_t)time(NULL);
	struct collection *c = make(&s, err);
	if (!c)
		return NULL;
	if (collection_binarizer_new(&c->binarizer, &s, path, err) != 0) {
		collection_release(c);
		return NULL;
	}
	return c;
}

struct loading {
	struct store *store;
	size_t n_rows;
};

static int
on_code(void *arg, uint32_t slot, const struct db_code *code, struct error *err)
{
	const struct store_row row = {code->wire, code->factor, code->norm2};
	struct loading *loading = arg;

	if (slot >= STORE_SLOTS_MAX)
		return error_set(
		    err, ERR_FORMAT, "a stored point has the slot %u", slot);
	loading->n_rows++;
	return store_put(loading->store, slot, &row, err);
}

/* Codes are all staged: how many of them are extra rows? */
static int
load_extra(struct collection *c, size_t n_rows, struct db_txn *txn, struct error *err)
{
	uint64_t n;

	if (db_extra_rows(txn, c->settings.id, &n, err) != 0)
		return -1;
	if (n > 0 && n >= n_rows)
		return error_set(err, ERR_FORMAT,
		    "expected fewer extra rows than the %zu that there are, not "
		    "%" PRIu64,
		    n_rows, n);
	return n ? store_add_extra(c->store, (int64_t)n, err) : 0;
}

static int
load(struct collection *c, const struct collection_stored *stored, struct db_txn *txn,
    struct error *err)
{
	struct loading loading = {.store = c->store};

	if (collection_binarizer_load(&c->binarizer, &c->settings, stored, txn, err) !=
		0 ||
	    db_codes_each(txn, &c->codes, on_code, &loading, err) != 0 ||
	    load_extra(c, loading.n_rows, txn, err) != 0)
		return -1;
	store_publish(c->store);
	return 0;
}

struct collection *
collection_load(struct db_txn *txn, const struct db_collection *row, struct error *err)
{
	struct collection_settings s;
	struct collection_stored stored;

	if (collection_settings_read(
		&s, &stored, row->settings, row->settings_len, err) != 0)
		return NULL;
	if (strcmp(s.name, row->name) != 0) {
		error_set(
		    err, ERR_FORMAT, "its stored settings are those of %.100s", s.name);
		return NULL;
	}
	s.id = row->id;
	struct collection *c = make(&s, err);
	if (!c)
		return NULL;
	if (load(c, &stored, txn, err) != 0) {
		collection_release(c);
		return NULL;
	}
	return c;
}

struct collection *
collection_retain(struct collection *c)
{
	atomic_fetch_add(&c->n_owners, 1);
	return c;
}

void
collection_release(struct collection *c)
{
	if (!c || atomic_fetch_sub(&c->n_owners, 1) > 1)
		return;
	collection_binarizer_free(&c->binarizer);
	store_free(c->store);
	cJSON_free(c->text);
	free(c);
}

const struct collection_settings *
collection_settings(const struct collection *c)
{
	return &c->settings;
}

struct store *
collection_store(const struct collection *c)
{
	return c->store;
}

const struct recurrent *
collection_binarizer(const struct collection *c)
{
	return c->binarizer.model;
}

const char *
collection_binarizer_id(const struct collection *c)
{
	return recurrent_id(c->binarizer.model);
}

const struct db_codes *
collection_codes(const struct collection *c)
{
	return &c->codes;
}

struct collection_counts
collection_counts(const struct collection *c)
{
	struct store_snapshot *snapshot = store_acquire(c->store);
	struct collection_counts counts = {
	    .points = snapshot->n_live - snapshot->n_extra, .rows = snapshot->n_live};

	store_release(snapshot);
	return counts;
}

size_t
collection_count(const struct collection *c)
{
	return collection_counts(c).points;
}

int
collection_row(
    struct db_collection *row, struct collection *c, uint32_t id, struct error *err)
{
	char *text = collection_settings_print(
	    &c->settings, recurrent_id(c->binarizer.model), err);

	if (!text)
		return -1;
	cJSON_free(c->text);
	c->text = text;
	c->settings.id = id;
	c->codes.collection = id;
	*row = (struct db_collection){
	    .name = c->settings.name,
	    .id = id,
	    .settings = text,
	    .settings_len = strlen(text),
	    .binarizer = c->binarizer.bytes,
	    .binarizer_len = c->binarizer.n,
	};
	return 0;
}

int
collection_bytes(struct collection_bytes *bytes, const struct collection *c,
    struct db *db, struct error *err)
{
	struct db_sizes sizes;
	struct store_bytes memory = store_bytes(c->store);
	struct store_snapshot *snapshot = store_acquire(c->store);
	uint64_t n = snapshot->n_live, n_slots = snapshot->n_slots;

	store_release(snapshot);
	if (db_sizes(db, &sizes, err) != 0)
		return -1;
	uint64_t all = sizes.n_rows > n ? sizes.n_rows : n;
	uint32_t rows = db_codes_rows(&c->codes);
	*bytes = (struct collection_bytes){
	    .memory_codes = memory.codes,
	    .memory_factors = memory.factors,
	    .memory_tables = memory.tables,
	    .disk_codes = (n_slots + rows - 1) / rows * db_codes_block_bytes(&c->codes),
	    .disk_ids = all ? sizes.ids_bytes * n / all : 0,
	    .disk_points = all ? sizes.points_bytes * n / all : 0,
	};
	return 0;
}
