#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attention/encoder.h"
#include "server/collection_internal.h"
#include "server/models.h"

/* What a new collection, or a new version of its codes, is to be. */

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

/* The codes that a binarizer is to make: those asked for, else those of `before`, else
 * of any dims and the usual bits. */
static struct code_shape
wish_of(const struct collection_settings *s, const struct code_shape *before)
{
	struct code_shape wish = s->shape;

	if (wish.dims == 0 && before)
		wish.dims = before->dims;
	if (wish.bits == 0)
		wish.bits = before ? before->bits : COLLECTION_BITS_DEFAULT;
	wish.centres = s->code_distance == DISTANCE_HAMMING ? 0 : CODE_CENTRES_MAX;
	return wish;
}

static int
refuse_without(
    const struct collection_settings *s, struct code_shape wish, struct error *err)
{
	char dims[24] = "";

	if (wish.dims > 0)
		snprintf(dims, sizeof dims, "%u dims and ", wish.dims);
	return error_set(err, ERR_NOT_FOUND,
	    "the model %.64s has no binarizer for codes of %s%u bits%s: expected "
	    "another, or \"%s\"",
	    s->binarizer, dims, wish.bits,
	    wish.centres == 0 ? " and distance hamming" : "", COLLECTION_UNTRAINED);
}

/* Fill in what the settings leave open, the shape excepted; *path := the binarizer's
 * file, or NULL.  before: as below. */
static int
resolve(struct collection_settings *s, const char **path, const struct models *models,
    const struct code_shape *before, struct error *err)
{
	struct code_shape wish = wish_of(s, before);
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
		    model && choice_path(&model->binarizers, wish)
			? s->text_model
			: COLLECTION_UNTRAINED);
	*path = NULL;
	if (s->mean || strcmp(s->binarizer, COLLECTION_UNTRAINED) == 0)
		return 0;
	model = models_find(models, s->binarizer, err);
	if (!model)
		return -1;
	*path = choice_path(&model->binarizers, wish);
	return *path ? 0 : refuse_without(s, wish, err);
}

/* The shape that a learned binarizer has, else that of `before`, else the defaults; a
 * size that is open is the binarizer's. */
static int
resolve_shape(struct collection_settings *s, const char *path,
    const struct code_shape *before, struct error *err)
{
	struct recurrent_info info = {.input_dims = s->size};

	if (path && recurrent_peek(&info, path, err) != 0)
		return -1;
	if (s->size == 0)
		s->size = info.input_dims;
	if (info.shape.dims == 0 && before)
		info.shape = *before;
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

struct collection *
collection_new(const struct collection_settings *settings, const struct models *models,
    struct error *err)
{
	struct collection_settings s = *settings;
	const char *path = NULL;

	if (collection_settings_check(&s, err) != 0 ||
	    resolve(&s, &path, models, NULL, err) != 0 ||
	    resolve_shape(&s, path, NULL, err) != 0)
		return NULL;
	s.id = 0;
	if (s.created_s == 0)
		s.created_s = (uint64_t)time(NULL);
	return collection_make(&s, path, err);
}

/* Whether the new settings ask for what the collection has already. */
static bool
is_same(const struct collection_settings *s, const char *path,
    const struct collection *before, struct error *err)
{
	if (strcmp(s->text_model, collection_settings(before)->text_model) != 0)
		return false;
	struct collection_binarizer *b = collection_binarizer_new(s, path, err);
	bool same =
	    b && strcmp(recurrent_id(b->model), collection_binarizer_id(before)) == 0;
	collection_binarizer_release(b);
	return same;
}

struct collection *
collection_next(struct collection *before, const struct collection_settings *change,
    const struct models *models, struct error *err)
{
	struct collection_settings s = *collection_settings(before);
	const char *path = NULL;

	memcpy(s.binarizer, change->binarizer, sizeof s.binarizer);
	if (change->text_model[0]) {
		memcpy(s.text_model, change->text_model, sizeof s.text_model);
		memcpy(s.query_model, change->query_model, sizeof s.query_model);
		s.size = 0;
	}
	struct code_shape shape = s.shape;
	s.shape = change->shape;
	if (collection_settings_check(&s, err) != 0 ||
	    resolve(&s, &path, models, &shape, err) != 0)
		return NULL;
	if (path && !s.text_model[0])
		s.size = 0;
	if (resolve_shape(&s, path, &shape, err) != 0 ||
	    collection_settings_check(&s, err) != 0)
		return NULL;
	if (is_same(&s, path, before, err)) {
		if (strcmp(s.query_model, collection_settings(before)->query_model) ==
		    0)
			return collection_retain(before);
		error_set(err, ERR_INPUT,
		    "expected another binarizer with another query_model, not %.80s, "
		    "which the collection has",
		    s.binarizer);
		return NULL;
	}
	return collection_make_next(before, &s, path, err);
}

static bool
is_rotation(const struct recurrent *model)
{
	return recurrent_info(model).kind == RECURRENT_ROTATION;
}

const struct recurrent *
collection_reach(const struct collection_settings *s,
    const struct collection_version *newest, const struct collection_version *v,
    struct error *err)
{
	const struct recurrent *known =
	    recurrent_searching(newest->model, recurrent_id(v->model));
	bool same_space =
	    v->size == newest->size && strcmp(v->text_model, newest->text_model) == 0;

	if (v == newest)
		return v->model;
	/* Learned signs are not as even as a rotation's: one kind would hide the other.
	 */
	if (s->code_distance == DISTANCE_HAMMING) {
		if (same_space && is_rotation(v->model) && is_rotation(newest->model))
			return v->model;
		error_set(err, ERR_INPUT,
		    "codes.distance hamming ranks codes of one encoder's rotations "
		    "alone beside each other: make a new collection");
		return NULL;
	}
	/* Codes that are not known but of the same vectors. */
	if (same_space && (!known || known == newest->model))
		return v->model;
	if (known && known != newest->model) {
		if (code_shape_equal(recurrent_info(known).shape, v->shape))
			return known;
		error_set(err, ERR_INPUT,
		    "expected a binarizer that knows the codes of %s as they are, not "
		    "of another shape as %.40s does",
		    recurrent_id(v->model), newest->binarizer);
		return NULL;
	}
	error_set(err, ERR_INPUT,
	    "expected a binarizer that knows the codes of %s (%.24s, %u dims), not "
	    "%.24s: train it --compatible-with that; or import its documents again; if "
	    "it has none, go back to the one before it, or make a new collection",
	    recurrent_id(v->model), v->binarizer, v->size, newest->binarizer);
	return NULL;
}
