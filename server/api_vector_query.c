#include <math.h>

#include "binarize/recurrent.h"
#include "server/api_vector.h"

/* Vectors and stored codes as queries, and codes as vectors. */

static const struct collection_settings *
settings(const struct api_coder *coder)
{
	return collection_settings(coder->collection);
}

static const struct collection_version *
version(const struct api_coder *coder, size_t i)
{
	return collection_version(coder->collection, i);
}

/* The scratch of the model that made the codes of version i. */
static struct recurrent_scratch *
own(const struct api_coder *coder, size_t i)
{
	return coder->own[i] ? coder->own[i] : coder->searching[i];
}

/* The expected square of the cosine between a projected vector and its code, by bits:
 * of a unit Gaussian's coordinates at the step that fits them best (base/code.h), one
 * less the mean squared error.  Nothing is known of learned codes. */
static double
cosine2(const struct recurrent *binarizer)
{
	static const double rotation[] = {[1] = 0.6366, 0.8812, 0.9626, 0.9885};
	struct recurrent_info info = recurrent_info(binarizer);
	return info.kind == RECURRENT_ROTATION ? rotation[info.shape.bits] : 1;
}

void
api_coder_expect(struct api_coder *coder, struct api_row *row, float norm)
{
	const struct recurrent *binarizer = version(coder, row->version)->model;

	if (settings(coder)->distance == COLLECTION_COSINE)
		norm = 1;
	double plain = (double)recurrent_factor(
	    binarizer, own(coder, row->version), row->wire, norm);
	row->factor = (float)(plain / sqrt(cosine2(binarizer)));
	row->norm2 = norm * norm;
}

/* *query := coder->vector for the codes of version i, which are compared by planes. */
static int
hamming_query(
    struct api_coder *coder, struct distance_query *query, size_t i, struct error *err)
{
	const struct collection_version *v = version(coder, i);

	if (recurrent_query_code(
		v->model, own(coder, i), coder->levels, coder->vector, err))
		return -1;
	distance_query_hamming(query, coder->levels, v->shape);
	return 0;
}

/* *query := coder->vector for the codes of version i, in the collection's code
 * distance. */
static int
version_query(
    struct api_coder *coder, struct distance_query *query, size_t i, struct error *err)
{
	const struct collection_settings *s = settings(coder);
	const struct collection_version *v = version(coder, i);
	struct recurrent_scratch *scratch = coder->searching[i];
	float bases[CODE_CENTRES_MAX];
	struct recurrent_query q = {.k = coder->k, .bases = bases};
	struct distance_terms terms = {.metric = DISTANCE_DOT, .bases = bases};

	if (s->code_distance == DISTANCE_HAMMING)
		return hamming_query(coder, query, i, err);
	if (s->code_distance == DISTANCE_SDC
		? recurrent_query_sdc(v->searching, scratch, &q, coder->vector, err)
		: recurrent_query_int8(v->searching, scratch, &q, coder->vector, err))
		return -1;
	terms.base = q.base;
	if (s->distance == COLLECTION_EUCLID) {
		terms.metric = DISTANCE_EUCLID;
		for (uint32_t d = 0; d < s->size; d++)
			terms.norm2 += coder->vector[d] * coder->vector[d];
	}
	/* Both kinds are signed bytes that meet levels. */
	distance_query_int8(query, q.k, q.scale, v->shape, terms);
	if (coder->planes > 0 && coder->planes < v->shape.bits) {
		distance_query_planes(query, coder->planes);
		query->scale *= recurrent_prefix(v->shape.bits, coder->planes);
	}
	return 0;
}

int
api_coder_vector(
    struct api_coder *coder, struct distance_query *queries, struct error *err)
{
	for (size_t i = 0; i < collection_n_versions(coder->collection); i++)
		if (version_query(coder, &queries[i], i, err))
			return error_prefix(err, "query");
	return 0;
}

/* coder->vector := the best estimate of what the binarizer of the row's version coded;
 * returns its |x|. */
static double
estimate_own(struct api_coder *coder, const struct api_row *row)
{
	const struct collection_version *v = version(coder, row->version);
	struct recurrent_scratch *scratch = own(coder, row->version);
	enum collection_distance distance = settings(coder)->distance;
	const float *mean = recurrent_info(v->model).mean;
	double mean2 = 0, across = 0, along = 0; /* |mu|^2, <mu, f v>, |f v|^2 */
	double norm2, rest2;                     /* |x|^2, |x - mu|^2 */

	/* mu + f v is right in inner products with all but x: there f holds what the
	 * code has missed of x - mu, whose projection on v is shorter. */
	recurrent_decode(v->model, scratch, coder->vector, row->wire, row->factor);
	for (uint32_t i = 0; i < v->size; i++) {
		double mu = (double)mean[i], fv = (double)coder->vector[i] - mu;
		mean2 += mu * mu;
		across += mu * fv;
		along += fv * fv;
	}
	if (distance == COLLECTION_DOT) {
		float one = recurrent_factor(v->model, scratch, row->wire, 1);
		double length = (double)row->factor / (double)one;
		rest2 = length * length * cosine2(v->model);
		norm2 = mean2 + 2 * across + rest2;
	} else {
		norm2 = distance == COLLECTION_COSINE ? 1 : (double)row->norm2;
		rest2 = norm2 - mean2 - 2 * across;
	}
	double share = along > 0 ? rest2 / along : 0;
	/* Of Cosine the score against itself is known too: 1. */
	if (distance == COLLECTION_COSINE && across + along > 0)
		share = (rest2 + across) / (across + along);
	share = fmin(fmax(share, 0), 1);
	for (uint32_t i = 0; i < v->size; i++)
		coder->vector[i] =
		    (float)((double)mean[i] +
			    share * ((double)coder->vector[i] - (double)mean[i]));
	return sqrt(fmax(norm2, 0));
}

/* coder->vector := the same direction, this long. */
static void
set_length(struct api_coder *coder, double length)
{
	uint32_t size = settings(coder)->size;
	double sum = 0;

	for (uint32_t i = 0; i < size; i++)
		sum += (double)coder->vector[i] * (double)coder->vector[i];
	double scale = sum > 0 ? length / sqrt(sum) : 0;
	for (uint32_t i = 0; i < size; i++)
		coder->vector[i] = (float)((double)coder->vector[i] * scale);
}

/* coder->vector := the best estimate of what was coded, as a vector of the collection;
 * returns its |x|. */
static double
estimate(struct api_coder *coder, const struct api_row *row)
{
	const struct collection_version *v = version(coder, row->version);
	double norm = estimate_own(coder, row);

	if (v->searching != v->model) {
		recurrent_decode(v->searching, coder->searching[row->version],
		    coder->vector, row->wire, row->factor);
		set_length(coder, norm);
	}
	return norm;
}

void
api_coder_decode(struct api_coder *coder, const struct api_row *row)
{
	set_length(coder, estimate(coder, row));
}

int
api_coder_stored(struct api_coder *coder, struct distance_query *queries,
    const struct api_row *row, struct error *err)
{
	bool hamming = settings(coder)->code_distance == DISTANCE_HAMMING;
	double norm = estimate(coder, row);

	for (size_t i = 0; i < collection_n_versions(coder->collection); i++) {
		/* Beside codes of its own version the code itself. */
		if (hamming && i == row->version) {
			struct code_shape shape = version(coder, i)->shape;
			code_to_levels(coder->levels, row->wire, shape);
			distance_query_hamming(&queries[i], coder->levels, shape);
			continue;
		}
		if (version_query(coder, &queries[i], i, err))
			return error_prefix(err, "query");
		/* The length of the vector itself is known, and is more than the
		 * estimate's. */
		queries[i].terms.norm2 = (float)(norm * norm);
	}
	return 0;
}
